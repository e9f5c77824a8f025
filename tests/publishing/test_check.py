"""Notebooks that are run again: what is the same passes, what differs is told, times and digits that nobody sees do not count."""

import nbformat
import pytest

from tests.publishing.test_run import write_notebook
from xaicl_lib.errors import NotebookError
from xaicl_lib.publishing import check
from xaicl_lib.publishing.run import run_notebooks

pytest.importorskip("nbval", reason="nbval of requirements.txt is not installed")


@pytest.fixture
def executed(tmp_path):
    """A folder with a notebook that prints what a run may change and what it may not."""
    cells = ("x = 2.5", "import time\nprint(f'{time.perf_counter():.1f} s, 0.123456{time.time_ns() % 100:02d}')", "print('score', x)")
    (path,) = run_notebooks(out=tmp_path / "out", source=write_notebook(tmp_path / "notebooks", "01_a", *cells))
    return path


def test_what_differs_is_found_and_what_may_differ_is_not(executed, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(check, "run_notebooks", lambda names, *, out, jobs: [executed])
    check.check_notebooks(["01_a"], out=executed.parent, jobs=1)
    notebook = nbformat.read(executed, as_version=4)
    notebook.cells[2].outputs[0].text = "score 2.6\n"
    nbformat.write(notebook, executed)
    with pytest.raises(NotebookError, match="did not give what is stored"):
        check.check_notebooks(["01_a"], out=executed.parent, jobs=1)
    said = capfd.readouterr().out
    assert "score 2.6" in said
    assert "score 2.5" in said
