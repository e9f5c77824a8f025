"""Honest summaries of values per pair: means with bootstrap intervals, and differences only where a paired test finds them."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int
from scipy import special

from xaicl_lib.errors import InputError, require
from xaicl_lib.metrics import metrics

RESAMPLES = 2000
REACHING = 6  # values from which on an interval of resamples reaches as far as it says
FEW = 13  # differences at most of which scipy's test is exact in the presence of ties
AT_ONCE = 100_000  # numbers drawn at a time


def summarise(table: pd.DataFrame, by: Sequence[str] = ("model", "method", "metric")) -> pd.DataFrame:
    """Mean `value` of each group, such as of `evaluate`, with a 95 % bootstrap interval over its pairs (see `interval`).

    Returns:
        One row per group: mean, low, high, n (values that are numbers), undefined (those that are not). Without two values that are
        numbers there is no interval.

    Raises:
        InputError: an empty table, or a column that is not there.
    """
    if table.empty:
        raise InputError("expected rows to summarise, got none")
    require("column", table.columns, *by)
    groups = table.groupby(list(by), sort=False, dropna=False)["value"]
    rows = [(*_key(key), *_summary(values.to_numpy(float))) for key, values in groups]
    return pd.DataFrame(rows, columns=[*by, "mean", "low", "high", "n", "undefined"])


def _key(key: object) -> tuple:
    return key if isinstance(key, tuple) else (key,)


def _summary(values: np.ndarray) -> tuple[float, float, float, int, int]:
    known = values[~np.isnan(values)]
    return _mean_of(known), *interval(known), len(known), len(values) - len(known)


def interval(values: np.ndarray, *, confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval of the mean, between expanded percentiles (see `tails`); NaN values are left out, of fewer than two it is NaN.

    No resample leaves the range of the values, which of two holds the mean half of the time and of four six times in seven, so that of
    fewer than `REACHING` values it is Student's interval.
    """
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return np.nan, np.nan
    if len(values) < REACHING:
        away = special.stdtrit(len(values) - 1, (1 + confidence) / 2) * values.std(ddof=1) / np.sqrt(len(values))
        return float(values.mean() - away), float(values.mean() + away)
    means = np.concatenate([values.take(drawn).mean(1) for drawn in _draws(len(values), seed)])
    low, high = np.quantile(means, tails(len(values), confidence))
    return float(low), float(high)


def batches(n: int, draws: int = RESAMPLES, at_once: int = AT_ONCE) -> list[int]:
    """Draws of n items split into batches that the processor's cache holds: all at once 60,000 items take 2 GB and 14 times as long."""
    size = max(1, at_once // n)
    return [min(size, draws - k) for k in range(0, draws, size)]


def _draws(n: int, seed: int) -> Iterator[Int[np.ndarray, "k n"]]:
    """Places (k, n) drawn with replacement, batch by batch, the same whatever the size of the batches."""
    generator = np.random.default_rng(seed)
    return (generator.integers(0, n, (k, n)) for k in batches(n))


def tails(n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Where the interval of a mean of n values begins and ends among its bootstrap samples.

    The plain percentiles (2.5 and 97.5 %) are too near for few values: of four they hold the true mean three times in four. The expanded
    ones of :cite:t:`hesterberg2015bootstrap` are as far apart as those of Student's interval, and nearly the plain ones for many.
    """
    reach = special.stdtrit(n - 1, (1 + confidence) / 2) * np.sqrt(n / (n - 1))
    return float(special.ndtr(-reach)), float(special.ndtr(reach))


def signed_ranks(difference: np.ndarray) -> float:
    """The p value of Wilcoxon's signed-rank test that n paired values differ, from their differences (n,); 1 where they do not.

    Differences that are NaN, of pairs without a value on one side, are left out. And 1 where the mean says one direction and the ranks the
    other, as when one large loss outweighs many small wins: then it cannot be said which is better.
    """
    from scipy import stats  # takes half a second to import, which summaries need not wait for

    known = difference[~np.isnan(difference)]
    moved = known[known != 0]  # as the test has it: what did not change has no rank
    if not len(moved):
        return 1.0
    ranks = stats.rankdata(np.abs(moved)) * np.sign(moved)
    if len(moved) <= FEW and np.ptp(np.abs(moved)) == 0:  # yes or no: the exact test is that of signs, which scipy permutes for a second
        return float(stats.binomtest(int((moved > 0).sum()), len(moved)).pvalue)
    return float(stats.wilcoxon(moved).pvalue) if ranks.sum() * moved.sum() > 0 else 1.0


def paired_difference(
    table: pd.DataFrame,
    between: str,
    on: str | Sequence[str],
    by: Sequence[str] = (),
    *,
    against: str | Sequence[str],
    names: Sequence[str] | None = None,
    value: str = "value",
    unit: str | None = None,
    within: Sequence[str] = (),
    level: float = 0.05,
) -> pd.DataFrame:
    """By how much two things differ on the same items: the mean of one minus the other, its interval, and a paired test.

    Wilcoxon's signed-rank test (see `signed_ranks`), corrected by Holm's procedure for all rows that come back.

    Args:
        table: tidy, one value for each of `between` and each item of a question.
        between: column that holds the names of what is compared, such as "method".
        on: columns that tell the items apart, such as "pair".
        by: columns that make a question each.
        against: the name, or names, to compare with.
        names: to compare with them; None for all others.
        value: column of the values, more of which shall be above 0.
        unit: column of `on` that says which items belong together, as pairs that share an image do: they are averaged before anything else.
        within: columns of `by` or `between` that the correction takes one at a time; none for one correction over all.
        level: of the corrected tests; intervals hold 1 - level.

    Returns:
        One row per question, name and name compared with: the columns of `by`, `between`, against; value and reference (means of either
        side); mean, low, high (of the difference; bootstrap over items or units), effect (the mean in standard deviations of the
        difference), n, undefined (items or units left out because a side has no value), p (corrected), significant (by the test, with an
        interval on one side of 0). Questions that lack one of the two have no row.

    Raises:
        InputError: a name that is not in the table, or two values for one item.
    """
    others, of_item = ([one] if isinstance(one, str) else list(one) for one in (against, on))
    there = dict.fromkeys(table[between].dropna())
    require(f"{between} of the table", there, *others, *(names or ()))
    ones = [name for name in there if name not in others] if names is None else names
    asked = [(one, other) for one in ones for other in others if one != other]
    rows = [
        (*key, *pair, *(_mean_of(side) for side in sides.T), *_facts(sides[:, 0] - sides[:, 1], level), undefined)
        for key, wide in _questions(table, between, of_item, list(by), value)
        for pair in asked
        if set(pair) <= set(wide)
        for sides, undefined in [_sides(wide[list(pair)], unit)]
    ]
    facts = ["value", "reference", "mean", "low", "high", "effect", "n", "p", "undefined"]
    found = pd.DataFrame(rows, columns=[*by, between, "against", *facts])
    together = found.groupby(list(within) or np.zeros(len(found)), sort=False, observed=True)
    p = together["p"].transform(lambda p: holm(p.tolist())).astype(float)
    return found.assign(p=p).assign(significant=lambda t: decided(t, level))


def decided(found: pd.DataFrame, level: float = 0.05) -> "pd.Series[bool]":
    """Whether p is below the level and the interval on one side of 0: a test of ranks may speak where the mean says nothing."""
    return (found["p"] < level) & ((found["low"] > 0) | (found["high"] < 0))


def _questions(table: pd.DataFrame, between: str, on: list[str], by: list[str], value: str) -> Iterator[tuple[tuple, pd.DataFrame]]:
    """For each question its key, and the values with a row per item and a column per name."""
    cells = [*by, between, *on]
    if table.duplicated(cells).any():
        raise InputError(f"expected one value for each {', '.join(cells)}, got several")
    for key, part in table.groupby(by, sort=False, observed=True) if by else [((), table)]:
        yield _key(key), part.pivot(index=on, columns=between, values=value).astype(float)


def _sides(wide: pd.DataFrame, unit: str | None) -> tuple[np.ndarray, int]:
    """Both sides (n, 2) of the items, or units, that have a value on each, and how many have not."""
    known = wide.dropna()
    if unit is None:
        return known.to_numpy(), len(wide) - len(known)
    means = known.groupby(level=unit).mean()
    return means.to_numpy(), wide.index.get_level_values(unit).nunique() - len(means)


def _facts(difference: np.ndarray, level: float) -> tuple[float, float, float, float, int, float]:
    """Mean, low, high, effect, n and p of paired differences that are all numbers."""
    mean, n = _mean_of(difference), len(difference)
    with np.errstate(divide="ignore", invalid="ignore"):
        effect = np.divide(mean, difference.std(ddof=1)) if n > 1 else np.nan
    return mean, *interval(difference, confidence=1 - level), float(effect), n, signed_ranks(difference)


def compare(table: pd.DataFrame, metric: str, *, against: Sequence[str] = (), level: float = 0.05, seed: int = 0) -> pd.DataFrame:
    """Which methods are better than which by a metric, model by model, pair against the same pair.

    Wilcoxon's signed-rank test for each two methods, corrected for their number by Holm's procedure within a model. Where no
    test speaks, neither method is better, whatever their means.

    Args:
        table: as from `evaluate`.
        metric: whose direction is known from the registry.
        against: compare with these methods only, such as the controls: fewer questions, which fewer pairs can answer. (Twelve pairs, for
            example, can never decide one of 190 comparisons: the smallest p value of their test is 2 / 2**12.)
        level: of the corrected tests; intervals hold 1 - level.

    Returns:
        A row for each model and two methods, the one with the better mean first: model, better, worse, difference (mean over pairs of
        better minus worse), low and high (its bootstrap interval over pairs, see `interval`, of each comparison on its own), n,
        p (corrected for all comparisons of the model, so an interval without 0 alone decides nothing), significant (as of `decided`).

    Raises:
        InputError: a metric or method that is not in the table.
    """
    rows = [
        (*names, _mean_of(difference), *interval(difference, confidence=1 - level, seed=seed), len(difference), p)
        for names, difference, p in _compared(table, metric, against)
    ]
    found = pd.DataFrame(rows, columns=["model", "better", "worse", "difference", "low", "high", "n", "p"])
    return found.assign(significant=decided(found, level))


def _mean_of(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def _compared(table: pd.DataFrame, metric: str, against: Sequence[str]) -> Iterator[tuple[tuple[str, str, str], np.ndarray, float]]:
    """For each model and two methods: (model, better, worse), the differences over pairs, and the corrected p value."""
    require("metric of the table", table["metric"].unique(), metric)
    require("method of the table", table["method"].unique(), *against)
    sign = 1 if metrics[metric].facts["higher_is_better"] else -1
    for model, part in table[table["metric"] == metric].groupby("model", sort=False):
        wide = part.pivot(index="pair", columns="method", values="value")[list(dict.fromkeys(part["method"]))]
        values = {name: wide[name].to_numpy(float) for name in wide}
        both = [(a, b) for k, a in enumerate(wide) for b in wide.columns[k + 1 :] if not against or (a in against) != (b in against)]
        found = [_two(a, b, values[a] - values[b], sign) for a, b in both]
        corrected = holm([signed_ranks(difference) for *_, difference in found])
        yield from (((model, better, worse), difference, p) for (better, worse, difference), p in zip(found, corrected, strict=True))


def claimed(table: pd.DataFrame, better: str, worse: str, columns: Sequence[str], *, level: float = 0.05) -> pd.DataFrame:
    """Whether one method is better than another, as somebody claims: by each metric, model by model, pair against the same pair.

    Wilcoxon's signed-rank test in both directions, corrected by Holm's procedure for all metrics and models of the claim. Models that
    lack one of the methods have no rows.

    Args:
        better: the method that the claim prefers.
        columns: metrics, whose directions are known from the registry.
        level: of the corrected tests; intervals hold 1 - level.

    Returns:
        A row for each metric and model: metric, model, difference (mean over pairs, in units of the metric, positive where the claim
        holds), low and high (its bootstrap interval over pairs, on its own), n, p (corrected), verdict: "holds", "contrary" or "undecided".

    Raises:
        InputError: a method or metric that is not in the table.
    """
    require("metric of the table", table["metric"].unique(), *columns)
    rows = pd.concat([table[table["metric"] == metric] for metric in columns])
    signs = {metric: 1.0 if metrics[metric].facts["higher_is_better"] else -1.0 for metric in columns}
    signed = rows.assign(value=rows["value"] * rows["metric"].map(signs).astype(float))
    found = paired_difference(signed, "method", "pair", ["metric", "model"], names=[better], against=worse, level=level)
    verdict = [_verdict(*row) for row in zip(found["mean"], found["significant"], strict=True)]
    found = found.assign(verdict=verdict).rename(columns={"mean": "difference"})
    return found[["metric", "model", "difference", "low", "high", "n", "p", "verdict"]]


def _verdict(difference: float, sure: bool) -> str:
    return "undecided" if not sure else "holds" if difference > 0 else "contrary"


def _is_decided(difference: np.ndarray, p: float) -> bool:
    """`decided` of one comparison; most of those that no test decides would wait for an interval in vain."""
    low, high = interval(difference) if p < 0.05 else (0.0, 0.0)
    return low > 0 or high < 0


def verdicts(table: pd.DataFrame, controls: Sequence[str]) -> pd.DataFrame:
    """How many methods are significantly better, and how many worse, than each control: what a metric says of a model's maps at all.

    Returns:
        A row for each metric, model and control: better, worse, methods (how many could be either).

    Raises:
        InputError: a control that is not in the table.
    """
    rows = []
    for metric in dict.fromkeys(table["metric"]):
        tested = [(*names, _is_decided(difference, p)) for names, difference, p in _compared(table, metric, controls)]
        found = pd.DataFrame(tested, columns=["model", "better", "worse", "significant"])
        for model, part in found.groupby("model", sort=False):
            sure = part[part["significant"]]
            for name in controls:
                won, lost = (sure["worse"] == name).sum(), (sure["better"] == name).sum()
                rows.append((metric, model, name, int(won), int(lost), int(((part["worse"] == name) | (part["better"] == name)).sum())))
    return pd.DataFrame(rows, columns=["metric", "model", "control", "better", "worse", "methods"])


def _two(first: str, second: str, difference: np.ndarray, sign: int) -> tuple[str, str, np.ndarray]:
    """The better of two methods, the worse, and by how much, over the pairs that know both."""
    known = difference[~np.isnan(difference)]
    return (second, first, -known) if len(known) and sign * known.mean() < 0 else (first, second, known)


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for their number by Holm's step-down procedure, in the order given."""
    order = np.argsort(p, kind="stable")
    corrected, highest = [0.0] * len(p), 0.0
    for rank, k in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[k]))
        corrected[k] = highest
    return corrected


def rank_agreements(table: pd.DataFrame, one: str, other: str) -> pd.DataFrame:
    """How far two metrics order methods alike, pair by pair: Spearman's correlation over the methods of each pair.

    Directions are taken from the registry, so that 1 always means that the metrics prefer the same methods.

    Returns:
        model, pair and value; without pairs of which fewer than three methods have both values, or all have the same.
    """
    sign = {name: 1 if metrics[name].facts["higher_is_better"] else -1 for name in (one, other)}
    wide = table[table["metric"].isin([one, other])].pivot(index=["model", "pair", "method"], columns="metric", values="value")
    by = {"level": ["model", "pair"], "sort": False}
    ranks = (wide[[one, other]].dropna() * pd.Series(sign)).groupby(**by).rank()
    away = ranks - ranks.groupby(**by).transform("mean")
    sums = pd.DataFrame({"xy": away[one] * away[other], "xx": away[one] ** 2, "yy": away[other] ** 2, "n": 1}).groupby(**by).sum()
    sums = sums[(sums["n"] > 2) & (sums["xx"] > 0) & (sums["yy"] > 0)]
    return (sums["xy"] / np.sqrt(sums["xx"] * sums["yy"])).rename("value").reset_index()
