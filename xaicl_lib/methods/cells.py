r"""What each cell of a feature map adds to an embedding: the integrated Jacobian of a head, times the cell.

With a head h, a map f and a reference r, :math:`v_p = \int_0^1 \partial h / \partial f_p \,(r + \alpha (f - r))\, d\alpha \,(f_p - r_p)`,
by Gauss-Legendre quadrature (:cite:t:`moeller2023attribution`, Sec. 3). How a head is built decides how little that takes:

- A head that sees nothing but the sum of the cells has one Jacobian for all of them, on a path of single vectors.
- A head of affine layers with element-wise functions between them has Jacobians that are products, whose first and last factors do not
  depend on the point of the path, and whose points can be summed before the cells come in.
- Any other head is differentiated forwards along each cell, all cells of a point in one pass.
"""

import functools
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from numpy.polynomial.legendre import leggauss
from torch import Tensor, nn
from torch.func import jvp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from xaicl_lib.model import MeanPool
from xaicl_lib.notes import quiet
from xaicl_lib.tokens import patches_alone

Head = Callable[[Tensor], Tensor]

ELEMENTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh,
    nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.Tanhshrink,
)  # fmt: skip
AFFINE = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity,
    nn.Dropout,
)  # fmt: skip
IN_FLIGHT = 4_000_000  # numbers of directions: 16 MB in single precision
NEAR = 1e-5  # relative; two ways to one embedding differ by rounding


@patches_alone()
def cell_vectors(head: Head, f: Float[Tensor, "n c i j"], r: Float[Tensor, "c i j"], steps: int) -> Float[Tensor, "n p d"]:
    """What each cell adds to h(f) - h(r) along the straight way from r to f.

    Args:
        head: from maps to embeddings, row by row.
        f, r: a batch of maps, and where the way begins.
    """
    alpha, weight = _points_of(steps, f)
    away = f - r
    share = share_of_a_cell(head, f)
    if share is not None:
        start, way = ((x.sum((-2, -1), keepdim=True) * share) for x in (r, away))
        directions = away.flatten(2).mT[..., None, None] * share  # (n, p, c, 1, 1)
        return _integrated(head, _points(start, way, alpha), weight, directions)
    i, j = f.shape[2:]
    at, eye = _points(r, away, alpha), torch.eye(i * j, device=f.device, dtype=f.dtype).view(-1, 1, i, j)
    parts = eye.split(max(1, IN_FLIGHT // at.numel()))
    return torch.cat([_integrated(head, at, weight, away.unsqueeze(1) * only) for only in parts], 1)


def vectors_along(
    function: Head, start: Float[Tensor, "..."], way: Float[Tensor, "n ..."], directions: Float[Tensor, "n k ..."], steps: int
) -> Float[Tensor, "n k d"]:
    """What parts of a way add to any function along it, where the parts make up the way: forwards, all parts of a point in one pass."""
    alpha, weight = _points_of(steps, way)
    at = start + alpha.view(-1, *[1] * way.ndim) * way  # (s, n, ...)
    along = directions.expand(steps, *directions.shape).flatten(0, 1)
    return torch.einsum("s,snkd->nkd", weight, _forwards(function, at.flatten(0, 1), along).unflatten(0, at.shape[:2]))


_rule = functools.cache(leggauss)  # of a thousand points it takes longer than what they are for


def _points_of(steps: int, like: Tensor) -> tuple[Float[Tensor, " s"], Float[Tensor, " s"]]:
    """Where on the way from 0 to 1 to look, and by what it counts."""
    nodes, weights = _rule(steps)  # on [-1, 1]
    return tuple(torch.tensor((v / 2).tolist(), device=like.device, dtype=like.dtype) for v in (nodes + 1, weights))  # type: ignore[return-value]


def _points(start: Tensor, way: Tensor, alpha: Tensor) -> Float[Tensor, "s n c i j"]:
    return start + alpha.view(-1, 1, 1, 1, 1) * way


def share_of_a_cell(head: Head, f: Float[Tensor, "n c i j"]) -> float | None:
    """By what a cell counts for a head that sees one vector alone, the mean of the cells or their sum; None for other heads.

    A head whose first layer is a mean is known; another is asked, whatever it is made of: of the maps at hand, and of noise, which no
    symmetry of theirs can fool.
    """
    p, layers = f[0, 0].numel(), _chain(head)
    if layers and (isinstance(layers[0], MeanPool) or getattr(layers[0], "output_size", None) in (1, (1, 1))):
        return 1 / p
    noise = torch.rand(f.shape, generator=torch.Generator().manual_seed(0)).to(f) * f.abs().amax()
    asked = torch.cat([f, noise])
    try:
        want = head(asked.clone())
        for share in (1 / p, 1.0):
            got = head(asked.sum((2, 3), keepdim=True) * share)
            if got.shape == want.shape and bool(((got - want).norm(dim=1) <= NEAR * want.norm(dim=1)).all()):
                return share
    except (RuntimeError, ValueError, IndexError):  # one cell is no map for this head
        return None
    return None


def _integrated(
    head: Head, at: Float[Tensor, "s n c i j"], weight: Float[Tensor, " s"], directions: Float[Tensor, "n k c i j"]
) -> Float[Tensor, "n k d"]:
    """Weighted sum over points of the head's derivative along each direction."""
    layers = _chain(head)
    if layers is not None:
        return _through(layers, at, weight, directions)
    along = directions.expand(len(at), *directions.shape).flatten(0, 1)  # (s n, k, c, i, j)
    return torch.einsum("s,snkd->nkd", weight, _forwards(head, at.flatten(0, 1), along).unflatten(0, at.shape[:2]))


def _chain(head: object) -> list[nn.Module] | None:
    """The layers of a head in their order, if each is affine or acts element by element."""
    if isinstance(head, nn.Sequential):
        parts = [_chain(layer) for layer in head]
        return None if None in parts or _is_watched(head) else [layer for part in parts for layer in part or []]
    if not isinstance(head, nn.Module) or type(head) not in (*AFFINE, *ELEMENTWISE, MeanPool):  # a class made from these may do more
        return None
    return None if head.training or _is_watched(head) else [head]


def _is_watched(layer: nn.Module) -> bool:
    """Whether hooks may change what it gives."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


def _through(layers: Sequence[nn.Module], at: Tensor, weight: Tensor, directions: Tensor) -> Float[Tensor, "n k d"]:
    """The same for a chain of layers: what does not depend on the point is done once, and points are summed as early as can be."""
    affine, bent = _segments(layers)
    slopes, x = [], at.flatten(0, 1)
    for first, then in zip(affine, bent, strict=False):
        x, slope = _derivative(then, first(x))
        slopes.append(slope.unflatten(0, at.shape[:2]))  # (s, n, ...)
    t = _linear(affine[0], directions)
    if not bent:
        return t * weight.sum()
    if len(bent) == 1:
        return _linear(affine[1], t * torch.einsum("s,sn...->n...", weight, slopes[0]).unsqueeze(1))
    if len(bent) == 2 and t.ndim == slopes[1].ndim == 3:
        both = torch.einsum("s,sno,sni->noi", weight, slopes[1], slopes[0])
        return _linear(affine[2], t @ (both * _matrix(affine[1], t.shape[2], t)).mT)
    return _linear(affine[-1], torch.stack([w * _bent(affine, [slope[k] for slope in slopes], t) for k, w in enumerate(weight)]).sum(0))


def _bent(affine: Sequence[nn.Module], slopes: Sequence[Tensor], t: Float[Tensor, "n k ..."]) -> Float[Tensor, "n k ..."]:
    """Directions behind the first affine part, brought to before the last one, at one point."""
    t = t * slopes[0].unsqueeze(1)
    for between, slope in zip(affine[1:], slopes[1:], strict=False):
        t = _linear(between, t) * slope.unsqueeze(1)
    return t


def _derivative(function: Head, x: Tensor) -> tuple[Tensor, Tensor]:
    """Value and slope of an element-wise function, which may work in place."""
    _first()
    value, slope = jvp(lambda u: function(u.clone()), (x,), (torch.ones_like(x),))[:2]
    return value, slope


@functools.cache
def _first() -> None:
    """Differentiate forwards for the first time in this process, at which torch warns of its own use of what it gives up."""
    with quiet(FutureWarning):
        jvp(torch.relu, (torch.ones(1),), (torch.ones(1),))


def _segments(layers: Sequence[nn.Module]) -> tuple[list[nn.Sequential], list[nn.Module]]:
    """Affine parts, one more than the element-wise functions between them."""
    bends = [k for k, layer in enumerate(layers) if isinstance(layer, ELEMENTWISE)]
    ends = zip([-1, *bends], [*bends, len(layers)], strict=True)
    return [nn.Sequential(*layers[k + 1 : end]) for k, end in ends], [layers[k] for k in bends]


def _linear(affine: nn.Module, directions: Float[Tensor, "n k ..."]) -> Float[Tensor, "n k ..."]:
    """The linear part of an affine layer, along every direction."""
    flat = directions.flatten(0, 1)
    return (affine(flat) - affine(torch.zeros_like(flat[:1]))).unflatten(0, directions.shape[:2])


def _matrix(affine: nn.Module, width: int, like: Tensor) -> Float[Tensor, "o i"]:
    return _linear(affine, torch.eye(width, device=like.device, dtype=like.dtype)[None])[0].mT


def _forwards(head: Head, at: Float[Tensor, "n c i j"], directions: Float[Tensor, "n k c i j"]) -> Float[Tensor, "n k d"]:
    """Derivatives along the directions by forward-mode differentiation, the maps themselves going through the head only once.

    Heads that torch cannot batch so are given a copy of the map for every direction. Of the kernels for attention only the plain one
    has a derivative.
    """
    _first()
    with sdpa_kernel(SDPBackend.MATH):
        try:
            return vmap(lambda t: jvp(lambda x: head(x.clone()), (at,), (t,))[1], in_dims=1, out_dims=1)(directions)
        except RuntimeError:
            copies = at.unsqueeze(1).expand_as(directions).flatten(0, 1)
            along = jvp(lambda x: head(x.clone()), (copies,), (directions.flatten(0, 1),))[1]
            return along.unflatten(0, directions.shape[:2])
