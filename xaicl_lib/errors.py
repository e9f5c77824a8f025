"""Two exceptions: for input that cannot be used (the command line exits with 2), and for a book that failed (it exits with 1)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """What was given is not what was expected. The text names both and, for names, what exists."""


class NotebookError(InputError):
    """A notebook or a page of the book that did not become what it should; a line for each."""


def require(kind: str, known: Iterable[object], *names: object) -> None:
    """Raise the error of `unknown` for the first of these names that is not among the known ones."""
    there = list(known)
    for name in names:
        if name not in there:
            raise unknown(kind, name, there)


def unknown(kind: str, name: object, known: Iterable[object]) -> InputError:
    """The error for a name that is not among the known ones."""
    return InputError(f"unknown {kind} {name!r}; there are: {', '.join(map(str, known))}")


@contextmanager
def needing(text: str) -> Iterator[None]:
    """Imports of packages that may be missing, within: then the text is said, which names them and how to have them."""
    try:
        yield
    except ImportError as error:
        raise InputError(text) from error


def telling_line(error: Exception) -> str:
    """The line of another package's error that says most: the one that names an operation, else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    telling = [line for line in lines if "aten" in line or "not supported" in line.lower()]
    return (telling or lines)[0][:200]
