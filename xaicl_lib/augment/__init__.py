"""Image augmentations, batched on tensors, each a plain function of an explicit strength; views of a training and families build on them.

Images are (n, 3, h, w) float RGB in [0, 1], or of other channels where an operation knows no colours.
A strength is one number or a tensor (n,), one per image.
Nothing here draws random strengths: whoever wants them draws them (see `xaicl_lib.augment.views`); noise takes a generator.
The functions equal `torchvision.transforms.v2.functional` where it has them and a strength is a single number (tests).
The geometric ones are a grid, which says where each pixel comes from, and `sample`, which takes it from there: the same grid moves
images, masks and maps.
"""

import io

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from xaicl_lib.errors import InputError

LUMA = (0.2989, 0.587, 0.114)  # the ITU-R 601 weights that torchvision uses


def _per_image(strength: float | Tensor, images: Tensor) -> Tensor:
    """The strength as (n, 1, 1, 1) on the images' device."""
    value = torch.as_tensor(strength, dtype=images.dtype, device=images.device)
    return value.expand(len(images)).view(-1, 1, 1, 1)


def luma(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 h w"]:
    """Brightness as the eye weighs the colours (ITU-R 601); of images that are not RGB the mean of their channels."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    r, g, b = images.unbind(1)
    return (LUMA[0] * r + LUMA[1] * g + LUMA[2] * b).unsqueeze(1)  # (n, 1, h, w)


def _blend(images: Tensor, other: Tensor, strength: float | Tensor) -> Tensor:
    return (other + (images - other) * _per_image(strength, images)).clamp(0, 1)


def brightness(images: Float[Tensor, "n 3 h w"], factor: float | Tensor) -> Float[Tensor, "n 3 h w"]:
    """Images times `factor` (0 is black, 1 leaves them alone)."""
    return (images * _per_image(factor, images)).clamp(0, 1)


def contrast(images: Float[Tensor, "n 3 h w"], factor: float | Tensor) -> Float[Tensor, "n 3 h w"]:
    """Images spread around their mean luma by `factor` (0 is flat grey, 1 leaves them alone)."""
    return _blend(images, luma(images).mean((1, 2, 3), keepdim=True), factor)


def saturation(images: Float[Tensor, "n 3 h w"], factor: float | Tensor) -> Float[Tensor, "n 3 h w"]:
    """Images spread around their luma by `factor` (0 is greyscale, 1 leaves them alone)."""
    return _blend(images, luma(images), factor)


def grayscale(images: Float[Tensor, "n 3 h w"], amount: float | Tensor = 1.0) -> Float[Tensor, "n 3 h w"]:
    """Images moved towards their luma by `amount` in [0, 1]."""
    return saturation(images, 1 - torch.as_tensor(amount))


def hue(images: Float[Tensor, "n 3 h w"], turn: float | Tensor) -> Float[Tensor, "n 3 h w"]:
    """Images with the hue of HSV space turned by `turn` of a full circle, in [-0.5, 0.5].

    Raises:
        InputError: images that are not RGB.
    """
    if images.shape[1] != 3:
        raise InputError(f"expected RGB images, which have a hue, got {tuple(images.shape)}")
    high, low = images.amax(1), images.amin(1)  # (n, h, w)
    chroma = high - low
    r, g, b = images.unbind(1)
    safe = chroma.clamp_min(1e-12)
    sector = torch.where(high == r, (g - b) / safe, torch.where(high == g, 2 + (b - r) / safe, 4 + (r - g) / safe))
    sector = sector + 6 * _per_image(turn, images)[:, 0]
    # Each channel is a trapezoid over the hue circle, shifted by a third of a turn per channel.
    phase = torch.stack([(sector + k) % 6 for k in (5, 3, 1)], 1)  # (n, 3, h, w)
    return high.unsqueeze(1) - chroma.unsqueeze(1) * torch.minimum(phase, 4 - phase).clamp(0, 1)


def solarize(images: Float[Tensor, "n 3 h w"], threshold: float | Tensor = 0.5) -> Float[Tensor, "n 3 h w"]:
    """Images with every value from `threshold` on inverted (0 inverts all of them, above 1 leaves them alone)."""
    return torch.where(images >= _per_image(threshold, images), 1 - images, images)


def rotate(images: Float[Tensor, "n 3 h w"], degrees: float | Tensor) -> Float[Tensor, "n 3 h w"]:
    """Images turned counter-clockwise about their middle, bilinearly; corners that come into sight are reflections."""
    return sample(images, rotation_grid(images, degrees))


def rotation_grid(images: Float[Tensor, "n c h w"], degrees: float | Tensor) -> Float[Tensor, "n h w 2"]:
    """Where `rotate` takes each pixel from: x, y in [-1, 1] from edge to edge of the image, beyond where there was none."""
    n, _, h, w = images.shape
    angle = torch.deg2rad(_per_image(degrees, images).view(n))
    theta = images.new_zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = angle.cos()
    theta[:, 0, 1], theta[:, 1, 0] = -angle.sin() * h / w, angle.sin() * w / h  # the grid's units differ on sides that do
    return F.affine_grid(theta, [n, 3, h, w], align_corners=False)


def sample(images: Float[Tensor, "n c h w"], grid: Float[Tensor, "n i j 2"], *, outside: str = "reflection") -> Float[Tensor, "n c i j"]:
    """Images, masks or maps taken bilinearly where the grid says; `outside` the image are reflections, "zeros" or the "border"."""
    return F.grid_sample(images, grid, padding_mode=outside, align_corners=False)


def mirror(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """Images with left and right exchanged."""
    return images.flip(3)


def noise(images: Float[Tensor, "n 3 h w"], sigma: float | Tensor, generator: Generator | None = None) -> Float[Tensor, "n 3 h w"]:
    """Images with Gaussian noise of standard deviation `sigma` added to each pixel and channel; generator None is seed 0."""
    drawn = torch.randn(images.shape, generator=generator or Generator().manual_seed(0))
    return (images + drawn.to(images) * _per_image(sigma, images)).clamp(0, 1)


def jpeg(images: Float[Tensor, "n 3 h w"], quality: float | Tensor) -> Float[Tensor, "n 3 h w"]:
    """Images after JPEG compression at `quality` from 1 to 100 (Pillow, colours at half resolution); no gradient passes.

    Raises:
        InputError: images that are neither RGB nor grey.
    """
    if images.shape[1] not in (1, 3):
        raise InputError(f"expected RGB or grey images, which JPEG holds, got {tuple(images.shape)}")
    qualities = _per_image(quality, images).flatten().round().int().tolist()
    pixels = (images.detach().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu()
    out = torch.stack([_compressed(image, q) for image, q in zip(pixels, qualities, strict=True)])
    return out.permute(0, 3, 1, 2).to(images) / 255


def _compressed(pixels: Tensor, quality: int) -> Tensor:
    import numpy as np
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(2).numpy()).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return torch.from_numpy(np.array(Image.open(buffer))).view(pixels.shape)


def gaussian_blur(images: Float[Tensor, "n 3 h w"], sigma: float | Tensor, kernel: int) -> Float[Tensor, "n 3 h w"]:
    """Images blurred by a `kernel` x `kernel` Gaussian of `sigma` pixels, edges reflected; sigma 0 leaves them alone.

    Each image has its own sigma at the price of two small matrix products, because a separable blur with reflected
    edges is a banded (h, h) matrix from the left and a (w, w) matrix from the right.
    """
    n, _, h, w = images.shape
    sigmas = _per_image(sigma, images).view(n)
    rows, columns = _blur_matrix(sigmas, h, kernel), _blur_matrix(sigmas, w, kernel)
    return (rows.unsqueeze(1) @ images @ columns.mT.unsqueeze(1)).clamp(0, 1)


def _blur_matrix(sigmas: Tensor, side: int, kernel: int) -> Tensor:
    """(n, side, side) matrices that blur along one axis."""
    if kernel % 2 == 0 or kernel // 2 >= side:
        raise ValueError(f"expected an odd blur kernel under {2 * side}, got {kernel}")
    offsets = torch.arange(kernel, device=sigmas.device) - kernel // 2
    taps = torch.exp(-0.5 * (offsets / sigmas.clamp_min(1e-6).unsqueeze(1)) ** 2)  # (n, kernel)
    taps = taps / taps.sum(1, keepdim=True)
    source = torch.arange(side, device=sigmas.device).unsqueeze(1) + offsets  # (side, kernel)
    source = (side - 1) - ((side - 1) - source.abs()).abs()  # reflected at both edges
    matrix = taps.new_zeros(len(sigmas), side, side)
    return matrix.scatter_add_(2, source.expand(len(sigmas), -1, -1), taps.unsqueeze(1).expand(-1, side, -1).contiguous())


def resized_crop(images: Float[Tensor, "n 3 h w"], boxes: Float[Tensor, "n 4"], size: int) -> Float[Tensor, "n 3 s s"]:
    """The boxes (left, top, width, height, in fractions of the image) bilinearly resampled to `size` x `size` pixels.

    A negative width mirrors the box. No low-pass filter is applied: shrink large images before (an antialiased resize).
    """
    return sample(images, crop_grid(images, boxes, size))


def crop_grid(images: Float[Tensor, "n c h w"], boxes: Float[Tensor, "n 4"], size: int | tuple[int, int]) -> Float[Tensor, "n i j 2"]:
    """Where `resized_crop` takes each pixel from, as `rotation_grid` says it; `size` is a side, or height and width."""
    shape = (size, size) if isinstance(size, int) else size
    left, top, width, height = boxes.to(images).unbind(1)
    theta = images.new_zeros(len(images), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = width, height
    theta[:, 0, 2], theta[:, 1, 2] = 2 * left + width.abs() - 1, 2 * top + height - 1
    return F.affine_grid(theta, [len(images), 3, *shape], align_corners=False)
