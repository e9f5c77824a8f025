"""The first code that a reader sees runs as it stands, in an empty folder with a photo; and what it takes is all that the front offers."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import xaicl_lib
from xaicl_lib import Explanation
from xaicl_lib.images import SAMPLES
from xaicl_lib.methods import methods

README = (Path(__file__).parents[1] / "README.md").read_text()
NAMES = 12  # that a reader of the front has to know at most


def block() -> str:
    section = README.split("## The library in five lines")[1].split("\n## ")[0]
    found = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(found) == 1
    return found[0]


def executed(code: str) -> tuple[dict[str, Any], list[Any]]:
    """All names after the code, and the values of its lines that give one."""
    space: dict[str, Any] = {}
    values = []
    for node in ast.parse(code).body:
        if isinstance(node, ast.Expr):
            values.append(eval(ast.unparse(node), space))
        else:
            exec(ast.unparse(node), space)
    return space, values


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder but for a photo (the sample cat's face, so that the pair has something in common) and two small corpora."""
    Image.fromarray(SAMPLES["cat"]()[20:260, 60:380]).save(tmp_path / "my_photo.jpg")
    rng = np.random.default_rng(0)
    for name in ("church/0.jpg", "church/1.jpg", "rest/0.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
        coarse.resize((160, 120), Image.Resampling.BICUBIC).save(tmp_path / "photos" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_code_of_the_readme_runs_as_it_stands(folder, monkeypatch) -> None:
    few = inspect.unwrap(methods["rise"].function).__kwdefaults__
    monkeypatch.setitem(few, "masks", 20)  # of 2,000, which take half a minute
    space, (figure, values, compared, one) = executed(block())
    assert space["pair"].b.shape == (1, 3, 96, 96)
    assert space["e"].params["reduction"] == "max"
    assert {trace.type for trace in figure.data} == {"heatmap", "scatter"}
    assert list(values) == ["SI", "SD", "CI", "CD", "SAD", "CAD"]
    assert all(value.shape == (1,) and value.isfinite() for value in values.values())
    assert len(space["table"]) == 2 * 2 * 6 * 2  # models, methods, metrics, pairs
    assert {frozenset(row) for row in compared[["better", "worse"]].to_numpy().tolist()} == {frozenset({"grad_cam", "rise"})}
    assert (compared["low"] <= compared["difference"]).all()
    assert (compared["difference"] <= compared["high"]).all()
    assert isinstance(one, Explanation)
    assert (one.method, one.b) == ("grad_cam", None)
    assert sorted(path.name for path in folder.iterdir()) == ["my_photo.jpg", "photos", "results"]


def test_the_front_is_small_and_whole() -> None:
    assert len(xaicl_lib.__all__) <= NAMES
    assert len(set(xaicl_lib.__all__)) == len(xaicl_lib.__all__)
    for name in xaicl_lib.__all__:
        assert name in dir(xaicl_lib)
        assert (getattr(xaicl_lib, name).__doc__ or "").strip()
    taken = re.search(r"from xaicl_lib import (.*)", block())
    assert taken is not None
    assert set(taken[1].split(", ")) <= set(xaicl_lib.__all__)
    with pytest.raises(AttributeError, match="no attribute 'list_metrics'"):
        xaicl_lib.list_metrics  # noqa: B018


def test_what_needs_tables_or_figures_waits_until_it_is_asked_for() -> None:
    code = "import sys, xaicl_lib; xaicl_lib.{}; print(*(m for m in ('pandas', 'plotly', 'PIL') if m in sys.modules))"
    loaded = {
        name: subprocess.run([sys.executable, "-c", code.format(name)], capture_output=True, text=True, check=True).stdout.split()
        for name in ("explain", "show")
    }
    assert loaded["explain"] == []
    assert "plotly" in loaded["show"]
