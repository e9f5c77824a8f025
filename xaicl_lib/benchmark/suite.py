"""The pairs of the suite and what is known of them: scenes drawn by a program, and drawn again without one of their things.

Every scene holds two objects. What the sides of a pair share is one object, or one factor of it; the other objects share nothing. So a map
that finds objects, whoever asks, is right in half of the cases. Whether a model uses what is shared is not assumed but asked: the same
scenes are drawn without the shared object and without the other one, and embedded. No grey square, which the model has never seen, is
painted anywhere. But pairs are chosen by what taking a thing away does, which is what occlusion measures.
"""

import hashlib
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from xaicl_lib.benchmark import mosaics
from xaicl_lib.data.drawing import Scenes, Things, render
from xaicl_lib.data.scenes import draw_pairs
from xaicl_lib.errors import require
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair, Truth
from xaicl_lib.scores import cosine

NAME = "pairs-v1"  # never changes; a correction makes a version of its own
KINDS = ("one_shared", "one_texture", "one_colour", "one_shape")
MODELS = ("scenes_simclr", "scenes_simclr_no_jitter", "scenes_supervised")
COUNT = 200  # confirmed pairs of a kind
DRAWN = 3  # pairs that are drawn for each that is wanted
USED = 0.05  # of the cosine: by how much more the shared object has to count on average, or the model does not use what is shared
SURE = 0.02  # likewise in a pair, and by how much the score has to fall without it
SEEDS = {kind: 170_001 + k for k, kind in enumerate(KINDS)}  # of the public half


@dataclass(frozen=True, eq=False)
class Case:
    """Pairs of one kind that a model was found to treat as the kind says."""

    kind: str  #: what is shared
    pair: Pair  #: n pairs, with the shared object as truth
    others: tuple[Bool[Tensor, "n k h w"], Bool[Tensor, "n k h w"]]  #: masks of each other thing, of either side
    #: by how much the score falls without the shared thing of a side, and without the other one that costs most
    effects: Float[Tensor, "2 n 2"]
    digest: str  #: of what is drawn, the same on every machine
    drawn: tuple[int, ...]  #: which of all that are drawn: of one kind and seed, the same pair for every model


def case(model: PairModel, kind: str, count: int = COUNT, seed: int = 0) -> Case | None:
    """The first `count` confirmed pairs of a kind; None if the model does not use what they share.

    It does if without the shared thing the score falls by `USED` more than without an other one, on average over all pairs that are
    drawn. A pair is confirmed if its score falls by `SURE`, and by `SURE` more than without any other thing, on average over its sides.

    Args:
        kind: one of `KINDS`, or of those of `mosaics`.
        seed: 0 for the public half; any other number draws pairs that nobody has seen.
    """
    require("kind of pair", (*KINDS, *mosaics.KINDS), kind)
    effects, chosen = (mosaics.drawn if kind in mosaics.KINDS else _drawn)(model, kind, count, seed)
    most = torch.stack([effects[:, :, 0], effects[:, :, 1:].amax(2)], 2)
    shared, other = most.mean(0).unbind(1)  # (n,) each
    rows = ((shared > SURE) & (shared - other > SURE)).nonzero()[:count, 0]
    if (shared - effects[:, :, 1:].mean((0, 2))).mean() < USED or not len(rows):
        return None
    pair, others, codes = chosen(rows)
    return Case(kind, pair, others, most[:, rows], _digest(codes), tuple(rows.tolist()))


def _drawn(model: PairModel, kind: str, count: int, seed: int) -> mosaics.Drawn:
    """Scenes, as `mosaics.drawn` makes mosaics."""
    sides = draw_pairs(DRAWN * count, kind, Generator().manual_seed(SEEDS[kind] + 1_000_003 * seed))
    drawn = [render(side, model.size) for side in sides]

    def chosen(rows: Tensor) -> mosaics.Chosen:
        (a, masks_a), (b, masks_b) = [(images[rows], masks[rows]) for images, masks in drawn]
        codes = [code[rows] for side in sides for thing in side.things for code in _codes(thing)]
        return Pair(a, b, Truth(masks_a[:, 0], masks_b[:, 0])), (masks_a[:, 1:], masks_b[:, 1:]), codes

    return _effects(model, sides, [images for images, _ in drawn]), chosen


def _effects(model: PairModel, sides: tuple[Scenes, Scenes], images: list[Tensor]) -> Float[Tensor, "2 n 2"]:
    whole = [model.encode(pixels, side) for side, pixels in zip("ab", images, strict=True)]
    score = cosine(*whole)
    found = []
    for k, scene in enumerate(sides):
        without = [render(one, model.size)[0] for one in _without(scene)]
        found.append(torch.stack([score - cosine(model.encode(pixels, "ab"[k]), whole[1 - k]) for pixels in without], 1))
    return torch.stack(found).cpu()


def _without(scene: Scenes) -> list[Scenes]:
    """The scenes without the shared object, and without the other one."""
    return [replace(scene, things=scene.things[1:]), replace(scene, things=scene.things[:1])]


def _codes(thing: Things) -> list[Tensor]:
    """Labels and place: whole numbers, for pixels differ in their last bit between machines."""
    labels = torch.stack([thing.shape, thing.texture, thing.colour, thing.size], 1)
    return [labels.to(torch.uint8), (thing.middle * 1000).round().to(torch.int16)]


def _digest(codes: list[Tensor]) -> str:
    found = hashlib.sha256()
    for code in codes:
        found.update(code.numpy().tobytes())
    return found.hexdigest()[:16]
