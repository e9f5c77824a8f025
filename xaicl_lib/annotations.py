"""Whether a value is what an annotation says, for options that come from a command line, a widget or a table of settings."""

import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np

from xaicl_lib.errors import InputError

NUMBERS: dict[Any, tuple[type, ...]] = {bool: (bool,), int: (int,), float: (float, int), complex: (complex, float, int)}


LONGEST = 60  # characters of a value in a title or a message


def brief(value: Any) -> str:
    """A parameter's value as a title has room for it: tensors by their shape, functions by their names, long text cut."""
    if (shape := getattr(value, "shape", None)) is not None and not isinstance(value, np.generic):
        return f"{type(value).__name__.lower()}{tuple(shape)}"
    text = getattr(value, "__name__", None) or " ".join(str(value).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """A function's parameters by name, their annotations evaluated where they were written as text."""
    try:
        return inspect.signature(function, eval_str=True).parameters
    except NameError:  # a name that is imported for type checkers only
        return inspect.signature(function).parameters


def plain(value: Any) -> Any:
    """NumPy's numbers as Python's, which are printed, stored and compared alike; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def require(value: Any, wanted: Any, what: str) -> None:
    """Let a value pass that is what an annotation says.

    Raises:
        InputError: it is not; `what` it is called in the message.
    """
    if not is_a(value, wanted):
        given = repr(value)
        given = brief(value) if hasattr(value, "shape") or "\n" in given else given
        raise InputError(f"expected {what} to be {inspect.formatannotation(wanted)}, got {given}")


def is_a(value: Any, wanted: Any) -> bool:
    """Whether a value is of an annotated type: a whole number is a float, too, but True and False are no numbers.

    Of containers the items are looked at, of functions only that they can be called. What cannot be checked is let through.
    """
    value, origin, inside = plain(value), get_origin(wanted), get_args(wanted)
    if wanted is None:
        return value is None
    if wanted in NUMBERS:
        return isinstance(value, NUMBERS[wanted]) and isinstance(value, bool) == (wanted is bool)
    if origin in (Union, types.UnionType):
        return any(is_a(value, one) for one in inside)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inside)
    if origin is tuple:
        return isinstance(value, tuple) and _are(value, inside)
    if isinstance(origin, type):
        return _is_instance(value, origin) and (not isinstance(value, str)) and _items_are(value, origin, inside)
    return _is_instance(value, wanted)


def _are(items: tuple, wanted: tuple) -> bool:
    if len(wanted) == 2 and wanted[1] is ...:
        return all(is_a(item, wanted[0]) for item in items)
    return len(items) == len(wanted) and all(map(is_a, items, wanted))


def _items_are(value: Any, origin: type, inside: tuple) -> bool:
    """Whether the items of a list, a set or a mapping are what its annotation says."""
    if issubclass(origin, Mapping) and len(inside) == 2:
        return all(is_a(k, inside[0]) and is_a(v, inside[1]) for k, v in value.items())
    many = isinstance(value, list | tuple | set | frozenset) and len(inside) == 1
    return not many or all(is_a(item, inside[0]) for item in value)


def _is_instance(value: Any, wanted: Any) -> bool:
    try:
        return isinstance(value, wanted)
    except TypeError:  # no type: Any, a variable of types, text that names one
        return True
