"""Figures of means with their intervals over a number that grows."""

import html
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from xaicl_lib.views.render import described
from xaicl_lib.views.studies import look, series_colours
from xaicl_lib.views.style import DOTTED, GRID, PLAIN, SMALL_LEGEND, menu, reach

DODGE = 0.06  # of a step, between the bars of neighbouring lines
_INTERVAL = "%{y:.3f} (%{customdata[0]:.3f} to %{customdata[1]:.3f})"  # when pointed at


def lines_figure(
    table: pd.DataFrame,
    *,
    x: str,
    series: str,
    x_title: str,
    y_title: str,
    panel: str | None = None,
    choice: str | None = None,
    names: str | None = None,
    reference: float | None = None,
    reference_name: str = "",
    bounds: tuple[float, float] | None = None,
    what: str | None = None,
) -> go.Figure:
    """Means with their intervals over a number that grows: a line for each of `series`, dotted for controls.

    Args:
        table: with columns mean, low, high, and those named.
        x, series: columns of the table.
        x_title, y_title: of the axes.
        panel: a column whose values get a panel each, below each other.
        choice: a column of whose values a menu shows one at a time.
        names: a column that names each x: they stand at equal distances, intervals are bars. Without it x grows by factors.
        reference: a value to compare with, drawn as a dotted line.
        reference_name: what it is, for the legend.
        bounds: of the axis of means.
        what: is seen, for those who do not see it, before the numbers; else the title of the axis of means.
    """
    parts, colours = _parts(table, panel), series_colours([str(name) for name in table[series].unique()])
    titles = [html.escape(name) for name in parts] if panel else None
    figure = make_subplots(len(parts), 1, shared_xaxes=names is None, subplot_titles=titles, vertical_spacing=0.16 / len(parts))
    owners = []
    for row, part in enumerate(parts.values(), 1):
        _scale(figure, row, part if names else table, x, names)
        for owner, shown in _parts(part, choice).items():
            for k, (name, hue) in enumerate(colours.items()):
                line = shown[shown[series].astype(str) == name].sort_values(x)
                aside = DODGE * (k - (len(colours) - 1) / 2)  # so that no interval hides another
                traces = _bars(line, part, x, names, aside, hue, name) if names else _band(line, x, hue, name)
                owners += [owner] * len(traces)
                for trace in traces:
                    trace.update(legendgroup=name, visible=owner == owners[0])
                    trace.showlegend = row == 1 and trace.name is not None
                    figure.add_trace(trace, row, 1)
        if reference is not None:
            figure.add_hline(reference, row=row, col=1, line=DOTTED)
    if reference_name:
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="lines", line=DOTTED, name=reference_name), 1, 1)
    figure.update_xaxes(title=x_title, row=len(parts))
    figure.update_yaxes(**GRID, title=y_title, range=bounds, rangemode="tozero" if names else "normal")
    menus, below = menu([*owners, None]), 22 * -(-(len(colours) + bool(reference_name)) // 2)  # two in a line on a phone
    top = 55 if menus else 30 if panel else 10
    height = top + 60 + below + (300 if len(parts) == 1 else 230 * len(parts))
    margin = {"l": 60, "r": 12, "t": top, "b": 58 + below}
    figure.update_layout(**PLAIN, height=height, margin=margin, legend=SMALL_LEGEND, showlegend=True, updatemenus=menus)
    said = _ends(table, x, names, [by for by in (panel, choice, series) if by], few=choice is not None)
    said += f" {reference_name}: {reference:.2f}." if reference_name else ""
    return described(figure, f"{what or f'{y_title}.'} {said}")


def _parts(table: pd.DataFrame, by: str | None) -> dict[str, pd.DataFrame]:
    """The rows for each value of a column, in the order in which they come; all of them without a column."""
    return {"": table} if by is None else {str(name): part for name, part in table.groupby(by, sort=False, observed=True)}


def _scale(figure: go.Figure, row: int, part: pd.DataFrame, x: str, names: str | None) -> None:
    """The axis below a panel: each x by its name, or numbers that grow by factors."""
    if names is None:
        ticks = _spaced(sorted(part[x].unique()))
        figure.update_xaxes(**GRID, type="log", tickvals=ticks, ticktext=[f"{v:g}" for v in ticks], row=row)
        return
    called = _named(part, x, names)
    ends = [-0.4, len(called) - 0.6]
    figure.update_xaxes(**GRID, tickvals=list(range(len(called))), ticktext=list(called.values()), range=ends, row=row)


def _named(part: pd.DataFrame, x: str, names: str) -> dict[Any, str]:
    """What each x is called, in order."""
    first = part.drop_duplicates(x).sort_values(x)
    return dict(zip(first[x], map(_written, first[names]), strict=True))


def _written(value: Any) -> str:
    return str(value) if isinstance(value, str) else f"{value:g}"


def _bars(line: pd.DataFrame, part: pd.DataFrame, x: str, names: str, aside: float, colour: str, name: str) -> list[go.Scatter]:
    """A line whose points have bars for intervals; points of all lines stand beside each other."""
    places = {value: k for k, value in enumerate(_named(part, x, names))}
    symbol, dash = look(name)
    return [
        go.Scatter(
            x=line[x].map(places) + aside, y=line["mean"], error_y=reach(line, width=3), name=name, mode="lines+markers",
            line={"color": colour, "width": 2.5, "dash": dash}, marker={"symbol": symbol}, customdata=line[["low", "high"]],
            text=line[names].map(_written), hovertemplate="%{text}: " + _INTERVAL + f"<extra>{html.escape(name)}</extra>",
        )
    ]  # fmt: skip


def _band(line: pd.DataFrame, x: str, colour: str, name: str) -> list[go.Scatter]:
    """A line and, behind it, the band of its intervals."""
    around = [*line[x], *line[x][::-1]], [*line["high"], *line["low"][::-1]]
    fill = f"rgba({', '.join(str(int(colour[k : k + 2], 16)) for k in (1, 3, 5))}, 0.16)"
    band = go.Scatter(x=around[0], y=around[1], fill="toself", fillcolor=fill, line={"width": 0}, hoverinfo="skip", mode="lines")
    means = go.Scatter(
        x=line[x], y=line["mean"], name=name, mode="lines+markers", line={"color": colour, "width": 2}, marker={"size": 5},
        customdata=line[["low", "high"]], hovertemplate="%{x}: " + _INTERVAL + f"<extra>{html.escape(name)}</extra>",
    )  # fmt: skip
    return [band, means]


def _spaced(values: Sequence[float]) -> list[float]:
    """Those of some numbers that are far enough apart to be written on an axis of factors."""
    kept: list[float] = []
    for value in values:
        if not kept or value >= 1.9 * kept[-1]:
            kept.append(float(value))
    return kept


def _ends(table: pd.DataFrame, x: str, names: str | None, by: list[str], few: bool) -> str:
    """Where each line begins, its highest point, and where it ends; of many lines, of which few are seen at a time, only their ends."""
    said = []
    for key, part in table.groupby(by, sort=False, observed=True):
        part = part.sort_values(x)
        points = [part.iloc[-1]] if few else [part.iloc[0], part.loc[part["mean"].idxmax()], part.iloc[-1]]
        said.append(f"{' '.join(map(str, key))}: {', '.join(_point(p, x, names) for p in points)}")
    return f"{'Last' if few else 'First, highest and last'} value of each line: {'; '.join(said)}."


def _point(row: pd.Series, x: str, names: str | None) -> str:
    interval = f" ({row['low']:.2f} to {row['high']:.2f})" if names else ""
    return f"{row['mean']:.2f}{interval} at {_written(row[names or x])}"
