"""Random views of photos for training: strengths drawn from a passed generator, pixels handled in batches."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from xaicl_lib import augment


@dataclass(frozen=True)
class Views:
    """How a random view is made: SimCLR's recipe (:cite:t:`chen2020simple`, App. A) with its strengths.

    Differs: the four colour operations are permuted once per batch, not once per image.
    """

    size: int = 64  # side of the view in pixels
    scale: tuple[float, float] = (0.2, 1.0)  # area of the crop, as a fraction of the photo
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # its width over its height
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)  # brightness, contrast, saturation, hue
    jitter_chance: float = 0.8
    grayscale_chance: float = 0.2
    blur_chance: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)  # pixels at 224; scaled to `size`
    solarize_chance: float = 0.0
    rotation: float = 0.0  # largest turn in degrees, either way
    mirror_chance: float = 0.5


def _uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    return torch.empty(n).uniform_(low, high, generator=generator)


def _chance(n: int, probability: float, generator: Generator) -> Tensor:
    return torch.rand(n, generator=generator) < probability


def _random_boxes(n: int, views: Views, generator: Generator) -> Float[Tensor, "n 4"]:
    """Crop boxes (left, top, width, height) in fractions of a square photo; some of them mirrored (negative width)."""
    area = _uniform(n, *views.scale, generator)
    ratio = _uniform(n, math.log(views.ratio[0]), math.log(views.ratio[1]), generator).exp()
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    left = torch.rand(n, generator=generator) * (1 - width)
    top = torch.rand(n, generator=generator) * (1 - height)
    mirror = 1 - 2 * _chance(n, views.mirror_chance, generator).float()
    return torch.stack([left, top, width * mirror, height], 1)


def _jitter(images: Tensor, views: Views, generator: Generator) -> Tensor:
    """Colour jitter on a random `jitter_chance` of the images, operations in random order."""
    n = len(images)
    chosen = _chance(n, views.jitter_chance, generator)
    strengths = [torch.where(chosen, _uniform(n, max(0.0, 1 - s), 1 + s, generator), 1.0) for s in views.jitter[:3]]
    turn = torch.where(chosen, _uniform(n, -views.jitter[3], views.jitter[3], generator), 0.0)
    steps = [*zip((augment.brightness, augment.contrast, augment.saturation), strengths, strict=True), (augment.hue, turn)]
    for k in torch.randperm(4, generator=generator).tolist():
        apply, strength = steps[k]
        images = apply(images, strength)
    return images


def random_view(images: Float[Tensor, "n 3 h w"], views: Views, generator: Generator) -> Float[Tensor, "n 3 s s"]:
    """One random view of each image: turn, crop, mirror, colour jitter, grayscale, blur, solarisation.

    Strengths are drawn on the CPU, pixels handled on the images' device. A turn or solarisation that the views leave out
    draws no random numbers, so that recipes older than these two end in the weights they always did.
    """
    n = len(images)
    if views.rotation:
        images = augment.rotate(images, _uniform(n, -views.rotation, views.rotation, generator))
    out = augment.resized_crop(images, _random_boxes(n, views, generator), views.size)
    out = _jitter(out, views, generator)
    out = augment.grayscale(out, _chance(n, views.grayscale_chance, generator).float())
    sigma = _uniform(n, *views.blur_sigma, generator) * views.size / 224
    sigma = torch.where(_chance(n, views.blur_chance, generator), sigma, 0.0)
    out = augment.gaussian_blur(out, sigma, kernel=2 * math.ceil(3 * views.blur_sigma[1] * views.size / 224) + 1)
    if views.solarize_chance:
        out = augment.solarize(out, torch.where(_chance(n, views.solarize_chance, generator), 0.5, 2.0))
    return out
