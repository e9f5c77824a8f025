"""Squares made of photos that are none."""

from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

T = TypeVar("T", Tensor, Image.Image)
FITS = {"crop": "the middle square", "pad": "the whole photo between grey bars", "stretch": "the whole photo, pulled to a square"}
GREY = 0.5  # of the bars


def square(photos: T, size: int, fit: str, interpolation: str = "bilinear") -> T:
    """Photos (n, c, h, w) in [0, 1], or a picture, at `size` pixels a side by one of `FITS`."""
    if isinstance(photos, Image.Image):
        return _of_picture(photos, size, fit, Image.Resampling[interpolation.upper()])
    return _of_tensor(photos, size, fit, interpolation)


def _of_tensor(pixels: Float[Tensor, "n c h w"], size: int, fit: str, interpolation: str) -> Float[Tensor, "n c s s"]:
    h, w = pixels.shape[2:]
    if (h, w) == (size, size):
        return pixels
    if fit == "crop":
        side = min(h, w)
        top, left = (h - side) // 2, (w - side) // 2
        pixels = pixels[:, :, top : top + side, left : left + side]
    inner = _inner(h, w, size) if fit == "pad" else (size, size)
    small = _resized(pixels, inner, interpolation).clamp(0, 1)
    top, left = ((size - side) // 2 for side in inner)
    return F.pad(small, (left, size - inner[1] - left, top, size - inner[0] - top), value=GREY)


def _resized(pixels: Float[Tensor, "n c h w"], shape: tuple[int, int], interpolation: str) -> Float[Tensor, "n c i j"]:
    """Photos in another size; by Pillow, without gradients, where PyTorch lacks the filter."""
    if pixels.dtype.itemsize < 4:  # which PyTorch does not smooth on every device
        return _resized(pixels.float(), shape, interpolation).to(pixels)
    if interpolation in ("bilinear", "bicubic"):
        return F.interpolate(pixels, shape, mode=interpolation, antialias=True)
    bands = [Image.fromarray(band.float().numpy()) for band in pixels.detach().cpu().flatten(0, 1)]
    made = [np.array(band.resize((shape[1], shape[0]), Image.Resampling[interpolation.upper()])) for band in bands]
    return torch.from_numpy(np.stack(made)).view(*pixels.shape[:2], *shape).to(pixels)


def _of_picture(rgb: Image.Image, size: int, fit: str, by: Image.Resampling) -> Image.Image:
    if fit == "crop":
        return ImageOps.fit(rgb, (size, size), by)
    if fit == "stretch":
        return rgb.resize((size, size), by)
    h, w = _inner(rgb.height, rgb.width, size)
    square = Image.new(rgb.mode, (size, size), (round(GREY * 255),) * len(rgb.getbands()))
    square.paste(rgb.resize((w, h), by), ((size - w) // 2, (size - h) // 2))
    return square


def _inner(h: int, w: int, size: int) -> tuple[int, int]:
    """Height and width of the whole photo in a square."""
    return max(1, round(size * h / max(h, w))), max(1, round(size * w / max(h, w)))
