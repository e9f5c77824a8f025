"""The registry of metrics, and what a metric returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xaicl_lib.annotations import parameters, require
from xaicl_lib.registry import Entry, Registry


@dataclass(frozen=True, eq=False)
class Curves:
    """Insertion and deletion curves of n pairs."""

    #: column to scores (n, sides, k + 1), evenly spaced over the share of pixels changed; one side for simultaneous metrics, where both
    #: images change
    points: dict[str, Float[Tensor, "n s k"]]
    encoded: Int[Tensor, " n"]  #: images encoded for them, beside the whole and the empty ones
    #: column to (n,) bound on the error of the area against that of all points; 0 where every point was encoded
    error: dict[str, Float[Tensor, " n"]]

    @staticmethod
    def nothing(n: int) -> "Curves":
        """No curves yet."""
        return Curves({}, torch.zeros(n, dtype=torch.long), {})

    @staticmethod
    def stack(parts: "Sequence[Curves]") -> "Curves":
        """Curves of several portions of pairs as one."""
        points = {name: torch.cat([part.points[name] for part in parts]) for name in parts[0].points}
        error = {name: torch.cat([part.error[name] for part in parts]) for name in parts[0].error}
        return Curves(points, torch.cat([part.encoded for part in parts]), error)

    def join(self, other: "Curves") -> "Curves":
        """Curves of the same pairs under other names, put together."""
        return Curves({**self.points, **other.points}, self.encoded + other.encoded, {**self.error, **other.error})

    def rename(self, names: dict[str, str]) -> "Curves":
        """The same curves under other names."""
        points, error = ({names[name]: value for name, value in given.items()} for given in (self.points, self.error))
        return Curves(points, self.encoded, error)

    def only(self, columns: Sequence[str]) -> "Curves":
        """The curves of these columns."""
        points, error = ({name: v for name, v in given.items() if name in columns} for given in (self.points, self.error))
        return Curves(points, self.encoded, error)

    def areas(self) -> dict[str, Float[Tensor, " n"]]:
        """Area under each curve by the trapezoid rule over [0, 1], averaged over its sides."""
        return {name: torch.trapezoid(p, dx=1 / (p.shape[2] - 1), dim=2).mean(1) for name, p in self.points.items()}


@dataclass(frozen=True, eq=False)
class Measured:
    """What a metric found: values (n,) by column, and curves where it has any."""

    values: dict[str, Float[Tensor, " n"]]
    curves: Curves | None = None


class Metric(Entry):
    """One column of a table of metrics; several may share a function, (model, pair, explanation, columns, *, ...) -> Measured.

    Its facts: `higher_is_better`; `low` and `high`, between which values usually lie; `says`; `needs`; `paper` (bib key), `where`.
    """

    @property
    def options(self) -> dict[str, Any]:
        """The function's own options and their defaults."""
        return {p.name: p.default for p in parameters(self.function).values() if p.kind is p.KEYWORD_ONLY}

    def check(self, options: dict[str, Any]) -> None:
        """Let those of these options pass that the metric has.

        Raises:
            InputError: one is not of the type that the metric's function says.
        """
        known = parameters(self.function)
        for name in options.keys() & self.options.keys():
            require(options[name], known[name].annotation, f"{name} of {self.name}")


def _columns(function: Callable[..., Measured], **columns: dict[str, Any]) -> list[Metric]:
    """A metric for each column with its facts."""
    return [Metric(name, function, facts) for name, facts in columns.items()]


metrics: Registry[Metric] = Registry("metric", _columns)
