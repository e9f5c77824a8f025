"""The one figure of the book: the pair on the left, its maps on the right, a row for each method.

Both maps of a row share one scale whose largest value is printed, so a vivid map of nothing cannot happen. Signed maps get
a diverging colour map centred at zero, the others a perceptually uniform one.
"""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from xaicl_lib.annotations import brief, is_a
from xaicl_lib.errors import InputError
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.views.render import described
from xaicl_lib.views.style import BARE, PLAIN, slider

DIVERGING, UNIFORM = "RdBu_r", "inferno"  # both named alike in plotly and matplotlib, both safe for colour-blind readers
OPACITY = 0.65
Channels = int | Sequence[int] | None  # of an image, that are seen
COLUMN_NAMES = ("{0}", "{1}", "map of {0}", "map of {1}")
PHOTO_SIDE = 224  # pixels a side of the photos inside a figure; more would only make pages heavy
WIDTH, TITLE, HEADER, FOOTER, RIGHT = 740, 26, 28, 84, 58  # pixels: the width meant, and what surrounds the pictures


@dataclass(frozen=True)
class Row:
    """One explanation, ready to draw: two maps (i, j) on one scale, or one map."""

    title: str
    maps: tuple[np.ndarray, ...]
    limit: float  # largest absolute value in either map
    diverging: bool

    @property
    def range(self) -> tuple[float, float]:
        """Values at both ends of the colour map."""
        top = self.limit or 1.0  # a map of zeros is drawn as zeros
        return (-top if self.diverging else 0.0, top)

    @property
    def colours(self) -> str:
        """Name of the colour map."""
        return DIVERGING if self.diverging else UNIFORM

    @classmethod
    def of(cls, explanation: Explanation) -> "Row":
        """Of an explanation of one pair, or of one image."""
        maps = tuple(side[0].float().cpu().numpy() for side in explanation.sides)
        limit = max(float(abs(side).max()) for side in maps)
        title = f"{label(explanation)} · score {explanation.score.item():.3f} · scale up to {limit:.2g}"
        from xaicl_lib.methods import methods

        signed = explanation.method in methods and methods[explanation.method].facts["signed"]
        return cls(title, maps, limit, signed or min(float(side.min()) for side in maps) < 0)


def _rows(explanations: Sequence[Explanation], index: int = 0) -> list[Row]:
    """The explanations of one pair as rows of a figure."""
    if not explanations:
        raise InputError("expected at least one explanation to draw, got none")
    for explanation in explanations:
        if explanation.b is None:
            raise InputError(f"expected an explanation of two sides to draw, got one of {explanation.method!r} without side b")
    return [Row.of(explanation[index]) for explanation in explanations]


def label(explanation: Explanation) -> str:
    """Method and the parameters that were set, for titles: `interaction_cam(reduction=max)`."""
    from xaicl_lib.methods import methods

    defaults = methods[explanation.method].defaults if explanation.method in methods else {}  # another library's have no defaults here
    own = [f"{k}={brief(v)}" for k, v in explanation.params.items() if k in defaults and not _same(v, defaults[k])]
    return explanation.method + (f"({', '.join(own)})" if own else "")


def _same(value: Any, other: Any) -> bool:
    """Whether two values of a parameter are equal; of tensors and arrays only one and the same is equal to itself."""
    return value is other or (not hasattr(value, "shape") and not hasattr(other, "shape") and bool(value == other))


def alt_text(explanations: Sequence[Explanation], names: tuple[str, str] = ("A", "B"), index: int = 0) -> str:
    """What is seen in the figure, for readers who do not see it: where each map is strongest."""
    parts = [names[0] if explanations[0].b is None else f"Pair of {names[0]} and {names[1]}."]
    for row in (Row.of(explanation[index]) for explanation in explanations):
        places = " and ".join(f"{place_of(side)} of {name}" for side, name in zip(row.maps, names, strict=False))
        parts.append(f"{row.title}: strongest at the {places}.")
    return " ".join(parts)


def place_of(side: np.ndarray) -> str:
    """In words, the third of the map that holds its largest value."""
    i, j = np.unravel_index(side.argmax(), side.shape)
    rows_, columns = ("top", "middle", "bottom"), ("left", "centre", "right")
    return f"{rows_[int((i + 0.5) * 3 / side.shape[0])]} {columns[int((j + 0.5) * 3 / side.shape[1])]}"


def pair_figure(
    pair: Pair,
    explanations: Sequence[Explanation] | Explanation,
    *,
    index: int = 0,
    names: tuple[str, str] = ("A", "B"),
    photos: Pair | None = None,
    channels: Channels = None,
) -> go.Figure:
    """Interactive figure of one pair and its maps; a slider sets how far the maps cover the photos.

    Args:
        pair: the pair that was explained.
        explanations: one, or several for a row each.
        index: which pair of the batch.
        names: titles of both sides; shown as text, whatever is in them.
        photos: the same pair in more pixels, for the eye.
        channels: of the images that are seen, one as grey or three as red, green and blue; None is all of grey and RGB images, and of
            others the first three. Where that is a choice, the titles say it.
    """
    explanations = [explanations] if isinstance(explanations, Explanation) else list(explanations)
    drawn = _rows(explanations, index)
    shown = photos_of(photos or pair, index, channels)
    figure = go.Figure(layout=_layout([html.escape(row.title) for row in drawn]))
    for k, row in enumerate(drawn):
        _draw_row(figure, k, len(drawn), row, shown)
    for column, name in enumerate(_column_names(pair, channels)):
        left, right = WIDE.columns[column]
        told = html.escape(_fitting(name, names, (right - left) * (WIDTH - RIGHT) / 13))
        figure.add_annotation(text=told, x=(left + right) / 2, y=1, yshift=2, **_TEXT)
    return described(figure, alt_text(explanations, names, index))


_HIDDEN = {**BARE, "showticklabels": False}
_TEXT = {"xref": "paper", "yref": "paper", "showarrow": False, "yanchor": "bottom", "xanchor": "center"}


def _column_names(pair: Pair, channels: Channels) -> list[str]:
    """Those of the four columns, with the channels that are seen where they were chosen."""
    told = said_channels(pair, channels)
    return [name + (f", {told}" if told and column < 2 else "") for column, name in enumerate(COLUMN_NAMES)]


def said_channels(pair: Pair, channels: Channels) -> str:
    """Which channels of its images a figure shows, in words; empty where there is nothing to choose."""
    count = pair.a.shape[1]
    seen = _seen(count, channels)
    return "" if seen == list(range(count)) else f"channel{'s' if len(seen) > 1 else ''} {', '.join(map(str, seen))}"


def _seen(count: int, channels: Channels) -> list[int]:
    """The channels that are seen of so many: one or three."""
    if channels is None:
        return list(range(count))[: 1 if count < 3 else 3]
    seen = [channels] if isinstance(channels, int) else list(channels)
    if len(seen) not in (1, 3) or not all(is_a(one, int) and 0 <= one < count for one in seen):
        raise InputError(f"expected one or three channels of 0 to {count - 1} to be shown, got {channels!r}")
    return seen


def _fitting(title: str, names: tuple[str, str], room: float) -> str:
    """A column's title, the middle of a long name left out so that it stays within `room`, in sizes of the letters."""
    whole = title.format(*names)
    for kept in range(max(map(len, names)), 1, -1):
        if _width(whole) <= room:
            break
        whole = title.format(
            *(name if len(name) <= kept else f"{name[: (kept + 1) // 2]}…{name[len(name) - kept // 2 :]}" for name in names)
        )
    return whole


def _width(text: str) -> float:
    """About how wide text is, in sizes of its letters; rather too much than too little."""
    return sum(
        1.2 if east_asian_width(one) in "WF" else 1 if one in "mwMW@%…" else 0.42 if one in "fijlrt .,:;!|'()[]" else 0.7 for one in text
    )


def photos_of(pair: Pair, index: int, channels: Channels = None) -> list[Image.Image]:
    """Both images of a pair as pictures of the book's size, with the channels as `pair_figure` takes them."""
    if pair.b is None:
        raise InputError("expected a pair with two sides to draw, got one without side b")
    return [to_image(coloured(side[index], channels)) for side in (pair.a, pair.b)]


def coloured(pixels: Float[Tensor, "c h w"], channels: Channels = None) -> Float[Tensor, "3 h w"]:
    """An image of any channels as red, green and blue, as `pair_figure` takes them."""
    return pixels[_seen(len(pixels), channels)].expand(3, -1, -1)


def as_image(pixels: Float[Tensor, "3 h w"]) -> Image.Image:
    """Pixels in [0, 1] as a picture of their own size."""
    return Image.fromarray((pixels.detach().float().cpu().permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))


def to_image(pixels: Float[Tensor, "3 h w"]) -> Image.Image:
    """Pixels (3, h, w) in [0, 1] as a picture of the book's size."""
    image = as_image(pixels)
    scale = PHOTO_SIDE / max(image.size)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BICUBIC)


def data_uri(image: Image.Image, quality: int = 82) -> str:
    """A picture as the address that holds it whole (JPEG)."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


@dataclass(frozen=True)
class _Frame:
    """Where the parts of a figure stand: the ends of its four pictures as shares of the width, and the pixels of a row's title."""

    columns: tuple[tuple[float, float], ...]
    title: int

    def height(self, width: float, count: int) -> float:
        """Pixels that a figure of `count` rows needs at a width for its pictures to be square."""
        left, right = self.columns[-1]
        return HEADER + FOOTER + count * (self.title + (right - left) * (width - RIGHT))

    def band(self, width: float, k: int, count: int) -> tuple[float, float]:
        """Lower and upper end of the pictures of row k, as shares of the plotting area; the title stands above them."""
        title = self.title / (self.height(width, count) - HEADER - FOOTER)
        return 1 - (k + 1) / count, 1 - k / count - title


WIDE = _Frame(((0.0, 0.235), (0.25, 0.485), (0.515, 0.75), (0.765, 1.0)), TITLE)
NARROW = _Frame(((0.0, 0.01), (0.0, 0.01), (0.0, 0.49), (0.51, 1.0)), 2 * TITLE - 8)  # for a phone: the maps alone, titles of two lines


def _narrow(count: int, titles: Sequence[str]) -> dict[str, Any]:
    """What the book's script changes where four pictures are too many for the width: the maps, over their photos, take all of it."""
    width, wide = 360, len(COLUMN_NAMES)
    layout: dict[str, Any] = {"sliders[0].x": 0, "sliders[0].len": 1, "font.size": 11}
    for k, title in enumerate(titles):
        band = NARROW.band(width, k, count)
        layout |= {f"annotations[{k}].text": title.replace(" · ", "<br>", 1), f"annotations[{k}].y": band[1]}
        for column, ends in enumerate(NARROW.columns):
            axis = wide * k + column
            layout |= {f"xaxis{axis + 1 if axis else ''}.domain": ends, f"yaxis{axis + 1 if axis else ''}.domain": band}
            layout[f"images[{axis}].visible"] = column >= 2
    for column, (left, right) in enumerate(NARROW.columns):
        layout |= {f"annotations[{count + column}].x": (left + right) / 2, f"annotations[{count + column}].visible": column >= 2}
    bands = [NARROW.band(width, k, count) for k in range(count)]
    bars = {"colorbar.y": [sum(band) / 2 for band in bands], "colorbar.len": [band[1] - band[0] for band in bands]}
    share = NARROW.height(1, count) - NARROW.height(0, count)
    traces = [wide * k + 3 for k in range(count)]
    return {"fixed": NARROW.height(0, count), "share": share, "layout": layout, "bars": bars, "traces": traces}


def _layout(titles: Sequence[str]) -> go.Layout:
    count = len(titles)
    steps = [{"label": f"{v:.0%}", "method": "restyle", "args": [{"opacity": v}]} for v in (0, 0.25, 0.5, OPACITY, 0.8, 1)]
    return go.Layout(
        **PLAIN,
        height=WIDE.height(WIDTH, count),
        margin={"l": 0, "r": RIGHT, "t": HEADER, "b": FOOTER},
        # For pages that fit the figure to their width: height = fixed + share * width keeps the pictures square.
        meta={"fixed": WIDE.height(0, count), "share": WIDE.height(1, count) - WIDE.height(0, count), "narrow": _narrow(count, titles)},
        sliders=slider(steps, 3, "maps cover ", x=0.515, len=0.485, pad={"t": 18}),
        hoverlabel={"font": {"size": 12}},
    )


def _draw_row(figure: go.Figure, k: int, count: int, row: Row, photos: list[Image.Image]) -> None:
    band = WIDE.band(WIDTH, k, count)
    for column, (left, right) in enumerate(WIDE.columns):
        axis = 4 * k + column + 1
        name = "" if axis == 1 else str(axis)
        side = row.maps[column % 2]
        i, j = side.shape
        photo = photos[column % 2]
        square = photo.height / i / (photo.width / j)  # of a cell: its height over its width, in pixels
        figure.layout[f"xaxis{name}"] = {**_HIDDEN, "domain": [left, right], "range": [0, j], "anchor": f"y{name}", "constrain": "domain"}
        figure.layout[f"yaxis{name}"] = {
            **_HIDDEN, "domain": list(band), "range": [i, 0], "anchor": f"x{name}",
            "constrain": "domain", "scaleanchor": f"x{name}", "scaleratio": square,
        }  # fmt: skip
        figure.add_layout_image(
            source=data_uri(photo), xref=f"x{name}", yref=f"y{name}", x=0, y=0, sizex=j, sizey=i, sizing="stretch", layer="below"
        )
        if column >= 2:
            figure.add_trace(_heatmap(row, side, name, colour_bar=column == 3, band=band))
        else:  # an empty trace, without which plotly draws no axes and so no picture
            figure.add_trace(go.Scatter(x=[], y=[], xaxis=f"x{name}", yaxis=f"y{name}", hoverinfo="skip", showlegend=False))
    figure.add_annotation(text=html.escape(row.title), x=0, y=band[1], yshift=2, align="left", **{**_TEXT, "xanchor": "left"})


def _heatmap(row: Row, side: np.ndarray, axis: str, *, colour_bar: bool, band: tuple[float, float]) -> go.Heatmap:
    low, high = row.range
    ticks = [low, 0, high]
    bar = {
        "y": sum(band) / 2, "len": band[1] - band[0], "x": 1.005, "thickness": 9,
        "tickvals": ticks, "ticktext": [f"{v:.2g}" for v in ticks],
    }  # fmt: skip
    return go.Heatmap(
        z=side.astype(np.float32), x0=0.5, dx=1, y0=0.5, dy=1, zmin=low, zmax=high, zsmooth="best", colorscale=row.colours, opacity=OPACITY,
        xaxis=f"x{axis}", yaxis=f"y{axis}", showscale=colour_bar, colorbar=bar, hovertemplate="%{z:.3g}<extra></extra>",
    )  # fmt: skip


def save_png(
    path: str | Path,
    pair: Pair,
    explanations: Sequence[Explanation] | Explanation,
    *,
    index: int = 0,
    names: tuple[str, str] = ("A", "B"),
    photos: Pair | None = None,
    channels: Channels = None,
) -> None:
    """Write the same figure as a still picture; arguments as for `pair_figure`."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    explanations = [explanations] if isinstance(explanations, Explanation) else list(explanations)
    drawn = _rows(explanations, index)
    shown, titles = photos_of(photos or pair, index, channels), _column_names(pair, channels)
    cell, title, bar = 2.2, 0.55, 0.75  # inches
    figure = Figure(figsize=(4 * cell + bar, len(drawn) * (cell + title)), dpi=120)
    width, tall = figure.get_size_inches()
    for k, row in enumerate(drawn):
        bottom = tall - (k + 1) * (cell + title)
        figure.text(0.06 / width, (bottom + cell + 0.33) / tall, row.title, fontsize=10, parse_math=False)
        for column in range(4):
            axis = figure.add_axes(((column * cell + 0.05) / width, bottom / tall, (cell - 0.1) / width, (cell - 0.05) / tall))
            _draw_still(axis, row, column, shown[column % 2], _fitting(titles[column], names, (cell - 0.1) * 72 / 8))
        axis = figure.add_axes(((4 * cell + 0.05) / width, (bottom + 0.2) / tall, 0.1 / width, (cell - 0.45) / tall))
        low, high = row.range
        figure.colorbar(ScalarMappable(Normalize(low, high), row.colours), cax=axis, ticks=[low, 0, high], format="%.2g")
        axis.tick_params(labelsize=8)
    figure.savefig(path, format="png")


def _draw_still(axis: Any, row: Row, column: int, photo: Image.Image, name: str) -> None:
    axis.set_title(name, fontsize=8, pad=3, parse_math=False)
    axis.axis("off")
    axis.imshow(photo)
    if column >= 2:
        low, high = row.range
        extent = (-0.5, photo.width - 0.5, photo.height - 0.5, -0.5)
        axis.imshow(row.maps[column % 2], row.colours, vmin=low, vmax=high, alpha=OPACITY, interpolation="bilinear", extent=extent)
