"""The weights of a transformer's attention, as they are while it runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from xaicl_lib.tokens.opening import Attention, weights_of

SOFTMAX = {Tensor.softmax, torch.softmax, F.softmax}


class _Taking(Attention):
    """Answers attention by its weights, which a function sees first; also where a softmax over the last of four axes stands alone."""

    def __init__(self, take: Callable[[Tensor], Tensor]) -> None:
        super().__init__(lambda q, k, v, mask, scale: take(weights_of(q, k, mask, scale)) @ v)
        self.take = take

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_function__(func, types, args, kwargs)
        return self.take(out) if func in SOFTMAX and out.ndim == 4 and (kwargs or {}).get("dim", *args[1:2]) in (-1, 3) else out


@contextmanager
def attention_seen(take: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Every attention that is computed in this scope goes on with what `take` makes of its weights (n, heads, t, u)."""
    with _Taking(take):
        yield
