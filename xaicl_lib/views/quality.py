"""Figures of explanation quality: maps of one image for the classes in it."""

from collections.abc import Mapping

import plotly.graph_objects as go
from jaxtyping import Float, Int
from torch import Tensor

from xaicl_lib.data.scenes import SHAPES
from xaicl_lib.views.gallery import gallery_figure, overlaid


def class_maps_figure(
    scene: Float[Tensor, "3 h w"], shapes: Int[Tensor, " k"], maps: Mapping[str, Float[Tensor, "k h w"]], method: str
) -> go.Figure:
    """A scene beside its maps for the shapes in it, a row for each of `maps` under its title, on one scale within a row.

    Args:
        scene: in [0, 1].
        shapes: in it.
        maps: of `studies.quality.class_maps`, for each of the shapes.
        method: that made them.
    """
    names = [SHAPES[k] for k in shapes.tolist()]
    items = []
    for title, of_shape in maps.items():
        limit = of_shape.max().item()
        items += [(title, [scene]), *((f"map for {name}", [overlaid(scene, m, limit)]) for name, m in zip(names, of_shape, strict=True))]
    seen = " and ".join(f"a {name}" for name in names)
    what = f"A scene with {seen}, and its maps for either shape by {method}, a row for each of {'; '.join(maps)}"
    return gallery_figure(items, columns=1 + len(names), what=what)
