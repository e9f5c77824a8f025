"""Figures of the pitfalls."""

import pandas as pd
import plotly.graph_objects as go

from xaicl_lib.views.metrics import SEQUENCE, short
from xaicl_lib.views.style import GRID, PLAIN


def fading_figure(table: pd.DataFrame) -> go.Figure:
    """The largest value of each method's maps over the score, on a logarithmic axis (`xaicl_lib.studies.pitfalls.saturation`)."""
    figure = go.Figure()
    for k, (name, part) in enumerate(table.groupby("method", sort=False)):
        part = part.sort_values("score")
        figure.add_trace(
            go.Scatter(
                x=part["score"].round(4), y=part["relative"], name=short(str(name)), mode="lines+markers",
                line={"color": SEQUENCE[k % len(SEQUENCE)], "width": 2}, marker={"size": 7, "symbol": k},
                customdata=part[["mix", "largest"]],
                hovertemplate="score %{x:.3f}, %{customdata[0]:.0%} of the other photo<br>largest value %{customdata[1]:.2g}",
            )
        )  # fmt: skip
    figure.update_xaxes(**GRID, title="score of the pair (cosine)")
    figure.update_yaxes(**GRID, title="largest value, share of the method's own top", type="log", exponentformat="power")
    figure.update_layout(
        **PLAIN, height=420, margin={"l": 66, "r": 12, "t": 10, "b": 96},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "xref": "container", "x": 0.02, "font": {"size": 12}},
    )  # fmt: skip
    return figure


def fading_alt(table: pd.DataFrame) -> str:
    """What `fading_figure` shows at its ends: how much is left of each method's values at the highest score."""
    top = table.loc[table["score"] == table["score"].max()]
    left = "; ".join(f"{short(str(r['method']))} {r['relative']:.1g}" for _, r in top.iterrows())
    return f"Largest values of the maps over the score. At a score of {top['score'].iloc[0]:.2f}, as a share of each method's top: {left}."
