"""Controls: maps that know nothing of the model's similarity. A method that they equal explains nothing."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from xaicl_lib.augment import luma
from xaicl_lib.draws import own_generator
from xaicl_lib.errors import InputError
from xaicl_lib.methods.registry import methods
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.scores import Score, ask, cosine

CONTROL = {"family": "control", "needs": "nothing", "cost": "2 forwards, for the score alone", "paper": "adebayo2018sanity"}


@methods.add(**CONTROL, where="a chance level", symmetric=False)  # sides draw in turn
@torch.no_grad()
def random_map(
    model: PairModel, pair: Pair, *, score: Score = cosine, generator: Generator | None = None, chunk: int | None = None, cells: int = 7
) -> Explanation:
    """Uniform random numbers: what any metric gives for no knowledge at all.

    Args:
        generator: of the numbers. Each pair has its own, drawn from the generator's seed and the pixels, so that the average over pairs is
            that of many random maps and still no pair depends on the others.
        cells: cells along the shorter side of an image.

    Returns:
        Maps of numbers in [0, 1), without unit.

    Raises:
        InputError: fewer than one cell.
    """
    if cells < 1:
        raise InputError(f"expected at least one cell, got {cells}")
    seed = generator.initial_seed() if generator else 0
    z_a, z_b = _embeddings(model, pair, chunk)
    maps = [torch.stack([_noise(image, cells, seed) for image in side]).to(z_a) for side in pair.sides]
    return Explanation(maps[0], maps[1] if pair.b is not None else None, ask(score, z_a, z_b))


def _noise(image: Float[Tensor, "c h w"], cells: int, seed: int) -> Float[Tensor, "i j"]:
    generator = own_generator(image, seed)
    shape = [round(cells * length / min(image.shape[1:])) for length in image.shape[1:]]
    return torch.rand(shape, generator=generator)


@methods.add(**CONTROL, where="Sec. 4.2")
@torch.no_grad()
def edges(model: PairModel, pair: Pair, *, score: Score = cosine, chunk: int | None = None) -> Explanation:
    r"""Strength of the edges in either image: vivid maps that never saw the model.

    The magnitude of Sobel's gradient of the luma, the control of :cite:t:`adebayo2018sanity`.

    Returns:
        Maps of one value per pixel, >= 0, in units of luma per pixel.
    """
    z_a, z_b = _embeddings(model, pair, chunk)
    map_b = None if pair.b is None else _sobel(pair.b.to(z_a))
    return Explanation(_sobel(pair.a.to(z_a)), map_b, ask(score, z_a, z_b))


def _sobel(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
    across = images.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    kernels = torch.stack([across, across.T]).unsqueeze(1)  # (2, 1, 3, 3)
    return F.conv2d(F.pad(luma(images), (1, 1, 1, 1), mode="replicate"), kernels).norm(dim=1)


def _embeddings(model: PairModel, pair: Pair, chunk: int | None) -> tuple[Tensor, Tensor | None]:
    return model.encode(pair.a, "a", chunk), None if pair.b is None else model.encode(pair.b, "b", chunk)
