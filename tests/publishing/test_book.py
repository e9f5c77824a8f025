"""The book around the notebooks: its pages hold all outputs, and its buttons lead to a public address or nowhere."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import plotly.graph_objects as go
import pytest
import yaml

from tests.publishing.test_run import KERNEL, write_notebook
from xaicl_lib.errors import InputError
from xaicl_lib.publishing import build
from xaicl_lib.publishing.book import (
    NotebookError,
    _page_outputs,
    _public_address,
    _with_figures,
    _with_repository,
    check_pages,
    repository_address,
)
from xaicl_lib.publishing.build import build_book, serve, write_element
from xaicl_lib.publishing.pool import Outcome
from xaicl_lib.publishing.run import ROOT
from xaicl_lib.views.render import BookFigure

# The repository's address


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/someone/xaicl.git", "https://github.com/someone/xaicl"),
        ("https://someone:secret@github.com/someone/xaicl", "https://github.com/someone/xaicl"),
        ("git@github.com:someone/xaicl.git", "https://github.com/someone/xaicl"),
        ("ssh://git@gitlab.example.org:2222/group/sub/xaicl.git", "https://gitlab.example.org/group/sub/xaicl"),
        ("https://codeberg.org/someone/xaicl/", "https://codeberg.org/someone/xaicl"),
        ("/srv/git/xaicl.git", None),
        ("../xaicl", None),
        ("file:///srv/git/xaicl", None),
        ("http://github.com/someone/xaicl", None),
        ("https://localhost/someone/xaicl", None),
        ("https://192.168.1.4/someone/xaicl", None),
        ("git@server:someone/xaicl.git", None),
        ("https://gitlab.example.org:8443/a/b", None),
        ("https://github.com/<script>/x", None),
        ("https://[broken/a/b", None),
        ("https://github.com/", None),
        ("", None),
    ],
)
def test_only_public_addresses_count_and_credentials_never_do(remote, address):
    assert _public_address(remote) == address


def test_the_environment_goes_first_and_must_be_right(tmp_path, monkeypatch):
    monkeypatch.delenv("XAICL_REPOSITORY_URL", raising=False)
    assert repository_address(tmp_path) is None
    monkeypatch.setenv("XAICL_REPOSITORY_URL", "git@github.com:someone/xaicl.git")
    assert repository_address(tmp_path) == "https://github.com/someone/xaicl"
    monkeypatch.setenv("XAICL_REPOSITORY_URL", "somewhere")
    with pytest.raises(InputError, match="XAICL_REPOSITORY_URL"):
        repository_address(tmp_path)


def test_buttons_appear_only_with_an_address():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert _with_repository(config, None) == config
    assert not config["html"]["use_repository_button"]
    assert "launch_buttons" not in config
    made = _with_repository(config, "https://github.com/someone/xaicl")
    assert made["html"]["use_repository_button"]
    assert made["repository"]["branch"] == "main"
    assert "colab_url" in made["launch_buttons"]
    assert "launch_buttons" not in _with_repository(config, "https://gitlab.example.org/a/b")  # Colab reads GitHub alone


# Pages


def write_executed(path, *, tags=()):
    html = nbformat.v4.new_output("display_data", data={"text/html": BookFigure(go.Figure(), "a figure")._repr_html_()})
    cells = [
        nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("stream", name="stdout", text="1")]),
        nbformat.v4.new_code_cell("2", outputs=[html]),
        nbformat.v4.new_code_cell("3", metadata={"tags": list(tags)}, outputs=[nbformat.v4.new_output("stream", text="3")] if tags else []),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), path)
    return path


STREAM = '<div class="cell_output docutils container"><div class="highlight"><pre>1\n</pre></div></div>'
FIGURE = f'<div class="cell_output docutils container"><div class="output">{BookFigure(go.Figure(), "a figure")._repr_html_()}</div></div>'
EMPTY = '<div class="cell_output docutils container">\n <div class="output"> </div></div>'


def test_a_page_with_all_outputs_passes(tmp_path):
    (tmp_path / "01_a.html").write_text(f"<p>before<br></p>{STREAM}<hr>{FIGURE}")
    check_pages([write_executed(tmp_path / "01_a.ipynb", tags=["remove-output"])], tmp_path)


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (None, "no page"),
        (STREAM, "expected 2 cells, found 1"),
        (STREAM + EMPTY + FIGURE.replace("xaicl-plot", "other"), "expected 1 figures, found 0"),
        (STREAM + EMPTY, "expected 2 cells, found 1"),
    ],
)
def test_a_page_that_lacks_something_fails(tmp_path, page, message):
    if page is not None:
        (tmp_path / "01_a.html").write_text(page)
    with pytest.raises(NotebookError, match=message):
        check_pages([write_executed(tmp_path / "01_a.ipynb")], tmp_path)


def test_a_notebook_that_was_never_executed_fails(tmp_path):
    source = write_notebook(tmp_path, "01_a", "1")
    (tmp_path / "01_a.html").write_text(STREAM)
    with pytest.raises(NotebookError, match="not executed"):
        check_pages([source / "01_a.ipynb"], tmp_path)


def test_only_outputs_are_counted():
    page = f'<figure class="xaicl-plot"></figure><img src="logo.png">{STREAM}<div class="cell_output"><img src="a.png"></div>'
    assert _page_outputs(page) == {"cells": 2, "figures": 0, "pictures": 1}


def test_prose_can_show_a_figure_of_a_notebook(tmp_path) -> None:
    plot = '<figure><div class="xaicl-plot"></div></figure>'
    html = {"text": ["<b>1</b>"], "c-2": ["<b>2</b>", plot, plot + "later"]}
    outputs = {name: [nbformat.v4.new_output("display_data", {"text/html": one}) for one in shown] for name, shown in html.items()}
    cells = [nbformat.v4.new_code_cell("1", id=name, outputs=shown) for name, shown in outputs.items()]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "01_x.ipynb")
    executed = {"01_x": tmp_path / "01_x.ipynb"}
    assert _with_figures("a\n<!-- figure 01_x c-2 -->\nb", executed) == f"a\n```{{raw}} html\n{plot}\n```\nb"
    for missing, known in (("01_x text", "c-2"), ("01_x 2", "c-2"), ("02_y c-2", "none")):
        with pytest.raises(NotebookError, match=f"those with figures: {known}"):
            _with_figures(f"<!-- figure {missing} -->", executed)


def test_pages_show_figures_of_cells_that_are_there() -> None:
    text = "".join(page.read_text("utf-8") for page in (ROOT / "book").glob("*.md"))
    named = re.findall(r"<!-- figure (\w+) (\S+) -->", text)
    cells = {name: {c.id for c in nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4).cells if "show(" in c.source} for name, _ in named}
    assert len(named) > 10
    assert [f"{name} {cell}" for name, cell in named if cell not in cells[name]] == []


def test_serving_without_a_book_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match="make book"):
        serve(0, out=tmp_path)


def test_a_live_pair_that_was_stopped_is_written_the_next_time(tmp_path, monkeypatch):
    def place(folder, *_):
        (folder / "page").mkdir(parents=True)
        if stopped.pop():
            raise KeyboardInterrupt
        (folder / "page" / "pair.js").write_text("")

    monkeypatch.setattr(build, "_place_lab", place)
    stopped = [False, True, False, True]
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            write_element(tmp_path / "element", out=tmp_path / "out")
        write_element(tmp_path / "element", out=tmp_path / "out")
        assert (tmp_path / "element" / "page" / "pair.js").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["element"]


@pytest.mark.parametrize("name", ["src", "work", "work-translations", "student"])
def test_a_book_is_not_built_over_something_else(tmp_path, monkeypatch, name):
    def run(**_):
        raise NotebookError("executed")

    monkeypatch.setattr(build, "run_notebooks", run)
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").write_text("all of it")
    with pytest.raises(InputError, match=f"without '{name}', which would be replaced"):
        build_book(tmp_path, edition="student")
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [name, f"{name}/thesis.txt"]
    (tmp_path / "notebooks" / "quick").mkdir(parents=True)
    (tmp_path / "notebooks" / "quick" / "manifest.json").write_text("{}")  # as a build leaves it
    with pytest.raises(NotebookError, match="executed"):
        build_book(tmp_path, edition="student")


def test_of_two_builds_in_a_folder_one_is_refused(tmp_path, monkeypatch):
    def run(**_):
        with pytest.raises(InputError, match="expected a folder of its own for the book, but another run is at work in"):
            build_book(tmp_path)
        raise NotebookError("executed")

    monkeypatch.setattr(build, "run_notebooks", run)
    for _ in range(2):
        with pytest.raises(NotebookError, match="executed"):
            build_book(tmp_path)


def test_models_of_the_lab_that_another_process_is_making_stay_and_are_taken(tmp_path, monkeypatch):
    asked, cache = [], tmp_path / "lab"
    made = {"simclr": cache / "simclr-0123456789abcdef-torch-0"}

    def side_by_side(orders, jobs):
        asked.append([order.name for order in orders])
        for order in orders:
            Path(order.arguments[-1]).mkdir()
            time.sleep(0.5)  # for the other to come in between
            yield Outcome(order, None, 1.0, None, None)

    monkeypatch.setattr(build, "side_by_side", side_by_side)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: build._make_lab_models(["simclr"], made, cache, 1), range(2)))
    assert sorted(asked) == [[], ["simclr"]]
    assert made["simclr"].is_dir()
    assert not list(cache.glob(".running-*"))
