"""Similarity decompositions: which cell of one feature map goes with which cell of the other."""

import torch
from jaxtyping import Float
from torch import Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.methods.cells import cell_vectors
from xaicl_lib.methods.registry import methods
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.scores import cosine


# Not signed where features are not negative, as after a ReLU.
@methods.add(paper="stylianou2019visualizing", where="Sec. 3", family="similarity", needs="feature map", cost="2 forwards", one_sided=False)
@torch.no_grad()
def deep_similarity(model: PairModel, pair: Pair) -> Explanation:
    r"""Share of the pooled features' similarity that each cell of either feature map carries.

    Implements the spatial decomposition of :cite:t:`stylianou2019visualizing`: with mean-pooled maps :math:`\bar F`,
    :math:`J[p, q] = \langle F_a[p], F_b[q] \rangle / (P\,Q\,\|\bar F_a\| \|\bar F_b\|)` over the P and Q cells, whose sum is
    :math:`\cos(\bar F_a, \bar F_b)`; :math:`M_a[p] = \sum_q J[p, q]`, :math:`M_b[q] = \sum_p J[p, q]`.

    Differs: with a projection head the score is the cosine of the projections, not of the pooled features; `residual` holds the difference,
    and is 0 for a model without a head.

    Returns:
        Maps in units of the cosine, on the feature grid, never negative where features are not; `joint` (n, ia, ja, ib, jb) says which
        cell of a goes with which of b.
    """
    f_a, f_b = model.features([model.normalize(side) for side in pair.sides])  # (n, c, i, j), (n, c, k, l)
    norms = _length(f_a.mean((2, 3))) * _length(f_b.mean((2, 3)))  # (n,)
    cells = f_a[0, 0].numel() * f_b[0, 0].numel()
    joint = torch.einsum("ncij,nckl->nijkl", f_a, f_b) / (norms * cells).view(-1, 1, 1, 1, 1)
    return _from_joint(joint, cosine(model.head_a(f_a.clone()), model.head_b(f_b.clone())))


@methods.add(
    paper="moeller2023attribution",
    where="Sec. 3",
    family="similarity",
    needs="feature map, Jacobian of the head",
    cost="2 forwards, the Jacobian of the head along the way",
    signed=True,
    one_sided=False,
    cheap={"steps": 2},
)
@torch.no_grad()
def integrated_jacobians(model: PairModel, pair: Pair, *, steps: int = 16, reference: Tensor | None = None) -> Explanation:
    r"""Share of the similarity that each pair of cells carries through the projection head.

    Implements the integrated Jacobians of :cite:t:`moeller2023attribution` on the feature map: with the head h, a reference map r and
    :math:`\bar J = \int_0^1 \partial h / \partial f \,(r + \alpha (f - r))\, d\alpha`, each cell p contributes the vector
    :math:`v_p = \bar J_p (f_p - r_p)`, :math:`\sum_p v_p = h(f) - h(r)`, and
    :math:`J[p, q] = \langle v^a_p, v^b_q \rangle / (\|z_a\| \|z_b\|)`; :math:`M_a[p] = \sum_q J[p, q]`.

    `residual` = score - sum of J: the terms with h(r), which no cell carries, and the error of the quadrature
    (Gauss-Legendre; for heads with ReLU it falls as 1 / steps). It is 0 for a linear head with r = 0, where J is that
    of `deep_similarity`.

    Differs: :math:`v_p` is computed from products of the head's derivative with f - r, by what the head is made of
    (`xaicl_lib.methods.cells`), so no Jacobian of the map is ever held.

    Args:
        model: any model whose head torch can differentiate forwards.
        steps: points of the quadrature.
        reference: (c, i, j) or (c, 1, 1) map r in feature space, such as a data set's mean; zeros if left out.

    Returns:
        Maps in units of the cosine, signed, on the feature grid, with `joint` (n, ia, ja, ib, jb) and `residual` (n,).

    Raises:
        InputError: no steps, or a reference that does not fit the feature map.
    """
    if steps < 1:
        raise InputError(f"expected at least one step, got {steps}")
    sides = []
    maps = model.features([model.normalize(side) for side in pair.sides])  # (n, c, i, j) each
    for f, head in zip(maps, (model.head_a, model.head_b), strict=True):
        sides.append((f, head(f.clone()), cell_vectors(head, f, _reference(f, reference), steps)))
    (f_a, z_a, v_a), (f_b, z_b, v_b) = sides
    joint = torch.einsum("npd,nqd->npq", v_a, v_b) / (_length(z_a) * _length(z_b)).view(-1, 1, 1)
    joint = joint.view(len(pair), *f_a.shape[2:], *f_b.shape[2:])
    return _from_joint(joint, cosine(z_a, z_b))


def _from_joint(joint: Float[Tensor, "n i j k l"], score: Float[Tensor, " n"]) -> Explanation:
    return Explanation(joint.sum((3, 4)), joint.sum((1, 2)), score, joint=joint, residual=score - joint.sum((1, 2, 3, 4)))


def _length(z: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """Norms, kept off zero as the cosine does it."""
    return z.norm(dim=1).clamp_min(1e-8)


def _reference(f: Float[Tensor, "n c i j"], reference: Tensor | None) -> Float[Tensor, "c i j"]:
    if reference is None:
        return torch.zeros_like(f[0])
    try:
        return reference.to(f).expand(f.shape[1:])
    except RuntimeError as error:
        raise InputError(f"expected a reference that fits the feature map {tuple(f.shape[1:])}, got {tuple(reference.shape)}") from error
