"""What a run of the suite found: pair by pair, summed up, and as a file that others can read."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from xaicl_lib.benchmark import shortcuts
from xaicl_lib.benchmark.scores import METRICS as OF_PAIRS
from xaicl_lib.errors import InputError, require
from xaicl_lib.files import output_file, written_whole
from xaicl_lib.statistics.paired import holm, interval, signed_ranks

FORMAT = 1
METRICS = {**OF_PAIRS, **shortcuts.METRICS}
COLUMNS = ["model", "kind", "pair", "metric", "value", "chance"]


@dataclass(frozen=True)
class Result:
    """What one method is worth on the suite."""

    method: str  #: its name
    #: for each model and kind what was measured: `digest` of the pairs, `effects`, `values` and `chances` by metric, costs
    cells: list[dict[str, Any]]
    facts: dict[str, Any] = field(default_factory=dict)  #: suite, seed, count, device, versions, date

    @property
    def table(self) -> pd.DataFrame:
        """A row for each model, kind, pair and metric: value in [0, 1] and chance."""
        rows = [
            (cell["model"], cell["kind"], k, name, value, chance)
            for cell in self.cells
            for name in cell["values"]
            for k, (value, chance) in enumerate(zip(cell["values"][name], cell["chances"][name], strict=True))
        ]
        return pd.DataFrame(rows, columns=COLUMNS)

    def summary(self) -> pd.DataFrame:
        """A row for each metric: mean, low, high (95 % over pairs), chance, n, decided (there is an interval, and it leaves out chance)."""
        rows = []
        for name, part in self.table.groupby("metric", sort=False):
            low, high = interval(part["value"].to_numpy())
            chance = part["chance"].mean()
            rows.append((name, part["value"].mean(), low, high, chance, len(part), bool(chance < low or high < chance)))
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
            made = cls(str(given["method"]), list(given["cells"]), facts)
            if not made.table["value"].between(0, 1).all():
                raise ValueError("values outside [0, 1]")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"expected the result of a benchmark in {str(path)!r}: {error}") from error
        return made


def ranking(results: Mapping[str, Result], metric: str) -> pd.DataFrame:
    """Methods in the order of their means, with ranks that are shared where the pairs do not decide.

    A method's rank is one more than the number of methods that are better than it: by Wilcoxon's signed-rank test over the pairs that both
    have, corrected by Holm's procedure for all comparisons.

    Returns:
        By method: rank, mean, low, high, chance, n.

    Raises:
        InputError: no results, results on different pairs, or an unknown metric.
    """
    require("metric", METRICS, metric)
    if not results or len({_suite_of(one) for one in results.values()}) != 1:
        raise InputError("expected results of one suite, seed and count to rank")
    key = ["model", "kind", "pair"]
    values = {name: one.table[one.table["metric"] == metric].set_index(key)["value"] for name, one in results.items()}
    pairs = [(x, y) for x in results for y in results if x < y]
    gains = {(x, y): (values[x] - values[y]).dropna() for x, y in pairs}
    p = dict(zip(pairs, holm([signed_ranks(gain.to_numpy()) for gain in gains.values()]), strict=True))
    better = [(x, y) if gains[x, y].mean() > 0 else (y, x) for x, y in pairs if p[x, y] < 0.05]
    rows = {name: {"rank": 1 + sum(worse == name for _, worse in better), **one.summary().loc[metric]} for name, one in results.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").drop(columns="decided").sort_values(["rank", "mean"], ascending=[True, False])
    return table.astype({"rank": int, "n": int})


def _suite_of(one: Result) -> tuple[Any, ...]:
    return tuple(one.facts.get(name) for name in ("suite", "seed", "count"))
