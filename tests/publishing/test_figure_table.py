"""The table behind a figure holds the figure's numbers, by the names on its axes."""

import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go

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
