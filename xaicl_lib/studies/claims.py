"""What holds of the papers: every claim as a row, a check of it on the stored results, and a verdict."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xaicl_lib.data.paper import paper_tables
from xaicl_lib.errors import InputError, require, unknown
from xaicl_lib.metrics import metrics
from xaicl_lib.statistics.correlation import fisher_interval
from xaicl_lib.statistics.paired import holm, interval, signed_ranks
from xaicl_lib.statistics.power import models_needed, pairs_needed
from xaicl_lib.studies import RESULTS, stored
from xaicl_lib.studies.downstream import pair_scores, paper_correlations
from xaicl_lib.studies.organization import with_intervals
from xaicl_lib.studies.paper import as_published
from xaicl_lib.studies.tables import OWN_METHODS

SOURCE = Path(__file__).parents[1] / "data" / "claims.csv"
HOLDS, FAILS, UNDECIDED, NOT_HERE = VERDICTS = ("holds", "does not", "undecided", "not testable here")
LEVEL = 0.05
ROUNDS = 0.1  # relative differences of times below which a few rounds decide nothing
# Which of our models stands for which of the paper's; ours are small, of 96 pixels, trained on ten classes.
STANDS_FOR = {"simclr": ("SimCLRv2 1x", "SimCLRv2 2x"), "barlow_twins": ("Barlow Twins",), "simsiam": ("SimSiam",), "moco_v3": ("MoCo v3",)}
Row = Any  # of `_claims`, as from DataFrame.itertuples
Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True, eq=False)
class _Evidence:
    """What a check found, in the direction of the claim: positive values speak for it.

    Attributes:
        estimate: mean difference, correlation, or margin.
        low, high: 95 % interval of it; NaN where nothing was drawn.
        n: units that were drawn, or cells of a printed table.
        unit: what they are.
        p: of a two-sided test, uncorrected; NaN where there is none, as for arithmetic on printed numbers.
        deviation: of the differences over units; NaN for a correlation.
        note: what to know beside the numbers.
    """

    estimate: float
    low: float
    high: float
    n: int
    unit: str
    p: float
    deviation: float = np.nan
    note: str = ""


def _claims() -> pd.DataFrame:
    """The rows of `claims.csv`: id, source, section, place, claim, paper, protocol, kind of check, and what the check is told.

    `claim` is in our words. `paper` and `protocol` are what the paper prints; empty where it prints nothing.
    """
    return pd.read_csv(SOURCE, dtype=str, keep_default_na=False)


def tables(folder: str | os.PathLike[str] = RESULTS) -> dict[str, pd.DataFrame]:
    """The stored results that the claims ask for, by name, none without their folder, which comes with a checkout.

    That of the texture test has a column `source`: the texture its photos were made of, of which there are 48, or the scene.
    Occlusion in the paper's tables is that of its program.

    Raises:
        InputError: a table is not there.
    """
    names = sorted({name for name in _claims()["table"] if name and name != "paper"}) if Path(folder).is_dir() else []
    found = {name: stored(name, folder=folder) for name in names}
    missing = [name for name, table in found.items() if table is None]
    if missing:
        raise InputError(f"expected stored results in {str(folder)!r}, got no {', '.join(missing)}")
    known = {name: table for name, table in found.items() if table is not None}
    if "texture" in known:
        known["texture"]["source"] = _source(known["texture"])
    if "metrics" in known:
        known["metrics"] = as_published(known["metrics"])
    return known


def _source(table: pd.DataFrame) -> pd.Series:
    """What of a trial was drawn: a texture, which many photos share, or a scene."""
    textures = table["name"].astype(str).str.split("-").str[-1]
    return textures.where(table["data"].astype(str) == "photos", table["stimulus"].astype(str))


def _conditions(text: str) -> dict[str, list[str]]:
    """Values allowed by column, from "column=a|b & other=c"."""
    parts = (one.split("=", 1) for one in text.split(" & ") if one)
    return {name.strip(): values.split("|") for name, values in parts}


def _part(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """The rows of a table that meet conditions, all of them without any.

    Raises:
        InputError: no such column, or a value that no row has.
    """
    for column, values in _conditions(where).items():
        require("column", table.columns, column)
        text = table[column].astype(str)
        require(column, text.unique(), *values)
        table = table[text.isin(values)]
    return table


def _wide(row: Row, tables: Tables) -> pd.DataFrame:
    """A line for each model and item, a column for each of what is compared; higher is better.

    Raises:
        InputError: means of a line are over different numbers of values, as where one side has not been asked all that the other has.
    """
    rows = _part(tables[row.table], row.where)
    models = ["model"] if "model" in rows and row.between != "model" else []
    made = rows.groupby([*models, *row.item.split("|"), row.between], observed=True)[row.value].agg(["mean", "size"]).unstack()
    wide, sizes = (made[name].rename(columns=str) for name in ("mean", "size"))
    compared = [name for name in (row.first + "|" + row.second).split("|") if name in sizes]
    if sizes[compared].dropna().nunique(axis=1).gt(1).any():
        raise InputError(f"expected as many values on either side of claim {row.id!r}, got other numbers: name more in its `where`")
    return -wide if _lower(row) else wide


def _lower(row: Row) -> bool:
    """Whether low values are better: said by the row, or by the registry for the metrics of its table."""
    if row.better:
        return row.better == "lower"
    names = _conditions(row.where).get("metric", [])
    return not all(metrics[name].facts["higher_is_better"] for name in names)


def _mean(wide: pd.DataFrame, names: list[str]) -> pd.Series:
    """Mean over columns; NaN where one of them has no value."""
    require("column of what is compared", wide.columns, *names)
    return wide[names].mean(axis=1, skipna=False)


def _each(values: pd.Series) -> tuple[np.ndarray, str]:
    """Values per item, averaged over the models that have any, and how many of these agree with the claim."""
    values = values.astype(float)
    if "model" not in values.index.names:
        return values.dropna().to_numpy(), ""
    by_model = values.groupby(level="model", observed=True)
    known = [name for name, one in by_model if one.notna().any()]
    wide = values[values.index.get_level_values("model").isin(known)].unstack("model")
    agree = int((by_model.mean()[known] > 0).sum())
    note = "" if len(known) == 1 else f"the mean has the claim's sign on {agree} of {len(known)} models"
    return wide.mean(axis=1, skipna=False).dropna().to_numpy(), note


def _paired(values: np.ndarray, unit: str, *, p: float | None = None, note: str = "") -> _Evidence:
    low, high = interval(values)
    deviation = float(values.std(ddof=1)) if len(values) > 1 else np.nan
    found = signed_ranks(values) if p is None else p
    return _Evidence(float(values.mean()), low, high, len(values), unit, found, deviation, note)


def _unit(row: Row) -> str:
    return " x ".join(row.item.split("|")) + "s"


def _difference(row: Row, tables: Tables) -> _Evidence:
    """`first` against `second`, on the same items; several names are averaged first."""
    wide = _wide(row, tables)
    values, note = _each(_mean(wide, row.first.split("|")) - _mean(wide, row.second.split("|")))
    return _paired(values, _unit(row), note=note)


def _beyond(row: Row, tables: Tables) -> _Evidence:
    """`first` against `second` on the first model of `where`, beyond what they differ by on its second, such as an untrained network."""
    wide = _wide(row, tables)
    gap = _mean(wide, row.first.split("|")) - _mean(wide, row.second.split("|"))
    model, null = _conditions(row.where)["model"]
    by_null = gap.xs(null, level="model")
    values = (gap.xs(model, level="model") - by_null).dropna().to_numpy()
    return _paired(values, _unit(row), note=f"beyond {null}, where it is {by_null.mean():+.3f}")


def _halves(row: Row, tables: Tables) -> _Evidence:
    """`first` against `second` on all items, with the jackknife over the same halves of both; t over the number of halves."""
    from scipy import stats

    rows = _part(tables[row.table], row.where)
    sides = (rows[rows[row.between].astype(str) == name].set_index("draw") for name in (row.first, row.second))
    one, two = sides
    gap = (one["value"] - two["value"]) * (-1 if row.better == "lower" else 1)
    said = with_intervals(one.assign(value=gap, what="gap").reset_index(), ["what"]).iloc[0]
    halves = len(gap) - 1
    p = 2 * stats.t.sf(abs(said["mean"]) / said["se"], halves - 1)
    return _Evidence(said["mean"], said["low"], said["high"], halves, "halves", float(p))


def _level(row: Row, tables: Tables) -> _Evidence:
    """The mean of a column against another column (a null for each item), or against a number."""
    rows = _part(tables[row.table], row.where)
    second = rows[row.second].astype(float) if row.second in rows else float(row.second)
    value = (rows[row.value].astype(float) - second) * (-1 if row.better == "lower" else 1)
    keys = [*(["model"] if "model" in rows else []), *row.item.split("|")]
    each = value.groupby([rows[key] for key in keys], observed=True).mean()
    values, note = _each(each)
    return _paired(values, _unit(row), note=note)


def _best(row: Row, tables: Tables) -> _Evidence:
    """`first` against every other: it is the best only if it beats each, and is not as soon as one beats it.

    For "best", the largest p of all comparisons counts (an intersection-union test, which needs no correction); against it, the smallest
    p of those in which it loses, corrected by Holm's procedure.
    """
    wide = _wide(row, tables).dropna(axis=1, how="all")
    others = row.second.split("|") if row.second else [name for name in wide if name != row.first and name not in OWN_METHODS]
    first = _mean(wide, [row.first])
    found = {name: _each(first - _mean(wide, [name]))[0] for name in others}
    found = {name: values for name, values in found.items() if len(values)}
    p = {name: signed_ranks(values) for name, values in found.items()}
    lost = [name for name in found if found[name].mean() < 0]
    corrected = dict(zip(p, holm(list(p.values())), strict=True))
    hardest = {name: (p[name], -values.mean()) for name, values in found.items()}
    decisive = min(lost, key=lambda name: (corrected[name], found[name].mean())) if lost else max(p, key=lambda name: hardest[name])
    said = corrected[decisive] if lost else p[decisive]
    return _paired(
        found[decisive], _unit(row), p=said, note=f"beaten in the mean by {len(lost)} of {len(found)}; shown: against {decisive}"
    )


def _correlation(row: Row, tables: Tables) -> _Evidence:
    """Explanation scores of finished models with the accuracy of a linear probe; `second` is a control to subtract."""
    from scipy import stats

    scores = pair_scores(tables[row.table])
    scores = scores[~scores["model"].str.contains("_epoch") & (scores["group"] == row.value)]
    means = scores.groupby(["method", "model"])["value"].mean()
    x = sum(means[name] for name in row.first.split("|")) / len(row.first.split("|"))
    if row.second:
        x = x - means[row.second]
    y = scores.groupby("model")["linear_accuracy"].first()
    r, p = stats.pearsonr(x.to_numpy(), y[x.index].to_numpy())
    return _Evidence(float(r), *fisher_interval(float(r), len(x)), len(x), "models", float(p))


def _cost(row: Row, tables: Tables) -> _Evidence:
    """Whether the dearest of `first` needs less than the cheapest of `second`; measured, not drawn, so nothing is tested.

    Times have an interval of a tenth either way, since a few rounds do not tell less; counts have none.
    """
    means = _part(tables[row.table], row.where).groupby(row.between)[row.value].mean()
    dear, cheap = means[row.first.split("|")].max(), means[row.second.split("|")].min()
    found = _exact(1 - dear / cheap, len(means), "measured", f"{dear:.4g} against {cheap:.4g} {row.value}")
    return replace(found, low=found.estimate - ROUNDS, high=found.estimate + ROUNDS) if row.value == "seconds" else found


def _exact(margin: float, n: int, unit: str, note: str) -> _Evidence:
    return _Evidence(float(margin), np.nan, np.nan, n, unit, np.nan, note=note)


def _printed_cells(row: Row) -> pd.DataFrame:
    """A line for each model and metric of the printed tables, a column for each way; higher is better."""
    rows = _part(paper_tables(), row.where)
    sign = rows["metric"].map(lambda name: 1 if name in metrics and metrics[name].facts["higher_is_better"] else -1)
    signed = rows.assign(value=rows["value"] * sign)
    return signed.pivot_table(index=["model", "metric"], columns="method", values="value")


def _printed(row: Row, tables: Tables) -> _Evidence:
    """In how many cells of the printed tables the best of `first` is no worse than that of `second`; `value` says how many should be."""
    wide = _printed_cells(row)
    wins = wide[row.first.split("|")].max(axis=1) >= wide[row.second.split("|")].max(axis=1)
    return _counted(int(wins.sum()), len(wins), int(row.value))


def _printed_each(row: Row, tables: Tables) -> _Evidence:
    """The same, each of `first` beside its own counterpart in `second`, and ties do not count."""
    wide = _printed_cells(row)
    wins = [wide[x] > wide[y] for x, y in zip(row.first.split("|"), row.second.split("|"), strict=True)]
    return _counted(int(sum(w.sum() for w in wins)), sum(len(w) for w in wins), int(row.value))


def _counted(count: int, n: int, wanted: int) -> _Evidence:
    return _exact(count - wanted + 0.5, n, "printed cells", f"{count} of {n} cells, {wanted} needed")


def _printed_best(row: Row, tables: Tables) -> _Evidence:
    """Whether `first` has the best mean over all cells of the printed tables."""
    means = _printed_cells(row).mean().sort_values(ascending=False)
    place = list(means.index).index(row.first) + 1
    return _exact(1.5 - place, len(means), "printed methods", f"place {place} of {len(means)}; first is {means.index[0]}")


def _printed_correlation(row: Row, tables: Tables) -> _Evidence:
    """The correlation of Fig. 15 from the printed tables and published accuracies, with what five models can say."""
    from scipy import stats

    found = paper_correlations().set_index(["family", "group"]).loc[(row.first, row.value)]
    r, n = float(found["r"]), int(found["models"])
    t = r * np.sqrt((n - 2) / (1 - r**2))
    return _Evidence(r, float(found["low"]), float(found["high"]), n, "models", float(2 * stats.t.sf(abs(t), n - 2)))


CHECKS: dict[str, Callable[[Row, Tables], _Evidence]] = {
    one.__name__.lstrip("_"): one
    for one in (
        _difference, _beyond, _halves, _level, _best, _correlation, _cost, _printed, _printed_each, _printed_best, _printed_correlation,
    )
}  # fmt: skip


def _evidence(row: Row, tables: Tables) -> _Evidence | None:
    """What the check of a claim finds; None where nothing here can test it.

    Raises:
        InputError: no such check, or it asks for what no table has.
    """
    if row.check == "none":
        return None
    if row.check not in CHECKS:
        raise unknown("check", row.check, [*CHECKS, "none"])
    return CHECKS[row.check](row, tables)


def _verdict(found: _Evidence | None, corrected: float, at: float = LEVEL) -> str:
    """What evidence allows to say: "holds", "does not", "undecided" or "not testable here".

    A test decides if its corrected p is below the level and the interval lies on one side of 0. Where nothing was tested the interval
    alone decides, and where there is none, as of printed numbers, the sign.
    """
    if found is None:
        return NOT_HERE
    decided = (np.isnan(found.p) or corrected < at) and not found.low <= 0 <= found.high
    return (HOLDS if found.estimate > 0 else FAILS) if decided else UNDECIDED


def _needed(found: _Evidence, estimate: float, at: float) -> float:
    """Units that would decide at a level if the true value were `estimate`."""
    if found.unit == "models":
        return models_needed(estimate, level=at)
    return pairs_needed(estimate, found.deviation, level=at)


def _printed_difference(row: Row) -> str:
    """Mean difference in the paper's own Tables I to V over the models that ours stand for, in the claim's direction; "" without one."""
    if row.check != "difference" or row.table != "metrics" or row.between != "method":
        return ""
    want = _conditions(row.where)
    names = [name for model in want["model"] for name in STANDS_FOR[model]]
    tables = paper_tables()
    tables = tables[tables["model"].isin(names) & tables["metric"].isin(want["metric"])]
    wide = tables.pivot_table(index=["model", "metric"], columns="method", values="value")
    gap = _mean(wide, row.first.split("|")) - _mean(wide, row.second.split("|"))
    return f"{(-gap if _lower(row) else gap).mean():+.3f} (mean of its tables)"


def answers(tables: Tables, rows: pd.DataFrame | None = None, *, at: float = LEVEL) -> pd.DataFrame:
    """Every claim with the paper's number, ours, and a verdict.

    All tests of the table are one family, corrected by Holm's procedure.

    Args:
        tables: from `tables`.
        rows: from `_claims`; if none are given, all that can be asked of these tables, or of the paper's.
        at: level of the corrected tests.

    Returns:
        id, source, section, place, claim, paper, protocol, ours, low, high, n, unit, p (corrected), verdict, needed (units for an undecided
        row, by `needed` at the level over the number of tests, power 80 %), at_least (the same at that end of the interval that is further
        from 0), used (our protocol: stored table and models), note.
    """
    rows = _claims()[lambda every: every["table"].isin(["", "paper", *tables])] if rows is None else rows
    found = {row.id: _evidence(row, tables) for row in rows.itertuples()}
    tested = [key for key, one in found.items() if one is not None and not np.isnan(one.p)]
    corrected = dict(zip(tested, holm([found[key].p for key in tested]), strict=True))  # type: ignore[union-attr]
    each = at / max(1, len(tested))
    return pd.DataFrame([_line(row, found[row.id], corrected.get(row.id, np.nan), at, each) for row in rows.itertuples()])


def _line(row: Row, found: _Evidence | None, p: float, at: float, each: float) -> dict[str, Any]:
    said = _verdict(found, p, at)
    facts = {key: getattr(row, key) for key in ("id", "source", "section", "place", "claim", "paper", "protocol")}
    facts["paper"] = facts["paper"] or _printed_difference(row)
    if found is None:
        found = _Evidence(np.nan, np.nan, np.nan, 0, "", np.nan)
    line = {"ours": found.estimate, "low": found.low, "high": found.high, "n": found.n, "unit": found.unit, "p": p, "verdict": said}
    open_ = said == UNDECIDED
    far = found.high if abs(found.high) > abs(found.low) else found.low
    more = {"needed": _needed(found, found.estimate, each) if open_ else np.nan, "at_least": _needed(found, far, each) if open_ else np.nan}
    note = "; ".join(text for text in (found.note, row.reason) if text)
    return {**facts, **line, **more, "used": _used(row), "note": note}


def _used(row: Row) -> str:
    """The stored table and the models that a check reads."""
    models = _conditions(row.where).get("model", [])
    if row.between == "model":
        models = [*row.first.split("|"), *row.second.split("|")]
    source = {"": "", "paper": "the paper's tables"}.get(row.table, f"{row.table}.parquet")
    return ", ".join([source, *models])


def counts(table: pd.DataFrame, by: str = "source") -> pd.DataFrame:
    """How many claims of each group have which verdict: a row per group, a column per verdict, and their sum."""
    wide = pd.crosstab(table[by], table["verdict"]).reindex(index=list(dict.fromkeys(table[by])), columns=list(VERDICTS), fill_value=0)
    return wide.assign(claims=wide.sum(axis=1)).rename_axis(columns=None)
