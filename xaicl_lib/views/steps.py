"""Methods drawn step by step: the blends of Averaged Transforms as a film strip, joint activations, gradient interaction by hand."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from xaicl_lib.studies.similarity import Blends
from xaicl_lib.views.figures import DIVERGING, data_uri, to_image
from xaicl_lib.views.gallery import overlaid
from xaicl_lib.views.render import described
from xaicl_lib.views.studies import PALETTE
from xaicl_lib.views.style import BARE, GRID, PLAIN, SMALL_LEGEND, WIDTH, fitted

_TITLE, _SIDE, _GAP, _BARS, _BELOW = 18, 44, 12, 120, 76  # pixels: above a strip, to its left, and around the bars
_PANELS = {  # of the toy: its name, and what stands above it
    "G_a": "G<sub>a</sub>", "G_b": "G<sub>b</sub>", "X": "X = G<sub>a</sub>G<sub>b</sub><sup>T</sup>",
    "g_a": "g<sub>a</sub>", "weighted": "F<sub>a</sub> h", "M_a": "M<sub>a</sub>",
}  # fmt: skip


def blends_figure(steps: Blends) -> go.Figure:
    """A film strip: each blend, the map of its own gradient on image a, and the map so far; below, its score and what it adds.

    The steps are of `studies.similarity.along_blends`.
    """
    count = len(steps.table)
    strips = {"the blend": list(steps.pictures), "what its gradient adds": _on(steps, steps.own), "added so far": _on(steps, steps.so_far)}
    figure = make_subplots(2, 1, shared_xaxes=True)
    for top, (title, pictures) in zip((3, 2, 1), strips.items(), strict=True):
        figure.add_annotation(text=title, x=-0.5, y=top, yanchor="top", xanchor="left", showarrow=False, font={"size": 12})
        for k, picture in enumerate(pictures):
            place = {"x": k, "y": top - 1, "xanchor": "center", "yanchor": "bottom", "sizex": 0.96, "sizey": 1}  # square at any width
            figure.add_layout_image(source=data_uri(to_image(picture)), **place, xref="x", yref="y", layer="below")
    figure.add_trace(go.Scatter(x=[], y=[], hoverinfo="skip", showlegend=False), 1, 1)  # without a trace plotly draws no axes
    places = list(range(count))
    figure.add_trace(go.Bar(x=places, y=steps.table["adds"], name="share of the map", marker={"color": PALETTE[0]}), 2, 1)
    figure.add_trace(go.Scatter(x=places, y=steps.table["score"], name="score of the blend", line={"color": PALETTE[1]}), 2, 1)
    ticks = {"tickvals": places, "ticktext": [f"{share:g}" for share in steps.table["lambda"]]}
    figure.update_xaxes(**BARE, range=[-0.5, count - 0.5], **ticks)
    figure.update_xaxes(title="λ", row=2)
    figure.update_yaxes(visible=False, fixedrange=True, range=[0, 3], row=1)
    figure.update_yaxes(**GRID, tickformat=".0%", row=2)
    margin = {"l": _SIDE, "r": 0, "t": 0, "b": _BELOW}
    size = fitted(_height(0, count), 3 / count, {"layout": _bands(360, count)})
    figure.update_layout(**PLAIN, margin=margin, legend=SMALL_LEGEND, **size)
    figure.update_layout({key.replace(".", "_"): ends for key, ends in _bands(WIDTH, count).items()})
    said = "; ".join(f"λ = {row[0]:g}: score {row.score:.2f}, adds {row.adds:.0%}" for row in steps.table.itertuples(index=False))
    return described(
        figure, f"Blends in a row, below each the map of its own gradient on image a, and the map of all gradients so far. {said}."
    )


def _on(steps: Blends, maps: Tensor) -> list[Tensor]:
    """Maps over image a, which is seen only dimly, on one scale."""
    limit = maps.max().item()
    return [overlaid(steps.image, one, limit) for one in maps]


def _height(width: float, count: int) -> float:
    """Pixels for three strips of so many pictures each, and what stands below them."""
    return 3 * (_TITLE + (width - _SIDE) / count) + _GAP + _BARS + _BELOW


def _bands(width: float, count: int) -> dict[str, list[float]]:
    """Where the strips and the bars stand, as shares of the height above the margin."""
    whole = _height(width, count) - _BELOW
    return {"yaxis.domain": [(_GAP + _BARS) / whole, 1], "yaxis2.domain": [0, _BARS / whole]}


def joint_figure(activations: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Channels by how strong they are in either image, a panel for each pair; colours are their products, on one scale.

    The activations are of `studies.similarity.joint_activations`, by the name of the pair.
    """
    reach = max(table[["a", "b"]].to_numpy().max() for table in activations.values())
    figure = make_subplots(1, len(activations), subplot_titles=list(activations), shared_yaxes=True, horizontal_spacing=0.06)
    for k, table in enumerate(activations.values(), 1):
        marker = {"color": table["joint"], "coloraxis": "coloraxis", "size": 7, "line": {"width": 0.5, "color": "rgba(110,110,110,0.6)"}}
        hover = "channel %{customdata}: %{x:.2f} and %{y:.2f}, product %{marker.color:.2f}<extra></extra>"
        dots = go.Scatter(x=table["a"], y=table["b"], mode="markers", marker=marker, customdata=list(table.index), hovertemplate=hover)
        figure.add_trace(dots, 1, k)
        figure.update_xaxes(title="first image", row=1, col=k)
    figure.update_xaxes(**GRID, range=[-0.04 * reach, 1.06 * reach])
    figure.update_yaxes(**GRID, range=[-0.04 * reach, 1.06 * reach])
    figure.update_yaxes(title="second image", col=1)
    figure.update_annotations(font={"size": 13})
    bar = {"title": {"text": "product", "side": "right"}, "orientation": "h", "thickness": 10, "y": -0.28, "yanchor": "top"}
    scale = {"colorscale": "Viridis_r", "cmin": 0, "colorbar": bar}
    figure.update_layout(**PLAIN, height=400, margin={"l": 50, "r": 8, "t": 30, "b": 105}, showlegend=False, coloraxis=scale)
    return described(
        figure, f"Channels by their activation in both images of a pair. {' '.join(map(_tied, activations, activations.values()))}"
    )


def _tied(name: str, table: pd.DataFrame) -> str:
    """How far the activations of a pair go together, and its largest product."""
    top = table.loc[table["joint"].idxmax()]
    known = f"correlation {table['a'].corr(table['b']):.2f}, largest product {top['joint']:.2f} at {top['a']:.2f} and {top['b']:.2f}"
    return f"{name}: {known}."


def interaction_figure(toy: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Small matrices with their numbers, from the gradients of both sides to the map of side a, each under its name and shape.

    The toy is of `studies.similarity.interaction_by_hand`.
    """
    shown = {**toy, "weighted": toy["F_a"] * toy["h"].to_numpy()}
    titles = [f"{title} ({len(shown[name])}, {shown[name].shape[1]})" for name, title in _PANELS.items()]
    figure = make_subplots(2, 3, subplot_titles=titles, horizontal_spacing=0.13, vertical_spacing=0.24)
    for k, name in enumerate(_PANELS):
        figure.add_trace(_numbers(shown[name]), 1 + k // 3, 1 + k % 3)
    figure.update_xaxes(**BARE, type="category")
    figure.update_yaxes(**BARE, type="category", autorange="reversed")
    for row, column, title in ((1, 1, "cell"), (1, 2, "cell"), (1, 3, "e"), (2, 2, "cell"), (2, 3, "cell")):
        figure.update_xaxes(title={"text": title, "standoff": 2, "font": {"size": 12}}, row=row, col=column)
    figure.update_xaxes(showticklabels=False, row=2, col=1)
    figure.update_annotations(font={"size": 13})
    figure.update_layout(**PLAIN, height=400, margin={"l": 40, "r": 8, "t": 30, "b": 40})
    return described(figure, " ".join(f"{name}: {_said(table)}." for name, table in toy.items()))


def _numbers(table: pd.DataFrame) -> go.Heatmap:
    """A matrix in colours, with its numbers; zero is white."""
    values = table.to_numpy(float)
    reach = float(np.abs(values).max()) or 1.0
    return go.Heatmap(
        z=values, x=list(table), y=list(table.index), zmin=-2 * reach, zmax=2 * reach, colorscale=DIVERGING, showscale=False,
        xgap=1, ygap=1,
        text=[[f"{v:g}" for v in row] for row in values], texttemplate="%{text}", textfont={"size": 12},
        hovertemplate="%{y}, %{x}: %{z:g}<extra></extra>",
    )  # fmt: skip


def _said(table: pd.DataFrame) -> str:
    """The rows of a matrix in numbers."""
    return "; ".join(f"{row} {', '.join(f'{v:g}' for v in values)}" for row, values in zip(table.index, table.to_numpy(float), strict=True))
