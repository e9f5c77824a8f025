"""Figures of explanation scores beside accuracies: networks as points on their way, correlations with their intervals."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from xaicl_lib.views.render import described
from xaicl_lib.views.studies import dots_figure, series_colours
from xaicl_lib.views.style import DOTTED, GRID, MENU, PLAIN, WIDE_LEGEND, menu

AXES = {
    "insertion": "explanation score: mean of SI and CI",
    "deletion": "explanation score: 1 - mean of SD and CD",
    "average drop": "explanation score: 1 - mean of SAD and CAD",
}
_HEADROOM = 0.06  # of accuracy, above the points, for the correlation
_BUTTONS = {**MENU, "type": "buttons", "direction": "right", "showactive": True}


def scatter_figure(
    means: pd.DataFrame, found: pd.DataFrame, *, by: str = "method", accuracy: str = "linear_accuracy", what: str = ""
) -> go.Figure:
    """Accuracy over explanation score: a point with its interval for each network, a line along each training, a fit with its r.

    Menus choose the method and the group of metrics. Points: cross untrained, circle on the way, diamond a bundled model.

    Args:
        means: from `xaicl_lib.studies.downstream.model_scores`.
        found: from `xaicl_lib.statistics.correlation.correlate`, of which Pearson's r is shown.
        by: column that says whose scores these are.
        accuracy: column of the accuracies.
        what: is seen, for those who do not see it, before the numbers.
    """
    names, groups = list(means[by].unique()), [g for g in AXES if g in set(means["group"])]
    figure = go.Figure()
    at_group: dict[str, dict[str, list]] = {}
    for group in groups:
        traces = [trace for name in names for trace in _traces(means, found, by, name, group, accuracy)]
        at_group[group] = {key: [trace[key] for trace in traces] for key in ("x", "y", "error_x.array", "text")}
        if group == groups[0]:
            for trace in traces:
                reach = {"type": "data", "array": trace["error_x.array"], "width": 0, "thickness": 1}
                points = {key: trace[key] for key in ("x", "y", "text")}
                figure.add_trace(go.Scatter(**points, error_x=reach, visible=trace["of"] == names[0], **trace["look"]))
    ranges = {group: _range(means[means["group"] == group]) for group in groups}
    choice = [
        {"label": g, "method": "update", "args": [at_group[g], {"xaxis.title.text": AXES[g], "xaxis.range": ranges[g]}]} for g in groups
    ]
    menus = [*menu([trace["of"] for trace in traces], pad={"b": 48}), {**_BUTTONS, "buttons": choice}]
    rows = -(-means["recipe"].nunique() // 2)  # of the legend, two in a line on a phone
    figure.update_xaxes(**GRID, title=AXES[groups[0]], range=ranges[groups[0]])
    bounds = [float(means[accuracy].min()) - _HEADROOM / 2, float(means[accuracy].max()) + _HEADROOM]
    figure.update_yaxes(**GRID, title="accuracy of the linear probe", range=bounds)
    margin = {"l": 60, "r": 12, "t": 95, "b": 60 + 20 * rows}
    figure.update_layout(**PLAIN, height=480 + 20 * rows, margin=margin, updatemenus=menus, legend=WIDE_LEGEND, showlegend=True)
    return described(figure, f"{what} {_scatter_alt(found, by)}")


def _traces(means: pd.DataFrame, found: pd.DataFrame, by: str, name: str, group: str, accuracy: str) -> list[dict[str, Any]]:
    """The fit and the networks of each recipe, for one method and group."""
    part = means[(means[by] == name) & (means["group"] == group)]
    r = found[(found[by] == name) & (found["group"] == group) & (found["statistic"] == "pearson")]
    top = float(means[accuracy].max()) + _HEADROOM / 2
    made = [_fit(part, r, accuracy, (_range(means[means["group"] == group])[0], top))]
    colours = series_colours(list(means["recipe"].unique()))
    for recipe, points in part.groupby("recipe", sort=False):
        rows: list[Mapping[Any, Any]] = []
        for _, run in points.sort_values("epoch").groupby("run", sort=False):
            rows += [*run.to_dict("records"), {}]  # a gap between two trainings
        if recipe == "untrained":  # these are on no way yet
            rows = points.to_dict("records")
        look = {
            "name": str(recipe),
            "mode": "markers" if recipe == "untrained" else "lines+markers",
            "line": {"color": colours[str(recipe)], "width": 1.5},
            "marker": {"color": colours[str(recipe)], "size": 9, "symbol": [_symbol(row) for row in rows]},
            "customdata": [[row.get("model"), row.get("epoch"), row.get("run")] for row in rows],
            "hovertemplate": "%{customdata[0]}, epoch %{customdata[1]} of %{customdata[2]}<br>%{x:.3f}, accuracy %{y:.3f}<extra></extra>",
        }
        x, y, reach = (_floats(row.get(key) for row in rows) for key in ("mean", accuracy, "error"))
        made.append({"x": x, "y": y, "error_x.array": reach, "text": None, "look": look})
    return [{**trace, "of": name} for trace in made]


def _fit(part: pd.DataFrame, r: pd.DataFrame, accuracy: str, corner: tuple[float, float]) -> dict[str, Any]:
    """A straight line through the networks, and in the corner above them their correlation."""
    part = part.dropna(subset=["mean"])
    look = {"mode": "lines+text", "line": DOTTED, "textposition": "middle right", "hoverinfo": "skip", "showlegend": False}
    if r.empty or part["mean"].nunique() < 2:
        return {"x": [corner[0]], "y": [corner[1]], "error_x.array": [None], "text": ["r undefined"], "look": look}
    slope, start = np.polyfit(part["mean"], part[accuracy], 1)
    ends = [float(part["mean"].min()), float(part["mean"].max())]
    row = r.iloc[0]
    text = f"r = {row['r']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
    y = [corner[1], None, *(float(start + slope * end) for end in ends)]
    return {"x": [corner[0], None, *ends], "y": y, "error_x.array": [None] * 4, "text": [text, "", "", ""], "look": look}


def _symbol(row: Mapping[Any, Any]) -> str:
    if row.get("recipe") == "untrained":
        return "x"
    return "diamond" if row and row["model"] == row["recipe"] else "circle"


def _floats(values: Any) -> list[float | None]:
    return [None if value is None or np.isnan(value) else float(value) for value in values]


def _range(part: pd.DataFrame) -> list[float]:
    reach = part["error"].fillna(0)
    low, high = float((part["mean"] - reach).min()), float((part["mean"] + reach).max())
    return [low - 0.03 * (high - low), high + 0.03 * (high - low)]


def _scatter_alt(found: pd.DataFrame, by: str) -> str:
    rows = found[found["statistic"] == "pearson"]
    said = (f"{r[by]}, {r['group']}: {r['r']:.2f} ({r['low']:.2f} to {r['high']:.2f})" for _, r in rows.iterrows())
    models = int(found["models"].max()) if len(found) else 0
    return f"Linear-probe accuracy over explanation score of {models} networks. Correlation {'; '.join(said)}."


def forest_figure(
    found: pd.DataFrame, *, rows: str, series: str, title: str = "correlation with accuracy", what: str | None = None
) -> go.Figure:
    """Correlations with their intervals, one group of metrics at a time: a line for each of `rows`, a dot for each of `series`.

    Args:
        found: columns group, r, low, high, and those two.
        rows, series: columns of the table.
        title: of the axis.
        what: is seen, for those who do not see it, before the numbers; else the title.
    """
    part = found[found["group"].isin(AXES)].rename(columns={"r": "mean"})
    part = part.sort_values("group", key=lambda column: column.map(list(AXES).index), kind="stable")
    axis: dict[str, Any] = {"title": title, "reference": 0, "reference_name": "no correlation", "bounds": (-1.05, 1.05)}
    return dots_figure(part, rows=rows, series=series, choice="group", what=what, **axis)
