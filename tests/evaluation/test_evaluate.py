"""One table: right values, nothing computed twice, killed and resumed, on one machine and on workers."""

import time
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.conftest import build, random_pair
from xaicl_lib import InputError, Pair, evaluate, explain, measure
from xaicl_lib.data.scenes import scene_pairs
from xaicl_lib.evaluation import shard as shards
from xaicl_lib.pair import Truth

METHODS = ["grad_cam", ("conditional_occlusion", {"window": 8, "stride": 8}), "random_map"]
METRICS = ["SI", "CD", "max_sensitivity"]


def values(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="seconds")


@pytest.fixture
def models():
    return [build("projected"), build("headless")]


def test_a_row_for_everything_with_the_right_value(models) -> None:
    pair = random_pair(3)
    table = evaluate(models, pair, METHODS, METRICS, shard=2)
    assert list(table.columns) == ["model", "method", "pair", "metric", "value", "seconds", "seed", "version"]
    assert len(table) == 2 * 3 * 3 * 3
    assert table["method"].unique().tolist() == ["grad_cam", "conditional_occlusion(window=8, stride=8)", "random_map"]
    assert table["pair"].unique().tolist() == [0, 1, 2]
    assert (table["seconds"] > 0).all()
    explanation = explain(models[1], pair, "conditional_occlusion", window=8, stride=8)
    want = measure(models[1], pair, explanation, METRICS)
    some = table[(table["model"] == "headless") & table["method"].str.startswith("cond")]
    for metric in METRICS:
        got = some[some["metric"] == metric].sort_values("pair")["value"].tolist()
        assert got == pytest.approx(want[metric].tolist(), rel=1e-6)


class Counting:
    """Counts explained pairs."""

    def __init__(self, monkeypatch) -> None:
        self.pairs = 0
        compute = shards._compute

        def counted(model, shard, metrics, rows):
            self.pairs += len(rows)
            return compute(model, shard, metrics, rows)

        monkeypatch.setattr(shards, "_compute", counted)


def test_nothing_is_computed_twice(models, tmp_path, monkeypatch) -> None:
    pair, counting = random_pair(5), Counting(monkeypatch)
    first = evaluate(models[0], pair[:3], METHODS, METRICS, store=tmp_path)
    assert counting.pairs == 9
    again = evaluate(models[0], pair[:3], METHODS, METRICS, store=tmp_path, shard=2)
    assert counting.pairs == 9
    pd.testing.assert_frame_equal(again, first)
    more = evaluate(models[0], pair, METHODS, METRICS, store=tmp_path)
    assert counting.pairs == 15
    pd.testing.assert_frame_equal(values(more), values(evaluate(models[0], pair, METHODS, METRICS)))
    evaluate(models[0], pair, METHODS, [*METRICS, "SD"], store=tmp_path)
    assert counting.pairs == 15 + 15 + 15  # the table without a store, and the new metric


def test_what_values_depend_on(models, tmp_path, monkeypatch) -> None:
    pair, counting = random_pair(1), Counting(monkeypatch)
    evaluate(models[0], pair, ["smooth_grad"], ["SI"], store=tmp_path)
    for k, change in enumerate(({"seed": 1}, {"step": 100}, {"insertion": "zero"}, {"score": torch.nn.functional.cosine_similarity}), 2):
        evaluate(models[0], pair, ["smooth_grad"], ["SI"], store=tmp_path, **change)
        assert counting.pairs == k, change
    evaluate(models[0], pair, [("smooth_grad", {"samples": 3})], ["SI"], store=tmp_path)
    assert counting.pairs == 6
    monkeypatch.setattr(shards, "code_version", lambda: "another")
    evaluate(models[0], pair, ["smooth_grad"], ["SI"], store=tmp_path)
    assert counting.pairs == 7


def test_a_pair_that_occurs_twice_is_computed_once(models, monkeypatch) -> None:
    pair, counting = random_pair(1), Counting(monkeypatch)
    twice = Pair(pair.a.repeat(3, 1, 1, 1), pair.b.repeat(3, 1, 1, 1))
    table = evaluate(models[0], twice, ["grad_cam"], ["SI"])
    assert counting.pairs == 1
    assert table["pair"].tolist() == [0, 1, 2]
    assert table["value"].nunique() == 1


def test_batches_one_after_the_other(models) -> None:
    pair = random_pair(5)
    want = evaluate(models[0], pair, ["grad_cam"], ["SI", "SD"])
    got = evaluate(models[0], (pair[k : k + 2] for k in (0, 2, 4)), ["grad_cam"], ["SI", "SD"])
    pd.testing.assert_frame_equal(values(got), values(want))


def test_truth_travels_with_the_pairs() -> None:
    pair = scene_pairs(3, "same_object", 24)
    model = build("projected")
    model._parts.float()
    table = evaluate(model, pair, ["edges"], ["relevance_mass"], shard=2)
    want = measure(model, pair, explain(model, pair, "edges"), ["relevance_mass"])["relevance_mass"]
    assert table["value"].tolist() == pytest.approx(want.tolist(), rel=1e-5)


def test_of_one_sided_pairs_the_truth_of_side_b_is_not_looked_at(models) -> None:
    pair, model = random_pair(2), models[0]
    mask = torch.zeros(2, 24, 24, dtype=torch.bool)
    mask[:, :8] = True
    score = model.like(random_pair(3).b)
    for b in (None, mask[:0], mask):
        one = Pair(pair.a, None, Truth(mask, b))
        table = evaluate(model, one, ["grad_cam"], "pointing_game", score=score)
        want = measure(model, one, explain(model, one, "grad_cam", score=score), "pointing_game", score=score)["pointing_game"]
        assert table["value"].tolist() == pytest.approx(want.tolist())


def test_damaged_results_are_computed_anew(models, tmp_path) -> None:
    pair = random_pair(3)
    first = evaluate(models[0], pair, ["grad_cam"], ["SI"], store=tmp_path, shard=1)
    path = sorted(tmp_path.rglob("*.parquet"))[1]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="set aside"):
        again = evaluate(models[0], pair, ["grad_cam"], ["SI"], store=tmp_path, shard=1)
    pd.testing.assert_frame_equal(values(again), values(first))


def test_bad_input(models, tmp_path) -> None:
    pair = random_pair(1)
    (tmp_path / "file").write_text("")
    cases = [
        ({"models": []}, "at least one model, each name once, got none"),
        ({"models": [models[0], models[0]]}, "got projected twice"),
        ({"models": "simclrr"}, "unknown model 'simclrr'"),
        ({"methods": []}, "at least one method"),
        ({"methods": ["grad_cam", "grad_cam"]}, "got grad_cam twice"),
        ({"methods": ["gradcam"]}, "unknown method 'gradcam'"),
        ({"metrics": ["SI", "SI"]}, "got SI twice"),
        ({"metrics": ["AUC"]}, "unknown metric 'AUC'"),
        ({"pairs": []}, "at least one pair, got none"),
        ({"shard": 0}, "at least one pair a shard, got 0"),
        ({"steps": 3}, "unknown option 'steps'; there are: score, step, insertion"),
        ({"store": tmp_path / "file"}, "expected a folder to keep results in"),
    ]
    for change, message in cases:
        given = {"models": models, "pairs": pair, "methods": ["grad_cam"], "metrics": ["SI"], **change}
        with pytest.raises(InputError, match=message):
            evaluate(**given)


def evaluate_slowly(store: Path) -> None:
    compute = shards._compute

    def slowly(*shard):
        time.sleep(0.15)
        return compute(*shard)

    shards._compute = slowly
    evaluate(build("projected"), random_pair(8), ["grad_cam", "random_map"], ["SI", "CD"], store=store, shard=1)


def start(forks: ForkServerContext, store: Path) -> ForkServerProcess:
    process = forks.Process(target=evaluate_slowly, args=(store,))
    process.start()
    return process


def test_killed_three_times(tmp_path, forks) -> None:
    want = evaluate(build("projected"), random_pair(8), ["grad_cam", "random_map"], ["SI", "CD"])
    store, done = tmp_path / "store", 0
    for _ in range(3):
        process = start(forks, store)
        while process.is_alive() and len(list(store.rglob("*.parquet"))) < done + 3:
            time.sleep(0.01)
        process.kill()
        process.join()
        found = list(store.rglob("*.parquet"))
        assert done + 3 <= len(found) < 16, "it was killed in the middle"
        done = len(found)
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*.parquet")}
    got = evaluate(build("projected"), random_pair(8), ["grad_cam", "random_map"], ["SI", "CD"], store=store, shard=1)
    pd.testing.assert_frame_equal(values(got), values(want))
    assert len(list(store.rglob("*.parquet"))) == 16, "one file a shard: nothing was computed twice"
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())


def test_two_processes_on_one_store(tmp_path, forks) -> None:
    both = [start(forks, tmp_path) for _ in range(2)]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    got = evaluate(build("projected"), random_pair(8), ["grad_cam", "random_map"], ["SI", "CD"], store=tmp_path)
    want = evaluate(build("projected"), random_pair(8), ["grad_cam", "random_map"], ["SI", "CD"])
    pd.testing.assert_frame_equal(values(got), values(want))
