"""What a caller should know beside the result, as warnings that name the caller's line; and what need not be said.

Python's filters of warnings are the process's, not a thread's: two scopes that change them in two threads leave them changed for good. So
what is not to be said is held back here, and of others' warnings by one thread at a time.
"""

import sys
import threading
import warnings
from collections.abc import Container, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_told: ContextVar[Container[str] | None] = ContextVar("told", default=None)
_one_thread = threading.RLock()


class _Everything(Container[str]):
    """As if all had been told."""

    def __contains__(self, text: object) -> bool:
        return True


def note(text: str) -> None:
    """Warn at the line outside the library that led here."""
    told = _told.get()
    if told is not None and text in told:
        return
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "xaicl_lib":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)
    if isinstance(told, set):
        told.add(text)


@contextmanager
def each_once() -> Iterator[None]:
    """The same text is told once, however many photos it is about."""
    with _telling(set() if (told := _told.get()) is None else told):
        yield


@contextmanager
def untold() -> Iterator[None]:
    """No notes of ours, where the result says the same."""
    with _telling(_Everything()):
        yield


@contextmanager
def _telling(told: Container[str]) -> Iterator[None]:
    token = _told.set(told)
    try:
        yield
    finally:
        _told.reset(token)


@contextmanager
def quiet(category: type[Warning] = Warning) -> Iterator[None]:
    """No warnings of this kind, for short calls of other libraries; one thread at a time."""
    with _one_thread, warnings.catch_warnings(action="ignore", category=category):
        yield
