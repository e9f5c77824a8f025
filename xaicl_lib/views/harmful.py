"""Figures of augmentations that grow stronger: maps of one pair, and shares of maps that lost their meaning."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from torch import Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.views.gallery import gallery_figure, overlaid
from xaicl_lib.views.render import alt_of, described
from xaicl_lib.views.studies import dots_figure, into_first, look, matrix_figure, series_colours
from xaicl_lib.views.style import GRID, LEGEND, PLAIN, menu, reach

APART = 0.05  # levels between the curves of two models

Levels = Sequence[tuple[int, Pair, Explanation]]  # of `xaicl_lib.studies.harmful.harder`


def levels_figure(explained: Levels, control: Levels) -> go.Figure:
    """One pair at growing levels of an augmentation: side b, its maps on one scale, and those of a control, each on its own.

    Both are of `studies.harmful.harder`.
    """
    maps = [_side_b(*level) for level in explained]
    limit = max(side.max().item() for _, side in maps)
    scores = [f"{level or 'clean'}: {made.score.item():.2f}" for level, _, made in explained]
    items = [(score, [image]) for score, (image, _) in zip(scores, maps, strict=True)]
    items += [(f"to {side.max().item():.0e}", [overlaid(image, side, limit)]) for image, side in maps]
    items += [
        (made.method, [overlaid(image, side, side.max().item())]) for _, pair, made in control for image, side in [_side_b(0, pair, made)]
    ]
    what = f"A view at {len(maps)} levels of an augmentation over its score, its maps, and those of {control[0][2].method}"
    return gallery_figure(items, columns=len(maps), what=what)


def _side_b(level: int, pair: Pair, made: Explanation) -> tuple[Tensor, Tensor]:
    if pair.b is None or made.b is None:
        raise InputError(f"expected pairs of two sides, got one without side b at level {level}")
    return pair.b[0], made.b[0]


def square_figure(square: pd.DataFrame, what: str, minus: str | None = None) -> go.Figure:
    """Two augmentations at once, below the diagonal, and each alone, on it.

    The square is of `studies.combined.square`; `minus` is the control taken away.
    """
    figure = matrix_figure(square, bounds=(-1 if minus else 0, 1), centre=0.0 if minus else None)
    top = "; ".join(f"{b} and {a} {value:.2f}" for (a, b), value in square.stack().nlargest(3).items())
    shown = f"Maps lost, minus the share that {minus} loses," if minus else "Maps lost"
    return described(figure, f"{shown} by two augmentations at once: {what}. Most: {top}.")


def strength_figure(table: pd.DataFrame, *, title: str = "share of maps lost") -> go.Figure:
    """Curves over the level of an augmentation, a line for each model, dotted for a control, one augmentation at a time from a menu.

    The table is of `lost_shares`.
    """
    names, colours = list(table["augmentation"].unique()), series_colours(list(table["model"].unique()))
    figure = go.Figure()
    for name in names:
        for k, (model, colour) in enumerate(colours.items()):
            symbol, dash = look(model)
            aside = APART * (k - (len(colours) - 1) / 2)  # levels, so that no interval hides another
            part = table[(table["augmentation"] == name) & (table["model"] == model)]
            figure.add_trace(
                go.Scatter(
                    x=part["level"] + aside, y=part["mean"], error_y=reach(part, width=0, thickness=1.5), name=model,
                    mode="lines+markers", visible=name == names[0], customdata=part["level"],
                    hovertemplate="level %{customdata}: %{y:.2f}<extra>" + model + "</extra>",
                    line={"color": colour, "width": 2.5, "dash": dash},
                    marker={"symbol": symbol},
                )
            )  # fmt: skip
    figure.update_xaxes(**GRID, title="level (0: none)", dtick=1)
    figure.update_yaxes(**GRID, title=title, range=[-0.03, 1.03])
    legend_height = 22 * -(-len(colours) // 2)  # pixels: two in a line on a phone
    figure.update_layout(
        **PLAIN,
        height=360 + legend_height,
        margin={"l": 60, "r": 12, "t": 55, "b": 60 + legend_height},
        updatemenus=menu([name for name in names for _ in colours]),
        legend=LEGEND,
        showlegend=True,
    )
    return described(
        figure,
        f"{title} over the level of an augmentation, by model and for controls. At the highest level {_at(table, table['level'].max())}",
    )


def _at(table: pd.DataFrame, level: float) -> str:
    said = (f"{r['augmentation']}, {r['model']} {r['mean']:.2f}" for _, r in table[table["level"] == level].iterrows())
    return f"{'; '.join(said)}."


def level_figure(table: pd.DataFrame, *, title: str = "share of maps lost") -> go.Figure:
    """Every augmentation at one level, which a slider sets: a line for each augmentation, a dot with its interval for each model.

    The table is of `lost_shares`.
    """
    levels = sorted(table["level"].unique())
    axis: dict[str, Any] = {"title": title, "bounds": (-0.03, 1.03)}
    figures = {f"{k:g}": dots_figure(table[table["level"] == k], rows="augmentation", series="model", **axis) for k in levels}
    figure, steps = figures[f"{levels[-1]:g}"], into_first(figures)
    slider = {
        "steps": steps, "active": len(steps) - 1, "x": 0, "len": 1, "y": 1, "yanchor": "bottom", "pad": {"b": 30, "t": 0},
        "currentvalue": {"prefix": "level ", "visible": True}, "ticklen": 0, "minorticklen": 0, "font": {"size": 11},
    }  # fmt: skip
    top = 95
    described(figure, f"{title} at the level that a slider sets. At level {levels[-1]:g}: {alt_of(figure)}")
    return figure.update_layout(sliders=[slider], height=figure.layout.height + top, margin={"t": top})
