"""Correlations over models, with intervals that know which models belong together and that the pairs are a sample, too."""

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from xaicl_lib.errors import InputError, require
from xaicl_lib.statistics.paired import RESAMPLES, holm

Values = Float[np.ndarray, "d m"]  # of m models in d resamples
Counts = Int[np.ndarray, "d m"]  # how often a resample holds each


def resampled(groups: Sequence[Hashable], draws: int, seed: int = 0) -> Counts:
    """How often each item is in a sample: once in row 0, and in the other `draws` rows as its whole group was drawn, with replacement.

    An item whose group is not known, NaN or None, is a group of its own.
    """
    codes, names = pd.factorize(pd.Series([("unknown", k) if pd.isna(group) else group for k, group in enumerate(groups)], dtype=object))
    counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), draws)
    return np.vstack([np.ones(len(names), int), counts])[:, codes]


def weighted_means(values: Float[np.ndarray, "m n"], counts: Int[np.ndarray, "d n"]) -> Values:
    """Mean of each row over the columns of each resample, without those that are NaN; NaN where none is left."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return (counts @ np.where(known, values, 0).T) / (counts @ known.T)


def _weighted_correlation(x: Values, y: Values, counts: Counts) -> Float[np.ndarray, " d"]:
    """Pearson's correlation in each resample; values that are NaN on either side do not count, fewer than three models have none."""
    counts = np.where(np.isnan(x) | np.isnan(y), 0, counts)
    total = counts.sum(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = (np.nan_to_num(v) - (counts * np.nan_to_num(v)).sum(1, keepdims=True) / total for v in (x, y))
        spread = np.sqrt((counts * x * x).sum(1) * (counts * y * y).sum(1))
        found = (counts * x * y).sum(1) / np.where(spread > 1e-12 * total[:, 0], spread, np.nan)
    return np.where((counts > 0).sum(1) > 2, found, np.nan)


def _midranks(x: Values, counts: Counts) -> Values:
    """Ranks of the models in each resample, where each counts as often as it was drawn and equal values share their mean rank."""
    counts = np.where(np.isnan(x), 0, counts)
    below = (x[:, :, None] > x[:, None, :]).astype(np.int32)  # (d, m, m)
    same = (x[:, :, None] == x[:, None, :]).astype(np.int32)
    ranks = np.einsum("dij,dj->di", below, counts) + (np.einsum("dij,dj->di", same, counts) + 1) / 2
    return np.where(np.isnan(x), np.nan, ranks)


def _partial(xy: Float[np.ndarray, " d"], xz: Float[np.ndarray, " d"], yz: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    """Correlation of x and y with what z explains of either taken away: (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2))."""
    left = (1 - xz**2) * (1 - yz**2)
    return (xy - xz * yz) / np.sqrt(np.where(left > 1e-9, left, np.nan))


def fisher_interval(r: float, n: int) -> tuple[float, float]:
    """95 % interval of a correlation over n independent pairs of normal values: tanh(artanh r -/+ 1.96 / sqrt(n - 3))."""
    if n < 4:
        return np.nan, np.nan
    low, high = np.tanh(np.arctanh(r) + np.array([-1, 1]) * 1.959964 / np.sqrt(n - 3))
    return float(low), float(high)


def correlate(
    scores: pd.DataFrame,
    *,
    by: str = "method",
    of: str = "linear_accuracy",
    cluster: str | None = "recipe",
    control: str = "random_map",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """How far explanation scores of models go with how good the models are, per method and group of metrics.

    Asks the question of Sec. V-E of :cite:t:`sammani2023visualizing`, Fig. 15, with intervals.

    The bootstrap draws pairs (the same for all models) and models, both with replacement; models of one cluster come and go together,
    because checkpoints of one training are alike. Intervals are the percentiles 2.5 and 97.5.

    Args:
        scores: from `xaicl_lib.studies.downstream.pair_scores`.
        by: column that says whose scores these are.
        of: column with what the models are good at.
        cluster: column of what belongs together; None takes every model for independent.
        control: the method (or family) whose scores are the control.

    Returns:
        A row for each of `by`, group and statistic: r, low, high, p, models, clusters, pairs. p is that of the bootstrap (see
        `_bootstrap_p`), of each row by itself; `corrected` knows how many there are. The statistics: `pearson` and `spearman` with what
        the models are good at; `partial`, Pearson's with the mean similarity of the pairs held fixed; `above control`, Pearson's of the
        score minus the control's score of the same model and pairs; `with similarity`, of the score and the mean similarity. What is
        undefined (a constant, the control minus itself) has no row.

    Raises:
        InputError: a column that is not there, or fewer than three models.
    """
    require("column", scores.columns, by, of, *([] if cluster is None else [cluster]))
    models, facts = _models(scores)
    clusters = facts.index if cluster is None else facts[cluster]
    counts = resampled(list(clusters), resamples, seed)
    pairs = resampled(sorted(scores["pair"].unique()), resamples, seed + 1)
    y = np.tile(facts[of].to_numpy(float), (resamples + 1, 1))
    z = weighted_means(_wide(scores.drop_duplicates(["model", "pair"]), "score", models), pairs)
    means = {key: weighted_means(_wide(part, "value", models), pairs) for key, part in scores.groupby([by, "group"], sort=False)}
    size = len(models), len(set(clusters)), pairs.shape[1]
    rows = []
    for (name, group), x in means.items():
        base = means.get((control, group))
        for statistic, r in _statistics(x, y, z, base, counts).items():
            if not np.isnan(r[0]):
                low, high = np.nanpercentile(r[1:], [2.5, 97.5])
                rows.append((name, group, statistic, r[0], low, high, _bootstrap_p(r[1:]), *size))
    return pd.DataFrame(rows, columns=[by, "group", "statistic", "r", "low", "high", "p", "models", "clusters", "pairs"])


def _bootstrap_p(drawn: Float[np.ndarray, " d"]) -> float:
    """Two-sided p value that a statistic is zero, from its bootstrap: twice the smaller share of draws on either side, never zero."""
    known = drawn[~np.isnan(drawn)]
    beyond = min((known <= 0).sum(), (known >= 0).sum())
    return min(1.0, 2 * (1 + float(beyond)) / (1 + len(known)))


def corrected(found: pd.DataFrame, statistics: Sequence[str] = ("pearson", "partial", "above control")) -> pd.DataFrame:
    """The rows of `correlate` with these statistics: p corrected after Holm for all of them, decided (whether it is below 0.05), and
    alone, the p of each by itself."""
    rows = found[found["statistic"].isin(statistics)]
    p = np.array(holm(rows["p"].tolist()))
    return rows.assign(alone=rows["p"], p=p, decided=p < 0.05)


def _statistics(x: Values, y: Values, z: Values, base: Values | None, counts: Counts) -> dict[str, Float[np.ndarray, " d"]]:
    r = _weighted_correlation
    xy, xz, yz = r(x, y, counts), r(x, z, counts), r(y, z, counts)
    known = np.where(np.isnan(x) | np.isnan(y), 0, counts)
    found = {"pearson": xy, "spearman": r(_midranks(x, known), _midranks(y, known), known), "partial": _partial(xy, xz, yz)}
    if base is not None:
        found["above control"] = r(x - base, y, counts)
    return found | {"with similarity": xz}


def _models(scores: pd.DataFrame) -> tuple[list[str], pd.DataFrame]:
    """Names of the models, and a row of facts for each."""
    facts = scores.drop_duplicates("model").set_index("model")
    if len(facts) < 3:
        raise InputError(f"expected at least three models to correlate, got {len(facts)}")
    return list(facts.index), facts


def _wide(rows: pd.DataFrame, column: str, models: Sequence[str]) -> Float[np.ndarray, "m n"]:
    """A value per model and pair; NaN where there is none."""
    return rows.pivot(index="model", columns="pair", values=column).reindex(models).sort_index(axis=1).to_numpy(float)


def leave_out(scores: pd.DataFrame, *, by: str = "method") -> pd.DataFrame:
    """Pearson's correlation with one recipe left out at a time: how much hangs on it.

    Returns:
        A row for each of `by` and group: all (of all recipes together), lowest, highest, and what these two are without.
    """
    models, facts = _models(scores)
    names = facts["recipe"].unique()
    there: Bool[np.ndarray, "c m"] = np.stack([np.ones(len(models), bool), *((facts["recipe"] != name).to_numpy() for name in names)])
    y, counts = facts["linear_accuracy"].to_numpy(float)[None], there.astype(int)
    rows = {}
    for key, part in scores.groupby([by, "group"], sort=False):
        x = np.nanmean(_wide(part, "value", models), 1)[None]
        whole, *others = _weighted_correlation(np.repeat(x, len(counts), 0), np.repeat(y, len(counts), 0), counts)
        if np.isnan(others).all():  # without any recipe too few models are left
            rows[key] = (whole, np.nan, np.nan, "", "")
            continue
        low, high = np.nanargmin(others), np.nanargmax(others)
        rows[key] = (whole, others[low], others[high], names[low], names[high])
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["all", "lowest", "highest", "lowest without", "highest without"])
    return table.set_index(pd.MultiIndex.from_tuples(rows, names=[by, "group"]))
