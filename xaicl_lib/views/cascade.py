"""Figures of the sanity check: maps of a model that loses what it learned, layer by layer from the top."""

import html
from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from xaicl_lib.evaluation.method_spec import short
from xaicl_lib.metrics.randomisation import Cascade
from xaicl_lib.pair import Explanation, resize_map
from xaicl_lib.views.figures import DIVERGING, UNIFORM
from xaicl_lib.views.render import described
from xaicl_lib.views.studies import PALETTE
from xaicl_lib.views.style import BARE, GRID, LEGEND, PLAIN

MAP_CELLS = 24  # a side, of maps in a grid of many


def cascade_figure(cascades: Mapping[str, tuple[Explanation, Cascade]]) -> go.Figure:
    """How alike maps stay to those of the intact model while layers are randomised from the top: a line for each method.

    The cascades are of `studies.tables.cascades`.

    Full lines are rank correlations of the first pair, dotted ones structural similarity.
    """
    figure = go.Figure()
    for k, (label, (_, cascade)) in enumerate(cascades.items()):
        for values, dash, what in ((cascade.rank_correlation, "solid", "rank correlation"), (cascade.ssim, "dot", "SSIM")):
            y = [1.0, *values[0].tolist()]
            line = {"color": PALETTE[k % len(PALETTE)], "width": 2.5, "dash": dash}
            trace = go.Scatter(
                x=["none", *cascade.layers], y=y, name=short(label), legendgroup=label, showlegend=dash == "solid", line=line
            )
            trace.hovertemplate = f"{html.escape(short(label))}, {what}<br>down to %{{x}}: %{{y:.2f}}<extra></extra>"
            figure.add_trace(trace)
    figure.update_xaxes(**{**GRID, "tickfont": {"size": 10}}, tickangle=-40)
    figure.update_yaxes(**GRID, range=[-0.4, 1.05], title="likeness to the intact map")
    room = 110 + 20 * -(-len(cascades) // 2)  # two names in a line on a phone
    figure.update_layout(**PLAIN, height=330 + room, margin={"l": 56, "r": 12, "t": 10, "b": room}, legend=LEGEND)
    ends = ", ".join(f"{cascade.rank_correlation[0, -1]:.2f} for {short(label)}" for label, (_, cascade) in cascades.items())
    said = "Likeness to the original map by depth of randomisation. With every layer random the rank correlation is"
    return described(figure, f"{said} {ends}.")


def cascade_maps(cascades: Mapping[str, tuple[Explanation, Cascade]]) -> go.Figure:
    """The maps of side a behind `cascade_figure`, each scaled to its own largest value: rows methods, columns depth."""
    depths = ["intact", *next(iter(cascades.values()))[1].layers]
    labels = list(cascades)
    figure = make_subplots(len(labels), len(depths), horizontal_spacing=0.012, vertical_spacing=0.03)
    for row, (before, cascade) in enumerate(cascades.values(), 1):
        for column, made in enumerate([before, *cascade.explanations], 1):
            figure.add_trace(_small_map(made, depths[column - 1]), row, column)
    figure.update_xaxes(**BARE, showticklabels=False)
    figure.update_yaxes(**BARE, showticklabels=False, autorange="reversed")
    for row, label in enumerate(labels, 1):
        figure.update_yaxes(title={"text": short(label).replace(", ", "<br>"), "font": {"size": 11}}, row=row, col=1)
    for column, depth in enumerate(depths, 1):
        name = depth.removeprefix("features_").removeprefix("head_") if column > 1 else depth
        figure.update_xaxes(title={"text": name, "font": {"size": 10}, "standoff": 2}, row=len(labels), col=column)
    # Squares in the width of the page, and on a phone: the height follows from the width.
    share = len(labels) / len(depths)
    margin = {"l": 36, "r": 4, "t": 6, "b": 26}
    width = 740
    fixed = margin["t"] + margin["b"] - share * (margin["l"] + margin["r"])
    figure.update_layout(**PLAIN, width=width, height=fixed + share * width, margin=margin)
    figure.update_layout(meta={"fixed": fixed, "share": share})
    names = ", ".join(map(short, labels))
    return described(
        figure, f"Maps of one photo, a row for each method ({names}); from left to right the model intact and randomised ever deeper."
    )


def _small_map(made: Explanation, depth: str) -> go.Heatmap:
    values = made.a[:1].float()
    cells = min(MAP_CELLS, *values.shape[1:])
    z = resize_map(values, (cells, cells))[0].cpu().numpy()
    top = float(abs(z).max()) or 1.0
    signed = bool(z.min() < 0)
    return go.Heatmap(
        z=(z / top).round(2), zmin=-1 if signed else 0, zmax=1, colorscale=DIVERGING if signed else UNIFORM, showscale=False,
        hovertemplate=f"{html.escape(depth)}: %{{z:.2f}} of {top:.2g}<extra></extra>",
    )  # fmt: skip
