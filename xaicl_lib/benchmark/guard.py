"""A method that somebody brings: called pair by pair, and what it gives is looked at before it is used."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaicl_lib.errors import InputError, telling_line
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair

Method = Callable[[PairModel, Pair], Any]


class _Late(InputError):
    """A method that took too long."""


def explained(method: Method, model: PairModel, pair: Pair, number: int, limit: float) -> Explanation:
    """The method's answer for one pair.

    Args:
        number: of the pair, for messages.
        limit: seconds that it may take.

    Raises:
        InputError: it failed, took too long, or gave what is no explanation of a pair.
    """
    where = f"pair {number} of {model.name}"
    a, b = (side.clone() for side in pair.sides)
    alone = Pair(a, b)  # without the truth, and not the suite's own pixels
    try:
        with torch.enable_grad(), _within(limit, where):
            given = method(model, alone)
    except _Late:
        raise
    except Exception as error:  # whatever the method raises
        line = next((line for line in str(error).splitlines() if line.strip()), "without a word")
        raise InputError(f"{where}: the method failed: {type(error).__name__}: {line}") from error
    made = given if isinstance(given, Explanation) else _from_maps(given, where)
    for name in ("a", "b"):
        _check(getattr(made, name), f"map {name}", "i, j", where)
    if made.joint is not None:
        _check(made.joint, "joint", "i, j, k, l", where)
    return made


def _from_maps(given: Any, where: str) -> Explanation:
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        got = f"{len(given)} things" if isinstance(given, tuple | list) else type(given).__name__
        raise InputError(f"{where}: expected an Explanation, (map_a, map_b) or (map_a, map_b, joint), got {got}")
    try:
        maps: list[Any] = [_tensor(side) for side in given]
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: expected maps of numbers, got {telling_line(error)}") from error
    batched = [m[None] if isinstance(m, Tensor) and m.ndim == dims else m for m, dims in zip(maps, (2, 2, 4), strict=False)]
    return Explanation(batched[0], batched[1], torch.zeros(1), joint=batched[2] if len(batched) == 3 else None)


def _tensor(value: Any) -> Any:
    """What an array holds; anything else as it is."""
    if isinstance(value, Tensor):
        return value.detach()
    return torch.as_tensor(np.ascontiguousarray(value)) if hasattr(value, "__array__") else value


def _check(values: Any, name: str, axes: str, where: str) -> None:
    if not isinstance(values, Tensor) or values.ndim != 2 + axes.count(",") or len(values) != 1 or 0 in values.shape:
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise InputError(f"{where}: expected {name} of shape ({axes}) or (1, {axes}), got {shape}")
    if values.dtype == torch.bool or values.is_complex():
        raise InputError(f"{where}: expected numbers in {name}, got {values.dtype}")
    if not values.isfinite().all():
        raise InputError(
            f"{where}: expected finite numbers in {name}, got {int((~values.isfinite()).sum())} of {values.numel()} that are not"
        )


@contextmanager
def _within(limit: float, where: str) -> Iterator[None]:
    """Stops what takes too long, where the system has alarms; elsewhere it is told afterwards."""
    late = _Late(f"{where}: the method took longer than {limit:g} s; limit= allows more")
    alarms = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()

    def ring(*_: Any) -> None:
        raise late

    began = time.monotonic()
    before = signal.signal(signal.SIGALRM, ring) if alarms else None
    try:
        if alarms:
            signal.setitimer(signal.ITIMER_REAL, limit if limit < threading.TIMEOUT_MAX else 0)
        yield
    finally:
        if alarms:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    if time.monotonic() - began > limit:
        raise late


class Watch:
    """How many images go forwards and backwards through a model, and whether it is still what it was."""

    def __init__(self, model: PairModel) -> None:
        self.count = count = {"forwards": 0, "backwards": 0}
        self._model = model
        self._before = [tensor.clone() for tensor in model._parts.state_dict().values()]

        # Functions, not methods: the fast form of a model copies its modules with their hooks, and would copy this object, too.
        def backward(gradient: Tensor) -> None:
            count["backwards"] += len(gradient)

        def forward(module: Any, given: Any, output: Any) -> None:
            count["forwards"] += len(output)
            if isinstance(output, Tensor) and output.requires_grad:
                output.register_hook(backward)

        self._hooks = [module.register_forward_hook(forward) for module in {model.features_a, model.features_b}]
        assert model.fast is not None  # it is made anew with the hooks, and tried, which is not the method's doing
        count.update(forwards=0, backwards=0)

    def close(self) -> None:
        """Take the hooks away.

        Raises:
            InputError: the method has changed the model.
        """
        for hook in self._hooks:
            hook.remove()
        after = self._model._parts.state_dict().values()
        if not all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(self._before, after, strict=True)):
            raise InputError(f"expected the method to leave {self._model.name} as it is, its weights were changed")
