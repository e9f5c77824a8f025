"""A chapter asks and shows: what is computed of tables stands in its study, what is seen in its figures, and three imports bring both."""

import ast
import os
import re
import runpy
import statistics
import subprocess

import nbformat
import pytest

import xaicl_lib
from xaicl_lib.publishing.run import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FOREIGN = {"A1_other_libraries", "A6_your_own"}  # other libraries are their subject
LINES = 25  # of a cell
WIDTH = 74  # of a line, as notebooks/ruff.toml says
INSTALL = re.compile(r"!python -c (.+) \|\| pip install -q \"xaicl_lib\[[a-z,]+\] @ git\+\$\{XAICL_REPOSITORY_URL:\?.+\}\"")
SUMS = re.compile(r"\.(groupby|pivot_table|pivot|merge|melt|agg|quantile)\(|\bpd\.|\balt=")

# Words that say how sure something is have one meaning each, which the glossary gives; these would be another.
LOOSE = re.compile(
    r"\bsafe(ly|r|st)?\b|\b(texture|shape|background|temperature|pixels) decides?\b|\bdecided by (texture|shape|a cue)\b|\bDecide,|"
    r"\b(no better than|told from) a coin\b|\bbeyond chance\b|\btold from chance\b|\bmade by chance\b"
)


def cells(path):
    """The code of a notebook, without the first cell, which serves Colab, and without what only IPython reads."""
    found = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    return [
        re.sub(r"^(\s*)[%!].*$", r"\1pass", c.source, flags=re.MULTILINE)
        for c in found[1:]
        if "parameters" not in c.metadata.get("tags", ())
    ]


def first_cell(path):
    """What the first cell of code has for the shell, and for Python; comments aside."""
    cell = next(c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
    line, *code = (line for line in cell.source.splitlines() if not line.startswith("#"))
    return line, "\n".join(code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_one_line_brings_the_package_and_lines_fit_on_a_page(path):
    line, code = first_cell(path)
    assert INSTALL.fullmatch(line)
    assert code == first_cell(NOTEBOOKS[0])[1]
    assert [line for source in cells(path) for line in source.splitlines() if len(line) > WIDTH] == []


@pytest.mark.parametrize(("there", "address", "asked"), [(True, "", ""), (False, "https://host/a", "install"), (False, "", "")])
def test_the_package_is_installed_only_where_it_is_not(there, address, asked, tmp_path):
    """By a `pip` that writes down what it is asked, and a `python` that finds the package or does not."""
    for name, does in {"pip": f'echo "$@" > {tmp_path}/asked', "python": f"exit {int(not there)}"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    surroundings = {"PATH": f"{tmp_path}{os.pathsep}/bin:/usr/bin", "XAICL_REPOSITORY_URL": address}
    done = subprocess.run(["/bin/sh", "-c", first_cell(NOTEBOOKS[0])[0][1:]], env=surroundings, capture_output=True, text=True)
    said = (tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""
    assert said == (f"install -q xaicl_lib[views] @ git+{address}\n" if asked else "")
    assert ("set it to the https address of the repository" in done.stderr) == (not there and not address)


@pytest.mark.parametrize(
    ("there", "threads"), [({}, None), ({"COLAB_RELEASE_TAG": "x"}, "1"), ({"COLAB_RELEASE_TAG": "x", "OMP_NUM_THREADS": "4"}, "4")]
)
def test_in_colab_the_first_cell_asks_for_one_thread_and_importing_changes_nothing(there, threads, monkeypatch):
    for name in ("COLAB_RELEASE_TAG", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in there.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    runpy.run_path(xaicl_lib.__file__)
    assert os.environ == before
    exec(first_cell(NOTEBOOKS[0])[1], {})
    assert os.environ.get("OMP_NUM_THREADS") == threads


def imports(path):
    """The modules that its import statements name."""
    nodes = [node for source in cells(path) for node in ast.walk(ast.parse(source))]
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    return named | {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_asks_and_shows(path):
    long = [source.splitlines()[0] for source in cells(path) if len(source.splitlines()) > LINES]
    sums = [line for source in cells(path) for line in source.splitlines() if SUMS.search(line)]
    assert not long
    assert not sums
    assert path.stem in FOREIGN or len(imports(path)) <= 3, sorted(imports(path))


@pytest.mark.parametrize("path", [*NOTEBOOKS, *sorted((ROOT / "book").glob("*.md"))], ids=lambda path: path.stem)
def test_words_of_evidence_have_one_meaning(path):
    text = path.read_text(encoding="utf-8").replace('\\n",\n    "', " ")
    assert [match[0] for match in LOOSE.finditer(text)] == []


def test_the_glossary_gives_the_words_of_evidence_their_meaning():
    text = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    words = "by chance", "coin", "decide", "Holm", "Wilcoxon", "invariance", "explicand", "modularity", "RLD", "logit", "lift"
    assert [text.splitlines().count(word) for word in words] == [1] * len(words)


def unseen(source):
    """Calls of `show` whose answer nobody sees: not the last line of a cell, and not handed to `display`."""
    tree = ast.parse(source)
    alone = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr) and node is not tree.body[-1]]
    calls = [value for value in alone if isinstance(value, ast.Call) and isinstance(value.func, ast.Name)]
    return [ast.unparse(call) for call in calls if call.func.id in ("show", "Controls")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_shown_is_seen(path):
    assert [call for source in cells(path) for call in unseen(source)] == []


def test_three_imports_bring_a_chapter():
    assert statistics.median(len(imports(path)) for path in NOTEBOOKS) <= 3
