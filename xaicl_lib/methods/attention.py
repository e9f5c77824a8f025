"""Methods for transformers: what their attention weights say, by themselves and by their gradients."""

import functools
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.methods.registry import methods
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.scores import Score, ask, cosine
from xaicl_lib.tokens import attention_seen

PREFIX = 64  # tokens before those of patches that a model may have, more than any does


@methods.add(family="attention", needs="attention", paper="abnar2020quantifying", where="Sec. 3", cost="2 forwards", one_sided=False)
@torch.no_grad()
def attention_rollout(model: PairModel, pair: Pair) -> Explanation:
    r"""Share of each patch in what the embedding is read from, followed through the attention of all blocks; it knows no score.

    Implements attention rollout, Sec. 3 of :cite:t:`abnar2020quantifying`: with the weights :math:`A^l` of block l, averaged over heads,
    :math:`R^l = \frac{1}{2} (A^l + I) R^{l-1}`; the map is the row of the class token, of an attention pool (whose weights have no I, for
    it is no token), or the mean of the rows of the patches where the model pools these by their mean.

    Differs: of a transformer in stages, such as PiT, only the blocks of the last stage are followed, whose tokens are the cells.

    Returns:
        Maps of shares, >= 0, one per patch; a side's map sums to 1 less the share of class and register tokens. The map of a side does
        not depend on the other one.

    Raises:
        InputError: a model without attention among its patches.
    """
    maps, ends = [], []
    for x, features, head in _sides(model, pair):
        f, weights = attention_of(features, x, model.name, _mean)
        maps.append(rolled(weights, f, getattr(features, "is_pool", False)))
        ends.append(head(f.clone()))
    return Explanation(maps[0], maps[1], cosine(ends[0], ends[1]))


@methods.add(
    family="attention",
    needs="attention, gradient of the network",
    paper="bousselham2025legrad",
    where="its method",
    cost="2 forwards, 1 backward of the network",
    gradient=True,
)
def legrad(model: PairModel, pair: Pair, *, score: Score = cosine) -> Explanation:
    r"""Positive gradients of the score with respect to the attention to each patch, averaged over blocks and heads.

    Implements LeGrad (:cite:t:`bousselham2025legrad`) for pairs: with the weights :math:`A^l` of L blocks, H heads and T
    queries, :math:`M_a[p] = \frac{1}{L} \sum_l \frac{1}{H T} \sum_{h, q} \mathrm{ReLU}(\partial s / \partial A^l_{h, q, p})`, and the
    same for side b.

    Differs: s is the model's own score for every block, differentiated through the blocks behind; the paper reads a score from the tokens
    of each block by themselves. Maps are not scaled to [0, 1]. Of a transformer in stages only the last stage is used.

    Returns:
        Maps of one value per patch, >= 0, in units of the score.

    Raises:
        InputError: a model without attention among its patches.
    """
    held: list[list[Tensor]] = []
    maps, ends = [], []
    with torch.enable_grad():
        for x, features, head in _sides(model, pair):
            f, weights = attention_of(features, x, model.name)
            held.append(weights)
            maps.append(f.detach())
            ends.append(head(f.clone()))
        s = ask(score, *ends)
        leaves = [w for side in held for w in side]
        gradients = iter(torch.autograd.grad(s.sum(), leaves, materialize_grads=True))  # zeros for a side that the score ignores
    made = [positive([next(gradients) for _ in side], f) for side, f in zip(held, maps, strict=True)]
    return Explanation(made[0], made[1] if pair.b is not None else None, s.detach())


def attention_of(
    features: Callable[[Tensor], Tensor], x: Tensor, name: str, kept: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, list[Tensor]]:
    """A map and the attention weights behind it, block by block: (n, c, i, j), and (n, heads, t, u) each, which gradients reach.

    Args:
        x: images in the model's input space.
        kept: what is kept of the weights of a block, instead of themselves.

    Raises:
        InputError: a model without attention among its patches.
    """
    weights: list[Tensor] = []
    with attention_seen(functools.partial(_noted, into=weights, kept=kept)):
        f = features(x)
    return f, _of_cells(weights, f, name)


def _noted(weights: Tensor, into: list[Tensor], kept: Callable[[Tensor], Tensor] | None) -> Tensor:
    if kept is not None:
        into.append(kept(weights))
        return weights
    into.append(weights if weights.requires_grad else weights.detach().requires_grad_())
    return into[-1]


def _mean(weights: Tensor) -> Tensor:
    """Of all heads, the axis of which stays."""
    return weights.mean(1, keepdim=True)


def _sides(model: PairModel, pair: Pair) -> list[tuple[Tensor, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]]:
    branches = ((model.features_a, model.head_a), (model.features_b, model.head_b))
    return [(model.normalize(side), *branch) for side, branch in zip(pair.sides, branches, strict=False)]


def _of_cells(weights: list[Tensor], f: Float[Tensor, "n c i j"], name: str) -> list[Tensor]:
    """Of all weights those that stand for the attention to cells of the map, alone or with class and register tokens before them.

    Attention within windows, or among other tokens than the map's, has another number of images or of keys.
    """
    n, cells = f.shape[0], f.shape[2:].numel() if f.ndim == 4 else 0
    kept = [w for w in weights if w.shape[0] == n and 0 < cells <= w.shape[-1] < cells + PREFIX]
    if not kept:
        raise InputError(f"expected a model with attention among the cells of its map, such as a vision transformer, got {name!r}")
    return kept


def rolled(weights: list[Tensor], f: Float[Tensor, "n c i j"], is_pool: bool) -> Float[Tensor, "n i j"]:
    """The rollout of weights (n, heads, t, u) of every block: u keys of all tokens or of the cells alone, t queries of these or of what
    is read, by an attention pool or not."""
    weights = [w.mean(1).to(f) for w in weights]
    keys, cells = max(w.shape[2] for w in weights), f.shape[2:].numel()
    rolled = torch.eye(keys).to(f).expand(f.shape[0], -1, -1)
    *blocks, last = weights
    reads = last.shape[1] if last.shape[1] < last.shape[2] else 0
    for w in blocks if is_pool else weights:
        rolled = _step(w, rolled)
    rows = rolled[:, :reads] if reads else rolled[:, keys - cells :]
    rows = last @ rolled[:, keys - last.shape[2] :] if is_pool else rows
    return rows.mean(1)[:, keys - cells :].unflatten(1, f.shape[2:])


def _step(w: Float[Tensor, "n t u"], rolled: Float[Tensor, "n k k"]) -> Float[Tensor, "n k k"]:
    """What a block makes of a rollout; tokens that it has no queries for stay as they are."""
    first = rolled.shape[1] - w.shape[2]  # of its keys among all tokens
    end = first + w.shape[1]
    return torch.cat([rolled[:, :first], (w @ rolled[:, first:] + rolled[:, first:end]) / 2, rolled[:, end:]], 1)


def positive(gradients: list[Tensor], f: Float[Tensor, "n c i j"]) -> Float[Tensor, "n i j"]:
    """The mean of what is positive in gradients (n, heads, t, u) of every block; queries that have none count as zeros."""
    keys, cells = max(g.shape[3] for g in gradients), f.shape[2:].numel()
    layers = torch.stack([g.relu().sum(2).mean(1)[:, -cells:] / keys for g in gradients])  # (layers, n, cells)
    return layers.mean(0).unflatten(1, f.shape[2:])
