"""One shard of pairs, explained and measured by one method for one model: what a process or a worker does at a time."""

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Generator

from xaicl_lib.evaluation.fingerprint import digest
from xaicl_lib.evaluation.method_spec import MethodSpec
from xaicl_lib.evaluation.store import COLUMNS, Store, code_version
from xaicl_lib.methods import methods as registry
from xaicl_lib.metrics import PAPER, measure
from xaicl_lib.metrics import metrics as metric_registry
from xaicl_lib.model import PairModel
from xaicl_lib.notes import untold
from xaicl_lib.pair import Pair, Truth
from xaicl_lib.scores import cosine


@dataclass(frozen=True)
class Plan:
    """What to do with every shard of pairs for one model: a method, its parameters, what to measure.

    Attributes:
        method: of the registry, with its parameters.
        metrics: columns to measure.
        options: of `measure` and `score`.
        seed: of the generators handed to the method and the metrics.
        chunk: images in flight.
    """

    method: MethodSpec
    metrics: tuple[str, ...] = PAPER
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    chunk: int | None = None

    @functools.cached_property
    def method_key(self) -> str:
        """What identifies the explanations: everything that they depend on beside model and pair."""
        own = registry[self.method.name].function
        return digest(self.method.name, own, dict(self.method.params), self.options.get("score", cosine), self.seed, code_version())

    @functools.cached_property
    def metric_keys(self) -> dict[str, str]:
        """What identifies a measurement beside the explanation, for each metric."""
        measured = {metric: metric_registry[metric] for metric in self.metrics}
        given = {name: {k: v for k, v in self.options.items() if k in one.options} for name, one in measured.items()}
        return {name: digest(name, one.function, given[name], self.seed, code_version()) for name, one in measured.items()}


@dataclass(frozen=True, eq=False)
class Shard:
    """One shard of pairs to be explained and measured by one plan for one model.

    Attributes:
        model, model_key: name and identity of the model.
        plan: what to do.
        first: number of the shard's first pair.
        pair: the shard.
        pair_keys: identity of each pair.
        known: rows of this model and method that are stored already, of these pairs.
    """

    model: str
    model_key: str
    plan: Plan
    first: int
    pair: Pair
    pair_keys: list[str]
    known: pd.DataFrame

    def lacking(self) -> dict[tuple[str, ...], list[int]]:
        """What there is to compute: which pairs (by place in the shard) lack which metrics; each pair's pixels once."""
        there = set(zip(self.known["pair_key"], self.known["metric_key"], strict=True))
        groups: dict[tuple[str, ...], list[int]] = {}
        for name in dict.fromkeys(self.pair_keys):
            metrics = tuple(metric for metric, key in self.plan.metric_keys.items() if (name, key) not in there)
            if metrics:
                groups.setdefault(metrics, []).append(self.pair_keys.index(name))
        return groups


def run(model: PairModel, shard: Shard, store: Store | None) -> pd.DataFrame:
    """The stored rows of a shard and the others, computed and stored."""
    new = []
    for metrics, rows in shard.lacking().items():
        found = _compute(model, shard, metrics, rows)
        if store is not None:
            store.write(found)
        new.append(found)
    return pd.concat([frame for frame in (shard.known, *new) if len(frame)], ignore_index=True)


def _some(pair: Pair, rows: list[int]) -> Pair:
    truth = pair.truth and Truth(pair.truth.a[rows], pair.truth.b if pair.b is None else pair.truth.b[rows])
    return Pair(pair.a[rows], None if pair.b is None else pair.b[rows], truth)


def _compute(model: PairModel, shard: Shard, metrics: Sequence[str], rows: list[int]) -> pd.DataFrame:
    plan, method, pair = shard.plan, registry[shard.plan.method.name], _some(shard.pair, rows).to(model.device)
    given = {"score": plan.options["score"]} if "score" in plan.options and method.takes("score") else {}
    began = time.perf_counter()
    explanation = method(model, pair, generator=Generator().manual_seed(plan.seed), chunk=plan.chunk, **plan.method.params, **given)
    explaining = _seconds_since(began, model)
    found = []
    for function in dict.fromkeys(metric_registry[metric].function for metric in metrics):
        mine = [metric for metric in metrics if metric_registry[metric].function is function]
        options = {k: v for k, v in plan.options.items() if k in metric_registry[mine[0]].options}
        began = time.perf_counter()
        with untold():  # of what is undefined the table says so by NaN, the summary by `undefined`
            values = measure(model, pair, explanation, mine, generator=Generator().manual_seed(plan.seed), chunk=plan.chunk, **options)
        seconds = (explaining + _seconds_since(began, model)) / len(pair)
        for metric, value in values.items():
            key = {"model_key": shard.model_key, "method_key": plan.method_key, "metric_key": plan.metric_keys[metric]}
            names = {"model": shard.model, "method": plan.method.label, "metric": metric, "seed": plan.seed, "version": code_version()}
            found.append(
                pd.DataFrame(
                    {"pair_key": [shard.pair_keys[k] for k in rows], "value": value.cpu().double(), "seconds": seconds, **key, **names}
                )
            )
    return pd.concat(found, ignore_index=True)[COLUMNS]


def _seconds_since(began: float, model: PairModel) -> float:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter() - began
