"""Correlations against numpy, scipy and residuals; intervals against slow loops and made tables whose answer is known."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from xaicl_lib import InputError
from xaicl_lib.statistics.correlation import (
    _bootstrap_p,
    _midranks,
    _partial,
    _weighted_correlation,
    corrected,
    correlate,
    fisher_interval,
    leave_out,
    resampled,
    weighted_means,
)

RNG = np.random.default_rng(0)
X, Y, Z = RNG.normal(size=(3, 4, 9)).round(1)  # rounded, so that some values are equal
COUNTS = RNG.integers(0, 4, (4, 9))


def repeated(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The resample written out."""
    return np.repeat(values, counts)


def test_a_weighted_correlation_is_that_of_the_sample_written_out() -> None:
    got = _weighted_correlation(X, Y, COUNTS)
    want = [np.corrcoef(repeated(x, c), repeated(y, c))[0, 1] for x, y, c in zip(X, Y, COUNTS, strict=True)]
    assert np.allclose(got, want)


def test_values_that_are_not_there_do_not_count() -> None:
    holes = X.copy()
    holes[:, 2] = np.nan
    there = COUNTS.copy()
    there[:, 2] = 0
    assert np.allclose(_weighted_correlation(holes, Y, COUNTS), _weighted_correlation(X, Y, there))
    assert np.isnan(_weighted_correlation(np.full((1, 9), 0.1), Y[:1], COUNTS[:1] + 1)).all(), "a constant"
    two = np.array([[5, 1, 0, 0, 0, 0, 0, 0, 0]])
    assert np.isnan(_weighted_correlation(X[:1], Y[:1], two)).all(), "two models always lie on a line"


def test_ranks_are_those_of_the_sample_written_out() -> None:
    got = _midranks(X, COUNTS)
    for x, c, r in zip(X, COUNTS, got, strict=True):
        assert np.allclose(repeated(r, c), stats.rankdata(repeated(x, c)))


def test_a_partial_correlation_is_that_of_residuals() -> None:
    x, y, z = RNG.normal(size=(3, 30))
    x, y = x + 2 * z, y - z
    r = [np.corrcoef(a, b)[0, 1] for a, b in ((x, y), (x, z), (y, z))]

    def left(v: np.ndarray) -> np.ndarray:
        return v - np.polyval(np.polyfit(z, v, 1), z)

    assert _partial(*map(np.asarray, r)) == pytest.approx(np.corrcoef(left(x), left(y))[0, 1])
    assert np.isnan(_partial(np.array([0.5]), np.array([1.0]), np.array([0.5]))).all()


def test_means_over_drawn_pairs() -> None:
    values = RNG.normal(size=(3, 6))
    values[1, 4] = np.nan
    values[2] = np.nan
    counts = resampled(range(6), 5)
    got = weighted_means(values, counts)
    for row, c in zip(got, counts, strict=True):
        assert row[0] == pytest.approx(repeated(values[0], c).mean())
        assert row[1] == pytest.approx(np.nanmean(repeated(values[1], c)))
    assert np.isnan(got[:, 2]).all()


def test_members_of_a_group_are_drawn_together() -> None:
    counts = resampled(["a", "b", "a", "c", "b"], 200)
    assert (counts[0] == 1).all()
    assert (counts[:, 0] == counts[:, 2]).all()
    assert (counts[:, 1] == counts[:, 4]).all()
    assert (counts[:, [0, 1, 3]].sum(1) == 3).all()
    assert counts[1:, 0].std() > 0.5


def test_who_belongs_to_no_known_group_is_drawn_alone() -> None:
    counts = resampled([math.nan, None, "a", "b", "a"], 200)
    assert (counts[:, :4].sum(1) == 4).all()
    assert len({tuple(column) for column in counts[:, :4].T}) == 4


def test_models_that_are_good_at_nothing_known_have_no_rank() -> None:
    accuracy = np.arange(6.0)
    accuracy[1] = math.nan
    scores = table({"grad_cam": RNG.normal(size=(6, 3))}, accuracy, np.ones((6, 3)), [f"r{k}" for k in range(6)])
    means, known = scores[scores["method"] == "grad_cam"].groupby("model")["value"].mean().to_numpy(), ~np.isnan(accuracy)
    want = stats.spearmanr(means[known], accuracy[known]).statistic
    assert row_of(correlate(scores, resamples=3), "grad_cam", "spearman")["r"] == pytest.approx(want)


def test_three_models_of_three_recipes_leave_too_few() -> None:
    scores = table({"grad_cam": RNG.normal(size=(3, 4))}, np.arange(3.0), np.ones((3, 4)), ["r0", "r1", "r2"])
    found = leave_out(scores).loc["grad_cam"].iloc[0]
    assert np.isfinite(found["all"])
    assert np.isnan(found["lowest"])


def test_fishers_interval_is_scipys() -> None:
    x, y = RNG.normal(size=(2, 12))
    want = stats.pearsonr(x, y).confidence_interval()
    assert fisher_interval(np.corrcoef(x, y)[0, 1], 12) == pytest.approx(tuple(want), abs=1e-6)
    assert np.isnan(fisher_interval(0.5, 3)).all()


def table(values: dict[str, np.ndarray], accuracy: np.ndarray, score: np.ndarray, recipes: list[str]) -> pd.DataFrame:
    """Scores as `pair_scores` gives them: values (m, n) by method, accuracies (m,), similarities (m, n)."""
    same = [{"model": f"m{m}", "recipe": recipes[m], "linear_accuracy": accuracy[m]} for m in range(len(accuracy))]
    rows = [
        {**same[m], "score": score[m, n], "method": method, "group": "insertion", "pair": n, "value": v[m, n]}
        for method, v in values.items()
        for m in range(len(v))
        for n in range(v.shape[1])
    ]
    return pd.DataFrame(rows)


def made(m: int = 12, n: int = 5) -> pd.DataFrame:
    accuracy, own, noise = RNG.uniform(size=m), RNG.normal(size=(m, 1)), RNG.normal(size=(3, m, n))
    values = {"grad_cam": accuracy[:, None] + 0.2 * own + 0.1 * noise[0], "random_map": 0.3 * noise[1]}
    return table(values, accuracy, noise[2], [f"r{k}" for k in range(m)])


def row_of(found: pd.DataFrame, method: str, statistic: str) -> pd.Series:
    return found[(found["method"] == method) & (found["statistic"] == statistic)].iloc[0]


def test_intervals_are_those_of_slow_loops() -> None:
    scores = made()
    got = correlate(scores, resamples=40, seed=3)
    models = list(scores["model"].unique())
    counts, pairs = resampled(models, 40, 3), resampled(range(5), 40, 4)
    wide = {name: part.pivot(index="model", columns="pair", values="value").loc[models] for name, part in scores.groupby("method")}
    accuracy = scores.drop_duplicates("model")["linear_accuracy"].to_numpy()
    plain, ranked, above = [], [], []
    for c, p in zip(counts, pairs, strict=True):
        x, base = (np.repeat(w.to_numpy(), p, axis=1).mean(1) for w in (wide["grad_cam"], wide["random_map"]))
        x, base, y = (np.repeat(v, c) for v in (x, base, accuracy))
        plain.append(np.corrcoef(x, y)[0, 1])
        ranked.append(stats.spearmanr(x, y)[0])
        above.append(np.corrcoef(x - base, y)[0, 1])
    for statistic, want in (("pearson", plain), ("spearman", ranked), ("above control", above)):
        found = row_of(got, "grad_cam", statistic)
        assert found["r"] == pytest.approx(want[0])
        assert (found["low"], found["high"]) == pytest.approx(tuple(np.percentile(want[1:], [2.5, 97.5])))


def test_a_cluster_of_copies_counts_as_one_model() -> None:
    """Ten copies of each model: with clusters nothing changes, without them the interval pretends to ten times the models."""
    scores = made(m=12, n=4)
    copies = pd.concat([scores.assign(model=scores["model"] + f"copy {k}") for k in range(10)])
    once, clustered = (row_of(correlate(t, resamples=300), "grad_cam", "pearson") for t in (scores, copies))
    assert clustered[["r", "low", "high"]].to_numpy(float) == pytest.approx(once[["r", "low", "high"]].to_numpy(float))
    assert (clustered["models"], clustered["clusters"]) == (120, 12)
    alone = row_of(correlate(copies, cluster=None, resamples=300), "grad_cam", "pearson")
    assert alone["clusters"] == 120
    assert alone["high"] - alone["low"] < 0.6 * (once["high"] - once["low"])


def test_scores_that_repeat_the_similarity_are_seen_through() -> None:
    """The similarity goes with the accuracy and the explanation score is the similarity: nothing is left once it is held fixed."""
    m, n = 60, 8
    accuracy = RNG.uniform(size=m)
    score = accuracy[:, None] + 0.2 * RNG.normal(size=(m, 1)) + 0.05 * RNG.normal(size=(m, n))
    values = {name: score + 0.1 * RNG.normal(size=(m, n)) for name in ("grad_cam", "random_map")}
    found = correlate(table(values, accuracy, score, [f"r{k}" for k in range(m)]), resamples=400)
    assert row_of(found, "grad_cam", "pearson")["low"] > 0.6
    assert row_of(found, "random_map", "pearson")["low"] > 0.6
    assert row_of(found, "grad_cam", "with similarity")["r"] > 0.9
    for statistic in ("partial", "above control"):
        row = row_of(found, "grad_cam", statistic)
        assert row["low"] < 0 < row["high"], statistic
    assert not len(found.query("method == 'random_map' and statistic == 'above control'"))


def test_a_bootstrap_p_is_twice_the_smaller_side() -> None:
    assert _bootstrap_p(np.array([0.5] * 97 + [-0.1] * 2)) == pytest.approx(2 * 3 / 100)
    assert _bootstrap_p(np.append(np.full(99, -0.5), np.nan)) == pytest.approx(2 / 100), "never zero, and without what is not there"
    assert _bootstrap_p(np.array([-1.0, 1.0])) == 1
    assert _bootstrap_p(np.zeros(10)) == 1


def test_statistics_are_corrected_for_their_number() -> None:
    found = pd.DataFrame({"statistic": ["pearson", "partial", "spearman", "pearson"], "p": [0.01, 0.03, 0.001, 0.2]})
    got = corrected(found)
    assert got["alone"].tolist() == [0.01, 0.03, 0.2]
    assert got["p"].tolist() == pytest.approx([0.03, 0.06, 0.2]), "three of these, and ranks are not among them"
    assert got["decided"].tolist() == [True, False, False]
    assert corrected(found, ["spearman"])["p"].tolist() == [0.001]
    accuracy = np.linspace(0, 1, 30)
    scores = table({"grad_cam": np.stack([accuracy] * 3, 1)}, accuracy, np.ones((30, 3)), [f"r{k}" for k in range(30)])
    assert row_of(correlate(scores, resamples=400), "grad_cam", "pearson")["p"] == pytest.approx(2 / 401), "no draw on the other side"


def test_leaving_a_recipe_out() -> None:
    scores = made()
    got = leave_out(scores).loc[("grad_cam", "insertion")]
    assert got["all"] == pytest.approx(row_of(correlate(scores, resamples=2), "grad_cam", "pearson")["r"])
    rest = {}
    for name in scores["recipe"].unique():
        part = scores[(scores["recipe"] != name) & (scores["method"] == "grad_cam")]
        rest[name] = part.groupby("model")[["value", "linear_accuracy"]].mean().corr().iloc[0, 1]
    assert got[["lowest", "highest"]].tolist() == pytest.approx([min(rest.values()), max(rest.values())])
    assert got[["lowest without", "highest without"]].tolist() == [min(rest, key=rest.get), max(rest, key=rest.get)]


def test_what_cannot_be_correlated() -> None:
    scores = made()
    with pytest.raises(InputError, match="unknown column 'seed'"):
        correlate(scores, cluster="seed")
    with pytest.raises(InputError, match="at least three models to correlate, got 2"):
        correlate(scores[scores["model"].isin(["m0", "m1"])])
