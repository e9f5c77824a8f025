"""The one exception for input that cannot be used; the command line prints its text as one line and exits with 2."""


class InputError(ValueError):
    """What was given is not what was expected. The text names both and, for names, what exists."""


def unknown(kind: str, name: object, known: object) -> InputError:
    """The error for a name that is not among the known ones."""
    return InputError(f"unknown {kind} {name!r}; there are: {', '.join(map(str, known))}")  # type: ignore[call-overload]
