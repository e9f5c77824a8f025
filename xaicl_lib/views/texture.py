"""Figures of the choice between a partner of the same shape and one of the same texture."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from xaicl_lib.errors import InputError
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.studies.texture import PAPER, SHAPE, SHARED, TEXTURE, Trials
from xaicl_lib.views.gallery import both_sides, gallery_figure, overlaid
from xaicl_lib.views.render import described
from xaicl_lib.views.studies import dots_figure
from xaicl_lib.views.style import GRID, LEGEND, PLAIN, menu, slider

_COLOURS = {TEXTURE: "#d55e00", SHAPE: "#0072b2"}  # after Okabe and Ito
SLIDER = 84  # pixels below the pictures
_FAINT = {"color": "rgba(128,128,128,0.9)", "width": 1.5}


def partners_figure(trials: Sequence[Trials]) -> go.Figure:
    """Of each kind of trials the first and the middle one: the image, and the partners that share its shape, its texture, and nothing."""
    items = []
    for one in trials:
        for k in (0, len(one) // 2):
            items.append(("the image", [one.images[one.stimulus[k]]]))
            items += [(said, [one.images[one.partners[cue][k]]]) for cue, said in SHARED.items()]
    what = "Images in rows, each with a partner of the same shape, one of the same texture and one that shares nothing"
    return gallery_figure(items, columns=4, what=what)


def shares_figure(table: pd.DataFrame) -> go.Figure:
    """Share of trials in which texture wins over shape: a dot with its interval, beside a coin and the paper's share.

    The table is of `studies.texture.won`.
    """
    title, name = "texture wins", f"the paper's {100 * PAPER:.0f} %"  # short enough for a phone
    axis: dict[str, Any] = {"title": title, "reference": PAPER, "reference_name": name, "bounds": (-0.02, 1.02)}
    figure = dots_figure(table, rows="model", series="data", what="Texture wins.", **axis)
    ends = [str(table["model"].iloc[0]), str(table["model"].iloc[-1])]
    figure.add_vline(0.5, line=_FAINT)
    figure.add_trace(go.Scatter(x=[0.5, 0.5], y=ends, mode="lines", line=_FAINT, name="a coin", hoverinfo="skip"))
    figure.data[-1].offsetgroup = figure.data[-2].offsetgroup = "reference"  # lines that stand for themselves, not side by side
    return figure


def scores_figure(table: pd.DataFrame) -> go.Figure:
    """Every trial as a point: the score with the partner of the same shape across, with that of the same texture up; a menu of models.

    The table is of `studies.texture.versus`.
    """
    ends = [float(table[["score", "shape_score"]].min().min()), float(table[["score", "shape_score"]].max().max())]
    room = 0.04 * (ends[1] - ends[0])
    span = [ends[0] - room, ends[1] + room]
    figure = go.Figure(go.Scatter(x=span, y=span, mode="lines", line={**_FAINT, "dash": "dot"}, name="equal", hoverinfo="skip"))
    models = list(table["model"].unique())
    for name in models:
        for verdict in (TEXTURE, SHAPE):
            part = table[(table["model"] == name) & (table["wins"].astype(bool) == (verdict == TEXTURE))]
            figure.add_trace(_points(part, verdict, visible=name == models[0]))
    figure.update_xaxes(**GRID, title="score with the same shape", range=span)
    figure.update_yaxes(**GRID, title=f"score with the same {TEXTURE}", range=span)
    menus, margin = menu([None, *(name for name in models for _ in range(2))]), {"l": 62, "r": 12, "t": 55, "b": 80}
    figure.update_layout(**PLAIN, height=460, margin=margin, updatemenus=menus, legend=LEGEND, showlegend=True)
    above = (f"{name}: {int(part['wins'].astype(bool).sum())} of {len(part)}" for name, part in table.groupby("model", sort=False))
    what = f"Scores with the partner of the same {TEXTURE} against those of the same shape"
    return described(figure, f"{what}, a point for each trial. Above the diagonal, {'; '.join(above)}.")


def _points(part: pd.DataFrame, verdict: str, *, visible: bool) -> go.Scatter:
    hover = "%{customdata[0]}<br>same shape: %{customdata[1]}, %{x:.2f}<br>same texture: %{customdata[2]}, %{y:.2f}<extra></extra>"
    return go.Scatter(
        x=part["shape_score"].round(4), y=part["score"].round(4), mode="markers", name=f"{verdict} wins", visible=visible,
        marker={"color": _COLOURS[verdict], "size": 6, "opacity": 0.65},
        customdata=part[["name", "shape_partner", "partner"]], hovertemplate=hover,
    )  # fmt: skip


def choice_figure(rows: Mapping[str, tuple[Pair, Explanation]], names: Sequence[Sequence[str]], *, start: int = 0) -> go.Figure:
    """One trial at a time, which a slider chooses: a row for each partner, with the pair and the maps of both its sides.

    All maps of a trial share one scale; the row with the higher score is marked.

    Args:
        rows: by what is shared, n pairs and their explanations.
        names: for each of the n trials what its slider position is called, and then for each row what the pair shows.
        start: the trial that is seen first.

    Raises:
        InputError: no rows, or another number of names than of trials.
    """
    counts = {len(pair) for pair, _ in rows.values()} | {len(names)}
    if len(counts) != 1:
        raise InputError(f"expected as many names as trials in each row, got {sorted(counts)}")
    trials = [_trial(rows, name[1:], k) for k, name in enumerate(names)]
    steps = []
    for label, trial in zip(names, trials, strict=True):
        change = {f"images[{r}].source": image.source for r, image in enumerate(trial.layout.images)}
        change |= {f"annotations[{r}].text": title.text for r, title in enumerate(trial.layout.annotations)}
        steps.append({"label": label[0], "method": "relayout", "args": [change]})
    figure = trials[start].update_layout(sliders=slider(steps, start, "texture minus shape: ", x=0.04, len=0.92))
    what = "Trials from shape to texture, one at a time. A row for each partner: the two images, and the map of each"
    scores = ", ".join(f"same {cue} {made.score[start].item():.2f}" for cue, (_, made) in rows.items())
    return described(figure, f"{what}. Scores of the one that is seen first: {scores}.")


def _trial(rows: Mapping[str, tuple[Pair, Explanation]], shown: Sequence[str], k: int) -> go.Figure:
    """One trial: a row for each partner, all maps on one scale, the title with the highest score bold."""
    limit = max(float(side[k].max()) for _, made in rows.values() for side in made.sides)
    top, items = max(made.score[k].item() for _, made in rows.values()), []
    for (cue, (pair, made)), what in zip(rows.items(), shown, strict=True):
        images, maps = both_sides(pair, made, k)
        over = (overlaid(image, map_, limit) for image, map_ in zip(images, maps, strict=True))
        items.append((f"same {cue}: {made.score[k].item():.2f} · {what}", [*images, *over]))
    figure = gallery_figure(items, columns=1, below=SLIDER)
    for title, (_, made) in zip(figure.layout.annotations, rows.values(), strict=True):
        title.text = f"<b>{title.text}</b>" if made.score[k].item() == top else title.text
    return figure
