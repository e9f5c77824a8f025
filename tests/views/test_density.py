"""Six nodes carry their modularity, and points stand where their space has them."""

import pytest

from xaicl_lib.studies.organization import toy_spaces, two_triangles
from xaicl_lib.views.density import nodes_figure, spaces_figure
from xaicl_lib.views.render import alt_of


def test_each_grouping_has_its_nodes_and_its_modularity() -> None:
    graph, groupings = two_triangles()
    figure = nodes_figure(graph, groupings)
    assert [note.text for note in figure.layout.annotations] == ["by triangle:<br>0.357", "one moved:<br>0.122", "two swapped:<br>-0.214"]
    assert [list(nodes.text) for nodes in figure.data[1::2]] == list(groupings.values())
    lines = figure.data[0]
    assert [x for x in lines.x if x is not None] == [0, 0, 0, 1, 0, 1, 1, 2, 2, 3, 2, 3, 3, 3], "seven edges"
    colours = figure.data[3].marker.color
    assert [colour == colours[0] for colour in colours] == [True, True, False, False, False, False]
    assert "two swapped (AABABB) -0.214" in alt_of(figure)


def test_points_stand_where_their_space_has_them() -> None:
    spaces, labels = toy_spaces(2)
    figure = spaces_figure(spaces, labels)
    second = spaces["many small groups"][labels == 1]
    assert list(figure.data[3].x) == pytest.approx(second[:, 0].tolist())
    assert figure.layout.yaxis2.scaleanchor == "x2"
    assert len({trace.marker.symbol for trace in figure.data}) == 2
