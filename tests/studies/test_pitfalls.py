"""The pitfalls are real where they can be computed by hand."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from tests.conftest import random_pair
from xaicl_lib import Pair, explain, measure
from xaicl_lib.errors import InputError
from xaicl_lib.studies.pitfalls import by_fill, likeness, lost_by_noise, saturation
from xaicl_lib.views.pitfalls import fading_alt, fading_figure

WAYS = {"cam": ("grad_cam", {}), "deep": ("deep_similarity", {})}


@pytest.mark.filterwarnings("ignore:score 1")
def test_gradients_vanish_at_a_score_of_one_and_values_do_not(projected):
    pair = random_pair(1)
    table = saturation(projected, pair.a, pair.b, WAYS, mix=(0.0, 0.5, 1.0))
    at = table.set_index(["method", "mix"])
    assert at.loc[("cam", 0.0), "score"] == pytest.approx(1)
    assert at.loc[("cam", 0.0), "relative"] < 1e-6
    assert at.loc[("deep", 0.0), "relative"] > 0.1
    made = explain(projected, Pair(pair.a, (pair.a + pair.b) / 2), "grad_cam")
    assert at.loc[("cam", 0.5), "largest"] == pytest.approx(max(made.a.max().item(), made.b.max().item()))
    assert at.loc[("cam", 1.0), "score"] == pytest.approx(explain(projected, pair, "grad_cam").score.item())
    assert table.groupby("method")["relative"].max().tolist() == [1.0, 1.0]
    figure = fading_figure(table)
    assert [trace.name for trace in figure.data] == ["cam", "deep"]
    assert figure.data[0].x[0] == "0%<br>1.00"
    assert "At a score of 1.00" in fading_alt(table)


def test_shares_outside_of_the_photo_are_refused(projected):
    pair = random_pair(1)
    with pytest.raises(InputError, match=r"shares of the other photo in \[0, 1\]"):
        saturation(projected, pair.a, pair.b, WAYS, mix=(0.0, 1.5))


def test_edges_survive_random_weights_and_the_rank_correlation_is_spearmans(projected):
    pair = random_pair(2)
    table = likeness(projected, pair, {"edges": ("edges", {}), "gradient": ("input_x_gradient", {})})
    means = table.groupby(["method", "what"])["value"].mean()
    assert means["edges", "map and map of random weights"] == pytest.approx(1)
    assert means["edges", "edges and map"] == pytest.approx(1)
    assert means["gradient", "map and map of random weights"] < 0.999
    edges, gradient = explain(projected, pair, "edges"), explain(projected, pair, "input_x_gradient")
    want = np.mean([spearmanr(x[1].flatten(), y[1].flatten())[0] for x, y in ((edges.a, gradient.a), (edges.b, gradient.b))])
    got = table[(table["method"] == "gradient") & (table["what"] == "edges and map") & (table["pair"] == 1)]["value"].item()
    assert got == pytest.approx(want, abs=1e-6)


def test_areas_are_those_of_measure_fill_by_fill(projected):
    pair = random_pair(2)
    table = by_fill(projected, pair, WAYS, metric="SD", fills=("zero", "blur"), adaptive=False)
    assert len(table) == 2 * 2 * 2
    want = measure(projected, pair, explain(projected, pair, "grad_cam"), ["SD"], deletion="blur")["SD"]
    got = table[(table["method"] == "cam") & (table["fill"] == "blur")]["value"].to_numpy()
    assert torch.allclose(torch.tensor(got), want.double())


def test_noise_loses_half_by_agreement_and_more_by_a_small_truth() -> None:
    masks = torch.zeros(600, 28, 28, dtype=torch.bool)
    masks[:, 2:6, 3:7] = True  # one cell of 7 by 7, within what bilinear resizing leaves of it
    share = lost_by_noise(masks, cells=(7, 14)).groupby(["measure", "cells"])["lost"].mean()
    assert share["agreement"].to_numpy() == pytest.approx(0.5, abs=0.06), "600 tosses of a coin"
    assert share["truth", 7] > 0.6, "the largest of 49 cells are seldom the right ones"
    whole = lost_by_noise(torch.ones(5, 28, 28, dtype=torch.bool), cells=(7,))
    assert whole.loc[whole["measure"] == "truth", "lost"].tolist() == [1] * 5, "what is everywhere is found by chance"
