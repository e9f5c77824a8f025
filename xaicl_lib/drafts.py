"""Drafts: many scores in low precision, then proof: a sample in full precision says how far they are away; what decides is made again."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xaicl_lib.errors import unknown

SAMPLE = 24  # scores of a map or a curve that are computed exactly as well
WIDER = 2.0  # a value that was not sampled may be this much further away than the furthest that was
FEW = 4 * SAMPLE  # of fewer scores a sample takes more than a draft saves: they are computed exactly
PRECISIONS = ("exact", "draft")


def is_draft(precision: str) -> bool:
    """Whether the precision asked for is a draft.

    Raises:
        InputError: it is neither "exact" nor "draft".
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    return precision == "draft"


def sampled(count: int) -> Int[Tensor, " s"]:
    """Places spread evenly over `count` of them."""
    s = min(SAMPLE, count)
    return ((torch.arange(s) + 0.5) * count / s).long()


def proven(draft: Float[Tensor, "n p"], exact: Callable[[Tensor, Tensor], Float[Tensor, " m"]]) -> tuple[Tensor, Tensor]:
    """Scores whose extremes are exact, from a draft of them, and what each may be off by.

    The mean difference on a sample is taken away, for rounding moves all scores alike. The bound is twice the largest difference that is
    left there: measured, not proven. Every score that by this bound could be its row's largest or smallest is computed exactly.

    Args:
        draft: (n, p) scores.
        exact: from indices of rows and of columns to scores.

    Returns:
        (n, p) scores and (n, p) bounds, 0 where a score is exact.
    """
    n, p = draft.shape
    known = torch.zeros_like(draft, dtype=torch.bool)
    known[:, sampled(p).to(draft.device)] = True
    sample = exact(*known.nonzero(as_tuple=True))
    away = (draft[known] - sample).view(n, -1)
    offset = away.mean(1, keepdim=True)
    bound = WIDER * (away - offset).abs().amax(1, keepdim=True)
    scores = draft - offset
    scores[known] = sample
    todo = _open(scores, bound) & ~known
    if todo.any():
        scores[todo] = exact(*todo.nonzero(as_tuple=True))
    return scores, bound.expand(n, p).masked_fill(known | todo, 0)


def area_bound(away: Float[Tensor, "n s"]) -> Float[Tensor, " n"]:
    """What an area may be off by, whose points were moved by their mean distance at s samples: three standard errors of that mean."""
    return 3 * away.std(1) / away.shape[1] ** 0.5


def _open(scores: Float[Tensor, "n p"], bound: Float[Tensor, "n 1"]) -> Bool[Tensor, "n p"]:
    """Which may be the largest or the smallest, when any two may both be off by the bound."""
    low, high = scores.aminmax(dim=1, keepdim=True)
    return (scores >= high - 2 * bound) | (scores <= low + 2 * bound)
