"""The lab's engine against torch: its modules in Node, on the real runtime and a bundle that was just exported; its worker in Chromium."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.check_pages import FLAGS, ROOT, served
from tests.lab_node import LAB, in_node
from xaicl_lib import Pair, explain, load_model
from xaicl_lib.data.scenes import scenes
from xaicl_lib.errors import InputError
from xaicl_lib.images import open_photo
from xaicl_lib.lab.export import LIMITS, MAX_WEIGHTS, METHODS
from xaicl_lib.lab.export.graphs import MAX_GRAPH_BYTES
from xaicl_lib.methods import methods
from xaicl_lib.methods.gradients import _noise
from xaicl_lib.methods.occlusion import _rectangles
from xaicl_lib.methods.words import explain_words

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="needs xaicl_lib[export]")

MODEL = "scenes_simclr"
RUNTIME, BINARY = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm.gz"
MASKS = 12
RUNS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {  # what of torch's draws is handed over, and parameters
    "conditional_occlusion": ("conditional_occlusion", {"stride": 11}, {}),
    "conditional_occlusion, small window": ("conditional_occlusion", {"window": 9, "stride": 20}, {}),
    "pairwise_occlusion": ("pairwise_occlusion", {"masks": MASKS}, {"rectangles": "rectangles"}),
    "pairwise_occlusion, sharper": ("pairwise_occlusion", {"masks": MASKS, "temperature": 0.5}, {"rectangles": "rectangles"}),
    "input_x_gradient": ("input_x_gradient", {}, {}),
    "input_x_gradient, guided": ("input_x_gradient", {"guided": True}, {}),
    "smooth_grad": ("smooth_grad", {"samples": 5}, {"noise": "noise5"}),
    "smooth_grad, sigma and guided": ("smooth_grad", {"samples": 5, "sigma": 0.2, "guided": True}, {"noise": "noise5"}),
    "smooth_grad, published noise": ("smooth_grad", {"samples": 5, "sigma": "published"}, {"noise": "noise5"}),
    "averaged_transforms": ("averaged_transforms", {}, {}),
    "averaged_transforms, guided": ("averaged_transforms", {"guided": True}, {}),
    "averaged_transforms, noisy": ("averaged_transforms", {"level": 0.15}, {"noise": "noise9"}),
    "grad_cam": ("grad_cam", {}, {}),
    "interaction_cam": ("interaction_cam", {}, {}),
    "interaction_cam, max": ("interaction_cam", {"reduction": "max"}, {}),
    "interaction_cam, attention": ("interaction_cam", {"reduction": "attention"}, {}),
    "interaction_cam, no interaction": ("interaction_cam", {"gradient_interaction": False}, {}),
    "deep_similarity": ("deep_similarity", {}, {}),
    "integrated_jacobians": ("integrated_jacobians", {"steps": 3}, {}),
}
TOWARDS: dict[str, dict[str, Any]] = {"grad_cam": {}, "conditional_occlusion": {"stride": 20}, "input_x_gradient": {}}
LIMIT = {"input_x_gradient": 3e-3, "smooth_grad": 3e-3, "averaged_transforms": 3e-3}  # a ReLU that flips by rounding; others 1e-4

ALL_RUNS = """
import { openBundle } from "lab/engine/bundle.js";
import { makeNet } from "lab/engine/net.js";
import { explain } from "lab/engine/methods.js";
import { explainCorpus } from "lab/engine/corpus.js";
const ort = await import(given.runtime);
Object.assign(ort.env.wasm, { wasmBinary: gunzipSync(readFileSync(given.binary)).buffer, numThreads: 1 });
const net = makeNet(await openBundle(folder(given.bundle), () => {}), ort);
const out = {};
for (const [label, [name, options, draws]] of Object.entries(given.runs)) {
  for (const [key, what] of Object.entries(draws)) options[key] = given[what];
  const steps = [];
  out[label] = await explain(net, name, Float32Array.from(given.a), Float32Array.from(given.b), options, (...step) => steps.push(step));
  out[label].steps = steps;
}
if (given.others) {
  const [image, ...others] = [given.a, ...given.others].map((one) => Float32Array.from(one));
  for (const [name, options] of Object.entries(given.towards)) {
    const steps = [];
    const asked = { corpus: others.slice(0, 2), foil: others.slice(2) };
    out[`${name}, towards a corpus`] = { ...(await explainCorpus(net, name, image, asked, options, (...step) => steps.push(step))), steps };
  }
  const refused = (name, sets, options = {}) =>
    told(() => explainCorpus(net, name, image, { corpus: [image], foil: [], ...sets }, options));
  out.refused = { steps: [[1, 1]], said: [] };
  const wrong = [["grad_cam", { corpus: [] }], ["grad_cam", { foil: [image] }], ["deep_similarity", {}],
    ["input_x_gradient", {}, { guided: true }],
    ["grad_cam", {}, { stride: 3 }], ["grad_cam", { corpus: [image.slice(1)] }]];
  for (const asked of wrong) out.refused.said.push(await refused(...asked));
  const sided = { card: { name: "m", symmetric: false } };
  out.refused.said.push(await told(() => explainCorpus(sided, "grad_cam", image, { corpus: [image], foil: [] })));
}
answer(out);
"""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with onnxruntime-web as the book carries it."""
    from xaicl_lib.publishing.assets import place_onnxruntime

    folder = tmp_path_factory.mktemp("runtime")
    try:
        place_onnxruntime(folder, ROOT / ".assets")
    except InputError as error:
        pytest.skip(str(error))
    return folder


@pytest.fixture(scope="module")
def exported(bundle_of: Callable[[str], Path]) -> Path:
    return bundle_of(MODEL)


@pytest.fixture(scope="module")
def pair() -> Pair:
    size = load_model(MODEL, "cpu").size
    return Pair(open_photo("flower", size), open_photo("coffee", size))


def boxes(rows: Tensor, columns: Tensor) -> list[dict[str, int]]:
    """Rectangles as the engine takes them from masks of their rows and columns."""
    spans = [[(int(line.nonzero()[0]), int(line.sum())) for line in lines] for lines in (rows, columns)]
    return [{"top": i, "height": h, "left": j, "width": w} for (i, h), (j, w) in zip(*spans, strict=True)]


def draws(pair: Pair) -> dict[str, Any]:
    """What torch draws for this pair at seed 0."""
    generator = torch.Generator().manual_seed(0)
    rectangles = [boxes(*_rectangles(MASKS, (0.1, 0.3), (1.0, 1.5), *pair.a.shape[2:], generator)) for _ in "ab"]
    noise = {f"noise{n}": _noise(pair.a, n, None)(torch.arange(n)).flatten(1).tolist() for n in (5, 9)}
    return {"rectangles": dict(zip("ab", rectangles, strict=True)), **noise}


@pytest.fixture(scope="module")
def found(runtime: Path, exported: Path, pair: Pair) -> dict[str, Any]:
    """Every run of the engine."""
    given = {"runtime": (runtime / RUNTIME).as_uri(), "binary": str(runtime / BINARY), "bundle": str(exported), "runs": RUNS}
    sides = {"a": pair.a.flatten().tolist(), "b": pair.sides[1].flatten().tolist()}
    others = [image.flatten().tolist() for image in strangers()]
    return in_node(ALL_RUNS, {**given, **sides, **draws(pair), "towards": TOWARDS, "others": others})


def strangers() -> Tensor:
    """Two pictures of a corpus and three of a foil."""
    return scenes(5, load_model(MODEL, "cpu").size, torch.Generator().manual_seed(1))[0]


def away(got: list[float], want: Tensor) -> float:
    """Relative L2 distance."""
    ours, theirs = torch.tensor(got), want.flatten()
    assert ours.shape == theirs.shape
    return float((ours - theirs).norm() / theirs.norm().clamp_min(1e-12))


@pytest.mark.parametrize("label", RUNS)
def test_every_method_equals_torch(label: str, found: dict[str, Any], pair: Pair) -> None:
    name, options, _ = RUNS[label]
    want, got = explain(load_model(MODEL, "cpu"), pair, name, **options), found[label]
    limit = LIMIT.get(name, 1e-4)
    assert got["score"] == pytest.approx(want.score.item(), abs=1e-6)
    assert want.b is not None
    for side, theirs in (("a", want.a), ("b", want.b)):
        assert (got[side]["h"], got[side]["w"]) == tuple(theirs.shape[1:])
        assert away(got[side]["data"], theirs) < limit
    assert ("joint" in got) == (want.joint is not None)
    if want.joint is not None and want.residual is not None:
        assert tuple(got["joint"][k] for k in ("ia", "ja", "ib", "jb")) == tuple(want.joint.shape[1:])
        assert away(got["joint"]["data"], want.joint) < limit
        assert got["residual"] == pytest.approx(want.residual.item(), abs=1e-5)


READ_TEXTS = """
import { openBundle } from "lab/engine/bundle.js";
import { makeNet } from "lab/engine/net.js";
import { embed, explainWords } from "lab/engine/texts.js";
const ort = await import(given.runtime);
Object.assign(ort.env.wasm, { wasmBinary: gunzipSync(readFileSync(given.binary)).buffer, numThreads: 1 });
const net = makeNet(await openBundle(folder(given.bundle), () => {}), ort);
const image = Float32Array.from(given.image);
const maps = [];
for (const text of given.texts) maps.push({ ...(await explainWords(net, text, image)), z: await embed(net, { text }) });
answer({ maps, image: await embed(net, { image }), odd: await told(() => embed(net, { text: "a dog on grass" })) });
"""


def test_words_and_regions_equal_torch(runtime: Path, bundle_of: Callable[[str], Path]) -> None:
    model, texts = load_model("scenes_clip", "cpu"), ["A red disc, on grass", "star"]
    image = scenes(1, model.size, torch.Generator().manual_seed(5))[0]
    given = {"runtime": (runtime / RUNTIME).as_uri(), "binary": str(runtime / BINARY), "bundle": str(bundle_of(model.name))}
    got = in_node(READ_TEXTS, {**given, "image": image.flatten().tolist(), "texts": texts})
    for text, made, want in zip(texts, got["maps"], explain_words(model, image.expand(2, -1, -1, -1), texts), strict=True):
        assert made["words"] == text.lower().replace(",", "").split()
        assert tuple(made["steps"]) == want.steps
        assert made["score"] == pytest.approx(want.score, abs=1e-6)
        assert made["residual"] == pytest.approx(want.residual, abs=1e-5)
        assert away(made["joint"]["data"], want.joint.flatten()) < 1e-4
        assert away(made["z"], model.embed_text([text])[0]) < 1e-5
    assert away(got["image"], model.encode(image)[0]) < 1e-5
    assert got["odd"].startswith("InputError: this model has never read “dog”")


@pytest.mark.parametrize("name", TOWARDS)
def test_a_corpus_and_a_foil_are_what_they_are_to_torch(name: str, found: dict[str, Any], pair: Pair) -> None:
    model, others, got = load_model(MODEL, "cpu"), strangers(), found[f"{name}, towards a corpus"]
    want = explain(model, Pair(pair.a), name, score=model.like(others[:2], foil=others[2:]), **TOWARDS[name])
    assert got["score"] == pytest.approx(want.score.item(), abs=1e-6)
    assert (got["a"]["h"], got["a"]["w"]) == tuple(want.a.shape[1:])
    assert away(got["a"]["data"], want.a) < LIMIT.get(name, 1e-4)
    assert "b" not in got


def test_what_no_corpus_is_is_said(found: dict[str, Any]) -> None:
    says = ["at least one picture", "the same embeddings", "explains two pictures", "do not add up", "no option stride"]
    says += ["expected images of", "m has two different sides"]
    for said, part in zip(found["refused"]["said"], says, strict=True):
        assert said.startswith("InputError: "), said
        assert part in said


def test_a_bar_moves_to_its_end(found: dict[str, Any]) -> None:
    for label, made in found.items():
        done, totals = [step[0] for step in made["steps"]], {step[1] for step in made["steps"]}
        assert done == sorted(done), label
        assert totals == {done[-1]}, label
    assert found["conditional_occlusion"]["forwards"] == 2 + 2 * 25
    assert found["averaged_transforms"]["backwards"] == 18


def test_the_methods_and_defaults_are_the_librarys() -> None:
    ours = in_node("""import { METHODS } from "lab/engine/methods.js";
    answer(Object.fromEntries(Object.entries(METHODS).map(([k, v]) => [k, v.options])));""")
    theirs = {m.name: m.defaults for m in methods}
    assert list(ours) == list(METHODS)
    elsewhere = {"seed", "rectangles", "noise", "transform", "reference", "precision", "grid"}  # a generator's, and what only Python has
    for name, options in ours.items():
        shared = {k: list(v) if isinstance(v, tuple) else v for k, v in theirs[name].items() if k not in elsewhere}
        assert {k: v for k, v in options.items() if k not in elsewhere} == shared


# ---------------------------------------------------------------- pieces


@pytest.mark.parametrize(
    ("width", "height", "size"), [(200, 150, 96), (97, 300, 96), (96, 96, 96), (64, 50, 96), (777, 501, 64), (96, 97, 96), (9, 8, 64)]
)
def test_pictures_are_resized_as_the_library_does(width: int, height: int, size: int) -> None:
    rgb = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    rgba = np.dstack([rgb, np.full((height, width), 255, np.uint8)])
    given = {"data": rgba.ravel().tolist(), "width": width, "height": height, "size": size}
    got = in_node(
        'import { toModel } from "lab/engine/images.js"; answer(toModel({ ...given, data: Uint8Array.from(given.data) }, given.size));',
        given,
    )
    want = open_photo(rgb, size).flatten()
    worst = float((torch.tensor(got) - want).abs().max())
    assert worst <= (1.01 / 255 if height > width else 1e-7)  # Pillow 13 begins with the height where 12 begins with the width


def test_checksums() -> None:
    lengths = [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000]
    code = """import { sha256 } from "lab/engine/sha256.js";
    answer(given.map((n) => sha256(Uint8Array.from({ length: n }, (_, k) => (k * 7) % 256))));"""
    assert in_node(code, lengths) == [hashlib.sha256(bytes(k * 7 % 256 for k in range(n))).hexdigest() for n in lengths]


def test_half_precision_and_scales_are_widened_exactly() -> None:
    rng = np.random.default_rng(0)
    halves = rng.integers(0, 65536, 60, dtype=np.uint16).view(np.float16).reshape(3, 20)
    halves[~np.isfinite(halves)] = 0
    scale, vector = rng.normal(size=3).astype(np.float32), rng.normal(size=4).astype(np.float32)
    data = halves.tobytes() + scale.tobytes() + vector.tobytes()
    rows = [
        {"name": "w", "shape": [3, 20], "type": "float16", "offset": 0, "scale": 120},
        {"name": "v", "shape": [4], "type": "float32", "offset": 132, "scale": None},
    ]
    code = 'import { widen } from "lab/engine/bundle.js"; answer(widen(Uint8Array.from(given.data), given.rows));'
    got = in_node(code, {"data": list(data), "rows": rows})
    want = np.concatenate([(halves.astype(np.float32) * scale[:, None]).ravel(), vector])
    np.testing.assert_array_equal(np.array(got, np.float32), want)


@pytest.mark.parametrize("n", [1, 2, 5, 16, 64])
def test_points_of_the_quadrature(n: int) -> None:
    got = in_node('import { gaussLegendre } from "lab/engine/methods.js"; answer(gaussLegendre(given));', n)
    points, weights = np.polynomial.legendre.leggauss(n)
    np.testing.assert_allclose(got["points"], points, atol=1e-14)
    np.testing.assert_allclose(got["weights"], weights, rtol=1e-11)


def test_random_numbers_are_uniform_and_normal_and_follow_their_seed() -> None:
    code = """import { uniform, normal } from "lab/engine/random.js";
    const draw = uniform(3);
    answer([Array.from({ length: 20000 }, draw), normal(20001, uniform(4)), normal(5, uniform(4)), normal(5, uniform(5))]);"""
    even, bell, same, other = in_node(code)
    assert min(even) >= 0
    assert max(even) < 1
    assert np.histogram(even, 10, (0, 1))[0].min() > 1850
    assert abs(np.mean(bell)) < 0.03
    assert abs(np.std(bell) - 1) < 0.02
    assert bell[:4] == same[:4]
    assert same != other


def hostile(card: dict[str, Any], change: Any) -> bytes:
    changed = json.loads(json.dumps(card))
    change(changed)
    return json.dumps(changed).encode()


def test_what_is_exported_is_what_the_lab_opens() -> None:
    lab = in_node('import { LIMIT } from "lab/engine/bundle.js"; answer(LIMIT);')
    assert {key: lab[key] for key in LIMITS} == {key: most for key, (most, _) in LIMITS.items()}
    assert (lab["graph"], lab["weights"], lab["numbers"]) == (MAX_GRAPH_BYTES, MAX_WEIGHTS, MAX_WEIGHTS / 2)  # two bytes a number


def test_hostile_bundles_are_refused(exported: Path, tmp_path: Path) -> None:
    """Each change of a card or a file ends in one line for the reader, before anything is allocated or run."""
    card = json.loads((exported / "model.json").read_text())
    changes: dict[str, Any] = {
        "kind": lambda c: c.update(kind="other"),
        "format": lambda c: c.update(format=99),
        "name": lambda c: c.update(name="x" * 300),
        "size": lambda c: c.update(size=10**6),
        "negative size": lambda c: c.update(size=-1),
        "std": lambda c: c.update(std=[1, 0, 1]),
        "features": lambda c: c.update(features=[10**9, 8, 8]),
        "cells": lambda c: c.update(features=[8, 4000, 4000]),
        "path": lambda c: c["graphs"]["encode"].update(file="../../secret"),
        "address": lambda c: c["weights"].update(file="https://example.org/w"),
        "graph": lambda c: c["graphs"].update(other=c["graphs"]["encode"]),
        "no graph": lambda c: c["graphs"].pop("encode"),
        "huge": lambda c: c["weights"].update(bytes=10**12),
        "checksum": lambda c: c["weights"].update(sha256="0" * 64),
        "shape": lambda c: c["weights"]["tensors"][0].update(shape=[2**31, 2]),
        "long shapes": lambda c: [t.update(shape=[30_000_000]) for t in c["weights"]["tensors"]],
        "offset": lambda c: c["weights"]["tensors"][0].update(offset=10**7),
        "scale": lambda c: c["weights"]["tensors"][0].update(scale=-4),
        "type": lambda c: c["weights"]["tensors"][0].update(type="int8"),
        "tensors": lambda c: c["weights"].update(tensors=None),
        "methods": lambda c: c.update(methods="all"),
        "words": lambda c: c.update(text={"words": [1, 2], "length": 16}),
        "words without a graph": lambda c: c.update(text={"words": ["a", "b"], "length": 16}),
    }
    places = {}
    for name, change in changes.items():
        places[name] = tmp_path / name
        shutil.copytree(exported, places[name])
        (places[name] / "model.json").write_bytes(hostile(card, change))
    for name, content in (("no json", b"\xff\xfe{"), ("a list", b"[]"), ("null", b"null"), ("deep", b"[" * 90000)):
        places[name] = tmp_path / name
        shutil.copytree(exported, places[name])
        (places[name] / "model.json").write_bytes(content)
    (tmp_path / "empty").mkdir()
    places["empty"] = tmp_path / "empty"
    code = """import { openBundle } from "lab/engine/bundle.js";
    const out = {};
    for (const [name, path] of Object.entries(given)) out[name] = await told(() => openBundle(folder(path), () => {}));
    answer(out);"""
    for name, said in in_node(code, {name: str(path) for name, path in places.items()}).items():
        assert isinstance(said, str), name
        assert said.startswith("InputError: "), (name, said)
        assert len(said) < 200


# ---------------------------------------------------------------- the worker

TALK = """async ({ base, elsewhere, a, b }) => {
  const worker = new Worker("lab/engine/worker.js", { type: "module" });
  const waiting = new Map(), ends = [], log = [];
  let last = 0;
  worker.onmessage = ({ data }) => {
    log.push(data);
    if (data.type === "progress") return;
    ends.push(data.id);
    waiting.get(data.id)(data);
  };
  const send = (message) => { worker.postMessage({ id: ++last, ...message }); return last; };
  const ask = (message) => new Promise((resolve) => { waiting.set(last + 1, resolve); send(message); });
  const [x, y] = [Float32Array.from(a), Float32Array.from(b)];
  const run = (model, method, options = {}) => ask({ type: "run", model, method, options, a: x, b: y });
  const out = {};
  out.early = await run(1, "grad_cam");
  out.load = await ask({ type: "load", base: new URL(base, location.href).href });
  const model = last;
  out.elsewhere = await ask({ type: "load", base: elsewhere });
  out.scheme = await ask({ type: "load", base: "file:///etc/passwd" });
  out.missing = await ask({ type: "load", base: new URL("nowhere/", location.href).href });
  const long = run(model, "conditional_occlusion", { stride: 1 });
  const target = last;
  const next = run(model, "interaction_cam");
  const never = run(model, "smooth_grad");
  worker.postMessage({ id: 900, type: "cancel", target: last });
  setTimeout(() => worker.postMessage({ id: 901, type: "cancel", target }), 300);
  [out.long, out.next, out.never] = await Promise.all([long, next, never]);
  out.short = await ask({ type: "run", model, method: "grad_cam", options: {}, a: x.slice(1), b: y });
  out.odd = await ask({ type: "dance" });
  const names = ["model.json", "weights.bin", ...Object.keys(out.load.result.card.graphs).map((g) => `${g}.onnx`)];
  const files = await Promise.all(names.map(async (n) => new File([await (await fetch(`${base}${n}`)).blob()], n)));
  out.dropped = await ask({ type: "load", files });
  out.again = await run(last, "interaction_cam");
  out.unload = await ask({ type: "unload", model });
  out.gone = await run(model, "grad_cam");
  out.ends = ends;
  out.bytes = log.filter((m) => m.type === "progress" && m.bytes && m.id === model).map((m) => [m.done, m.total]);
  worker.terminate();
  return JSON.parse(JSON.stringify(out, (_, v) => (ArrayBuffer.isView(v) ? Array.from(v) : v)));
}"""


@pytest.fixture(scope="module")
def talk(runtime: Path, exported: Path, pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A conversation with the worker in Chromium; every request it made is in `asked`."""
    playwright = pytest.importorskip("playwright.sync_api")
    named = (os.environ.get("XAICL_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    chromium = next((found for name in named if name and (found := shutil.which(name))), None)
    if not chromium:
        pytest.skip("no Chromium here")
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(LAB, site / "lab")
    for name in (RUNTIME, BINARY):
        shutil.copy2(runtime / name, site / "lab" / name)
    shutil.copytree(exported, site / "models" / "own model #1")
    (site / "index.html").write_text("<!doctype html><title>worker</title>")
    asked: list[str] = []
    with served(site) as address, playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}index.html")
        given = {"base": "models/own%20model%20%231/", "elsewhere": "https://example.org/model/"}
        said = page.evaluate(TALK, {**given, "a": pair.a.flatten().tolist(), "b": pair.sides[1].flatten().tolist()})
        browser.close()
    return {**said, "asked": [url.removeprefix(address) for url in asked]}


def test_the_worker_answers_in_turn_and_stops_when_told(talk: dict[str, Any], pair: Pair) -> None:
    assert talk["early"]["message"] == "no such model is loaded"
    assert talk["load"]["result"]["card"]["name"] == MODEL
    assert talk["long"] == {"id": talk["long"]["id"], "type": "error", "message": "cancelled", "cancelled": True}
    assert talk["never"]["cancelled"]
    assert talk["ends"] == sorted(talk["ends"])  # what waited came after what ran
    want = explain(load_model(MODEL, "cpu"), pair, "interaction_cam")
    for made in (talk["next"], talk["again"]):
        assert away(made["result"]["a"]["data"], want.a) < 1e-4
    assert talk["dropped"]["result"]["card"] == talk["load"]["result"]["card"]
    assert talk["unload"]["result"] == {"unloaded": True}
    assert talk["gone"]["message"] == "no such model is loaded"


def test_the_worker_asks_its_own_host_alone(talk: dict[str, Any]) -> None:
    assert talk["elsewhere"]["message"] == "this address is on another host"
    assert "https://" in talk["scheme"]["message"]
    assert not [url for url in talk["asked"] if "://" in url]
    assert sum(url.endswith(BINARY) for url in talk["asked"]) == 1


def test_the_worker_says_what_is_wrong(talk: dict[str, Any]) -> None:
    assert "model.json cannot be loaded (status 404)" in talk["missing"]["message"]
    assert talk["short"]["message"] == "expected images of 64 x 64 pixels"
    assert talk["odd"]["message"] == "unknown message dance"


def test_the_worker_tells_how_much_has_arrived(talk: dict[str, Any]) -> None:
    done, totals = zip(*talk["bytes"], strict=True)
    assert done[-1] == totals[-1] > 700_000
    assert all(d <= t for d, t in talk["bytes"])
