"""What local density is, drawn small: six nodes in classes, and classes dense near or far in the plane."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from jaxtyping import Float, Int
from plotly.subplots import make_subplots
from torch import Tensor

from xaicl_lib.studies.organization import modularity
from xaicl_lib.views.render import described
from xaicl_lib.views.studies import PALETTE
from xaicl_lib.views.style import BARE, PLAIN

_PLACES = ((0, 1), (0, -1), (1, 0), (2, 0), (3, 1), (3, -1))  # of the six nodes
_EDGE = {"color": "rgba(128,128,128,0.9)", "width": 2}


def nodes_figure(graph: Float[Tensor, "6 6"], groupings: Mapping[str, Sequence[str]]) -> go.Figure:
    """Six nodes and their edges, once for each way to give them classes, with its modularity above.

    Both are of `studies.organization.two_triangles`.
    """
    values = {name: modularity(graph, labels).loc["sum", "adds"] for name, labels in groupings.items()}
    figure = _panels([f"{name}:<br>{value:.3f}" for name, value in values.items()])
    ends = [(j, k) for j, k in graph.nonzero().tolist() if j < k]
    lines = [[point for j, k in ends for point in (_PLACES[j][axis], _PLACES[k][axis], None)] for axis in (0, 1)]
    for column, labels in enumerate(groupings.values(), 1):
        figure.add_trace(go.Scatter(x=lines[0], y=lines[1], mode="lines", line=_EDGE, hoverinfo="skip"), 1, column)
        x, y = zip(*_PLACES, strict=True)
        look = {"size": 22, "color": [PALETTE[label == "B"] for label in labels]}
        text = {"text": list(labels), "textfont": {"color": "white", "size": 12}, "hoverinfo": "skip"}
        figure.add_trace(go.Scatter(x=x, y=y, mode="markers+text", marker=look, **text), 1, column)
    figure.update_xaxes(range=[-0.6, 3.6])
    figure.update_yaxes(range=[-1.7, 1.7])
    figure.update_layout(height=190)
    said = "; ".join(f"{name} ({''.join(groupings[name])}) {value:.3f}" for name, value in values.items())
    return described(figure, f"Two triangles of nodes, joined by one edge, with classes given in three ways. Modularity: {said}.")


def spaces_figure(spaces: Mapping[str, Float[Tensor, "n 2"]], labels: Int[Tensor, " n"]) -> go.Figure:
    """Points in the plane in the colours and symbols of their classes, a panel for each space.

    The spaces are of `studies.organization.toy_spaces`.
    """
    figure = _panels(list(spaces))
    for column, places in enumerate(spaces.values(), 1):
        for k, symbol in enumerate(("circle", "diamond-open")):
            x, y = places[labels == k].T.tolist()
            look = {"size": 5, "color": PALETTE[k], "symbol": symbol}
            figure.add_trace(go.Scatter(x=x, y=y, mode="markers", marker=look, hoverinfo="skip"), 1, column)
        figure.update_yaxes(scaleanchor=f"x{column}" if column > 1 else "x", row=1, col=column)
    frame = {"showline": True, "mirror": True, "linecolor": _EDGE["color"]}
    figure.update_xaxes(**frame, constrain="domain")
    figure.update_yaxes(**frame, constrain="domain")
    figure.update_layout(height=270, margin={"t": 30})
    return described(figure, f"Points of two classes in the plane, {len(labels)} in each panel: {'; '.join(spaces)}.")


def _panels(titles: Sequence[str]) -> go.Figure:
    """Bare panels side by side under their titles."""
    figure = make_subplots(1, len(titles), subplot_titles=list(titles), horizontal_spacing=0.03)
    figure.update_xaxes(**BARE, showticklabels=False)
    figure.update_yaxes(**BARE, showticklabels=False)
    figure.update_annotations(font={"size": 13})
    return figure.update_layout(**PLAIN, margin={"l": 4, "r": 4, "t": 44, "b": 4}, showlegend=False)
