"""Backgrounds of scenes: paint of three tones, (n, s, s) in [0, 1], by functions of the place (x, y) and three noises.

Also what drawing backgrounds has in common with drawing objects.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

TAU = 2 * math.pi


@dataclass(frozen=True)
class Grounds:
    """n backgrounds."""

    kind: Int[Tensor, " n"]
    detail: Float[Tensor, "n 340"]  # 4 numbers, and noises of 16, 64 and 256 values


def axes(size: int) -> tuple[Tensor, Tensor]:
    """Rows y (s, 1) and columns x (s,) of pixel middles, as shares of the side."""
    line = (torch.arange(size) + 0.5) / size
    return line.unsqueeze(1), line


def each(kinds: Tensor, draw: list[Callable[..., Tensor]], *given: Tensor) -> Tensor:
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


def draw_ground(grounds: Grounds, size: int) -> Float[Tensor, "n 3 s s"]:
    """Pictures of backgrounds, values in [0, 1]."""
    y, x = axes(size)
    paint = each(grounds.kind, [lambda d, f=f: f(d, x, y) for f in GROUNDS], grounds.detail).clamp(0, 1)  # (n, s, s)
    shift = 0.12 * (grounds.detail[:, 2:4].mean(1) - 0.5).view(-1, 1, 1)  # some are lighter than others
    paint = 2 * (paint + shift).clamp(0, 1).unsqueeze(1)
    dark, middle, light = TONES[grounds.kind].view(-1, 3, 3, 1, 1).unbind(1)  # each (n, 3, 1, 1)
    return dark + (middle - dark) * paint.clamp(max=1) + (light - middle) * (paint - 1).clamp_min(0)
