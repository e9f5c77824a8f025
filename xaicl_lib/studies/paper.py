"""What we measure beside the paper's Tables I to VII: the rows of its tables, and how far our numbers and orders are its own."""

import time
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from xaicl_lib.data.paper import paper_tables
from xaicl_lib.errors import InputError, require
from xaicl_lib.evaluation.method_spec import MethodSpec, possible, short
from xaicl_lib.methods import methods
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair
from xaicl_lib.statistics.correlation import Values, resampled, weighted_means
from xaicl_lib.statistics.paired import holm, summarise
from xaicl_lib.studies.tables import GROUPS, PUBLISHED

_SLOW = {  # what a quick run leaves out of a table
    "I": ("conditional_occlusion", "pairwise_occlusion", "input_x_gradient", "smooth_grad", "averaged_transforms"),
    "V": ("smooth_grad",),
    "VI": ("conditional_occlusion", "pairwise_occlusion"),
}
COUNTERPARTS = {"simclr": "SimCLRv2 1x", "barlow_twins": "Barlow Twins", "simsiam": "SimSiam", "moco_v3": "MoCo v3"}  # the paper's


def methods_in(model: PairModel, table: str = "I", *, quick: bool = False) -> dict[str, MethodSpec]:
    """The rows of one of the paper's tables ("I", "V" or "VI") that a model allows, occlusion's drops drawn as the paper's program does.

    A quick run leaves out those that take long.
    """
    specs = possible(list(dict.fromkeys(paper_tables(table)["method"])), model)
    specs |= {label: MethodSpec(label, {"grid": "published"}, label) for label in specs if label == "conditional_occlusion"}
    return {label: spec for label, spec in specs.items() if not quick or spec.name not in _SLOW[table]}


def as_published(table: pd.DataFrame) -> pd.DataFrame:
    """Occlusion with its drops as the paper's program draws them under the paper's name, where a table has it, in the place of ours."""
    if PUBLISHED not in set(table["method"]):
        return table
    rest = table[table["method"] != "conditional_occlusion"]
    return rest.assign(method=rest["method"].astype(str).replace(PUBLISHED, "conditional_occlusion"))


def beside(summary: pd.DataFrame, model: str, paper_model: str) -> pd.DataFrame:
    """Our means with the paper's numbers for the same method and metric, and whether these lie within our intervals.

    Args:
        summary: from `summarise`.
        paper_model: the paper's name of the model, as in `paper_tables`.

    Returns:
        Columns model, method, metric, mean, low, high, n, table, paper_model, paper, inside; in the order of our rows.

    Raises:
        InputError: the paper has no numbers for the model, or none that we measured.
    """
    paper = paper_tables("I", "II", "III", "IV", "V").rename(columns={"value": "paper", "model": "paper_model"})
    require("model of the paper", paper["paper_model"].unique(), paper_model)
    summary = as_published(summary)
    both = summary[summary["model"] == model].merge(paper[paper["paper_model"] == paper_model], on=["method", "metric"])
    if both.empty:
        raise InputError(f"expected methods and metrics that the paper has for {paper_model}, got none for {model!r}")
    return _inside(both)[["model", "method", "metric", "mean", "low", "high", "n", "table", "paper_model", "paper", "inside"]]


def _inside(both: pd.DataFrame) -> pd.DataFrame:
    return both.assign(inside=both["paper"].between(both["low"], both["high"]))


def agreement(found: pd.DataFrame) -> pd.DataFrame:
    """How far the numbers of `beside` agree: a row for each metric, with the cells, those inside ours, and the rows' correlation."""
    parts = found.groupby("metric", sort=False)
    rho = parts[["mean", "paper"]].apply(lambda part: part["mean"].corr(part["paper"], "spearman"))
    columns = {"cells": parts.size(), "inside our interval": parts["inside"].sum(), "rank correlation of the rows": rho}
    return pd.DataFrame(columns)


def sensitivity(table: pd.DataFrame, paper_model: str) -> pd.DataFrame:
    """Max sensitivity beside the paper's Table V: a row for each method, by its short name; here, low, high, paper.

    The table is of one model.
    """
    paper = paper_tables("V").query("model == @paper_model").set_index("method")["value"]
    found = summarise(table, ["method"]).rename(columns={"mean": "here"}).set_index("method")
    return found.assign(paper=paper.reindex(found.index))[["here", "low", "high", "paper"]].rename(index=short)


def seconds(model: PairModel, pair: Pair, *, quick: bool = False, runs: int = 1, at_least: float = 0.0) -> pd.DataFrame:
    """Seconds to explain a pair beside the paper's Table VI (on one RTX 3090), and how many times those of Interaction-CAM they are.

    Args:
        runs: over which the mean is taken; of several, one more comes first, to warm up.
        at_least: seconds for which a method is run again and again.
    """
    paper = paper_tables("VI").set_index("method")["value"]
    here = {label: _seconds(spec, model, pair, runs, at_least) for label, spec in methods_in(model, "VI", quick=quick).items()}
    table = pd.DataFrame({"seconds here": here, "seconds in the paper": paper}).reindex(list(here))
    for column in ("here", "in the paper"):
        taken = table[f"seconds {column}"]
        table[f"times Int-CAM, {column}"] = taken / taken["interaction_cam"]
    return table.rename(index=short).rename_axis("method")


def _seconds(spec: MethodSpec, model: PairModel, pair: Pair, runs: int, at_least: float) -> float:
    if runs > 1:
        spec.explain(model, pair)
    began, done = time.perf_counter(), 0
    while done < runs or time.perf_counter() - began < at_least:
        spec.explain(model, pair).a.cpu()  # which waits for it
        done += 1
    return (time.perf_counter() - began) / done


def transforms(table: pd.DataFrame, paper_model: str) -> pd.DataFrame:
    """Our means beside the paper's Table VII: one row per transform and metric.

    Args:
        table: from `xaicl_lib.studies.dissection.dissect`, of one model and the plain variant.
        paper_model: the paper's name of the model beside it; where the paper has none, its numbers are empty.

    Returns:
        Columns transform, metric, mean, low, high, n, undefined, paper, inside.
    """
    paper = paper_tables("VII").query("model == @paper_model").rename(columns={"value": "paper"})
    paper[["method", "transform"]] = paper["method"].str.split(" / ", expand=True).reindex(columns=[0, 1])
    paper = paper[paper["method"] == "averaged_transforms"]
    how = "inner" if len(paper) else "left"
    return _inside(summarise(table, ["transform", "metric"]).merge(paper[["transform", "metric", "paper"]], how, ["transform", "metric"]))


def transforms_table(found: pd.DataFrame) -> pd.DataFrame:
    """`transforms` to read: a row for each transform, for each metric a column here and, where it has numbers, in the paper."""
    told = {"here": "mean", "paper": "paper"} if found["paper"].notna().any() else {"": "mean"}
    parts = {name: found.pivot(index="transform", columns="metric", values=column) for name, column in told.items()}
    wide = pd.concat([part.add_suffix(f", {name}" if name else "") for name, part in parts.items()], axis=1)
    return wide.loc[list(dict.fromkeys(found["transform"])), sorted(wide)]


def orders(table: pd.DataFrame, models: Mapping[str, str] = COUNTERPARTS, *, draws: int = 2000) -> pd.DataFrame:
    """How far our order of the methods is the paper's: over all of them, within families and across.

    Methods of different families differ so much that a correlation over all of them says little of the methods within one. So pairs
    of methods are counted (see `_concordance`): those of one family, and those of two. As in the
    paper, deep similarity is one of the activation methods.

    Args:
        models: by the name of ours, the paper's name of the model to put beside it; those count that the table has.
        draws: of the bootstrap over pairs of photos, and of orders by chance.

    Returns:
        A row for each model and metric of Tables I to IV: model, metric, methods, pooled (Spearman's over all), activation and gradient
        (Spearman's within), across and within (concordance), low and high (95 % interval of within over pairs of photos), p (of within,
        against orders that are random within families, corrected by Holm's procedure for all rows).
    """
    paper, table = paper_tables("I", "II", "III", "IV"), as_published(table)
    rows = [
        {"model": f"{ours} and {other}", "metric": metric, **_order(part, known[known["metric"] == metric], draws)}
        for ours, other in models.items()
        for known in [paper[paper["model"] == other]]
        for metric in (name for names in GROUPS.values() for name in names)
        for part in [table[(table["model"] == ours) & (table["metric"] == metric)]]
        if len(part)
    ]
    found = pd.DataFrame(rows)
    return found.assign(p=holm(found["p"].tolist()))


def _order(ours: pd.DataFrame, paper: pd.DataFrame, draws: int) -> dict[str, float]:
    """A row of `orders`, with p as it is before the correction."""
    wide = ours.pivot(index="method", columns="pair", values="value")
    both = paper.set_index("method")["value"].reindex(wide.index).dropna()
    values = wide.loc[both.index].to_numpy(float)
    families = np.array(["activation" if f == "similarity" else f for f in map(_family, both.index)])
    sampled = weighted_means(values, resampled(range(values.shape[1]), draws))  # row 0 is the sample itself
    within, across = _concordance(sampled, both.to_numpy(float), families.tolist())
    mean = pd.Series(sampled[0], both.index)
    each = {one: mean[families == one].corr(both[families == one], "spearman") for one in ("activation", "gradient")}
    low, high = np.nanpercentile(within[1:], [2.5, 97.5])
    p = _chance_within(sampled[0], both.to_numpy(float), families.tolist(), draws)
    pooled = mean.corr(both, "spearman")
    return {"methods": len(both), "pooled": pooled, **each, "across": across[0], "within": within[0], "low": low, "high": high, "p": p}


def _concordance(
    x: Values, y: Float[np.ndarray, " m"], groups: Sequence[Hashable]
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """How far two orders of m things agree on two of one group, and on two of different groups.

    Kendall's tau split in two: of all pairs of things, the share that x and y order alike minus the share that they order against each
    other; equal values count for neither.

    Returns:
        Within and across groups, each (d,) from -1 to 1; NaN where there are no such pairs.
    """
    of = pd.factorize(np.asarray(groups))[0]
    i, j = np.triu_indices(len(of), 1)
    alike = np.sign(x[:, i] - x[:, j]) * np.sign(y[i] - y[j])
    return tuple(alike[:, same].mean(1) if same.any() else np.full(len(x), np.nan) for same in (of[i] == of[j], of[i] != of[j]))  # type: ignore[return-value]


def _chance_within(x: Float[np.ndarray, " m"], y: Float[np.ndarray, " m"], groups: Sequence[Hashable], draws: int) -> float:
    """How often orders within the groups that know nothing of each other agree, or disagree, as much: a p value, both ways.

    Values of x change places within their group, so that what the groups themselves are worth stays as it is.

    Returns:
        (1 + draws as far from 0) / (1 + draws); NaN without a group of two.
    """
    of, generator = pd.factorize(np.asarray(groups))[0], np.random.default_rng(0)
    shuffled = np.tile(x, (draws, 1))
    for group in range(of.max() + 1):
        shuffled[:, of == group] = generator.permuted(shuffled[:, of == group], axis=1)
    found, chance = _concordance(x[None], y, groups)[0][0], _concordance(shuffled, y, groups)[0]
    return float((1 + (np.abs(chance) >= abs(found) - 1e-12).sum()) / (1 + draws)) if np.isfinite(found) else np.nan


def _family(label: str) -> str:
    return str(methods[label.split("(")[0]].facts["family"])
