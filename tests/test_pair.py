"""Pairs refuse what they cannot be; explanations slice, join and resize."""

import numpy as np
import pytest
import torch

from tests.conftest import assert_close, random_pair
from xaicl_lib import Explanation, InputError, Pair
from xaicl_lib.pair import Truth

GOOD = torch.rand(2, 3, 8, 8)


@pytest.mark.parametrize(
    ("a", "says"),
    [
        (GOOD[0], r"side a: expected shape \(n, c, h, w\), got \(3, 8, 8\)"),
        *((torch.rand(2, 8, 8, c), rf"expected channels first, \(n, c, h, w\), got \(2, 8, 8, {c}\)") for c in (1, 3, 4)),
        ((GOOD * 255).byte(), r"expected floats in \[0, 1\], got torch.uint8; divide by 255"),
        (GOOD * 255, r"expected values in \[0, 1\], got \[.*\]; divide by 255"),
        (GOOD - 1, r"expected values in \[0, 1\], got \[-"),
        (torch.full((1, 3, 4, 4), float("nan")), r"expected values in \[0, 1\], got \[nan, nan\]"),
        (torch.cat([GOOD, torch.full((1, 3, 8, 8), float("inf"))]), "inf"),
        (torch.rand(0, 3, 8, 8), "at least one image"),
        (GOOD.numpy(), "expected a tensor"),
    ],
)
def test_images_that_cannot_be(a, says) -> None:
    with pytest.raises(InputError, match=says):
        Pair(a, GOOD)
    with pytest.raises(InputError, match=says.replace("side a", "side b")):
        Pair(GOOD, a)


def test_sides_of_different_number() -> None:
    with pytest.raises(InputError, match="as many images on side a as on side b, got 2 and 1"):
        Pair(GOOD, GOOD[:1])


@pytest.mark.parametrize("c", [1, 2, 4])
def test_sides_of_different_channels(c) -> None:
    assert Pair(GOOD[:, :1].expand(-1, c, -1, -1)).a.shape == (2, c, 8, 8)
    with pytest.raises(InputError, match=f"as many channels on side a as on side b, got 3 and {c}"):
        Pair(GOOD, GOOD[:, :1].expand(-1, c, -1, -1))


@pytest.mark.parametrize("mask", [torch.ones(2, 8, 8), torch.ones(2, 7, 8, dtype=torch.bool), torch.ones(1, 8, 8, dtype=torch.bool)])
def test_truth_that_does_not_fit(mask) -> None:
    right = torch.ones(2, 8, 8, dtype=torch.bool)
    with pytest.raises(InputError, match="truth of side b: expected a boolean mask"):
        Pair(GOOD, GOOD, Truth(right, mask))


def test_slices_and_swaps_carry_the_truth() -> None:
    a, b = torch.zeros(2, 8, 8, dtype=torch.bool), torch.ones(2, 8, 8, dtype=torch.bool)
    pair = Pair(GOOD, GOOD.flip(3), Truth(a, b))
    part = pair[1].swap()
    assert torch.equal(part.a, GOOD.flip(3)[1:])
    assert torch.equal(part.truth.a, b[1:])
    assert torch.equal(pair[-1].a, GOOD[1:])
    assert all(torch.equal(pair[index].a, GOOD[1:]) for index in (np.int64(1), torch.tensor(1), np.int64(-1)))
    with pytest.raises(IndexError, match="pair 2 of 2"):
        pair[np.int64(2)]
    assert len(pair[0:2]) == 2
    with pytest.raises(IndexError, match="pair 2 of 2"):
        pair[2]


def test_iterating_ends() -> None:
    assert [len(one) for one in random_pair(3)] == [1, 1, 1]


def test_a_pair_without_side_b_cannot_be_swapped() -> None:
    with pytest.raises(InputError, match="without side b"):
        Pair(GOOD).swap()


def test_maps_are_resized_without_a_change_of_scale() -> None:
    ramp = torch.arange(4.0).view(1, 2, 2)
    made = Explanation(ramp, None, torch.ones(1))
    big, none = made.maps(4)
    assert none is None
    assert_close(big[0, 0], torch.tensor([0, 0.25, 0.75, 1]))  # half-pixel centres, edges repeated
    assert_close(big[0, :, 0], torch.tensor([0, 0.5, 1.5, 2]))


def test_explanations_join_in_order() -> None:
    parts = [Explanation(torch.full((k, 2, 2), float(k)), torch.zeros(k, 3, 3), torch.full((k,), float(k))) for k in (1, 2)]
    joined = Explanation.concat(parts)
    assert joined.score.tolist() == [1, 2, 2]
    assert joined.a.shape == (3, 2, 2)
    assert joined.joint is None
