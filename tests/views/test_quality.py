"""Maps of one scene for the shapes in it."""

import torch

from xaicl_lib.data.scenes import SHAPES
from xaicl_lib.views.gallery import class_maps_figure, gallery_figure, overlaid
from xaicl_lib.views.render import alt_of


def test_a_row_of_maps_has_one_scale_and_another_row_its_own() -> None:
    scene, shapes = torch.rand(3, 8, 8), torch.tensor([2, 0])
    weak, strong = torch.rand(2, 8, 8), 5 * torch.rand(2, 8, 8)
    figure = class_maps_figure(scene, shapes, {"weak": weak, "strong": strong}, "grad_cam")
    names = [f"map for {SHAPES[k]}" for k in (2, 0)]
    assert [a.text for a in figure.layout.annotations] == ["weak", *names, "strong", *names]
    items = [(title, [overlaid(scene, one, maps.max().item())]) for maps in (weak, strong) for title, one in zip(names, maps, strict=True)]
    want = [picture.source for picture in gallery_figure(items, columns=2).layout.images]
    assert [picture.source for k, picture in enumerate(figure.layout.images) if k % 3] == want
    assert alt_of(figure).startswith(f"A scene with a {SHAPES[2]} and a {SHAPES[0]}, and its maps for either shape by grad_cam")
