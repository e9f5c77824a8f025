"""What a registered method records of a call, and what it lets through."""

import pytest
import torch
from torch import Generator

from tests.conftest import assert_close, random_pair
from xaicl_lib import explain, measure
from xaicl_lib.methods import methods
from xaicl_lib.metrics.sensitivity import explain_again
from xaicl_lib.scores import cosine

DRAWING = {
    "smooth_grad": {"samples": 3},
    "averaged_transforms": {"level": 0.15},
    "rise": {"masks": 20},
    "random_map": {},
    "pairwise_occlusion": {"masks": 300},
}


@pytest.mark.parametrize("name", DRAWING)
def test_what_is_recorded_makes_the_same_map_again(projected, name) -> None:
    generator, pair = Generator().manual_seed(3), random_pair(2)
    torch.rand(5, generator=generator)
    first, second = (explain(projected, pair, name, generator=generator, **DRAWING[name]) for _ in range(2))
    assert not torch.equal(first.a, second.a), "a generator goes on"
    for made in (first, second):
        again = explain_again(projected, pair, made, cosine, None)
        assert again.params == made.params
        assert_close(again.a, made.a)
        assert_close(again.b, made.b)
        assert measure(projected, pair, made, ["max_sensitivity"], radius=0.0)["max_sensitivity"].tolist() == [0, 0]


def test_a_fresh_generator_is_recorded_by_its_own_seed(projected) -> None:
    generator, pair = Generator().manual_seed(3), random_pair(1)
    made = explain(projected, pair, "smooth_grad", generator=generator, samples=2)
    assert made.params["seed"] == 3
    assert explain(projected, pair, "smooth_grad", generator=generator, samples=2).params["seed"] != 3


def test_methods_that_draw_nothing_leave_a_generator_alone(projected) -> None:
    generator = Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    before = generator.get_state()
    for method in methods:
        if not method.takes("generator"):
            assert explain(projected, random_pair(1), method.name, generator=generator).params["seed"] == 3
    assert torch.equal(generator.get_state(), before)
