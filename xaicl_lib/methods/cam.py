"""Activation methods: weigh the cells of the last feature maps by gradients and by each other."""

import torch
from jaxtyping import Float
from torch import Tensor

from xaicl_lib.errors import InputError, require
from xaicl_lib.methods.registry import methods
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.scores import Score, ask, cosine
from xaicl_lib.tokens import patches_alone

ACTIVATION = {  # not signed where features are not negative, as after a ReLU
    "paper": "sammani2023visualizing", "family": "activation", "needs": "feature map, gradient of the head", "gradient": True,
    "cost": "2 forwards, 1 backward through the head",
}  # fmt: skip


@methods.add(**ACTIVATION, where="Sec. III-C1, Eq. 1")
def grad_cam(model: PairModel, pair: Pair, *, score: Score = cosine) -> Explanation:
    r"""Feature maps weighted cell by cell with their positive gradients, either side on its own.

    Implements Eq. 1 of :cite:t:`sammani2023visualizing` (there Baseline-Grad-CAM, after :cite:t:`selvaraju2017gradcam`):
    :math:`M_a = \sum_d F_a \odot \mathrm{ReLU}(\partial s / \partial F_a)`, and the same for side b.

    Differs: from Grad-CAM itself, which averages the gradients of a channel over the map and clips the sum at zero.

    Returns:
        Maps on the feature grid, in units of the score; never negative where features are not (after a ReLU).
    """
    maps, gradients, s = _features_and_gradients(model, pair, score)
    weighted = [_weigh(f, g) for f, g in zip(maps, gradients, strict=True)]
    return Explanation(weighted[0], weighted[1] if pair.b is not None else None, s)


@methods.add(**ACTIVATION, where="Sec. III-C2, Eq. 2", one_sided=False)
def interaction_cam(
    model: PairModel, pair: Pair, *, score: Score = cosine, reduction: str = "mean", gradient_interaction: bool = True
) -> Explanation:
    r"""Feature maps weighted by what both images activate together and by how their gradients interact.

    Implements Eq. 2 of :cite:t:`sammani2023visualizing`. With a reduction r over the map, the joint activation is
    :math:`h = r(F_a) \odot r(F_b)`. With gradient interaction, :math:`X = \sum_{ij} G_a[:, ij] \otimes G_b[:, ij]`,
    :math:`g_a[d] = \max_e X[d, e]`, :math:`g_b[e] = \max_d X[d, e]`, and
    :math:`M_a = \sum_d F_a \odot h \odot \mathrm{ReLU}(g_a)`; without, the cell-wise gradient :math:`G_a` stands for :math:`g_a`.

    Args:
        reduction: "mean", "max", or "attention" (query: the mean over cells; keys and values: the cells; raw dot products).
        gradient_interaction: whether g comes from the interaction of both gradients; this needs maps of one size.

    Returns:
        Maps on the feature grid; never negative where features are not. Their unit is that of the score times
        features squared, so only maps of one model and setting compare.

    Raises:
        InputError: unknown reduction, or maps of two sizes with gradient interaction.
    """
    require("reduction", REDUCTIONS, reduction)
    (f_a, f_b), (g_a, g_b), s = _features_and_gradients(model, pair, score)
    joint = REDUCTIONS[reduction](f_a) * REDUCTIONS[reduction](f_b)  # (n, c)
    if gradient_interaction:
        g_a, g_b = _interact(g_a, g_b)
    joint = joint[..., None, None]
    return Explanation(_weigh(f_a * joint, g_a), _weigh(f_b * joint, g_b), s)


def _weigh(features: Float[Tensor, "n c i j"], gradients: Tensor) -> Float[Tensor, "n i j"]:
    return (features * gradients.relu()).sum(1)


def _interact(g_a: Float[Tensor, "n c i j"], g_b: Float[Tensor, "n c i j"]) -> tuple[Tensor, Tensor]:
    """Per channel, the strongest interaction of its gradient with any channel of the other side: two (n, c, 1, 1)."""
    if g_a.shape != g_b.shape:
        raise InputError(
            f"gradient interaction needs maps of one size on both sides, got {tuple(g_a.shape[2:])} and {tuple(g_b.shape[2:])} cells; "
            "resize the images or set gradient_interaction=False"
        )
    x = torch.einsum("ndij,neij->nde", g_a, g_b)  # (n, c, c)
    return x.amax(2)[..., None, None], x.amax(1)[..., None, None]


def _attention(features: Float[Tensor, "n c i j"]) -> Float[Tensor, "n c"]:
    cells = features.flatten(2)  # (n, c, i j)
    weights = torch.einsum("nc,ncp->np", cells.mean(2), cells).softmax(1)
    return torch.einsum("np,ncp->nc", weights, cells)


REDUCTIONS = {"mean": lambda f: f.mean((2, 3)), "max": lambda f: f.amax((2, 3)), "attention": _attention}


def _features_and_gradients(model: PairModel, pair: Pair, score: Score) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Feature maps of the sides there are, the gradients of the score with respect to them, and the score.

    The backward pass runs through the heads alone: the feature maps are its leaves.
    """
    with torch.no_grad():
        maps = model.features([model.normalize(pixels) for pixels in pair.sides])  # (n, c, i, j) each
    with torch.enable_grad(), patches_alone():
        heads = (model.head_a, model.head_b)  # given clones, for a head may begin with an operation in place
        leaves = [f.detach().requires_grad_() for f in maps]
        s = ask(score, *[head(f.clone()) for head, f in zip(heads, leaves, strict=False)])  # (n,)
        gradients = torch.autograd.grad(s.sum(), leaves, materialize_grads=True)  # zeros for a side that the score ignores
    return maps, list(gradients), s.detach()
