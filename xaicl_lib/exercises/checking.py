"""How an exercise's answer is checked: it is run beside the right function, and what comes back is a hint, not only a verdict."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaicl_lib.errors import require

NOT_YET = "not yet answered"
Answer = Callable[..., Any]  # a function, as the reader wrote it


@dataclass(frozen=True)
class Verdict:
    """What a check says; in a notebook it shows itself as text."""

    right: bool | None  #: True or False, or None as long as the cell still holds its placeholder
    text: str  #: what was expected in words, where the answer first differs, and a nudge

    def __repr__(self) -> str:
        return self.text


_TASKS: dict[str, Callable[[Answer], Verdict]] = {}


def task(check: Callable[[Answer], Verdict]) -> Callable[[Answer], Verdict]:
    """The check of an exercise, which `check` finds by its name without the underscore."""
    _TASKS[check.__name__.removeprefix("_")] = check
    return check


def check(exercise: str, answer: Answer) -> Verdict:
    """Compare a function with what an exercise of the book asks for.

    Raises:
        InputError: no such exercise.
    """
    require("exercise", _TASKS, exercise)
    return _TASKS[exercise](answer)


def check_function(
    answer: Callable[..., Any],
    right: Callable[..., Any],
    cases: Sequence[tuple[Any, ...]],
    *,
    expected: str,
    nudge: str,
    mistakes: Mapping[str, Callable[..., Any]] = MappingProxyType({}),
    afterword: str = "",
    tolerance: float = 1e-5,
) -> Verdict:
    """Run an answer and the right function on the same arguments and say how they compare. It never raises.

    Args:
        answer: what the reader wrote; a function that returns nothing (or `...`) is not answered yet.
        right: a function that does it.
        cases: arguments for each trial, simplest first; the answer gets copies.
        expected: what the function should return, in words, as "one map for each pair: ...".
        nudge: for an answer that is wrong in no known way.
        mistakes: wrong answers that are often given, the most particular first: for each a hint, which points the way without giving the
            answer, and what computes it.
        afterword: to add when it is right, such as what to notice.
        tolerance: relative to the largest expected value, and absolute for smaller ones.
    """
    if not callable(answer):
        return _unanswered() if answer is None or answer is ... else Verdict(False, f"not yet: expected a function, got {_short(answer)}.")
    for number, case in enumerate(cases, start=1):
        given = copy.deepcopy(case)
        try:
            got = answer(*given)
        except Exception as error:  # whatever a reader's function does, the notebook goes on
            if isinstance(error, NotImplementedError) and not error.args:  # PyTorch raises it, too, and says what for
                return _unanswered()
            return Verdict(False, f"not yet: on trial {number} your function stopped with {type(error).__name__}: {error}. {nudge}")
        if got is None or got is ...:
            return _unanswered()
        want = right(*copy.deepcopy(case))
        if problem := _compare(got, want, tolerance):
            hint = _hint(got, case, mistakes, tolerance) or nudge
            return Verdict(False, f"not yet. Expected: {expected}.\nOn trial {number}, {problem}.\nHint: {hint}")
        if not all(_same(a, b) for a, b in zip(given, case, strict=True)):
            return Verdict(False, "nearly: the values are right, but your function changes what it is given. Work on a copy.")
    return Verdict(True, f"right. {afterword}".strip())


def check_number(answer: Any, right: float, *, expected: str, nudge: str, tolerance: float = 0.05) -> Verdict:
    """Compare a predicted number with what came out; `tolerance` is absolute, in the unit of the number. It never raises."""
    if answer is None or answer is ...:
        return _unanswered()
    try:
        value = float(answer)
    except Exception:  # whatever a reader's object does
        value = math.nan
    if math.isnan(value):
        return Verdict(False, f"not yet: expected a number, {expected}, got {_short(answer)}.")
    if abs(value - right) <= tolerance:
        return Verdict(True, f"right: you said {value:.3g}, it is {right:.3g}.")
    side = "lower" if value > right else "higher"
    return Verdict(False, f"not quite. Expected: {expected}.\nYou said {value:.3g}; it is {side} than that.\nHint: {nudge}")


def _unanswered() -> Verdict:
    return Verdict(None, f"{NOT_YET}: replace the placeholder and run the cell again")


def _hint(got: Any, case: tuple[Any, ...], mistakes: Mapping[str, Callable[..., Any]], tolerance: float) -> str:
    """The hint of the first known mistake that makes the same values."""
    for hint, wrong in mistakes.items():
        try:
            if not _compare(got, wrong(*copy.deepcopy(case)), tolerance):
                return hint
        except Exception:  # a mistake that this case does not allow
            continue
    return ""


def _compare(got: Any, want: Any, tolerance: float) -> str:
    """Nothing if both are alike; else what differs, as half a sentence."""
    mine, right = _array(got), _array(want)
    if right is None:
        return "" if got == want else f"you return {_short(got)}, and {_short(want)} was expected"
    if mine is None:
        return f"you return {_short(got)}, and {_kind(want)} was expected"
    if mine.shape != right.shape:
        return f"you return {_shape(mine)}, and {_shape(right)} was expected"
    room = tolerance * max(1.0, float(np.nanmax(np.abs(right), initial=0.0)))
    differ = ~np.isclose(mine, right, rtol=0, atol=room, equal_nan=True)
    if not differ.any():
        return ""
    place = tuple(int(k) for k in np.argwhere(differ)[0])
    where = f" at {list(place)}" if place else ""
    share = f" ({differ.sum()} of {differ.size} values differ)" if differ.size > 1 else ""
    return f"the first difference is{where}: {right[place]:.4g} was expected, you have {mine[place]:.4g}{share}"


def _array(value: Any) -> np.ndarray | None:
    """Numbers as an array; None for what holds none."""
    try:
        if isinstance(value, Tensor):
            return None if value.is_complex() else value.detach().cpu().double().numpy()
        return np.asarray([_array(v) for v in value] if isinstance(value, (tuple, list)) else value, dtype=float)
    except (TypeError, ValueError, NotImplementedError, RuntimeError, OverflowError):  # sparse, without values, too large
        return None


def _same(a: Any, b: Any) -> bool:
    return not _compare(a, b, 0.0) if _array(b) is not None else True


def _kind(value: Any) -> str:
    array = _array(value)
    return _short(value) if array is None else _shape(array)


def _shape(array: np.ndarray) -> str:
    if array.ndim == 0:
        return "a single number"
    return f"shape {tuple(array.shape)}" if math.prod(array.shape) else f"an empty array of shape {tuple(array.shape)}"


def _short(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def seeded(*shapes: tuple[int, ...], seed: int = 0, normal: bool = False) -> tuple[Tensor, ...]:
    """Random tensors of these shapes for a trial, the same each time: uniform on [0, 1), or normal."""
    g = torch.Generator().manual_seed(seed)
    return tuple((torch.randn if normal else torch.rand)(shape, generator=g) for shape in shapes)
