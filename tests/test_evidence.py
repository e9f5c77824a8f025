"""One command knows what the larger runs have, what they lack, and goes on where it was stopped."""

import importlib.util
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
MAKES = """
import shutil
import sys
model, folder = sys.argv[sys.argv.index("--models") + 1], sys.argv[-1]
sys.exit(3) if model == "broken" else shutil.copy(f"{folder}/after {model}.parquet", f"{folder}/made.parquet")
"""


@pytest.fixture
def evidence(monkeypatch):
    spec = importlib.util.spec_from_file_location("evidence", ROOT / "benchmarks" / "evidence.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "evidence", module)  # a dataclass looks for its module
    spec.loader.exec_module(module)
    return module


def test_every_stored_table_of_evidence_has_a_run_and_every_run_a_script(evidence) -> None:
    speed = {path.stem for path in (ROOT / "results").glob("cost*.parquet")} | {"official"}
    others = {"families", "relations", "word_peers"}  # what tests of families find; trainings, whose scripts are told how long
    assert {path.stem for path in (ROOT / "results").glob("*.parquet")} == {run.name for run in evidence.RUNS} | speed | others
    assert [run.name for run in evidence.RUNS if not (ROOT / "benchmarks" / run.script[0]).is_file()] == []
    studies = (ROOT / "benchmarks" / "studies.py").read_text()
    assert [run.name for run in evidence.RUNS if run.script[0] == "studies.py" and f"def {run.script[1]}(" not in studies] == []


def test_what_is_there_and_missing_is_counted_model_by_model(evidence, tmp_path) -> None:
    pairs = pd.DataFrame({"model": ["a"] * 6 + ["b"] * 2, "pair": [0, 0, 1, 1, 2, 2, 0, 1]})
    pairs.to_parquet(tmp_path / "made.parquet")
    apart = evidence.Run("made", ("x.py",), ("a", "b", "c"), 3, needs="")
    assert evidence.counted(apart, tmp_path) == {"a": 3, "b": 2, "c": 0}
    assert evidence.missing(apart, tmp_path) == ["b", "c"]
    whole = evidence.Run("made", ("x.py",), ("a", "b"), 3, needs="NOT_SET_ANYWHERE", apart=False)
    assert evidence.missing(whole, tmp_path) == [evidence.EVERY]
    assert list(evidence.pieces([apart, whole], tmp_path)) == [(apart, "b"), (apart, "c")], "what has no data is left out"
    evidence.note(tmp_path, ("made", "a", 3, 9.0, 6.0, "a CPU"))
    row = evidence.listing([apart, whole], tmp_path).iloc[0]
    assert row[["models with enough", "fewest", "wanted", "seconds", "note"]].tolist() == ["1 of 3", 0, 3, 2.0, ""]
    assert row["hours"] == pytest.approx((1 + 3) * 2 / 3600)


def test_a_run_goes_on_with_the_models_that_are_left(evidence, tmp_path, monkeypatch) -> None:
    (tmp_path / "studies.py").write_text(MAKES)
    rows = pd.DataFrame({"model": ["a", "a", "b", "b"], "pair": [0, 1, 0, 1]})
    rows[:2].to_parquet(tmp_path / "after a.parquet")
    rows.to_parquet(tmp_path / "after b.parquet")
    monkeypatch.setattr(evidence, "HERE", tmp_path)
    run = evidence.Run("made", ("studies.py",), ("a", "broken", "b"), 2, given=("-n", "2"), stored=False, needs="")
    ended = {model: evidence.carry_out(one, model, tmp_path, None, "cpu") for one, model in evidence.pieces([run], tmp_path)}
    assert ended == {"a": True, "broken": False, "b": True}
    assert [model for _, model in evidence.pieces([run], tmp_path)] == ["broken"]
    times = evidence.known_times(tmp_path)
    assert list(times["model"]) == ["a", "b"]
    assert (times["units"] == 2).all()


def test_a_script_is_told_what_it_knows(evidence, tmp_path) -> None:
    by_name = {run.name: run for run in evidence.RUNS}
    told = evidence.command(by_name["metrics"], "simclr", tmp_path, "kept", "cpu")[2:]
    assert told == [
        "-n",
        "200",
        "--shaken",
        "12",
        "--add",
        "--models",
        "simclr",
        "--store",
        "kept",
        "-o",
        f"{tmp_path / 'metrics.parquet'}",
    ]
    told = evidence.command(by_name["properties"], evidence.EVERY, tmp_path, "kept", "cuda")[2:]
    assert told == ["-n", "64", "--device", "cuda", "-o", str(tmp_path)]
