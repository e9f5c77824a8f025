"""Procedural scenes with known truth: shape x texture x colour x background x place x size, drawn in batches from a generator.

A scene is decided by one row of uniform random numbers, whatever its size in pixels and however many are drawn with it: the
first ten of a thousand scenes are the same as ten scenes.

Pairs share evidence by construction: what a kind names is the same on both sides, every other factor is different.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Generator, Tensor

from xaicl_lib.data.drawing import Grounds, Scenes, Things, render
from xaicl_lib.errors import InputError, require
from xaicl_lib.pair import Pair, Truth

SHAPES = ("disc", "square", "triangle", "star", "ring", "cross", "heart", "crescent")
TEXTURES = ("plain", "stripes", "checks", "dots", "rings", "lattice", "marble", "zigzag")
COLOURS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink")
BACKGROUNDS = ("sky", "grass", "sand", "water", "wood", "stone", "bricks", "dusk")
PLACES = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")
SIZES = ("small", "medium", "large")
FACTORS = {"shape": SHAPES, "texture": TEXTURES, "colour": COLOURS, "background": BACKGROUNDS, "place": PLACES, "size": SIZES}
KINDS = {  # of a pair: what its sides share
    "same_object": ("shape", "texture", "colour", "size", "radius", "turn", "tint", "weave"),
    "same_shape": ("shape",),
    "same_texture": ("texture", "weave"),
    "same_colour": ("colour", "tint"),
    "same_background": (),
    "one_shared": ("shape", "texture", "colour", "size", "radius", "turn", "tint", "weave"),
    "one_shape": ("shape",),
    "one_texture": ("texture", "weave"),
    "one_colour": ("colour", "tint"),
    "nothing_shared": (),
}
RING = torch.tensor([0, 1, 2, 5, 8, 7, 6, 3])  # the places around the centre; three to five steps apart, two objects never touch
SETS = {"train": (12_000, 1), "val": (3_000, 2)}  # scenes and seed


def scene_pairs(n: int, kind: str = "same_object", size: int = 64, generator: Generator | None = None) -> Pair:
    """Pairs of scenes that share exactly what the kind says, with the masks of it as `truth`.

    Args:
        kind: `same_object` (elsewhere, on another background), `same_shape`, `same_texture`, `same_colour`: one object a side;
            `same_background`: under two objects that differ in everything; `one_shared`, `one_shape`, `one_texture`, `one_colour`: two
            objects a side, of which one is the same, or the same in that; `nothing_shared`.
        size: side in pixels.
        generator: None is seed 0.

    Returns:
        Truth is the visible part of what is shared: the object, the background without the object, nothing.

    Raises:
        InputError: unknown kind, no pairs, or a size under 16 pixels.
    """
    require("kind of pair", KINDS, kind)
    a, b = draw_pairs(n, kind, generator)
    images_a, masks_a = render(a, size)
    images_b, masks_b = render(b, size)
    return Pair(images_a, images_b, Truth(_evidence(kind, masks_a), _evidence(kind, masks_b)))


def scenes(
    n: int, size: int = 64, generator: Generator | None = None
) -> tuple[Float[Tensor, "n 3 s s"], Bool[Tensor, "n s s"], Int[Tensor, "n 6"]]:
    """Scenes of one object each: images in [0, 1], masks of the object, and labels in the order of `FACTORS`.

    Args:
        size: side in pixels.
        generator: None is seed 0.
    """
    drawn = draw_pairs(n, "nothing_shared", generator)[0]
    images, masks = render(drawn, size)
    return images, masks[:, 0], drawn.labels


def words(labels: Int[Tensor, "n 6"]) -> list[str]:
    """Labels in words, such as "small red star, dots, on grass"."""
    return [f"{SIZES[z]} {COLOURS[c]} {SHAPES[s]}, {TEXTURES[t]}, on {BACKGROUNDS[b]}" for s, t, c, b, _, z in labels.tolist()]


def scene_set(
    split: str, size: int = 64, count: int | None = None, *, pictures: int = 1
) -> tuple[UInt8[Tensor, "..."], Int[Tensor, "n 6"], list[str]]:
    """The scenes that the bundled models learned from ("train") or were measured on ("val"): images, labels, names of the factors.

    Args:
        split: "train" or "val".
        size: side in pixels.
        count: None is all of them.
        pictures: 1 for images (n, 3, s, s); 2 for (n, 2, 3, s, s), where the second picture is of the same object (`same_object`)
            at another place and before another background. The labels are those of the first, which does not depend on this.
    """
    require("set of scenes", SETS, split)
    most, seed = SETS[split]
    drawn = draw_pairs(count or most, "same_object", Generator().manual_seed(seed))
    images = [(render(side, size)[0] * 255).round().byte() for side in drawn[:pictures]]
    return images[0] if pictures == 1 else torch.stack(images, 1), drawn[0].labels, list(FACTORS)


def draw_pairs(n: int, kind: str, generator: Generator | None = None) -> tuple[Scenes, Scenes]:
    """What is to be seen on either side of n pairs of a kind, not yet drawn."""
    if n < 1:
        raise InputError(f"expected at least one scene, got {n}")
    generator = Generator().manual_seed(0) if generator is None else generator
    # One call, row by row, so that a pair does not depend on how many are drawn with it.
    u = torch.rand(n, 54 + 4 * 74 + 2 * 340, generator=generator)
    *orders, ring = (part.argsort(1) for part in u[:, :52].split([8, 8, 8, 8, 9, 3, 8], 1))  # no value twice in a pair
    apart = 3 + (3 * u[:, 52:54]).long()  # (n, 2) steps around the ring between two objects
    things = [_things(row, orders, k) for k, row in enumerate(u[:, 54 : 54 + 4 * 74].split(74, 1))]
    grounds = [Grounds(orders[3][:, k], row) for k, row in enumerate(u[:, 54 + 4 * 74 :].split(340, 1))]
    shared = {name: getattr(things[0], name) for name in KINDS[kind]}
    things[1] = replace(things[1], **shared)
    if kind == "same_background":
        grounds[1] = grounds[0]
    if kind.startswith("one_"):
        sides = [_two(things[k], things[k + 2], RING[ring[:, k]], RING[(ring[:, k] + apart[:, k]) % 8]) for k in (0, 1)]
    else:
        sides = [[_placed(thing)] for thing in things[:2]]
    return Scenes(grounds[0], tuple(sides[0])), Scenes(grounds[1], tuple(sides[1]))


def _things(u: Float[Tensor, "n 74"], orders: list[Tensor], k: int) -> Things:
    """Objects k of each scene, about the middle of the picture."""
    shape, texture, colour, _, place = (order[:, k] for order in orders[:5])
    size = orders[5][:, k % 3]  # there are only three: those of the two sides differ, a second object's may not
    return Things(
        shape, texture, colour, place, size, middle=u[:, :2] - 0.5, radius=0.19 + 0.04 * size + 0.02 * u[:, 2],
        turn=(u[:, 3] - 0.5) * math.pi / 5, tint=u[:, 4:6], weave=u[:, 6:],
    )  # fmt: skip


def _placed(thing: Things) -> Things:
    """An object moved to its place; large ones keep nearer to the middle, so that nothing is cut off."""
    step = (0.44 - 1.05 * thing.radius).clamp(max=0.22).unsqueeze(1)
    return replace(thing, middle=0.5 + step * _cell(thing.place) + 0.06 * thing.middle)


def _cell(place: Tensor) -> Float[Tensor, "n 2"]:
    """Columns and rows of places from -1 to 1."""
    return torch.stack([place % 3, place // 3], 1) - 1.0


def _two(first: Things, second: Things, start: Tensor, far: Tensor) -> list[Things]:
    """Both objects in one scene: smaller, and far from each other."""
    return [
        replace(thing, place=place, middle=0.5 + 0.22 * _cell(place), radius=0.125 + 0.4 * (thing.radius - 0.19))
        for thing, place in ((first, start), (second, far))
    ]


def _evidence(kind: str, masks: Bool[Tensor, "n k h w"]) -> Bool[Tensor, "n h w"]:
    if kind == "same_background":
        return ~masks.any(1)
    return torch.zeros_like(masks[:, 0]) if kind == "nothing_shared" else masks[:, 0]
