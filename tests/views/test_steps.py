"""Methods step by step: a film strip in the order of its blends, and matrices that show the numbers of the toy."""

import numpy as np
import pandas as pd
import pytest

from tests.conftest import build, random_pair
from xaicl_lib.studies import similarity
from xaicl_lib.views.render import alt_of
from xaicl_lib.views.steps import blends_figure, interaction_figure, joint_figure


def test_a_strip_has_a_picture_and_two_maps_for_each_blend() -> None:
    steps = similarity.along_blends(build("projected"), random_pair(1))
    figure = blends_figure(steps)
    assert len(figure.layout.images) == 27
    assert [(image.x, image.y) for image in figure.layout.images[9:11]] == [(0, 1), (1, 1)]
    bars, line = figure.data[1:]
    assert list(bars.y) == list(steps.table["adds"])
    assert list(line.y) == list(steps.table["score"])
    assert figure.layout.xaxis2.ticktext[:2] == ("0.9", "0.8")
    assert figure.layout.height == pytest.approx(figure.layout.meta["fixed"] + 720 * figure.layout.meta["share"])
    assert f"λ = 0.1: score {steps.table['score'][8]:.2f}" in alt_of(figure)


def test_channels_are_seen_where_both_images_put_them_on_one_scale() -> None:
    one = pd.DataFrame({"a": [0.0, 1.0, 2.0], "b": [0.0, 1.0, 2.0], "joint": [0.0, 1.0, 4.0]})
    other = pd.DataFrame({"a": [3.0, 1.0], "b": [0.0, 0.5], "joint": [0.0, 0.5]})
    figure = joint_figure({"views": one, "photos": other})
    assert [list(trace.marker.color) for trace in figure.data] == [[0, 1, 4], [0, 0.5]]
    assert {trace.marker.coloraxis for trace in figure.data} == {"coloraxis"}
    assert figure.layout.xaxis.range == figure.layout.xaxis2.range == figure.layout.yaxis.range
    assert figure.layout.xaxis.range[1] > 3
    said = (
        "views: correlation 1.00, largest product 4.00 at 2.00 and 2.00. photos: correlation -1.00, largest product 0.50 at 1.00 and 0.50."
    )
    assert said in alt_of(figure)


def test_the_matrices_of_the_toy_are_seen() -> None:
    toy = similarity.interaction_by_hand()
    figure = interaction_figure(toy)
    assert [note.text.split(" (")[-1] for note in figure.layout.annotations] == ["3, 3)", "3, 3)", "3, 3)", "3, 1)", "3, 3)", "2, 3)"]
    gradients, _, x, strongest, weighted, maps = (np.asarray(trace.z) for trace in figure.data)
    assert (x == gradients @ toy["G_b"].to_numpy().T).all()
    assert (maps[0] == np.maximum(strongest, 0).T @ weighted).all()
    assert "M_a: g_a 2, 1.5, 1; G_a 2, 0.25, 1.5." in alt_of(figure)
