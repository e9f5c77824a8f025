"""Figures of scores beside accuracies hold the numbers of their tables, whatever menu is used."""

import numpy as np
import pandas as pd
import pytest

from xaicl_lib.statistics.correlation import correlate
from xaicl_lib.studies.downstream import model_scores, paper_correlations, paper_points
from xaicl_lib.views.downstream import AXES, forest_figure, scatter_figure
from xaicl_lib.views.render import alt_of
from xaicl_lib.views.zoo import COLOURS

PLACES = [
    ("simclr", "simclr", 9),
    ("simclr_epoch2", "simclr", 2),
    ("simclr_epoch1", "simclr", 1),
    ("supcon", "supcon", 4),
    ("raw", "untrained", 0),
]
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    rows = [
        {"model": model, "recipe": recipe, "run": f"{recipe}, {9 if model == recipe else 2} epochs", "epoch": epoch,
         "linear_accuracy": 0.8 - 0.1 * k, "knn_accuracy": 0.5, "score": RNG.uniform(), "method": method, "group": group, "pair": pair,
         "value": RNG.uniform()}
        for method in ("grad_cam", "random_map") for group in ("insertion", "average drop")
        for k, (model, recipe, epoch) in enumerate(PLACES) for pair in range(3)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def found(scores) -> pd.DataFrame:
    return correlate(scores, resamples=100)


def test_points_stand_on_the_way_of_their_training(scores, found) -> None:
    means = model_scores(scores)
    figure = scatter_figure(means, found)
    fit, simclr, _, untrained = figure.data[:4]
    assert [t.name for t in figure.data[1:4]] == ["simclr", "supcon", "untrained"]
    at = means[(means["method"] == "grad_cam") & (means["group"] == "insertion")].set_index("model")
    order = ["simclr_epoch1", "simclr_epoch2", None, "simclr", None]
    assert list(simclr.x) == [None if name is None else pytest.approx(at["mean"][name]) for name in order]
    assert list(simclr.y) == [None if name is None else pytest.approx(at["linear_accuracy"][name]) for name in order]
    assert simclr.error_x.array[1] == pytest.approx(at["error"]["simclr_epoch2"])
    assert list(simclr.marker.symbol) == ["circle", "circle", "circle", "diamond", "circle"]
    assert simclr.line.color == COLOURS["simclr"]
    assert (untrained.mode, list(untrained.marker.symbol)) == ("markers", ["x"])
    slope, start = np.polyfit(at["mean"], at["linear_accuracy"], 1)
    assert list(fit.y[2:]) == pytest.approx([start + slope * x for x in fit.x[2:]])
    r = np.corrcoef(at["mean"], at["linear_accuracy"])[0, 1]
    assert fit.text[0].startswith(f"r = {r:.2f} (")
    low, high = figure.layout.yaxis.range
    assert low < at["linear_accuracy"].min() < at["linear_accuracy"].max() < fit.y[0] < high


def test_menus_choose_method_and_group(scores, found) -> None:
    means = model_scores(scores)
    figure = scatter_figure(means, found)
    methods, groups = figure.layout.updatemenus
    assert [b.label for b in methods.buttons] == ["grad_cam", "random_map"]
    assert [t.visible for t in figure.data] == [True] * 4 + [False] * 4 == list(methods.buttons[0].args[0]["visible"])
    assert [b.label for b in groups.buttons] == ["insertion", "average drop"]
    change, layout = groups.buttons[1].args
    assert layout["xaxis.title.text"] == AXES["average drop"]
    at = means[(means["method"] == "random_map") & (means["group"] == "average drop")].set_index("model")
    assert change["x"][6] == [pytest.approx(at["mean"]["supcon"]), None]
    assert len(change["x"]) == len(change["text"]) == len(figure.data) == 8
    first = groups.buttons[0].args[0]
    assert [list(t.x) for t in figure.data] == first["x"], "the first button is what is seen without any"
    assert "5 networks" in alt_of(figure)
    r = found.query("method == 'grad_cam' and group == 'insertion' and statistic == 'pearson'").iloc[0]
    assert f"grad_cam, insertion: {r['r']:.2f} ({r['low']:.2f} to {r['high']:.2f})" in alt_of(figure)


def test_a_score_that_never_changes_has_no_correlation(scores) -> None:
    flat = scores.assign(value=0.5)
    figure = scatter_figure(model_scores(flat), correlate(flat, resamples=20))
    assert figure.data[0].text == ("r undefined",)


def test_forest_shows_one_group_at_a_time(found) -> None:
    some = found[found["statistic"].isin(["pearson", "partial"])]
    paper = pd.DataFrame([{"method": "grad_cam", "group": "insertion", "statistic": "paper", "r": 0.75, "low": -0.4, "high": 0.98}])
    both = pd.concat([some, paper], ignore_index=True)
    figure = forest_figure(both, rows="method", series="statistic")
    names = [t.name for t in figure.data]
    assert names == ["pearson", "partial", "paper", "no correlation"]
    assert figure.data[2].x[0] == 0.75
    assert np.isnan(figure.data[2].x[1])
    second = figure.layout.updatemenus[0].buttons[1]
    assert second.label == "average drop"
    change, axis, traces = second.args
    assert list(axis["xaxis.range"]) == list(figure.layout.xaxis.range)
    assert list(traces) == [0, 1, 2]
    want = some.query("method == 'random_map' and group == 'average drop' and statistic == 'partial'").iloc[0]
    assert change["x"][1][1] == pytest.approx(want["r"])
    assert change["error_x.array"][1][1] == pytest.approx(want["high"] - want["r"])
    assert change["x"][2] == [None, None]
    assert "insertion, grad_cam, paper: 0.750 (-0.400 to 0.980)" in alt_of(figure)


def test_models_that_the_book_does_not_know_do_not_look_alike() -> None:
    figure = scatter_figure(paper_points(), paper_correlations(), by="family")
    five = figure.data[1:6]
    assert len({trace.marker.color for trace in five}) == 5
    assert figure.data[0].text[0].startswith("r = ")
