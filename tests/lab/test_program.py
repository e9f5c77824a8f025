"""Traced functions as programs: the same numbers, nothing in place, and a refusal where that could not be kept."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter
from torch.fx.experimental.proxy_tensor import make_fx

from xaicl_lib.lab.export.program import to_program


def traced(function: Callable[[Tensor], tuple[Tensor, ...]]) -> GraphModule:
    return make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(torch.ones(3, 4))


def test_the_numbers_stay_and_nothing_is_in_place() -> None:
    table = torch.linspace(-1, 1, 4)

    def function(x: Tensor) -> tuple[Tensor, ...]:
        doubled = x * 2
        doubled.clamp_min_(0.25)
        doubled += table
        other = x + 1
        other.copy_(x.exp())
        split = torch.split(x, 2, 1)[1] * 3
        return doubled.relu_() * doubled, other.neg_(), split

    program = to_program(traced(function))
    names = [str(node.target) for node in program.graph.nodes]
    assert not [name for name in names if "_." in name]
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    found = Interpreter(program.graph_module).run(*program.constants.values(), x)
    for got, want in zip(found, function(x.clone()), strict=True):
        assert torch.equal(got, want)


def viewed_before(x: Tensor) -> tuple[Tensor, ...]:
    y = x * 2
    flat = y.view(-1)
    y.relu_()
    return flat, y


def view_changed(x: Tensor) -> tuple[Tensor, ...]:
    y = x * 2
    torch.split(y, 2, 1)[1].relu_()
    return (y,)


def input_changed(x: Tensor) -> tuple[Tensor, ...]:
    return (x.relu_(),)


def wider_operand(x: Tensor) -> tuple[Tensor, ...]:
    y = x * 2
    y += x.double()  # stays single, which y + x.double() does not
    return (y,)


@pytest.mark.parametrize("function", [viewed_before, view_changed, input_changed, wider_operand])
def test_a_change_that_others_would_see_is_refused(function: Callable[[Tensor], tuple[Tensor, ...]]) -> None:
    with pytest.raises(NotImplementedError, match="expected no operation in place"):
        to_program(traced(function))


def test_operations_to_be_taken_apart_are_refused_when_asked_for() -> None:
    program = to_program(traced(lambda x: (x.exp(),)))
    assert program.run_decompositions({torch.ops.aten.sin.default: torch.sin}) is program
    with pytest.raises(NotImplementedError, match=r"got aten\.exp\.default"):
        program.run_decompositions({torch.ops.aten.exp.default: torch.exp})
