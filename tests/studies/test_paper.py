"""Our numbers beside the paper's: which lie inside, in which order, and how long it took."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.conftest import random_pair
from xaicl_lib import InputError
from xaicl_lib.data.paper import paper_tables
from xaicl_lib.studies.paper import (
    _chance_within,
    _concordance,
    agreement,
    as_published,
    beside,
    methods_in,
    orders,
    seconds,
    sensitivity,
    transforms,
    transforms_table,
)
from xaicl_lib.studies.tables import PAPER_METHODS

RNG = np.random.default_rng(0)


def test_rows_of_each_table(projected) -> None:
    assert list(methods_in(projected)) == list(PAPER_METHODS)
    assert {spec.name for spec in methods_in(projected, quick=True).values()} == {"deep_similarity", "grad_cam", "interaction_cam"}
    assert list(methods_in(projected, "VI")) == paper_tables("VI")["method"].tolist()
    assert set(methods_in(projected, "V")) - set(methods_in(projected, "V", quick=True)) == {"smooth_grad", "smooth_grad(guided=True)"}


def test_inside_and_outside_of_our_intervals() -> None:
    rows = [
        ("simclr", "grad_cam", "SI", 0.8, 0.78, 0.82, 9),
        ("simclr", "grad_cam", "SD", 0.5, 0.4, 0.6, 9),
        ("simclr", "edges", "SI", 0.5, 0.4, 0.6, 9),
    ]
    summary = pd.DataFrame(rows, columns=["model", "method", "metric", "mean", "low", "high", "n"])
    got = beside(summary, "simclr", "SimCLRv2 1x")
    assert got[["metric", "paper", "inside"]].to_numpy().tolist() == [["SI", 0.781, True], ["SD", 0.764, False]]
    with pytest.raises(InputError, match="unknown model of the paper 'BYOL'; there are: SimCLRv2 1x"):
        beside(summary, "simclr", "BYOL")
    with pytest.raises(InputError, match="got none for 'barlow'"):
        beside(summary, "barlow", "Barlow Twins")


def test_agreement_is_counted_metric_by_metric() -> None:
    """Three rows whose order is the paper's by SI, and the opposite by SD; one number of the paper inside."""
    values = {"grad_cam": 0.781, "deep_similarity": 0.5, "edges": 0.2}
    found = [(metric, name, sign * v, v, v == 0.5) for metric, sign in {"SI": 1, "SD": -1}.items() for name, v in values.items()]
    got = agreement(pd.DataFrame(found, columns=["metric", "method", "mean", "paper", "inside"]))
    assert got.to_numpy().tolist() == [[3, 1, 1.0], [3, 1, -1.0]]
    assert list(got.index) == ["SI", "SD"]


def test_sensitivity_and_seconds_stand_beside_the_papers(projected) -> None:
    table = pd.DataFrame({"method": ["smooth_grad", "smooth_grad", "edges"], "value": [1.0, 3.0, 0.5]})
    got = sensitivity(table, "SimCLRv2 1x")
    assert got["here"].to_dict() == {"Smooth-Grad": 2.0, "edges": 0.5}
    assert got.loc["Smooth-Grad", "paper"] == 1.208, "read off Table V by eye"
    assert pd.isna(got.loc["edges", "paper"])
    taken = seconds(projected, random_pair(1), quick=True)
    assert taken.index[-1] == "Int-CAM"
    assert not any("occlusion" in name for name in taken.index)
    assert taken.loc["Smooth-Grad", "seconds in the paper"] == 2.258
    assert taken["times Int-CAM, here"].iloc[-1] == 1
    ratio = taken.loc["Grad-CAM", "seconds in the paper"] / taken.loc["Int-CAM", "seconds in the paper"]
    assert taken.loc["Grad-CAM", "times Int-CAM, in the paper"] == ratio


def test_transforms_stand_beside_the_papers_where_it_has_them() -> None:
    known = {"blur": 0.9, "rotation 60": 0.5}
    values = [(name, metric, v + d) for name, v in known.items() for metric in ("SI", "score") for d in (-0.01, 0.01)]
    table = pd.DataFrame(values, columns=["transform", "metric", "value"])
    found = transforms(table, "SimCLRv2 2x")
    paper = paper_tables("VII").set_index(["model", "method", "metric"])["value"]
    want = [paper["SimCLRv2 2x", f"averaged_transforms / {name}", "SI"] for name in known]
    assert found["paper"].tolist() == want, "the score has no number in the paper"
    assert found["inside"].tolist() == [low <= v <= high for low, high, v in zip(found["low"], found["high"], want, strict=True)]
    wide = transforms_table(found)
    assert list(wide.columns) == ["SI, here", "SI, paper"]
    assert wide.loc["blur"].tolist() == [pytest.approx(0.9), want[0]]
    alone = transforms_table(transforms(table, "MoCo v3"))
    assert list(alone.columns) == ["SI", "score"]
    assert alone.loc["rotation 60", "score"] == pytest.approx(0.5)


def test_orders_across_families_say_nothing_of_those_within() -> None:
    """Our means: the paper's order of the families, each turned around within."""
    paper = paper_tables("I").query("model == 'SimCLRv2 1x' and metric == 'CD'").set_index("method")["value"]
    family = paper.index.map(lambda name: name.split("(")[0] in ("input_x_gradient", "smooth_grad", "averaged_transforms"))
    rows = [("m", name, k, "CD", v) for name, value in paper.items() for k, v in enumerate((-value, 0.001 - value))]
    table = pd.DataFrame(rows, columns=["model", "method", "pair", "metric", "value"])
    table.loc[table["method"].isin(paper.index[family]), "value"] -= 10
    row = orders(table, {"m": "SimCLRv2 1x"}, draws=300).iloc[0]
    assert (row["methods"], row["activation"], row["gradient"]) == (17, pytest.approx(-1), pytest.approx(-1))
    assert row["within"] < -0.9
    assert row["low"] <= row["within"] <= row["high"]
    assert row["across"] > 0.4, "gradients lie below all others, there and here"
    assert row["p"] < 0.01


def test_occlusion_beside_the_paper_is_that_of_its_program(projected) -> None:
    rows = [("conditional_occlusion", 0.1), ("conditional_occlusion(grid=published)", 0.2), ("grad_cam", 0.3)]
    table = pd.DataFrame(rows, columns=["method", "value"])
    assert as_published(table).to_numpy().tolist() == [["conditional_occlusion", 0.2], ["grad_cam", 0.3]]
    ours = table[table["method"] != "conditional_occlusion(grid=published)"]
    assert as_published(ours) is ours  # there is no other
    assert methods_in(projected)["conditional_occlusion"].params == {"grid": "published"}


def test_concordance_is_kendalls_tau_split_in_two() -> None:
    x, y, groups = RNG.normal(size=(3, 9)), RNG.normal(size=9), list("aaabbbccc")
    within, across = _concordance(x, y, groups)
    for k in range(3):
        assert (9 * within[k] + 27 * across[k]) / 36 == pytest.approx(stats.kendalltau(x[k], y)[0])
        each = [stats.kendalltau(x[k, 3 * g : 3 * g + 3], y[3 * g : 3 * g + 3])[0] for g in range(3)]
        assert within[k] == pytest.approx(np.mean(each)), "groups of one size count alike"
    assert np.isnan(_concordance(x, y, range(9))[0]).all()


def test_groups_alone_order_nothing_within() -> None:
    groups = np.repeat([0, 10, 20], 4)
    y = groups + np.tile([1.0, 2, 3, 4], 3)
    against = groups - np.tile([1.0, 2, 3, 4], 3)
    within, across = _concordance(np.stack([y, against]), y, groups)
    assert (within.tolist(), across.tolist()) == ([1, -1], [1, 1])
    draws = 4000
    exact = 2 / 24**3  # all three groups in order, or all against it
    assert _chance_within(y, y, groups, draws) <= 5 / draws
    assert _chance_within(against, y, groups, draws) <= 5 / draws, "both ways"
    assert exact < 5 / draws
    short = np.array([1.0, 2, 3]), np.array([1.0, 2, 3])
    assert _chance_within(*short, ["a"] * 3, 6000) == pytest.approx(1 / 3, abs=0.03), "2 of 6 orders"
    assert np.isnan(_chance_within(*short, range(3), 10))
