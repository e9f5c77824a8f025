"""What a run of the suite found: pair by pair, summed up, and as a file that others can read."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from xaicl_lib.benchmark import shortcuts
from xaicl_lib.benchmark.scores import METRICS as OF_PAIRS
from xaicl_lib.errors import InputError, require
from xaicl_lib.files import output_file, written_whole
from xaicl_lib.statistics.paired import holm, interval, signed_ranks

FORMAT = 2
METRICS = {**OF_PAIRS, **shortcuts.METRICS}
COLUMNS = ["model", "kind", "pair", "metric", "value", "chance"]
PAIR = ["kind", "pair"]  # what tells pairs apart


@dataclass(frozen=True)
class Result:
    """What one method is worth on the suite."""

    method: str  #: its name
    #: for each model and kind what was measured: digest of the pairs, their numbers, `effects`, `values` and `chances` by metric, costs
    cells: list[dict[str, Any]]
    facts: dict[str, Any] = field(default_factory=dict)  #: suite, seed, count, device, versions, date

    @property
    def table(self) -> pd.DataFrame:
        """A row for each model, kind, pair and metric: value in [0, 1] and chance. Pair 7 of a kind is the same for all models."""
        rows = [
            (cell["model"], cell["kind"], drawn, name, value, chance)
            for cell in self.cells
            for name in cell["values"]
            for drawn, value, chance in zip(cell["drawn"], cell["values"][name], cell["chances"][name], strict=True)
        ]
        return pd.DataFrame(rows, columns=COLUMNS)

    def of_pairs(self, metric: str) -> pd.DataFrame:
        """Value and chance of each pair, by kind and number: of a pair that several models were asked, their mean."""
        return self.table[self.table["metric"] == metric].groupby(PAIR)[["value", "chance"]].mean()

    def summary(self) -> pd.DataFrame:
        """A row for each metric: mean, low, high (95 % over pairs), chance, n, decided (there is an interval, and it leaves out chance).

        A pair that several models were asked is one pair, with the mean of its values.
        """
        rows = []
        for name in self._metrics:
            part = self.of_pairs(name)
            low, high = interval(part["value"].to_numpy())
            mean, chance = part.mean()[["value", "chance"]]
            rows.append((name, mean, low, high, chance, len(part), bool(chance < low or high < chance)))
        return pd.DataFrame(rows, columns=["metric", "mean", "low", "high", "chance", "n", "decided"]).set_index("metric")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write FILE.json, as `schema.json` of this package describes it.

        Raises:
            InputError: another ending, or a file that cannot be written.
        """
        with written_whole(output_file(path, (".json",))) as part:
            part.write_text(json.dumps(self.as_dict()), encoding="utf-8")

    def as_dict(self) -> dict[str, Any]:
        """All of it, in plain values."""
        return {"format": FORMAT, "method": self.method, **self.facts, "metrics": self._metrics, "cells": self.cells}

    @property
    def _metrics(self) -> dict[str, str]:
        """What is measured, with what it says."""
        names = {name for cell in self.cells for name in cell["values"]}
        return {name: says for name, says in METRICS.items() if name in names}

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Result":
        """Read a file that `save` wrote.

        Raises:
            InputError: another file.
        """
        try:
            given = json.loads(Path(path).read_text(encoding="utf-8"))
            if given["format"] != FORMAT:
                raise InputError(f"expected a result of format {FORMAT}, got {given['format']!r} in {str(path)!r}")
            facts = {key: value for key, value in given.items() if key not in ("format", "method", "metrics", "cells")}
            if missing := {"suite", "seed", "count"} - set(facts):
                raise ValueError(f"it lacks {', '.join(sorted(missing))}")
            if not given["cells"]:
                raise ValueError("it has no cells")
            return cls(str(given["method"]), [_checked(cell) for cell in given["cells"]], facts)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"expected the result of a benchmark in {str(path)!r}: {type(error).__name__} {error}") from error


def _checked(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell of a file that has what is read of it."""
    n, names = len(cell["drawn"]), list(cell["values"])
    rows = [cell[kind][name] for kind in ("values", "chances") for name in names]
    if len(cell["effects"]) != n or not all(isinstance(cell[key], str) for key in ("model", "kind", "pairs")) or not names or not n:
        raise ValueError("a part without pairs, values or names")
    if any(len(row) != n or not all(type(value) in (int, float) and 0 <= value <= 1 for value in row) for row in rows):
        raise ValueError(f"values other than {n} numbers in [0, 1]")
    if len(set(cell["drawn"])) != n or not isinstance(cell["cost"]["seconds"], int | float):
        raise ValueError("pairs that come twice, or a cost that is no number")
    return cell


def ranking(results: Mapping[str, Result], metric: str) -> pd.DataFrame:
    """Methods in the order of their means, with ranks that are shared where the pairs do not decide.

    A method's rank is one more than the number of methods that are better than it: by Wilcoxon's signed-rank test over the pairs that both
    have (a pair that several models were asked is one), corrected by Holm's procedure for all comparisons.

    Returns:
        By method: rank, mean, low, high, chance, n.

    Raises:
        InputError: no results, results on different pairs, or an unknown metric.
    """
    if not results or not _are_alike(results.values()):
        raise InputError("expected results of the same pairs, of one suite, seed and count, to rank")
    for one in results.values():
        require("metric of these results", one._metrics, metric)
    key = ["model", *PAIR]
    values = {name: one.table[one.table["metric"] == metric].set_index(key)["value"] for name, one in results.items()}
    pairs = [(x, y) for x in results for y in results if x < y]
    gains = {(x, y): (values[x] - values[y]).dropna().groupby(PAIR).mean() for x, y in pairs}
    p = dict(zip(pairs, holm([signed_ranks(gain.to_numpy()) for gain in gains.values()]), strict=True))
    better = [(x, y) if gains[x, y].mean() > 0 else (y, x) for x, y in pairs if p[x, y] < 0.05]
    rows = {name: {"rank": 1 + sum(worse == name for _, worse in better), **one.summary().loc[metric]} for name, one in results.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").drop(columns="decided").sort_values(["rank", "mean"], ascending=[True, False])
    return table.astype({"rank": int, "n": int})


def _are_alike(results: Iterable[Result]) -> bool:
    """Whether results are of one suite, seed and count, and of the same pairs where they are of one model and kind."""
    suites, pairs = set(), set()
    for one in results:
        suites.add(tuple(one.facts.get(name) for name in ("suite", "seed", "count")))
        pairs |= {(cell["model"], cell["kind"], cell["pairs"]) for cell in one.cells}
    return len(suites) == 1 and len(pairs) == len({key[:2] for key in pairs})
