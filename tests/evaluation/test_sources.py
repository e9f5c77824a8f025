"""What counts as a change of the library, for stored values, executed notebooks and the lab's gallery alike."""

import shutil

import pytest

from xaicl_lib.errors import InputError
from xaicl_lib.evaluation import sources
from xaicl_lib.evaluation.sources import TOP, _files_behind, code_digest
from xaicl_lib.evaluation.store import code_version


def names(*roots):
    return {path.relative_to(TOP).as_posix() for path in _files_behind(roots)}


def test_what_is_imported_counts_and_what_it_imports():
    behind = names("xaicl_lib.methods", "xaicl_lib.metrics")
    assert {"methods/cam.py", "methods/rise.py", "metrics/perturbation.py", "model.py", "layers.py", "draws.py", "errors.py"} <= behind
    assert not {file for file in behind if file.startswith(("views/", "studies/", "publishing/", "zoo/"))}


def test_a_module_imported_within_a_function_counts():
    assert "evaluation/evaluate.py" in names("xaicl_lib")


def test_a_name_of_the_front_counts_as_taken_from_where_it_is_defined():
    import ast

    assert set(sources.imported(ast.parse("from xaicl_lib import Pair, load_model"))) == {"xaicl_lib.pair", "xaicl_lib.zoo"}
    assert set(sources.imported(ast.parse("from xaicl_lib import augment"))) == {"xaicl_lib.augment"}
    assert set(sources.imported(ast.parse("from xaicl_lib import evaluate"))) == {"xaicl_lib.evaluation.evaluate"}


def test_weights_and_tables_count_and_styles_of_pages_do_not():
    behind = names("xaicl_lib.zoo", "xaicl_lib.data.paper", "xaicl_lib.views.explorer")
    assert {"data/paper.csv", "zoo/weights/simclr.safetensors"} <= behind
    assert not {file for file in behind if file.endswith((".css", ".js"))}


def test_what_is_no_module_is_refused():
    with pytest.raises(InputError, match=r"expected a module of xaicl_lib, got 'xaicl_lib\.nothing'"):
        code_digest("xaicl_lib.nothing")


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the library without its weights, which the digests are taken of."""
    shutil.copytree(TOP, tmp_path / TOP.name, ignore=shutil.ignore_patterns("weights", "__pycache__"))
    monkeypatch.setattr(sources, "TOP", tmp_path / TOP.name)
    yield tmp_path / TOP.name
    forget()


def forget():
    for cached in (sources.code_digest, sources._imports_of, sources._offered, sources._file_digest):
        cached.cache_clear()


def test_each_change_counts_where_it_matters_and_nowhere_else(copied):
    """Editing `layers.py` or `draws.py` once left the lab's gallery as it was; a style sheet once executed every notebook again."""
    asked = (("xaicl_lib.methods", "xaicl_lib.metrics"), ("xaicl_lib.lab.gallery",), ("xaicl_lib.views.figures",))

    def digests():
        forget()
        return [code_digest(*roots) for roots in asked]

    before = digests()

    def changed(file):
        text = (copied / file).read_text()
        (copied / file).write_text(text + "\n")
        after = digests()
        (copied / file).write_text(text)
        return [a != b for a, b in zip(before, after, strict=True)]

    assert changed("layers.py") == [True, True, True]
    assert changed("lab/export/rules.py") == [False, True, False]
    assert changed("views/figures.py") == [False, False, True]
    assert changed("lab/static/page/lab.css") == [False, False, False]
    assert changed("publishing/slides.py") == [False, False, False]


def test_the_store_asks_the_same(monkeypatch):
    assert code_version() == code_digest("xaicl_lib.methods", "xaicl_lib.metrics")[:12]
