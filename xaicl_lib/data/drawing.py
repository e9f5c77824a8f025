"""How scenes are drawn: objects with their textures and shadows over backgrounds, in batches, anti-aliased, in any size.

All lengths are shares of the picture's side, so that a scene of 224 pixels shows what its twin of 64 shows. Backgrounds are paint of three
tones, (n, s, s) in [0, 1], by functions of the place (x, y) and three noises.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xaicl_lib.errors import InputError

TAU = 2 * math.pi


@dataclass(frozen=True)
class Grounds:
    """n backgrounds."""

    kind: Int[Tensor, " n"]
    detail: Float[Tensor, "n 340"]  # 4 numbers, and noises of 16, 64 and 256 values


def _axes(size: int) -> tuple[Tensor, Tensor]:
    """Rows y (s, 1) and columns x (s,) of pixel middles, as shares of the side."""
    line = (torch.arange(size) + 0.5) / size
    return line.unsqueeze(1), line


def _each(kinds: Tensor, draw: list[Callable[..., Tensor]], *given: Tensor) -> Tensor:
    """`draw[k]` applied to the rows whose kind is k, put together in the order of the rows."""
    order = kinds.argsort(stable=True)
    counts = kinds.bincount(minlength=len(draw)).tolist()
    parts = zip(*(t[order].split(counts) for t in given), strict=True)
    out = torch.cat([function(*part) for function, part in zip(draw, parts, strict=True) if len(part[0])])
    return torch.empty_like(out).index_copy_(0, order, out)


TONES = torch.tensor([  # dark, middle, light
    [(0.24, 0.46, 0.78), (0.55, 0.74, 0.92), (0.97, 0.98, 1.00)],
    [(0.10, 0.24, 0.06), (0.28, 0.48, 0.14), (0.60, 0.74, 0.32)],
    [(0.62, 0.47, 0.30), (0.82, 0.69, 0.48), (0.95, 0.87, 0.70)],
    [(0.02, 0.18, 0.30), (0.10, 0.40, 0.52), (0.72, 0.88, 0.90)],
    [(0.27, 0.15, 0.07), (0.52, 0.32, 0.17), (0.74, 0.53, 0.33)],
    [(0.24, 0.24, 0.26), (0.50, 0.49, 0.48), (0.76, 0.75, 0.72)],
    [(0.42, 0.17, 0.12), (0.64, 0.31, 0.23), (0.86, 0.82, 0.76)],
    [(0.09, 0.06, 0.16), (0.55, 0.25, 0.38), (0.99, 0.76, 0.46)],
])  # fmt: skip


@cache
def _bicubic(count: int, size: int) -> Float[Tensor, "s k"]:
    """Weights of `count` values along a line for each of `size` places between them."""
    return F.interpolate(torch.eye(count)[None, None], (size, count), mode="bicubic", align_corners=False)[0, 0]


def _noise(values: Tensor, rows: int, size: int) -> Tensor:
    """Smooth noise (n, s, s) in about [-1, 1] from a grid of `rows` rows of uniform values; two matrix products are the fastest way."""
    grid = 2 * values.view(len(values), rows, -1) - 1
    return _bicubic(rows, size) @ grid @ _bicubic(grid.shape[2], size).T


def _sky(d: Tensor, x: Tensor, y: Tensor) -> Tensor:
    clouds = _noise(d[:, 4:20], 4, len(x)) + 0.5 * _noise(d[:, 20:84], 8, len(x)) + 0.25 * _noise(d[:, 84:], 16, len(x))
    return 0.05 + 0.5 * y + (clouds - 0.1).clamp(0, 0.7) * (1.1 - 0.6 * y)


def _grass(d: Tensor, x: Tensor, y: Tensor) -> Tensor:
    blades = _noise(d[:, 84:], 4, len(x))  # 4 x 64: upright
    return 0.4 + 0.16 * _noise(d[:, 4:20], 4, len(x)) + (0.16 + 0.2 * y) * blades + 0.1 * (1 - y)


def _sand(d: Tensor, x: Tensor, y: Tensor) -> Tensor:
    bent = _noise(d[:, 4:20], 4, len(x)) + 0.3 * _noise(d[:, 20:84], 8, len(x))
    ripples = (TAU * ((7 + 3 * d[:, :1, None]) * (y + 0.25 * x) + 0.8 * bent)).sin()
    return 0.5 + 0.2 * ripples + 0.1 * bent + 0.08 * _noise(d[:, 84:], 16, len(x))


def _water(d: Tensor, x: Tensor, y: Tensor) -> Tensor:
    waves = _noise(d[:, 84:], 32, len(x))  # 32 x 8: lying
    swell = _noise(d[:, 20:84], 16, len(x))
    return 0.34 - 0.1 * y + 0.14 * swell + 0.55 * (waves - 0.35).clamp_min(0) + 0.12 * waves


def _wood(d: Tensor, x: Tensor, y: Tensor) -> Tensor:
    grain = _noise(d[:, 84:], 64, len(x))  # 64 x 4
    rings = (TAU * (3.5 * y + 1.2 * _noise(d[:, 4:20], 4, len(x)))).sin()
    return 0.5 + 0.14 * rings + 0.2 * grain + 0.08 * _noise(d[:, 20:84], 16, len(x))


def _stone(d: Tensor, x: Tensor, y: Tensor) -> Tensor:
    coarse = _noise(d[:, 20:84], 8, len(x))
    cracks = (0.12 - (coarse + 0.4 * _noise(d[:, 84:], 16, len(x))).abs()).clamp_min(0)
    return 0.52 + 0.25 * _noise(d[:, 4:20], 4, len(x)) + 0.2 * _noise(d[:, 84:], 16, len(x)) - 2.6 * cracks


def _bricks(d: Tensor, x: Tensor, y: Tensor) -> Tensor:
    rows = 7 * y + d[:, :1, None]
    columns = 3.5 * x + d[:, 1:2, None] + 0.5 * (rows.floor() % 2)
    edge = torch.minimum(((rows % 1) - 0.5).abs().neg().add(0.5) * 2, ((columns % 1) - 0.5).abs().neg().add(0.5) * 4)
    mortar = (1.6 - 6 * edge).clamp(0, 1)
    return 0.34 + 0.16 * _noise(d[:, 20:84], 8, len(x)) + 0.12 * _noise(d[:, 84:], 16, len(x)) + 0.5 * mortar


def _dusk(d: Tensor, x: Tensor, y: Tensor) -> Tensor:
    hills = 0.68 + 0.1 * _noise(d[:, 4:20], 1, len(x))  # 1 x 16: one line of hills
    sky = 0.25 + 0.75 * y / 0.75 + 0.1 * _noise(d[:, 20:84], 16, len(x))
    return sky.clamp(0, 1) * (1 - ((y - hills) * 40).clamp(0, 1) * 0.9)


GROUNDS = [_sky, _grass, _sand, _water, _wood, _stone, _bricks, _dusk]


def _draw_ground(grounds: Grounds, size: int) -> Float[Tensor, "n 3 s s"]:
    """Pictures of backgrounds, values in [0, 1]."""
    y, x = _axes(size)
    paint = _each(grounds.kind, [lambda d, f=f: f(d, x, y) for f in GROUNDS], grounds.detail).clamp(0, 1)  # (n, s, s)
    shift = 0.12 * (grounds.detail[:, 2:4].mean(1) - 0.5).view(-1, 1, 1)  # some are lighter than others
    paint = 2 * (paint + shift).clamp(0, 1).unsqueeze(1)
    dark, middle, light = TONES[grounds.kind].view(-1, 3, 3, 1, 1).unbind(1)  # each (n, 3, 1, 1)
    return dark + (middle - dark) * paint.clamp(max=1) + (light - middle) * (paint - 1).clamp_min(0)


PIXELS_AT_ONCE = 1 << 19


@dataclass(frozen=True)
class Things:
    """n objects: what they are (indices into the factors) and the details that vary within a factor."""

    shape: Int[Tensor, " n"]
    texture: Int[Tensor, " n"]
    colour: Int[Tensor, " n"]
    place: Int[Tensor, " n"]
    size: Int[Tensor, " n"]
    middle: Float[Tensor, "n 2"]  # x, y as shares of the side
    radius: Float[Tensor, " n"]  # likewise
    turn: Float[Tensor, " n"]  # radians
    tint: Float[Tensor, "n 2"]
    weave: Float[Tensor, "n 68"]  # wavelength, angle and phases of the texture, and an 8 x 8 noise


@dataclass(frozen=True)
class Scenes:
    """n scenes: a background and one or more objects, the first of which the labels speak of."""

    ground: Grounds
    things: tuple[Things, ...]

    @property
    def labels(self) -> Int[Tensor, "n 6"]:
        """Index into each of the factors."""
        first = self.things[0]
        return torch.stack([first.shape, first.texture, first.colour, self.ground.kind, first.place, first.size], 1)

    def __len__(self) -> int:
        return len(self.ground.kind)


@torch.no_grad()
def render(drawn: Scenes, size: int = 64) -> tuple[Float[Tensor, "n 3 s s"], Bool[Tensor, "n k s s"]]:
    """Pictures of scenes, anti-aliased, values in [0, 1], and the mask of each of their objects.

    Raises:
        InputError: a size under 16 pixels.
    """
    if size < 16:
        raise InputError(f"expected scenes of at least 16 pixels a side, got {size}")
    n = len(drawn)
    images = torch.empty(n, 3, size, size)
    masks = torch.empty(n, len(drawn.things), size, size, dtype=torch.bool)
    step = max(1, PIXELS_AT_ONCE // size**2)
    for start in range(0, n, step):
        part = slice(start, start + step)
        image = _draw_ground(_rows(drawn.ground, part), size)
        for k, things in enumerate(drawn.things):
            image, cover = _draw_things(image, _rows(things, part))
            masks[part, k] = cover > 0.5
        images[part] = image.clamp_(0, 1)
    return images, masks


def _rows(item: Any, part: slice) -> Any:
    return type(item)(**{name: value[part] for name, value in vars(item).items()})


# Distances are in radii of the object, negative inside, with a slope of one across the outline.


def _polygon(u: Tensor, v: Tensor, corners: int, inner: float) -> Tensor:
    """Distance to the sides of a regular polygon with a corner at the top, whose sides are `inner` from its middle."""
    turns = [2 * math.pi * (k + 0.5) / corners - math.pi / 2 for k in range(corners)]
    out = u * math.cos(turns[0]) + v * math.sin(turns[0])
    for turn in turns[1:]:
        out = torch.maximum(out, u * math.cos(turn) + v * math.sin(turn))
    return out - inner


def _square(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(u.abs(), v.abs()) - 0.74


def _triangle(u: Tensor, v: Tensor) -> Tensor:
    return _polygon(u, v - 0.16, 3, 0.5)


def _star(u: Tensor, v: Tensor) -> Tensor:
    """Five points: the plane folded ten times is one side from a tip to the corner between two tips."""
    fifth = 2 * math.pi / 5
    angle = ((torch.atan2(u, -v) + fifth / 2) % fifth - fifth / 2).abs()
    r = (u * u + v * v).sqrt()
    tip, notch, half = 1.05, 0.46, math.pi / 5
    dx, dy = notch * math.cos(half) - tip, notch * math.sin(half)
    length = math.hypot(dx, dy)
    return ((r * angle.cos() - tip) * dy - r * angle.sin() * dx) / length


def _cross(u: Tensor, v: Tensor) -> Tensor:
    u, v = u.abs(), v.abs()
    return torch.minimum(torch.maximum(u - 0.94, v - 0.32), torch.maximum(u - 0.32, v - 0.94))


def _heart(u: Tensor, v: Tensor) -> Tensor:
    """A square on its corner with a disc on each of its upper sides."""
    u, v, half = u.abs(), v - 0.1, 0.54
    disc = ((u - half / 2**0.5) ** 2 + (v + half / 2**0.5) ** 2).sqrt() - half
    return torch.minimum((u + v.abs()) / 2**0.5 - half, disc)


def _crescent(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum((u * u + v * v).sqrt() - 0.95, 0.72 - ((u - 0.45) ** 2 + (v + 0.1) ** 2).sqrt())


def _disc(u: Tensor, v: Tensor) -> Tensor:
    return (u * u + v * v).sqrt() - 0.9


def _annulus(u: Tensor, v: Tensor) -> Tensor:
    return ((u * u + v * v).sqrt() - 0.66).abs() - 0.27


DISTANCES = [_disc, _square, _triangle, _star, _annulus, _cross, _heart, _crescent]


def _crisp(wave: Tensor, slope: float = 1.4) -> Tensor:
    """A wave in [-1, 1] as paint in [0, 1] with soft edges."""
    return (0.5 + slope * wave).clamp(0, 1)


# Paint in [0, 1] at places (a, b) in wavelengths from the middle of the object, with the noise (n, 1, 8, 8) of its weave.
PAINTS: list[Callable[..., Tensor]] = [
    lambda a, b, noise: torch.full_like(a, 0.72),
    lambda a, b, noise: _crisp((TAU * a).sin()),
    lambda a, b, noise: _crisp((math.pi * a).sin() * (math.pi * b).sin(), 2.5),
    lambda a, b, noise: 1 - _crisp((TAU * 0.8 * a).cos() + (TAU * 0.8 * b).cos() - 0.5),
    lambda a, b, noise: _crisp((TAU * (a * a + b * b).sqrt()).cos()),
    lambda a, b, noise: 1 - _crisp(torch.maximum((TAU * 0.75 * a).cos(), (TAU * 0.75 * b).cos()) - 0.72, 2.5),
    lambda a, b, noise: _crisp((TAU * (0.25 * a + 2.2 * _sample(noise, a / 3.2, b / 3.2))).sin(), 0.8),
    lambda a, b, noise: _crisp((TAU * (a + 0.9 * ((0.7 * b) % 1 - 0.5).abs())).sin()),
]
# The eight colours; light of a surface in full light.
PALETTE = torch.tensor([
    (0.86, 0.16, 0.14), (0.96, 0.52, 0.10), (0.97, 0.86, 0.20), (0.26, 0.66, 0.22),
    (0.10, 0.68, 0.66), (0.16, 0.34, 0.86), (0.50, 0.22, 0.72), (0.97, 0.52, 0.72),
])  # fmt: skip


def _sample(noise: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """A noise (n, 1, k, k) at places (n, h, w) in [-1, 1]; beyond them it goes on mirrored."""
    return F.grid_sample(noise, torch.stack([a, b], 3), "bilinear", "reflection", align_corners=False)[:, 0]


def _draw_things(image: Float[Tensor, "n 3 s s"], things: Things) -> tuple[Float[Tensor, "n 3 s s"], Float[Tensor, "n s s"]]:
    """One object over each image with its shadow, and how much of each pixel it covers."""
    size = image.shape[-1]
    y, x = _axes(size)
    radius, turn = things.radius.view(-1, 1, 1), things.turn.view(-1, 1, 1)
    dx, dy = ((axis - things.middle[:, k].view(-1, 1, 1)) / radius for k, axis in enumerate((x, y)))  # (n, 1, s), (n, s, 1)
    u, v = dx * turn.cos() + dy * turn.sin(), dy * turn.cos() - dx * turn.sin()  # (n, s, s)
    away = -0.13  # of the shadow, towards the lower right
    distance, shadow = _each(things.shape.repeat(2), DISTANCES, torch.cat([u, u + away]), torch.cat([v, v + away])).chunk(2)
    cover = (0.5 - distance * radius * size).clamp(0, 1)
    ground = image * (1 - 0.5 * (0.5 - shadow / 0.4).clamp(0, 1)).unsqueeze(1)
    paint = _paint(u * radius, v * radius, things)
    light = (1 - 0.13 * (dx + dy)) * (0.62 + 0.38 * (-distance / 0.12).clamp(0, 1))  # from the upper left, with a darker rim
    colour = PALETTE[things.colour] * (0.88 + 0.24 * things.tint[:, :1])  # (n, 3)
    dark, pale = 0.34 * colour, colour + 0.12 * things.tint[:, 1:] * (1 - colour)
    body = (dark.view(-1, 3, 1, 1) + (pale - dark).view(-1, 3, 1, 1) * paint.unsqueeze(1)) * light.unsqueeze(1)
    return torch.lerp(ground, body, cover.unsqueeze(1)), cover


def _paint(u: Tensor, v: Tensor, things: Things) -> Tensor:
    """Paint of the texture at places in shares of the side, turned and stretched a little by its weave; coarser on larger objects."""
    wave, angle, *phases = (things.weave[:, k].view(-1, 1, 1) for k in range(4))
    scale, angle = 1 / ((0.9 + 0.2 * wave) * (0.06 + 0.28 * things.radius.view(-1, 1, 1))), (angle - 0.5) * 0.6 + math.pi / 5
    a = scale * (u * angle.cos() + v * angle.sin()) + 0.25 * phases[0]
    b = scale * (v * angle.cos() - u * angle.sin()) + 0.25 * phases[1]
    return _each(things.texture, PAINTS, a, b, things.weave[:, 4:].reshape(-1, 1, 8, 8))
