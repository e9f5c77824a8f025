"""Perturbation methods: hide parts of the images and watch the score."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.progress import progress
from xaicl_lib.registry import methods
from xaicl_lib.scores import Score, cosine

PAPER_SIDE, PAPER_WINDOW, PAPER_STRIDE = 224, 64, 8  # Sec. III-B1


@methods.add(
    paper="sammani2023visualizing",
    where="Sec. III-B1",
    family="perturbation",
    needs="embeddings",
    cost="1 forward per window place of either side, + 2",
    signed=True,
    symmetric=True,
    one_sided=True,
    gradient=False,
)
@torch.no_grad()
def conditional_occlusion(
    model: PairModel,
    pair: Pair,
    *,
    score: Score = cosine,
    chunk: int | None = None,
    window: int | None = None,
    stride: int | None = None,
) -> Explanation:
    r"""Drop of the score when a window of one image is hidden while the other stays whole.

    Implements Sec. III-B1 of :cite:t:`sammani2023visualizing`: with :math:`x_a^p` the image whose window at place p is
    zero, :math:`M_a[p] = s(x_a, x_b) - s(x_a^p, x_b)`, and the same for side b. Zero is zero in the model's input
    space: the mean colour for normalised models, black for those that take [0, 1] pixels.

    Differs: the paper gives window 64 and stride 8 at 224 pixels; other sizes scale both by the shorter side.

    Args:
        model: any model.
        pair: n pairs; without side b for one-sided scores.
        score: what is explained.
        chunk: perturbed images in flight; the only memory that the method takes.
        window: side of the square in pixels.
        stride: step between places in pixels. Pixels right and below of the last full window are never hidden.

    Returns:
        Maps in units of the score, one cell per place, row by row: (side - window) // stride + 1 cells along a side.
        Positive where hiding lowers the score.

    Raises:
        InputError: a window that does not fit into the image, or a stride under 1.
    """
    x_a = model.normalize(pair.a)
    x_b = None if pair.b is None else model.normalize(pair.b)
    z_a = _encode(model.embed_a, x_a, chunk or model.chunk(x_a[0, 0].numel()))
    z_b = None if x_b is None else _encode(model.embed_b, x_b, chunk or model.chunk(x_b[0, 0].numel()))
    whole = score(z_a, z_b)  # (n,)

    def hide(x: Tensor, rescore: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        side = min(x.shape[2:])
        width = max(1, round(side * PAPER_WINDOW / PAPER_SIDE)) if window is None else window
        step = max(1, round(side * PAPER_STRIDE / PAPER_SIDE)) if stride is None else stride
        scores = _occluded(x, width, step, chunk or model.chunk(x[0, 0].numel()), rescore)
        return whole.view(-1, 1, 1) - scores

    map_a = hide(x_a, lambda x, item: score(model.embed_a(x), None if z_b is None else z_b[item]))
    map_b = None if x_b is None else hide(x_b, lambda x, item: score(z_a[item], model.embed_b(x)))
    return Explanation(map_a, map_b, whole)


def _encode(embed: Callable[[Tensor], Tensor], x: Float[Tensor, "n 3 h w"], chunk: int) -> Float[Tensor, "n d"]:
    return torch.cat([embed(part) for part in x.split(chunk)])


def _occluded(
    x: Float[Tensor, "n 3 h w"], window: int, stride: int, chunk: int, rescore: Callable[[Tensor, Tensor], Tensor]
) -> Float[Tensor, "n i j"]:
    """The score of every image with its window hidden at every place; `rescore(images, index of each)` gives (chunk,)."""
    n, _, h, w = x.shape
    if not 1 <= window <= min(h, w) or stride < 1:
        raise InputError(f"expected a window of 1 to {min(h, w)} pixels and a stride of at least 1, got window={window}, stride={stride}")
    rows, columns = (torch.arange(0, side - window + 1, stride, device=x.device) for side in (h, w))
    places = len(rows) * len(columns)
    scores = x.new_empty(n * places)
    for part in progress(torch.arange(n * places, device=x.device).split(chunk), "hiding windows"):
        item, place = part // places, part % places
        in_row = _inside(rows[place // len(columns)], window, h).view(-1, 1, h, 1)
        in_column = _inside(columns[place % len(columns)], window, w).view(-1, 1, 1, w)
        scores[part] = rescore(x[item].masked_fill_(in_row & in_column, 0), item)
    return scores.view(n, len(rows), len(columns))


def _inside(start: Tensor, length: int, side: int) -> Tensor:
    """(k, side) boolean: which pixels of an axis lie in [start, start + length)."""
    at = torch.arange(side, device=start.device)
    return (at >= start.unsqueeze(1)) & (at < start.unsqueeze(1) + length)
