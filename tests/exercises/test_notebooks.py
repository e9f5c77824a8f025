"""Every exercise with a check in a notebook: its placeholder waits, and the solution that the page holds is right."""

import ast
import re

import nbformat
import pytest

import xaicl_lib.exercises as exercises
from xaicl_lib.publishing.editions import _end, _is_solution
from xaicl_lib.publishing.run import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def solutions(text):
    """What stands within the solutions of a text, in order."""
    lines = text.split("\n")
    blocks = [lines[k : end + 1] for k in range(len(lines)) if (end := _end(lines, k)) > k]
    return ["\n".join(block[1:-1]) for block in blocks if _is_solution(block)]


def tasks(path):
    """(check, its cell, the solution in the first later cell that has one) of a notebook."""
    cells = nbformat.read(path, as_version=4).cells
    for k, cell in enumerate(cells):
        found = re.search(r"^exercises\.check\(\"(\w+)\", (\w+)\)$", cell.source, re.MULTILINE) if cell.cell_type == "code" else None
        if found:
            later = (solutions(c.source) for c in cells[k + 1 :] if c.cell_type == "markdown")
            yield found[1], found[2], cell.source, next(filter(None, later), [""])[0]


EVERY = [pytest.param(path, *task, id=f"{path.stem}-{task[0]}") for path in NOTEBOOKS for task in tasks(path)]


@pytest.mark.parametrize(("path", "check", "name", "cell", "solution"), EVERY)
def test_placeholder_waits_and_solution_is_right(path, check, name, cell, solution):
    import torch

    space = {"torch": torch, "exercises": exercises}
    exec(compile(ast.parse(cell), path.name, "exec"), space)
    assert exercises.check(check, space[name]).right is None
    code = re.search(r"```python\n(.*?)```", solution, re.DOTALL)
    assert code, f"{path.name} has no solution with code for {name}"
    exec(code[1], space)
    said = exercises.check(check, space[name])
    assert said.right is True, said.text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_has_its_three_kinds_of_exercises(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    missing = [kind for kind in ("**1. Predict, then check.**", "**2. Write it.**", "An open project.**") if kind not in text]
    assert not missing
    assert "| a good answer | points |" in text
    assert solutions(text)
    assert any(check for check, *_ in tasks(path))
