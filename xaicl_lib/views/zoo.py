"""Figures of the bundled models: training curves, nearest neighbours, factors; a model has the same colour in all of them."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from xaicl_lib.views.gallery import gallery_figure
from xaicl_lib.views.render import described
from xaicl_lib.views.style import GRID, PLAIN

if TYPE_CHECKING:
    from xaicl_lib.studies.models import Found, Gallery

# After Okabe and Ito, so that colour-blind readers can tell the models of one family apart.
COLOURS = {
    "simclr": "#0072b2", "barlow_twins": "#e69f00", "simsiam": "#009e73", "moco_v3": "#cc79a7", "dino_student": "#3d7a1f",
    "supervised": "#d55e00", "supcon": "#56b4e9", "triplet": "#8c6d1f",
    "scenes_simclr": "#5e4fa2", "scenes_supervised": "#b3005e", "scenes_simclr_no_jitter": "#e69f00",
    "scenes_simclr_no_blur": "#56b4e9", "scenes_simclr_no_grayscale": "#8c8c8c", "scenes_simclr_rotation": "#009e73",
    "scenes_clip": "#cc79a7",
}  # fmt: skip
OTHER = "#8c8c8c"


def colour(name: str) -> str:
    """The colour of a model, everywhere in the book."""
    return COLOURS.get(name, OTHER)


def curves_figure(cards: Sequence[dict[str, Any]]) -> go.Figure:
    """Training loss by epoch, a panel for each loss, because losses of different formulas do not compare."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for card in cards:
        kinds.setdefault(card["recipe"]["loss"], []).append(card)
    rows, columns = -(-len(kinds) // 3), min(3, len(kinds))
    gap = {"vertical_spacing": 0.32 / rows, "horizontal_spacing": 0.08}
    figure = make_subplots(rows, columns, subplot_titles=list(kinds), **gap)
    for k, members in enumerate(kinds.values()):
        for card in members:
            epochs, loss = zip(*((row["epoch"], row["loss"]) for row in card["history"]), strict=True)
            line = go.Scatter(x=epochs, y=loss, name=card["name"], mode="lines", line={"color": colour(card["name"]), "width": 2.5})
            figure.add_trace(line, k // columns + 1, k % columns + 1)
    figure.update_xaxes(**GRID, rangemode="tozero")
    figure.update_yaxes(**GRID, nticks=5)
    figure.update_layout(
        **PLAIN, height=60 + 200 * rows, margin={"l": 45, "r": 10, "t": 30, "b": 60}, legend={"orientation": "h", "y": -0.32 / rows}
    )
    ends = (f"{c['name']} from {c['history'][0]['loss']:.2f} to {c['history'][-1]['loss']:.2f}" for c in cards)
    return described(figure, f"Training loss by epoch, a panel for each loss: {', '.join(ends)}.")


def retrieval_figure(gallery: "Gallery", found: "Found", query: int = 0) -> go.Figure:
    """One query and its nearest neighbours by each model, a row for each, with their scores; what they are is shown when pointed at.

    Gallery and places are of `studies.models`.
    """
    rows, notes = [], []
    for name, (indices, scores) in found.items():
        places = indices[query].tolist()
        rows.append((name, [gallery.queries[query], *(gallery.pictures[place] for place in places)]))
        said = zip(scores[query].tolist(), places, strict=True)
        notes.append(
            [html.escape(gallery.asked[query]), *(f"{name}: {score:.2f}, {html.escape(gallery.labels[place])}" for score, place in said)]
        )
    figure = gallery_figure(rows, columns=1, heads=["query", *map(str, range(1, len(rows[0][1])))], notes=notes)
    firsts = (f"{name}: {gallery.labels[int(indices[query, 0])]}" for name, (indices, _) in found.items())
    what = f"{gallery.asked[query]} and its nearest neighbours, a row for each model."
    return described(figure, f"{what} The first is, by {'; by '.join(firsts)}.")


def factors_figure(table: pd.DataFrame) -> go.Figure:
    """Linear-probe accuracy by factor of the scenes, a bar for each model, and what guessing would give (`factor_table`)."""
    figure = go.Figure()
    for name, part in table.groupby("model", sort=False):
        bars = go.Bar(x=part["factor"], y=part["linear"], name=name, marker={"color": colour(name)})
        bars.hovertemplate = "%{x}: %{y:.3f}<extra>" + name + "</extra>"
        figure.add_trace(bars)
    chance = table.drop_duplicates("factor")
    line = {"color": "rgba(128,128,128,0.9)", "width": 2}
    marks = {"symbol": "line-ew", "size": 60, "line": line}
    figure.add_trace(go.Scatter(x=chance["factor"], y=chance["chance"], mode="markers", marker=marks, name="guessing"))
    figure.update_yaxes(**GRID, range=[0, 1], title="linear-probe accuracy")
    figure.update_xaxes(fixedrange=True)
    figure.update_layout(
        **PLAIN, barmode="group", height=380, margin={"l": 60, "r": 10, "t": 10, "b": 90}, legend={"orientation": "h", "y": -0.12}
    )
    ranges = (f"{factor} {part.min():.2f} to {part.max():.2f}" for factor, part in table.groupby("factor", sort=False)["linear"])
    what = f"Linear-probe accuracy of {table['model'].nunique()} models by factor: {', '.join(ranges)}"
    return described(figure, f"{what}; guessing is right {table['chance'].min():.2f} to {table['chance'].max():.2f} of the time.")
