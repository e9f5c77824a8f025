"""The graph classifier against a dense, slow formula, the linear one against scikit-learn, and both on clouds whose answer is known."""

import math

import pandas as pd
import pytest
import torch
from scipy.stats import ttest_1samp
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tests.conftest import assert_close
from tests.studies.test_organization import clouds
from xaicl_lib import InputError
from xaicl_lib.studies.graph_classifier import (
    NARROW,
    _fit,
    _Graph,
    _graph_of,
    _GraphHead,
    _standardised,
    beside_linear,
    by_head,
    classify,
    gain_by_width,
    gap_changes,
    over_draws,
)
from xaicl_lib.studies.graph_classifier import _tested as corrected
from xaicl_lib.studies.organization import relative_to, similarity_graph


def slow_spread(h: torch.Tensor, weights: torch.Tensor, own: float) -> torch.Tensor:
    """D^-1/2 (A + s I) D^-1/2 h, number by number."""
    n = len(h)
    a = [[weights[i, j].item() + (own if i == j else 0.0) for j in range(n)] for i in range(n)]
    d = [sum(row) for row in a]
    return torch.tensor(
        [[sum(a[i][j] / math.sqrt(d[i] * d[j]) * h[j, k].item() for j in range(n)) for k in range(h.shape[1])] for i in range(n)]
    )


def learned(head: _GraphHead) -> int:
    return sum(p.numel() for p in head.parameters())


@pytest.mark.parametrize("hidden", [0, 4])
def test_head_equals_a_dense_slow_formula(hidden: int) -> None:
    x, _ = clouds(12)
    x, graph = x.float(), _graph_of(x, 0.2)
    head = _GraphHead(5, 3, hidden=hidden).requires_grad_(False)
    for layer in head.layers:
        layer.weight.normal_(generator=torch.Generator().manual_seed(1))
        layer.bias.normal_(generator=torch.Generator().manual_seed(2))
    head.log_self.fill_(math.log(0.7))
    want = x
    for k, layer in enumerate(head.layers):
        want = slow_spread(want @ layer.weight.T, graph.weights, 0.7) + layer.bias
        want = want.relu() if k == 0 and hidden else want
    assert_close(head(x, graph), want, 1e-4, 1e-5)
    some = torch.tensor([7, 2])
    assert_close(head(x, graph, graph.some(some)), want[some], 1e-4, 1e-5)


def test_graph_is_that_of_rld_with_a_mean_degree_of_one() -> None:
    x, _ = clouds(12)
    graph, whole = _graph_of(x, 0.2), similarity_graph(x, 0.2)
    assert graph.degrees.mean().item() == pytest.approx(1)
    assert_close(graph.weights / graph.weights.sum(), whole / whole.sum(), 1e-5)


def test_without_neighbours_and_without_a_graph_it_is_the_same() -> None:
    x, y = clouds(30)
    z = _standardised(x)
    alone = _Graph(torch.zeros(30, 30), torch.zeros(30), torch.arange(30))
    known = torch.arange(30) < 20
    with_graph, without = _fit(z, y, known, graph=alone), _fit(z, y, known)
    assert_close(with_graph(z, alone), without(z), 1e-3, 1e-3)
    assert learned(with_graph) == learned(without) + 1 == 5 * 3 + 3 + 1
    assert learned(_GraphHead(5, 3, hidden=4)) == 5 * 4 + 4 + 4 * 3 + 3 + 1


def test_linear_head_is_scikit_learns_logistic_regression() -> None:
    x, y = clouds(60)
    z = _standardised(x)
    assert_close(z, torch.from_numpy(StandardScaler().fit_transform(x.numpy())), 1e-5, 1e-6)
    known = torch.arange(60) < 40
    ours = _fit(z, y, known, strength=0.1)
    theirs = LogisticRegression(C=0.1, tol=1e-8).fit(z[known].numpy(), y[known].numpy())
    assert_close(ours(z).softmax(1), torch.from_numpy(theirs.predict_proba(z.numpy())), 1e-2, 2e-3)


def test_labels_of_unknown_items_are_not_looked_at() -> None:
    x, y = clouds(30)
    z, graph, known = _standardised(x), _graph_of(x, 0.1), torch.arange(30) < 15
    hidden = torch.where(known, y, 2 - y)
    assert_close(_fit(z, y, known, graph=graph)(z, graph), _fit(z, hidden, known, graph=graph)(z, graph))


def test_neighbours_help_where_classes_are_dense_and_labels_few() -> None:
    g = torch.Generator().manual_seed(0)
    angle = torch.rand(200, generator=g, dtype=torch.float64) * math.pi
    y = torch.arange(200) % 2
    moons = torch.stack([angle.cos() + y, (1 - 2 * y) * angle.sin() + 0.5 * y], 1) + 0.05 * torch.randn(200, 2, generator=g)
    table = classify({"moons": moons}, y, per_class=(5,), heads={"perceptron": (False, 16), "GCN": (True, 16)}, temperature=0.05, repeats=6)
    means = table.groupby("classifier")["value"].mean()
    assert means["GCN"] > means["perceptron"] + 0.01


def test_rows_are_paired_and_labels_nested() -> None:
    x, y = clouds(90, apart=3.0)
    table = classify({"one": x, "same": x.clone()}, y, per_class=(1, 5, 10), repeats=4)
    assert len(table) == 2 * 4 * 3 * 3
    wide = table.pivot(index=["per_class", "draw", "classifier"], columns="model", values="value")
    assert (wide["one"] == wide["same"]).all(), "draws are the same for all models"
    means = table.groupby(["classifier", "per_class"])["value"].mean()
    assert all(means[name, 10] > means[name, 1] for name in ("k-NN", "linear", "GCN"))
    assert means["linear", 10] > 0.7
    assert set(table.loc[table["classifier"] == "k-NN", "parameters"]) == {0}
    assert table.loc[table["classifier"] == "GCN", "own"].between(0.05, 20).all(), "held near 1"
    gain = relative_to(table, "classifier", "linear")
    row = gain[(gain["model"] == "one") & (gain["classifier"] == "GCN") & (gain["per_class"] == 5) & (gain["draw"] == 2)]
    want = wide.loc[(5, 2, "GCN"), "one"] - wide.loc[(5, 2, "linear"), "one"]
    assert row["value"].tolist() == pytest.approx([want]), "only the classifier differs"
    again = classify({"one": x}, y, per_class=(1, 5, 10), repeats=4)
    assert again["value"].tolist() == table.loc[table["model"] == "one", "value"].tolist()


def test_differences_over_draws_are_tested_and_corrected() -> None:
    values = {"a": [0.02, 0.03, 0.025, 0.04], "b": [-0.01, 0.02, 0.0, 0.01], "c": [-0.5, -0.4, -0.45, -0.6]}
    got = corrected(pd.DataFrame([{"model": m, "value": v} for m, vs in values.items() for v in vs]), ["model"]).set_index("model")
    raw = {m: ttest_1samp(v, 0).pvalue for m, v in values.items()}
    assert got.loc["c", "p"] == pytest.approx(3 * raw["c"]), "the smallest of three"
    assert got.loc["a", "p"] == pytest.approx(2 * raw["a"])
    assert got.loc["b", "p"] == pytest.approx(raw["b"])


def test_the_graph_costs_one_number_more() -> None:
    z, y = clouds(12)
    found = classify({"m": z}, y, per_class=(1,), repeats=1).set_index("classifier")["parameters"]
    assert found["GCN"] == found["linear"] + 1


def test_intervals_over_draws_are_students() -> None:
    table = pd.DataFrame({"model": ["m"] * 3 + ["k"], "value": [1.0, 2.0, 6.0, 5.0]})
    first, second = over_draws(table, ["model"]).itertuples()
    half = 4.302653 * math.sqrt(7) / math.sqrt(3)  # t of two degrees of freedom, variance 7
    assert (first.mean, first.low, first.high, first.n) == pytest.approx((3, 3 - half, 3 + half, 3), rel=1e-5)
    assert (second.mean, second.n) == (5, 1)
    assert math.isnan(second.low), "one draw has no interval"


def test_bad_input_is_named() -> None:
    x, y = clouds(30)
    smallest = torch.bincount(y).min().item()
    with pytest.raises(InputError, match=f"from 1 to {smallest - 1} labels of each class"):
        classify({"m": x}, y, per_class=(smallest,))
    with pytest.raises(InputError, match="from 1 to"):
        classify({"m": x}, y, per_class=(0, 2))
    with pytest.raises(InputError, match="norm zero in 1 of 30"):
        classify({"m": torch.cat([torch.zeros(1, 5), x[1:].float()])}, y, per_class=(2,))
    with pytest.raises(InputError, match="NaN or infinity in 30 of 30"):
        classify({"m": x / 0}, y, per_class=(2,))
    with pytest.raises(InputError, match="same items"):
        classify({"m": x, "k": x[:4]}, y, per_class=(2,))


@pytest.fixture(scope="module")
def measured() -> pd.DataFrame:
    x, y = clouds(60, apart=1.5)
    return classify({"base": x, "poor": x[:, :2], "worse": x[:, 2:4]}, y, per_class=(1, 5), repeats=3)


def at(table: pd.DataFrame, model: str, classifier: str, per_class: int = 5) -> pd.Series:
    rows = table[(table["model"] == model) & (table["classifier"] == classifier) & (table["per_class"] == per_class)]
    return rows.set_index("draw")["value"]


def test_a_gap_changes_by_what_the_graph_adds_to_either_side(measured) -> None:
    found = gap_changes(measured, "base", pd.Series({"poor": 0.4}))
    assert found.index.tolist() == [(1, "poor"), (1, "worse"), (5, "poor"), (5, "worse")]
    row = found.loc[5, "poor"]
    linear, graph = (at(measured, "base", name) - at(measured, "poor", name) for name in ("linear", "GCN"))
    assert row["gap, linear"] == pytest.approx(linear.mean())
    assert row["change with the graph"] == pytest.approx((graph - linear).mean())
    assert (row["n"], row["RLD near minus far"]) == (3, 0.4)


def test_narrow_heads_are_compared_with_each_other_and_with_the_linear_one(measured) -> None:
    x, y = clouds(60, apart=1.5)
    some = {label: head for label, head in NARROW.items() if label.endswith((" 2", " 8"))}
    narrow = by_head(classify({"base": x, "poor": x[:, :2]}, y, per_class=(5,), heads=some, repeats=3).astype({"classifier": "category"}))
    assert set(zip(narrow["classifier"], narrow["head"], narrow["width"], strict=True)) == {
        ("GCN 2", "with the graph", 2), ("GCN 8", "with the graph", 8), ("perceptron 2", "without", 2), ("perceptron 8", "without", 8)
    }  # fmt: skip
    added = gain_by_width(narrow).set_index(["model", "units"])["mean"]
    assert list(dict.fromkeys(name for _, name in added.index)) == ["2 units", "8 units"], "by number, not by letter"
    assert added["poor", "8 units"] == pytest.approx((at(narrow, "poor", "GCN 8") - at(narrow, "poor", "perceptron 8")).mean())
    beside = beside_linear(narrow, measured)
    assert set(beside.index.get_level_values("model")) == {"base", "poor"}
    row = beside.loc["base", "GCN 2"]
    assert row["mean"] == pytest.approx((at(narrow, "base", "GCN 2") - at(measured, "base", "linear")).mean())
    assert (row["numbers"], row["of linear"]) == (5 * 2 + 2 + 2 * 3 + 3 + 1, 5 * 3 + 3)
