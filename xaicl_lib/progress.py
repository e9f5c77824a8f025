"""Progress bars that appear only where someone waits: on a terminal, after two seconds."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], what: str) -> Iterator[T]:
    """The items, with a bar on a terminal once two seconds have passed."""
    yield from tqdm(items, desc=what, delay=2, leave=False, disable=None)
