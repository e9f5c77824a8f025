"""RISE: what random soft masks leave of the score, averaged over the masks that show a pixel."""

import functools
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from xaicl_lib.devices import widest
from xaicl_lib.draws import own_generator
from xaicl_lib.errors import InputError
from xaicl_lib.methods.registry import methods
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.progress import progress
from xaicl_lib.scores import Score, ask, cosine


@methods.add(
    paper="petsiuk2018rise",
    where="Sec. 3",
    family="perturbation",
    needs="embeddings",
    cost="1 forward per mask of either side (4,000), + 2",
    signed=True,
    cheap={"masks": 64},
)
@torch.no_grad()
def rise(
    model: PairModel,
    pair: Pair,
    *,
    score: Score = cosine,
    generator: Generator | None = None,
    chunk: int | None = None,
    masks: int = 2000,
    cells: int = 7,
    keep: float = 0.5,
    centred: bool = False,
) -> Explanation:
    r"""Mean score of the image under random soft masks that show the pixel, while the other image stays whole.

    Implements Eq. 6 of :cite:t:`petsiuk2018rise` for either side: with masks :math:`m_k`, drawn as small grids of ones (with probability
    p = `keep`) and zeros, enlarged bilinearly and moved by a random part of a cell,
    :math:`M_a[\lambda] = \frac{1}{p K} \sum_k s(x_a \odot m_k, x_b)\, m_k[\lambda]`, in the model's input space, where zeros are what
    occlusion hides with.

    `error_a` and `error_b` are the standard errors of these means over the masks, pixel by pixel. The mean score :math:`\bar s` is in
    every pixel, with the chance by which pixels were shown more or less often than p; `centred` takes :math:`s - \bar s` instead: the same
    map up to a constant, with much smaller errors where masks hardly change the score.

    Differs: cells are image side / grid side pixels, rounded up, as in the published code, so that a moved mask always covers the image;
    longer sides have more cells. Every image draws masks of its own, from the generator's seed and its pixels.

    Args:
        pair: n pairs; without side b for one-sided scores.
        masks: K, at least 2.
        cells: of the grid along the shorter side of the image.
        keep: p, the chance of a cell to be shown.
        centred: take the mean over the masks away from the scores.

    Returns:
        Maps of one value per pixel, in units of the score, with `error_a` and `error_b`.

    Raises:
        InputError: fewer than two masks or one cell, more cells than pixels, or a chance outside (0, 1).
    """
    if masks < 2 or cells < 1 or not 0 < keep < 1:
        raise InputError(f"expected at least 2 masks and 1 cell and keep in (0, 1), got masks={masks}, cells={cells}, keep={keep}")
    seed = generator.initial_seed() if generator else 0
    sides = [model.normalize(pixels) for pixels in pair.sides]
    whole = [model.encode(pixels, side, chunk) for pixels, side in zip(pair.sides, "ab", strict=False)]

    def rescore(k: int, item: int, images: Tensor) -> Tensor:
        z = [model.encode_inputs([images], "ab"[k]) if j == k else other[item].expand(len(images), -1) for j, other in enumerate(whole)]
        return ask(score, *z)

    maps: list[tuple[Tensor, Tensor]] = []
    for k, (x, pixels) in enumerate(zip(sides, pair.drawn_for, strict=True)):
        made = []
        for item in progress(range(len(pair)), "masking"):
            drawn = _masks(x[item], masks, cells, keep, own_generator(pixels[item], seed), chunk or model.chunk(x[0, 0].numel()))
            made.append(_estimate(x[item], drawn, keep, centred, functools.partial(rescore, k, item)))
        maps.append((torch.stack([m for m, _ in made]), torch.stack([e for _, e in made])))
    (map_a, error_a), (map_b, error_b) = maps[0], maps[1] if len(maps) > 1 else (None, None)
    return Explanation(map_a, map_b, ask(score, *whole), error_a=error_a, error_b=error_b)


def _estimate(
    x: Float[Tensor, "c h w"], drawn: Iterator[Tensor], keep: float, centred: bool, rescore: Callable[[Tensor], Tensor]
) -> tuple[Float[Tensor, "h w"], Float[Tensor, "h w"]]:
    """Mean over the masks of (s - c) m / p at each pixel and its standard error, c the mean score if centred and else 0.

    A centred mean is a covariance, whose error is that of (s - c) (m - mean of m) / p. Sums of m and m^2, plain and times s and s^2, in
    the device's highest precision, give all of it without holding a mask.
    """
    wide = widest(x.device)
    sums = x.new_zeros(2, 3, *x.shape[1:], dtype=wide)  # of m and m^2, times 1, s and s^2
    scores = []
    for part in drawn:  # (k, h, w)
        s, m = rescore(x * part.unsqueeze(1)).to(wide), part.to(wide).flatten(1)
        times = torch.stack([torch.ones_like(s), s, s * s])
        sums += torch.stack([times @ m, times @ (m * m)]).view_as(sums)
        scores.append(s)
    s = torch.cat(scores)
    (m, sm, ssm), (mm, smm, ssmm) = sums / len(s)
    c, shown = (s.mean(), m) if centred else (0.0, 0.0)
    mean = (sm - c * m) / keep
    square = ssmm - 2 * c * smm + c * c * mm - 2 * shown * (ssm - 2 * c * sm + c * c * m) + shown * shown * (s - c).square().mean()
    variance = (square / keep**2 - mean * mean).clamp_min(0)
    return mean.to(x), (variance / (len(s) - 1)).sqrt().to(x)


def _masks(
    x: Float[Tensor, "c h w"], count: int, cells: int, keep: float, generator: Generator, chunk: int
) -> Iterator[Float[Tensor, "k h w"]]:
    """Soft masks in portions; their random numbers are drawn at once, so that portions do not matter."""
    h, w = x.shape[1:]
    if cells > min(h, w):
        raise InputError(f"expected at most one cell a pixel, got {cells} cells for {min(h, w)} pixels")
    shape = [round(cells * side / min(h, w)) for side in (h, w)]
    u = torch.rand(count, shape[0] * shape[1] + 2, generator=generator)
    grids = (u[:, :-2] < keep).to(x).view(count, *shape)
    axes = [_enlarging(side, k, move, x) for side, k, move in zip((h, w), shape, u[:, -2:].unbind(1), strict=True)]
    for part in torch.arange(count, device=x.device).split(chunk):
        rows, columns = (weights[start[part].unsqueeze(1) + pixels] for weights, start, pixels in axes)  # (k, h, i), (k, w, j)
        yield rows @ grids[part] @ columns.mT


def _enlarging(side: int, cells: int, move: Float[Tensor, " k"], x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Bilinear weights (l, cells) along an axis a cell longer than the image, where each mask starts in them, and the image's pixels."""
    cell = -(-side // cells)
    grid = torch.eye(cells, device=x.device, dtype=x.dtype).unsqueeze(0)
    weights = F.interpolate(grid, (cells + 1) * cell, mode="linear", align_corners=False)[0].T
    return weights, (move * cell).long().to(x.device), torch.arange(side, device=x.device)
