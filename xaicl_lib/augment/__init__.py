"""Augmentations: operations of an explicit strength, the random views of a training, families of growing strengths."""

from xaicl_lib.augment.operations import (
    brightness,
    contrast,
    crop_grid,
    gaussian_blur,
    grayscale,
    hue,
    jpeg,
    luma,
    mirror,
    noise,
    resized_crop,
    rotate,
    rotation_grid,
    sample,
    saturation,
    solarize,
)

__all__ = [
    "brightness", "contrast", "crop_grid", "gaussian_blur", "grayscale", "hue", "jpeg", "luma", "mirror", "noise", "resized_crop",
    "rotate", "rotation_grid", "sample", "saturation", "solarize",
]  # fmt: skip
