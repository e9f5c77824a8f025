"""Figures of measured explanations: curves, tables as heat maps, claims and the paper beside us."""

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from xaicl_lib.evaluation.method_spec import short
from xaicl_lib.methods import methods
from xaicl_lib.metrics import metrics
from xaicl_lib.metrics.registry import Curves
from xaicl_lib.views.render import described
from xaicl_lib.views.studies import PALETTE
from xaicl_lib.views.style import BARE, GRID, PLAIN, menu, reach

# After Okabe and Ito, so that colour-blind readers can tell the families of methods apart.
FAMILIES = {
    "perturbation": "#0072b2", "gradient": "#d55e00", "activation": "#009e73", "similarity": "#cc79a7", "attention": "#e69f00",
    "control": "#8c8c8c",
}  # fmt: skip
BRIEF = {"max_sensitivity": "max s."}
GOODNESS = [[0.0, "#f3e3d3"], [0.5, "#d9e6e4"], [1.0, "#2a8f8a"]]  # from worst to best of a column; text stays readable on all of it
VERDICT = [[0.0, "#e7a977"], [0.5, "#f1efe9"], [1.0, "#5fb3aa"]]  # all methods lose, as many win as lose, all win
INSIDE = [[0, "#eee6dc"], [1, "#8fcfc2"]]
SAID = {"contrary": -1, "undecided": 0, "holds": 1}  # a verdict as a colour
TEXT = {"color": "#1c1c1c", "size": 12}
GREY = "rgba(128,128,128,0.5)"


def _family(label: str) -> str:
    """The family of the method that a label begins with."""
    name = label.split("(")[0]
    return methods[name].facts["family"] if name in methods else "control"


def _panel(name: str) -> str:
    """The metric's name with an arrow towards better; short, for a phone shows two side by side."""
    return f"{BRIEF.get(name, name)} {'↑' if metrics[name].facts['higher_is_better'] else '↓'}"


def _number(value: float, digits: int = 2) -> str:
    return f"{value:z.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:z.{digits}f}"


def _distinct(values: pd.Series) -> list[str]:
    """Values in the order in which they come."""
    return list(dict.fromkeys(values))


def pixel_curves_figure(curves: Mapping[str, Curves], *, index: int = 0) -> go.Figure:
    """Insertion and deletion curves of one pair, a panel for each metric, a line for each method."""
    names = list(next(iter(curves.values())).points)
    titles = [_panel(name) for name in names]
    figure = make_subplots(-(-len(names) // 2), 2, subplot_titles=titles, vertical_spacing=0.16, horizontal_spacing=0.1)
    for k, name in enumerate(names):
        for j, (label, found) in enumerate(curves.items()):
            y = found.points[name][index].mean(0).float().cpu().numpy()
            line = {"color": PALETTE[j % len(PALETTE)], "width": 2}
            trace = go.Scatter(
                x=np.linspace(0, 1, len(y)).round(4), y=y.round(4), name=short(label), legendgroup=label, showlegend=k == 0, line=line
            )
            trace.hovertemplate = f"{html.escape(short(label))}<br>%{{x:.0%}} of the pixels: %{{y:.3f}}<extra></extra>"
            figure.add_trace(trace, k // 2 + 1, k % 2 + 1)
    figure.update_xaxes(**GRID, range=[0, 1], tickformat=".0%", nticks=4)
    figure.update_yaxes(**GRID, nticks=5)
    figure.update_layout(**PLAIN, height=520, margin={"l": 40, "r": 12, "t": 40, "b": 40}, legend={"orientation": "h", "y": -0.1})
    areas = (
        f"{short(label)}: {', '.join(f'{name} {area[index].item():.2f}' for name, area in found.areas().items())}"
        for label, found in curves.items()
    )
    return described(figure, f"A panel of curves over the share of pixels changed for each metric; the areas below. {'; '.join(areas)}.")


def table_figure(summary: pd.DataFrame, *, digits: int = 2) -> go.Figure:
    """A table of means: rows methods, columns metrics, coloured within a column from the worst to the best; a menu of models.

    The summary is of `summarise`.
    """
    names, labels = _distinct(summary["metric"]), _distinct(summary["method"])
    layers = {str(model): _means(part, names, labels, digits) for model, part in summary.groupby("model", sort=False)}
    figure = _cells_figure(layers, [_panel(name) for name in names], [short(label) for label in labels])
    return described(figure, _best(summary[summary["model"] == summary["model"].iloc[0]].dropna(subset=["mean"])))


def _means(part: pd.DataFrame, names: list[str], labels: list[str], digits: int) -> go.Heatmap:
    def grid(column: str) -> np.ndarray:
        return part.pivot(index="method", columns="metric", values=column).reindex(index=labels, columns=names).to_numpy(float)

    mean, low, high = grid("mean"), grid("low"), grid("high")
    sign = np.array([1 if metrics[name].facts["higher_is_better"] else -1 for name in names])
    ranked = pd.DataFrame(mean * sign)  # whose minimum and maximum pass over what is missing
    ranked = ((ranked - ranked.min()) / (ranked.max() - ranked.min()).clip(lower=1e-12)).to_numpy()
    notes = [
        [f"{short(label)}<br>{name}: {m:.3f} [{a:.3f}, {b:.3f}]" for name, m, a, b in zip(names, *cells, strict=True)]
        for label, *cells in zip(labels, mean, low, high, strict=True)
    ]
    text = [["" if np.isnan(v) else _number(v, digits) for v in row] for row in mean]
    return _heat(np.where(np.isnan(ranked), None, ranked.round(3)), text, notes, GOODNESS, least=0)


def _best(part: pd.DataFrame) -> str:
    """The best method by each metric."""
    best = []
    for name, group in part.groupby("metric", sort=False):
        row = group.loc[group["mean"].idxmax() if metrics[name].facts["higher_is_better"] else group["mean"].idxmin()]
        best.append(f"{name} {short(row['method'])} ({row['mean']:.2f})")
    return f"Means of each metric for each method on {part['model'].iloc[0]}. Best by {'; '.join(best)}."


def verdicts_figure(verdicts: pd.DataFrame) -> go.Figure:
    """How many methods beat a control, and how many lose against it: rows models, columns metrics; a menu of controls.

    The verdicts are of `studies.tables.against_controls`.
    """
    names, models = _distinct(verdicts["metric"]), _distinct(verdicts["model"])

    def layer(part: pd.DataFrame) -> go.Heatmap:
        return _layer(
            part, models, names, VERDICT,
            colour=lambda cell: round((cell["better"] - cell["worse"]) / max(cell["methods"], 1), 3),
            text=lambda cell: f"{cell['better']} · {cell['worse']}",
            note=_verdict_note,
        )  # fmt: skip

    layers = {short(str(control)): layer(part) for control, part in verdicts.groupby("control", sort=False)}
    figure = _cells_figure(layers, [_panel(name) for name in names], models, tall=30, left=100)
    control = verdicts["control"].iloc[0]
    part = verdicts[verdicts["control"] == control]
    each = (f"{name} {', '.join(map(str, rows['better']))}" for name, rows in part.groupby("metric", sort=False))
    said = f"Methods significantly better than {short(control)} on {', '.join(_distinct(part['model']))}: {'; '.join(each)}."
    return described(figure, said)


def _verdict_note(cell: pd.Series, model: str, metric: str) -> str:
    even = cell["methods"] - cell["better"] - cell["worse"]
    return f"{metric} on {model}: {cell['better']} methods better, {cell['worse']} worse, {even} undecided"


def claims_figure(found: pd.DataFrame) -> go.Figure:
    """One claim at a time: rows models, columns metrics; by how much it holds, the interval below, the verdict as colour.

    The claims are of `studies.headlines.headlines`.
    """
    models, names = _distinct(found["model"]), _distinct(found["metric"])

    def layer(part: pd.DataFrame) -> go.Heatmap:
        return _layer(
            part, models, names, VERDICT, size=11,
            colour=lambda cell: SAID[cell["verdict"]],
            text=lambda cell: f"{cell['difference']:+.3f}<br>{cell['low']:+.2f} to {cell['high']:+.2f}",
            note=_claim_note,
        )  # fmt: skip

    layers = {str(claim): layer(part) for claim, part in found.groupby("claim", sort=False)}
    figure = _cells_figure(layers, [_panel(name) for name in names], models, tall=42, wide=92, left=100)
    counts = {claim: (part["verdict"].value_counts(), len(part)) for claim, part in found.groupby("claim", sort=False)}
    parts = (f"{claim}: {c.get('holds', 0)} of {n} hold, {c.get('contrary', 0)} contrary" for claim, (c, n) in counts.items())
    return described(figure, f"By how much each claim holds, by metric and model. {'; '.join(parts)}.")


def _claim_note(cell: pd.Series, model: str, name: str) -> str:
    ends = f"[{cell['low']:+.3f}, {cell['high']:+.3f}]"
    return f"{name} on {model}: {cell['difference']:+.3f} {ends}, {cell['n']} pairs, corrected p {cell['p']:.2g}: {cell['verdict']}"


def beside_figure(beside: pd.DataFrame) -> go.Figure:
    """Our means over the paper's numbers, cell by cell: coloured where the paper's lies within our interval (`tables.beside_paper`)."""
    names, labels = _distinct(beside["metric"]), _distinct(beside["method"])
    heat = _layer(
        beside, labels, names, INSIDE, index="method", least=0, size=11,
        colour=lambda cell: int(cell["inside"]),
        text=lambda cell: f"{_number(cell['mean'])}<br>{_number(cell['paper'])}",
        note=_beside_note,
    )  # fmt: skip
    figure = _cells_figure({"": heat}, names, [short(label) for label in labels], tall=38, above=36)
    parts = (f"{name} {int(rows['inside'].sum())} of {len(rows)}" for name, rows in beside.groupby("metric", sort=False))
    return described(figure, f"Our means over the paper's numbers. Within our interval: {', '.join(parts)}.")


def _beside_note(cell: pd.Series, label: str, name: str) -> str:
    ours = f"here {cell['mean']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]"
    return f"{short(label)}, {name}<br>{ours}, paper {cell['paper']:.3f} (Table {cell['table']})"


def _layer(
    part: pd.DataFrame,
    rows: list[str],
    names: list[str],
    scale: list,
    *,
    colour: Callable[[pd.Series], float],
    text: Callable[[pd.Series], str],
    note: Callable[[pd.Series, str, str], str],
    index: str = "model",
    least: int = -1,
    size: int = 12,
) -> go.Heatmap:
    """A cell for each row (of the column `index`) and metric that the table has, empty where it has none."""
    cells = part.set_index([index, "metric"])
    there = [[(cells.loc[(row, name)], row, name) if (row, name) in cells.index else None for name in names] for row in rows]
    return _heat(
        [[None if cell is None else colour(cell[0]) for cell in row] for row in there],
        [["" if cell is None else text(cell[0]) for cell in row] for row in there],
        [["" if cell is None else note(*cell) for cell in row] for row in there],
        scale, least, size,
    )  # fmt: skip


def _heat(z: Any, text: list[list[str]], notes: list[list[str]], scale: list, least: int, size: int = 12) -> go.Heatmap:
    """Cells with text in them, coloured from `least` to 1."""
    return go.Heatmap(
        z=z, text=text, texttemplate="%{text}", textfont={**TEXT, "size": size}, hovertext=notes,
        hovertemplate="%{hovertext}<extra></extra>", colorscale=scale, zmin=least, zmax=1, showscale=False, xgap=2, ygap=2,
    )  # fmt: skip


def _cells_figure(
    layers: Mapping[str, go.Heatmap], columns: Sequence[str], rows: Sequence[str], *,
    tall: int = 27, wide: int = 58, left: int = 160, above: int = 84,
) -> go.Figure:  # fmt: skip
    """Heat maps of the same cells, one at a time from a menu; rows `tall` pixels each, columns at least `wide`, with their names above."""
    figure = go.Figure(list(layers.values()))
    for k, trace in enumerate(figure.data):
        trace.visible = k == 0
    figure.update_xaxes(**BARE, side="top", tickvals=list(range(len(columns))), ticktext=list(columns))
    figure.update_yaxes(**BARE, autorange="reversed", tickvals=list(range(len(rows))), ticktext=list(rows))
    margin = {"l": left, "r": 6, "t": above, "b": 6}
    return figure.update_layout(
        **PLAIN, height=above + 16 + tall * len(rows), margin=margin, updatemenus=menu(list(layers), pad={"b": 34}, showactive=True),
        meta={"least": left + wide * len(columns)},
    )  # fmt: skip


def groups_figure(grouped: pd.DataFrame) -> go.Figure:
    """The summary of the paper's Fig. 14: rows methods, columns models, one group of metrics at a time; more is better in all of them."""
    names, models, labels = (_distinct(grouped[column]) for column in ("group", "model", "method"))
    figure = go.Figure()
    for k, name in enumerate(names):
        z = grouped[grouped["group"] == name].pivot(index="method", columns="model", values="value").reindex(index=labels, columns=models)
        heat = go.Heatmap(
            z=np.where(z.isna(), None, z.to_numpy(float).round(3)), x=models, y=[short(label) for label in labels], colorscale="Viridis",
            visible=k == 0, texttemplate="%{z:.2f}", hovertemplate="%{y} on %{x}: %{z:.3f}<extra></extra>", xgap=2, ygap=2,
            colorbar={"thickness": 9},
        )  # fmt: skip
        figure.add_trace(heat)
    figure.update_xaxes(**BARE, side="top", tickangle=-50)
    figure.update_yaxes(**BARE, autorange="reversed")
    figure.update_layout(
        **PLAIN, height=136 + 27 * len(labels), margin={"l": 160, "r": 6, "t": 120, "b": 6}, updatemenus=menu(names, pad={"b": 70})
    )
    means = grouped.groupby(["group", "method"])["value"].mean()
    best = "; ".join(f"{name}: {short(means[name].idxmax())}" for name in names)
    return described(figure, f"Methods by models, one group of metrics at a time. Best on average: {best}.")


def paper_figure(beside: pd.DataFrame) -> go.Figure:
    """Our means against the paper's, a point for each method with its interval, a metric at a time; titles carry the rank correlation.

    The table is of `studies.paper.beside`.
    """
    names, (ours, theirs) = _distinct(beside["metric"]), beside[["model", "paper_model"]].iloc[0]
    parts = [beside[beside["metric"] == name].dropna(subset=["mean"]) for name in names]
    figure = go.Figure([_points(part) for part in parts])
    for k, trace in enumerate(figure.data):
        trace.visible = k == 0
    there = {_family(label) for label in beside["method"]}
    kinds = [kind for kind in FAMILIES if kind in there]
    figure.add_traces([go.Scatter(x=[None], y=[None], mode="markers", marker=_marker(FAMILIES[kind]), name=kind) for kind in kinds])
    titles = [f"{name}: rank correlation {_rho(part):.2f} over {len(part)} methods" for name, part in zip(names, parts, strict=True)]
    menus = menu([*names, *[None] * len(kinds)], "update", pad={"b": 12})  # below the title
    for button, title in zip(menus[0]["buttons"] if menus else [], titles, strict=False):
        button["args"].append({"title.text": title})
    figure.update_xaxes(**GRID, title=html.escape(f"{theirs} in the paper"))
    figure.update_yaxes(**GRID, title=html.escape(f"{ours} here"))
    figure.update_layout(
        **PLAIN, height=470, margin={"l": 60, "r": 12, "t": 90, "b": 80}, updatemenus=menus, legend={"orientation": "h", "y": -0.24},
        title={"text": titles[0], "font": {"size": 15}, "x": 0.5, "y": 0.97},
    )  # fmt: skip
    said = f"Mean of each metric on {ours} against the paper's on {theirs}, a point for each method. {'; '.join(titles)}."
    return described(figure, said)


def _points(rows: pd.DataFrame) -> go.Scatter:
    return go.Scatter(
        x=rows["paper"], y=rows["mean"], error_y=reach(rows, width=0, color=GREY), mode="markers", showlegend=False,
        marker=_marker([FAMILIES[_family(label)] for label in rows["method"]]), hovertext=[short(label) for label in rows["method"]],
        hovertemplate="%{hovertext}<br>here %{y:.3f}, paper %{x:.3f}<extra></extra>",
    )  # fmt: skip


def _marker(colour: str | list[str]) -> dict[str, Any]:
    return {"size": 11, "color": colour}


def _rho(rows: pd.DataFrame) -> float:
    known = rows[["paper", "mean"]].dropna()
    return float(known.corr("spearman").iloc[0, 1]) if len(known) > 2 else float("nan")
