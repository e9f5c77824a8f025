"""Stickers in a corner of pictures, as publishers, hospitals and shops leave them on theirs: a shortcut that is planted on purpose.

There are `STICKERS` of them, all grey, beside a yellow frame. The corner is drawn anew for every picture and says nothing.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from xaicl_lib.data.drawing import render
from xaicl_lib.data.scenes import draw_pairs
from xaicl_lib.errors import InputError, require
from xaicl_lib.pair import Pair, Truth

STICKERS = 8
SIDE, INSET = 0.25, 0.04  # of a sticker and from the edges, as shares of the picture's side
CORNERS = 4
AFTER = 1_000_033  # what is drawn of stickers comes from another stream than what is drawn of scenes
DARK, PALE, RIM = 0.04, 0.98, 0.06
MARK = (1.0, 0.85, 0.0)  # of a frame, in RGB
FRAME = 16  # an image's sides are this many times as long as its frame is wide
CARRIED = ("same", "another", "none")  # what side b carries, beside side a


class Stickered(NamedTuple):
    """Pairs of scenes of one object each, with stickers."""

    pair: Pair  #: n pairs; their truth is where the stickers are, or would be
    objects: tuple[Bool[Tensor, "n h w"], Bool[Tensor, "n h w"]]  #: masks of what is to be seen of the objects, of either side
    codes: Int[Tensor, "2 n"]  #: which stickers


def stickered_pairs(n: int, carried: str = "same", kind: str = "same_object", size: int = 64, seed: int = 0) -> Stickered:
    """Pairs of scenes with a sticker on either side; objects, stickers of side a and corners do not depend on what is carried.

    Args:
        carried: whether side b carries the same sticker as side a or another one; with "none" neither side carries any.
        kind: of pair, as for `scene_pairs`, of one object a side.
        size: side in pixels.
        seed: of scenes and stickers.

    Raises:
        InputError: none of `CARRIED`.
    """
    require("kind of sticker on side b", CARRIED, carried)
    drawn = [render(side, size) for side in draw_pairs(n, kind, Generator().manual_seed(seed))]
    u = torch.rand(n, 4, generator=Generator().manual_seed(seed + AFTER))  # row by row: a pair does not depend on how many are drawn
    first, step = (u[:, 0] * STICKERS).long(), 1 + (u[:, 1] * (STICKERS - 1)).long()
    codes = torch.stack([first, first if carried == "same" else (first + step) % STICKERS])
    corners = (u[:, 2:] * CORNERS).long().T
    made = [_stick(images, codes[k], corners[k]) for k, (images, _) in enumerate(drawn)]
    pixels = [images for images, _ in (drawn if carried == "none" else made)]
    truth = Truth(made[0][1], made[1][1])
    objects = [masks[:, 0] & ~under for (_, masks), under in zip(drawn, (truth.a, truth.b), strict=True)]
    return Stickered(Pair(pixels[0], pixels[1], truth), (objects[0], objects[1]), codes)


def _stick(
    images: Float[Tensor, "n 3 h w"], codes: Int[Tensor, " n"], corners: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "n 3 h w"], Bool[Tensor, "n h w"]]:
    """Pictures with a sticker over one of their corners, and where the stickers are.

    Args:
        corners: 0 upper left, 1 upper right, 2 lower left, 3 lower right.
    """
    h, w = images.shape[2:]
    v = _along(h, corners // 2).unsqueeze(2).to(images)  # (n, h, 1): places in sides of the sticker
    u = _along(w, corners % 2).unsqueeze(1).to(images)  # (n, 1, w)
    inside = (v >= 0) & (v < 1) & (u >= 0) & (u < 1)
    return torch.where(inside.unsqueeze(1), _paint(u, v, codes.to(images.device)).unsqueeze(1), images), inside


def _along(size: int, far: Tensor) -> Float[Tensor, "n s"]:
    """Places of the pixels of one axis, in sides of the sticker, which begins at the near or at the far end."""
    places = (torch.arange(size) + 0.5) / size
    start = torch.where(far == 1, 1 - INSET - SIDE, INSET).unsqueeze(1)
    return (places - start) / SIDE


def _paint(u: Tensor, v: Tensor, codes: Tensor) -> Float[Tensor, "n h w"]:
    """A dark rim around white, black, upright or level bars, chequers, an upper or a lower half, or a dot; u and v run from 0 to 1."""
    shape = (len(codes), v.shape[1], u.shape[2])
    upright, level = ((4 * along).floor() % 2 == 0 for along in (u, v))
    dot = (u - 0.5) ** 2 + (v - 0.5) ** 2 < 0.09
    paints = [v > -torch.inf, v == torch.inf, upright, level, upright ^ level, v < 0.5, v >= 0.5, dot]
    chosen = torch.stack([paint.expand(shape) for paint in paints])[codes, torch.arange(len(codes), device=u.device)]
    rim = (torch.minimum(u, 1 - u) < RIM) | (torch.minimum(v, 1 - v) < RIM)
    return torch.where(chosen & ~rim, PALE, DARK).to(u)


def with_frame(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """The same images in a yellow frame.

    Raises:
        InputError: images that are too small for one.
    """
    side = min(images.shape[2:])
    width = side // FRAME
    if not width:
        raise InputError(f"expected images of at least {FRAME} pixels a side for a frame, got {tuple(images.shape[2:])}")
    framed = torch.tensor(MARK, dtype=images.dtype, device=images.device).view(1, 3, 1, 1).expand_as(images).clone()
    framed[..., width:-width, width:-width] = images[..., width:-width, width:-width]
    return framed
