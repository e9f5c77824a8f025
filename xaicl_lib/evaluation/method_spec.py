"""A method with its parameters and a label: a row of a table, and whatever else is done by several methods in turn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator

from xaicl_lib.annotations import brief
from xaicl_lib.errors import InputError
from xaicl_lib.methods import explain
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair


@dataclass(frozen=True)
class MethodSpec:
    """How maps are made.

    Attributes:
        name: of the method.
        params: its own parameters, where they are not its defaults.
        label: in tables and figures; without one, the name with its parameters.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    def __post_init__(self) -> None:
        told = ", ".join(f"{name}={brief(value)}" for name, value in self.params.items())
        object.__setattr__(self, "label", self.label or (f"{self.name}({told})" if told else self.name))

    def explain(self, model: PairModel, pair: Pair, **options: Any) -> Explanation:
        """`xaicl_lib.explain` by this method; its parameters beside `score`, `generator` and `chunk`."""
        return explain(model, pair, self.name, **self.params, **options)


Method = str | tuple[str, Mapping[str, Any]] | MethodSpec
Methods = str | MethodSpec | Sequence[Method] | Mapping[str, Method]  # as a mapping under labels of one's own


def method_specs(methods: Methods) -> dict[str, MethodSpec]:
    """The methods that are given, each under its label.

    Raises:
        InputError: none, or two with one label.
    """
    if isinstance(methods, Mapping):
        specs = [_spec(one, label) for label, one in methods.items()]
    else:
        specs = [_spec(one) for one in ([methods] if isinstance(methods, str | MethodSpec) else methods)]
    require_distinct("method", [spec.label for spec in specs])
    return {spec.label: spec for spec in specs}


def _spec(given: Method, label: str = "") -> MethodSpec:
    if isinstance(given, MethodSpec):
        return MethodSpec(given.name, given.params, label or given.label)
    name, params = (given, {}) if isinstance(given, str) else given
    return MethodSpec(name, dict(params), label)


def require_distinct(kind: str, names: Sequence[str]) -> None:
    """Let names pass of which there is at least one, each once.

    Raises:
        InputError: none, or one of them twice.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice or not names:
        raise InputError(f"expected at least one {kind}, each name once, got {'none' if not names else ', '.join(twice) + ' twice'}")


def possible(methods: Methods, model: PairModel) -> dict[str, MethodSpec]:
    """The methods that a model allows: guided ones need a ReLU, which transformers have in their heads if anywhere."""
    specs = method_specs(methods) if methods else {}
    guided = [label for label, spec in specs.items() if spec.params.get("guided")]
    if not guided:
        return specs
    try:
        noise = torch.rand(1, 3, model.size, model.size, generator=Generator().manual_seed(0))
        explain(model, Pair(noise, noise.flip(3)), "input_x_gradient", guided=True)
    except InputError:
        return {label: spec for label, spec in specs.items() if label not in guided}
    return specs
