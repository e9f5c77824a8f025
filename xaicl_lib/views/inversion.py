"""Figures of inversions: reconstructions side by side, and the way to them."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from torch import Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.studies.colour import colour_measures
from xaicl_lib.studies.inversion import Inversion
from xaicl_lib.views.gallery import gallery_figure
from xaicl_lib.views.render import described
from xaicl_lib.views.studies import series_colours
from xaicl_lib.views.style import GRID, MENU, PLAIN, SMALL_LEGEND, slider

Picture = Float[Tensor, "3 h w"]


def grid_figure(found: Mapping[tuple[str, str], Inversion], targets: Float[Tensor, "n 3 h w"], names: Mapping[int, str]) -> go.Figure:
    """Targets and their reconstructions: a row for each target and model, under its name, a column for each stage.

    The inversions are of `studies.inversion.invert_stages`; `names` chooses among all targets, which are in [0, 1], by their number.
    """
    rows, columns = _rows_of(found, targets, names)
    figure = gallery_figure(rows, columns=1, heads=columns)
    last, deepest = columns[-1], [(model, one) for (model, stage), one in found.items() if stage == columns[-1]]
    said = [f"{name}, {model} {_left_of(one, targets, k)}" for model, one in deepest for k, name in names.items()]
    shown = f"{', '.join(names.values())} and reconstructions from {', '.join(columns[1:])}"
    return described(figure, f"{shown}, a row for each model. Left at {last}: {'; '.join(said)}.")


def _left_of(found: Inversion, targets: Tensor, k: int) -> str:
    """How much of a target's colour and lightness its reconstruction has."""
    kept = colour_measures(found.pixels[k : k + 1].double(), targets[k : k + 1].cpu().double())
    return f"{kept['colour_kept'].item():.2f} of the colour, {kept['lightness_kept'].item():.2f} of the lightness"


def _rows_of(
    found: Mapping[tuple[str, str], Inversion], targets: Float[Tensor, "n 3 h w"], names: Mapping[int, str]
) -> tuple[list[tuple[str, list[Picture]]], list[str]]:
    """Rows of pictures by name, and the names of their columns."""
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


def search_figure(found: Mapping[str, Inversion], names: Mapping[int, str]) -> go.Figure:
    """The search as an animation: noise on the left end of the slider, reconstructions on the right.

    Args:
        found: inversions by the name of their column, all with the same frames.
        names: of the targets to show, by their number.

    Raises:
        InputError: inversions without frames, or with frames of different steps.
    """
    steps = {one.at for one in found.values()}
    if len(steps) != 1 or not next(iter(steps)):
        raise InputError(f"expected inversions with frames of the same steps, got frames at {sorted(steps)}")
    at = steps.pop()
    rows = [[(name, [one.frames[f, k] for one in found.values()]) for k, name in names.items()] for f in range(len(at))]
    made = [gallery_figure(row, columns=1, heads=list(found), cell=64, below=78) for row in rows]  # larger ones make the page heavy
    figure = made[-1]  # what paper shows, and a page before anyone plays
    figure.frames = [{"name": str(step), "layout": {"images": one.layout.images}} for step, one in zip(at, made, strict=True)]
    now = {"mode": "immediate", "transition": {"duration": 0}}
    go_to = [{"label": str(s), "method": "animate", "args": [[str(s)], {**now, "frame": {"duration": 0, "redraw": True}}]} for s in at]
    play = {"label": "play", "method": "animate", "args": [None, {**now, "frame": {"duration": 350, "redraw": True}}]}
    button = {**MENU, "type": "buttons", "buttons": [play], "y": 0, "yanchor": "top", "pad": {"t": 26}, "showactive": False}
    figure.update_layout(sliders=slider(go_to, len(at) - 1, "step ", x=0.16, len=0.84), updatemenus=[button])
    shown = f"the reconstructions of {', '.join(names.values())} from {', '.join(found)}"
    return described(figure, f"The search from noise to {shown}, a column for each, in {len(at)} frames up to step {at[-1]}.")


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
