"""Scenes follow their seed and nothing else, masks are where the objects are, pairs share what their kind says and nothing else."""

from dataclasses import replace

import pytest
import torch

from tests.conftest import assert_close
from xaicl_lib import InputError
from xaicl_lib.data.drawing import Things, render
from xaicl_lib.data.scenes import FACTORS, KINDS, draw_pairs, scene_pairs, scene_set, scenes

ALL = pytest.mark.parametrize("kind", KINDS)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@ALL
def test_pairs_follow_the_seed_and_not_the_batch(kind) -> None:
    few, many = scene_pairs(3, kind, 32), scene_pairs(300, kind, 32, seeded())
    for got, want in ((many.a[:3], few.a), (many.b[:3], few.b), (many.truth.a[:3], few.truth.a), (many.truth.b[:3], few.truth.b)):
        assert_close(got, want)
    assert not torch.allclose(scene_pairs(3, kind, 32, seeded(1)).a, few.a)


def test_chunks_do_not_matter(monkeypatch) -> None:
    want = scene_pairs(7, "one_shared", 32)
    monkeypatch.setattr("xaicl_lib.data.drawing.PIXELS_AT_ONCE", 2 * 32 * 32)
    got = scene_pairs(7, "one_shared", 32)
    assert_close(got.a, want.a, atol=1e-6)
    assert torch.equal(got.truth.b, want.truth.b)


def test_a_scene_is_the_same_in_any_size() -> None:
    small, large = (scenes(20, size) for size in (32, 128))
    shrunk = torch.nn.functional.avg_pool2d(large[0], 4)
    assert (shrunk - small[0]).abs().mean() < 0.03
    assert torch.equal(small[2], large[2])
    agree = (torch.nn.functional.avg_pool2d(large[1].float().unsqueeze(1), 4)[:, 0] > 0.5) == small[1]
    assert agree.float().mean() > 0.99


@ALL
def test_sides_share_what_the_kind_says_and_nothing_else(kind) -> None:
    a, b = draw_pairs(500, kind)
    for factor in ("shape", "texture", "colour", "size"):
        same = getattr(a.things[0], factor) == getattr(b.things[0], factor)
        assert same.all() if factor in KINDS[kind] else not same.any(), factor
    assert (a.ground.kind == b.ground.kind).all() == (kind == "same_background")
    assert (a.ground.kind == b.ground.kind).any() == (kind == "same_background")
    assert not (a.things[0].place == b.things[0].place).any()
    details = {"radius", "turn", "tint", "weave"}
    for detail in details:
        same = (getattr(a.things[0], detail) == getattr(b.things[0], detail)).view(500, -1).all(1)
        assert same.all() if detail in KINDS[kind] else not same.any(), detail
    if kind == "one_shared":
        for mine, other in ((a.things[1], b.things[1]), (a.things[1], a.things[0]), (b.things[1], b.things[0])):
            assert not any((getattr(mine, f) == getattr(other, f)).any() for f in ("shape", "texture", "colour"))


def test_factors_are_independent_of_each_other() -> None:
    a, b = draw_pairs(20_000, "one_shared")
    first, second = a.things
    columns = [first.shape, first.texture, first.colour, a.ground.kind, first.place, first.size, second.shape, b.things[0].place]
    for k, x in enumerate(columns):
        for y in columns[:k]:
            if x is second.shape and y is first.shape:
                continue  # never alike, on purpose
            if x is b.things[0].place and y is first.place:
                continue
            table = torch.zeros(9, 9).index_put_((x, y), torch.ones(len(x)), accumulate=True)
            want = table.sum(1, keepdim=True) * table.sum(0) / table.sum()
            chi = ((table - want) ** 2 / want.clamp_min(1e-9)).sum()
            assert chi < 130, chi  # 64 or fewer degrees of freedom


def test_two_objects_never_touch() -> None:
    for side in draw_pairs(3000, "one_shared"):
        masks = render(side, 32)[1]
        grown = torch.nn.functional.max_pool2d(masks[:, 0].float().unsqueeze(1), 3, 1, 1)[:, 0] > 0
        assert not (grown & masks[:, 1]).any()


def test_large_objects_are_larger() -> None:
    drawn = draw_pairs(2000, "nothing_shared")[0].things[0]
    for size in (0, 1):
        assert drawn.radius[drawn.size == size].max() < drawn.radius[drawn.size == size + 1].min()


def test_objects_stay_inside() -> None:
    mask = scenes(2000, 32)[1]
    assert not mask[:, 0].any()
    assert not mask[:, -1].any()
    assert not mask[:, :, 0].any()
    assert not mask[:, :, -1].any()
    share = mask.float().mean((1, 2))
    assert share.min() > 0.015
    assert share.max() < 0.25


def only_colour_changed(things: Things) -> Things:
    return replace(things, colour=(things.colour + 3) % 8)


def test_the_mask_is_where_the_object_is() -> None:
    """Another colour of the object changes the picture inside of the mask and nowhere else, but for the blended outline."""
    drawn = draw_pairs(100, "nothing_shared")[0]
    changed = replace(drawn, things=(only_colour_changed(drawn.things[0]),))
    (before, masks), (after, same) = render(drawn, 64), render(changed, 64)
    assert torch.equal(masks, same)
    moved = (before - after).abs().amax(1) > 0.02
    mask = masks[:, 0]
    outline = torch.nn.functional.max_pool2d(mask.float().unsqueeze(1), 3, 1, 1)[:, 0] > 0
    assert (moved & ~outline).sum() < 0.005 * moved.sum()  # the thin ends of tips
    assert (moved & mask).sum() / mask.sum() > 0.95


def test_truth_is_the_background_only_where_that_is_shared() -> None:
    ground, objects = scene_pairs(50, "same_background"), scene_pairs(50, "same_object")
    both = ground.truth.a & ground.truth.b
    shadowless = torch.nn.functional.max_pool2d((~both).float().unsqueeze(1), 33, 1, 16)[:, 0] == 0  # away from the shadows
    difference = (ground.a - ground.b).abs().amax(1)
    assert shadowless.any(0).any()
    assert difference[shadowless].max() < 1e-6
    assert 0.02 < objects.truth.a.float().mean() < 0.2
    assert not scene_pairs(5, "nothing_shared").truth.a.any()


def test_shared_objects_are_the_same_up_to_their_place() -> None:
    pair = scene_pairs(200, "same_object", 64)
    areas = [side.float().sum((1, 2)) for side in (pair.truth.a, pair.truth.b)]
    assert (areas[0] / areas[1] - 1).abs().max() < 0.12
    colours = [(image * mask.unsqueeze(1)).sum((2, 3)) / mask.sum((1, 2)).unsqueeze(1) for image, mask in
               ((pair.a, pair.truth.a), (pair.b, pair.truth.b))]  # fmt: skip
    assert (colours[0] - colours[1]).abs().max() < 0.08
    other = scene_pairs(200, "nothing_shared", 64)
    assert (other.a - other.b).abs().mean() > 0.1


def test_labels_and_sets() -> None:
    images, labels, names = scene_set("val", 32, count=400)
    assert images.dtype == torch.uint8
    assert images.float().std() > 30
    assert names == list(FACTORS)
    for k, values in enumerate(FACTORS.values()):
        assert len(values) >= (3 if names[k] == "size" else 8)
        assert set(labels[:, k].tolist()) == set(range(len(values)))
    assert not torch.equal(images[:50], scene_set("train", 32, count=50)[0])


def test_a_set_of_pictures_shows_each_object_twice() -> None:
    one, labels, _ = scene_set("train", 48, 200)
    two, same, _ = scene_set("train", 48, 200, pictures=2)
    assert torch.equal(two[:, 0], one)
    assert torch.equal(same, labels)
    assert (two[:, 0].float() - two[:, 1].float()).abs().mean((1, 2, 3)).min() > 10  # another place, another background
    # The object's own colours are the same in both, wherever it is: what is left of each picture behind its mask.
    a, b = draw_pairs(200, "same_object", seeded(1))
    inside = [(image / 255 * mask).sum((2, 3)) / mask.sum((2, 3)) for image, mask in
              zip(two.float().unbind(1), (render(side, 48)[1].float() for side in (a, b)), strict=True)]  # fmt: skip
    assert (inside[0] - inside[1]).abs().max() < 0.1


def test_errors_name_what_was_given() -> None:
    with pytest.raises(InputError, match="unknown kind of pair 'same_size'; there are: same_object"):
        scene_pairs(2, "same_size")
    with pytest.raises(InputError, match="at least one scene, got 0"):
        scene_pairs(0)
    with pytest.raises(InputError, match="at least 16 pixels a side, got 8"):
        scene_pairs(1, size=8)
    with pytest.raises(InputError, match="unknown set of scenes 'test'"):
        scene_set("test")
