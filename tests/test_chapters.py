"""A chapter asks and shows: what is computed of tables stands in its study, what is seen in its figures, and three imports bring both."""

import ast
import re
import statistics

import nbformat
import pytest

from xaicl_lib.publishing.run import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FOREIGN = {"A1_other_libraries"}  # other libraries are its subject
LINES = 25  # of a cell
SUMS = re.compile(r"\.(groupby|pivot_table|pivot|merge|melt|agg|quantile)\(|\bpd\.|\balt=")
THERE = {"01_methods", "03_texture_bias", "04_harmful_augmentations", "05_augmentation_dissection", "06_invariance_inversion"}
NOT_YET = {path.stem for path in NOTEBOOKS} - THERE


def cells(path):
    """The code of a notebook, without the first cell, which serves Colab, and without what only IPython reads."""
    found = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    return [
        re.sub(r"^(\s*)[%!].*$", r"\1pass", c.source, flags=re.MULTILINE)
        for c in found[1:]
        if "parameters" not in c.metadata.get("tags", ())
    ]


def imports(path):
    """The modules that its import statements name."""
    nodes = [node for source in cells(path) for node in ast.walk(ast.parse(source))]
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    return named | {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}


def chapters():
    """Every notebook; those that are not there yet have to fail, so that none stays in the list for longer than it must."""
    late = pytest.mark.xfail(reason="is not there yet", strict=True)
    return [pytest.param(path, id=path.stem, marks=[late] if path.stem in NOT_YET else []) for path in NOTEBOOKS]


@pytest.mark.parametrize("path", chapters())
def test_a_chapter_asks_and_shows(path):
    long = [source.splitlines()[0] for source in cells(path) if len(source.splitlines()) > LINES]
    sums = [line for source in cells(path) for line in source.splitlines() if SUMS.search(line)]
    assert not long
    assert not sums
    assert path.stem in FOREIGN or len(imports(path)) <= 3, sorted(imports(path))


def test_three_imports_bring_a_chapter():
    """At the median of those that are there."""
    there = [len(imports(path)) for path in NOTEBOOKS if path.stem not in NOT_YET]
    assert not there or statistics.median(there) <= 3
