"""Perturbation methods: hide parts of the images and watch the score."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from xaicl_lib.drafts import FEW, is_draft, proven
from xaicl_lib.errors import InputError, require
from xaicl_lib.methods.registry import methods
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.progress import progress
from xaicl_lib.scores import Score, ask, cosine

PAPER_SIDE, PAPER_WINDOW, PAPER_STRIDE = 224, 64, 8  # Sec. III-B1
GRIDS = ("registered", "published")


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
    cheap={"stride": 8},  # on images of 24 pixels, three places along a side
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
    grid: str = "registered",
    precision: str = "exact",
) -> Explanation:
    r"""Drop of the score when a window of one image is hidden while the other stays whole.

    Implements Sec. III-B1 of :cite:t:`sammani2023visualizing`: with :math:`x_a^p` the image whose window at place p is
    zero, :math:`M_a[p] = s(x_a, x_b) - s(x_a^p, x_b)`, and the same for side b. Zero is zero in the model's input
    space: the mean colour for normalised models, black for those that take [0, 1] pixels.

    The first window's centre lies half a window within the image, and so do those of the last row and column. A map that is laid over the
    image has to know: with `grid="registered"` the image is divided into cells of a stride, and a cell has the drop of the window that is
    centred on it, between centres in proportion, beyond the outermost that of the outermost.

    Differs: the paper gives window 64 and stride 8 at 224 pixels; other sizes scale both by the shorter side. The published program
    stretches the places over the whole image, so that what it found at the border is drawn up to 28 pixels of 224 further out;
    `grid="published"` does so, with a cell per place.

    Args:
        model: any model.
        pair: n pairs; without side b for one-sided scores.
        score: what is explained.
        chunk: perturbed images in flight; the only memory that the method takes.
        window: side of the square in pixels.
        stride: step between places in pixels. Pixels right and below of the last full window are never hidden.
        grid: "registered", or "published", see above.
        precision: "exact", or "draft": hidden images are encoded in bfloat16 where that is faster, and places that may be largest or
            smallest once more exactly, see `xaicl_lib.drafts`.

    Returns:
        Maps in units of the score, row by row: side / stride cells along a side, rounded, or one per place, (side - window) // stride + 1.
        Positive where hiding lowers the score. Of a draft, `error_a` and `error_b` say what each cell may be off by.

    Raises:
        InputError: a window that does not fit into the image, a stride under 1, or a grid that there is not.
    """
    draft = is_draft(precision)
    require("grid", GRIDS, grid)
    sides = [model.normalize(pixels) for pixels in pair.sides]
    whole = [model.encode(pixels, name, chunk) for pixels, name in zip(pair.sides, "ab", strict=False)]
    score_whole = ask(score, *whole)  # (n,)

    def hide(k: int, x: Tensor) -> tuple[Tensor, Tensor | None]:
        def rescore(images: Tensor, item: Tensor, rough: bool) -> Tensor:
            z = model.encode_inputs([images], "ab"[k], draft=rough)
            return ask(score, *[z if j == k else other[item] for j, other in enumerate(whole)])

        side = min(x.shape[2:])
        width = max(1, round(side * PAPER_WINDOW / PAPER_SIDE)) if window is None else window
        step = max(1, round(side * PAPER_STRIDE / PAPER_SIDE)) if stride is None else stride
        scores, error = _occluded(x, width, step, chunk or model.chunk(x[0, 0].numel()), rescore, draft)
        drops = score_whole.view(-1, 1, 1) - scores
        if grid == "published":
            return drops, error
        laid = partial(_laid_out, sides=x.shape[2:], window=width, stride=step)
        return laid(drops), None if error is None else laid(error)

    maps = [hide(k, x) for k, x in enumerate(sides)]
    (map_a, error_a), (map_b, error_b) = maps[0], maps[1] if len(maps) > 1 else (None, None)
    return Explanation(map_a, map_b, score_whole, error_a=error_a, error_b=error_b)


@methods.add(
    paper="sammani2023visualizing",
    where="Sec. III-B2",
    family="perturbation",
    needs="embeddings",
    cost="1 forward per mask of either side, + 2",
    signed=False,
    symmetric=False,  # each side draws its own rectangles
    one_sided=False,
    gradient=False,
    cheap={"masks": 8},
)
@torch.no_grad()
def pairwise_occlusion(
    model: PairModel,
    pair: Pair,
    *,
    score: Score = cosine,
    generator: Generator | None = None,
    chunk: int | None = None,
    masks: int = 100,
    scale: tuple = (0.1, 0.3),
    ratio: tuple = (1.0, 1.5),
    temperature: float | None = None,
) -> Explanation:
    r"""Where random rectangles, hidden in both images at once, make the score drop.

    Implements Sec. III-B2 of :cite:t:`sammani2023visualizing`: for draw n, a rectangle of either image is set to zero,
    :math:`d_n = s - s_n` and :math:`w = \mathrm{softmax}(d)`. The weight :math:`w_n` is added to the rectangle of the image
    whose embedding has the *smaller* norm in that draw, for it probably lost its strongest evidence; the other image gets
    nothing from that draw.

    Drops of a cosine are small, so that this softmax is nearly flat: every draw counts almost alike, and the maps are nearly how many
    rectangles cover a pixel on the side whose embedding shrank more. With a `temperature` T, drops are standardised over the draws first:
    :math:`w = \mathrm{softmax}((d - \bar d) / (T \, \mathrm{sd}(d)))`, whatever their scale.

    Differs: the paper takes the softmax of the scores; here it is that of the drops, for a score is high where nothing of importance was
    hidden. The published code finds the hidden area by looking for pixels whose channels add up to zero, so that black pixels of the photo
    count as hidden; here the rectangles themselves are kept. They are drawn once and used for every pair. `temperature` is ours.

    Args:
        model: any model.
        pair: n pairs.
        score: what is explained.
        generator: of the rectangles.
        chunk: perturbed images in flight.
        masks: draws.
        scale: smallest and largest area of a rectangle, as a share of the image.
        ratio: smallest and largest height over width, drawn evenly on the logarithm.
        temperature: None for the drops as they are, or what standardised drops are divided by: the smaller, the fewer draws count.

    Returns:
        Maps of one value per pixel, >= 0, without unit; both maps share weights that sum to 1 over the draws.

    Raises:
        InputError: no masks, a scale or ratio that is no range, or a temperature that is not above 0.
    """
    _check_rectangles(masks, scale, ratio)
    if temperature is not None and not temperature > 0:
        raise InputError(f"expected a temperature above 0, or None, got {temperature!r}")
    generator = generator or Generator().manual_seed(0)
    whole, hidden, rectangles = [], [], []
    for pixels, side in zip(pair.sides, "ab", strict=True):
        x = model.normalize(pixels)
        rows, columns = (inside.to(x.device) for inside in _rectangles(masks, scale, ratio, x.shape[2], x.shape[3], generator))
        images = chunk or model.chunk(x[0, 0].numel())
        whole.append(model.encode(pixels, side, images))
        hidden.append(model.encode_inputs(_hidden(x, rows, columns, images), side))  # (n masks, d)
        rectangles.append((rows.to(x), columns.to(x)))
    s = ask(score, *whole)
    weights = _weights(s.unsqueeze(1) - ask(score, *hidden).view(-1, masks), temperature)
    norm_a, norm_b = (z.norm(dim=1).view(-1, masks) for z in hidden)
    maps = [
        torch.einsum("nk,kh,kw->nhw", weights * smaller, rows, columns)
        for smaller, (rows, columns) in zip((norm_a <= norm_b, norm_a > norm_b), rectangles, strict=True)
    ]
    return Explanation(maps[0], maps[1], s)


def _weights(drops: Float[Tensor, "n masks"], temperature: float | None) -> Float[Tensor, "n masks"]:
    """What each draw counts; with equal drops, all alike."""
    if temperature is None:
        return drops.softmax(1)
    spread = drops.std(1, keepdim=True, correction=0)
    return ((drops - drops.mean(1, keepdim=True)) / (temperature * spread).clamp_min(torch.finfo(drops.dtype).tiny)).softmax(1)


def _check_rectangles(masks: int, scale: tuple, ratio: tuple) -> None:
    if masks < 1:
        raise InputError(f"expected at least one mask, got {masks}")
    if not all(isinstance(v, int | float) for v in (*scale, *ratio)):
        raise InputError(f"expected scale and ratio as pairs of numbers, got {scale} and {ratio}")
    if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
        raise InputError(f"expected scale as (smallest, largest) share in (0, 1], got {scale}")
    if len(ratio) != 2 or not 0 < ratio[0] <= ratio[1]:
        raise InputError(f"expected ratio as (smallest, largest) > 0, got {ratio}")


def _rectangles(masks: int, scale: tuple, ratio: tuple, h: int, w: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Random rectangles as which rows (masks, h) and which columns (masks, w) they hold, boolean."""
    area = torch.empty(masks).uniform_(*scale, generator=generator) * h * w
    shape = torch.empty(masks).uniform_(math.log(ratio[0]), math.log(ratio[1]), generator=generator).exp()
    lengths = (area * shape).sqrt().round().clamp(1, h), (area / shape).sqrt().round().clamp(1, w)
    starts = [(torch.rand(masks, generator=generator) * (side - length + 1)).floor() for side, length in zip((h, w), lengths, strict=True)]
    rows, columns = (
        (torch.arange(side) >= start.unsqueeze(1)) & (torch.arange(side) < (start + length).unsqueeze(1))
        for side, start, length in zip((h, w), starts, lengths, strict=True)
    )
    return rows, columns


def _hidden(x: Tensor, rows: Tensor, columns: Tensor, chunk: int) -> Iterator[Float[Tensor, "k c h w"]]:
    """Every image with every rectangle hidden, image by image, in portions."""
    masks = len(rows)
    for part in progress(torch.arange(len(x) * masks, device=x.device).split(chunk), "hiding rectangles"):
        item, k = part // masks, part % masks
        yield x[item].masked_fill_((rows[k].unsqueeze(2) & columns[k].unsqueeze(1)).unsqueeze(1), 0)


def _occluded(
    x: Float[Tensor, "n c h w"], window: int, stride: int, chunk: int, rescore: Callable[[Tensor, Tensor, bool], Tensor], draft: bool
) -> tuple[Float[Tensor, "n i j"], Float[Tensor, "n i j"] | None]:
    """The score of every image with its window hidden at every place, and of drafts what it may be off by.

    `rescore(images, index of each, whether a draft)` gives (chunk,).
    """
    n, _, h, w = x.shape
    if not 1 <= window <= min(h, w) or stride < 1:
        raise InputError(f"expected a window of 1 to {min(h, w)} pixels and a stride of at least 1, got window={window}, stride={stride}")
    rows, columns = (torch.arange(0, side - window + 1, stride, device=x.device) for side in (h, w))
    shape = n, len(rows), len(columns)

    def at(items: Tensor, places: Tensor, rough: bool) -> Tensor:
        items, places, found = items.to(x.device), places.to(x.device), []
        for item, place in progress(list(zip(items.split(chunk), places.split(chunk), strict=True)), "hiding windows"):
            in_row = _inside(rows[place // len(columns)], window, h).view(-1, 1, h, 1)
            in_column = _inside(columns[place % len(columns)], window, w).view(-1, 1, 1, w)
            found.append(rescore(x[item].masked_fill_(in_row & in_column, 0), item, rough))
        return torch.cat(found)

    count = shape[1] * shape[2]
    if draft and count >= FEW:
        scores, error = proven(n, count, at)
        return scores.view(shape), error.view(shape)
    scores = at(torch.arange(n).repeat_interleave(count), torch.arange(count).repeat(n), False).view(shape)
    return scores, torch.zeros_like(scores) if draft else None


def _laid_out(places: Float[Tensor, "n i j"], sides: Sequence[int], window: int, stride: int) -> Float[Tensor, "n r c"]:
    """Values of windows as those of cells of a stride, each where its window is centred."""
    rows, columns = (_shares(side, window, stride, count, places) for side, count in zip(sides, places.shape[1:], strict=True))
    return torch.einsum("ri,nij,cj->nrc", rows, places, columns)


def _shares(side: int, window: int, stride: int, places: int, like: Tensor) -> Float[Tensor, "cells places"]:
    """What each place counts in each cell along a side: linear between the centres of two windows, none beyond the outermost."""
    cells = max(1, round(side / stride))
    at = torch.arange(places, dtype=torch.promote_types(like.dtype, torch.float32))
    centres = (torch.arange(cells).to(at) + 0.5) * side / cells
    wanted = ((centres - window / 2) / stride).clamp(0, places - 1)  # in places
    return (1 - (wanted.unsqueeze(1) - at).abs()).clamp_min(0).to(like)


def _inside(start: Tensor, length: int, side: int) -> Tensor:
    """(k, side) boolean: which pixels of an axis lie in [start, start + length)."""
    at = torch.arange(side, device=start.device)
    return (at >= start.unsqueeze(1)) & (at < start.unsqueeze(1) + length)
