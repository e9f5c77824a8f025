"""The lab on a graphics processor: numbers by a WebGPU that a program imitates, and who is asked, with workers of straw."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.check_pages import _find_chromium, chromium, served
from tests.lab.test_engine import away, exported, pair, runtime
from tests.lab_node import LAB, in_node
from xaicl_lib import Pair, explain, load_model

__all__ = ["exported", "pair", "runtime"]
WEBGPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
STRIDE = 24

TALK = """async ({ a, b, stride }) => {
  const worker = new Worker("lab/engine/worker.js", { type: "module" });
  const base = new URL("model/", location.href).href;
  let last = 0;
  const ask = (message) => new Promise((resolve) => {
    const id = ++last;
    worker.addEventListener("message", ({ data }) => { if (data.id === id && data.type !== "progress") resolve(data); });
    worker.postMessage({ id, ...message });
  });
  const out = { adapter: Boolean(await navigator.gpu?.requestAdapter()) };
  out.used = await (await import(new URL("lab/engine/gpu.js", location.href).href)).hasGpu();
  if (!out.adapter) return out;
  out.load = await ask({ type: "load", base, gpu: { cores: 1, imitated: true } });
  const model = last;
  const images = { a: Float32Array.from(a), b: Float32Array.from(b) };
  const run = () => ask({ type: "run", model, method: "conditional_occlusion", options: { stride }, ...images });
  out.run = await run();
  window.again = run;
  return JSON.parse(JSON.stringify(out, (_, v) => (ArrayBuffer.isView(v) ? Array.from(v) : v)));
}"""
LOSE = """async () => {
  const { env } = await import(new URL("../ort.jspi.bundle.min.mjs", self.location.href).href);
  (await env.webgpu.device).destroy();
}"""


@pytest.fixture(scope="module")
def talk(runtime: Path, exported: Path, pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A conversation with the worker in a browser whose WebGPU is imitated; at its end the device is lost."""
    pytest.importorskip("playwright.sync_api")
    try:
        _find_chromium()
    except SystemExit as missing:
        pytest.skip(str(missing))
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(LAB, site / "lab")
    shutil.copytree(runtime, site / "lab", dirs_exist_ok=True)
    shutil.copytree(exported, site / "model")
    (site / "index.html").write_text("<!doctype html><title>worker</title>")
    with served(site) as address, chromium(*WEBGPU) as browser:
        page = browser.new_page()
        page.goto(f"{address}index.html")
        said = page.evaluate(TALK, {"a": pair.a.flatten().tolist(), "b": pair.sides[1].flatten().tolist(), "stride": STRIDE})
        if said["adapter"]:
            page.workers[0].evaluate(LOSE)
            said["lost"] = page.evaluate("again()")
    return dict(said)


def test_webgpu_gives_the_maps_of_torch(talk: dict[str, Any], pair: Pair) -> None:
    if not talk["adapter"]:
        pytest.skip("no WebGPU in this Chromium")
    assert talk["load"]["type"] == "result", talk["load"]
    want = explain(load_model(talk["load"]["result"]["card"]["name"], "cpu"), pair, "conditional_occlusion", stride=STRIDE)
    for side in "ab":
        assert away(talk["run"]["result"][side]["data"], getattr(want, side)) < 1e-4


def test_a_webgpu_that_is_imitated_is_not_used(talk: dict[str, Any]) -> None:
    assert talk["used"] is False


def test_a_lost_device_is_an_error_that_the_page_hears_of(talk: dict[str, Any]) -> None:
    if not talk["adapter"]:
        pytest.skip("no WebGPU in this Chromium")
    assert talk["lost"]["type"] == "error"
    assert talk["lost"]["message"].startswith("the computation failed")


def test_other_numbers_are_seen() -> None:
    code = """import { same } from "lab/engine/gpu.js";
    const of = (...rows) => ({ data: Float32Array.from(rows.flat()), dims: [rows.length, 2] });
    const want = of([3, 4], [0.3, 0.4]);
    const others = [want, of([3.00004, 4], [0.3, 0.4]), of([3, 4], [0.30004, 0.4]), of([3, 4], [NaN, 0.4])];
    answer(others.map((other) => same(other, want)));"""
    assert in_node(code) == [True, True, False, False]


# Workers that answer at once: `fails` names what one for the graphics processor fails at.
STRAW = """
import { createTeam } from "lab/page/team.js";
const asked = [];
let fails = given.fails;
globalThis.Worker = class {
  constructor() { this.gpu = false; }
  terminate() {}
  postMessage({ id, type, gpu }) {
    this.gpu ||= Boolean(gpu);
    const on = this.gpu ? "gpu" : "cores";
    asked.push(`${type} ${on}${gpu ? ` ${gpu.cores}` : ""}`);
    const failed = this.gpu && type === fails;
    const map = { data: Float32Array.of(1), h: 1, w: 1 };
    const result = { a: map, b: map, extremes: [0, 1], forwards: 1, score: 0 };
    const answer = failed ? { type: "error", message: "no" } : { type: "result", result };
    queueMicrotask(() => this.onmessage({ data: { id, ...answer } }));
  }
};
const adapter = given.gpu === "none" ? null : { info: { isFallbackAdapter: given.gpu === "imitated" } };
Object.defineProperty(globalThis, "navigator", { value: { gpu: given.gpu ? { requestAdapter: async () => adapter } : undefined } });
WebAssembly.Suspending ??= class {};
const team = createTeam("worker.js", given.cores);
const source = { base: "here" };
await team.load("m", source);
const devices = [];
for (let k = 0; k < 3; k++) {
  if (k === 2) fails = given.later ?? fails;
  devices.push((await team.run({ model: "m", source, method: given.method, options: {} }, {})).device ?? null);
  await new Promise((resolve) => setTimeout(resolve, 5));
}
answer({ devices, asked: asked.filter((one) => one.includes("gpu")) });
"""


def straw(**given: Any) -> dict[str, Any]:
    return dict(in_node(STRAW, {"method": "conditional_occlusion", "cores": 2, "gpu": True, **given}))


def test_what_is_proven_between_two_runs_does_the_next() -> None:
    for cores in (1, 2):
        said = straw(cores=cores)
        assert said["devices"] == [None, "by WebGPU", "by WebGPU"]
        assert said["asked"] == [f"load gpu {cores}", "run gpu", "run gpu"]


def test_only_methods_of_many_images_go_there() -> None:
    assert straw(method="grad_cam") == {"devices": [None] * 3, "asked": []}
    for gpu in (False, "none", "imitated"):
        assert straw(gpu=gpu) == {"devices": [None] * 3, "asked": []}


def test_what_fails_once_is_not_asked_again() -> None:
    assert straw(fails="load") == {"devices": [None] * 3, "asked": ["load gpu 2"]}
    said = straw(fails="none", later="run")
    assert said == {"devices": [None, "by WebGPU", None], "asked": ["load gpu 2", "run gpu", "run gpu"]}
