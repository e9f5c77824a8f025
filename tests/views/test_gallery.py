"""Galleries: where pictures stand, and lines around what is known."""

import pytest
import torch

from xaicl_lib import Explanation, InputError, Pair
from xaicl_lib.pair import Truth
from xaicl_lib.views.gallery import _outlined, gallery_figure, overlaid, pair_gallery
from xaicl_lib.views.render import alt_of


def test_pictures_stand_in_rows_under_their_titles() -> None:
    figure = gallery_figure([(f"<{k}>", [torch.rand(3, 8, 8)] * 2) for k in range(5)], columns=2)
    images, titles = figure.layout.images, figure.layout.annotations
    assert [t.text for t in titles] == [f"&lt;{k}&gt;" for k in range(5)]
    assert len(images) == 5
    assert images[0].x == images[2].x < images[1].x
    assert images[0].y == images[1].y < images[2].y < images[4].y
    assert figure.layout.meta["share"] == figure.layout.yaxis.range[0] / figure.layout.xaxis.range[1]
    with pytest.raises(InputError, match=r"as many pictures each, at least one, got \[1, 2\]"):
        gallery_figure([("a", [torch.rand(3, 8, 8)]), ("b", [torch.rand(3, 8, 8)] * 2)])


def test_titles_that_would_touch_on_a_phone_have_several_lines() -> None:
    """Whose height moves the pictures below them; short ones keep their line and their place."""
    pictures = [torch.rand(3, 8, 8)]
    long = gallery_figure([("untrained network of scenes & photos", pictures), ("map", pictures), ("map", pictures)] * 2, columns=3)
    figure, narrow = long, long.layout.meta["narrow"]["layout"]
    assert narrow["annotations[0].text"].replace("<br>", " ") == "untrained network of scenes &amp; photos"
    assert [narrow[f"annotations[{k}].text"].count("<br>") for k in range(6)] == [1, 0, 0, 1, 0, 0]
    assert narrow["annotations[3].y"] == narrow["images[3].y"] == narrow["images[5].y"] > figure.layout.images[3].y
    assert narrow["yaxis.range"][0] == narrow["images[3].y"] + figure.layout.images[3].sizey
    short = gallery_figure([("a", pictures), ("map", pictures)] * 2, columns=2).layout
    assert short.meta["narrow"]["share"] == short.meta["share"]
    assert [short.meta["narrow"]["layout"][f"images[{k}].y"] for k in range(4)] == [image.y for image in short.images]


def test_the_line_is_around_the_mask_not_on_it() -> None:
    image, mask = torch.full((3, 20, 20), 0.5), torch.zeros(20, 20, dtype=torch.bool)
    mask[8:12, 8:12] = True
    got = _outlined(image, mask)
    assert (got[:, mask] == 0.5).all()
    assert (got[:, 6:8, 8:12] == 1).all()
    assert (got[:, 5, 8:12] == 0).all()
    assert (got[:, 4] == 0.5).all()
    assert torch.equal(_outlined(image, ~torch.zeros_like(mask)), image)


def test_colours_say_how_large_a_value_is_against_the_limit() -> None:
    image = torch.full((3, 8, 8), 0.5)
    dark, bright = (overlaid(image, torch.full((2, 2), v), 1.0).mean() for v in (0.0, 1.0))
    assert dark < bright
    assert torch.equal(overlaid(image, torch.full((2, 2), 2.0), 4.0), overlaid(image, torch.full((2, 2), 0.5), 1.0))


def test_both_maps_of_a_pair_are_on_one_scale() -> None:
    pair, weak = Pair(torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 8, 8)), torch.full((2, 2, 2), 0.25)
    made = Explanation(weak, 4 * weak, torch.zeros(2))
    figure = pair_gallery([(("a", "b", "map of a", "map of b"), pair, made)] * 2, what="Two pairs")
    assert [t.text for t in figure.layout.annotations] == ["a", "b", "map of a", "map of b"] * 2
    images = figure.layout.images
    alone = gallery_figure([("", [overlaid(pair.a[0], weak[0], 1.0)])]).layout.images[0]
    assert images[2].source == alone.source, "a quarter of the larger map's largest value"
    assert images[0].y == images[3].y < images[4].y
    assert alt_of(figure).startswith("Two pairs: a, b")
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[:, 2:5, 2:5] = True
    known = pair_gallery([("abcd", Pair(pair.a, pair.b, Truth(masks, masks)), made)], what="Known", outline=True).layout.images
    assert known[0].source != images[0].source, "a line around what is shared"
    assert known[2].source == images[2].source
    strong = Explanation(10 * weak, 40 * weak, torch.zeros(2))
    rows = [("abcd", pair, made), ("abcd", pair, strong)]
    each, all_ = (pair_gallery(rows, what="Both", one_scale=one).layout.images for one in (False, True))
    assert each[2].source == each[6].source == all_[6].source != all_[2].source
    with pytest.raises(InputError, match="without side b"):
        pair_gallery([("abcd", Pair(pair.a), Explanation(weak, None, torch.zeros(2)))], what="None")
