"""Figures of one-sided questions hold the numbers they are made of."""

import pytest
import torch

from xaicl_lib import Explanation, InputError
from xaicl_lib.views.corpus import either_figure, errors_figure, maps_figure
from xaicl_lib.views.gallery import gallery_figure, overlaid
from xaicl_lib.views.render import alt_of

IMAGE = torch.full((3, 32, 32), 0.5)


def made(top: float, at: tuple[int, int], score: float) -> Explanation:
    map_ = torch.zeros(1, 6, 6)
    map_[0, at[0], at[1]] = top
    return Explanation(map_, None, torch.tensor([score]))


def test_evidence_is_red_and_evidence_against_blue() -> None:
    map_ = torch.tensor([[2.0, 0.0], [0.0, -2.0]])
    shown = overlaid(IMAGE, map_, 2.0, signed=True)
    assert shown[0, 0, 0] > shown[2, 0, 0] + 0.1
    assert shown[2, -1, -1] > shown[0, -1, -1] + 0.1
    assert (shown[:, 0, -1] - shown[0, 0, -1]).abs().max() < 0.05, "no evidence is grey"
    assert torch.equal(overlaid(IMAGE, 0 * map_, 0.0, signed=True), overlaid(IMAGE, 0 * map_, 1.0, signed=True))


def test_maps_carry_scores_and_scales() -> None:
    both = {"first": made(1.0, (0, 0), 0.25), "second": made(0.01, (5, 5), -0.5)}
    titles = [a.text for a in maps_figure(IMAGE, both).layout.annotations]
    assert titles == ["image", "first: +0.25", "second: -0.50"]
    own = [a.text for a in maps_figure(IMAGE, both, one_scale=False).layout.annotations]
    assert own[1:] == ["first: to 1.0e+00", "second: to 1.0e-02"]
    beside = maps_figure(IMAGE, both, columns=2, pictures=dict.fromkeys(both, IMAGE)).layout
    assert [a.text for a in beside.annotations] == ["first: +0.25", "second: -0.50"]
    assert [image.sizex / image.sizey for image in beside.images] == [2, 2]
    assert alt_of(maps_figure(IMAGE, both)) == (
        "Maps. first: score 0.25, strongest at the top left; second: score -0.50, strongest at the bottom right."
    )
    with pytest.raises(InputError, match="at least one explanation"):
        maps_figure(IMAGE, {})


def test_errors_are_drawn_on_the_scale_of_the_maps() -> None:
    map_ = torch.zeros(1, 6, 6)
    map_[0, 0, 0], map_[0, 5, 5] = 1.0, 0.1
    rise = Explanation(map_, None, torch.zeros(1), error_a=torch.full((1, 6, 6), 0.1))
    figure = errors_figure(IMAGE, {100: rise})
    assert [a.text for a in figure.layout.annotations] == ["100 masks", "error 0.100", "beyond 2 errors"]
    clear = torch.where(map_ > 0.2, map_, 0.0)
    want = gallery_figure([("", [overlaid(IMAGE, clear[0], 1.0, signed=True)])]).layout.images[0].source
    assert figure.layout.images[2].source == want, "what is within two errors is not drawn"
    assert "100 masks 0.1000" in alt_of(figure)


def test_either_object_of_a_scene_is_outlined_under_its_text() -> None:
    masks = torch.zeros(1, 2, 32, 32, dtype=torch.bool)
    masks[0, 0, :8], masks[0, 1, 20:] = True, True
    maps = torch.rand(2, 6, 6)
    figure = either_figure(IMAGE[None], masks, [list(zip(("a red disc", "a blue ring"), maps, strict=True))], method="m")
    items = [("", [overlaid(IMAGE, one, maps.max().item())]) for one in maps]
    want = [image.source for image in gallery_figure(items, columns=4, masks=[[m] for m in masks[0]]).layout.images]
    assert [image.source for image in figure.layout.images] == want
    assert alt_of(figure).endswith(": a red disc, a blue ring.")
