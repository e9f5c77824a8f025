"""Which cell of A goes with which cell of B: the strongest pairs of a joint map, drawn as lines between the photos."""

import html

import plotly.graph_objects as go
import torch

from xaicl_lib.errors import InputError
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.views.figures import data_uri, photos_of
from xaicl_lib.views.render import described
from xaicl_lib.views.style import PLAIN

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito: safe for colour-blind readers
GAP = 0.12  # between the photos, in widths of one

Cell = tuple[int, int]


def _strongest_matches(explanation: Explanation, count: int = 6, *, index: int = 0) -> list[tuple[Cell, Cell, float]]:
    """The strongest pairs of cells of a joint map, each cell used at most once: (row, column) in A and in B, and the value."""
    if explanation.joint is None:
        raise InputError(f"expected an explanation with a joint map, such as one of deep_similarity, got one of {explanation.method!r}")
    left = explanation.joint[index].detach().float().cpu().clone()  # (ia, ja, ib, jb)
    found = []
    for _ in range(min(count, left[:, :, 0, 0].numel(), left[0, 0].numel())):
        value = float(left.max())
        i, j, k, m = (int(v) for v in torch.unravel_index(left.argmax(), left.shape))
        found.append(((i, j), (k, m), value))
        left[i, j], left[:, :, k, m] = -torch.inf, -torch.inf
    return found


def match_figure(
    pair: Pair, explanation: Explanation, count: int = 6, *, index: int = 0, names: tuple[str, str] = ("A", "B"), photos: Pair | None = None
) -> go.Figure:
    """Both photos side by side with lines between the cells that go together most.

    Args:
        pair: the pair that was explained.
        explanation: one with a joint map.
        count: lines.
        index: which pair of the batch.
        names: titles of both sides; shown as text, whatever is in them.
        photos: the same pair in more pixels, for the eye.
    """
    matches = _strongest_matches(explanation, count, index=index)
    figure = go.Figure(layout=_layout())
    for offset, photo, name in zip((0.0, 1 + GAP), photos_of(photos or pair, index), names, strict=True):
        figure.add_layout_image(
            source=data_uri(photo), xref="x", yref="y", x=offset, y=0, sizex=1, sizey=1, sizing="stretch", layer="below"
        )
        figure.add_annotation(text=html.escape(name), x=offset + 0.5, y=0, yanchor="bottom", showarrow=False)
    assert explanation.joint is not None  # _strongest_matches has looked
    shape = explanation.joint.shape[1:]
    for colour, (cell_a, cell_b, value) in zip(COLOURS * (1 + count // len(COLOURS)), matches, strict=False):
        xs = [(cell_a[1] + 0.5) / shape[1], 1 + GAP + (cell_b[1] + 0.5) / shape[3]]
        ys = [(cell_a[0] + 0.5) / shape[0], (cell_b[0] + 0.5) / shape[2]]
        style = {"mode": "lines+markers", "line": {"color": colour, "width": 2}, "showlegend": False}
        marker = {"size": 13, "symbol": "square-open", "line": {"width": 3}, "color": colour}
        figure.add_trace(go.Scatter(x=xs, y=ys, marker=marker, hovertemplate=f"{value:.3g}<extra></extra>", **style))
    said = "; ".join(f"{_place(cell_a)} with {_place(cell_b)}, {value:.2g}" for cell_a, cell_b, value in matches)
    return described(figure, f"Lines between the cells of {names[0]} and {names[1]} that go together most, in rows and columns: {said}.")


def _place(cell: Cell) -> str:
    return f"{cell[0] + 1}, {cell[1] + 1}"


def _layout() -> go.Layout:
    bare = {"visible": False, "fixedrange": True}
    axes = {"xaxis": {**bare, "range": [0, 2 + GAP]}, "yaxis": {**bare, "range": [1, 0], "scaleanchor": "x", "constrain": "domain"}}
    return go.Layout(**{**PLAIN, "font": {"size": 12}}, width=560, height=290, margin={"l": 0, "r": 0, "t": 24, "b": 0}, **axes)
