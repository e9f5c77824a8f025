"""What a caller should know beside the result: warnings that name the caller's line."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_told: ContextVar[set[str] | None] = ContextVar("told", default=None)


def note(text: str) -> None:
    """Warn at the line outside the library that led here."""
    told = _told.get()
    if told is not None and text in told:
        return
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "xaicl_lib":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)
    if told is not None:
        told.add(text)


@contextmanager
def each_once() -> Iterator[None]:
    """The same text is told once, however many photos it is about."""
    token = _told.set(set() if _told.get() is None else _told.get())
    try:
        yield
    finally:
        _told.reset(token)
