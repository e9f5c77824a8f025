"""Galleries: where pictures stand, and lines around what is known."""

import pytest
import torch

from xaicl_lib import InputError
from xaicl_lib.views.gallery import gallery_figure, outlined, overlaid


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


def test_the_line_is_around_the_mask_not_on_it() -> None:
    image, mask = torch.full((3, 20, 20), 0.5), torch.zeros(20, 20, dtype=torch.bool)
    mask[8:12, 8:12] = True
    got = outlined(image, mask)
    assert (got[:, mask] == 0.5).all()
    assert (got[:, 6:8, 8:12] == 1).all()
    assert (got[:, 5, 8:12] == 0).all()
    assert (got[:, 4] == 0.5).all()
    assert torch.equal(outlined(image, ~torch.zeros_like(mask)), image)


def test_colours_say_how_large_a_value_is_against_the_limit() -> None:
    image = torch.full((3, 8, 8), 0.5)
    dark, bright = (overlaid(image, torch.full((2, 2), v), 1.0).mean() for v in (0.0, 1.0))
    assert dark < bright
    assert torch.equal(overlaid(image, torch.full((2, 2), 2.0), 4.0), overlaid(image, torch.full((2, 2), 0.5), 1.0))
