"""The lines between photos join the cells that the joint map joins."""

import pytest
import torch

from tests.conftest import build, random_pair
from xaicl_lib import Explanation, InputError, explain
from xaicl_lib.views.matches import _strongest_matches, match_figure
from xaicl_lib.views.render import alt_of


def joint(values: dict) -> Explanation:
    tensor = torch.zeros(1, 2, 2, 2, 3)
    for place, value in values.items():
        tensor[(0, *place)] = value
    return Explanation(tensor.sum((3, 4)), tensor.sum((1, 2)), torch.ones(1), joint=tensor, method="deep_similarity")


def test_matches_are_the_strongest_and_use_a_cell_once() -> None:
    made = joint({(0, 1, 1, 2): 5.0, (0, 1, 0, 0): 4.0, (1, 0, 0, 0): 3.0, (1, 1, 1, 2): 2.0})
    assert _strongest_matches(made, 2) == [((0, 1), (1, 2), 5.0), ((1, 0), (0, 0), 3.0)]
    assert len(_strongest_matches(made, 100)) == 4  # no more than there are cells


def test_lines_end_in_the_middle_of_their_cells() -> None:
    figure = match_figure(random_pair(1), joint({(0, 1, 1, 2): 5.0}), 1)
    assert list(figure.data[0].x) == pytest.approx([0.75, 1.12 + 5 / 6])
    assert list(figure.data[0].y) == pytest.approx([0.25, 0.75])
    assert len(figure.layout.images) == 2
    assert alt_of(figure).endswith("1, 2 with 2, 3, 5."), "cells by row and column"


def test_methods_without_a_joint_map_are_named() -> None:
    made = explain(build("projected"), random_pair(1), "grad_cam")
    with pytest.raises(InputError, match="such as one of deep_similarity, got one of 'grad_cam'"):
        match_figure(random_pair(1), made)
