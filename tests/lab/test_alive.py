"""The page `book/alive`: its loss, its gradients and its optimiser against torch, its runs, and the numbers that its text states."""

import math
import re
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.lab.alive import PAGE, PICTURE, RUNS, STEPS, presets, still_picture
from tests.lab_node import in_node
from xaicl_lib.training.losses import nt_xent

POINTS = 7  # of a batch, each in two views
PIECES = """
import { circular, exp, normals, tanh } from "lab/alive/arithmetic.js";
import { adam, countOfWeights, embed } from "lab/alive/encoder.js";
import { EVEN, alignment, sameClass, uniformity } from "lab/alive/losses.js";
import { gradientOf } from "lab/alive/training.js";
import { viewsOf } from "lab/alive/points.js";
import { uniform } from "lab/engine/random.js";
const numbers = (values) => Float64Array.from(values);
const learned = (batches, temperature) => {
  const flat = numbers(given.weights);
  const update = adam(flat);
  batches.forEach((views, k) => update(gradientOf(flat, numbers(views), { temperature, negatives: true }).grad, 0.001 * (k + 1)));
  return flat;
};
const z = embed(numbers(given.weights), numbers(given.views));
const moved = (way, strength) => viewsOf(numbers(given.points), [...Array(POINTS).keys()], { way, strength }, uniform(3));
const POINTS = given.points.length / 2;
answer({
  countOfWeights,
  losses: given.asked.map((asked) => gradientOf(numbers(given.weights), numbers(given.views), asked)),
  learned: learned(given.batches, 0.3),
  z, alignment: alignment(z), uniformity: uniformity(z), even: EVEN, same: sameClass(z, given.labels),
  exp: given.x.map(exp), tanh: given.x.map(tanh), circular: given.x.map(circular), normals: normals(4000, uniform(5)),
  moved: { all: moved("all", 0.2), sideways: moved("sideways", 0.2), turn: moved("turn", 0.2), still: moved("turn", 0) },
});
"""
ASKED = [(temperature, negatives) for temperature in (0.02, 0.2, 20.0) for negatives in (True, False)]


def encoder(weights: Tensor) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2)).double()
    nn.utils.vector_to_parameters(weights.clone(), net.parameters())
    return net


def loss_of(z: Tensor, temperature: float, negatives: bool) -> Tensor:
    """From the page's formula, view by view."""
    m = len(z)
    found = []
    for i in range(m):
        others = [z[i] @ z[k] / temperature for k in range(m) if k != i]
        found.append(torch.logsumexp(torch.stack(others), 0) * negatives - z[i] @ z[(i + m // 2) % m] / temperature)
    return torch.stack(found).mean()


@pytest.fixture(scope="module")
def asked() -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "weights": torch.randn(32 * 3 + 32 * 33 + 2 * 33, dtype=torch.float64) / 3,
        "views": torch.randn(2 * POINTS, 2, dtype=torch.float64),
        "batches": torch.randn(12, 2 * POINTS, 2, dtype=torch.float64),
        "points": torch.randn(POINTS, 2, dtype=torch.float64),
        "labels": torch.arange(2 * POINTS) % 3,
        "x": torch.linspace(-30, 30, 401, dtype=torch.float64),
    }


@pytest.fixture(scope="module")
def found(asked: dict[str, Any]) -> dict[str, Any]:
    flat = {name: value.flatten(1).tolist() if name == "batches" else value.flatten().tolist() for name, value in asked.items()}
    return in_node(PIECES, {**flat, "asked": [{"temperature": t, "negatives": n} for t, n in ASKED]})


@pytest.mark.parametrize("k", range(len(ASKED)), ids=map(str, ASKED))
def test_loss_and_gradient_equal_torch(k: int, asked: dict[str, Any], found: dict[str, Any]) -> None:
    temperature, negatives = ASKED[k]
    net = encoder(asked["weights"])
    z = F.normalize(net(asked["views"]), dim=1)
    loss = loss_of(z, temperature, negatives)
    grad = nn.utils.parameters_to_vector(torch.autograd.grad(loss, list(net.parameters())))
    got = found["losses"][k]
    assert found["countOfWeights"] == len(grad)
    assert got["loss"] == pytest.approx(loss.item(), rel=1e-9)
    assert float((torch.tensor(got["grad"]) - grad).norm() / grad.norm()) < 1e-4
    if negatives:
        assert got["loss"] == pytest.approx(nt_xent(*z.chunk(2), temperature).item(), rel=1e-5, abs=1e-5)


def test_the_optimiser_is_adam(asked: dict[str, Any], found: dict[str, Any]) -> None:
    """As torch.optim.Adam writes it, whose import costs more than the rest of this file."""
    weights, first, second = asked["weights"].clone(), 0.0, 0.0
    for k, views in enumerate(asked["batches"], start=1):
        net = encoder(weights)
        loss = loss_of(F.normalize(net(views), dim=1), 0.3, True)
        grad = nn.utils.parameters_to_vector(torch.autograd.grad(loss, list(net.parameters())))
        first, second = 0.9 * first + 0.1 * grad, 0.999 * second + 0.001 * grad.square()
        weights -= 0.001 * k * first / (1 - 0.9**k) / ((second / (1 - 0.999**k)).sqrt() + 1e-8)
    moved = weights - asked["weights"]
    assert float((torch.tensor(found["learned"]) - weights).norm() / moved.norm()) < 1e-4


def test_what_is_measured(asked: dict[str, Any], found: dict[str, Any]) -> None:
    z = torch.tensor(found["z"], dtype=torch.float64).view(-1, 2)
    assert torch.allclose(z, F.normalize(encoder(asked["weights"])(asked["views"]), dim=1), atol=1e-9)
    za, zb = z.chunk(2)
    assert found["alignment"] == pytest.approx((za - zb).square().sum(1).mean().item(), rel=1e-9)
    assert found["uniformity"] == pytest.approx(torch.pdist(z).square().mul(-2).exp().mean().log().item(), rel=1e-9)
    assert found["even"] == pytest.approx(
        math.log(math.exp(-4) * torch.special.i0(torch.tensor(4.0, dtype=torch.float64)).item()), abs=1e-9
    )
    near = (z @ z.T >= math.cos(math.radians(10))) & ~torch.eye(len(z), dtype=torch.bool)
    labels = asked["labels"]
    shares = [float((labels[near[i]] == labels[i]).double().mean()) for i in range(len(z)) if near[i].any()]
    assert len(shares) > 0
    assert found["same"] == pytest.approx(sum(shares) / len(shares))


def test_functions_that_every_browser_computes_alike(asked: dict[str, Any], found: dict[str, Any]) -> None:
    x = asked["x"]
    assert torch.allclose(torch.tensor(found["exp"], dtype=torch.float64), x.exp(), rtol=1e-14, atol=0)
    assert torch.allclose(torch.tensor(found["tanh"], dtype=torch.float64), x.tanh(), rtol=0, atol=1e-15)
    turns = torch.stack([(2 * math.pi * x).cos(), (2 * math.pi * x).sin()], 1)
    assert torch.allclose(torch.tensor(found["circular"], dtype=torch.float64), turns, rtol=0, atol=1e-12)
    drawn = torch.tensor(found["normals"])
    assert drawn.mean().item() == pytest.approx(0, abs=0.06)
    assert drawn.std().item() == pytest.approx(1, abs=0.04)
    assert (drawn.abs() < 1).double().mean().item() == pytest.approx(0.68, abs=0.03)


def test_augmentations_keep_what_they_say(asked: dict[str, Any], found: dict[str, Any]) -> None:
    points = asked["points"]
    moved = {way: torch.tensor(flat, dtype=torch.float64).view(-1, 2) for way, flat in found["moved"].items()}
    assert torch.equal(moved["sideways"][:, 1], points[:, 1])
    assert torch.allclose(moved["turn"].norm(dim=1), points.norm(dim=1))
    assert torch.allclose(moved["still"], points, atol=1e-12)
    for way, axis in (("all", 0), ("all", 1), ("sideways", 0), ("turn", 0)):
        assert (moved[way] - points)[:, axis].abs().min() > 0, way


# ---------------------------------------------------------------- runs

TOLD = """
import { circle } from "lab/alive/drawing.js";
import { START } from "lab/alive/training.js";
import { hour, summary } from "lab/alive/words.js";
const all = [{}, ...given.presets].map(runOf);
const settings = readSettings({});
const halting = begin(settings);
for (let k = 0; k < 30; k += 1) { train(halting, settings, 3); seen(halting, settings); }
const straight = begin(settings);
train(straight, settings, 90);
const other = begin({ ...settings, seed: 1 });
train(other, settings, 90);
const plain = ({ loss, alignment, uniformity, same }) => ({ loss, alignment, uniformity, same: 100 * same });
answer({
  runs: all.map(({ before, after }) => ({ before: plain(before), after: plain(after), said: summary(after, before) })),
  weights: [halting, straight, other].map(({ flat }) => flat),
  refused: await Promise.all(given.hostile.map((one) => told(() => readSettings(one)))),
  start: START,
  hours: [[0, 1], [0.5, 0.9], [1, 0], [0, -1], [-1, 0], [-0.1, 1]].map(([x, y]) => hour(x, y)),
});
"""
HOSTILE: list[tuple[Any, str]] = [
    ({"temperature": 0}, "temperature cannot be 0, but a number from 0.02 to 20"),
    ({"temperature": "1"}, 'temperature cannot be "1", but a number from 0.02 to 20'),
    ({"temperature": None}, "temperature cannot be null, but a number"),
    ({"batch": 12.5}, "batch cannot be 12.5, but a whole number from 4 to 96"),
    ({"batch": 1e9}, "batch cannot be 1000000000, but a whole number"),
    ({"strength": -0.1}, "strength cannot be -0.1, but a number from 0 to 1"),
    ({"seed": "seven"}, 'seed cannot be "seven", but a whole number'),
    ({"set": "toString"}, 'set cannot be "toString", but clouds or rings'),
    ({"way": ["all"]}, "way cannot be all, but all or sideways or turn"),
    ({"negatives": 0}, "negatives cannot be 0, but true or false"),
    ({"colour": "red"}, 'no setting "colour" here, but temperature, batch'),
]
STATED = [  # of the text, with what each number is: the run (0 is the start, then the buttons in order), before or after, and the measure
    (r"the loss from (\d+\.\d+) to (\d+\.\d+)", (0, "before", "loss"), (0, "after", "loss")),
    (r"the uniformity from (-\d+\.\d+) to (-\d+\.\d+)", (0, "before", "uniformity"), (0, "after", "uniformity")),
    (r"(\d+\.\d+) before, (\d+\.\d+) after\. And the", (0, "before", "alignment"), (0, "after", "alignment")),
    (r"(\d+) % are of its cloud before, (\d+) % after", (0, "before", "same"), (0, "after", "same")),
    (r"alignment (\d+\.\d+), uniformity (\d+\.\d+)\. This is", (1, "after", "alignment"), (1, "after", "uniformity")),
    (r"as it can be, (-\d+\.\d+)", (1, "after", "loss")),
    (r"alignment ends at (\d+\.\d+), the uniformity at (-\d+\.\d+)", (2, "after", "alignment"), (2, "after", "uniformity")),
    (r"hardly shows it: (\d+\.\d+) before, (\d+\.\d+) after", (2, "before", "loss"), (2, "after", "loss")),
    (r"only (\d+) % are", (3, "after", "same")),
    (r"loss, (\d+\.\d+), is", (3, "after", "loss")),
    (r"mix: (\d+) % are", (4, "after", "same")),
    (r"they part: (\d+) %", (5, "after", "same")),
]


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    return in_node(RUNS + TOLD, {"steps": STEPS, "presets": presets(), "hostile": [asked for asked, _ in HOSTILE]})


def test_the_text_states_what_the_runs_give(told: dict[str, Any]) -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split()).replace("\N{MINUS SIGN}", "-")
    wrong = []
    for pattern, *places in STATED:
        stated = re.findall(pattern, text)
        assert len(stated) == 1, pattern
        for number, (run, when, key) in zip([stated[0]] if len(places) == 1 else stated[0], places, strict=True):
            made = told["runs"][run][when][key]
            digits = len(number.partition(".")[2])
            if abs(float(number) - made) > 0.501 * 10**-digits:
                wrong.append(f"{pattern}: {number}, not {made:.4f}")
    assert wrong == []


def test_the_same_seed_is_the_same_run_however_it_is_halted(told: dict[str, Any]) -> None:
    halting, straight, other = told["weights"]
    assert halting == straight
    assert straight != other


def test_runs_fall_spread_and_collapse(told: dict[str, Any]) -> None:
    start, alone, hot, across, *_ = told["runs"]
    assert start["after"]["loss"] < start["before"]["loss"] - 0.5
    assert start["after"]["uniformity"] < -1.4 < start["before"]["uniformity"]
    assert alone["after"]["uniformity"] > -0.01
    assert alone["said"].startswith("Collapsed")
    assert hot["after"]["alignment"] < start["after"]["alignment"] / 3
    assert across["after"]["same"] < 60 < 90 < start["after"]["same"]
    assert "clock and" in start["said"]
    assert not start["said"].startswith("Collapsed")


def test_hostile_settings_are_refused_in_a_sentence(told: dict[str, Any]) -> None:
    for (asked, says), got in zip(HOSTILE, told["refused"], strict=True):
        assert isinstance(got, str), asked
        assert got.startswith(f"InputError: {says}"), (asked, got)
    assert told["start"]["temperature"] == 0.2


def test_directions_are_told_as_on_a_clock(told: dict[str, Any]) -> None:
    assert told["hours"] == [12, 1, 3, 6, 9, 12]
    said = told["runs"][0]["said"]
    assert len(set(re.findall(r"(\w+) near \d+", said))) == 4, said


def numbers(svg: str) -> list[float]:
    return [float(one) for one in re.findall(r"-?\d+\.?\d*", svg)]


def test_the_still_picture_is_of_these_runs() -> None:
    stored, made = PICTURE.read_text(encoding="utf-8"), still_picture()
    assert len(stored) < 60_000
    assert len(numbers(stored)) == len(numbers(made))
    assert max(abs(a - b) for a, b in zip(numbers(stored), numbers(made), strict=True)) < 0.2, "python -m tests.lab.alive draws it anew"
    headings = re.findall(r"^#+", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert all(len(b) <= len(a) + 1 for a, b in pairwise(headings))
