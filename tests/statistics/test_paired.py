"""Intervals that cover, tests that stay silent where there is nothing, corrections as in the book."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from xaicl_lib import InputError
from xaicl_lib.statistics.bootstrap import resampled_means
from xaicl_lib.statistics.paired import (
    claimed,
    compare,
    holm,
    interval,
    paired_difference,
    rank_agreements,
    signed_ranks,
    summarise,
    tails,
    verdicts,
)


def table(values: dict[str, np.ndarray], metric: str = "SI", model: str = "m") -> pd.DataFrame:
    frames = [pd.DataFrame({"model": model, "method": k, "pair": range(len(v)), "metric": metric, "value": v}) for k, v in values.items()]
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize(("n", "least"), [(2, 0.92), (3, 0.92), (4, 0.92), (5, 0.92), (6, 0.91), (8, 0.91), (40, 0.91)])
def test_intervals_cover_the_mean_about_as_often_as_they_say(n: int, least: float) -> None:
    rng = np.random.default_rng(0)
    hits = [low <= 0.3 <= high for low, high in (interval(rng.normal(0.3, 1, n), seed=k) for k in range(300))]
    assert least <= np.mean(hits) <= 0.98


@pytest.mark.parametrize("n", [6, 7, 51, 3001])
def test_batches_of_draws_change_no_bit(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    drawn = np.random.default_rng(3).integers(0, n, (2000, n))
    assert interval(values, seed=3) == tuple(np.quantile(values[drawn].mean(1), tails(n)))
    counts = np.random.default_rng(3).multinomial(n, np.full(n, 1 / n), 2000)
    assert np.allclose(resampled_means(values[:, None], seed=3)[:, 0], counts @ values / n, rtol=1e-12)


def test_of_few_values_the_interval_is_students() -> None:
    values = np.array([0.1, 0.4, 0.3])
    want = stats.t.interval(0.9, 2, values.mean(), stats.sem(values))
    assert interval(values, confidence=0.9) == pytest.approx(want)


def test_an_interval_of_many_values_needs_little_memory() -> None:
    values = np.random.default_rng(0).normal(size=12_000)
    tracemalloc.start()
    try:
        interval(values)
        resampled_means(values[:, None])
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 90e6, "one batch of draws, not 2,000 times 12,000 numbers"


def test_expanded_percentiles_are_those_of_student() -> None:
    """For a normal sample the bootstrap's spread is s sqrt((n - 1) / n) / sqrt(n): the reach makes t s / sqrt(n) of it."""
    for n in (3, 10, 1000):
        low, high = tails(n)
        assert stats.norm.ppf(high) * np.sqrt((n - 1) / n) == pytest.approx(stats.t.ppf(0.975, n - 1))
        assert low == pytest.approx(1 - high)
    assert tails(100_000) == pytest.approx((0.025, 0.975), abs=1e-4)


def test_many_small_wins_and_one_large_loss_decide_nothing() -> None:
    wins = np.append(np.full(23, 0.01), -3.0)
    assert stats.wilcoxon(wins).pvalue < 0.001
    assert signed_ranks(wins) == 1
    assert signed_ranks(np.abs(wins)) == pytest.approx(stats.wilcoxon(np.abs(wins)).pvalue)
    assert signed_ranks(np.zeros(4)) == 1
    some = np.array([0.1, 0.2, 0.3, 0.4, 0.5, -0.6])
    assert signed_ranks(np.append(some, np.zeros(40))) == pytest.approx(signed_ranks(some)), "what did not change has no rank"
    got = compare(table({"a": wins, "b": np.zeros(24)}), "SI").iloc[0]
    assert not got["significant"]


def test_summary() -> None:
    got = summarise(table({"a": np.array([1.0, 2.0, 3.0, np.nan]), "b": np.array([5.0, np.nan, np.nan, np.nan])}))
    a, b = got.iloc[0], got.iloc[1]
    assert (a["mean"], a["n"], a["undefined"]) == (2.0, 3, 1)
    assert (a["low"], a["high"]) == pytest.approx(stats.t.interval(0.95, 2, 2, stats.sem([1.0, 2.0, 3.0])))
    assert (b["mean"], b["n"], b["undefined"]) == (5.0, 1, 3)
    assert np.isnan(b["low"])
    assert summarise(table({"a": np.full(3, np.nan)}))["n"].item() == 0


def test_a_difference_must_be_found_to_be_reported() -> None:
    rng = np.random.default_rng(1)
    pairs = rng.normal(size=30)  # pairs differ far more than methods do
    both = {"good": pairs + 0.2 + rng.normal(0, 0.1, 30), "bad": pairs, "as bad": pairs + rng.normal(0, 0.1, 30)}
    got = compare(table(both), "SI").set_index(["better", "worse"])
    assert got.loc[("good", "bad"), "significant"]
    assert got.loc[("good", "as bad"), "significant"]
    (same,) = [row for names, row in got.iterrows() if set(names) == {"bad", "as bad"}]
    assert not same["significant"]
    reverse = compare(table(both, "SD"), "SD")
    assert ("bad", "good") in set(zip(reverse["better"], reverse["worse"], strict=True)), "lower deletion is better"


def test_values_of_the_test_are_scipys() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=12), rng.normal(size=12)
    assert compare(table({"a": a, "b": b}), "SI")["p"].item() == pytest.approx(stats.wilcoxon(a - b).pvalue)


def test_equal_methods_and_missing_values() -> None:
    same = np.arange(5.0)
    assert compare(table({"a": same, "b": same}), "SI")[["p", "significant"]].iloc[0].tolist() == [1.0, False]
    nothing = compare(table({"a": same, "b": np.full(5, np.nan)}), "SI").iloc[0]
    assert (nothing["n"], nothing["significant"]) == (0, False)


def test_comparisons_with_controls_only() -> None:
    rng = np.random.default_rng(4)
    some = table({name: rng.normal(size=12) for name in ("a", "b", "c", "control")})
    got = compare(some, "SI", against=["control"])
    assert {frozenset(names) for names in zip(got["better"], got["worse"], strict=True)} == {frozenset({m, "control"}) for m in "abc"}
    assert compare(some, "SI")["n"].tolist() == [12] * 6
    with pytest.raises(InputError, match="unknown method of the table 'd'"):
        compare(some, "SI", against=["d"])


def test_verdicts_count_what_the_tests_decide() -> None:
    rng = np.random.default_rng(5)
    control = rng.normal(size=20)
    ways = {"better": control + 1, "as good": control + np.resize([0.1, -0.1], 20), "worse": control - 1, "control": control}
    both = pd.concat([table(ways, "SI"), table(ways, "SD")])
    got = verdicts(both, ["control"]).set_index("metric")
    assert got.loc["SI", ["better", "worse", "methods"]].tolist() == [1, 1, 3]
    decided = compare(table(ways, "SI"), "SI", against=["control"]).query("significant")
    assert set(zip(decided["better"], decided["worse"], strict=True)) == {("better", "control"), ("control", "worse")}
    more = verdicts(table({**ways, "best": control + 2}, "SD"), ["control"]).iloc[0]
    assert more[["better", "worse"]].tolist() == [1, 2], "lower deletion is better"


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_agreement_of_metrics() -> None:
    rng = np.random.default_rng(3)
    quality = {name: rng.normal(size=20) for name in "abcdef"}
    si, sd = table(quality), table({k: -v for k, v in quality.items()}, "SD")
    noise = table({k: rng.normal(size=20) for k in quality}, "CI")
    every = pd.concat([si, sd, noise])
    assert rank_agreements(every, "SI", "SD")["value"].to_numpy() == pytest.approx(1.0)
    low, high = interval(rank_agreements(every, "SI", "CI")["value"].to_numpy())
    assert low < 0 < high


def test_bad_input() -> None:
    some = table({"a": np.arange(3.0)})
    with pytest.raises(InputError, match="unknown column 'colour'"):
        summarise(some, ["colour"])
    with pytest.raises(InputError, match="expected rows to summarise"):
        summarise(some[:0])
    with pytest.raises(InputError, match="unknown metric of the table 'SD'; there are: SI"):
        compare(some, "SD")


def test_differences_have_the_interval_of_their_pairs() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=14) + 0.3, rng.normal(size=14)
    a[3] = np.nan
    row = compare(table({"a": a, "b": b}), "SI").iloc[0]
    difference = (a - b)[~np.isnan(a)] * (1 if row["better"] == "a" else -1)
    assert row["difference"] == pytest.approx(difference.mean())
    assert (row["low"], row["high"]) == interval(difference)
    narrow = compare(table({"a": a, "b": b}), "SI", level=0.5).iloc[0]
    assert row["low"] < narrow["low"] < row["difference"] < narrow["high"] < row["high"]
    alone = compare(table({"a": a[:1], "b": b[:1]}), "SI").iloc[0]
    assert alone[["low", "high"]].isna().all(), "of one pair there is none"


def test_a_claim_holds_or_its_contrary_or_neither() -> None:
    rng = np.random.default_rng(7)
    base = rng.normal(size=16)
    shifts = {"yes": 1.0, "no": -1.0, "even": 0.0}
    noise = np.resize([0.1, -0.1], 16) * np.arange(1, 17)
    made = pd.concat(
        table({"a": base + (step * np.linspace(0.5, 1.5, 16) if step else noise), "b": base, "c": base + 9}, metric, model)
        for model, step in shifts.items()
        for metric in ("SI", "SD")
    )
    got = claimed(made, "a", "b", ["SI", "SD"]).set_index(["metric", "model"])
    assert got.loc["SI", "verdict"].to_dict() == {"yes": "holds", "no": "contrary", "even": "undecided"}
    assert got.loc["SD", "verdict"].to_dict() == {"yes": "contrary", "no": "holds", "even": "undecided"}, "less deletion is better"
    assert got.loc[("SD", "yes"), "difference"] == pytest.approx(-1.0)
    assert got.loc[("SI", "yes"), "p"] == pytest.approx(6 * 2 / 2**16), "Holm over three models and two metrics"
    assert claimed(made, "a", "b", ["SI"])["p"].min() == pytest.approx(3 * 2 / 2**16)


def test_a_claim_passes_over_models_without_one_of_the_methods() -> None:
    made = pd.concat([table({"a": np.arange(6.0), "b": np.zeros(6)}), table({"a": np.arange(6.0)}, model="k")])
    got = claimed(made, "a", "b", ["SI"])
    assert got["model"].tolist() == ["m"]
    assert (got["n"].item(), got["difference"].item()) == (6, 2.5)
    with pytest.raises(InputError, match="unknown method of the table 'd'"):
        claimed(made, "a", "d", ["SI"])


def test_a_paired_difference_is_that_of_the_same_items() -> None:
    g = np.random.default_rng(0)
    easy = 10 * g.normal(size=20)  # items differ far more than methods
    values = {"a": easy + 0.3 + 0.1 * g.normal(size=20), "b": easy, "control": easy + 0.1 * g.normal(size=20)}
    both = pd.concat([table(values), table({k: -v for k, v in values.items()}, "SD").sample(frac=1, random_state=0)])
    found = paired_difference(both, "method", "pair", ["metric"], against="control")
    assert found[["metric", "method", "against"]].to_numpy().tolist() == [[m, k, "control"] for m in ("SI", "SD") for k in ("a", "b")]
    for row, (name, sign) in zip(found.itertuples(), [("a", 1), ("b", 1), ("a", -1), ("b", -1)], strict=True):
        difference = sign * (values[name] - values["control"])
        assert row.mean == pytest.approx(difference.mean())
        assert row.mean == pytest.approx(row.value - row.reference)
        assert (row.low, row.high) == pytest.approx(interval(difference))
        assert row.effect == pytest.approx(difference.mean() / difference.std(ddof=1))
        assert (row.n, row.undefined) == (20, 0)
    p = [stats.wilcoxon(values[name] - values["control"]).pvalue for name in ("a", "b")] * 2
    assert found["p"].tolist() == pytest.approx(holm(p))
    assert found["significant"].tolist() == [True, False, True, False]
    each = paired_difference(both, "method", "pair", ["metric"], against="control", within=["metric"])
    assert each["p"].tolist() == pytest.approx(holm(p[:2]) * 2)


def test_items_of_one_unit_are_one_observation() -> None:
    values = {"a": np.array([1.0, 3.0, 5.0, np.nan, np.nan, 2.0]), "b": np.array([0.0, 1.0, 1.0, 7.0, 1.0, np.nan])}
    items = table(values).assign(source=lambda t: t["pair"] // 2)
    found = paired_difference(items, "method", ["source", "pair"], against="b", unit="source").iloc[0]
    assert (found["mean"], found["value"], found["reference"]) == (2.75, 3.5, 0.75), "of 1.5 in source 0 and 4 in source 1"
    assert (found["n"], found["undefined"]) == (2, 1)
    alone = paired_difference(items, "method", ["source", "pair"], against="b").iloc[0]
    assert (alone["n"], alone["undefined"], alone["mean"]) == (3, 3, pytest.approx(7 / 3))


def test_a_question_without_one_of_both_has_no_answer() -> None:
    some = pd.concat([table({"a": np.ones(3), "b": np.zeros(3)}), table({"a": np.ones(3)}, model="n")])
    assert paired_difference(some, "method", "pair", ["model"], against="b")["model"].tolist() == ["m"]
    assert paired_difference(some, "method", "pair", ["model"], against=["b", "a"], names=["a"])["against"].tolist() == ["b"]
    with pytest.raises(InputError, match="unknown method of the table 'c'"):
        paired_difference(some, "method", "pair", ["model"], against="b", names=["c"])
    with pytest.raises(InputError, match="expected one value for each method, pair, got several"):
        paired_difference(some, "method", "pair", against="b")


def test_a_test_of_ranks_alone_does_not_decide_a_difference_of_means() -> None:
    """Thirty small gains and six large losses: the ranks speak, the interval of the mean holds 0."""
    gains = np.r_[np.full(30, 0.1), np.full(6, -0.45)] + np.linspace(0, 1e-4, 36)
    table = pd.concat([pd.DataFrame({"method": name, "pair": range(36), "value": v}) for name, v in (("p", gains), ("q", 0 * gains))])
    row = paired_difference(table, "method", "pair", against="q").iloc[0]
    assert row["p"] < 0.05
    assert row["low"] < 0 < row["mean"] < row["high"]
    assert not row["significant"]
    assert paired_difference(table.assign(value=table["value"] ** 2), "method", "pair", against="q").iloc[0]["significant"]
