"""How backward passes are written in operations that ONNX has."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from xaicl_lib.errors import InputError

aten = torch.ops.aten
Rules = dict[Any, Callable[..., Any]]


def rules(*, guided: bool = False) -> Rules:
    """Decompositions of torch's operations; with `guided`, each ReLU passes back positive gradients only."""
    from torch._decomp import core_aten_decompositions

    own: Rules = {
        aten.convolution_backward.default: _convolution_backward,
        aten.max_pool2d_with_indices_backward.default: _max_pool_backward,
        aten.avg_pool2d_backward.default: _avg_pool_backward,
        aten.squeeze.dims: _squeeze,
    }
    if guided:
        own[aten.threshold_backward.default] = _guided_relu_backward
    table = {**core_aten_decompositions(), **own}
    table.pop(aten.squeeze.dim, None)  # which torch would make the one of several
    return table


def _squeeze(x: Tensor, dims: Sequence[int]) -> Tensor:
    """One axis after the other, as ONNX's operations are written."""
    for dim in sorted((d % x.ndim for d in dims), reverse=True):
        x = aten.squeeze.dim(x, dim)
    return x


def _guided_relu_backward(g: Tensor, y: Tensor, threshold: float) -> Tensor:
    return torch.where(y <= threshold, 0.0, g.relu())


def _convolution_backward(
    g: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: object,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    mask: Sequence[bool],
) -> tuple[Tensor | None, None, None]:
    """With respect to the input alone: a transposed convolution, padded where the stride left pixels over (or the other way round)."""
    if mask[1] or mask[2]:
        raise InputError("expected constant weights: no gradient with respect to them can be exported")
    if not mask[0]:
        return None, None, None
    if transposed:
        return aten.convolution(g, weight, None, stride, padding, dilation, False, [0] * len(stride), groups), None, None
    rest = [
        int(x.shape[2 + k]) - ((int(g.shape[2 + k]) - 1) * stride[k] - 2 * padding[k] + dilation[k] * (int(weight.shape[2 + k]) - 1) + 1)
        for k in range(len(stride))
    ]
    return aten.convolution(g, weight, None, stride, padding, dilation, True, rest, groups), None, None


def _max_pool_backward(
    g: Tensor, x: Tensor, kernel: object, stride: object, padding: object, dilation: object, ceil: bool, at: Tensor
) -> Tensor:
    """Each gradient goes where the largest value was found."""
    return torch.zeros_like(x).flatten(2).scatter_add(2, at.flatten(2), g.flatten(2)).view(x.shape)


def _avg_pool_backward(
    g: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    """Each gradient spread evenly over its window."""
    if ceil or (any(padding) and not count_include_pad):
        raise InputError("average pooling with ceil_mode, or that does not count its padding, cannot be exported")
    share = g / (divisor or kernel[0] * kernel[1])
    c = int(x.shape[1])
    ones = x.new_ones(c, 1, *kernel)
    zero = [0] * len(stride)
    return _convolution_backward(share, x, ones, None, stride or kernel, padding, [1, 1], False, zero, c, (True, False, False))[0]  # type: ignore[return-value]
