"""Executing notebooks of a few cells: what is kept, what is told, and what a run leaves behind."""

import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
from filelock import FileLock

from xaicl_lib.cli import _parser, program
from xaicl_lib.commands import _params
from xaicl_lib.errors import InputError
from xaicl_lib.publishing import run
from xaicl_lib.publishing.book import NotebookError
from xaicl_lib.publishing.pool import _cores
from xaicl_lib.publishing.run import ROOT, _plain, run_notebooks

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def write_notebook(folder, name, *cells, tag="parameters"):
    """A notebook whose first cell carries a tag."""
    folder.mkdir(exist_ok=True)
    made = [nbformat.v4.new_code_cell(text, id=f"cell-{k}") for k, text in enumerate(cells)]
    made[0].metadata["tags"] = [tag]
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=KERNEL), folder / f"{name}.ipynb")
    return folder


def text_of(path):
    """Everything an executed notebook printed."""
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", ()))


def test_a_notebook_runs_with_its_parameters_in_this_very_python_and_is_kept(tmp_path, monkeypatch, capfd):
    other = tmp_path / "other" / "kernels" / "python3"  # somebody's own kernel of the same name, which does not even start
    other.mkdir(parents=True)
    (other / "kernel.json").write_text(json.dumps({"argv": ["/bin/false"], "display_name": "other", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "other"))
    cells = "number = 1\nprofile = 'quick'", "import os, sys\nprint(number, profile, sys.executable, os.environ['XAICL_BOOK'])"
    source, out = write_notebook(tmp_path / "notebooks", "01_small", *cells), tmp_path / "out"

    (path,) = run_notebooks(profile="quick", out=out, source=source, parameters={"number": 7})
    assert text_of(path).split() == ["7", "quick", sys.executable, "1"]
    noted = json.loads((out / "manifest.json").read_text())["01_small"]
    assert noted["parameters"] == {"number": 7, "profile": "quick"}
    assert noted["source_sha256"] == hashlib.sha256((source / "01_small.ipynb").read_bytes()).hexdigest()
    assert noted["seconds"] > 0
    assert noted["processor_seconds"] > 0
    assert noted["side_by_side"] == 1
    assert noted["device"]
    assert set(noted["versions"]) == {"python", "torch", "xaicl_lib"}

    before = path.stat().st_mtime_ns
    run_notebooks(profile="quick", out=out, source=source, parameters={"number": 7})
    assert path.stat().st_mtime_ns == before
    assert "kept" in capfd.readouterr().out
    run_notebooks(profile="quick", out=out, source=source)
    assert text_of(path).split()[0] == "1"
    assert not any("injected-parameters" in cell.metadata.get("tags", ()) for cell in nbformat.read(path, as_version=4).cells)
    assert sorted(item.name for item in out.iterdir()) == [".lock", "01_small.ipynb", "manifest.json"]


def test_all_are_tried_and_all_failures_told(tmp_path, capsys):
    """One that works, one that raises, one whose kernel dies, one that waits for ever, one that ends itself: the first is kept."""
    source, out = tmp_path / "notebooks", tmp_path / "out"
    write_notebook(source, "01_good", "x = 1", "import os\nprint(os.environ['OMP_NUM_THREADS'])")
    write_notebook(source, "02_raises", "x = 1", "x + 1", "\nraise KeyError('no such thing')")
    write_notebook(source, "03_dies", "import os", "os._exit(1)")
    write_notebook(source, "04_waits", "import threading", "threading.Event().wait()")
    write_notebook(source, "05_ends", "import sys", "sys.exit(0)", "print('never')")
    out.mkdir()
    (out / "02_raises.ipynb").write_text("the last good one")
    (out / ".running-killed").mkdir()
    with pytest.raises(NotebookError) as caught:
        run_notebooks(out=out, source=source, jobs=4, patience=8)
    first, *lines = str(caught.value).splitlines()
    assert first == "4 of 5 notebooks failed"
    told = {line.split(",")[0]: line for line in lines}
    assert "cell 3 of 3 (\"raise KeyError('no such thing')\"): KeyError: 'no such thing'; alone: " in told["02_raises"]
    assert "cell 2 of 2 ('os._exit(1)'): the kernel died, as it does when memory runs out" in told["03_dies"]
    assert "cell 2 of 3 ('sys.exit(0)'): the notebook ended itself, and what comes after this cell did not run; alone" in told["05_ends"]
    assert re.search(r"cell 2 of 2 .*: stood still: used no processor time for \d+ s; alone: .* run 04_waits --out \S+$", told["04_waits"])
    assert text_of(out / "01_good.ipynb") == "1\n"
    assert (out / "02_raises.ipynb").read_text() == "the last good one"
    assert sorted(item.name for item in out.iterdir()) == [".lock", "01_good.ipynb", "02_raises.ipynb", "manifest.json"]
    said = capsys.readouterr().out
    assert re.search(r"[45] jobs share", said) or _cores() >= 4
    assert re.search(r"02_raises +- +- +failed", said)
    assert re.search(r"01_good +\d+ +\d+ +executed", said)


def test_what_is_told_to_run_alone_is_what_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = {"level": "abc", "three": "3", "count": 3, "names": ["a b"], "odd": "{[]: 1}", "at": Path("there")}
    for profile, out in (("quick", "_build/notebooks/quick"), ("quick", "my runs"), ("full", "_build/notebooks/full")):
        words = shlex.split(run._options(profile, Path(out), asked))
        arguments = _parser().parse_args(["run", *words])
        assert (arguments.profile, arguments.out or f"_build/notebooks/{arguments.profile}") == (profile, out)
        assert _params(arguments.set, "the notebooks") == {**asked, "at": "there"}
    assert run._options("quick", Path("_build/notebooks/quick"), {"level": "abc"}) == " --set level=abc"
    source = write_notebook(tmp_path / "notebooks", "01_a", "level = 'x'", "raise KeyError(level)")
    with pytest.raises(NotebookError, match=r"KeyError: 'abc'; alone: .* -m xaicl_lib run 01_a --out out --set level=abc$"):
        run_notebooks(out="out", source=source, parameters={"level": "abc"})


def test_there_is_a_ceiling_and_the_environment_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    source = write_notebook(tmp_path / "notebooks", "03_slow", "import os", "assert os.environ['OMP_NUM_THREADS'] == '3'\nwhile True: pass")
    with pytest.raises(NotebookError, match=r"03_slow.*took longer than the \d+ s of --timeout"):
        run_notebooks(out=tmp_path / "out", source=source, timeout=6)


def test_the_longest_goes_first_and_a_damaged_copy_is_made_again(tmp_path):
    source, out = tmp_path / "notebooks", tmp_path / "out"
    out.mkdir()
    for name in ("01_a", "02_b", "03_c"):
        write_notebook(source, name, "x = 1", "print(x)")
        (out / f"{name}.ipynb").write_text(name)
    plans = [run._plan(path, "quick", {}) for path in sorted(source.glob("*.ipynb"))]
    digest = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("01_a", "02_b", "03_c")}
    took = {"01_a": 3.0, "02_b": 9.0, "03_c": 1.0}
    noted = {plan.path.stem: {**plan.facts, "seconds": took[plan.path.stem], "executed_sha256": digest[plan.path.stem]} for plan in plans}
    run._write_manifest(out, noted)
    assert run._sorted_out(plans, out) == ({"01_a", "02_b", "03_c"}, [])
    for name in ("01_a", "02_b"):
        (out / f"{name}.ipynb").write_text(name[:-1])  # as a power cut leaves it
    kept, todo = run._sorted_out(plans, out)
    assert kept == {"03_c"}
    assert [plan.path.stem for plan in todo] == ["02_b", "01_a"]


@pytest.mark.parametrize(
    "text",
    ["[1]", "5", "null", "{", "[[1, 2]]", '{"01_a": 5}', '{"01_a": {"seconds": "x"}}', '"\xff"'],
)
def test_a_manifest_that_is_not_ours_is_made_anew(tmp_path, text):
    source, out = write_notebook(tmp_path / "notebooks", "01_a", "x = 1"), tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text(text, encoding="latin-1")
    plans = [run._plan(source / "01_a.ipynb", "quick", {})]
    assert run._sorted_out(plans, out) == (set(), plans)
    run._write_manifest(out, {**run._read_manifest(out), "01_a": {"seconds": 1.0}})
    assert json.loads((out / "manifest.json").read_text()) == {"01_a": {"seconds": 1.0}}


def test_one_run_at_a_time_works_in_a_folder(tmp_path):
    source = write_notebook(tmp_path / "notebooks", "01_a", "x = 1")
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(InputError, match="another run is at work in"):
        run_notebooks(out=tmp_path / "out", source=source)


@pytest.mark.parametrize("blocked", ["file", "file/below"])
def test_a_folder_that_cannot_be_is_refused_in_one_line(tmp_path, blocked):
    source = write_notebook(tmp_path / "notebooks", "01_a", "x = 1")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder for the executed notebooks"):
        run_notebooks(out=tmp_path / blocked, source=source)


def test_clean_notebooks_are_not_written_over(tmp_path, monkeypatch):
    source = write_notebook(tmp_path / "notebooks", "01_a", "x = 1")
    before = (source / "01_a.ipynb").read_bytes()
    monkeypatch.chdir(tmp_path)
    for out in (source, "notebooks", "notebooks/../notebooks"):
        with pytest.raises(InputError, match="other than that of the clean ones, got "):
            run_notebooks(out=out, source=source)
    assert [path.read_bytes() for path in source.iterdir()] == [before]


@pytest.mark.parametrize(("value", "kept"), [(np.int64(3), 3), (float("inf"), float("inf")), (Path("a"), "a"), ((1, 2), [1, 2])])
def test_parameters_become_what_json_knows(value, kept):
    assert _plain("x", value) == kept


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", {1: 2}, object(), [{3}]])
def test_parameters_that_cannot_be_given_are_refused(value):
    with pytest.raises(InputError, match="expected x to be made of text"):
        _plain("x", value)


CELLS = ("import time", "time.sleep(0.5)", "print('done')")
PROGRAM = """
import sys
sys.modules["rfc3987_syntax"] = None  # as the program has it, before what is imported next
from xaicl_lib.cli import program
import xaicl_lib.publishing.run as run
run.run_notebooks.__kwdefaults__["source"] = sys.argv[1]
sys.argv = ["xaicl", "run", "--jobs", "2", "--out", sys.argv[2]]
sys.exit(program())
"""


def of_this_test(folder, since):
    """Processes that work for it: begun since then (a time), and their command line or environment names its folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.create_time() >= since and any(str(folder) in text for text in (*process.cmdline(), *process.environ().values())):
                found.append(process)
    return found


def run_in_a_process_of_its_own(source, out, said):
    """What the program does from the shell, its output in a file."""
    run_notebooks.__kwdefaults__["source"] = source
    sys.argv = ["xaicl", "run", "--jobs", "2", "--out", str(out)]
    with open(said, "w") as sys.stdout:
        sys.exit(program())


def test_a_run_that_is_killed_leaves_nothing_behind_and_goes_on(tmp_path, forks):
    """Three kills, one of them gentle; each time the processes end within seconds, and what was done is kept."""
    source, out, since = tmp_path / "notebooks", tmp_path / "out", time.time() - 1  # clocks of the system and of processes differ a little
    for name in ("01_a", "02_b", "03_c"):
        write_notebook(source, name, *CELLS)

    def start():
        process = forks.Process(target=run_in_a_process_of_its_own, args=(source, out, tmp_path / "said"))
        process.start()
        return process

    done = 0
    for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        child = start()
        kernels = wait_for(lambda: [p for p in of_this_test(tmp_path, since) if "ipykernel_launcher" in p.cmdline()])
        assert kernels
        if how is signal.SIGTERM:
            wait_for(lambda: list(out.glob("*.ipynb")))
        os.kill(child.pid, how)
        child.join(120)
        assert wait_for(lambda: not of_this_test(tmp_path, since)), "nothing of it is left"
        done = len(list(out.glob("*.ipynb")))
        if how is signal.SIGTERM:
            assert done >= 1
            assert not list(out.glob(".running-*"))
    last = start()
    last.join(600)
    assert last.exitcode == 0
    assert len(re.findall(r"^0\d_\w .*kept$", (tmp_path / "said").read_text(), re.MULTILINE)) == done
    assert sorted(item.name for item in out.iterdir() if item.name.startswith(".")) == [".lock"]
    assert all("done" in text_of(path) for path in out.glob("*.ipynb"))


def wait_for(condition, seconds=300):
    """What the condition answers, as soon as it is true."""
    until = time.monotonic() + seconds
    while not (answer := condition()) and time.monotonic() < until:
        time.sleep(0.2)
    return answer


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of this kind there")
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path):
    source, out = write_notebook(tmp_path / "notebooks", "01_large", "print('x' * 3_000_000)"), tmp_path / "out"
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n{PROGRAM}"
    command = [sys.executable, "-c", limited, str(source), str(out)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "xaicl: 1 of 1 notebooks failed"
    assert "01_large, cell 1 of 1" in done.stderr
    assert "File too large" in done.stderr
    assert sorted(item.name for item in out.iterdir()) == [".lock"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"parameters": {"colour": 1}}, r"unknown parameter of 04_x 'colour'; there are: size, name"),
        ({"names": ["05_y"]}, r"unknown notebook '05_y'; there are: 04_x"),
        ({"profile": "huge"}, r"unknown profile 'huge'; there are: quick, full"),
        ({"jobs": 0}, r"expected jobs to be a whole number of at least 1, got 0; there are \d+ cores"),
        ({"jobs": True}, r"expected jobs to be a whole number of at least 1, got True"),
        ({"timeout": 0}, r"expected timeout to be a number of seconds above 0, got 0"),
    ],
)
def test_names_that_do_not_exist_are_refused_before_anything_runs(tmp_path, wrong, message):
    source = write_notebook(tmp_path / "notebooks", "04_x", "size = 3\nname = 'a'")
    with pytest.raises(InputError, match=message):
        run_notebooks(**{"out": tmp_path / "out", "source": source, **wrong})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "not json", "[1, 2]"])
def test_what_is_no_notebook_is_refused(tmp_path, text):
    (tmp_path / "06_odd.ipynb").write_text(text)
    with pytest.raises(InputError, match="expected a notebook"):
        run_notebooks(out=tmp_path / "out", source=tmp_path)
