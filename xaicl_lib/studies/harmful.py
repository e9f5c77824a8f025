"""Harmful augmentations: how far the score and its explanation survive an augmentation, as a function of its strength."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from xaicl_lib import augment
from xaicl_lib.errors import InputError
from xaicl_lib.methods import explain
from xaicl_lib.metrics import randomisation
from xaicl_lib.metrics.localisation import relevance_rank
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair, resize_map
from xaicl_lib.studies.statistics import summarise

Images = Float[Tensor, "n 3 h w"]
Grid = Callable[[Tensor, float], Tensor]
OUTSIDE = 2.0  # a coordinate that no image has: they reach from -1 to 1


@dataclass(frozen=True)
class Family:
    """An augmentation at growing strengths.

    Attributes:
        unit: what the strengths are.
        strengths: from hardly to hardly recognisable; level k is the k-th, level 0 is none.
        apply: (images, strength) to images.
        grid: (images, strength) to where each pixel comes from, for those that move pixels.
    """

    unit: str
    strengths: tuple[float, ...]
    apply: Callable[[Tensor, float], Tensor]
    grid: Grid | None = None


def blur(images: Images, share: float) -> Images:
    """A Gaussian blur whose standard deviation is so many percent of the side."""
    side = min(images.shape[2:])
    sigma = share * side / 100
    return augment.gaussian_blur(images, sigma, min(2 * round(3 * sigma) + 3, side - 1 + side % 2))


def middle(images: Images, area: float) -> Float[Tensor, "n h w 2"]:
    """Where the middle of the image, of so large a share of its area, comes from."""
    side = area**0.5
    box = torch.tensor([(1 - side) / 2, (1 - side) / 2, side, side]).expand(len(images), 4)
    return augment.crop_grid(images, box, images.shape[-1])


def crop(images: Images, area: float) -> Images:
    """The middle of the image, enlarged to the whole."""
    return augment.sample(images, middle(images, area))


def composition(first: Family, second: Family) -> Family:
    """Two augmentations at the same level, the first one first."""

    def apply(images: Images, level: float) -> Images:
        k = round(level) - 1
        return second.apply(first.apply(images, first.strengths[k]), second.strengths[k])

    levels = tuple(float(k) for k in range(1, 1 + min(len(first.strengths), len(second.strengths))))
    moving = [_by_level(family) for family in (first, second) if family.grid]
    return Family("level of both", levels, apply, functools.partial(_one_after_another, moving) if moving else None)


def _by_level(family: Family) -> Grid:
    grid = family.grid
    assert grid is not None  # asked for only where pixels move
    return lambda images, level: grid(images, family.strengths[round(level) - 1])


def _one_after_another(grids: Sequence[Grid], images: Tensor, level: float) -> Float[Tensor, "n i j 2"]:
    return functools.reduce(composed_grid, (grid(images, level) for grid in grids))


def composed_grid(first: Float[Tensor, "n i j 2"], second: Float[Tensor, "n i j 2"]) -> Float[Tensor, "n i j 2"]:
    """Where each pixel comes from when pixels moved by the first grid are moved by the second."""
    source = augment.sample(first.movedim(-1, 1), second, outside="border").movedim(1, -1)
    return source.masked_fill((second.abs() > 1).any(-1, keepdim=True), OUTSIDE)


JUDGED = ["score", "agreement", "null", "rank", "chance", "lost"]
FADING, BLURS = (0.8, 0.6, 0.4, 0.2, 0.1), (0.5, 1.0, 2.0, 4.0, 8.0)
BLUR, DARKENING = Family("% of the side", BLURS, blur), Family("factor", FADING, augment.brightness)
AUGMENTATIONS: dict[str, Family] = {
    "blur": BLUR,
    "darkening": DARKENING,
    "blur + darkening": composition(DARKENING, BLUR),  # the paper's
    "brightening": Family("factor", (1.25, 1.5, 2.0, 3.0, 5.0), augment.brightness),
    "contrast": Family("factor", FADING, augment.contrast),
    "saturation": Family("factor", (1.5, 2.0, 3.0, 4.0, 6.0), augment.saturation),
    "grayscale": Family("amount", (0.2, 0.4, 0.6, 0.8, 1.0), augment.grayscale),
    "hue": Family("turns", (0.05, 0.1, 0.2, 0.35, 0.5), augment.hue),
    "solarisation": Family("threshold", (0.9, 0.7, 0.5, 0.3, 0.0), augment.solarize),
    "noise": Family("std", (0.02, 0.05, 0.1, 0.2, 0.4), augment.noise),
    "JPEG": Family("quality", (50, 25, 10, 5, 1), augment.jpeg),
    "crop": Family("share of the area", (0.8, 0.6, 0.4, 0.2, 0.1), crop, middle),
    "rotation": Family("degrees", (15, 30, 60, 90, 180), augment.rotate, augment.rotation_grid),
}


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

    Args:
        models: that give scores and maps.
        pair: at least two pairs, with truth or without.
        augmentations: by name.
        method: of explanation, with its defaults.
        levels: from 1, some of those the augmentations have; without them all.
        seed: of the method's generator.

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


def _sweep(
    model: PairModel, pair: Pair, augmentations: Mapping[str, Family], method: str, levels: Sequence[int] | None, seed: int
) -> pd.DataFrame:
    def maps(b: Tensor) -> tuple[Tensor, Tensor]:
        explanation = explain(model, Pair(pair.a, b), method, generator=Generator().manual_seed(seed))
        assert explanation.b is not None  # the pairs have a side b
        return explanation.score.double().cpu(), explanation.b

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
        inside = moved(inside, grid)
        clean = augment.sample(clean[:, None], grid(clean[:, None]))[:, 0]
    agreement = rank_correlation(clean, after, inside)
    null = rank_correlation(clean.roll(1, 0), after, inside)
    found = {"agreement": agreement, "null": null}
    if truth is None:
        nothing = torch.full_like(agreement, torch.nan)
        return {**found, "rank": nothing, "chance": nothing, "lost": (agreement <= null).double()}
    mask = truth if grid is None else moved(truth, grid)
    there = mask.flatten(1).any(1)
    rank = relevance_rank(resize_map(after, mask.shape[1:]), mask).double().masked_fill(~there, torch.nan)  # type: ignore[arg-type]
    chance = mask.double().mean((1, 2))
    return {**found, "rank": rank, "chance": chance, "lost": (rank <= chance).double().masked_fill(~there, torch.nan)}


def moved(mask: Bool[Tensor, "n h w"], grid: Callable[[Tensor], Tensor]) -> Bool[Tensor, "n h w"]:
    """A mask taken where the image is."""
    pixels = mask[:, None].float()
    return augment.sample(pixels, grid(pixels), outside="zeros")[:, 0] > 0.5


def rank_correlation(x: Float[Tensor, "n i j"], y: Float[Tensor, "n i j"], inside: Bool[Tensor, "n i j"]) -> Float[Tensor, " n"]:
    """Spearman's correlation of two maps over the cells inside, pair by pair; 0 where one of them is constant."""
    found = torch.zeros(len(x), dtype=torch.float64)
    masks, which = inside.unique(dim=0, return_inverse=True)  # mostly one: all images of a batch are moved alike
    for k, mask in enumerate(masks):
        if mask.sum() > 2:
            rows = which == k
            found[rows] = randomisation.rank_correlation(x[rows][:, mask].unsqueeze(2), y[rows][:, mask].unsqueeze(2))
    return found


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Which augmentation a recipe should weaken first, model by model.

    Args:
        table: of `sweep`.

    Returns:
        One row per model and augmentation, the most harmful first: mean, low, high (share of maps lost over levels 1 to 5, 95 %
        bootstrap over pairs), n, clean (share lost without any), worst (share lost at the last level), score (mean over levels), drop
        (of the score against the clean one).
    """
    hit = table[table["level"] > 0].assign(value=lambda t: t["lost"].astype(float))
    per_pair = hit.groupby(["model", "augmentation", "pair"], sort=False, as_index=False)[["value", "score"]].mean()
    means = summarise(per_pair, ["model", "augmentation"]).drop(columns="undefined").set_index(["model", "augmentation"])
    by = ["model", "augmentation"]
    clean, last = (table[table["level"] == k].groupby(by, sort=False)[["lost", "score"]].mean() for k in (0, table["level"].max()))
    means["clean"], means["worst"] = clean["lost"], last["lost"]
    means["score"] = per_pair.groupby(by, sort=False)["score"].mean()
    means["drop"] = clean["score"] - means["score"]
    order = means.reset_index().sort_values(["mean", "drop"], ascending=False, kind="stable")
    return order.sort_values("model", key=lambda c: c.map(list(dict.fromkeys(table["model"])).index), kind="stable", ignore_index=True)
