"""The benchmark: what is true scores 1, what knows nothing scores chance, and a method that fails is told of in one line."""

import errno
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from xaicl_lib import Explanation, InputError, explain, load_model
from xaicl_lib.benchmark import Result, evaluate_method
from xaicl_lib.benchmark import suite as module
from xaicl_lib.benchmark.scores import METRICS, scored
from xaicl_lib.benchmark.suite import case
from xaicl_lib.cli import main
from xaicl_lib.data.drawing import render
from xaicl_lib.data.scenes import draw_pairs
from xaicl_lib.publishing.leaderboard import _named

PUBLIC = ["acbae586b054087b", "f2c86ec4ed0e57c4"]  # digests of the first five pairs of two kinds
SMALL = {"models": ["scenes_simclr"], "kinds": ["one_shared"], "count": 3}


@pytest.fixture(scope="module")
def model():
    return load_model("scenes_simclr", "cpu")


@pytest.fixture(scope="module")
def found(model):
    return case(model, "one_shared", 60)


def oracle(found):
    """Maps of what is true."""
    truth = found.pair.truth
    return Explanation(truth.a.float(), truth.b.float(), torch.zeros(len(found.pair)))


def means(found, made):
    return {name: (torch.tensor(v).mean().item(), torch.tensor(c).mean().item()) for name, (v, c) in scored(found, made).items()}


def test_the_truth_scores_one(found) -> None:
    assert set(means(found, oracle(found))) == set(METRICS)
    for name, (value, chance) in means(found, oracle(found)).items():
        assert value >= 0.95, name
        assert chance <= 0.5


def test_the_joint_truth_scores_one_and_its_opposite_nothing(found) -> None:
    a, b = (torch.nn.functional.adaptive_avg_pool2d(mask.float(), 8) for mask in (found.pair.truth.a, found.pair.truth.b))
    joint = torch.einsum("nij,nkl->nijkl", a, b)
    made = oracle(found)
    right = Explanation(made.a, made.b, made.score, joint=joint)
    assert means(found, right)["strongest_links"][0] == pytest.approx(1)
    wrong = Explanation(made.a, made.b, made.score, joint=-joint)
    assert means(found, wrong)["strongest_links"][0] == 0


def test_random_pixels_score_chance(found) -> None:
    """Within four standard errors of the mean over sixty pairs and six draws."""
    generator = torch.Generator().manual_seed(0)
    n, size = len(found.pair), found.pair.a.shape[2]
    values = {name: [] for name in METRICS}
    for _ in range(6):
        maps = torch.rand(2, n, size, size, generator=generator)
        for name, (value, chance) in scored(found, Explanation(maps[0], maps[1], torch.zeros(n))).items():
            values[name].append(torch.tensor(value) - torch.tensor(chance))
    for name, gains in values.items():
        gain = torch.cat(gains)
        assert gain.mean().abs() < 4 * gain.std() / len(gain) ** 0.5, name


def test_one_value_everywhere_is_chance_and_nothing_at_all_is_zero(found) -> None:
    flat, none = torch.ones(len(found.pair), 8, 8), torch.zeros(len(found.pair), 8, 8)
    for name, (value, chance) in means(found, Explanation(flat, flat, torch.zeros(len(flat)))).items():
        if name in ("relevance_mass", "strongest_links", "order"):
            assert value == pytest.approx(chance, abs=1e-6)
    empty = means(found, Explanation(none, none, torch.zeros(len(flat))))
    assert [empty[name][0] for name in ("pointing_game", "relevance_mass", "relevance_rank")] == [0, 0, 0]
    assert empty["order"][0] == 0.5


def test_a_pair_is_confirmed_by_drawing_it_again(model, found) -> None:
    """By hand for one pair: the shared object and the other one, gone."""
    drawn = draw_pairs(module.DRAWN * 60, "one_shared", torch.Generator().manual_seed(module.SEEDS["one_shared"]))[0]
    images, masks = render(drawn, model.size)
    row = next(k for k in range(len(drawn)) if torch.equal(images[k], found.pair.a[0]))
    assert torch.equal(masks[row, 0], found.pair.truth.a[0])
    whole, b = model.encode(images[row : row + 1]), model.encode(found.pair.b[:1], "b")
    for k, things in enumerate((drawn.things[1:], drawn.things[:1])):
        z = model.encode(render(replace(drawn, things=things), model.size)[0][row : row + 1])
        drop = torch.cosine_similarity(whole, b) - torch.cosine_similarity(z, b)
        assert drop.item() == pytest.approx(found.effects[0, 0, k].item(), abs=1e-5)
    mean = found.effects.mean(0)
    assert (mean[:, 0] > module.SURE).all()
    assert (mean[:, 0] - mean[:, 1] > module.SURE).all()


def test_what_a_model_does_not_use_is_not_asked_for() -> None:
    assert case(load_model("scenes_supervised", "cpu"), "one_colour", 40) is None, "it learned shapes"


def test_the_public_pairs_never_change(model) -> None:
    assert [case(model, "one_shared", 5).digest, case(model, "one_texture", 5).digest] == PUBLIC
    assert case(model, "one_shared", 5, seed=1).digest not in PUBLIC


def test_our_own_and_anyones_method_give_the_same(model) -> None:
    def mine(model, pair):
        made = explain(model, pair, "deep_similarity")
        return made.a[0].numpy(), made.b[0], made.joint[0]

    ours, theirs = evaluate_method("deep_similarity", **SMALL), evaluate_method(mine, **SMALL)
    assert ours.table.equals(theirs.table)
    assert (ours.method, theirs.method) == ("deep_similarity", "mine")
    cost = ours.cells[0]["cost"]
    assert (cost["forwards"], cost["backwards"]) == (2, 0)
    assert evaluate_method("input_x_gradient", **SMALL).cells[0]["cost"]["backwards"] == 2


def test_a_method_of_ours_takes_parameters() -> None:
    def largest(model, pair):
        return explain(model, pair, "interaction_cam", reduction="max")

    ours = evaluate_method("interaction_cam(reduction=max)", **SMALL)
    assert ours.method == "interaction_cam(reduction=max)"
    assert ours.table.equals(evaluate_method(largest, **SMALL).table)
    assert not ours.table.equals(evaluate_method("interaction_cam", **SMALL).table)
    assert _named(ours) == "`interaction_cam`, max"
    with pytest.raises(InputError, match=r"unknown method 'cam'.*grad_cam"):
        evaluate_method("cam(a=1)", **SMALL)


def sleeps(model, pair):
    time.sleep(20)


def spoils(model, pair):
    next(model._parts.parameters()).add_(1)
    return torch.ones(2, 2), torch.ones(2, 2)


WRONG = {
    "too many": (lambda m, p: (torch.ones(2, 2),) * 4, r"pair 0 of scenes_simclr: expected an Explanation.*got 4 things"),
    "nothing": (lambda m, p: None, "got NoneType"),
    "text": (lambda m, p: ("a", "b"), r"expected map a of shape .* got str"),
    "channels": (lambda m, p: (torch.ones(3, 2, 2), torch.ones(2, 2)), r"got \(3, 2, 2\)"),
    "empty": (lambda m, p: (torch.ones(0, 2), torch.ones(2, 2)), r"got \(1, 0, 2\)"),
    "one side": (lambda m, p: Explanation(torch.ones(1, 2, 2), None, torch.zeros(1)), "expected map b of shape .* got NoneType"),
    "not a number": (lambda m, p: (torch.ones(2, 2), torch.full((2, 2), torch.nan)), "finite numbers in map b, got 4 of 4"),
    "logical": (lambda m, p: (torch.ones(2, 2) > 0, torch.ones(2, 2)), "expected numbers in map a, got torch.bool"),
    "joint": (lambda m, p: (torch.ones(2, 2), torch.ones(2, 2), torch.ones(4, 4)), r"expected joint of shape .* got \(4, 4\)"),
    "fails": (lambda m, p: 1 / 0, "the method failed: ZeroDivisionError: division by zero"),
    "sleeps": (sleeps, "took longer than 0.2 s"),
    "spoils": (spoils, "expected the method to leave scenes_simclr as it is"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_method_that_fails_is_told_of_in_one_line(name) -> None:
    method, says = WRONG[name]
    with pytest.raises(InputError, match=says) as told:
        evaluate_method(method, **SMALL, limit=0.2 if name == "sleeps" else 60)  # a busy machine is no error
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"suite": "pairs-v9"}, "unknown suite 'pairs-v9'"),
        ({"method": "lime"}, "unknown method 'lime'"),
        ({"method": 3}, "expected a function"),
        ({"kinds": ["same"]}, "unknown kind of pair 'same'"),
        ({"models": ["vgg"]}, "vgg"),
        ({"count": 0}, "at least one pair"),
        ({"models": ["scenes_supervised"], "kinds": ["one_colour"], "count": 20}, "expected a model that uses what its pairs share"),
        ({"out": "x.csv"}, "json"),
    ],
)
def test_wrong_questions(given, says) -> None:
    with pytest.raises(InputError, match=says):
        evaluate_method(**{"method": "grad_cam", **SMALL, **given})


def called(log: Path, mark: str = "x") -> int:
    """How often it was, with this time; in a file, for what a function holds is part of what it is."""
    with log.open("a") as file:
        file.write(mark)
    return len(log.read_text())


def test_a_run_that_was_stopped_goes_on(tmp_path) -> None:
    log = tmp_path / "log"

    def mine(model, pair):
        if called(log) == 5:
            raise KeyboardInterrupt
        return pair.a[0, 0], pair.b[0, 0]

    out, way = tmp_path / "mine.json", {**SMALL, "kinds": ["one_shared", "one_texture"]}
    with pytest.raises(KeyboardInterrupt):
        evaluate_method(mine, **way, out=out)
    assert not out.exists()
    done = evaluate_method(mine, **way, out=out)
    assert log.read_text() == "x" * (5 + 3), "the first kind is not run again"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "mine.json"]
    assert Result.open(out).table.equals(done.table)


def test_what_was_done_stays_when_the_result_cannot_be_written(tmp_path, monkeypatch) -> None:
    log, out = tmp_path / "log", tmp_path / "mine.json"

    def mine(model, pair):
        called(log)
        return pair.a[0, 0], pair.b[0, 0]

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Result, "as_dict", full)
        with pytest.raises(InputError, match="No space left"):
            evaluate_method(mine, **SMALL, out=out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "mine.json.part"]
    evaluate_method(mine, **SMALL, out=out)
    assert log.read_text() == "xxx", "nothing is run again"


def test_what_was_kept_of_another_part_is_not_answered(tmp_path) -> None:
    def mine(model, pair):
        if model.name != "scenes_simclr":
            raise KeyboardInterrupt
        return pair.a[0, 0], pair.b[0, 0]

    out = tmp_path / "mine.json"
    with pytest.raises(KeyboardInterrupt):
        evaluate_method(mine, **{**SMALL, "models": ["scenes_simclr", "scenes_supervised"]}, out=out)
    done = evaluate_method(mine, **{**SMALL, "kinds": ["one_texture"]}, out=out)
    assert [cell["kind"] for cell in done.cells] == ["one_texture"]


def test_stored_pairs_have_the_numbers_that_they_were_drawn_under(model, found) -> None:
    stored = json.loads((Path(__file__).parents[2] / "results" / "benchmark" / "edges.json").read_text())
    cell = next(one for one in stored["cells"] if (one["model"], one["kind"]) == ("scenes_simclr", "one_shared"))
    first = draw_pairs(module.DRAWN * 60, "one_shared", torch.Generator().manual_seed(module.SEEDS["one_shared"]))[0]
    assert torch.equal(render(first, model.size)[0][list(found.drawn)], found.pair.a)
    whole = case(model, "one_shared")
    assert list(whole.drawn) == cell["drawn"]
    assert whole.digest == cell["pairs"]


def test_a_method_is_given_pixels_of_its_own_and_not_the_truth() -> None:
    def rude(model, pair):
        assert pair.truth is None
        pair.a.zero_()
        return model.features([model.normalize(pair.b)])[0].mean(1), pair.b[0, 0]

    def polite(model, pair):
        return model.features([model.normalize(pair.b)])[0].mean(1), pair.b[0, 0]

    assert evaluate_method(rude, **SMALL).table.equals(evaluate_method(polite, **SMALL).table)


def test_another_function_of_the_same_text_does_not_go_on(tmp_path) -> None:
    log = tmp_path / "log"

    def made(side):
        def mine(model, pair):
            if called(log, str(side)) == 4:
                raise KeyboardInterrupt
            return pair.sides[side][0, 0], pair.b[0, 0]

        return mine

    out, way = tmp_path / "mine.json", {**SMALL, "kinds": ["one_shared", "one_texture"]}
    with pytest.raises(KeyboardInterrupt):
        evaluate_method(made(0), **way, out=out)
    evaluate_method(made(1), **way, out=out)
    assert log.read_text() == "0" * 4 + "1" * 6


def test_what_is_asked_twice_is_asked_once() -> None:
    once, twice = (
        evaluate_method("edges", **SMALL),
        evaluate_method("edges", **{name: 2 * v if name != "count" else v for name, v in SMALL.items()}),
    )
    assert once.table.equals(twice.table)


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_limit_is_above_zero(limit) -> None:
    with pytest.raises(InputError, match="a limit above 0"):
        evaluate_method("edges", **SMALL, limit=limit)


def test_a_method_may_take_for_ever() -> None:
    assert len(evaluate_method("edges", **SMALL, limit=float("inf")).table) == 3 * len(METRICS)


def test_a_refusal_within_a_method_names_the_pair() -> None:
    with pytest.raises(InputError, match="pair 0 of scenes_simclr: the method failed: InputError: expected more"):
        evaluate_method(lambda model, pair: (_ for _ in ()).throw(InputError("expected more")), **SMALL, name="mine")


@pytest.mark.parametrize("packages", [("no_such_package",), "torch", 3, [""]])
def test_packages_that_are_not_there_are_told_of_before_anything_is_run(packages) -> None:
    def mine(model, pair):
        raise KeyboardInterrupt

    mine.packages = packages
    with pytest.raises(InputError, match="expected names of installed packages"):
        evaluate_method(mine, **SMALL)


MINE = "import torch\n\ndef maps(model, pair):\n    return pair.a[0, 0], pair.b[0, 0]\n"


def test_the_command_scores_a_function_of_the_working_directory(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_maps.py").write_text(MINE)
    way = ["--models", "scenes_simclr", "--kinds", "one_shared", "--count", "3", "-o", "mine.json"]
    assert main(["benchmark", "my_maps:maps", *way]) == 0
    assert "pointing_game" in capsys.readouterr().out
    assert Result.open("mine.json").method == "maps"
    for address in ("my_maps:other", "no_such_module:f", "my_maps:"):
        assert main(["benchmark", address, *way]) == 2
        assert "expected MODULE:FUNCTION that can be imported" in capsys.readouterr().err
