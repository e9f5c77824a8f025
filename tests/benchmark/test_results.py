"""What a run of the benchmark found: pairs counted once, files that others can read, ranks, and the page made from them."""

import json
import re
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest

from tests.benchmark.test_benchmark import SMALL
from xaicl_lib import InputError, load_model
from xaicl_lib.benchmark import Result, evaluate_method, ranking
from xaicl_lib.benchmark import suite as module
from xaicl_lib.benchmark.scores import METRICS
from xaicl_lib.evaluation.fingerprint import model_key
from xaicl_lib.publishing.leaderboard import _beside_nulls, leaderboard_page


def cell_of(values, chances=None, *, model="m", drawn=None, **more):
    """A cell with these values of every pair, under each of some metrics."""
    n = len(next(iter(values.values())))
    chances = chances or {name: [0.5] * n for name in values}
    facts = {"model": model, "kind": "k", "pairs": "p", "drawn": list(drawn or range(n)), "effects": [[1, 0]] * n}
    return {**facts, "values": values, "chances": chances, "cost": {"seconds": 1.0}, **more}


def test_the_file_is_as_its_schema_says(tmp_path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    found = evaluate_method("grad_cam", **SMALL, out=tmp_path / "found.json")
    written = json.loads((tmp_path / "found.json").read_text())
    schema = json.loads(Path(module.__file__).with_name("schema.json").read_text())
    jsonschema.validate(written, schema)
    assert written["cells"][0]["weights"] == model_key(load_model("scenes_simclr", "cpu"))[:16]
    (tmp_path / "other.json").write_text(json.dumps({**written, "format": 9}))
    with pytest.raises(InputError, match="format"):
        Result.open(tmp_path / "other.json")
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(InputError, match="expected the result of a benchmark"):
        Result.open(tmp_path / "text.json")
    assert set(found.summary().columns) == {"mean", "low", "high", "chance", "n", "decided"}


def test_one_pair_decides_nothing() -> None:
    one = Result("x", [cell_of({"order": [0.9]})], {"suite": "s", "seed": 0, "count": 1})
    assert not one.summary()["decided"].any()
    assert ranking({"a": one, "b": one}, "order")["rank"].tolist() == [1, 1]


def test_a_pair_that_three_models_were_asked_is_one_pair() -> None:
    """Otherwise the same twelve values, said three times, would be thirty-six."""
    values = [0.4 + 0.03 * k for k in range(12)]
    facts = {"suite": "s", "seed": 0, "count": 12}
    once = Result("x", [cell_of({"order": values})], facts)
    thrice = Result("x", [cell_of({"order": values}, model=name) for name in "mno"], facts)
    assert thrice.summary().equals(once.summary())
    assert thrice.summary().loc["order", "n"] == 12
    apart = Result("x", [cell_of({"order": values}, model=name, drawn=range(12 * k, 12 * k + 12)) for k, name in enumerate("mno")], facts)
    assert apart.summary().loc["order", "n"] == 36
    less = [value - 0.001 * (1 + k) for k, value in enumerate(values[:5])]
    for models, ranks in (("m", [1, 1]), ("mno", [1, 1])):
        both = [Result("x", [cell_of({"order": one}, model=name) for name in models], facts) for one in (values[:5], less)]
        assert ranking(dict(enumerate(both)), "order")["rank"].tolist() == ranks, "five pairs cannot decide, whoever is asked"


def test_of_models_that_saw_a_pair_the_mean_counts() -> None:
    facts = {"suite": "s", "seed": 0, "count": 3}
    cells = [cell_of({"order": [0.2, 0.4, 0.9]}, drawn=[4, 6, 7]), cell_of({"order": [0.6, 0.8, 0.1]}, model="n", drawn=[6, 9, 4])]
    found = Result("x", cells, facts).of_pairs("order")["value"]
    assert found.to_dict() == pytest.approx({("k", 4): 0.15, ("k", 6): 0.5, ("k", 7): 0.9, ("k", 9): 0.8})


@pytest.mark.parametrize(
    "change",
    [
        {"cost": None}, {"drawn": [0, 0, 1]}, {"drawn": [0]}, {"values": {}}, {"values": {"order": [True] * 3}},
        {"values": {"order": [2, 0, 0]}}, {"chances": {}}, {"chances": {"order": ["x"] * 3}},
        {"model": 3}, {"pairs": None}, {"effects": []},
    ],
)  # fmt: skip
def test_files_with_less_than_is_read_are_refused(tmp_path, change) -> None:
    facts = {"format": 2, "method": "x", "suite": "s", "seed": 0, "count": 3}
    path = tmp_path / "x.json"
    good = cell_of({"order": [0.1, 0.2, 0.3]})
    path.write_text(json.dumps({**facts, "cells": [good]}))
    assert Result.open(path).summary().loc["order", "n"] == 3
    for cells in ([{**good, **change}], [], [good, 3]):
        path.write_text(json.dumps({**facts, "cells": cells}))
        with pytest.raises(InputError, match="expected the result of a benchmark"):
            Result.open(path)
    path.write_text(json.dumps({**facts, "cells": [good], "suite": None} | {"suite": "s"}).replace('"suite"', '"sweet"'))
    with pytest.raises(InputError, match="lacks suite"):
        Result.open(path)


def test_results_of_other_pairs_or_metrics_are_not_ranked() -> None:
    facts = {"suite": "s", "seed": 0, "count": 3}
    one, other = (Result("x", [cell_of({"order": [0.1, 0.2, 0.3]}, pairs=pairs)], facts) for pairs in ("p", "q"))
    with pytest.raises(InputError, match="the same pairs"):
        ranking({"a": one, "b": other}, "order")
    with pytest.raises(InputError, match="unknown metric of these results 'told_apart'; there are: order"):
        ranking({"a": one, "b": one}, "told_apart")


def test_what_files_say_stands_on_the_page_as_text(tmp_path) -> None:
    cells = [cell_of({name: [0.1, 0.2, 0.3] for name in METRICS})]
    Result("<i>x", cells, {"suite": "pairs-v1", "seed": 0, "count": 3, "about": "<b>bold"}).save(tmp_path / "x.json")
    page = leaderboard_page(tmp_path)
    assert "**&lt;i&gt;x**: &lt;b&gt;bold" in page
    assert "<i>" not in page
    assert "<b>" not in page


def told_of(model, pair):
    """Colours, and nothing else.

    More of it.
    """
    return pair.a[0, 0], pair.b[0, 0]


def test_what_a_method_says_of_itself_is_kept_and_stands_on_the_page(tmp_path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    told_of.packages = ("torch",)
    evaluate_method(told_of, **SMALL, out=tmp_path / "told.json")
    written = json.loads((tmp_path / "told.json").read_text())
    jsonschema.validate(written, json.loads(Path(module.__file__).with_name("schema.json").read_text()))
    assert (written["about"], written["packages"]) == ("Colours, and nothing else.", {"torch": version("torch")})
    page = leaderboard_page(tmp_path)
    assert f"- **told of** (torch {version('torch')}): Colours, and nothing else.\n" in page
    assert page.count("| told of |") == len(METRICS)
    ours = evaluate_method("edges", **SMALL, out=tmp_path / "told.json").facts
    assert not {"about", "packages"} & set(ours)
    evaluate_method(told_of, **SMALL, name="centre", out=tmp_path / "centre.json")
    assert "Methods of others" not in leaderboard_page(tmp_path), "neither our own nor what is no explanation"


def test_the_page_tells_how_far_other_pairs_move_a_mean(tmp_path) -> None:
    def of(values, seed, name="edges"):
        cell = cell_of(dict.fromkeys(METRICS, values), dict.fromkeys(METRICS, values))
        return Result(name, [cell], {"suite": "pairs-v1", "seed": seed, "count": len(values)})

    for seed, low in ((0, 0.2), (1, 0.2), (2, 0.6)):
        folder = tmp_path / (f"seed-{seed}" if seed else "")
        folder.mkdir(exist_ok=True)
        of([low + k / 100 for k in range(20)], seed).save(folder / "edges.json")
    public, one, two = leaderboard_page(tmp_path).split("## With other pairs")[1].split("| *edges* | order | ")[1].split(" | ")[:3]
    assert public.startswith("0.295 (0.2"), "interval behind the mean"
    assert (one, two.split(" |")[0]) == ("0.295", "0.695")
    assert f"Here it does in {len(METRICS)} cases of {2 * len(METRICS)}." in leaderboard_page(tmp_path)
    (tmp_path / "seed-3").mkdir()
    assert len(METRICS) == leaderboard_page(tmp_path).count("| 0.295 | 0.695 |"), "a folder without results yet adds no column"
    (tmp_path / "seed-2" / "edges.json").unlink()
    of([0.5] * 20, 2, "centre").save(tmp_path / "seed-2" / "centre.json")
    assert "With other pairs" not in leaderboard_page(tmp_path), "what has not been run on all draws is left out"


def test_ranks_are_shared_where_pairs_do_not_decide() -> None:
    def of(values):
        return Result("x", [cell_of({"order": values})], {"suite": "s", "seed": 0, "count": len(values)})

    low, high = [0.1 + k / 1000 for k in range(30)], [0.8 + k / 1000 for k in range(30)]
    mixed = [v + 0.001 * (-1) ** k for k, v in enumerate(high)]
    ranks = ranking({"low": of(low), "high": of(high), "same": of(mixed)}, "order")["rank"]
    assert ranks.to_dict() == {"high": 1, "same": 1, "low": 3}
    with pytest.raises(InputError, match="one suite, seed and count"):
        ranking({"a": of(low), "b": of(low[:20])}, "order")
    with pytest.raises(InputError, match="unknown metric"):
        ranking({"a": of(low)}, "beauty")


@pytest.mark.parametrize(("ranks", "said"), [([1, 2, 2], "One method is"), ([1, 1, 1], "No method is"), ([1, 1, 3], "2 methods are")])
def test_methods_are_counted_that_beat_what_is_no_explanation(ranks, said) -> None:
    table = pd.DataFrame({"rank": ranks, "mean": [0.9, 0.8, 0.5]}, index=["grad_cam", "mine", "edges"])
    assert _beside_nulls(table) == f"{said} told to be better than the best row that is no explanation, *edges* (0.500)."
    assert _beside_nulls(table.drop("edges")) == ""


def test_the_page_ranks_what_is_stored_and_says_how_to_take_part(tmp_path) -> None:
    assert "No results are stored yet." in leaderboard_page(tmp_path)
    for name in ("grad_cam", "edges"):
        evaluate_method(name, **SMALL, out=tmp_path / f"{name}.json")
    page = leaderboard_page(tmp_path)
    assert "| `grad_cam` |" in page
    assert "*edges*: strength of the edges" in page
    assert "`scenes_simclr`: shared (3)" in page
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1].replace('out="mine.json"', "**way")
    space = {"way": {**SMALL, "out": tmp_path / "page.json"}}
    exec(code, space)
    assert space["found"].cells[0]["cost"]["backwards"] == 1
