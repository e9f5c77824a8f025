"""Figures of measured explanations say what the tables say."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.conftest import random_pair
from xaicl_lib import InputError, explain, measure
from xaicl_lib.data.paper import paper_tables
from xaicl_lib.evaluation.method_spec import short
from xaicl_lib.metrics.randomisation import randomisation
from xaicl_lib.studies.paper import beside
from xaicl_lib.studies.tables import PAPER_METHODS
from xaicl_lib.views.cascade import cascade_figure, cascade_maps
from xaicl_lib.views.metrics import (
    _family,
    beside_figure,
    claims_figure,
    groups_figure,
    paper_figure,
    pixel_curves_figure,
    table_figure,
    verdicts_figure,
)
from xaicl_lib.views.render import alt_of


@pytest.fixture
def summary() -> pd.DataFrame:
    rows = [
        ("m", "grad_cam", "SI", 0.8, 0.7, 0.9),
        ("m", "edges", "SI", 0.6, 0.5, 0.7),
        ("m", "grad_cam", "SD", 0.8, 0.7, 0.9),
        ("m", "edges", "SD", 0.6, 0.5, 0.7),
        ("k", "grad_cam", "SI", 0.1, 0.0, 0.2),
        ("k", "edges", "SI", np.nan, np.nan, np.nan),
    ]
    return pd.DataFrame(rows, columns=["model", "method", "metric", "mean", "low", "high"])


def test_labels() -> None:
    assert len({short(name) for name in PAPER_METHODS}) == len(PAPER_METHODS)
    assert _family("smooth_grad(guided=True)") == "gradient"


def test_best_of_a_column_has_the_strongest_colour(summary) -> None:
    figure = table_figure(summary)
    first, second = figure.data
    assert np.asarray(first.z, float).tolist() == [[1, 0], [0, 1]]  # more insertion is better, less deletion
    assert list(first.text[0]) == [".80", ".80"]
    assert first.visible
    assert not second.visible
    assert second.text[1][0] == ""
    assert [button.label for button in figure.layout.updatemenus[0].buttons] == ["m", "k"]
    assert "SI Grad-CAM (0.80); SD edges (0.60)" in alt_of(figure)


def test_menu_shows_one_group_at_a_time() -> None:
    grouped = pd.DataFrame([("m", "edges", g, 0.5) for g in ("insertion", "deletion")], columns=["model", "method", "group", "value"])
    figure = groups_figure(grouped)
    assert alt_of(figure).endswith("Best on average: insertion: edges; deletion: edges.")
    assert [button.args[0]["visible"] for button in figure.layout.updatemenus[0].buttons] == [[True, False], [False, True]]


def test_paper_beside_itself_agrees() -> None:
    paper = paper_tables("I")
    ours = paper[paper["model"] == "SimCLRv2 1x"].rename(columns={"value": "mean"}).assign(model="simclr", low=0.0, high=1.0)
    both = beside(ours.drop(columns="table").assign(n=1), "simclr", "SimCLRv2 1x")
    figure = paper_figure(both)
    assert alt_of(figure).startswith(
        "Mean of each metric on simclr against the paper's on SimCLRv2 1x, a point for each method. SI: rank correlation 1.00"
    )
    assert figure.layout.title.text == "SI: rank correlation 1.00 over 17 methods"
    assert all(len(button.args[0]["visible"]) == len(figure.data) for button in figure.layout.updatemenus[0].buttons)
    with pytest.raises(InputError, match="got none for 'x'"):
        beside(ours.drop(columns="table").assign(n=1), "x", "SimCLRv2 1x")


def test_curves_are_drawn_as_measured(projected) -> None:
    pair = random_pair(2)
    _, curves = measure(projected, pair, explain(projected, pair, "grad_cam"), ["SI", "CD"], curves=True)
    figure = pixel_curves_figure({"grad_cam": curves}, index=1)
    assert len(figure.data) == 2
    assert f"Grad-CAM: SI {curves.areas()['SI'][1].item():.2f}" in alt_of(figure)
    assert np.allclose(figure.data[1].y, curves.points["CD"][1].mean(0), atol=1e-4)
    assert [a.text for a in figure.layout.annotations] == ["SI ↑", "CD ↓"]


def test_cascade_begins_with_the_intact_model(projected) -> None:
    pair = random_pair(1)
    made = explain(projected, pair, "grad_cam")
    cascade = randomisation(projected, pair, made)
    figure = cascade_figure({"grad_cam": (made, cascade)})
    assert f"{cascade.rank_correlation[0, -1]:.2f} for Grad-CAM" in alt_of(figure)
    assert figure.data[0].y == (1.0, *cascade.rank_correlation[0].tolist())
    assert figure.data[0].x == ("none", *cascade.layers)
    maps = cascade_maps({"grad_cam": (made, cascade)})
    assert len(maps.data) == 1 + len(cascade.layers)
    drawn = torch.tensor(maps.data[0].z)
    assert torch.allclose(drawn, (made.a[0] / made.a[0].max()).to(drawn), atol=0.006)


def test_cells_beside_the_paper() -> None:
    rows = [("I", "grad_cam", "SI", 0.8, 0.7, 0.9, 5, 0.781, True), ("I", "deep_similarity", "SD", 0.8, 0.79, 0.81, 5, 0.77, False)]
    found = pd.DataFrame(rows, columns=["table", "method", "metric", "mean", "low", "high", "n", "paper", "inside"])
    figure = beside_figure(found)
    heat = figure.data[0]
    assert [list(row) for row in heat.z] == [[1, None], [None, 0]]
    assert heat.text[0][0] == ".80<br>.78"
    assert alt_of(figure).endswith("Within our interval: SI 1 of 1, SD 0 of 1.")


def test_verdicts_show_wins_and_losses_of_one_control_at_a_time() -> None:
    rows = [("SI", "m", "edges", 3, 1, 4), ("SD", "m", "edges", 0, 4, 4), ("SI", "k", "edges", 2, 2, 4), ("SI", "m", "random_map", 4, 0, 4)]
    counted = pd.DataFrame(rows, columns=["metric", "model", "control", "better", "worse", "methods"])
    figure = verdicts_figure(counted)
    first, second = figure.data
    assert first.visible
    assert not second.visible
    assert [list(row) for row in first.text] == [["3 · 1", "0 · 4"], ["2 · 2", ""]]
    assert [list(row) for row in first.z] == [[0.5, -1], [0, None]]
    assert alt_of(figure) == "Methods significantly better than edges on m, k: SI 3, 2; SD 0."


def test_cells_of_claims_are_verdicts() -> None:
    rows = [
        ("one", "SI", "m", 0.1234, 0.1, 0.2, 24, 0.01, "holds"),
        ("one", "SD", "m", -0.2, -0.3, -0.1, 24, 0.02, "contrary"),
        ("one", "SD", "k", 0.01, -0.1, 0.2, 24, 1.0, "undecided"),
        ("two", "SI", "k", 0.01, -0.1, 0.2, 24, 1.0, "undecided"),
    ]
    found = pd.DataFrame(rows, columns=["claim", "metric", "model", "difference", "low", "high", "n", "p", "verdict"])
    figure = claims_figure(found)
    first, second = figure.data
    assert np.asarray(first.z, float)[0].tolist() == [1, -1]
    assert np.isnan(np.asarray(first.z, float)[1, 0])
    assert first.text[0][0] == "+0.123<br>+0.10 to +0.20"
    assert "24 pairs, corrected p 0.02: contrary" in first.hovertext[0][1]
    assert (first.visible, second.visible) == (True, False)
    assert "one: 1 of 3 hold, 1 contrary; two: 0 of 1 hold, 0 contrary" in alt_of(figure)
