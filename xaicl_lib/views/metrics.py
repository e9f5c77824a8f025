"""Figures of measured explanations: curves, tables as heat maps, the paper beside us, cascades of randomised models."""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from xaicl_lib.errors import InputError
from xaicl_lib.methods import methods
from xaicl_lib.metrics import metrics
from xaicl_lib.metrics.registry import Curves
from xaicl_lib.views.style import BARE, GRID, PLAIN

# After Okabe and Ito, so that colour-blind readers can tell the families of methods apart.
FAMILIES = {
    "perturbation": "#0072b2",
    "gradient": "#d55e00",
    "activation": "#009e73",
    "similarity": "#cc79a7",
    "attention": "#e69f00",
    "control": "#8c8c8c",
}
SEQUENCE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d1f", "#8c8c8c")
SHORT = {
    "conditional_occlusion": "occlusion, conditional",
    "pairwise_occlusion": "occlusion, pairwise",
    "rise": "RISE",
    "deep_similarity": "deep similarity",
    "integrated_jacobians": "integrated Jacobians",
    "grad_cam": "Grad-CAM",
    "interaction_cam": "Int-CAM",
    "input_x_gradient": "input x gradient",
    "smooth_grad": "Smooth-Grad",
    "averaged_transforms": "averaged transf.",
    "random_map": "random map",
}
BRIEF = {"max_sensitivity": "max s."}
OPTIONS = {
    "guided=True": "guided",
    "level=0.15": "noisy",
    "sigma=published": "published noise",
    "reduction=max": "max",
    "reduction=attention": "attention",
    "gradient_interaction=False": "no GI",
}
GOODNESS = [[0.0, "#f3e3d3"], [0.5, "#d9e6e4"], [1.0, "#2a8f8a"]]  # from worst to best of a column; text stays readable on all of it
VERDICT = [[0.0, "#e7a977"], [0.5, "#f1efe9"], [1.0, "#5fb3aa"]]  # all methods lose, as many win as lose, all win
TEXT = {"color": "#1c1c1c", "size": 12}


def short(label: str) -> str:
    """A method's label for a narrow place: "interaction_cam(reduction=max)" is "Int-CAM, max"."""
    found = re.fullmatch(r"(\w+)(?:\((.*)\))?", label)
    if found is None:
        return label
    name, options = found.groups()
    return ", ".join([SHORT.get(name, name), *(OPTIONS.get(one, one) for one in (options or "").split(", ") if one)])


def family(label: str) -> str:
    """The family of the method that a label begins with."""
    name = label.split("(")[0]
    return methods[name].facts["family"] if name in methods else "control"


def curves_figure(curves: Mapping[str, Curves], *, index: int = 0) -> go.Figure:
    """Insertion and deletion curves of one pair, a panel for each metric, a line for each method.

    Args:
        curves: by label of the method, of the same pairs.
        index: which pair.
    """
    names = list(next(iter(curves.values())).points)
    figure = make_subplots(
        -(-len(names) // 2), 2, subplot_titles=[panel(name) for name in names], vertical_spacing=0.16, horizontal_spacing=0.1
    )
    for k, name in enumerate(names):
        for j, (label, found) in enumerate(curves.items()):
            y = found.points[name][index].mean(0).float().cpu().numpy()
            line = {"color": SEQUENCE[j % len(SEQUENCE)], "width": 2}
            trace = go.Scatter(
                x=np.linspace(0, 1, len(y)).round(4), y=y.round(4), name=short(label), legendgroup=label, showlegend=k == 0, line=line
            )
            trace.hovertemplate = f"{html.escape(short(label))}<br>%{{x:.0%}} of the pixels: %{{y:.3f}}<extra></extra>"
            figure.add_trace(trace, k // 2 + 1, k % 2 + 1)
    figure.update_xaxes(**GRID, range=[0, 1], tickformat=".0%", nticks=4)
    figure.update_yaxes(**GRID, nticks=5)
    figure.update_layout(**PLAIN, height=520, margin={"l": 40, "r": 12, "t": 40, "b": 40}, legend={"orientation": "h", "y": -0.1})
    return figure


def panel(name: str) -> str:
    """The metric's name with an arrow towards better; short, for a phone shows two side by side."""
    return f"{BRIEF.get(name, name)} {'↑' if metrics[name].facts['higher_is_better'] else '↓'}"


def table_figure(summary: pd.DataFrame, *, digits: int = 2) -> go.Figure:
    """A table of means: rows methods, columns metrics, coloured within a column from the worst to the best; a menu of models.

    Args:
        summary: from `summarise`: model, method, metric, mean, low, high, n.
        digits: after the point.
    """
    models = list(dict.fromkeys(summary["model"]))
    names, ways = list(dict.fromkeys(summary["metric"])), list(dict.fromkeys(summary["method"]))
    figure = go.Figure([_heat(summary[summary["model"] == model], names, ways, digits) for model in models])
    for k, trace in enumerate(figure.data):
        trace.visible = k == 0
    heads = [panel(name) for name in names]
    figure.update_xaxes(**BARE, side="top", tickvals=list(range(len(names))), ticktext=heads)
    figure.update_yaxes(**BARE, autorange="reversed", tickvals=list(range(len(ways))), ticktext=[short(way) for way in ways])
    figure.update_layout(**PLAIN, height=100 + 27 * len(ways), margin={"l": 160, "r": 6, "t": 84, "b": 6}, updatemenus=menu_of(models))
    return figure


def _heat(part: pd.DataFrame, names: list[str], ways: list[str], digits: int) -> go.Heatmap:
    def grid(column: str) -> np.ndarray:
        return part.pivot(index="method", columns="metric", values=column).reindex(index=ways, columns=names).to_numpy(float)

    mean, low, high = grid("mean"), grid("low"), grid("high")
    sign = np.array([1 if metrics[name].facts["higher_is_better"] else -1 for name in names])
    ranked = pd.DataFrame(mean * sign)  # whose minimum and maximum pass over what is missing
    ranked = ((ranked - ranked.min()) / (ranked.max() - ranked.min()).clip(lower=1e-12)).to_numpy()
    text = [["" if np.isnan(v) else _number(v, digits) for v in row] for row in mean]
    notes = [
        [f"{short(way)}<br>{name}: {m:.3f} [{a:.3f}, {b:.3f}]" for name, m, a, b in zip(names, *cells, strict=True)]
        for way, *cells in zip(ways, mean, low, high, strict=True)
    ]
    return go.Heatmap(
        z=np.where(np.isnan(ranked), None, ranked.round(3)), text=text, texttemplate="%{text}", textfont=TEXT, hovertext=notes,
        hovertemplate="%{hovertext}<extra></extra>", colorscale=GOODNESS, zmin=0, zmax=1, showscale=False, xgap=2, ygap=2,
    )  # fmt: skip


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{digits}f}"


def menu_of(names: Sequence[str], above: int = 34) -> list[dict[str, Any]]:
    """A menu that shows one trace at a time, so many pixels above the plot; none for a single one."""
    if len(names) < 2:
        return []
    buttons = [
        {"label": name, "method": "update", "args": [{"visible": [j == k for j in range(len(names))]}]} for k, name in enumerate(names)
    ]
    return [{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "pad": {"b": above}, "showactive": True}]


def table_alt(summary: pd.DataFrame) -> str:
    """What `table_figure` shows first: the best method by each metric on the first model."""
    part = summary[summary["model"] == summary["model"].iloc[0]].dropna(subset=["mean"])
    best = []
    for name, group in part.groupby("metric", sort=False):
        row = group.loc[group["mean"].idxmax() if metrics[name].facts["higher_is_better"] else group["mean"].idxmin()]
        best.append(f"{name} {short(row['method'])} ({row['mean']:.2f})")
    return f"Means of each metric for each method on {part['model'].iloc[0]}. Best by {'; '.join(best)}."


def verdicts_figure(verdicts: pd.DataFrame) -> go.Figure:
    """How many methods beat a control, and how many lose against it: rows models, columns metrics; a menu of controls.

    Args:
        verdicts: from `xaicl_lib.statistics.paired.verdicts`.
    """
    names, models = list(dict.fromkeys(verdicts["metric"])), list(dict.fromkeys(verdicts["model"]))
    controls = list(dict.fromkeys(verdicts["control"]))
    figure = go.Figure()
    for k, control in enumerate(controls):
        cells = verdicts[verdicts["control"] == control].set_index(["model", "metric"])
        found = [[cells.loc[(model, name)] if (model, name) in cells.index else None for name in names] for model in models]
        z = [[None if c is None else round((c["better"] - c["worse"]) / max(c["methods"], 1), 3) for c in row] for row in found]
        text = [["" if c is None else f"{c['better']} · {c['worse']}" for c in row] for row in found]
        notes = [["" if c is None else _verdict_note(c, model, name) for name, c in zip(names, row, strict=True)]
                 for model, row in zip(models, found, strict=True)]  # fmt: skip
        figure.add_trace(go.Heatmap(
            z=z, text=text, texttemplate="%{text}", textfont=TEXT, hovertext=notes, hovertemplate="%{hovertext}<extra></extra>",
            colorscale=VERDICT, zmin=-1, zmax=1, showscale=False, xgap=2, ygap=2, visible=k == 0,
        ))  # fmt: skip
    figure.update_xaxes(**BARE, side="top", tickvals=list(range(len(names))), ticktext=[panel(name) for name in names])
    figure.update_yaxes(**BARE, autorange="reversed", tickvals=list(range(len(models))), ticktext=models)
    menu = menu_of([short(control) for control in controls])
    figure.update_layout(**PLAIN, height=100 + 30 * len(models), margin={"l": 100, "r": 6, "t": 84, "b": 6}, updatemenus=menu)
    return figure


def _verdict_note(cell: pd.Series, model: str, metric: str) -> str:
    even = cell["methods"] - cell["better"] - cell["worse"]
    return f"{metric} on {model}: {cell['better']} methods better, {cell['worse']} worse, {even} undecided"


def verdicts_alt(verdicts: pd.DataFrame) -> str:
    """What `verdicts_figure` shows first: metric by metric, how many methods beat the first control on each model."""
    control = verdicts["control"].iloc[0]
    part = verdicts[verdicts["control"] == control]
    each = (f"{name} {', '.join(map(str, rows['better']))}" for name, rows in part.groupby("metric", sort=False))
    return f"Methods significantly better than {short(control)} on {', '.join(dict.fromkeys(part['model']))}: {'; '.join(each)}."


def groups_figure(grouped: pd.DataFrame) -> go.Figure:
    """The summary of the paper's Fig. 14: rows methods, columns models, one group of metrics at a time; more is better in all of them."""
    names = list(dict.fromkeys(grouped["group"]))
    models, ways = list(dict.fromkeys(grouped["model"])), list(dict.fromkeys(grouped["method"]))
    figure = go.Figure()
    for k, name in enumerate(names):
        z = grouped[grouped["group"] == name].pivot(index="method", columns="model", values="value").reindex(index=ways, columns=models)
        figure.add_trace(
            go.Heatmap(
                z=np.where(z.isna(), None, z.to_numpy(float).round(3)),
                x=models,
                y=[short(way) for way in ways],
                colorscale="Viridis",
                visible=k == 0,
                texttemplate="%{z:.2f}",
                hovertemplate="%{y} on %{x}: %{z:.3f}<extra></extra>",
                xgap=2,
                ygap=2,
                colorbar={"thickness": 9},
            )
        )
    figure.update_xaxes(**BARE, side="top", tickangle=-50)
    figure.update_yaxes(**BARE, autorange="reversed")
    figure.update_layout(**PLAIN, height=136 + 27 * len(ways), margin={"l": 160, "r": 6, "t": 120, "b": 6}, updatemenus=menu_of(names, 70))
    return figure


def paper_figure(ours: pd.DataFrame, paper: pd.DataFrame, *, model: str, other: str) -> go.Figure:
    """Our means against the paper's, a point for each method with its interval, a metric at a time; titles carry the rank correlation.

    Args:
        ours: from `summarise`.
        paper: from `paper_tables`.
        model: of ours.
        other: of the paper's.
    """
    left = ours[ours["model"] == model].merge(paper[paper["model"] == other], on=["method", "metric"])
    names = list(dict.fromkeys(left["metric"]))
    if not names:
        raise InputError(f"expected methods and metrics that the paper has, too, got none for {model!r} and {other!r}")
    figure = go.Figure()
    titles = []
    for k, name in enumerate(names):
        rows = left[left["metric"] == name].dropna(subset=["mean"])
        error = {
            "type": "data",
            "symmetric": False,
            "array": rows["high"] - rows["mean"],
            "arrayminus": rows["mean"] - rows["low"],
            "width": 0,
        }
        colours = [FAMILIES[family(way)] for way in rows["method"]]
        figure.add_trace(
            go.Scatter(
                x=rows["value"],
                y=rows["mean"],
                error_y={**error, "color": "rgba(128,128,128,0.5)"},
                mode="markers",
                visible=k == 0,
                showlegend=False,
                marker={"size": 11, "color": colours},
                hovertext=[short(way) for way in rows["method"]],
                hovertemplate="%{hovertext}<br>here %{y:.3f}, paper %{x:.3f}<extra></extra>",
            )
        )
        titles.append(f"{name}: rank correlation {_rho(rows):.2f} over {len(rows.dropna(subset=['value', 'mean']))} methods")
    menu = menu_of(names)
    for item in menu:
        for button, title in zip(item["buttons"], titles, strict=True):
            button["args"].append({"title.text": title})
    for kind, colour in FAMILIES.items():
        if kind in {family(way) for way in left["method"]}:
            figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker={"size": 11, "color": colour}, name=kind))
            for item in menu:
                for button in item["buttons"]:
                    button["args"][0]["visible"].append(True)
    figure.update_xaxes(**GRID, title=html.escape(f"{other} in the paper"))
    figure.update_yaxes(**GRID, title=html.escape(f"{model} here"))
    figure.update_layout(
        **PLAIN, height=470, margin={"l": 60, "r": 12, "t": 90, "b": 80}, updatemenus=menu, legend={"orientation": "h", "y": -0.24},
        title={"text": titles[0], "font": {"size": 15}, "x": 0.5, "y": 0.97},
    )  # fmt: skip
    return figure


def beside_figure(beside: pd.DataFrame) -> go.Figure:
    """Our means over the paper's numbers, cell by cell: coloured where the paper's lies within our interval (`beside_paper`)."""
    names, ways = list(dict.fromkeys(beside["metric"])), list(dict.fromkeys(beside["method"]))
    cells = beside.set_index(["method", "metric"])
    text, colour, notes = [], [], []
    for way in ways:
        there = [cells.loc[(way, name)] if (way, name) in cells.index else None for name in names]
        text.append(["" if row is None else f"{_number(row['mean'], 2)}<br>{_number(row['paper'], 2)}" for row in there])
        colour.append([None if row is None else int(row["inside"]) for row in there])
        notes.append([_beside_note(way, name, row) for name, row in zip(names, there, strict=True)])
    font = {**TEXT, "size": 11}
    heat = go.Heatmap(
        z=colour, text=text, texttemplate="%{text}", textfont=font, hovertext=notes, hovertemplate="%{hovertext}<extra></extra>",
        colorscale=[[0, "#eee6dc"], [1, "#8fcfc2"]], zmin=0, zmax=1, showscale=False, xgap=2, ygap=2,
    )  # fmt: skip
    figure = go.Figure(heat)
    figure.update_xaxes(**BARE, side="top", tickvals=list(range(len(names))), ticktext=names)
    figure.update_yaxes(**BARE, autorange="reversed", tickvals=list(range(len(ways))), ticktext=[short(way) for way in ways])
    figure.update_layout(**PLAIN, height=50 + 38 * len(ways), margin={"l": 160, "r": 6, "t": 36, "b": 6})
    return figure


def _beside_note(way: str, name: str, row: pd.Series | None) -> str:
    if row is None:
        return ""
    ours = f"here {row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{short(way)}, {name}<br>{ours}, paper {row['paper']:.3f} (Table {row['table']})"


def beside_alt(beside: pd.DataFrame) -> str:
    """What `beside_figure` shows: how many of the paper's numbers lie within our intervals, metric by metric."""
    parts = (f"{name} {int(rows['inside'].sum())} of {len(rows)}" for name, rows in beside.groupby("metric", sort=False))
    return f"Our means over the paper's numbers. Within our interval: {', '.join(parts)}."


def _error(rows: pd.DataFrame) -> dict[str, Any]:
    up, down = rows["high"] - rows["mean"], rows["mean"] - rows["low"]
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "width": 0}


def _rho(rows: pd.DataFrame) -> float:
    known = rows[["value", "mean"]].dropna()
    return float(known.corr("spearman").iloc[0, 1]) if len(known) > 2 else float("nan")


def intervals_figure(table: pd.DataFrame, *, x: str, group: str, title: str, zero: bool = True) -> go.Figure:
    """Dots with intervals: `x` on the axis, one colour for each `group`, side by side; columns mean, low and high."""
    names = list(dict.fromkeys(table[x].astype(str)))
    groups = list(dict.fromkeys(table[group]))
    figure = go.Figure()
    for k, name in enumerate(groups):
        rows = table[table[group] == name]
        at = [names.index(str(v)) + (k - (len(groups) - 1) / 2) * 0.6 / max(len(groups), 1) for v in rows[x]]
        error = {
            "type": "data",
            "symmetric": False,
            "array": rows["high"] - rows["mean"],
            "arrayminus": rows["mean"] - rows["low"],
            "width": 4,
        }
        trace = go.Scatter(
            x=at, y=rows["mean"], error_y=error, mode="markers", name=str(name), marker={"size": 9, "color": SEQUENCE[k % 8]}
        )
        trace.hovertext = [
            f"{v}, {name}: {m:.2f} [{a:.2f}, {b:.2f}]" for v, m, a, b in zip(rows[x], rows["mean"], rows["low"], rows["high"], strict=True)
        ]
        trace.hovertemplate = "%{hovertext}<extra></extra>"
        figure.add_trace(trace)
    if zero:
        figure.add_hline(y=0, line={"color": "rgba(128,128,128,0.8)", "width": 1})
    figure.update_xaxes(**BARE, tickvals=list(range(len(names))), ticktext=names, range=[-0.5, len(names) - 0.5])
    figure.update_yaxes(**GRID, title=title)
    figure.update_layout(**PLAIN, height=380, margin={"l": 60, "r": 12, "t": 20, "b": 70}, legend={"orientation": "h", "y": -0.18})
    return figure
