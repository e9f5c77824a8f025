"""Families of augmentations: each at growing strengths, alone or composed in twos."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from xaicl_lib import augment

Images = Float[Tensor, "n 3 h w"]
Grid = Callable[[Tensor, float], Tensor]
OUTSIDE = 2.0  # a coordinate that no image has: they reach from -1 to 1


@dataclass(frozen=True)
class Family:
    """An augmentation at growing strengths."""

    unit: str  #: what the strengths are
    strengths: tuple[float, ...]  #: from hardly to hardly recognisable; level k is the k-th, level 0 is none
    apply: Callable[[Tensor, float], Tensor]  #: (images, strength) to images
    grid: Grid | None = None  #: (images, strength) to where each pixel comes from, for those that move pixels


def _blur(images: Images, share: float) -> Images:
    """A Gaussian blur whose standard deviation is so many percent of the side."""
    side = min(images.shape[2:])
    sigma = share * side / 100
    return augment.gaussian_blur(images, sigma, min(2 * round(3 * sigma) + 3, side - 1 + side % 2))


def _middle(images: Images, area: float) -> Float[Tensor, "n h w 2"]:
    """Where the middle of the image, of so large a share of its area, comes from."""
    side = area**0.5
    box = torch.tensor([(1 - side) / 2, (1 - side) / 2, side, side]).expand(len(images), 4)
    return augment.crop_grid(images, box, (images.shape[2], images.shape[3]))


def _crop(images: Images, area: float) -> Images:
    """The middle of the image, enlarged to the whole."""
    return augment.sample(images, _middle(images, area))


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
    return functools.reduce(_composed_grid, (grid(images, level) for grid in grids))


def _composed_grid(first: Float[Tensor, "n i j 2"], second: Float[Tensor, "n i j 2"]) -> Float[Tensor, "n i j 2"]:
    """Where each pixel comes from when pixels moved by the first grid are moved by the second."""
    source = augment.sample(first.movedim(-1, 1), second, outside="border").movedim(1, -1)
    return source.masked_fill((second.abs() > 1).any(-1, keepdim=True), OUTSIDE)


FADING = (0.8, 0.6, 0.4, 0.2, 0.1)
BLUR = Family("% of the side", (0.5, 1.0, 2.0, 4.0, 8.0), _blur)
DARKENING = Family("factor", FADING, augment.brightness)
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
    "crop": Family("share of the area", (0.8, 0.6, 0.4, 0.2, 0.1), _crop, _middle),
    "rotation": Family("degrees", (15, 30, 60, 90, 180), augment.rotate, augment.rotation_grid),
}
