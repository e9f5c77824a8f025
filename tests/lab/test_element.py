"""What an <xaicl-pair> is asked for, and what it computes beside the engine, in Node."""

import re

import pytest
import torch

from tests.lab_node import in_node
from xaicl_lib import PairModel, explain, measure
from xaicl_lib.lab.gallery import MODELS, PAIRS, PICTURES, menu, method_entry
from xaicl_lib.methods import methods
from xaicl_lib.pair import Pair
from xaicl_lib.views import LivePair
from xaicl_lib.views.live import TOWARDS

INDEX = {
    "models": [{"name": name, "kind": "photo", "size": 96} for name in MODELS],
    "methods": [method_entry(methods[name]) for name in menu()],
    "pictures": {name: {} for name in PICTURES},
    "pairs": [{"a": a, "b": b} for a, b, *_ in PAIRS],
}
READ = """
import { readAsked } from "lab/page/pair_asked.js";
globalThis.location = { origin: "http://here" };
const ownerDocument = { baseURI: "http://here/deep/page.html" };
const element = (given) => ({ attributes: Object.entries(given).map(([name, value]) => ({ name, value })), ownerDocument });
const plain = (asked) => ({ ...asked, model: asked.model.name, method: asked.method.name, beside: asked.beside?.name ?? null });
answer(await Promise.all(given.asks.map((ask) => told(() => plain(readAsked(element(ask), given.index))))));
"""
FAULTS = {
    "unknown attribute": ({"strenght": "1"}, 'got "strenght"'),
    "option of another method": ({"method": "grad_cam", "stride": "3"}, 'expected .* got "stride"'),
    "model": ({"model": "constructor"}, 'no model "constructor" here, but simclr'),
    "picture": ({"a": "__proto__"}, 'no picture "__proto__" here'),
    "another host": ({"b": "//there/cat.png"}, "another host"),
    "value": ({"method": "interaction_cam", "reduction": "sum"}, 'reduction cannot be "sum"'),
    "change": ({"change": "sepia 1"}, 'no change "sepia" here, but none, blur'),
    "value beyond its range": (
        {"method": "conditional_occlusion", "stride": "99"},
        'stride cannot be "99", but a whole number from 1 to 24',
    ),
    "half a pixel": ({"method": "conditional_occlusion", "stride": "2.5"}, 'stride cannot be "2.5", but a whole number from 1 to 24'),
    "strength": ({"change": "blur much"}, 'blur cannot be "much", but a number from 0 to 4'),
    "another time": ({"when": "Seen"}, 'when cannot be "Seen", but "seen"'),
    "no number": ({"seconds": "abc"}, 'seconds cannot be "abc", but a number from 0.001 to 3600'),
    "no time": ({"seconds": ""}, 'seconds cannot be "", but a number'),
    "foil of nothing known": ({"method": "grad_cam", "foil": "dog"}, 'no picture "dog" here, but cat'),
    "corpus of two": ({"corpus": "cat", "b": "coffee"}, '"b" has no meaning'),
    "its own corpus": ({"a": "cat", "corpus": "cat"}, '"cat" is the one that is explained'),
    "both": ({"a": "cat", "corpus": "coffee", "foil": "coffee"}, '"coffee" is in corpus and foil twice'),
    "method for two": (
        {"method": "interaction_cam", "corpus": "coffee"},
        f"here, but {', '.join(name for name in menu() if name in TOWARDS)}$",
    ),
    "choice": ({"choose": "colours"}, 'no choice "colours" here, but model, method, change'),
}


def test_attributes_are_read_and_faults_are_said() -> None:
    right = [
        {},
        {"a": "photos/cat.png", "id": "one", "data-x": "y", "class": "z", "aria-label": "w"},
        {"method": "conditional_occlusion", "stride": "9", "change": "blur 4", "choose": " model  change", "cover": "", "seconds": "0.5"},
        {"method": "interaction_cam", "reduction": "max", "gradient_interaction": "false", "beside": "supervised", "when": "seen"},
    ]
    asked = in_node(READ, {"asks": [*right, *(fault for fault, _ in FAULTS.values())], "index": INDEX})
    first, address, third, fourth = (one[0] for one in asked[:4])
    assert (first["model"], first["method"], first["a"]["name"], first["seconds"], first["seen"]) == (
        "simclr", "interaction_cam", "cat", 120, False,
    )  # fmt: skip
    assert address["a"]["url"] == "http://here/deep/photos/cat.png"
    assert third["options"] == {"stride": 9}
    assert third["change"] == {"name": "blur", "strength": 4}
    assert (third["choose"], third["cover"], third["seconds"]) == (["model", "change"], True, 0.5)
    assert (fourth["options"], fourth["beside"], fourth["seen"]) == (
        {"reduction": "max", "gradient_interaction": False},
        "supervised",
        True,
    )
    for got, (name, (_, says)) in zip(asked[4:], FAULTS.items(), strict=True):
        assert isinstance(got, str), name
        assert re.search(says, got), (name, got)


def test_what_a_live_pair_writes_is_what_the_element_reads() -> None:
    pair = LivePair("supervised", a="cat", b="flower", beside="simclr", change=("hue", -0.25), choose=["change"], reduction="max")
    towards = LivePair("scenes_simclr", "grad_cam", "two_a", corpus=["shape_a", "shape_b"])
    htmls = [one._repr_html_() for one in (pair, towards)]
    given = [dict(re.findall(r' ([\w-]+)="([^"]*)"', html[: html.index(">")])) for html in htmls]
    (asked,), (one,) = in_node(READ, {"asks": given, "index": INDEX})
    assert (asked["model"], asked["method"], asked["beside"]) == ("supervised", "interaction_cam", "simclr")
    assert (asked["options"], asked["change"], asked["choose"]) == ({"reduction": "max"}, {"name": "hue", "strength": -0.25}, ["change"])
    assert (one["b"], one["sets"]) == (None, {"corpus": ["shape_a", "shape_b"], "foil": []})


def test_pixels_go_in_the_order_of_the_library() -> None:
    torch.manual_seed(0)
    model = PairModel(torch.nn.Sequential(torch.nn.Conv2d(3, 6, 4, 4), torch.nn.ReLU()), size=16)
    pair = Pair(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16))
    made = explain(model, pair, "interaction_cam")
    assert made.b is not None
    code = """
    import { area, order, without, STEPS } from "lab/page/deletion.js";
    const out = { steps: STEPS, a: [], b: [], ties: order({ data: Float32Array.from([1, 1, 1, 1]), h: 2, w: 2 }, 4).slice(0, 3) };
    for (const side of ["a", "b"]) {
      const places = order({ data: Float32Array.from(given.maps[side]), h: 4, w: 4 }, 16);
      for (let k = 0; k <= STEPS; k += 1) out[side].push(without(Float32Array.from(given[side]), places, (k * 256) / STEPS, [0, 0, 0]));
    }
    out.area = area([1, 0.5, 0]);
    answer(out);
    """
    maps = {"a": made.a[0].flatten().tolist(), "b": made.b[0].flatten().tolist()}
    got = in_node(code, {"maps": maps, "a": pair.a[0].flatten().tolist(), "b": pair.b[0].flatten().tolist()})
    scores = []
    for side, fixed in (("a", pair.b), ("b", pair.a)):
        images = torch.tensor(got[side]).view(-1, 3, 16, 16)
        other = fixed.expand(len(images), -1, -1, -1)
        scores.append(explain(model, Pair(images, other), "random_map").score)
    areas = torch.stack([torch.trapezoid(s, dx=1 / got["steps"]) for s in scores])
    assert areas.mean().item() == pytest.approx(measure(model, pair, made, ["CD"], step=16)["CD"].item(), abs=1e-5)
    assert got["ties"] == [15, 14, 13]
    assert got["area"] == 0.5
