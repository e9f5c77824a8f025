"""Methods step by step: a film strip in the order of its blends, and matrices that show the numbers of the toy."""

import numpy as np
import pytest

from tests.conftest import build, random_pair
from xaicl_lib.studies import similarity
from xaicl_lib.views.render import alt_of
from xaicl_lib.views.steps import blends_figure, interaction_figure


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


def test_the_matrices_of_the_toy_are_seen() -> None:
    toy = similarity.interaction_by_hand()
    figure = interaction_figure(toy)
    assert [note.text.split(" (")[-1] for note in figure.layout.annotations] == ["3, 3)", "3, 3)", "3, 3)", "3, 1)", "3, 3)", "2, 3)"]
    gradients, _, x, strongest, weighted, maps = (np.asarray(trace.z) for trace in figure.data)
    assert (x == gradients @ toy["G_b"].to_numpy().T).all()
    assert (maps[0] == np.maximum(strongest, 0).T @ weighted).all()
    assert "M_a: g_a 2, 1.5, 1; G_a 2, 0.25, 1.5." in alt_of(figure)
