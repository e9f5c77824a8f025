"""The weights of a model as a bundle keeps them: half precision for what is large, so that a reader's browser loads little.

Batch norms are folded as in `PairModel.fast`. The factors of the folding stay beside the weights, in single precision: what was stored in
half precision before, as all bundled models are, loses nothing.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xaicl_lib.errors import InputError
from xaicl_lib.layers import fold_batch_norms
from xaicl_lib.model import PairModel

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Weight:
    """One tensor: `stored` (float16 for matrices and kernels, float32 for vectors) times `scale` along its first axis, if there is one."""

    stored: Tensor
    scale: Tensor | None = None

    @property
    def value(self) -> Tensor:
        """The tensor as a reader gets it back, in single precision."""
        wide = self.stored.float()
        return wide if self.scale is None else wide * _along_first(self.scale, wide)


class _Affine(nn.Module):
    """A batch norm in evaluation: each channel times a number plus a number."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: Any) -> None:
        super().__init__()
        scale = torch.rsqrt(norm.running_var + norm.eps)
        scale = scale if norm.weight is None else scale * norm.weight
        shift = -norm.running_mean * scale
        self.register_buffer("scale", scale.detach())
        self.register_buffer("shift", (shift if norm.bias is None else shift + norm.bias).detach())

    def forward(self, x: Tensor) -> Tensor:
        shape = [1, -1, *[1] * (x.ndim - 2)]
        return x * self.scale.view(shape) + self.shift.view(shape)


def prepare(model: PairModel) -> tuple[nn.ModuleDict, dict[str, Weight]]:
    """The modules of a model without batch norms, on the CPU in single precision, and their weights by name.

    What both sides share is there once, under the name of side a.

    Raises:
        InputError: a weight that is no finite number, or of no floating-point type that single precision can hold.
    """
    parts = copy.deepcopy(model._parts).cpu().float()
    raw = {module: module.weight for module in parts.modules() if isinstance(module, nn.Conv2d)}
    scales = fold_batch_norms(*dict.fromkeys(parts.values()))
    _replace_norms(parts)
    originals = {module.weight: (raw[module], scale) for module, scale in scales.items()}  # type: ignore[index]
    tensors = {**dict(parts.named_parameters()), **{n: b for n, b in parts.named_buffers() if b.is_floating_point()}}
    return parts, {name: _weight(name, *originals.get(t, (t, None))) for name, t in tensors.items()}


def _weight(name: str, tensor: Tensor, scale: Tensor | None) -> Weight:
    tensor = tensor.detach().contiguous()
    if not bool(tensor.isfinite().all()):
        raise InputError(f"expected finite weights, got {name!r} with values that are none")
    if tensor.ndim < 2:
        return Weight(tensor)
    if not torch.equal(tensor, tensor.half().float()):  # each row by its largest value, so that none is too large or too small
        largest = tensor.flatten(1).abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny)
        tensor, scale = tensor / _along_first(largest, tensor), largest if scale is None else largest * scale
    return Weight(tensor.half(), None if scale is None else scale.detach().float())


def _along_first(vector: Tensor, like: Tensor) -> Tensor:
    return vector.view(-1, *[1] * (like.ndim - 1))


def _replace_norms(parts: nn.Module) -> None:
    affine: dict[nn.Module, _Affine] = {}
    for name, layer in list(parts.named_modules(remove_duplicate=False)):
        if type(layer) in NORMS and layer.running_var is not None:
            parts.set_submodule(name, affine.setdefault(layer, _Affine(layer)))
