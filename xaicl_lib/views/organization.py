"""How models organise images: maps of embedding spaces that work on a page without a kernel."""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.views.figures import as_image, data_uri
from xaicl_lib.views.render import BookFigure, printed
from xaicl_lib.views.studies import PALETTE
from xaicl_lib.views.style import BARE, PLAIN, RING

STATIC = Path(__file__).parent / "static"
TILE = 48  # pixels a side of a thumbnail
_SYMBOLS = {"circle": "●", "diamond": "◆"}


def _class_marks(names: Sequence[str]) -> list[tuple[str, str]]:
    """Colour and symbol of each class, no two alike for up to twice as many classes as there are colours."""
    symbols = list(_SYMBOLS)
    return [(PALETTE[k % len(PALETTE)], symbols[k // len(PALETTE) % len(symbols)]) for k in range(len(names))]


@dataclass(frozen=True)
class _EmbeddingMap:
    """Maps of the same photos by several models, linked: what one points at or chooses in one is shown in all.

    In the book it is drawn by the book's own script; in a live notebook, and as `page()`, it brings everything along. Neither asks a
    kernel or another host for anything.
    """

    figures: tuple[go.Figure, ...]  # one for each model
    data: dict[str, Any]  # what the script needs: sheet of thumbnails, labels, neighbours
    alt: str  # what is to be seen

    def fragment(self) -> str:
        """The HTML of the maps, without the library that draws them."""
        alts = [f"Map of {len(self.data['labels'])} pictures by {model}, coloured by class." for model in self.data["models"]]
        panels = "".join(BookFigure(figure, alt)._repr_html_() for figure, alt in zip(self.figures, alts, strict=True))
        marks = zip(self.data["classes"], _class_marks(self.data["classes"]), strict=True)
        legend = "".join(
            f'<button type="button" aria-pressed="false"><span style="color:{colour}" aria-hidden="true">{_SYMBOLS[symbol]}</span> '
            f"{html.escape(name)}</button>"
            for name, (colour, symbol) in marks
        )
        data = json.dumps(self.data, separators=(",", ":")).replace("<", "\\u003c")
        style, script = (STATIC / "map.css").read_text(), (STATIC / "map.js").read_text()
        return (
            f'<div class="xaicl-map" role="group" aria-label="{html.escape(self.alt, quote=True)}"><style>{style}</style>'
            f'<div class="xaicl-map-legend">{legend}</div><div class="xaicl-map-panels">{panels}</div>'
            f'<div class="xaicl-map-bar"><label>photo <input type="number" min="1" max="{len(self.data["labels"])}"></label>'
            '<button type="button" class="xaicl-map-back">back</button><button type="button" class="xaicl-map-on">on</button></div>'
            '<div class="xaicl-map-found" aria-live="polite"></div><div class="xaicl-map-tip" hidden></div>'
            f'<script type="application/json" class="xaicl-map-data">{data}</script><script>{script}</script></div>'
        )

    def page(self) -> str:
        """A page of its own that needs nothing else."""
        from plotly.offline import get_plotlyjs

        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            "<title>Maps of embedding spaces</title><style>body { font: 15px/1.5 system-ui, sans-serif; margin: 0.5rem; }</style>"
            f"<script>{get_plotlyjs()}</script></head><body>{self.fragment()}<script>{_DRAW}</script></body></html>"
        )

    def _repr_html_(self) -> str:
        if printed():
            return self.fragment()
        alt, page = html.escape(self.alt, quote=True), html.escape(self.page(), quote=True)
        return f'<iframe title="{alt}" srcdoc="{page}" style="width:100%;height:1000px;border:0"></iframe>'

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": self.alt}


_DRAW = """for (const box of document.querySelectorAll(".xaicl-plot")) {
  const { data, layout } = JSON.parse(box.parentElement.querySelector("script[type='application/json']").textContent);
  Plotly.newPlot(box, data, { ...layout, autosize: true }, { responsive: true, displayModeBar: false })
    .then(() => box.setAttribute("data-xaicl-drawn", ""));
}"""


def embedding_map(
    images: Float[Tensor, "n 3 s s"],
    labels: Int[Tensor, " n"],
    classes: Sequence[str],
    positions: Mapping[str, Float[Tensor, "n 2"]],
    near: Mapping[str, tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]],
    *,
    first: int = 0,
) -> _EmbeddingMap:
    """Linked maps of photos by one model or several: thumbnails on hover, nearest neighbours on click or by keyboard.

    Args:
        images: in [0, 1], or bytes; kept as thumbnails of 48 pixels in one JPEG.
        labels: class of each, 0, 1, ...
        classes: their names.
        positions: for each model places of `xaicl_lib.studies.projection.project`.
        near: for each model neighbours and cosines of `xaicl_lib.studies.projection.neighbours`.
        first: the photo that is chosen to begin with.

    Raises:
        InputError: not the same number of photos everywhere, or other models to place them than to find neighbours.
    """
    n = len(images)
    counts = {len(labels), *map(len, positions.values()), *(len(found[0]) for found in near.values())}
    if counts != {n} or list(positions) != list(near) or not 0 <= first < n:
        raise InputError(
            f"expected {n} labels, places and neighbours by the same models, got {sorted(counts)}, {list(positions)}, {list(near)}"
        )
    columns = int(np.ceil(n**0.5))
    data = {
        "models": list(positions), "classes": list(classes), "labels": labels.tolist(), "columns": columns, "first": first,
        "sheet": _sheet(images, columns), "near": [found[0].tolist() for found in near.values()],
        "cosines": [[[round(v, 2) for v in row] for row in found[1].tolist()] for found in near.values()],
    }  # fmt: skip
    figures = tuple(_map_figure(name, xy, labels, classes) for name, xy in positions.items())
    alt = (
        f"Maps of {n} images of {len(classes)} classes by {' and '.join(positions)}, linked: a photo chosen in one is ringed in all, "
        "with its nearest neighbours by each model listed below."
    )
    return _EmbeddingMap(figures, data, alt)


def _sheet(images: Float[Tensor, "n 3 s s"], columns: int) -> str:
    """All images as thumbnails in one JPEG, row by row, as a data address."""
    pixels = images.float().cpu() / 255 if not images.is_floating_point() else images.float().cpu()
    whole = Image.new("RGB", (columns * TILE, -(-len(images) // columns) * TILE), "white")
    for k, image in enumerate(pixels):
        whole.paste(as_image(image).resize((TILE, TILE), Image.Resampling.BICUBIC), (k % columns * TILE, k // columns * TILE))
    return data_uri(whole, 72)


def _map_figure(model: str, positions: Tensor, labels: Tensor, classes: Sequence[str]) -> go.Figure:
    """One map: a trace for each class, and two of rings that the script moves."""
    figure = go.Figure()
    for k, (name, (colour, symbol)) in enumerate(zip(classes, _class_marks(classes), strict=True)):
        own = (labels == k).nonzero()[:, 0]
        x, y = (np.round(positions[own, axis].double().numpy(), 3).tolist() for axis in (0, 1))
        figure.add_trace(
            go.Scatter(
                x=x, y=y, customdata=own.tolist(), name=name, mode="markers", hovertemplate=html.escape(name) + "<extra></extra>",
                marker={"color": colour, "symbol": symbol, "size": 7, "opacity": 0.85, "line": {"width": 0}},
            )
        )  # fmt: skip
    for size, width in ((13, 1.5), (20, 3)):
        ring = {"size": size, "color": RING, "symbol": "circle-open", "line": {"width": width}}
        figure.add_trace(go.Scatter(x=[], y=[], mode="markers", marker=ring, hoverinfo="skip"))
    low, high = positions.amin(0), positions.amax(0)
    room = 0.04 * float((high - low).max())
    ends = [[float(low[k]) - room, float(high[k]) + room] for k in (0, 1)]
    figure.update_xaxes(**BARE, showticklabels=False, range=ends[0])
    figure.update_yaxes(**BARE, showticklabels=False, range=ends[1], scaleanchor="x")
    title = {"text": html.escape(model), "x": 0.5, "y": 0.985, "yanchor": "top", "font": {"size": 14}}
    return figure.update_layout(
        **PLAIN, height=380, margin={"l": 4, "r": 4, "t": 28, "b": 4}, showlegend=False, title=title, hovermode="closest"
    )
