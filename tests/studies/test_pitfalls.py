"""The pitfalls are real where they can be computed by hand."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from tests.conftest import random_pair
from xaicl_lib import Pair, PairModel, explain
from xaicl_lib.data.scenes import scene_pairs
from xaicl_lib.errors import InputError
from xaicl_lib.studies.pitfalls import (
    _lost_by_noise,
    fading,
    likeness,
    near_the_border,
    noise_shares,
)
from xaicl_lib.views.pitfalls import fading_figure, scales_figure
from xaicl_lib.views.render import alt_of

METHODS = {"cam": "grad_cam", "deep": "deep_similarity"}


@pytest.mark.filterwarnings("error:score 1")
def test_gradients_vanish_at_a_score_of_one_and_values_do_not(projected):
    pair = random_pair(1)
    table = fading(projected, pair, METHODS, mix=(0.0, 0.5, 1.0))
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
    assert "At a score of 1.00" in alt_of(figure)


def test_shares_outside_of_the_photo_are_refused(projected):
    pair = random_pair(1)
    with pytest.raises(InputError, match=r"shares of the other photo in \[0, 1\]"):
        fading(projected, pair, METHODS, mix=(0.0, 1.5))


def test_edges_survive_random_weights_and_the_rank_correlation_is_spearmans(projected):
    pair = random_pair(2)
    table = likeness(projected, pair, {"edges": "edges", "gradient": "input_x_gradient"})
    means = table.groupby(["method", "what"])["value"].mean()
    assert means["edges", "map and map of random weights"] == pytest.approx(1)
    assert means["edges", "edges and map"] == pytest.approx(1)
    assert means["gradient", "map and map of random weights"] < 0.999
    edges, gradient = explain(projected, pair, "edges"), explain(projected, pair, "input_x_gradient")
    want = np.mean([spearmanr(x[1].flatten(), y[1].flatten())[0] for x, y in ((edges.a, gradient.a), (edges.b, gradient.b))])
    got = table[(table["method"] == "gradient") & (table["what"] == "edges and map") & (table["pair"] == 1)]["value"].item()
    assert got == pytest.approx(want, abs=1e-6)


def test_noise_loses_half_by_agreement_and_more_by_a_small_truth() -> None:
    masks = torch.zeros(600, 28, 28, dtype=torch.bool)
    masks[:, 2:6, 3:7] = True  # one cell of 7 by 7, within what bilinear resizing leaves of it
    share = _lost_by_noise(masks, cells=(7, 14)).groupby(["measure", "cells"])["lost"].mean()
    assert share["agreement"].to_numpy() == pytest.approx(0.5, abs=0.06), "600 tosses of a coin"
    assert share["truth", 7] > 0.6, "the largest of 49 cells are seldom the right ones"
    whole = _lost_by_noise(torch.ones(5, 28, 28, dtype=torch.bool), cells=(7,))
    assert whole.loc[whole["measure"] == "truth", "lost"].tolist() == [1] * 5, "what is everywhere is found by chance"


def test_maps_of_pairs_stand_on_their_own_scales_and_on_one(projected) -> None:
    pair = random_pair(1)
    made = explain(projected, pair, "grad_cam")
    weak = type(made)(made.a / 8, made.b / 8, made.score)  # exactly
    figure = scales_figure({"strong": (pair, made), "weak": (pair, weak)})
    pictures = [image.source for image in figure.layout.images]
    assert pictures[0] == pictures[1], "each on its own scale they look alike"
    assert pictures[3] != pictures[1], "on one scale the weak one is pale"
    assert f"strong {made.a.max().item():.2f} and {made.b.max().item():.2f}" in alt_of(figure)


def test_noise_on_scenes_is_told_in_words() -> None:
    found = noise_shares(seed=1).set_index(["cells", "measure"])
    masks = scene_pairs(200, "same_object", 64).truth.b
    want = _lost_by_noise(masks, cells=(3, 7), seed=1).groupby(["cells", "measure"])["lost"].mean()
    assert found.loc[("3 by 3 cells", "truth"), "mean"] == want[3, "truth"]
    assert found.loc[("3 by 3 cells", "truth"), "n"] == 200


def test_the_pair_near_the_border_is_the_one_whose_objects_are() -> None:
    model = PairModel(torch.nn.Conv2d(3, 2, 8, 8), size=32)
    found = near_the_border(model, drawn=12)
    pairs = scene_pairs(12, "one_shared", 32, torch.Generator().manual_seed(0))
    far = []
    for a, b in zip(pairs.truth.a, pairs.truth.b, strict=True):
        away = [(mask.nonzero().double().mean(0) + 0.5 - 16).abs().max() for mask in (a, b)]
        far.append(sum(away).item())
    assert torch.equal(found.a[0], pairs.a[far.index(max(far))])
