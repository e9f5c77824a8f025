"""Stickers: where they are said to be, all different, and on side b what was asked for."""

import pytest
import torch

from xaicl_lib import InputError
from xaicl_lib.data.scenes import scene_pairs
from xaicl_lib.data.stickers import CORNERS, INSET, SIDE, STICKERS, _stick, stickered_pairs

GREY = torch.full((STICKERS, 3, 64, 64), 0.5)


def test_stickers_cover_their_corner_and_nothing_else() -> None:
    for corner in range(CORNERS):
        images, masks = _stick(GREY, torch.arange(STICKERS), torch.full((STICKERS,), corner))
        assert torch.equal((images != 0.5).all(1), masks)
        assert masks.double().mean().item() == pytest.approx(SIDE**2, rel=0.15)
        rows, columns = masks[0].nonzero().unbind(1)
        near = (rows.min() == round(INSET * 64), columns.min() == round(INSET * 64))
        assert near == (corner in (0, 1), corner in (0, 2))


def test_every_sticker_is_another_one_and_grey() -> None:
    images, masks = _stick(GREY, torch.arange(STICKERS), torch.zeros(STICKERS, dtype=torch.long))
    seen = [images[k][:, masks[k]].view(3, 16, 16) for k in range(STICKERS)]
    for k, one in enumerate(seen):
        assert torch.equal(one[0], one[1])
        assert torch.equal(one[1], one[2])
        assert all((one != other).double().mean() > 0.1 for j, other in enumerate(seen) if j != k)


def test_a_pair_does_not_depend_on_how_many_are_drawn_with_it() -> None:
    few, many = stickered_pairs(3, "another", seed=4), stickered_pairs(9, "another", seed=4)
    assert torch.equal(few.codes, many.codes[:, :3])
    for x, y in zip(few.pair.sides, many.pair.sides, strict=True):
        assert torch.equal(x, y[:3])


def test_side_b_carries_what_was_asked_for() -> None:
    same, another, none = (stickered_pairs(24, carried, seed=3) for carried in ("same", "another", "none"))
    assert torch.equal(same.codes[0], same.codes[1])
    assert (another.codes[0] != another.codes[1]).all()
    assert torch.equal(same.codes[0], another.codes[0])
    assert torch.equal(same.pair.a, another.pair.a)
    bare = scene_pairs(24, "same_object", 64, torch.Generator().manual_seed(3))
    assert torch.equal(none.pair.a, bare.a)
    assert torch.equal(none.pair.b, bare.b)
    for made in (same, another, none):
        assert torch.equal(made.pair.truth.b, same.pair.truth.b)
        assert not (made.objects[1] & made.pair.truth.b).any()
    assert torch.equal((same.pair.b != none.pair.b).any(1) & ~same.pair.truth.b, torch.zeros(24, 64, 64, dtype=torch.bool))
    with pytest.raises(InputError, match="unknown kind of sticker on side b 'two'"):
        stickered_pairs(2, "two")
