"""Figures of claims that were tested: the difference with its interval in each cell, the verdict as its colour."""

import pandas as pd
import plotly.graph_objects as go

from xaicl_lib.views.metrics import TEXT, VERDICT, menu_of, panel
from xaicl_lib.views.style import BARE, PLAIN

COLOUR = {"contrary": -1, "undecided": 0, "holds": 1}


def claims_figure(found: pd.DataFrame) -> go.Figure:
    """One claim at a time: rows models, columns metrics; by how much it holds, and the interval below.

    Args:
        found: from `xaicl_lib.studies.headlines.headlines`.
    """
    claims, models, names = (list(dict.fromkeys(found[column])) for column in ("claim", "model", "metric"))
    figure = go.Figure([_cells(found[found["claim"] == claim], models, names) for claim in claims])
    for k, trace in enumerate(figure.data):
        trace.visible = k == 0
    figure.update_xaxes(**BARE, side="top", tickvals=list(range(len(names))), ticktext=[panel(name) for name in names])
    figure.update_yaxes(**BARE, autorange="reversed", tickvals=list(range(len(models))), ticktext=models)
    menu = menu_of(claims)
    figure.update_layout(**PLAIN, height=100 + 42 * len(models), margin={"l": 100, "r": 6, "t": 84, "b": 6}, updatemenus=menu)
    return figure


def _cells(part: pd.DataFrame, models: list[str], names: list[str]) -> go.Heatmap:
    rows = part.set_index(["model", "metric"])
    there = [[rows.loc[(model, name)] if (model, name) in rows.index else None for name in names] for model in models]
    return go.Heatmap(
        z=[[None if cell is None else COLOUR[cell["verdict"]] for cell in row] for row in there],
        text=[["" if cell is None else _text(cell) for cell in row] for row in there],
        hovertext=[
            ["" if c is None else _note(c, model, name) for name, c in zip(names, row, strict=True)]
            for model, row in zip(models, there, strict=True)
        ],
        texttemplate="%{text}", textfont={**TEXT, "size": 11}, hovertemplate="%{hovertext}<extra></extra>",
        colorscale=VERDICT, zmin=-1, zmax=1, showscale=False, xgap=2, ygap=2,
    )  # fmt: skip


def _text(cell: pd.Series) -> str:
    return f"{cell['difference']:+.3f}<br>{cell['low']:+.2f} to {cell['high']:+.2f}"


def _note(cell: pd.Series, model: str, name: str) -> str:
    ends = f"[{cell['low']:+.3f}, {cell['high']:+.3f}]"
    return f"{name} on {model}: {cell['difference']:+.3f} {ends}, {cell['n']} pairs, corrected p {cell['p']:.2g}: {cell['verdict']}"


def claims_alt(found: pd.DataFrame) -> str:
    """What `claims_figure` shows: claim by claim, how many tests say that it holds, how many the contrary."""
    parts = []
    for claim, rows in found.groupby("claim", sort=False):
        counts = rows["verdict"].value_counts()
        parts.append(f"{claim}: {counts.get('holds', 0)} of {len(rows)} hold, {counts.get('contrary', 0)} contrary")
    return f"By how much each claim holds, by metric and model. {'; '.join(parts)}."
