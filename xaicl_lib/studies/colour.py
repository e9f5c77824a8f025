"""How much of a picture's colour another picture has: saturation, hue, and the colour itself, beside the same of lightness."""

import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from xaicl_lib.augment import luma

Images = Float[Tensor, "n 3 h w"]
COLOURLESS = 0.02  # mean saturation below which a target has no colour that could be lost: a grey photo, compressed
CELLS = 16  # a side: colour is measured on averages over cells, so that the noise of single pixels is none


def _hsv(images: Images) -> tuple[Float[Tensor, "n h w"], Float[Tensor, "n h w"], Float[Tensor, "n h w"]]:
    """Hue in turns [0, 1), saturation and value in [0, 1] of images in [0, 1]; grey has hue 0, black has saturation 0."""
    high, low = images.amax(1), images.amin(1)  # (n, h, w)
    chroma = high - low
    r, g, b = images.unbind(1)
    safe = torch.where(chroma > 0, chroma, 1)
    sector = torch.where(high == r, (g - b) / safe, torch.where(high == g, 2 + (b - r) / safe, 4 + (r - g) / safe))
    return sector / 6 % 1, chroma / torch.where(high > 0, high, 1), high


def _hue_error(images: Images, targets: Images) -> Float[Tensor, " n"]:
    """Mean angle between the hues of an image and its target, in degrees from 0 to 180; unrelated hues give 90.

    A pixel counts as much as the product of both chromas (largest minus smallest channel): the hue of grey is no hue. NaN where one
    of the two has no colour at all.
    """
    (hue_a, s_a, v_a), (hue_b, s_b, v_b) = _hsv(images), _hsv(targets)
    apart = (hue_a - hue_b).abs()
    weight = s_a * v_a * s_b * v_b
    return 360 * (torch.minimum(apart, 1 - apart) * weight).sum((1, 2)) / weight.sum((1, 2))


def _saturation(images: Images) -> Float[Tensor, " n"]:
    """Mean saturation (HSV) of each image, in [0, 1]."""
    return _hsv(images)[1].mean((1, 2))


def _colour(images: Images) -> Images:
    """What an image has beyond its lightness: every channel minus the luma; zero for grey."""
    return images - luma(images)


def _lightness(images: Images) -> Float[Tensor, "n 1 h w"]:
    """Luma minus its mean over the image; zero for a flat picture."""
    light = luma(images)
    return light - light.mean((2, 3), keepdim=True)


def _error(parts: Float[Tensor, "n c h w"], wanted: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """Length of the difference over the length of what is wanted: 0 if all is there, 1 if nothing is, more if something else is."""
    return (parts - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)


def _kept(parts: Float[Tensor, "n c h w"], wanted: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """Share of what is wanted, the slope of one regressed on the other: 1 if all is there, 0 if nothing or something unrelated is."""
    return (parts * wanted).sum((1, 2, 3)) / wanted.square().sum((1, 2, 3))


def _coarse(images: Images, cells: int = CELLS) -> Images:
    """Images averaged over cells, at most so many a side."""
    h, w = images.shape[2:]
    return F.adaptive_avg_pool2d(images, (min(cells, h), min(cells, w)))


def colour_measures(images: Images, targets: Images, cells: int = CELLS) -> dict[str, Float[Tensor, " n"]]:
    """What is left of the colour and of the lightness of targets in images that should show them.

    Args:
        images, targets: in [0, 1].
        cells: a side, over which both are averaged first; only `fine_saturation` is that of the pixels.

    Returns:
        `saturation`, `target_saturation` and `fine_saturation` (HSV, means); `saturation_kept`, their ratio; `hue_error` in degrees;
        `colour_error` and `colour_kept` (see `_error`, `_kept`); `lightness_error` and `lightness_kept`. Of targets without colour the
        four that compare colours are NaN: ratios of what is left of nothing.
    """
    a, b = _coarse(images, cells), _coarse(targets, cells)
    measured = {
        "saturation": _saturation(a),
        "target_saturation": _saturation(b),
        "fine_saturation": _saturation(images),
        "saturation_kept": _saturation(a) / _saturation(b),
        "hue_error": _hue_error(a, b),
        "colour_error": _error(_colour(a), _colour(b)),
        "colour_kept": _kept(_colour(a), _colour(b)),
        "lightness_error": _error(_lightness(a), _lightness(b)),
        "lightness_kept": _kept(_lightness(a), _lightness(b)),
    }
    grey = colourless(targets, cells)
    compared = ("saturation_kept", "hue_error", "colour_error", "colour_kept")
    return {name: value.masked_fill(grey, torch.nan) if name in compared else value for name, value in measured.items()}


def colourless(images: Images, cells: int = CELLS) -> Bool[Tensor, " n"]:
    """Which images have next to no colour, averaged over cells."""
    return _saturation(_coarse(images, cells)) < COLOURLESS


def examples(target: Float[Tensor, "3 h w"]) -> tuple[dict[str, Float[Tensor, "3 h w"]], pd.DataFrame]:
    """What the measures say of changes that everybody can see: the pictures by name, and `colour_measures` of each in rows.

    The specks are colours drawn pixel by pixel.
    """
    image = target[None].double().cpu()
    grey, own = luma(image), _colour(image)
    specks = _colour(torch.rand(image.shape, generator=Generator().manual_seed(0), dtype=image.dtype) - 0.5)
    cells = F.interpolate(_coarse(own), image.shape[2:])
    made = {"the target": image, "half its colour": grey + own / 2, "grey": grey.expand_as(image), "hue turned by 90°": grey + _turned(own)}
    made |= {"grey, coloured specks": grey + specks, "its colour, cell by cell": grey + cells}
    pictures = torch.cat(list(made.values())).clamp(0, 1)
    measured = colour_measures(pictures, image.expand_as(pictures))
    return dict(zip(made, pictures.to(target), strict=True)), pd.DataFrame({k: v.tolist() for k, v in measured.items()}, list(made))


def _turned(colours: Images) -> Images:
    """Colours at right angles to the given ones, as long, and as free of lightness."""
    weights = luma(torch.eye(3, dtype=colours.dtype)[..., None, None]).flatten()  # of the channels in the luma
    axis = weights / weights.norm()
    return torch.cross(axis.view(1, 3, 1, 1).expand_as(colours), colours, dim=1)
