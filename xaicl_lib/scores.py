"""Scores: how alike two embeddings are. A score is any differentiable function (za, zb) -> (n,)."""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from xaicl_lib.errors import InputError

Score = Callable[..., Tensor]  # (za, zb); zb is None for one-sided questions, whose scores ignore it


def two(embeddings: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """The arguments of a score from the embeddings of one side or two."""
    return embeddings[0], embeddings[1] if len(embeddings) > 1 else None


def cosine(za: Float[Tensor, "n d"], zb: Float[Tensor, "n d"] | None) -> Float[Tensor, " n"]:
    """Cosine of the angle between embeddings, in [-1, 1]; the score of every model in the papers."""
    return F.cosine_similarity(za, _given(zb), dim=1)


def dot(za: Float[Tensor, "n d"], zb: Float[Tensor, "n d"] | None) -> Float[Tensor, " n"]:
    """Inner product of embeddings, unbounded."""
    return (za * _given(zb)).sum(1)


def _given(zb: Tensor | None) -> Tensor:
    if zb is None:
        raise InputError("expected a pair with two sides for this score, got one without side b; give a score of side a alone")
    return zb
