"""The paper's numbers as data, its rows as calls, its summary by hand."""

import pandas as pd
import pytest
import torch

from xaicl_lib import InputError, explain
from xaicl_lib.data.paper import paper_tables
from xaicl_lib.studies.tables import PAPER_WAYS, WAYS, beside_paper, grouped, orders, view_pairs
from xaicl_lib.views.figures import label


def test_tables_are_whole() -> None:
    table = paper_tables()
    assert table.groupby("table").size().to_dict() == {"I": 204, "II": 102, "III": 102, "IV": 102, "V": 28, "VI": 8, "VII": 108}
    assert not table.duplicated(["table", "model", "method", "metric"]).any()


@pytest.mark.parametrize(
    ("table", "model", "method", "metric", "value"),
    [  # read off the paper by eye
        ("I", "SimCLRv2 1x", "averaged_transforms(guided=True)", "SD", 0.915),
        ("I", "SimCLRv2 2x", "interaction_cam(reduction=max)", "CAD", 0.421),
        ("II", "Barlow Twins", "interaction_cam(reduction=attention, gradient_interaction=False)", "SAD", 0.458),
        ("III", "SimSiam", "pairwise_occlusion", "SI", 0.723),
        ("IV", "MoCo v3", "deep_similarity", "CD", 0.414),
        ("V", "MoCo v3", "averaged_transforms(level=0.15)", "max_sensitivity", 2.186),
        ("VI", "ResNet-50", "smooth_grad", "seconds", 2.258),
        ("VII", "SimCLRv2 2x", "averaged_transforms(guided=True) / rotation 60", "SI", 0.560),
    ],
)
def test_numbers_of_the_paper(table, model, method, metric, value) -> None:
    found = paper_tables(table)
    row = found[(found["model"] == model) & (found["method"] == method) & (found["metric"] == metric)]
    assert row["value"].tolist() == [value]


def test_rows_have_the_papers_names() -> None:
    assert set(paper_tables("I", "II", "III", "IV")["method"]) == set(PAPER_WAYS)


@pytest.mark.parametrize("name", WAYS)
def test_rows_can_be_called_and_are_labelled_alike(name, projected, pair) -> None:
    method, params = WAYS[name]
    assert label(explain(projected, pair[0], method, **params)) == name


def test_unknown_table() -> None:
    with pytest.raises(InputError, match="unknown table of the paper 'VIII'; there are: I, II"):
        paper_tables("VIII")


def test_summary_by_hand() -> None:
    means = {"SI": 0.8, "CI": 0.6, "SD": 0.3, "CD": 0.1, "SAD": 0.5}
    summary = pd.DataFrame([("m", "w", k, v) for k, v in means.items()], columns=["model", "method", "metric", "mean"])
    got = grouped(summary).set_index("group")["value"]
    assert got["insertion"] == pytest.approx(0.7)
    assert got["deletion"] == pytest.approx(0.8)
    assert pd.isna(got["average drop"])


def test_views_are_of_their_photos() -> None:
    photos = torch.rand(3, 3, 24, 24)
    pair = view_pairs(photos, torch.Generator().manual_seed(1))
    assert torch.equal(pair.a, photos)
    assert pair.b.shape == photos.shape
    assert not torch.equal(pair.b, photos)
    assert torch.equal(view_pairs(photos, torch.Generator().manual_seed(1)).b, pair.b)


def test_inside_and_outside_of_our_intervals() -> None:
    rows = [
        ("simclr", "grad_cam", "SI", 0.8, 0.78, 0.82, 9),
        ("simclr", "grad_cam", "SD", 0.5, 0.4, 0.6, 9),
        ("simclr", "edges", "SI", 0.5, 0.4, 0.6, 9),
    ]
    summary = pd.DataFrame(rows, columns=["model", "method", "metric", "mean", "low", "high", "n"])
    got = beside_paper(summary, "simclr", "SimCLRv2 1x")
    assert got[["metric", "paper", "inside"]].to_numpy().tolist() == [["SI", 0.781, True], ["SD", 0.764, False]]
    with pytest.raises(InputError, match="unknown model of the paper 'BYOL'; there are: SimCLRv2 1x"):
        beside_paper(summary, "simclr", "BYOL")
    with pytest.raises(InputError, match="got none for 'barlow'"):
        beside_paper(summary, "barlow", "Barlow Twins")


def test_orders_across_families_say_nothing_of_those_within() -> None:
    """Our means: the paper's order of the families, each turned around within."""
    paper = paper_tables("I").query("model == 'SimCLRv2 1x' and metric == 'CD'").set_index("method")["value"]
    family = paper.index.map(lambda name: WAYS[name][0] in ("input_x_gradient", "smooth_grad", "averaged_transforms"))
    rows = [("m", way, k, "CD", v) for way, value in paper.items() for k, v in enumerate((-value, 0.001 - value))]
    table = pd.DataFrame(rows, columns=["model", "method", "pair", "metric", "value"])
    table.loc[table["method"].isin(paper.index[family]), "value"] -= 10
    row = orders(table, {"m": "SimCLRv2 1x"}, draws=300).iloc[0]
    assert (row["methods"], row["activation"], row["gradient"]) == (17, pytest.approx(-1), pytest.approx(-1))
    assert row["within"] < -0.9
    assert row["low"] <= row["within"] <= row["high"]
    assert row["across"] > 0.4, "gradients lie below all others, there and here"
    assert row["p"] < 0.01
