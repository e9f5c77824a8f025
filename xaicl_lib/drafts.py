"""Drafts: many scores in low precision, then proof: a sample in full precision says how far they are away; what decides is made again."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xaicl_lib.errors import require

SAMPLE = 24  # scores of a map or a curve that are computed exactly as well
WIDER = 2.0  # a value that was not sampled may be this much further away than the furthest that was
FEW = 4 * SAMPLE  # of fewer scores a sample takes more than a draft saves: they are computed exactly
PRECISIONS = ("exact", "draft")


def is_draft(precision: str) -> bool:
    """Whether the precision asked for is a draft.

    Raises:
        InputError: it is neither "exact" nor "draft".
    """
    require("precision", PRECISIONS, precision)
    return precision == "draft"


def sampled(count: int) -> Int[Tensor, " s"]:
    """Places spread evenly over `count` of them."""
    s = min(SAMPLE, count)
    return ((torch.arange(s) + 0.5) * count / s).long()


def proven(n: int, p: int, score: Callable[[Tensor, Tensor, bool], Float[Tensor, " m"]]) -> tuple[Tensor, Tensor]:
    """Scores whose extremes are exact, the others from a draft, and what each may be off by.

    A sample is computed both ways. Its mean difference is taken away from the draft, for rounding moves all scores alike. The bound is
    twice the largest difference that is left there: measured, not proven. Every score that by this bound could be its row's largest or
    smallest is computed exactly; and all of a row, without a draft, where the bound could hide how its sample is spread.

    Args:
        n, p: rows and columns of scores.
        score: from indices of rows and of columns, and whether a draft will do, to scores.

    Returns:
        (n, p) scores and (n, p) bounds, 0 where a score is exact.
    """
    items, at = torch.arange(n).repeat_interleave(len(sampled(p))), sampled(p).repeat(n)
    sample = score(items, at, False).view(n, -1)
    away = score(items, at, True).view(n, -1) - sample
    offset = away.mean(1, keepdim=True)
    bound = WIDER * (away - offset).abs().amax(1, keepdim=True)
    low, high = sample.aminmax(dim=1, keepdim=True)
    rough = high - low > 4 * bound  # (n, 1); else most could be the largest or the smallest
    scores = sample.new_empty(n, p)
    for draft in (True, False):
        rows = (rough[:, 0] == draft).nonzero()[:, 0].cpu()
        if len(rows):
            scores[rows] = score(rows.repeat_interleave(p), torch.arange(p).repeat(len(rows)), draft).view(-1, p)
    scores = torch.where(rough, scores - offset, scores)
    known = ~rough.expand(n, p).clone()
    scores[:, sampled(p)], known[:, sampled(p)] = sample, True
    todo = _open(scores, bound) & ~known
    if todo.any():
        items, at = todo.nonzero(as_tuple=True)
        scores[todo] = score(items, at, False)
    return scores, bound.expand(n, p).masked_fill(known | todo, 0)


def area_bound(away: Float[Tensor, "n s"]) -> Float[Tensor, " n"]:
    """What an area may be off by, whose points were moved by their mean distance at s samples: three standard errors of that mean."""
    return 3 * away.std(1) / away.shape[1] ** 0.5


def _open(scores: Float[Tensor, "n p"], bound: Float[Tensor, "n 1"]) -> Bool[Tensor, "n p"]:
    """Which may be the largest or the smallest, when any two may both be off by the bound."""
    low, high = scores.aminmax(dim=1, keepdim=True)
    return (scores >= high - 2 * bound) | (scores <= low + 2 * bound)
