"""Generated pages say what the registries, the cards and the runs say, and the first page finds its chapters."""

import inspect
import json
import re
from pathlib import Path

import nbformat

import xaicl_lib
from xaicl_lib.methods import methods
from xaicl_lib.metrics import metrics
from xaicl_lib.publishing import reference
from xaicl_lib.publishing.chapters import _chapter_list, with_chapters
from xaicl_lib.zoo import list_models, model_card


def rows(text):
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("|")]


def test_every_method_and_metric_has_its_row():
    found = {row[0]: row for row in rows(reference._methods_page())}
    for method in methods:
        row = found[f"{{py:func}}`~{method.function.__module__}.{method.name}`<br>{method.facts['family']}"]
        assert ("Signed." in row[1]) == method.facts["signed"]
        assert ("one side alone" in row[1]) == method.facts["one_sided"]
        assert row[3].startswith(f"{{cite:t}}`{method.facts['paper']}`")
    found = {row[0].split("<br>")[0]: row for row in rows(reference._metrics_page())}
    for metric in metrics:
        direction = "higher is better" if metric.facts["higher_is_better"] else "lower is better"
        assert direction in found[f"**{metric.name}**"][0]


def test_every_model_has_its_card():
    text = reference._models_page()
    for name in list_models():
        card = model_card(name)
        part = text.split(f"### {name}\n")[1].split("\n### ")[0]
        assert f"{card['knn_accuracy']:.3f} (untrained {card['knn_accuracy_untrained']:.3f})" in part
        assert card["sha256"] in part
    assert "official/simclrv2_1x" in text


def test_the_reference_has_each_public_thing_once_and_nothing_private():
    pages = reference._api_pages()
    lines = [line.split(":: ")[1] for text in pages.values() for line in text.splitlines() if line.startswith(".. auto")]
    assert len(lines) == len(set(lines))
    for name in xaicl_lib.__all__:
        assert f"xaicl_lib.{name}" in lines
    for method in methods:
        assert f"{method.function.__module__}.{method.name}" in lines
    assert "xaicl_lib.exercises.check" in lines
    assert not [line for line in lines if "._" in line]
    things = [_find(line) for line in lines]
    assert len({id(thing) for thing in things}) == len(things)
    assert all(inspect.getdoc(thing) for thing in things)


def _find(address):
    import importlib

    module, name = address.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def test_every_difference_is_on_its_page():
    """As many rows as the sources have lines that begin with the label, each with its whole text."""
    sources = Path(xaicl_lib.__file__).parent.rglob("*.py")
    labels = sum(len(re.findall(r"^ +Differs: ", path.read_text(), re.MULTILINE)) for path in sources)
    found = rows(reference._differences_page())[2:]
    assert labels == len(found) > 20
    by_place = {row[0].split("`")[1].rsplit(".", 1)[1]: row for row in found}
    assert "{math}`" in by_place["smooth_grad"][2]
    assert "{cite:t}`sammani2023visualizing`" in by_place["smooth_grad"][1]
    assert not [row for row in found if ":math:" in row[2] or not row[2].endswith(".")]


def test_differences_are_read_without_running_anything(tmp_path):
    folder = tmp_path / "lib"
    (folder / "part").mkdir(parents=True)
    lines = [
        "raise SystemExit",
        "class A:",
        "    def b(self):",
        '        """Says.',
        "",
        "        Differs: from :cite:t:`one2000`",
        "        `twice`.",
    ]
    (folder / "part" / "m.py").write_text("\n".join([*lines, "", "        Args:", "            self: it.", '        """']))
    (folder / "__init__.py").write_text('"""Nothing."""')
    assert reference._differences(folder) == [("part", "lib.part.m.A.b", ["one2000"], "Differs from {cite:t}`one2000` `twice`.")]


def executed(folder, name="01_a"):
    first = "# A | chapter\n\nYou need\n: much\n\nTime\n: 25 minutes to read; more to run\n\nYou will know\n: what a *pair*\n  is"
    cells = [nbformat.v4.new_markdown_cell(first), nbformat.v4.new_code_cell("\nx = 1\ny", metadata={"papermill": {"duration": 4.25}})]
    note = {"papermill": {"end_time": "2026-01-02T03:04:05"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=note), folder / f"{name}.ipynb")
    facts = {
        "profile": "quick",
        "device": "cpu",
        "seconds": 6.1,
        "processor_seconds": 4.4,
        "side_by_side": 2,
        "parameters": {"model": "a|b"},
        "versions": {"torch": "2"},
        "source_sha256": "ab",
    }
    (folder / "manifest.json").write_text(json.dumps({name: facts}))
    return folder / f"{name}.ipynb"


def test_a_run_has_its_page(tmp_path):
    pages = reference._runs_pages([executed(tmp_path)])
    assert set(pages) == {"runs", "run_01_a"}
    found = rows(pages["run_01_a"])
    for row in (
        ["executed", "2026-01-02"],
        ["device", "cpu"],
        ["`model`", r"`'a\|b'`"],
        ["4.2", "`x = 1`"],
        ["versions", "torch 2"],
        ["time, start of Python included", "6 s"],
        ["processor time", "4 s"],
        ["cores", "1, with up to 1 more notebooks on others"],
    ):
        assert row in found
    assert [r"[A \| chapter](run_01_a.md)", "quick", "cpu", "6 s"] in rows(pages["runs"])


def test_a_run_without_a_manifest_says_so(tmp_path):
    path = executed(tmp_path)
    (tmp_path / "manifest.json").unlink()
    for entry in ("device", "time, start of Python included", "processor time", "cores"):
        assert [entry, "not noted"] in rows(reference._runs_pages([path])["run_01_a"])


def test_the_first_page_lists_the_chapters_of_the_table_of_contents(tmp_path):
    path = executed(tmp_path)
    toc = {
        "parts": [
            {"caption": "One", "chapters": [{"file": "notebooks/01_a"}, {"file": "book/reference/01_a"}]},
            {"caption": "Two", "chapters": []},
        ]
    }
    line = "- [A | chapter](../notebooks/01_a.ipynb), *25 minutes*: what a *pair* is"
    assert _chapter_list(toc, {"01_a": path}) == f"**One**\n\n{line}"
    assert with_chapters("a <!-- chapters --> b", toc, {"01_a": path}) == f"a **One**\n\n{line} b"
    assert with_chapters("nothing", toc, {}) == "nothing"
