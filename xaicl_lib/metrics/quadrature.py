"""Areas under curves whose points are dear: from all points, or from as few as a bound on the error allows."""

from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xaicl_lib.metrics.registry import Curves

FIRST = 8  # steps between the points that every curve starts with
MARGIN = 3.5  # standard deviations of the error that the bound covers
CALM = 0.2  # share of the whole curve's roughness that its calmest stretch is believed to have
AT_A_TIME = 0.1  # share of the intervals that are halved before the bound is looked at again


class _Pointwise(Protocol):
    """What a sweep offers: n pairs with `k + 1` points each, which can be asked for in any order."""

    @property
    def shape(self) -> tuple[int, int]:
        """Pairs and points of a curve."""

    def points(self, item: Int[Tensor, " m"], k: Int[Tensor, " m"]) -> tuple[Float[Tensor, "m c"], Int[Tensor, " m"]]:
        """Scores of pair `item` at point `k`, one simultaneous and one conditional for each side; and how many images each took."""


def adaptive(sweep: _Pointwise, tolerance: float) -> Curves:
    r"""The curves of a sweep from few of their points, so that the areas are those of all points up to `tolerance`; from all if it is 0.

    Between known points a curve is taken for a Brownian bridge: over an interval of L steps whose variance per step is
    :math:`\sigma^2`, the straight line misses its area by :math:`\sigma \sqrt{(L^3 - L) / 12}` (one standard deviation).
    :math:`\sigma^2` is read off nearby, from how far known points lie from the line between their neighbours, and never
    taken for less than a fifth of the whole curve's. The worst intervals are halved until 3.5 standard deviations of
    the whole area are within the tolerance; each pair gets the points that it needs. Points left out are drawn on the straight line.

    Measured, not proven: see `benchmarks/adaptive.py` for how often areas are within the bound, and for how many points.

    Args:
        tolerance: of each area, in units of the score.

    Returns:
        Curves of all points; `error` holds the bound, at most `tolerance` (0 if every point was needed).
    """
    n, count = sweep.shape
    if not tolerance:
        whole, images = sweep.points(torch.arange(n).repeat_interleave(count), torch.arange(count).repeat(n))
        nothing = whole.new_zeros(n)
        return _curves(whole.view(n, count, -1).mT, images.view(n, count).sum(1), nothing, nothing)
    asked = torch.zeros(n, count, dtype=torch.bool)
    todo = asked.clone()
    todo[:, torch.linspace(0, count - 1, max(3, (count - 1) // FIRST + 1)).round().long()] = True
    scores, encoded = None, torch.zeros(n, dtype=torch.long)
    while todo.any():
        item, k = todo.nonzero(as_tuple=True)
        new, images = sweep.points(item, k)
        if scores is None:
            scores = new.new_zeros(n, count, new.shape[1])
        scores[item, k] = new
        encoded.index_add_(0, item, images.cpu())
        asked |= todo
        todo = torch.stack([_where_to_look(s, known, tolerance) for s, known in zip(scores.cpu(), asked, strict=True)])
    assert scores is not None
    filled = torch.stack([_fill(s, known) for s, known in zip(scores, asked, strict=True)])  # (n, k + 1, c)
    bound = torch.stack([_bound(_two(s), known) for s, known in zip(scores.cpu(), asked, strict=True)]).to(scores)
    return _curves(filled.mT, encoded, bound[:, 0], bound[:, 1])


def _curves(scores: Float[Tensor, "n c k"], encoded: Tensor, simultaneous: Tensor, conditional: Tensor) -> Curves:
    return Curves({"S": scores[:, :1], "C": scores[:, 1:]}, encoded, {"S": simultaneous, "C": conditional})


def _two(scores: Float[Tensor, "k c"]) -> Float[Tensor, "k 2"]:
    """The two curves whose areas are asked for: the simultaneous one, and the mean of the conditional ones."""
    return torch.stack([scores[:, 0], scores[:, 1:].mean(1)], 1)


def _where_to_look(scores: Float[Tensor, "k c"], known: Tensor, tolerance: float) -> Tensor:
    """The points of one pair to ask for next, (k) boolean; none once the bound is within the tolerance."""
    next_points = torch.zeros_like(known)
    curves, at = _two(scores), known.nonzero()[:, 0]
    if (_bound(curves, known) <= tolerance).all():
        return next_points
    worst = _variances(curves, at).amax(1)  # (intervals,)
    count = max(2, round(AT_A_TIME * len(at)))
    halved = worst.argsort(descending=True)[:count]
    next_points[((at[:-1] + at[1:]) // 2)[halved[worst[halved] > 0]]] = True
    return next_points


def _bound(curves: Float[Tensor, "k 2"], known: Tensor) -> Float[Tensor, " 2"]:
    return MARGIN * _variances(curves, known.nonzero()[:, 0]).sum(0).sqrt()


def _variances(curves: Float[Tensor, "k 2"], at: Int[Tensor, " m"]) -> Float[Tensor, "i 2"]:
    """Variance of the area that the straight line over each interval between known points misses."""
    steps = len(curves) - 1
    y, length = curves[at].double(), at.diff().double()
    if len(length) == 1:
        return torch.zeros_like(y[:1])
    left, right = length[:-1].unsqueeze(1), length[1:].unsqueeze(1)
    line = (y[:-2] * right + y[2:] * left) / (left + right)
    rough = (y[1:-1] - line) ** 2 * (left + right) / (left * right)  # variance per step around each inner point
    whole = (rough * (left + right)).sum(0) / (left + right).sum()
    total = torch.cat([torch.zeros_like(rough[:1]), rough.cumsum(0)])
    i = torch.arange(len(length))
    first, last = (i - 2).clamp_min(0), (i + 2).clamp_max(len(rough))  # the four inner points around an interval
    nearby = (total[last] - total[first]) / (last - first).unsqueeze(1)
    density = (1 - CALM) * nearby + CALM * whole
    return density * ((length**3 - length) / 12).unsqueeze(1) / steps**2


def _fill(scores: Float[Tensor, "k c"], known: Tensor) -> Float[Tensor, "k c"]:
    """Straight lines between the known points."""
    known = known.to(scores.device)
    at = known.nonzero()[:, 0]
    k = torch.arange(len(scores), device=scores.device)
    right = torch.searchsorted(at, k).clamp(1, len(at) - 1)
    share = ((k - at[right - 1]) / (at[right] - at[right - 1])).to(scores).unsqueeze(1)
    return torch.where(known.unsqueeze(1), scores, torch.lerp(scores[at[right - 1]], scores[at[right]], share))
