"""What was defined, by name: methods, metrics, scores. A registry is filled by a decorator where a function is defined."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from xaicl_lib.errors import require


class _Named(Protocol):
    @property
    def name(self) -> str: ...


E = TypeVar("E", bound=_Named)


@dataclass(frozen=True, eq=False)
class Entry:
    """A registered function with the facts that its decorator declares."""

    name: str
    function: Callable[..., Any]
    facts: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(function: Callable[..., Any], **facts: Any) -> "Sequence[Entry]":
        """The entry of a function under its own name."""
        return [Entry(function.__name__, function, facts)]

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return summary(self.function)


def summary(function: Callable[..., Any]) -> str:
    """First line of a function's docstring."""
    return (inspect.getdoc(function) or "").split("\n")[0]


class Registry(Generic[E]):
    """Entries by name, in the order of their definition.

    Args:
        kind: what an entry is called in messages.
        make: (function, **facts) -> the entries that a decorated function defines.
    """

    def __init__(self, kind: str, make: Callable[..., Sequence[E]]) -> None:
        self._kind, self._make = kind, make
        self._entries: dict[str, E] = {}

    def add(self, **facts: Any) -> Callable[[Callable[..., Any]], Any]:
        """Register what the decorated function defines; an entry that can be called stands in the function's place.

        Raises:
            ValueError: a name that is taken.
        """

        def register(function: Callable[..., Any]) -> Any:
            made = self._make(function, **facts)
            for entry in made:
                if entry.name in self._entries:
                    raise ValueError(f"{self._kind} {entry.name!r} is registered already")
                self._entries[entry.name] = entry
            return made[0] if callable(made[0]) else function

        return register

    def __getitem__(self, name: str) -> E:
        require(self._kind, self._entries, name)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[E]:
        return iter(self._entries.values())
