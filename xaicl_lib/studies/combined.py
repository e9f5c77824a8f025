"""Compositions of two augmentations: what is lost only when both are there."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from xaicl_lib.augment.families import AUGMENTATIONS, Family, composition
from xaicl_lib.errors import InputError
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair
from xaicl_lib.statistics.bootstrap import shares, with_interval
from xaicl_lib.statistics.paired import holm, paired_difference, signed_ranks
from xaicl_lib.studies.harmful import CONTROLS, against, sweep_with_controls

# As recipes order them: where to look, the colours, then what happens to the pixels.
ORDER = (
    *("crop", "rotation", "darkening", "brightening", "contrast", "saturation", "grayscale", "hue", "solarisation"),
    *("blur", "noise", "JPEG"),
)
AND = " + "


def compositions() -> dict[str, Family]:
    """All compositions of two augmentations, named "first + second", for `harmful.sweep`; the paper's blur and darkening is one of them.

    :cite:t:`chen2020simple`, Sec. 3.1, compare compositions of two by the accuracy that a training with them reaches; here a finished model
    is asked.
    """
    return {f"{a}{AND}{b}": composition(AUGMENTATIONS[a], AUGMENTATIONS[b]) for a, b in itertools.combinations(ORDER, 2)}


def sweep_twos(models: Sequence[PairModel], pair: Pair, *, level: int, method: str, seed: int = 0) -> pd.DataFrame:
    """`harmful.sweep_with_controls` of all compositions of two augmentations, and of each alone, at one level."""
    augmentations = {**{name: AUGMENTATIONS[name] for name in ORDER}, **compositions()}
    return sweep_with_controls((models, pair), method=method, seed=seed, augmentations=augmentations, levels=[level])


def by_method(table: pd.DataFrame) -> pd.DataFrame:
    """Shares of maps lost by one alone, by both, and only together: means over compositions, by model and method."""
    keys = ["model", "method"]
    each = pd.concat([_each(part) for _, part in table.groupby("method", sort=False)])
    shares = each.groupby([*keys, "augmentation", "level"], sort=False)[["either", "lost", "value"]].mean()
    means = shares.groupby(keys, sort=False).mean()
    return means.set_axis(["by one alone", "by both", "together"], axis=1).reset_index("method")


def beside_controls(table: pd.DataFrame) -> pd.DataFrame:
    """How many compositions lose fewer maps, or more, than each control: counts of `harmful.against`, beside means over compositions."""
    asked, keys = against(_twos(table)), ["model", "control"]
    counts = asked.groupby([*keys, "verdict"], sort=False).size().unstack(fill_value=0).rename_axis(columns=None)
    return asked.groupby(keys, sort=False)[["lost", "by_control"]].mean().join(counts).reset_index("control")


def beyond(table: pd.DataFrame) -> pd.DataFrame:
    """Do two augmentations lose maps that neither loses alone, more than a random map does? Asked pair by pair, of the same pairs.

    Zero is not what chance gives: of maps that are lost by the toss of a coin each time, half are lost together and three quarters by at
    least one alone. So the difference of a control, by the same table of its own, is what to compare with.

    The table is of `harmful.sweep` with `compositions`, and with the single ones on the same models and pairs; with a column `method`, for
    one method and the controls.

    Returns:
        One row per model, augmentation ("first + second") and level from 1: together and by_control (the share lost together minus that
        lost by at least one of them alone, from -1 to 1), mean, low, high (95 % bootstrap over pairs of together minus by_control) and n;
        p, of Wilcoxon's signed-rank test over pairs that this is zero, and p_zero, that `together` is, each corrected after Holm for the
        compositions of a model at a level; verdict by p: "more", "less" or "undecided".

    Raises:
        InputError: an augmentation that was not swept alone on the same models, levels and pairs.
    """
    by, within = ["model", "augmentation", "level"], ["model", "level"]
    method = next(name for name in table["method"] if name not in CONTROLS)
    each = _each(table[table["method"].isin([method, "random_map"])])
    found = paired_difference(each, "method", "pair", by, against="random_map", names=[method], within=within)
    both = each.pivot(index=[*by, "pair"], columns="method", values="value").dropna()
    zero = both.groupby(by)[method].agg(lambda v: signed_ranks(v.to_numpy())).rename("p_zero")
    found = found.rename(columns={"value": "together", "reference": "by_control"}).join(zero, on=by)
    corrected = found.groupby(within, sort=False)["p_zero"].transform(lambda p: holm(p.tolist()))
    said = (found["mean"] > 0).map({True: "more", False: "less"})
    return found.assign(p_zero=corrected, verdict=said.where(found["significant"], "undecided"))


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
    both, alone = _twos(table[table["level"] > 0]), table[~table["augmentation"].str.contains(AND, regex=False)]
    keys, either = ["model", "method", "level", "pair"], []
    for k in (0, 1):
        asked = both[keys].assign(augmentation=both["augmentation"].str.split(AND, regex=False).str[k])
        found = asked.merge(alone[[*asked, "lost"]], "left", on=list(asked), indicator=True)
        missing = (found["_merge"] == "left_only").to_numpy()
        if missing.any():
            one, two = asked["augmentation"][missing].iloc[0], both["augmentation"][missing].iloc[0]
            raise InputError(f"expected {one!r} alone on the same models, levels and pairs, to compare {two!r} with")
        either.append(found["lost"].to_numpy(float))
    each = both[[*keys, "augmentation"]].assign(lost=both["lost"].astype(float), either=np.maximum(*either))
    undefined = each[["lost", "either"]].isna().any(axis=1)
    each.loc[undefined, ["lost", "either"]] = np.nan  # all three means are of the same pairs
    return each.assign(value=each["lost"] - each["either"])


def square(table: pd.DataFrame, model: str, level: int, method: str, minus: str | None = None) -> pd.DataFrame:
    """Shares of maps lost as a square: below the diagonal by two augmentations together, on it by one alone; NaN above.

    `minus` is a method whose shares are taken away, such as a control.
    """
    own = table[(table["model"] == model) & (table["level"] == level)]
    shown = _square(own[own["method"] == method])
    return shown if minus is None else shown - _square(own[own["method"] == minus])


def _square(table: pd.DataFrame) -> pd.DataFrame:
    found = shares(table, ["augmentation"], "lost").set_index("augmentation")["mean"]
    cells = {
        a: {b: found.get(b if a == b else f"{a}{AND}{b}", math.nan) if k <= m else math.nan for m, b in enumerate(ORDER)}
        for k, a in enumerate(ORDER)
    }
    return pd.DataFrame(cells)
