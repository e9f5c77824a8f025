"""Figures of inversions: reconstructions side by side, and the way to them."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.studies.colour import colour_measures
from xaicl_lib.studies.inversion import Inversion
from xaicl_lib.views.figures import data_uri, framed
from xaicl_lib.views.render import described
from xaicl_lib.views.studies import series_colours
from xaicl_lib.views.style import BARE, GRID, PLAIN, SMALL_LEGEND

Picture = Float[Tensor, "3 h w"]
CELL, EDGE = 96, 2  # pixels of a picture in a grid, and of the white around it
NAME = 26 / 720  # above a row of pictures, as a share of the width


def _sheet(rows: Sequence[Sequence[Picture]], cell: int = CELL) -> Image.Image:
    """Rows of pictures as one picture, each in a cell of its own with a white edge."""
    out = Image.new("RGB", (len(rows[0]) * cell, len(rows) * cell), "white")
    for i, row in enumerate(rows):
        for j, pixels in enumerate(row):
            out.paste(framed(pixels, cell), (j * cell, i * cell))
    return out


def grid_figure(found: Mapping[tuple[str, str], Inversion], targets: Float[Tensor, "n 3 h w"], names: Mapping[int, str]) -> go.Figure:
    """Targets and their reconstructions: a row for each target and model, under its name, a column for each stage.

    Args:
        found: by model and stage, as from `xaicl_lib.studies.inversion.invert_stages`.
        targets: of all of them, in [0, 1].
        names: of the targets to show, by their number.
    """
    rows, columns = _rows_of(found, targets, names)
    figure = _pictures_figure(rows, columns)
    last, deepest = columns[-1], [(model, one) for (model, stage), one in found.items() if stage == columns[-1]]
    said = [f"{name}, {model} {_left_of(one, targets, k)}" for model, one in deepest for k, name in names.items()]
    shown = f"{', '.join(names.values())} and reconstructions from {', '.join(columns[1:])}"
    return described(figure, f"{shown}, a row for each model. Left at {last}: {'; '.join(said)}.")


def _left_of(found: Inversion, targets: Tensor, k: int) -> str:
    """How much of a target's colour and lightness its reconstruction has."""
    kept = colour_measures(found.pixels[k : k + 1].double(), targets[k : k + 1].cpu().double())
    return f"{kept['colour_kept'].item():.2f} of the colour, {kept['lightness_kept'].item():.2f} of the lightness"


def _pictures_figure(rows: Sequence[tuple[str, Sequence[Picture]]], columns: Sequence[str]) -> go.Figure:
    """Rows of pictures, each under its name, below the names of the columns."""
    figure = _frame([name for name, _ in rows], columns, CELL)
    for k, (_, pictures) in enumerate(rows):
        place = {"x": 0, "y": _top(k, CELL, len(columns)), "sizex": len(columns) * CELL, "sizey": CELL, "xref": "x", "yref": "y"}
        figure.add_layout_image(source=data_uri(_sheet([pictures])), **place, sizing="stretch", layer="below")
    return figure


def _rows_of(
    found: Mapping[tuple[str, str], Inversion], targets: Float[Tensor, "n 3 h w"], names: Mapping[int, str]
) -> tuple[list[tuple[str, list[Picture]]], list[str]]:
    """Rows of pictures by name, and the names of their columns.

    Raises:
        InputError: a model without one of the stages.
    """
    models, columns = list(dict.fromkeys(m for m, _ in found)), ["target", *dict.fromkeys(stage for _, stage in found)]
    missing = [f"{model}, {stage}" for model in models for stage in columns[1:] if (model, stage) not in found]
    if missing or not found:
        raise InputError(f"expected inversions of the same stages of each model, got none of {'; '.join(missing) or 'any'}")
    rows = [
        (f"{name}: {model}", [targets[k], *(found[model, stage].pixels[k] for stage in columns[1:])])
        for k, name in names.items()
        for model in models
    ]
    return rows, columns


def _top(row: int, cell: int, columns: int) -> float:
    """Where the pictures of a row begin, below its name."""
    return row * cell + (row + 1) * NAME * columns * cell


def _frame(names: Sequence[str], columns: Sequence[str], cell: int) -> go.Figure:
    """An empty grid with the names of its rows and columns; its pixels are the units of both axes."""
    figure = go.Figure(go.Scatter(x=[], y=[], hoverinfo="skip", showlegend=False))  # without a trace plotly draws no axes
    wide, tall = len(columns) * cell, _top(len(names) - 1, cell, len(columns)) + cell
    for k, name in enumerate(names):
        place = {"x": EDGE, "y": _top(k, cell, len(columns)), "xanchor": "left", "yanchor": "bottom", "showarrow": False}
        figure.add_annotation(text=html.escape(name), **place)
    middles = [(j + 0.5) * cell for j in range(len(columns))]
    figure.update_xaxes(**BARE, range=[0, wide], side="top", tickvals=middles, ticktext=[html.escape(c) for c in columns], tickangle=0)
    figure.update_yaxes(**BARE, range=[tall, 0], showticklabels=False)
    share = tall / wide  # of the width, for pages that fit the figure to theirs
    narrow = {"fixed": 34, "share": share, "layout": {"font.size": 10}, "bars": {}, "traces": []}
    meta = {"fixed": 34, "share": share, "narrow": narrow}
    look = {**PLAIN, "font": {"size": 12}}
    return figure.update_layout(**look, height=34 + share * 720, margin={"l": 0, "r": 0, "t": 30, "b": 4}, meta=meta)


def search_figure(found: Mapping[str, Inversion], names: Mapping[int, str], *, cell: int = 64) -> go.Figure:
    """The search as an animation: noise on the left end of the slider, reconstructions on the right.

    Args:
        found: inversions by the name of their column, all with the same frames.
        names: of the targets to show, by their number.
        cell: pixels of a picture; more only makes the page heavy.

    Raises:
        InputError: inversions without frames, or with frames of different steps.
    """
    steps = {one.at for one in found.values()}
    if len(steps) != 1 or not next(iter(steps)):
        raise InputError(f"expected inversions with frames of the same steps, got frames at {sorted(steps)}")
    at = steps.pop()
    figure = _frame(list(names.values()), list(found), cell)
    frames = [_strips([[one.frames[f, k] for one in found.values()] for k in names], cell) for f in range(len(at))]
    figure.update_layout(images=frames[-1])  # what paper shows, and a page before anyone plays
    figure.frames = [{"name": str(step), "layout": {"images": images}} for step, images in zip(at, frames, strict=True)]
    now = {"mode": "immediate", "transition": {"duration": 0}}
    go_to = [{"label": str(s), "method": "animate", "args": [[str(s)], {**now, "frame": {"duration": 0, "redraw": True}}]} for s in at]
    slider = {
        "steps": go_to, "active": len(at) - 1, "x": 0.16, "len": 0.84, "y": 0, "pad": {"t": 8}, "ticklen": 0, "minorticklen": 0,
        "currentvalue": {"prefix": "step ", "visible": True}, "font": {"size": 10},
    }  # fmt: skip
    play = {"label": "play", "method": "animate", "args": [None, {**now, "frame": {"duration": 350, "redraw": True}}]}
    button = {
        "type": "buttons",
        "buttons": [play],
        "x": 0,
        "xanchor": "left",
        "y": 0,
        "yanchor": "top",
        "pad": {"t": 26},
        "showactive": False,
    }
    room = 78
    meta = figure.layout.meta
    meta = {**meta, "fixed": meta["fixed"] + room, "narrow": {**meta["narrow"], "fixed": meta["narrow"]["fixed"] + room}}
    figure.update_layout(sliders=[slider], updatemenus=[button], meta=meta, height=figure.layout.height + room, margin={"b": room})
    shown = f"the reconstructions of {', '.join(names.values())} from {', '.join(found)}"
    return described(figure, f"The search from noise to {shown}, a column for each, in {len(at)} frames up to step {at[-1]}.")


def _strips(rows: Sequence[Sequence[Picture]], cell: int) -> list[dict[str, Any]]:
    """A picture for each row, in place."""
    place = {"x": 0, "sizex": len(rows[0]) * cell, "sizey": cell, "xref": "x", "yref": "y", "sizing": "stretch", "layer": "below"}
    return [{"source": data_uri(_sheet([row], cell)), "y": _top(k, cell, len(row)), **place} for k, row in enumerate(rows)]


def convergence_figure(found: Mapping[str, Inversion]) -> go.Figure:
    """Relative feature error over the steps, mean of the targets, a line for each inversion; dotted, the error of grey copies."""
    figure, colours = go.Figure(), series_colours(list(found))
    for name, one in found.items():
        curve = one.curve.double().mean(1)
        marks = sorted({*np.geomspace(1, len(curve), 60).round().astype(int) - 1})  # enough for the eye
        line = {"color": colours[name], "width": 2.5}
        figure.add_trace(go.Scatter(x=[k + 1 for k in marks], y=curve[marks].tolist(), name=name, mode="lines", line=line))
        grey = {"y": [one.grey.double().mean().item()] * 2, "x": [1, len(curve)], "showlegend": False, "hoverinfo": "skip"}
        figure.add_trace(go.Scatter(**grey, mode="lines", line={**line, "width": 1.5, "dash": "dot"}))
    figure.update_xaxes(**GRID, type="log", title="step", dtick=1)
    figure.update_yaxes(**GRID, type="log", title="relative feature error", exponentformat="power", dtick=1)
    legend = 22 * -(-len(found) // 2)
    margin = {"l": 64, "r": 12, "t": 12, "b": 58 + legend}
    figure.update_layout(**PLAIN, height=330 + legend, margin=margin, legend=SMALL_LEGEND, showlegend=True)
    ends = (f"{s} ends at {one.error.mean():.4f}, its grey copies are at {one.grey.mean():.4f}" for s, one in found.items())
    return described(figure, f"Relative feature error by step, mean of the targets. {'; '.join(ends)}.")
