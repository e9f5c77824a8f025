"""Compositions of two augmentations: what is lost only when both are there."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from xaicl_lib.augment.families import AUGMENTATIONS, Family, composition
from xaicl_lib.errors import InputError, require
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair
from xaicl_lib.statistics.bootstrap import shares
from xaicl_lib.statistics.paired import holm, signed_ranks, summarise
from xaicl_lib.statistics.texts import with_interval
from xaicl_lib.studies.harmful import CONTROLS, against, sweep_with_controls

# As recipes order them: where to look, the colours, then what happens to the pixels.
ORDER = (
    *("crop", "rotation", "darkening", "brightening", "contrast", "saturation", "grayscale", "hue", "solarisation"),
    *("blur", "noise", "JPEG"),
)
AND = " + "


def compositions(names: Sequence[str] = ORDER) -> dict[str, Family]:
    """All compositions of two augmentations, named "first + second", for `harmful.sweep`; the paper's blur and darkening is one of them.

    :cite:t:`chen2020simple`, Sec. 3.1, compare compositions of two by the accuracy that a training with them reaches; here a finished model
    is asked.

    Args:
        names: of `harmful.AUGMENTATIONS`, in the order in which they are applied.

    Raises:
        InputError: no such augmentation.
    """
    require("augmentation", AUGMENTATIONS, *names)
    return {f"{a}{AND}{b}": composition(AUGMENTATIONS[a], AUGMENTATIONS[b]) for a, b in itertools.combinations(names, 2)}


def sweep_twos(models: Sequence[PairModel], pair: Pair, *, level: int, method: str, seed: int = 0) -> pd.DataFrame:
    """`harmful.sweep_with_controls` of all compositions of two augmentations, and of each alone, at one level."""
    augmentations = {**{name: AUGMENTATIONS[name] for name in ORDER}, **compositions()}
    return sweep_with_controls((models, pair), method=method, seed=seed, augmentations=augmentations, levels=[level])


def _only_together(table: pd.DataFrame) -> pd.DataFrame:
    """Do two augmentations lose maps that neither loses alone?

    Zero is not what chance gives: of maps that are lost by the toss of a coin each time, half are lost together and three quarters by at
    least one alone. So the difference of a control (`harmful.CONTROLS`), by the same tables of its own, is what to compare with.

    Args:
        table: of `harmful.sweep` with `compositions`, and with the single ones on the same models and pairs.

    Returns:
        One row per model, augmentation ("first + second") and level from 1: mean, low, high (95 % bootstrap over pairs) and n of
        the difference lost together minus lost by at least one of them alone, from -1 to 1; `lost`, the share lost together;
        `either`, the share lost by at least one alone.

    Raises:
        InputError: an augmentation that was not swept alone on the same models, levels and pairs.
    """
    each, by = _each(table), ["model", "augmentation", "level"]
    means = summarise(each, by).drop(columns="undefined")
    return means.merge(each.groupby(by, as_index=False)[["lost", "either"]].mean(), on=by)


def by_method(table: pd.DataFrame) -> pd.DataFrame:
    """Means of `_only_together` over all compositions, for each model and method of a table of several methods."""
    methods = table["method"].unique()
    found = pd.concat(_only_together(table[table["method"] == name]).assign(method=name) for name in methods)
    means = found.groupby(["model", "method"], sort=False)[["either", "lost", "mean"]].mean()
    return means.set_axis(["by one alone", "by both", "together"], axis=1).reset_index("method")


def beside_controls(table: pd.DataFrame) -> pd.DataFrame:
    """How many compositions lose fewer maps, or more, than each control: counts of `harmful.against`, beside means over compositions."""
    asked, keys = against(_twos(table)), ["model", "control"]
    counts = asked.groupby([*keys, "verdict"], sort=False).size().unstack(fill_value=0).rename_axis(columns=None)
    return asked.groupby(keys, sort=False)[["lost", "by_control"]].mean().join(counts).reset_index("control")


def beyond(table: pd.DataFrame, control: str = "random_map", *, level: float = 0.05) -> pd.DataFrame:
    """Is more lost only together than a map loses that never saw the model? Asked pair by pair, of the same pairs.

    Args:
        table: as for `_only_together`, with a column `method`, for one method and controls.
        control: the method to compare with.
        level: of the tests.

    Returns:
        One row per model, augmentation and level: together and by_control (the differences of `_only_together`), mean, low, high (95 %
        bootstrap over pairs of together minus by_control) and n; p, of Wilcoxon's signed-rank test over pairs that this is zero, and
        p_zero, that `together` is, each corrected after Holm for the compositions of a model at a level; verdict by p: "more", "less" or
        "undecided".
    """
    key = ["model", "augmentation", "level", "pair"]
    method = next(name for name in table["method"] if name not in CONTROLS)
    sides = [_each(table[table["method"] == name]).set_index(key)["value"] for name in (method, control)]
    pairs = pd.concat(sides, axis=1, keys=["together", "by_control"]).dropna().reset_index()
    pairs["value"] = pairs["together"] - pairs["by_control"]
    groups = pairs.groupby(key[:3], sort=False)
    tests = groups[["value", "together"]].agg(lambda v: signed_ranks(v.to_numpy())).set_axis(["p", "p_zero"], axis=1)
    found = groups[["together", "by_control"]].mean().join(tests).reset_index()
    corrected = found.groupby(["model", "level"], sort=False)[["p", "p_zero"]]
    found[["p", "p_zero"]] = corrected.transform(lambda p: holm(p.tolist()))
    found = found.merge(summarise(pairs, key[:3]).drop(columns="undefined"), on=key[:3])
    said = (found["mean"] > 0).map({True: "more", False: "less"})
    return found.assign(verdict=said.where(found["p"] < level, "undecided"))


def extremes(found: pd.DataFrame, count: int = 3) -> pd.DataFrame:
    """Of `beyond`, for each model the compositions that lose most only together, and those that lose least: a table to read."""
    places = [*range(-1, -1 - count, -1), *range(count - 1, -1, -1)]
    some = pd.concat(part.sort_values("together").iloc[places] for _, part in found.groupby("model", sort=False))
    some["minus random map's"] = with_interval(some, "+.2f")
    words = {"together": "lost only together", "by_control": "random map's", "p_zero": "p, zero", "p": "p, random map's"}
    return some.set_index("model")[["augmentation", *words, "minus random map's", "verdict"]].rename(columns=words)


def _twos(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of compositions; the paper's blur and darkening, by that name, is one of the single augmentations."""
    return table[table["augmentation"].str.contains(AND, regex=False) & ~table["augmentation"].isin(list(AUGMENTATIONS))]


def _each(table: pd.DataFrame) -> pd.DataFrame:
    """For each composition, level and pair: lost together, lost by one alone (either), and the one minus the other (value)."""
    both, alone = _twos(table), table[~table["augmentation"].str.contains(AND, regex=False)]
    key = ["model", "level", "pair"]
    single = {str(name): part.set_index(key)["lost"].astype(float) for name, part in alone.groupby("augmentation", observed=True)}
    rows = [_against(str(name), part.set_index(key)["lost"].astype(float), single) for name, part in both[both["level"] > 0].groupby(
        "augmentation", sort=False, observed=True)]  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def _against(name: str, lost: pd.Series, single: Mapping[str, pd.Series]) -> pd.DataFrame:
    first, second = name.split(AND)
    missing = [one for one in (first, second) if one not in single or not lost.index.isin(single[one].index).all()]
    if missing:
        raise InputError(f"expected {missing[0]!r} alone on the same models, levels and pairs, to compare {name!r} with")
    either = np.maximum(single[first], single[second]).loc[lost.index]
    table = pd.DataFrame({"lost": lost, "either": either})
    table = table.where(table.notna().all(axis=1))  # all three means are of the same pairs
    return table.assign(value=table["lost"] - table["either"], augmentation=name).reset_index()


def square(
    table: pd.DataFrame, model: str, level: int, method: str, minus: str | None = None, names: Sequence[str] = ORDER
) -> pd.DataFrame:
    """Shares of maps lost as a square: below the diagonal by two augmentations together, on it by one alone; NaN above.

    `minus` is a method whose shares are taken away, such as a control.
    """
    own = table[(table["model"] == model) & (table["level"] == level)]
    shown = _square(own[own["method"] == method], names)
    return shown if minus is None else shown - _square(own[own["method"] == minus], names)


def _square(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    found = shares(table, ["augmentation"], "lost").set_index("augmentation")["mean"]
    cells = {
        a: {b: found.get(b if a == b else f"{a}{AND}{b}", math.nan) if k <= m else math.nan for m, b in enumerate(names)}
        for k, a in enumerate(names)
    }
    return pd.DataFrame(cells)
