"""The table behind a figure holds the figure's numbers, by the names on its axes."""

import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tests.lab_node import in_node
from xaicl_lib.publishing.run import ROOT
from xaicl_lib.views import dots_figure, matrix_figure
from xaicl_lib.views.render import _figure_json

CODE = """
import { tables } from "{module}";
answer(given.map((figure) => tables(figure)));
""".replace("{module}", (ROOT / "book" / "_static" / "figure_table.js").as_uri())


def test_tables_hold_the_numbers_of_their_figures() -> None:
    square = pd.DataFrame([[0.25, -0.5], [0.125, np.nan]], index=["one", "two"], columns=["SI", "SD"])
    dots = pd.DataFrame({"kind": ["p", "q"], "model": ["m", "m"], "mean": [0.5, 0.25], "low": [0.4, 0.05], "high": [0.7, 0.45]})
    picture = go.Figure(go.Scatter(x=[], y=[], hoverinfo="skip"))
    map_ = go.Figure(go.Heatmap(z=np.zeros((12, 12)), x0=0, dx=1))
    bars = go.Figure([go.Bar(x=np.array([1.0, 2.0]), y=np.array([0.1, 0.2]), name="a<br>b"), go.Bar(x=[1], y=[9], visible=False)])
    ranks = go.Figure(go.Heatmap(z=[[1.0, 0.0]], text=[[".12<br>(.34)", ".56"]], texttemplate="%{text}"))
    ranks.update_xaxes(tickvals=[0, 1], ticktext=["SI", "SD"]).update_yaxes(tickvals=[0], ticktext=["one"])
    figures = [
        matrix_figure(square, what="x"),
        dots_figure(dots, rows="kind", series="model", title="score", what="x"),
        picture,
        map_,
        bars,
        ranks,
    ]
    found = in_node(CODE, [json.loads(_figure_json(figure)) for figure in figures])
    (matrix,) = found[0]
    assert matrix["head"] == ["", "SI", "SD"]
    assert sorted(matrix["rows"]) == [["one", ".25", "-.50"], ["two", ".12", ""]]  # as the figure writes them
    (listed,) = found[1]
    assert {"p", "q"} == {cell for row in listed["rows"] for cell in row} & {"p", "q"}
    by_kind = {next(c for c in row if c in ("p", "q")): row for row in listed["rows"]}
    assert "0.5" in by_kind["p"]
    assert "0.4 to 0.7" in by_kind["p"]
    assert "0.05 to 0.45" in by_kind["q"]
    assert found[2] == found[3] == []
    assert found[4][0]["rows"] == [["a b", "1", "0.1"], ["a b", "2", "0.2"]]
    assert found[5] == [{"head": ["", "SI", "SD"], "rows": [["one", ".12 (.34)", ".56"]]}]


def test_panels_are_named_their_axes_share_a_title_and_no_number_is_another() -> None:
    log = go.Figure(go.Scatter(x=[0.01, 0.02, 0.03], y=[3.0, 2.0, 1.0], name="s", error_y={"array": [0.5, np.nan, 0.25]}))
    log.update_xaxes(type="log", tickvals=[0.01, 0.02, 0.05], ticktext=["1 %", "2 %", "5 %"])
    panels = make_subplots(2, 2, subplot_titles=["SI ↑", "CI &amp; more", "SD ↓"], shared_xaxes=True)
    for k, place in enumerate([(1, 1), (1, 2), (2, 1)]):
        panels.add_scatter(x=[1], y=[k], name="k-NN", row=place[0], col=place[1])
    panels.update_xaxes(title_text="labels", row=2).update_yaxes(title_text="accuracy", col=1)
    squares = make_subplots(1, 2, subplot_titles=["G", "h"])
    for k in (1, 2):
        squares.add_heatmap(z=[[k]], x=["c"], y=["r"], row=1, col=k)
    found = in_node(CODE, [json.loads(_figure_json(figure)) for figure in (log, panels, squares)])
    assert found[0][0]["rows"] == [["s", "1 %", "3", "2.5 to 3.5"], ["s", "2 %", "2", ""], ["s", "0.03", "1", "0.75 to 1.25"]]
    assert found[1] == [
        {
            "head": ["panel", "series", "labels", "accuracy"],
            "rows": [["SI ↑", "k-NN", "1", "0"], ["CI & more", "k-NN", "1", "1"], ["SD ↓", "k-NN", "1", "2"]],
        }
    ]
    assert found[2] == [{"head": [name, "c"], "rows": [["r", str(k)]]} for k, name in ((1, "G"), (2, "h"))]
