"""Small pictures in a grid, with titles, and outlines of what is known to be there: pairs, their maps, and maps for classes."""

import html
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from PIL import Image, ImageOps
from torch import Tensor

from xaicl_lib.data.scenes import SHAPES
from xaicl_lib.errors import InputError
from xaicl_lib.pair import Explanation, Pair, resize_map
from xaicl_lib.views.figures import DIVERGING, OPACITY, UNIFORM, as_image, data_uri
from xaicl_lib.views.render import described
from xaicl_lib.views.style import BARE, PLAIN, fitted

CELL = 112  # pixels of a picture
GAP, TITLE = 6, 24  # between the items, and above them
_PLAIN = {**PLAIN, "font": {"size": 12}}


def gallery_figure(
    items: Sequence[tuple[str, Sequence[Float[Tensor, "3 h w"]]]],
    *,
    columns: int = 3,
    heads: Sequence[str] = (),
    masks: Sequence[Sequence[Tensor]] | None = None,
    notes: Sequence[Sequence[str]] | None = None,
    cell: int = CELL,
    below: int = 0,
    what: str = "Pictures in rows",
) -> go.Figure:
    """Groups of pictures side by side, each group under its title, so many groups in a row.

    Args:
        items: title and pictures in [0, 1]; as many pictures in each.
        columns: groups in a row.
        heads: above the first row, the names of its pictures.
        masks: for each item and picture what to outline, (h, w) boolean.
        notes: for each item and picture what is said when it is pointed at.
        cell: pixels of a picture.
        below: pixels for what is put below the pictures.
        what: is seen, for those who do not see it, before the titles.

    Raises:
        InputError: nothing to show, or groups of different numbers of pictures.
    """
    counts = {len(pictures) for _, pictures in items}
    if len(counts) != 1 or 0 in counts:
        raise InputError(f"expected groups of as many pictures each, at least one, got {sorted(counts)}")
    each, columns, title = counts.pop(), min(columns, len(items)), TITLE * cell / CELL
    wide, tall = each * cell + GAP, cell + title
    width, height = columns * wide - GAP, -(-len(items) // columns) * tall
    corners = [(k % columns * wide, k // columns * tall + title) for k in range(len(items))]
    figure = go.Figure(_pointed(corners, cell, notes))
    for k, ((name, pictures), (x, y)) in enumerate(zip(items, corners, strict=True)):
        strip = Image.new("RGB", (each * cell, cell), "white")
        for j, picture in enumerate(pictures):
            strip.paste(_picture(picture, masks[k][j] if masks else None, cell), (j * cell, 0))
        place = {"x": x, "y": y, "sizex": each * cell, "sizey": cell, "xref": "x", "yref": "y"}
        figure.add_layout_image(source=data_uri(strip), **place, sizing="stretch", layer="below")
        figure.add_annotation(text=html.escape(name), x=x, y=y, xanchor="left", yanchor="bottom", showarrow=False, align="left")
    middles = [(j + 0.5) * cell for j in range(len(heads))]
    figure.update_xaxes(**BARE, range=[0, width], side="top", tickvals=middles, ticktext=list(map(html.escape, heads)), tickangle=0)
    figure.update_yaxes(**BARE, range=[height, 0], showticklabels=False)
    top = 30 if heads else 4
    narrow = _narrow([name for name, _ in items], columns, wide, cell)
    figure.update_layout(**_PLAIN, margin={"l": 0, "r": 0, "t": top, "b": 4 + below}, **fitted(top + 4 + below, height / width, narrow))
    titles = dict.fromkeys(name for name, _ in items if name)
    return described(figure, f"{what.rstrip('.:')}: {', '.join(titles)}." if titles else what)


def _pointed(corners: Sequence[tuple[float, float]], cell: int, notes: Sequence[Sequence[str]] | None) -> go.Scatter:
    """What is said of pictures when they are pointed at; where nothing is, an empty trace, without which plotly draws no axes."""
    said = [
        (x + (j + 0.5) * cell, y + cell / 2, note) for (x, y), row in zip(corners, notes or (), strict=False) for j, note in enumerate(row)
    ]
    x, y, text = zip(*said, strict=True) if said else ((), (), ())
    return go.Scatter(x=x, y=y, mode="markers", marker={"size": 40, "opacity": 0}, hovertext=text, hoverinfo="text", showlegend=False)


def _narrow(titles: Sequence[str], columns: int, wide: int, cell: int) -> dict[str, Any]:
    """What the book's script changes on a phone: letters are smaller, and titles that would touch their neighbours have several lines."""
    letter, units = 9, columns * wide - GAP
    scale = 340 / units  # pixels of a phone for one of ours
    lines = [textwrap.wrap(title, max(1, int(1.7 * (wide - GAP) * scale / letter)), break_long_words=False) for title in titles]
    tall = cell + max(TITLE * cell / CELL, 1.4 * letter * max(map(len, lines)) / scale)
    height = -(-len(titles) // columns) * tall
    layout: dict[str, Any] = {"font.size": letter, "yaxis.range": [height, 0]}
    for k, words in enumerate(lines):
        top = (k // columns + 1) * tall - cell
        layout |= {f"annotations[{k}].text": "<br>".join(map(html.escape, words)), f"annotations[{k}].y": top, f"images[{k}].y": top}
    return {"share": height / units, "layout": layout}


def pair_gallery(
    rows: Sequence[tuple[Sequence[str], Pair, Explanation]], *, what: str, outline: bool = False, one_scale: bool = False
) -> go.Figure:
    """The first of each pairs in a row: both images, and the maps of both on one scale.

    Args:
        rows: titles of the four pictures, pairs, and their explanations.
        what: is seen, for those who do not see it, before the titles.
        outline: draw a line around the evidence that is shared, on the images.
        one_scale: for the maps of all rows, instead of one for each row.

    Raises:
        InputError: no rows, or one without side b.
    """
    items: list[list[tuple[str, Tensor, Tensor | None]]] = []
    for titles, pair, made in rows:
        images, maps = both_sides(pair, made)
        masks = (pair.truth.a[0], pair.truth.b[0]) if outline and pair.truth is not None else ()
        seen = [_outlined(*one) for one in zip(images, masks, strict=True)] if masks else images
        items.append(list(zip(titles, (*seen, *images), (None, None, *maps), strict=True)))
    groups = [[one for row in items for one in row]] if one_scale else items
    return gallery_figure([item for group in groups if group for item in under_maps(group)], columns=4, what=what)


def both_sides(pair: Pair, made: Explanation, k: int = 0) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Both images of a pair, and both maps of it.

    Raises:
        InputError: one without side b.
    """
    if pair.b is None or made.b is None:
        raise InputError("expected pairs of two sides and their maps, got one without side b")
    return (pair.a[k], pair.b[k]), (made.a[k], made.b[k])


def _picture(pixels: Float[Tensor, "3 h w"], mask: Bool[Tensor, "h w"] | None, cell: int) -> Image.Image:
    inner = cell - 4  # a white edge keeps neighbours apart
    image = F.interpolate(pixels[None].float().cpu(), (inner, inner), mode="bicubic", antialias=True).clamp(0, 1)[0]
    if mask is not None:
        image = _outlined(image, F.interpolate(mask[None, None].float().cpu(), (inner, inner))[0, 0] > 0.5)
    return ImageOps.expand(as_image(image), 2, "white")


def _outlined(image: Float[Tensor, "3 h w"], mask: Bool[Tensor, "h w"]) -> Float[Tensor, "3 h w"]:
    """The image with a white line of two pixels around the mask and a black one around that, to be seen on anything."""
    if mask.all() or not mask.any():
        return image
    spread = [mask, *(F.max_pool2d(mask[None, None].float(), 2 * r + 1, 1, r)[0, 0] > 0 for r in (2, 3))]
    image = torch.where(spread[2] & ~spread[1], 0.0, image)
    return torch.where(spread[1] & ~spread[0], 1.0, image)


def overlaid(image: Float[Tensor, "3 h w"], map_: Float[Tensor, "i j"], limit: float, *, signed: bool = False) -> Float[Tensor, "3 h w"]:
    """The image under its map, whose values from 0 to `limit` are colours, signed ones from -`limit` (blue) to `limit` (red); the same
    limit makes maps comparable.
    """
    from matplotlib import colormaps

    low, colours = (-1, DIVERGING) if signed else (0, UNIFORM)
    values = resize_map(map_[None].float().cpu(), (image.shape[1], image.shape[2]))[0] / (limit or 1.0)
    shares = (values.clamp(low, 1).numpy() - low) / (1 - low)
    over = torch.from_numpy(colormaps[colours](shares)[..., :3]).permute(2, 0, 1).to(image.cpu())
    return (1 - OPACITY) * image.cpu() + OPACITY * over


def under_maps(items: Sequence[tuple[str, Tensor, Tensor | None]], *, signed: bool = False) -> list[tuple[str, list[Tensor]]]:
    """Titles and pictures for `gallery_figure`: each picture under its map, if it has one, all maps on one scale."""
    limit = max(float(map_.abs().max()) for _, _, map_ in items if map_ is not None)
    return [(title, [image if map_ is None else overlaid(image, map_, limit, signed=signed)]) for title, image, map_ in items]


def pairs_figure(pairs: Mapping[str, Pair], *, what: str, outline: bool = True) -> go.Figure:
    """Both sides of the first pair of each, side by side.

    Args:
        pairs: by title.
        what: is seen, for those who do not see it, before the titles.
        outline: draw a line around the evidence that is shared.
    """
    items = [(title, [side[0] for side in pair.sides]) for title, pair in pairs.items()]
    masks = [(pair.truth.a[0], pair.truth.b[0]) for pair in pairs.values() if pair.truth is not None]
    return gallery_figure(items, masks=masks if outline else None, what=what)


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
        items += under_maps([(title, scene, None), *((f"map for {name}", scene, m) for name, m in zip(names, of_shape, strict=True))])
    seen = " and ".join(f"a {name}" for name in names)
    what = f"A scene with {seen}, and its maps for either shape by {method}, a row for each of {'; '.join(maps)}"
    return gallery_figure(items, columns=1 + len(names), what=what)
