"""Localisation against counting by hand."""

import pytest
import torch

from tests.conftest import assert_close
from xaicl_lib import Explanation, InputError, Pair
from xaicl_lib.data.scenes import scene_pairs
from xaicl_lib.metrics import measure
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Truth

MODEL = PairModel(torch.nn.Identity(), size=4)
ALL = ["pointing_game", "relevance_mass", "relevance_rank"]


def test_counted_by_hand() -> None:
    maps = torch.tensor([[9.0, 1.0, 0.0], [-5.0, 4.0, 2.0], [0.0, 3.0, 1.0]])
    truth = torch.tensor([[0, 1, 0], [1, 1, 0], [0, 1, 0]]).bool()
    pair = Pair(torch.rand(1, 3, 3, 3), torch.rand(1, 3, 3, 3), Truth(truth[None], ~truth[None]))
    got = measure(MODEL, pair, Explanation(maps[None], maps[None], torch.ones(1)), ALL)
    # a: first pixel outside; 1 + 4 + 3 of 20; of the four largest (9, 4, 3, 2) two are inside. b: the complement, of the five largest
    # (9, 4, 3, 2 and the last of both ones) 9, 2 and 1 are inside.
    assert got["pointing_game"].item() == (0 + 1) / 2
    assert got["relevance_mass"].item() == pytest.approx((8 / 20 + 12 / 20) / 2)
    assert got["relevance_rank"].item() == pytest.approx((2 / 4 + 3 / 5) / 2)


def test_true_map_is_perfect_and_no_map_is_worth_its_area() -> None:
    pair = scene_pairs(40, "same_object", 32)
    perfect = measure(MODEL, pair, Explanation(pair.truth.a.float(), pair.truth.b.float(), torch.ones(40)), ALL)
    for name in ALL:
        assert_close(perfect[name], torch.ones(40), rtol=1e-6)
    flat = torch.ones(40, 32, 32)
    area = (pair.truth.a.float().mean((1, 2)) + pair.truth.b.float().mean((1, 2))) / 2
    assert_close(measure(MODEL, pair, Explanation(flat, flat, torch.ones(40)), ["relevance_mass"])["relevance_mass"], area, rtol=1e-5)


def test_sides_without_evidence() -> None:
    pair = scene_pairs(3, "nothing_shared", 32)
    flat = torch.rand(3, 8, 8)
    for values in measure(MODEL, pair, Explanation(flat, flat, torch.ones(3)), ALL).values():
        assert values.isnan().all()


def test_negative_maps_hold_no_evidence() -> None:
    pair = scene_pairs(3, "same_object", 32)
    negative = -torch.ones(3, 8, 8)
    got = measure(MODEL, pair, Explanation(negative, negative, torch.ones(3)), ["relevance_mass"])["relevance_mass"]
    assert got.isnan().all(), "no positive value has no place, as in an average drop without a score"


def test_pairs_without_truth() -> None:
    pair = Pair(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8))
    with pytest.raises(InputError, match="whose shared evidence is known"):
        measure(MODEL, pair, Explanation(torch.rand(1, 2, 2), torch.rand(1, 2, 2), torch.ones(1)), ALL)
