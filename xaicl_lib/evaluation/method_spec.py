"""A method with its parameters and a label: a row of a table, and whatever else is done by several methods in turn."""

import ast
import re
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

_SHORT = {
    "conditional_occlusion": "occlusion, conditional",
    "pairwise_occlusion": "occlusion, pairwise",
    "rise": "RISE",
    "deep_similarity": "deep similarity",
    "integrated_jacobians": "integrated Jacobians",
    "grad_cam": "Grad-CAM",
    "interaction_cam": "Int-CAM",
    "input_x_gradient": "input x gradient",
    "smooth_grad": "Smooth-Grad",
    "averaged_transforms": "averaged transf.",
    "random_map": "random map",
    "attention_rollout": "attention rollout",
    "legrad": "LeGrad",
}
_OPTIONS = {
    "guided=True": "guided",
    "level=0.15": "noisy",
    "sigma=published": "published noise",
    "grid=published": "as published",
    "reduction=max": "max",
    "reduction=attention": "attention",
    "gradient_interaction=False": "no GI",
}


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


# By name or as a label has it, such as "smooth_grad(guided=True)", with parameters, or whole; as a mapping under labels of one's own.
Method = str | tuple[str, Mapping[str, Any]] | MethodSpec
Methods = str | MethodSpec | Sequence[Method] | Mapping[str, Method]


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
    name, params = _parsed(given) if isinstance(given, str) else given
    return MethodSpec(name, dict(params), label)


def _parsed(label: str) -> tuple[str, dict[str, Any]]:
    """Name and parameters from a label: "smooth_grad(sigma=published, samples=4)" has sigma "published" and samples 4."""
    try:
        call = ast.parse(label, mode="eval").body
    except SyntaxError:
        return label, {}
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        return label, {}
    unnamed = {ast.unparse(one): "" for one in call.args}
    return call.func.id, {**unnamed, **{str(one.arg): _value(one.value, label) for one in call.keywords}}


def _value(node: ast.expr, label: str) -> Any:
    """A number, a truth value or several, and otherwise a word."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.get_source_segment(label, node)


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
        noise = torch.rand(1, model.channels, model.size, model.size, generator=Generator().manual_seed(0))
        explain(model, Pair(noise, noise.flip(3)), "input_x_gradient", guided=True)
    except InputError:
        return {label: spec for label, spec in specs.items() if label not in guided}
    return specs


def short(label: str) -> str:
    """A method's label for a narrow place: "interaction_cam(reduction=max)" is "Int-CAM, max"."""
    found = re.fullmatch(r"(\w+)(?:\((.*)\))?", label)
    if found is None:
        return label
    name, options = found.groups()
    return ", ".join([_SHORT.get(name, name), *(_OPTIONS.get(one, one) for one in (options or "").split(", ") if one)])
