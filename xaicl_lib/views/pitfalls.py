"""Figures of the pitfalls."""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from xaicl_lib.evaluation.method_spec import short
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.views.gallery import gallery_figure, overlaid
from xaicl_lib.views.render import described
from xaicl_lib.views.studies import PALETTE
from xaicl_lib.views.style import BARE, GRID, PLAIN, WIDE_LEGEND


def scales_figure(explained: Mapping[str, tuple[Pair, Explanation]]) -> go.Figure:
    """Maps of pairs twice: each stretched to its own largest value, as many tools do, and all on one scale. Each pair is one alone."""
    own = {name: [side.max().clamp(min=0).item() for side in made.sides] for name, (_, made) in explained.items()}
    top = max(limit for limits in own.values() for limit in limits)
    rows = {"own scales": own, "one scale": {name: [top] * 2 for name in own}}
    items = [
        (f"{name}, {scale}", [overlaid(x[0], y[0], limit) for x, y, limit in zip(pair.sides, made.sides, limits[name], strict=True)])
        for scale, limits in rows.items()
        for name, (pair, made) in explained.items()
    ]
    values = "; ".join(f"{name} {a:.2f} and {b:.2f}" for name, (a, b) in own.items())
    said = "Scaled each by itself all are vivid; on one scale those of the pair with the larger values are"
    return gallery_figure(items, columns=2, what=f"Maps of pairs. {said}. Largest values: {values}. Shown")


def fading_figure(table: pd.DataFrame) -> go.Figure:
    """The largest value of each method's maps, step by step from the photo itself to another one (`studies.pitfalls.fading`)."""
    steps = table.drop_duplicates("mix").sort_values("mix")
    names = [f"{r['mix']:.0%}<br>{r['score']:.2f}" for _, r in steps.iterrows()]
    figure = go.Figure()
    for k, (name, part) in enumerate(table.groupby("method", sort=False)):
        part = part.sort_values("mix")
        figure.add_trace(
            go.Scatter(
                x=names, y=part["relative"], name=short(str(name)), mode="lines+markers",
                line={"color": PALETTE[k % len(PALETTE)], "width": 2}, marker={"size": 8, "symbol": k},
                customdata=part[["score", "largest"]],
                hovertemplate="%{y:.2g} of its top (%{customdata[1]:.2g}), score %{customdata[0]:.4f}",
            )
        )  # fmt: skip
    figure.update_xaxes(**BARE, title="share of the other photo in side b; below it the score", type="category")
    figure.update_yaxes(**GRID, title="largest value, share of its top", range=[-0.03, 1.05])
    figure.update_layout(
        **PLAIN, height=420, margin={"l": 56, "r": 12, "t": 10, "b": 120},
        legend=WIDE_LEGEND,
    )  # fmt: skip
    top = table[table["score"] == table["score"].max()]
    left = "; ".join(f"{short(str(r['method']))} {r['relative']:.1g}" for _, r in top.iterrows())
    said = f"At a score of {top['score'].iloc[0]:.2f}, as a share of each method's top: {left}."
    return described(figure, f"Largest values of the maps as side b moves away from side a. {said}")
