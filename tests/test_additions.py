"""What CONTRIBUTING promises: a method, a metric or a score is one function, and everything else finds it by itself."""

from collections.abc import Sequence

import pytest
import torch

from tests.conftest import build, random_pair
from xaicl_lib import Explanation, Pair, PairModel, evaluate, explain, list_methods, measure
from xaicl_lib.cli import main
from xaicl_lib.lab import export, gallery
from xaicl_lib.methods import methods
from xaicl_lib.metrics import metrics
from xaicl_lib.metrics.registry import Measured
from xaicl_lib.publishing import reference
from xaicl_lib.scores import scores

FACTS = {"paper": "sammani2023visualizing", "where": "nowhere"}


def toy_method(model: PairModel, pair: Pair, *, level: float = 1.0) -> Explanation:
    """A map of one bright cell."""
    maps = torch.zeros(len(pair), 2, 2, dtype=pair.a.dtype)
    maps[:, 0, 0] = level
    return Explanation(maps, maps.clone(), torch.ones(len(pair), dtype=pair.a.dtype))


def toy_metric(model: PairModel, pair: Pair, explanation: Explanation, columns: Sequence[str]) -> Measured:
    """The largest value of the first map."""
    return Measured({"toy_metric": explanation.a.flatten(1).amax(1)})


def toy_score(za: torch.Tensor, zb: torch.Tensor) -> torch.Tensor:
    """Half the sum of products."""
    return (za * zb).sum(1) / 2


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method, a metric and a score, registered for one test."""
    for registry in (methods, metrics, scores):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    passes = {"family": "control", "needs": "nothing", "cost": "0 forwards"}
    methods.add(**FACTS, **passes, signed=False, symmetric=True, one_sided=False, gradient=False)(toy_method)
    metrics.add(toy_metric={**FACTS, "higher_is_better": True, "low": 0.0, "high": 9.0, "says": "The largest value.", "needs": "nothing"})(
        toy_metric
    )
    scores.add(low=-1.0, high=1.0, symmetric=True, paper=FACTS["paper"])(toy_score)


def test_a_toy_is_found_by_the_library_the_tables_the_command_line_and_the_lab(toys, monkeypatch, capsys) -> None:
    model, pair = build("projected"), random_pair(2)
    made = explain(model, pair, "toy_method", level=3.0)
    assert "toy_method" in list_methods()
    assert measure(model, pair, made, ["toy_metric"])["toy_metric"].tolist() == [3.0, 3.0]
    table = evaluate(model, pair, ["toy_method", "grad_cam"], ["toy_metric"], score="toy_score")
    assert table[table["method"] == "toy_method"]["value"].tolist() == [1.0, 1.0]
    assert "toy_method" in reference._methods_page()
    assert "toy_score" in reference._methods_page()
    assert "**toy_metric**" in reference._metrics_page()
    assert main(["methods"]) == 0
    assert "toy_method" in capsys.readouterr().out
    monkeypatch.setattr(gallery, "METHODS", (*export.METHODS, "toy_method"))
    assert gallery.menu()[-1] == "toy_method"
    assert gallery.method_entry(methods["toy_method"])["title"] == "Toy method"


def test_without_the_toys_nothing_is_left_of_them() -> None:
    assert "toy_method" not in list_methods()
    assert set(gallery.menu()) == {*export.METHODS, "edges", "random_map"}
