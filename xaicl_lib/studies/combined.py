"""Compositions of two augmentations: what is lost only when both are there."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from xaicl_lib.augment.families import AUGMENTATIONS, Family, composition
from xaicl_lib.errors import InputError, unknown
from xaicl_lib.statistics.paired import holm, signed_ranks, summarise
from xaicl_lib.studies.harmful import CONTROLS

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
    for name in names:
        if name not in AUGMENTATIONS:
            raise unknown("augmentation", name, AUGMENTATIONS)
    return {f"{a}{AND}{b}": composition(AUGMENTATIONS[a], AUGMENTATIONS[b]) for a, b in itertools.combinations(names, 2)}


def only_together(both: pd.DataFrame, alone: pd.DataFrame) -> pd.DataFrame:
    """Do two augmentations lose maps that neither loses alone?

    Zero is not what chance gives: of maps that are lost by the toss of a coin each time, half are lost together and three quarters by at
    least one alone. So the difference of a control (`harmful.CONTROLS`), by the same tables of its own, is what to compare with.

    Args:
        both: of `harmful.sweep` with `compositions`.
        alone: of `harmful.sweep` with the single ones, on the same models and pairs.

    Returns:
        One row per model, augmentation ("first + second") and level from 1: mean, low, high (95 % bootstrap over pairs) and n of
        the difference lost together minus lost by at least one of them alone, from -1 to 1; `lost`, the share lost together;
        `either`, the share lost by at least one alone.

    Raises:
        InputError: an augmentation that was not swept alone on the same models, levels and pairs.
    """
    table = _each(both, alone)
    by = ["model", "augmentation", "level"]
    means = summarise(table, by).drop(columns="undefined")
    return means.merge(table.groupby(by, as_index=False)[["lost", "either"]].mean(), on=by)


def beyond(both: pd.DataFrame, alone: pd.DataFrame, control: str = "random_map", *, level: float = 0.05) -> pd.DataFrame:
    """Is more lost only together than a map loses that never saw the model? Asked pair by pair, of the same pairs.

    Args:
        both, alone: as for `only_together`, with a column `method`, for one method and controls.
        control: the method to compare with.
        level: of the tests.

    Returns:
        One row per model, augmentation and level: together and by_control (the differences of `only_together`), mean, low, high (95 %
        bootstrap over pairs of together minus by_control) and n; p, of Wilcoxon's signed-rank test over pairs that this is zero, and
        p_zero, that `together` is, each corrected after Holm for the compositions of a model at a level; verdict by p: "more", "less" or
        "undecided".
    """
    key = ["model", "augmentation", "level", "pair"]
    method = next(name for name in both["method"] if name not in CONTROLS)
    sides = [_each(both[both["method"] == name], alone[alone["method"] == name]).set_index(key)["value"] for name in (method, control)]
    table = pd.concat(sides, axis=1, keys=["together", "by_control"]).dropna().reset_index()
    table["value"] = table["together"] - table["by_control"]
    groups = table.groupby(key[:3], sort=False)
    tests = groups[["value", "together"]].agg(lambda v: signed_ranks(v.to_numpy())).set_axis(["p", "p_zero"], axis=1)
    found = groups[["together", "by_control"]].mean().join(tests).reset_index()
    corrected = found.groupby(["model", "level"], sort=False)[["p", "p_zero"]]
    found[["p", "p_zero"]] = corrected.transform(lambda p: holm(p.tolist()))
    found = found.merge(summarise(table, key[:3]).drop(columns="undefined"), on=key[:3])
    said = (found["mean"] > 0).map({True: "more", False: "less"})
    return found.assign(verdict=said.where(found["p"] < level, "undecided"))


def _each(both: pd.DataFrame, alone: pd.DataFrame) -> pd.DataFrame:
    """For each composition, level and pair: lost together, lost by one alone (either), and the one minus the other (value)."""
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


def square(both: pd.DataFrame, alone: pd.DataFrame, value: str = "mean", names: Sequence[str] = ORDER) -> pd.DataFrame:
    """Compositions as a square: below the diagonal both together, on it one alone; NaN above.

    Args:
        both: one row per augmentation "first + second", with `value`.
        alone: one row per augmentation, with `value`.
        value: the column to show.
        names: of rows and columns, in order.
    """
    found = {**both.set_index("augmentation")[value], **alone.set_index("augmentation")[value]}
    cells = {
        a: {b: found.get(b if a == b else f"{a}{AND}{b}", math.nan) if k <= m else math.nan for m, b in enumerate(names)}
        for k, a in enumerate(names)
    }
    return pd.DataFrame(cells)
