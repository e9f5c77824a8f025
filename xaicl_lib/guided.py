"""Guided backpropagation: at every ReLU only positive gradients pass back (:cite:t:`springenberg2015striving`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from xaicl_lib.errors import InputError

RELUS = {F.relu, torch.relu, Tensor.relu}
RELUS_IN_PLACE = {torch.relu_, Tensor.relu_}  # F.relu_ is torch.relu_


class _GuidedReLU(torch.autograd.Function):
    """ReLU whose backward pass is a ReLU, too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x > 0)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return gradients[0].clamp(min=0) * positive


class _GuidedMode(TorchFunctionMode):
    """Sees every torch call in its scope, so modules, functions and in-place ReLUs are all caught, and no hook is set anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in RELUS or func in RELUS_IN_PLACE:
            self.found += 1
            x = args[0] if args else kwargs["input"]
            y = _GuidedReLU.apply(x)
            in_place = func in RELUS_IN_PLACE or kwargs.get("inplace", len(args) > 1 and args[1])
            return x.copy_(y) if in_place else y
        return func(*args, **kwargs)


@contextmanager
def guided(enabled: bool = True) -> Iterator[None]:
    """Forward passes in this scope have ReLUs whose gradients are guided; afterwards all is as before, also after an error.

    Raises:
        InputError: `enabled`, and no ReLU was called in the scope.
    """
    if not enabled:
        yield
        return
    mode = _GuidedMode()
    with mode:
        yield
    if not mode.found:
        raise InputError("expected a network with ReLUs for guided backpropagation, got one without; set guided=False")
