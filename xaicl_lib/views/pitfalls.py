"""Figures of the pitfalls."""

import pandas as pd
import plotly.graph_objects as go

from xaicl_lib.views.metrics import SEQUENCE, short
from xaicl_lib.views.style import BARE, GRID, PLAIN


def fading_figure(table: pd.DataFrame) -> go.Figure:
    """The largest value of each method's maps, step by step from the photo itself to another one (`studies.pitfalls.saturation`)."""
    steps = table.drop_duplicates("mix").sort_values("mix")
    names = [f"{r['mix']:.0%}<br>{r['score']:.2f}" for _, r in steps.iterrows()]
    figure = go.Figure()
    for k, (name, part) in enumerate(table.groupby("method", sort=False)):
        part = part.sort_values("mix")
        figure.add_trace(
            go.Scatter(
                x=names, y=part["relative"], name=short(str(name)), mode="lines+markers",
                line={"color": SEQUENCE[k % len(SEQUENCE)], "width": 2}, marker={"size": 8, "symbol": k},
                customdata=part[["score", "largest"]],
                hovertemplate="%{y:.2g} of its top (%{customdata[1]:.2g}), score %{customdata[0]:.4f}",
            )
        )  # fmt: skip
    figure.update_xaxes(**BARE, title="share of the other photo in side b; below it the score", type="category")
    figure.update_yaxes(**GRID, title="largest value, share of its top", range=[-0.03, 1.05])
    figure.update_layout(
        **PLAIN, height=420, margin={"l": 56, "r": 12, "t": 10, "b": 120},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "xref": "container", "x": 0.02, "font": {"size": 12}},
    )  # fmt: skip
    return figure


def fading_alt(table: pd.DataFrame) -> str:
    """What `fading_figure` shows at its ends: how much is left of each method's values at the highest score."""
    top = table.loc[table["score"] == table["score"].max()]
    left = "; ".join(f"{short(str(r['method']))} {r['relative']:.1g}" for _, r in top.iterrows())
    score = top["score"].iloc[0]
    return (
        f"Largest values of the maps as side b moves away from side a. At a score of {score:.2f}, as a share of each method's top: {left}."
    )
