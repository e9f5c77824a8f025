"""The paper's numbers as data, its rows as calls, its summary by hand."""

import pandas as pd
import pytest
import torch

from tests.conftest import random_pair
from xaicl_lib import InputError, PairModel, explain, measure
from xaicl_lib.data.paper import paper_tables
from xaicl_lib.evaluation.method_spec import MethodSpec, method_specs, possible
from xaicl_lib.metrics import PAPER
from xaicl_lib.studies.tables import (
    METHODS,
    PAPER_METHODS,
    agreement_with_truth,
    by_fill,
    cascades,
    choose_methods,
    drawn_scenes,
    evaluated,
    grouped,
    mean_by,
    means,
    pixel_curves,
    told_by,
    view_pairs,
)
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
    assert set(paper_tables("I", "II", "III", "IV")["method"]) == set(PAPER_METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_rows_can_be_called_and_are_labelled_alike(name, projected, pair) -> None:
    assert label(method_specs(name)[name].explain(projected, pair[0])) == name


def test_rows_that_a_model_without_a_relu_allows(projected) -> None:
    assert list(possible(METHODS, projected)) == list(METHODS)
    smooth = PairModel(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.GELU()), size=24)
    guided = {f"{name}(guided=True)" for name in ("input_x_gradient", "smooth_grad", "averaged_transforms")}
    assert set(METHODS) - set(possible(METHODS, smooth)) == guided
    some = ["edges", "input_x_gradient(guided=True)"]
    table = evaluated([projected, smooth], random_pair(1), some, ["SAD"])
    assert table["method"].tolist() == ["edges", "input_x_gradient(guided=True)", "edges"], "each model its own"


def test_choices_of_rows() -> None:
    assert list(choose_methods()) == list(METHODS)
    assert set(choose_methods("some")) < set(METHODS)
    assert choose_methods("some", stride=8)["conditional_occlusion"] == MethodSpec(
        "conditional_occlusion", {"stride": 8}, "conditional_occlusion"
    )
    assert "conditional_occlusion" not in choose_methods("gentle", stride=8)
    with pytest.raises(InputError, match="unknown choice of methods 'all'; there are: paper, some, gentle"):
        choose_methods("all")


def test_curves_and_cascades_are_those_of_each_method(projected) -> None:
    pair = random_pair(1)
    found = pixel_curves(projected, pair, ["grad_cam", "edges"], step=96)
    want = measure(projected, pair, explain(projected, pair, "edges"), ["SI", "SD", "CI", "CD"], 96)
    assert {name: area.item() for name, area in found["edges"].areas().items()} == {name: area.item() for name, area in want.items()}
    made, cascade = cascades(projected, pair, ["edges"])["edges"]
    assert torch.equal(made.a, explain(projected, pair, "edges").a)
    assert cascade.rank_correlation[0].tolist() == pytest.approx([1] * len(cascade.layers)), "edges never look at the model"


def test_areas_are_those_of_measure_fill_by_fill(projected) -> None:
    pair = random_pair(2)
    asked = {"cam": "grad_cam", "deep": "deep_similarity"}
    table = by_fill(projected, pair, asked, metric="SD", fills=("zero", "blur"), adaptive=False)
    assert len(table) == 2 * 2 * 2
    want = measure(projected, pair, explain(projected, pair, "grad_cam"), ["SD"], deletion="blur")["SD"]
    got = table[(table["method"] == "cam") & (table["fill"] == "blur")]["value"].to_numpy()
    assert torch.allclose(torch.tensor(got), want.double())
    known = table[table["fill"] == "zero"].assign(value=7.0)
    again = by_fill(projected, pair, {"cam": "grad_cam"}, metric="SD", fills=("zero", "blur"), adaptive=False, known=known)
    assert again["value"].tolist() == [7.0, 7.0, *got], "what is known is not measured again"
    wide = mean_by(table, "fill")
    assert list(wide.columns) == ["zero", "blur"]
    assert wide.loc["cam", "blur"] == pytest.approx(want.mean().item())


def test_means_have_short_names_in_the_order_of_the_table() -> None:
    values = {"method": ["smooth_grad", "smooth_grad", "edges"], "metric": ["SI", "CD", "SI"], "model": "m", "value": [1.0, 2.0, 3.0]}
    table = pd.DataFrame(values)
    assert means(table, "method", "metric")[["method", "mean"]].to_numpy().tolist() == [
        ["Smooth-Grad", 1],
        ["Smooth-Grad", 2],
        ["edges", 3],
    ]
    across = mean_by(table, "method", index="metric")
    assert list(across.columns) == ["Smooth-Grad", "edges"]
    assert list(across.index) == ["SI", "CD"]
    assert across.loc["SI", "edges"] == 3


def test_rows_of_one_unit_are_one_value_and_no_rows_have_no_mean() -> None:
    draws = pd.DataFrame({"size": 1, "pair": [0, 0, 0, 1], "lift": [1.0, 1.0, 4.0, 0.0], "value": 9.0})
    assert means(draws, "size", value="lift", unit="pair")[["mean", "n"]].iloc[0].tolist() == [1.0, 2], "a pair is the unit, not a draw"
    assert means(draws, "size", value="lift")["mean"].item() == 1.5
    assert list(means(draws[:0], "size")) == ["size", "mean", "low", "high"]


def test_means_are_told_with_their_intervals() -> None:
    table = pd.DataFrame({"method": ["w", "v"], "metric": ["SI", "CD"], "mean": 0.5, "low": 0.25, "high": 1.0})
    told = told_by(table, "metric")
    assert (list(told), list(told.index)) == (["SI", "CD"], ["w", "v"])
    assert told.loc["w", "SI"] == "+0.50 (+0.25 to +1.00)"
    assert told_by(table, "metric", form=".0%").loc["v", "CD"] == "50% (25% to 100%)"


def test_drawn_scenes_are_the_same_however_many() -> None:
    images, shown = drawn_scenes(3, 32, seed=12)
    assert torch.equal(images[:2], drawn_scenes(2, 32, seed=12)[0])
    assert shown[0] == "large blue cross, zigzag, on grass"


NAMES = ("grad_cam", "interaction_cam", "legrad", "interaction_cam(reduction=max)", "edges", "random_map")


def ordered(kinds, pairs=4, model="m"):
    """Methods in the order of NAMES by each metric, or against it where its sign is below 0."""
    rows = [(model, name, k, metric, sign * (place + k)) for metric, sign in kinds.items() for k in range(pairs)
            for place, name in enumerate(NAMES)]  # fmt: skip
    return pd.DataFrame(rows, columns=["model", "method", "pair", "metric", "value"])


def test_agreement_with_truth_knows_the_direction_of_each_metric() -> None:
    kinds = {**dict.fromkeys(PAPER, 1.0), "SD": -1.0, "CD": 1.0, "SAD": -1.0, "CAD": -1.0, "relevance_rank": 1.0}
    found = agreement_with_truth(ordered(kinds)).set_index(["methods", "metric"])
    assert found.loc["all", "mean"].to_dict() == pytest.approx({"SI": 1, "SD": 1, "CI": 1, "CD": -1, "SAD": 1, "CAD": 1}), "lower is better"
    assert found["count"].groupby("methods").first().to_dict() == {"all": 6, "without controls": 4, "activation methods": 3}
    assert (found["n"] == 4).all()


def test_agreement_is_of_scenes_however_many_models_see_them() -> None:
    one = ordered({**dict.fromkeys(PAPER, 1.0), "relevance_rank": 1.0}, pairs=8)
    turned = one.assign(model="other").assign(value=one["value"].where(one["metric"] != "SI", -one["value"]))
    found = agreement_with_truth(pd.concat([one, turned])).set_index(["methods", "metric"])
    row = found.loc["all", "SI"]
    assert row[["mean", "n", "p", "least", "most", "above 0"]].tolist() == pytest.approx([0, 8, 1, -1, 1, "1 of 2"])
    row = found.loc["all", "CI"]
    assert row[["mean", "n", "above 0"]].tolist() == pytest.approx([1, 8, "2 of 2"])
    assert row["p"] == pytest.approx(18 * 2 / 2**8), "corrected for three groups of six"


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
