"""Pairs whose shared evidence is known: does the model use it?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from xaicl_lib import augment
from xaicl_lib.data.drawing import render
from xaicl_lib.data.photos import other_photos, photo_mosaics
from xaicl_lib.data.scenes import KINDS as SCENE_KINDS
from xaicl_lib.data.scenes import draw_pairs, scene_pairs
from xaicl_lib.errors import InputError, unknown
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair
from xaicl_lib.scores import cosine
from xaicl_lib.statistics.bootstrap import share
from xaicl_lib.statistics.paired import holm

KINDS = tuple(kind for kind in SCENE_KINDS if kind != "nothing_shared")  # of scenes
METRICS = ("pointing_game", "relevance_mass", "relevance_rank")
CONTROLS = ("elsewhere", "other", "unshared")  # what the drop without the evidence is compared with
_PLACES = 4  # elsewhere, over which the drop is averaged
_OVERLAP = 0.02  # of the evidence that a place elsewhere may still touch
Masks = tuple[Bool[Tensor, "k n h w"], Bool[Tensor, "k n h w"]]  # of either side, k to choose from


class _Known(NamedTuple):
    """Pairs whose shared evidence is known."""

    pairs: dict[str, Pair]  # with truth, by kind
    others: dict[str, Masks]  # masks of other things than the evidence, of the kinds that have such


def known_scenes(n: int, size: int, seed: int = 0) -> _Known:
    """n pairs of scenes of each kind, by names without underscores, and the second object of those that have one."""
    pairs = {kind.replace("_", " "): scene_pairs(n, kind, size, Generator().manual_seed(seed)) for kind in KINDS}
    return _Known(pairs, {"one shared": _other_objects(n, size, Generator().manual_seed(seed))})


def known_mosaics(n: int, size: int) -> _Known:
    """n pairs of mosaics of sample photos that share one photo, and their other photos."""
    pair = photo_mosaics(n, size)
    assert pair.truth is not None  # mosaics know theirs
    return _Known({"mosaic of photos": pair}, {"mosaic of photos": other_photos(pair.truth)})


def painted_over(known: _Known, kind: str) -> dict[str, Pair]:
    """The first pair of a kind, and the same with its evidence, as many pixels elsewhere, and another thing painted over on side a."""
    pair = known.pairs[kind][0]
    assert pair.truth is not None  # its evidence is known
    half = pair.truth.a.shape[2] // 2
    hidden = {"the evidence": pair.truth.a, "other pixels": pair.truth.a.roll(half, 2), "the other": known.others[kind][0][0][:1]}
    return {kind: pair, **{f"without {name}": replace(pair, a=paint(pair.a, mask)) for name, mask in hidden.items()}}


@torch.no_grad()
def intervene(
    models: Sequence[PairModel], pairs: Mapping[str, Pair], *, fill: str = "around", others: Mapping[str, Masks] | None = None
) -> pd.DataFrame:
    """Whether the score falls more without the shared evidence than without something else.

    The evidence of one side is painted over, then of the other; the drops of the score are averaged. Three controls ask whether that is
    more than nothing. *elsewhere*: the mask moved, around the edges if need be, to four places where it does not touch the evidence. In a
    scene that is bare ground, whose blur is nearly the ground itself, so that next to nothing can happen. *other*: something else that
    is as much of a thing, such as the second object of a scene. *unshared*: the same evidence is painted over, but its image is beside
    the other sides of all other pairs, with which it does not share it.

    Args:
        pairs: with truth, by kind.
        fill: what is painted: "around" (a wide blur of the other pixels) or "other" (the image of the next pair at the same place).
        others: masks of other things by kind, as of `_other_objects` and `other_photos`; drops are averaged over the k of a side.

    Returns:
        One row per model, kind and pair: score, area (share of the image), evidence, elsewhere, other and unshared (drops of the score),
        flagged (the evidence costs no more than other pixels: the model uses something else). `elsewhere` is NaN and `flagged` empty
        where the evidence fills so much of the image that it has no room elsewhere; `other` is NaN without such masks, `unshared` with
        one pair only.

    Raises:
        InputError: pairs without truth, or an unknown fill.
    """
    frames = []
    for kind, pair in pairs.items():
        if pair.truth is None or pair.b is None:
            raise InputError(f"expected pairs of two sides whose shared evidence is known (truth), got {kind!r} without")
        drawn = Generator().manual_seed(0)  # the same for a kind, whatever came before it
        moved = [_moved(mask, drawn) for mask in (pair.truth.a, pair.truth.b)]  # 2 of (1 + places, n, h, w)
        more = (others or {}).get(kind, [mask[:0] for mask in moved])
        frames += [_drops(model, pair, moved, more, fill).assign(model=model.name, kind=kind) for model in models]
    order = ["model", "kind", "pair", "score", "area", "evidence", "elsewhere", "other", "unshared", "flagged"]
    return pd.concat(frames, ignore_index=True)[order]


def interventions(*asked: tuple[Sequence[PairModel], _Known], **options: Any) -> pd.DataFrame:
    """The rows of `intervene` for models and the pairs that they are shown; options are its own."""
    return pd.concat([intervene(models, known.pairs, others=known.others, **options) for models, known in asked], ignore_index=True)


def by_kind(drops: pd.DataFrame) -> pd.DataFrame:
    """Mean score and mean drops of `intervene`: a row for each model and kind."""
    columns = ["score", "evidence", *CONTROLS]
    return drops.groupby(["model", "kind"], sort=False)[columns].mean().rename(columns={"evidence": "drop: evidence"})


def _drops(model: PairModel, pair: Pair, moved: Sequence[Tensor], others: Sequence[Tensor], fill: str) -> pd.DataFrame:
    whole = [model.encode(pixels, side) for side, pixels in zip("ab", pair.sides, strict=True)]
    sides = []
    for k, (pixels, masks) in enumerate(zip(pair.sides, map(torch.cat, zip(moved, others, strict=True)), strict=True)):
        painted = torch.cat([paint(pixels, mask, fill) for mask in masks])
        z = model.encode(painted, "ab"[k]).view(len(masks), len(pixels), -1)
        sides.append(_drops_of_side(whole[k], z, whole[1 - k], len(moved[k])))
    drops = torch.stack(sides).mean(0).cpu().double()  # (4, n)
    fits = torch.stack([_fits(masks) for masks in moved]).all(0)
    drops[1] = drops[1].masked_fill(~fits, torch.nan)
    flagged = pd.array((drops[0] <= drops[1]).tolist(), dtype="boolean")
    flagged[drops[:2].isnan().any(0).numpy()] = pd.NA
    area = torch.stack([masks[0].double().mean((1, 2)) for masks in moved]).mean(0)
    columns = {"pair": range(len(pair)), "score": cosine(whole[0], whole[1]).cpu().double(), "area": area}
    return pd.DataFrame(columns | dict(zip(("evidence", *CONTROLS), drops, strict=True))).assign(flagged=flagged)


def _drops_of_side(
    whole: Float[Tensor, "n d"], painted: Float[Tensor, "k n d"], partner: Float[Tensor, "n d"], places: int
) -> Float[Tensor, "4 n"]:
    """Drops of the cosine without the evidence (first of the painted), elsewhere (up to `places`), without others, and unshared."""
    whole, painted, partner = (F.normalize(z, dim=-1) for z in (whole, painted, partner))
    drops = ((whole - painted) * partner).sum(2)  # (k, n)
    beside_all = (whole - painted[0]) @ partner.T  # (n, n), own partners on the diagonal
    unshared = (beside_all.sum(1) - beside_all.diagonal()) / (len(whole) - 1)
    return torch.stack([drops[0], drops[1:places].mean(0), drops[places:].mean(0), unshared])


def _other_objects(n: int, size: int = 64, generator: Generator | None = None) -> Masks:
    """Masks of the object that is not shared, on either side of the scenes of `scene_pairs(n, "one_shared", size, generator)`."""
    a, b = (render(side, size)[1] for side in draw_pairs(n, "one_shared", generator))
    return a[:, 1:].movedim(1, 0), b[:, 1:].movedim(1, 0)


def confirmed(drops: pd.DataFrame) -> pd.DataFrame:
    """In how many pairs the evidence costs more than each control, by how much on average, and whether that is more than a coin would say.

    The drops are stored, with the `fill` that they were painted with.

    Returns:
        One row per control, model, kind and fill: mean, low, high (share of confirmed pairs, Wilson's 95 %), n, cost (mean drop of the
        control), difference (mean of evidence minus control, in units of the score), p (two-sided sign test against a half, corrected by
        Holm's procedure for all rows of a control), and `surely`: whether the share is above a half by the test.
    """
    from scipy.stats import binomtest  # takes half a second to import

    rows = []
    for control in CONTROLS:
        for key, part in drops.dropna(subset=["evidence", control]).groupby(["model", "kind", "fill"], sort=False, observed=True):
            gain = part["evidence"] - part[control]
            hits, n = int((gain > 0).sum()), len(gain)
            rows.append((control, *key, *share(hits, n), n, part[control].mean(), gain.mean(), binomtest(hits, n).pvalue))
    table = pd.DataFrame(rows, columns=["control", "model", "kind", "fill", "mean", "low", "high", "n", "cost", "difference", "p"])
    p = table.groupby("control", sort=False)["p"].transform(lambda p: holm(p.tolist()))
    kind = table["kind"].astype(str).str.replace("_", " ")
    return table.assign(kind=kind, p=p, surely=(p < 0.05) & (table["mean"] > 0.5))


def mean_over_models(table: pd.DataFrame) -> pd.DataFrame:
    """Means of `confirmed` over models: what the control costs, the difference, the share, and how many models are surely above a half."""
    groups = table.groupby(["control", "kind"], sort=False, observed=True)
    means = {"control_costs": ("cost", "mean"), "difference": ("difference", "mean"), "confirmed": ("mean", "mean")}
    return groups.agg(**means, surely=("surely", "sum"), models=("n", "size")).reset_index("kind")


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


def _moved(mask: Bool[Tensor, "n h w"], generator: Generator) -> Bool[Tensor, "1+places n h w"]:
    """The mask itself, then moved to random places that touch it least."""
    n, h, w = mask.shape
    spectrum = torch.fft.rfft2(mask.double())
    overlap = torch.fft.irfft2(spectrum.abs() ** 2, s=(h, w)).flatten(1).round()  # in pixels, of the mask with itself moved by (y, x)
    least = overlap.amin(1, keepdim=True)
    draw = torch.rand(n, h * w, generator=generator).masked_fill(overlap > least, -1.0)
    chosen = draw.topk(_PLACES, 1).indices  # (n, places)
    out = [mask]
    for k in range(_PLACES):
        y, x = chosen[:, k] // w, chosen[:, k] % w
        out.append(torch.stack([m.roll((int(i), int(j)), (0, 1)) for m, i, j in zip(mask, y, x, strict=True)]))
    return torch.stack(out)


def _fits(moved: Bool[Tensor, "k n h w"]) -> Bool[Tensor, " n"]:
    """Whether there is evidence, and room for as many pixels elsewhere."""
    size = moved[0].flatten(1).sum(1)
    shared = (moved[1:] & moved[0]).flatten(2).sum(2).amax(0)
    return (size > 0) & (shared <= _OVERLAP * size)
