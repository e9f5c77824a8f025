"""Harmful augmentations: how far the score and its explanation survive an augmentation, as a function of its strength."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from xaicl_lib import augment
from xaicl_lib.augment.families import AUGMENTATIONS, Family, Grid
from xaicl_lib.errors import InputError, require
from xaicl_lib.methods import explain
from xaicl_lib.metrics import randomisation
from xaicl_lib.metrics.localisation import relevance_rank
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair, resize_map
from xaicl_lib.statistics.bootstrap import share
from xaicl_lib.statistics.paired import paired_difference, summarise

CONTROLS = ("random_map", "edges")  # methods that never see the model: what they lose is lost by construction
JUDGED = ["score", "agreement", "null", "rank", "chance", "lost"]


def levels_table() -> pd.DataFrame:
    """The strengths of each augmentation, level by level, and what they are."""
    rows = {name: {"unit": family.unit, **dict(enumerate(family.strengths, 1))} for name, family in AUGMENTATIONS.items()}
    return pd.DataFrame(rows, dtype=object).T.rename_axis("augmentation").astype(str)


def harder(
    model: PairModel, pair: Pair, augmentation: str, method: str, levels: Sequence[int] | None = None
) -> list[tuple[int, Pair, Explanation]]:
    """A pair whose side b is augmented more and more, and its explanations. Level 0 is the pair as it is; without `levels` all.

    Raises:
        InputError: no such augmentation.
    """
    require("augmentation", AUGMENTATIONS, augmentation)
    family, found = AUGMENTATIONS[augmentation], []
    for level in range(1 + len(family.strengths)) if levels is None else levels:
        changed = Pair(pair.a, family.apply(pair.sides[1], family.strengths[level - 1])) if level else pair
        found.append((level, changed, explain(model, changed, method)))
    return found


def sweep(
    models: Sequence[PairModel],
    pair: Pair,
    *,
    augmentations: Mapping[str, Family] = AUGMENTATIONS,
    method: str = "interaction_cam",
    levels: Sequence[int] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Score and map of side b while side b is augmented more and more.

    Measures what Sec. VI-2 of :cite:t:`sammani2023visualizing` looks at: 50 pairs with blur and blackening, of whose explanations 94 %
    light up meaningless regions.

    Differs: there people judged; here a map has lost its meaning (`lost`) if it finds the shared object no better than chance, on pairs
    with truth, and otherwise if it agrees no more with its own clean map than with the clean map of another pair. Agreement is
    Spearman's rank correlation over the cells of the map; clean maps and truth are moved as the pixels are, and cells from outside the
    image do not count.

    By this measure even a map that knows nothing is kept now and then, and lost as often: of random maps exactly half are expected to be
    lost without truth, where both clean maps are as good as each other. So a share says something only beside that of `CONTROLS`, swept
    in the same way (see `against`).

    Args:
        pair: at least two pairs, with truth or without.
        levels: from 1, some of those the augmentations have; without them all.

    Returns:
        One row per model, augmentation, level (0 is clean) and pair: strength, score, agreement, null (agreement with another pair's
        clean map), rank (relevance rank on side b) and chance (both NaN without truth), lost
        (1 or 0; NaN where no evidence is left in the image).
    """
    if pair.b is None or len(pair) < 2:
        raise InputError(f"expected at least two pairs of two sides, got {len(pair)}{' without side b' if pair.b is None else ''}")
    most = max(len(family.strengths) for family in augmentations.values())
    if not set(levels or ()) <= set(range(1, most + 1)):
        raise InputError(f"expected levels from 1 to {most}, got {list(levels or ())}")
    table = pd.concat([_sweep(model, pair, augmentations, method, levels, seed) for model in models])
    return table.rename_axis("pair").reset_index()[["model", "augmentation", "level", "strength", "pair", *JUDGED]]


def sweep_with_controls(
    *asked: tuple[Sequence[PairModel], Pair], method: str = "interaction_cam", seed: int = 0, **options: Any
) -> pd.DataFrame:
    """The tables of `sweep` for a method and each of `CONTROLS`, with a column `method`.

    Models are `asked` about the pairs beside them. The controls see no model, so their maps for the first stand for all, whose scores are
    not computed (NaN).
    """
    tables = [sweep(models, pair, method=method, seed=seed, **options).assign(method=method) for models, pair in asked]
    for models, pair in asked:
        for name in CONTROLS:
            made = sweep(models[:1], pair, method=name, seed=seed, **options).assign(method=name)
            tables += [made, *(made.assign(model=model.name, score=float("nan")) for model in models[1:])]
    return pd.concat(tables, ignore_index=True)


def _sweep(
    model: PairModel, pair: Pair, augmentations: Mapping[str, Family], method: str, levels: Sequence[int] | None, seed: int
) -> pd.DataFrame:
    def maps(b: Tensor) -> tuple[Tensor, Tensor]:
        explanation = explain(model, Pair(pair.a, b), method, generator=Generator().manual_seed(seed))
        assert explanation.b is not None  # the pairs have a side b
        return explanation.score.cpu().double(), explanation.b

    assert pair.b is not None  # checked before
    truth = None if pair.truth is None else pair.truth.b
    score, clean = maps(pair.b)
    start = {"level": 0, "strength": float("nan"), "score": score, **_judge(clean, clean, None, truth)}
    frames = []
    for name, family in augmentations.items():
        frames.append(pd.DataFrame({"augmentation": name, **start}))
        for level, strength in enumerate(family.strengths, 1):
            if levels and level not in levels:
                continue
            score, after = maps(family.apply(pair.b, strength))
            grid = None if family.grid is None else functools.partial(_at, family.grid, strength)
            row = {"level": level, "strength": strength, "score": score, **_judge(clean, after, grid, truth)}
            frames.append(pd.DataFrame({"augmentation": name, **row}))
    return pd.concat(frames).assign(model=model.name)


def _at(grid: Grid, strength: float, images: Tensor) -> Tensor:
    return grid(images, strength)


def _judge(clean: Tensor, after: Tensor, grid: Callable[[Tensor], Tensor] | None, truth: Tensor | None) -> dict[str, Tensor]:
    """What is left of n maps: agreement with the clean ones, and with those of the next pair; and with the truth where it is known."""
    clean, after = clean.cpu(), after.cpu()
    inside = torch.ones_like(clean, dtype=torch.bool)
    if grid is not None:
        inside = _moved(inside, grid)
        clean = augment.sample(clean[:, None], grid(clean[:, None]))[:, 0]
    agreement = _rank_correlation(clean, after, inside)
    null = _rank_correlation(clean.roll(1, 0), after, inside)
    found = {"agreement": agreement, "null": null}
    if truth is None:
        nothing = torch.full_like(agreement, torch.nan)
        return {**found, "rank": nothing, "chance": nothing, "lost": _at_most(agreement, null)}
    mask = truth if grid is None else _moved(truth, grid)
    there = mask.flatten(1).any(1)
    rank = relevance_rank(resize_map(after, mask.shape[1:]), mask).double().masked_fill(~there, torch.nan)  # type: ignore[arg-type]
    chance = mask.double().mean((1, 2))
    return {**found, "rank": rank, "chance": chance, "lost": _at_most(rank, chance)}


def _at_most(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """1 where x <= y, else 0; NaN where there is nothing to compare."""
    return (x <= y).double().masked_fill(x.isnan() | y.isnan(), torch.nan)


def _moved(mask: Bool[Tensor, "n h w"], grid: Callable[[Tensor], Tensor]) -> Bool[Tensor, "n h w"]:
    """A mask taken where the image is."""
    pixels = mask[:, None].float()
    return augment.sample(pixels, grid(pixels), outside="zeros")[:, 0] > 0.5


def _rank_correlation(x: Float[Tensor, "n i j"], y: Float[Tensor, "n i j"], inside: Bool[Tensor, "n i j"]) -> Float[Tensor, " n"]:
    """Spearman's correlation of two maps over the cells inside, pair by pair; 0 where one of them is constant, NaN where one has NaN."""
    found = torch.zeros(len(x), dtype=torch.float64)
    masks, which = inside.unique(dim=0, return_inverse=True)  # mostly one: all images of a batch are moved alike
    for k, mask in enumerate(masks):
        if mask.sum() > 2:
            rows = which == k
            found[rows] = randomisation.rank_correlation(x[rows][:, mask].unsqueeze(2), y[rows][:, mask].unsqueeze(2))
    return found


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of `ranked_beside` that know of no control."""
    hit = table[table["level"] > 0].assign(value=lambda t: t["lost"].astype(float))
    per_pair = hit.groupby(["model", "augmentation", "pair"], sort=False, as_index=False)[["value", "score"]].mean()
    means = summarise(per_pair, ["model", "augmentation"]).drop(columns="undefined").set_index(["model", "augmentation"])
    by = ["model", "augmentation"]
    highest = table.groupby(by, sort=False)["level"].transform("max")  # augmentations may have different numbers of levels
    clean, last = (table[table["level"] == k].groupby(by, sort=False)[["lost", "score"]].mean() for k in (0, highest))
    means["clean"], means["worst"] = clean["lost"], last["lost"]
    means["score"] = per_pair.groupby(by, sort=False)["score"].mean()
    means["drop"] = clean["score"] - means["score"]
    order = means.reset_index().sort_values(["mean", "drop"], ascending=False, kind="stable")
    return order.sort_values("model", key=lambda c: c.map(list(dict.fromkeys(table["model"])).index), kind="stable", ignore_index=True)


def against(table: pd.DataFrame, *, controls: Sequence[str] = CONTROLS) -> pd.DataFrame:
    """Does a method lose fewer maps than one that never saw the model, or more? Asked pair by pair, of the same pairs.

    The table is of `sweep`, with a column `method`, for methods and controls; `lost` may be the share of several draws of a control.

    Returns:
        One row per model, augmentation, method and control: lost and by_control (shares over levels from 1), mean, low, high (95 %
        bootstrap over pairs of the difference, lost minus lost by the control) and n; p, of Wilcoxon's signed-rank test over pairs,
        corrected after Holm for all questions of a model; verdict: "fewer", "more" or "undecided".

    Raises:
        InputError: a control that is not in the table.
    """
    require("method of the table", table["method"].unique(), *controls)
    hit, by = table[table["level"] > 0], ["model", "augmentation"]
    names = [name for name in dict.fromkeys(table["method"]) if name not in (*controls, *CONTROLS)]
    asked: dict[str, Any] = {"against": controls, "names": names, "value": "lost", "unit": "pair", "within": ["model"]}
    found = paired_difference(hit, "method", ["level", "pair"], by, **asked)
    found = found.rename(columns={"value": "lost", "reference": "by_control", "against": "control"})
    told = (found["mean"] < 0).map({True: "fewer", False: "more"}).where(found["significant"], "undecided")
    order = [*names, *controls]
    place = {"key": lambda column: column.map(order.index) if column.name in ("method", "control") else column}
    return found.assign(verdict=told).sort_values(["method", "control", *by], ignore_index=True, **place)


def ranked_beside(table: pd.DataFrame) -> pd.DataFrame:
    """Which augmentation a recipe should weaken first, by one method, beside what the controls lose.

    The table is of `sweep`, with a column `method`, for one method and the controls.

    Returns:
        One row per model and augmentation, the most harmful first: mean, low, high (share of maps lost over levels 1 to 5, 95 %
        bootstrap over pairs), n, clean (share lost without any), worst (share lost at its own last level), score (mean over levels), drop
        (of the score against the clean one); and for each control a column of its name (the share it loses), "p, NAME" and
        "than NAME" (of `against`).
    """
    order = _ranked(table[~table["method"].isin(CONTROLS)])
    keys, found = ["model", "augmentation"], against(table)
    for name, part in found.groupby("control", sort=False):
        words = {"by_control": name, "p": f"p, {name}", "verdict": f"than {name}"}
        order = order.merge(part[[*keys, *words]].rename(columns=words), on=keys)
    return order


def _lines(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column `line`: the model's name, or for a control its own and what it was shown ("random_map, scenes").

    Controls do not see the model, so models of the same images have the same rows for them, of which one copy is kept.
    """
    control = table["method"].isin(CONTROLS)
    shown = table["model"].str.startswith("scenes").map({True: "scenes", False: "photos"})
    named = table.assign(line=table["model"].where(~control, table["method"].astype(str) + ", " + shown))
    return named[~named.duplicated(["line", "method", "augmentation", "level", "pair"])]


def lost_shares(table: pd.DataFrame, by: Sequence[str] = ("augmentation", "level")) -> pd.DataFrame:
    """Shares of maps lost: mean, low, high (Wilson, 95 %) and n of the pairs, for each model and each control.

    Controls stand in the column model under their own name and that of what they were shown, "random_map, scenes". Of a control `lost`
    may be the share of several draws of noise, which counts as so much of a hit.
    """
    known = _lines(table).dropna(subset=["lost"]).astype({"lost": float})
    groups = known.groupby(["line", *by], sort=False)["lost"]
    rows = [(*key, *share(float(part.sum()), len(part)), len(part)) for key, part in groups]
    return pd.DataFrame(rows, columns=["model", *by, "mean", "low", "high", "n"])


def at_strongest(table: pd.DataFrame) -> pd.DataFrame:
    """What each augmentation costs each model at level 5, and whether that is told from what random maps lose."""
    asked = against(table[table["level"] == 5], controls=["random_map"])
    numbers = zip(asked["lost"], asked["by_control"], asked["verdict"], strict=True)
    told = asked.assign(cell=[f"{lost:.2f}, noise {by_control:.2f}: {verdict}" for lost, by_control, verdict in numbers])
    wide = told.pivot(index="augmentation", columns="model", values="cell")
    return wide.reindex(columns=asked["model"].unique()).rename_axis(columns=None)
