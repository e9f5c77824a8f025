"""Areas under curves whose points are dear: all of them, or as few as a bound on the error allows."""

from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xaicl_lib.metrics.registry import Curves


class Pointwise(Protocol):
    """What a sweep offers: n pairs with `k + 1` points each, which can be asked for in any order."""

    @property
    def shape(self) -> tuple[int, int]:
        """Pairs and points of a curve."""

    def points(self, item: Int[Tensor, " m"], k: Int[Tensor, " m"]) -> tuple[Float[Tensor, "m c"], int]:
        """Scores of pair `item` at point `k` on each of c curves, and how many images were encoded for them."""


def every_point(sweep: Pointwise) -> Curves:
    """The curves of a sweep, point by point."""
    n, count = sweep.shape
    item = torch.arange(n).repeat_interleave(count)
    scores, encoded = sweep.points(item, torch.arange(count).repeat(n))
    scores = scores.view(n, count, -1).mT  # (n, c, k + 1)
    nothing = scores.new_zeros(n)
    encodings = torch.full((n,), -(-encoded // n))
    return Curves({"S": scores[:, :1], "C": scores[:, 1:]}, encodings, {"S": nothing, "C": nothing})
