"""Pairs whose shared evidence is known: does the model use it, and do explanations find it?"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from xaicl_lib import augment
from xaicl_lib.errors import InputError, unknown
from xaicl_lib.evaluation.evaluate import Way, evaluate
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair, Truth
from xaicl_lib.scores import cosine

METRICS = ("pointing_game", "relevance_mass", "relevance_rank")
OVERLAP = 0.02  # of the evidence that a place elsewhere may still touch


@torch.no_grad()
def intervene(
    models: Sequence[PairModel],
    pairs: Mapping[str, Pair],
    *,
    fill: str = "around",
    places: int = 4,
    generator: Generator | None = None,
    chunk: int | None = None,
) -> pd.DataFrame:
    """Whether the score falls more without the shared evidence than without as many pixels elsewhere.

    The evidence of one side is painted over, then of the other; the drops of the score are averaged. The same is done with the mask
    moved, around the edges if need be, to places where it does not touch the evidence.

    Args:
        models: that give the scores.
        pairs: with truth, by kind.
        fill: what is painted: "around" (a wide blur of the other pixels) or "other" (the image of the next pair at the same place).
        places: elsewhere, over which the drop is averaged.
        generator: whose seed gives the places of each kind; None is seed 0.
        chunk: images in flight.

    Returns:
        One row per model, kind and pair: score, area (share of the image), evidence and elsewhere (drops of the score), flagged
        (the evidence costs no more than other pixels: the model uses something else). `elsewhere` is NaN and `flagged` empty where
        the evidence fills so much of the image that it has no room elsewhere.

    Raises:
        InputError: pairs without truth, or an unknown fill.
    """
    frames = []
    for kind, pair in pairs.items():
        if pair.truth is None or pair.b is None:
            raise InputError(f"expected pairs of two sides whose shared evidence is known (truth), got {kind!r} without")
        drawn = Generator().manual_seed(generator.initial_seed() if generator else 0)  # the same for a kind, whatever came before it
        masks = [_moved(mask, places, drawn) for mask in (pair.truth.a, pair.truth.b)]  # 2 of (1 + places, n, h, w)
        frames += [_drops(model, pair, masks, fill, chunk).assign(model=model.name, kind=kind) for model in models]
    order = ["model", "kind", "pair", "score", "area", "evidence", "elsewhere", "flagged"]
    return pd.concat(frames, ignore_index=True)[order]


def _drops(model: PairModel, pair: Pair, masks: list[Tensor], fill: str, chunk: int | None) -> pd.DataFrame:
    whole = [model.encode(pixels, side, chunk) for side, pixels in zip("ab", pair.sides, strict=True)]
    score = cosine(*whole)
    drops = []  # of either side: (1 + places, n)
    for k, (side, moved) in enumerate(zip(pair.sides, masks, strict=True)):
        painted = torch.cat([paint(side, mask, fill) for mask in moved])
        z = model.encode(painted, "ab"[k], chunk).view(len(moved), len(side), -1)
        drops.append(torch.stack([score - cosine(*((row, whole[1]) if k == 0 else (whole[0], row))) for row in z]))
    fits = torch.stack([_fits(moved) for moved in masks]).all(0)
    mean = torch.stack(drops).mean(0).double().cpu()
    elsewhere = mean[1:].mean(0).masked_fill(~fits, torch.nan)
    flagged = pd.array((mean[0] <= elsewhere).tolist(), dtype="boolean")
    flagged[(mean[0].isnan() | elsewhere.isnan()).numpy()] = pd.NA
    area = torch.stack([moved[0].double().mean((1, 2)) for moved in masks]).mean(0)
    columns = {"pair": range(len(pair)), "score": score.double().cpu(), "area": area, "evidence": mean[0], "elsewhere": elsewhere}
    return pd.DataFrame(columns).assign(flagged=flagged)


def paint(images: Float[Tensor, "n 3 h w"], mask: Bool[Tensor, "n h w"], fill: str = "around") -> Float[Tensor, "n 3 h w"]:
    """Images with the pixels of the mask painted over; `fill` as for `intervene`.

    Raises:
        InputError: an unknown fill.
    """
    if fill == "other":
        new = images.roll(-1, 0)
    elif fill == "around":
        keep = (~mask).unsqueeze(1).to(images).expand_as(images)
        side = min(images.shape[2:])
        kernel = side - 1 + side % 2  # the widest odd one
        weight = augment.gaussian_blur(keep, side / 6, kernel)
        new = augment.gaussian_blur(images * keep, side / 6, kernel) / weight.clamp_min(1e-4)
    else:
        raise unknown("fill", fill, ["around", "other"])
    return torch.where(mask.unsqueeze(1), new.clamp(0, 1), images)


def _moved(mask: Bool[Tensor, "n h w"], places: int, generator: Generator) -> Bool[Tensor, "1+places n h w"]:
    """The mask itself, then moved to random places that touch it least."""
    n, h, w = mask.shape
    spectrum = torch.fft.rfft2(mask.double())
    overlap = torch.fft.irfft2(spectrum.abs() ** 2, s=(h, w)).flatten(1).round()  # in pixels, of the mask with itself moved by (y, x)
    least = overlap.amin(1, keepdim=True)
    draw = torch.rand(n, h * w, generator=generator).masked_fill(overlap > least, -1.0)
    chosen = draw.topk(places, 1).indices  # (n, places)
    out = [mask]
    for k in range(places):
        y, x = chosen[:, k] // w, chosen[:, k] % w
        out.append(torch.stack([m.roll((int(i), int(j)), (0, 1)) for m, i, j in zip(mask, y, x, strict=True)]))
    return torch.stack(out)


def _fits(moved: Bool[Tensor, "k n h w"]) -> Bool[Tensor, " n"]:
    """Whether there is evidence, and room for as many pixels elsewhere."""
    size = moved[0].flatten(1).sum(1)
    shared = (moved[1:] & moved[0]).flatten(2).sum(2).amax(0)
    return (size > 0) & (shared <= OVERLAP * size)


def mismatched(pair: Pair) -> Pair:
    """The same images with the b sides moved on by one pair: what was shared is still there on either side, but shared no more."""
    if pair.truth is None or pair.b is None or len(pair) < 2:
        raise InputError("expected at least two pairs of two sides with truth to mismatch")
    return Pair(pair.a, pair.b.roll(1, 0), Truth(pair.truth.a, pair.truth.b.roll(1, 0)))


def localise(
    models: Sequence[str | PairModel],
    pairs: Mapping[str, Pair],
    methods: Sequence[Way] | Mapping[str, Way],
    *,
    metrics: Sequence[str] = METRICS,
    store: Any | None = None,
    **options: Any,
) -> pd.DataFrame:
    """How well every method's maps find the evidence that pairs share by construction, and how well they do when it is not shared.

    A map that finds an object may look for what is shared, or for objects. So everything is measured a second time on mismatched pairs:
    the same images, the b sides moved on by one. What a method finds there as well has nothing to do with the similarity.

    Args:
        models, methods, store, options: as for `evaluate`.
        pairs: with truth, by kind, at least two of each.
        metrics: those of localisation.

    Returns:
        The rows of `evaluate` with the kind of pair, `shared` (False for mismatched pairs) and `chance`: what a map gets that knows
        nothing, the share of the image that the evidence covers.
    """
    frames = []
    for kind, pair in pairs.items():
        if pair.truth is None:
            raise InputError(f"expected pairs whose shared evidence is known (truth), got {kind!r} without")
        for shared, these in ((True, pair), (False, mismatched(pair))):
            assert these.truth is not None  # has just been seen
            table = evaluate(models, these, methods, metrics, store=store, **options)
            chance = torch.stack([mask.double().mean((1, 2)) for mask in (these.truth.a, these.truth.b)]).mean(0)
            frames.append(table.assign(kind=kind, shared=shared, chance=chance.numpy()[table["pair"]]))
    return pd.concat(frames, ignore_index=True)


def specific(found: pd.DataFrame) -> pd.DataFrame:
    """One row per model, method, kind, pair and metric: what sharing adds, the value minus that of side a and b mismatched.

    Args:
        found: of `localise`.
    """
    by = ["model", "method", "kind", "metric", "pair"]
    wide = found.pivot_table(index=by, columns="shared", values="value", sort=False, observed=True)
    return (wide[True] - wide[False]).rename("value").reset_index()
