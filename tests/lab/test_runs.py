"""Runs of the lab's methods on made-up networks: refused questions, cancelling, and one run shared among workers."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.lab_node import in_node

FAKE_NET = """
import { explain } from "lab/engine/methods.js";
const card = { name: "<b>mine</b>", size: 4, guided: false, methods: given?.methods ?? ["conditional_occlusion"] };
const encode = async (x) => ({ z: { data: Float32Array.from({ length: 2 * x.dims[0] }, (_, k) => 1 + k % 2), dims: [x.dims[0], 2] } });
const net = { card, count: { forwards: 0, backwards: 0 }, normalize: (x) => x, encode };
const x = new Float32Array(48);
const seen = { ...net, encode: async (x) => { // embeddings that depend on where the image is hidden
  net.count.forwards += x.dims[0];
  const each = x.data.length / x.dims[0];
  const wave = (k) => (s, v, n) => s + v * Math.cos(n + k % 2);
  const image = (k) => x.data.slice((k >> 1) * each, ((k >> 1) + 1) * each);
  const z = Float32Array.from({ length: 2 * x.dims[0] }, (_, k) => image(k).reduce(wave(k), 1));
  return { z: { data: z, dims: [x.dims[0], 2] } };
} };
"""


@pytest.mark.parametrize(
    ("method", "options", "says"),
    [
        ("lime", {}, "has no method lime"),
        ("__proto__", {}, "has no method __proto__"),
        ("grad_cam", {}, "has no method grad_cam"),
        ("conditional_occlusion", {"windw": 3}, "has no option windw"),
        ("conditional_occlusion", {"window": 5}, "a window of 1 to 4 pixels"),
        ("conditional_occlusion", {"stride": 0}, "a stride of at least 1"),
        ("conditional_occlusion", {"window": 2.5}, "a window of 1 to 4 pixels"),
        ("smooth_grad", {"guided": True}, "has no ReLUs"),
        ("smooth_grad", {"samples": 1e9}, "1 to 10000 samples"),
        ("smooth_grad", {"samples": "many"}, "expected samples of smooth_grad as number"),
        ("smooth_grad", {"level": -1}, "at least 0"),
        ("smooth_grad", {"samples": 2, "noise": [[0.0]]}, "expected 2 noise images"),
        ("pairwise_occlusion", {"scale": [0.5, 0.1]}, "smallest, largest"),
        ("pairwise_occlusion", {"masks": 0}, "1 to 10000 masks"),
    ],
)
def test_wrong_questions(method: str, options: dict[str, Any], says: str) -> None:
    code = FAKE_NET + "answer(await told(() => explain(net, given.method, x, x, given.options)));"
    got = in_node(code, {"method": method, "options": options, "methods": ["conditional_occlusion", "smooth_grad", "pairwise_occlusion"]})
    assert isinstance(got, str)
    assert got.startswith("InputError: ")
    assert says in got


@pytest.mark.parametrize("temperature", [None, 1, 0.3])
def test_rectangles_that_hide_the_same_count_the_same(temperature: float | None) -> None:
    places = [{"top": k, "left": 0, "height": 1, "width": 4} for k in range(4)]
    code = (
        FAKE_NET
        + """
    const options = { masks: 4, temperature: given.temperature, rectangles: { a: given.places, b: given.places } };
    answer((await explain(net, "pairwise_occlusion", x, x, options)).a.data);"""
    )
    got = in_node(code, {"temperature": temperature, "places": places, "methods": ["pairwise_occlusion"]})
    assert_allclose(got, [0.25] * 16, rtol=1e-6)


@pytest.mark.parametrize(("window", "places"), [(1, 16), (2, 9)])  # centred on cells, and between them
def test_parts_of_a_run_add_up_to_the_whole(window, places) -> None:
    code = (
        FAKE_NET
        + """
    const [a, b] = [Float32Array.from(x, (_, k) => k / 48), Float32Array.from(x, (_, k) => Math.sin(k))];
    const [steps, halves] = [[], [{ index: 0, of: 2 }, { index: 1, of: 2 }]];
    const [noted, quiet] = [(...s) => steps.push(s), () => {}];
    const way = { window: given.window, stride: 1 };
    const run = (part, step) => explain(seen, "conditional_occlusion", a, b, way, step, undefined, part);
    const [whole, first, second] = [await run(undefined, quiet), await run(halves[0], noted), await run(halves[1], quiet)];
    const maps = [whole, first, second].map((r) => ["a", "b"].map((s) => Array.from(r[s].data)));
    const refused = await told(() => explain(net, "smooth_grad", x, x, {}, quiet, undefined, halves[0]));
    answer([...maps, steps, [whole.forwards, first.forwards], refused]);"""
    )
    whole, first, second, steps, forwards, refused = in_node(code, {"methods": ["conditional_occlusion", "smooth_grad"], "window": window})
    half = (places + 1) // 2
    assert_allclose(np.array(first) + np.array(second), np.array(whole), atol=1e-7)
    if window == 1:
        assert (np.array(first) * np.array(second) == 0).all(), "each place is made once"
    assert np.abs(np.array(whole)).min() > 0
    assert steps[-1][:2] == [2 * half, 2 * half]
    assert forwards == [2 + 2 * places, 2 + 2 * half]
    assert refused == "InputError: smooth_grad cannot be made in parts"


def test_what_hiding_takes_at_most_is_of_a_place_and_not_of_what_lies_between_places() -> None:
    code = (
        FAKE_NET
        + """
    const [a, b] = [Float32Array.from(x, (_, k) => k / 48), Float32Array.from(x, (_, k) => Math.sin(k))];
    const run = (stride) => explain(seen, "conditional_occlusion", a, b, { window: 1, stride });
    answer([await run(1), await run(3)]);"""
    )
    fine, coarse = in_node(code)
    corners = [fine[side]["data"][k] for side in "ab" for k in (0, 3, 12, 15)]  # the places of a stride of 3
    assert_allclose(coarse["extremes"], [min(0, *corners), max(0, *corners)], rtol=1e-6)
    assert max(coarse["a"]["data"] + coarse["b"]["data"]) < coarse["extremes"][1]


FAKE_WORKERS = """
let alive = 0;
const asked = [];
globalThis.Worker = class { // answers as worker.js does; the one made as `given.broken`-th cannot load
  constructor() { this.number = alive; alive += 1; }
  terminate() { asked.push(["terminated", this.number]); }
  postMessage(message) {
    asked.push([message.type, this.number, message.part ?? null]);
    const say = (type, rest) => setTimeout(() => this.onmessage({ data: { id: message.id, type, ...rest } }));
    if (message.type === "load") return say(this.number === given.broken ? "error" : "result", { result: {}, message: "no memory" });
    const { index, of } = message.part ?? { index: 0, of: 1 };
    const extremes = [-index, 9 - index];
    const map = { h: 2, w: 2, data: Float32Array.from([1, 2, 3, 4], (v, k) => (k % of === index ? v : 0)) };
    say("progress", { done: 1, total: 4 });
    say("result", { result: { a: map, b: map, extremes, score: 0.5, seconds: 1, forwards: 6, notes: [] } });
  }
};
const { createTeam } = await import("lab/page/team.js");
const team = createTeam("worker.js", given.cores);
await team.load("net", { base: "x" });
const bars = [];
const request = { model: "net", source: { base: "x" }, method: given.method, options: {} };
const found = await team.run(request, { progress: (how) => bars.push([how.done, how.total]) });
answer({ a: Array.from(found.a.data), extremes: found.extremes, forwards: found.forwards, alive, asked, bars });
"""


def test_occlusion_is_shared_among_workers() -> None:
    got = in_node(FAKE_WORKERS, {"cores": 8, "method": "conditional_occlusion", "broken": -1})
    assert got["a"] == [1, 2, 3, 4]
    assert got["extremes"] == [-3, 9]
    assert got["alive"] == 4
    assert got["forwards"] == 24
    assert [part for kind, _, part in got["asked"] if kind == "run"] == [{"index": k, "of": 4} for k in range(4)]
    assert got["bars"][-1] == [4, 16], "one bar for all"


@pytest.mark.parametrize(("cores", "method"), [(1, "conditional_occlusion"), (8, "interaction_cam")])
def test_one_worker_does_what_is_short_or_cannot_be_shared(cores: int, method: str) -> None:
    got = in_node(FAKE_WORKERS, {"cores": cores, "method": method, "broken": -1})
    assert got["alive"] == 1
    assert got["a"] == [1, 2, 3, 4]


def test_a_team_that_fails_leaves_the_work_to_the_first() -> None:
    got = in_node(FAKE_WORKERS, {"cores": 2, "method": "conditional_occlusion", "broken": 1})
    assert got["a"] == [1, 2, 3, 4]
    assert ["terminated", 1] in got["asked"]
    assert got["asked"][-1] == ["run", 0, None]


def test_a_run_is_cancelled_between_batches() -> None:
    code = (
        FAKE_NET
        + """
    const control = new AbortController();
    let steps = 0;
    const step = () => { steps += 1; if (steps === 2) control.abort(); };
    const end = await told(() => explain(net, "conditional_occlusion", x, x, { window: 1, stride: 1 }, step, control.signal));
    const late = await told(() => explain(net, "conditional_occlusion", x, x, {}, step, control.signal));
    answer([end, late, steps, net.count]);"""
    )
    end, late, steps, _ = in_node(code)
    assert "AbortError" in end or "aborted" in end
    assert "aborted" in late
    assert steps in (2, 3)


def test_occlusion_is_seen_coarsely_at_once_and_exactly_at_the_end() -> None:
    code = (
        FAKE_NET
        + """
    const { filled } = await import("lab/page/draw.js");
    const large = { ...seen, card: { ...card, size: 10 } };
    const x = Float32Array.from({ length: 300 }, (_, k) => Math.sin(k));
    const found = [];
    const known = (map) => Array.from(map.data, (v) => (Number.isNaN(v) ? null : v));
    const note = (done, total, soFar) => { if (soFar) found.push([done, total, known(soFar.a), known(soFar.b), filled(soFar.a).data]); };
    const end = await explain(large, "conditional_occlusion", x, x, { window: 1, stride: 1 }, note);
    answer([found, end.a, end.b]);"""
    ).replace("const x = new Float32Array(48);\n", "")
    found, a, b = in_node(code)
    side, count, (first, last) = a["w"], len(a["data"]), (found[0], found[-1])
    coarse = [i * side + j for i in range(0, side, 4) for j in range(0, side, 4)]
    assert (side, count, len(coarse)) == (10, 100, 9)
    assert [k for k, v in enumerate(first[2]) if v is not None] == [k for k, v in enumerate(first[3]) if v is not None] == coarse
    assert first[:2] == [2 * len(coarse), 2 * count]
    assert last == [2 * count, 2 * count, a["data"], b["data"], a["data"]], "nothing is left to be filled"
    for k in range(count):
        apart = {one: (one // side - k // side) ** 2 + (one % side - k % side) ** 2 for one in coarse}
        assert first[4][k] in {first[2][one] for one in coarse if apart[one] == min(apart.values())}
