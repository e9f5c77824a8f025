"""Figures of the studies: means with their intervals, and tables as colours."""

import html
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from xaicl_lib.views.figures import DIVERGING, UNIFORM
from xaicl_lib.views.render import described
from xaicl_lib.views.style import BARE, DOTTED, GRID, MENU, PLAIN, WIDE_LEGEND, reach
from xaicl_lib.views.zoo import OTHER, colour

TITLE = 26  # letters of an axis title that a phone has room for
SAID = 60  # numbers that a menu hides and that are said all the same, if there are no more
CELL = 30  # pixels of width that two digits need; narrower screens scroll
NULLS = {"random_map": ("#5a5a5a", "x"), "edges": ("#a0522d", "diamond")}  # controls: colour and symbol
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d1f", "#8c8c8c")  # after Okabe and Ito


def _left(names: Sequence[str]) -> int:
    """Pixels for the names of rows."""
    return min(160, 16 + round(6.6 * max(len(name) for name in names)))


def _short(value: float, digits: int) -> str:
    """A number for a narrow cell: no -0.00, and no zero before the point."""
    text = f"{value:z.{digits}f}"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text


def series_colours(names: Sequence[str]) -> dict[str, str]:
    """A model's own colour, the same in the whole book where no two of these share it (grey for one that has none); others in the order of
    a palette.

    Controls ("random_map" or "random_map, photos") have theirs, which no model has.
    """
    others = [name for name in names if _first(name) not in NULLS]
    own = [colour(name) for name in others]
    if len(set(own)) < len(own) or own == [OTHER]:
        own = [PALETTE[k % len(PALETTE)] for k in range(len(others))]
    found = dict(zip(others, own, strict=True))
    return {name: found.get(name) or NULLS[_first(name)][0] for name in names}


def _first(name: str) -> str:
    return name.split(",")[0]


def look(name: str) -> tuple[str, str]:
    """Symbol and dash: a full circle and line for what looks at a model; what does not stands out by its own, open for scenes."""
    control = _first(name) in NULLS
    symbol = NULLS[_first(name)][1] if control else "circle"
    return f"{symbol}-open" if name.endswith(", scenes") else symbol, "dot" if control else "solid"


def dots_figure(
    table: pd.DataFrame,
    *,
    rows: str,
    series: str,
    title: str,
    choice: str | None = None,
    reference: float | None = None,
    reference_name: str = "chance",
    bounds: tuple[float, float] | None = None,
    what: str | None = None,
) -> go.Figure:
    """Means with their intervals: a line for each of `rows`, a dot on it for each of `series`, another mark for controls.

    Args:
        table: with columns mean, low, high, and those two.
        rows, series: columns of the table.
        title: of the axis of values.
        choice: a column of whose values a menu shows one at a time.
        reference: a value to compare with, drawn as a dotted line and named in the legend.
        reference_name: what it is.
        bounds: of the axis; without them it holds every interval and the reference.
        what: is seen, for those who do not see it, before the numbers; else the title.
    """
    if choice is not None:
        how: dict[str, Any] = {"title": title, "reference": reference, "reference_name": reference_name, "bounds": bounds}
        return _one_at_a_time(table, choice, {"rows": rows, "series": series}, how, what or f"{title}.")
    if bounds is None:
        ends = [*table["low"].dropna(), *table["high"].dropna(), *table["mean"].dropna(), *([] if reference is None else [reference])]
        room = 0.04 * (max(ends) - min(ends))
        bounds = (min(ends) - room, max(ends) + room)
    names, colours = list(table[rows].unique()), series_colours(list(table[series].unique()))
    figure = go.Figure()
    for name, part in table.groupby(series, sort=False, observed=True):
        figure.add_trace(
            go.Scatter(
                x=part["mean"], y=part[rows].astype(str), name=str(name), mode="markers", orientation="h",
                error_x=reach(part, width=0, thickness=2), marker={"color": colours[str(name)], "size": 8, "symbol": look(str(name))[0]},
                customdata=part[["low", "high"]], hovertemplate="%{y}: %{x:.3f} (%{customdata[0]:.3f} to %{customdata[1]:.3f})",
            )
        )  # fmt: skip
    if reference is not None:
        place = {"x": [reference, reference], "y": [str(names[0]), str(names[-1])]}
        figure.add_vline(reference, line=DOTTED)
        figure.add_trace(go.Scatter(**place, mode="lines", line=DOTTED, name=reference_name, hoverinfo="skip"))
    lines = textwrap.wrap(title, TITLE)
    figure.update_xaxes(**GRID, title="<br>".join(lines), range=bounds)
    figure.update_yaxes(type="category", fixedrange=True, showgrid=False, categoryorder="array", categoryarray=[*map(str, names[::-1])])
    legend = -(-len(figure.data) // 2) * 20 + 16 * (len(lines) - 1)  # two in a line on a phone
    height = 70 + legend + len(names) * max(34, 13 * len(colours))
    margin = {"l": _left([str(n) for n in names]), "r": 12, "t": 10, "b": 50 + legend}
    figure.update_layout(
        **PLAIN, scattermode="group", showlegend=True, height=height, margin=margin,
        legend=WIDE_LEGEND,
    )  # fmt: skip
    return described(figure, _dots_alt(table, rows=rows, series=series, what=what or f"{title}."))


def _one_at_a_time(table: pd.DataFrame, choice: str, by: dict[str, Any], how: dict[str, Any], what: str) -> go.Figure:
    """Figures of dots for each value of a column, of which a menu puts the dots of one into the first."""
    columns = list(by.values())
    places = pd.MultiIndex.from_product([table[column].unique() for column in columns], names=columns)
    figures, buttons = {}, []
    for name, part in table.groupby(choice, sort=False, observed=True):
        there = part.set_index(columns)[["mean", "low", "high"]].reindex(places).reset_index()
        figures[_name(choice, name)] = dots_figure(there, **by, **how)
    for name, figure in figures.items():
        dots = [k for k, trace in enumerate(figure.data) if trace.mode == "markers"]
        change: dict[str, list] = {key: [_plain(figure.data[k][key]) for k in dots] for key in ("x", "y", "customdata")}
        change |= {f"error_x.{key}": [_plain(figure.data[k].error_x[key]) for k in dots] for key in ("array", "arrayminus")}
        buttons.append({"label": name, "method": "update", "args": [change, {"xaxis.range": list(figure.layout.xaxis.range)}, dots]})
    first = next(iter(figures.values()))
    menus = [{**MENU, "buttons": buttons, "x": 1, "xanchor": "right"}]
    first.update_layout(updatemenus=menus, height=first.layout.height + 45, margin={"t": 55})
    said = table if len(table) <= SAID else table[table[choice] == table[choice].iloc[0]]
    numbers = (f"{_name(choice, r[choice])}, {_dot(r, **by, digits=3)}" for _, r in said.iterrows())
    return described(first, f"{what} {'; '.join(numbers)}.")


def _name(choice: str, value: Any) -> str:
    return value if isinstance(value, str) else f"{choice} {value:g}"


def _plain(values: Any) -> list:
    """Numbers and names as JSON has them; nothing for NaN."""
    array = np.asarray(values).astype(object)
    array[pd.isna(array)] = None
    return array.tolist()


def _dots_alt(table: pd.DataFrame, *, rows: str, series: str, what: str) -> str:
    """What `dots_figure` shows, in numbers: each mean with its interval."""
    return f"{what} {'; '.join(_dot(r, rows, series) for _, r in table.iterrows())}."


def _dot(row: pd.Series, rows: str, series: str, digits: int = 2) -> str:
    return f"{row[rows]}, {row[series]}: {row['mean']:z.{digits}f}{_within(row['low'], row['high'], digits)}"


def _within(low: float, high: float, digits: int) -> str:
    """An interval to read; nothing where there were too few for one."""
    return f" ({low:z.{digits}f} to {high:z.{digits}f})" if low == low and high == high else ", too few for an interval"


def matrix_figure(
    table: pd.DataFrame,
    *,
    title: str = "",
    digits: int = 2,
    centre: float | None = None,
    bounds: tuple[float, float] | None = None,
    what: str | None = None,
) -> go.Figure:
    """A table of numbers as colours, with the numbers in it: index down, columns across, names of columns slanted.

    Args:
        table: numbers; NaN stays empty.
        title: above the columns.
        digits: of the numbers.
        centre: the value that is white, for signed numbers.
        bounds: of the colours; without them the range of the numbers.
        what: is seen, for those who do not see it, before the highest and the lowest of each column; else the title.
    """
    values, (down, names) = table.to_numpy(float), ([html.escape(str(name)) for name in axis] for axis in table.axes)
    low, high = bounds or (float(np.nanmin(values)), float(np.nanmax(values)))
    if centre is not None:
        farthest = max(high - centre, centre - low) or 1.0
        low, high = centre - farthest, centre + farthest
    text = [["" if np.isnan(v) else _short(v, digits) for v in row] for row in values]
    heat = go.Heatmap(
        z=values, x=names, y=down, zmin=low, zmax=high,
        colorscale=UNIFORM if centre is None else DIVERGING, text=text, texttemplate="%{text}", textfont={"size": 11},
        hovertemplate="%{y}, %{x}: %{z:.3f}<extra></extra>", showscale=False, xgap=1, ygap=1,
    )  # fmt: skip
    top = 40 + 6 * max(map(len, names))
    figure = go.Figure(heat)
    figure.update_xaxes(**BARE, type="category", side="top", tickangle=-60, title=title or None, tickmode="array", tickvals=names)
    figure.update_yaxes(**BARE, type="category", autorange="reversed")
    left = _left(down)
    figure.update_layout(
        **PLAIN, height=top + 20 + 30 * len(table), margin={"l": left, "r": 10, "t": top, "b": 10},
        meta={"least": left + 10 + CELL * len(names)},
    )  # fmt: skip
    return described(figure, f"{what or title} {_extremes(table, digits)}")


def _extremes(table: pd.DataFrame, digits: int) -> str:
    """For each column the row with the highest and the one with the lowest number."""
    said = []
    for name in table:
        known = table[name].dropna().astype(float)
        if len(known):
            top, least = known.idxmax(), known.idxmin()
            said.append(f"{name}: highest {top} {known[top]:.{digits}f}, lowest {least} {known[least]:.{digits}f}")
    return f"{'; '.join(said)}."
