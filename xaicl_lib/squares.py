"""Squares made of photos that are none."""

import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

FITS = {"crop": "the middle square", "pad": "the whole photo between grey bars", "stretch": "the whole photo, pulled to a square"}
GREY = 0.5  # of the bars


def square_tensor(pixels: Float[Tensor, "n c h w"], size: int, fit: str) -> Float[Tensor, "n c s s"]:
    """Photos in [0, 1] at `size` pixels a side by one of `FITS`; as they are where they have that size."""
    h, w = pixels.shape[2:]
    if (h, w) == (size, size):
        return pixels
    if fit == "crop":
        side = min(h, w)
        top, left = (h - side) // 2, (w - side) // 2
        pixels = pixels[:, :, top : top + side, left : left + side]
    inner = _inner(h, w, size) if fit == "pad" else (size, size)
    small = F.interpolate(pixels, inner, mode="bilinear", antialias=True).clamp(0, 1)
    top, left = ((size - side) // 2 for side in inner)
    return F.pad(small, (left, size - inner[1] - left, top, size - inner[0] - top), value=GREY)


def square_image(rgb: Image.Image, size: int, fit: str) -> Image.Image:
    """A picture likewise."""
    if fit == "crop":
        return ImageOps.fit(rgb, (size, size), Image.Resampling.BILINEAR)
    if fit == "stretch":
        return rgb.resize((size, size), Image.Resampling.BILINEAR)
    h, w = _inner(rgb.height, rgb.width, size)
    square = Image.new(rgb.mode, (size, size), (round(GREY * 255),) * len(rgb.getbands()))
    square.paste(rgb.resize((w, h), Image.Resampling.BILINEAR), ((size - w) // 2, (size - h) // 2))
    return square


def _inner(h: int, w: int, size: int) -> tuple[int, int]:
    """Height and width of the whole photo in a square."""
    return max(1, round(size * h / max(h, w))), max(1, round(size * w / max(h, w)))
