"""Metrics of explanations, one file a family. Importing the package imports every file in it, which fills the registry."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import torch
from jaxtyping import Float
from torch import Tensor

from xaicl_lib.annotations import plain, require
from xaicl_lib.devices import sparing
from xaicl_lib.errors import InputError, unknown
from xaicl_lib.metrics.registry import Curves, Measured, Metric, metrics
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.scores import resolve_score

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

PAPER = ("SI", "SD", "CI", "CD", "SAD", "CAD")  # Sec. IV-B


def list_metrics() -> list[str]:
    """Names of the metrics that `measure` knows."""
    return [metric.name for metric in metrics]


@overload
def measure(
    model: PairModel,
    pair: Pair,
    explanation: Explanation,
    metrics: Sequence[str] = ...,
    step: int | None = ...,
    *,
    curves: Literal[False] = ...,
    **options: Any,
) -> dict[str, Float[Tensor, " n"]]: ...


@overload
def measure(
    model: PairModel,
    pair: Pair,
    explanation: Explanation,
    metrics: Sequence[str] = ...,
    step: int | None = ...,
    *,
    curves: Literal[True],
    **options: Any,
) -> tuple[dict[str, Float[Tensor, " n"]], Curves]: ...


def measure(
    model: PairModel,
    pair: Pair,
    explanation: Explanation,
    metrics: Sequence[str] = PAPER,
    step: int | None = None,
    *,
    curves: bool = False,
    **options: Any,
) -> dict[str, Tensor] | tuple[dict[str, Tensor], Curves]:
    """How good an explanation is, one number for each metric and pair.

    Args:
        model: that was explained.
        pair: n pairs that were explained.
        explanation: of them.
        metrics: names from `list_metrics()`; those that need the same embeddings share them.
        step: pixels changed at a time in insertion and deletion; None is the image's shorter side.
        curves: return insertion and deletion curves, too.
        options: `score` (a function, or the name of one), `generator`, `chunk` as for methods, and the options of single metrics
            (`adaptive`, `insertion`, `deletion`; `radius`, `draws`; ...).

    Returns:
        Values (n,) by name, in the order asked for; with `curves`, also the curves of the areas among them.

    Raises:
        InputError: an unknown metric or option, an option of another type, a name given twice, or maps that do not belong to the pairs.

    Example:
        >>> import torch
        >>> from xaicl_lib import explain
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 4), torch.nn.ReLU())
        >>> model, pair = PairModel(net, size=32), Pair(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
        >>> list(measure(model, pair, explain(model, pair, "grad_cam"), ["SI", "SD"]))
        ['SI', 'SD']
    """
    for value, kind, what in ((model, PairModel, "model"), (pair, Pair, "pair"), (explanation, Explanation, "explanation")):
        require(value, kind, what)
    wanted = [_registry(name) for name in _distinct(metrics)]
    given = options if step is None else {**options, "step": step}
    options = {name: resolve_score(value) if name == "score" else plain(value) for name, value in given.items()}
    _check_options(wanted, options)
    values: dict[str, Tensor] = {}
    found = Curves.nothing(len(pair))
    for function in dict.fromkeys(metric.function for metric in wanted):
        mine = [metric for metric in wanted if metric.function is function]
        given = {name: value for name, value in options.items() if name in mine[0].options}
        with torch.inference_mode(False):
            made = _measured(function, model, pair.detach(), explanation, [metric.name for metric in mine], given)
        values |= made.values
        found = found if made.curves is None else found.join(made.curves)
    values = {metric.name: values[metric.name] for metric in wanted}
    return (values, found) if curves else values


def _measured(
    function: Callable[..., Measured], model: PairModel, pair: Pair, explanation: Explanation, columns: list[str], given: dict[str, Any]
) -> Measured:
    """What one function finds; with fewer images in flight where memory does not suffice."""
    if "chunk" not in inspect.signature(function).parameters:
        return function(model, pair, explanation, columns, **given)
    asked, generator = given.get("chunk"), given.get("generator")
    usual = model.chunk(pair.a[0, 0].numel(), asked)
    return sparing(
        lambda chunk: function(model, pair, explanation, columns, **{**given, "chunk": chunk}), asked and usual, usual, generator
    )


def _registry(name: str) -> Metric:
    return metrics[name]


def _distinct(names: Sequence[str]) -> list[str]:
    if isinstance(names, str):
        names = [names]
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice or not names:
        raise InputError(f"expected different metrics, at least one, got {'none' if not names else ', '.join(names)}")
    return list(names)


def _check_options(wanted: Sequence[Metric], options: dict[str, Any]) -> None:
    known = dict.fromkeys([name for metric in wanted for name in metric.options])
    context = {"score", "generator", "chunk"}  # can be handed to every metric, as to every method
    for name in options:
        if name not in known and name not in context:
            raise unknown("option of these metrics", name, known)
    for metric in wanted:
        metric.check(options)
