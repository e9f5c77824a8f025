"""Processes forked from one that has imported what they share are as those started anew."""

import json
import os
import resource
import signal
import sys

import psutil
import pytest

from tests.publishing.test_run import text_of, wait_for, write_notebook
from xaicl_lib.publishing import run
from xaicl_lib.publishing.forkserver import ForkServer
from xaicl_lib.publishing.pool import Job, surroundings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forked on Linux alone")

IMPORTS = "import json, os, random, sys\nimport numpy, pandas, torch"
FACTS = """print(json.dumps({
    "drawn": [random.random(), float(numpy.random.rand()), float(torch.rand(1))], "folder": os.getcwd(), "book": os.environ["XAICL_BOOK"],
    "threads": os.environ["OMP_NUM_THREADS"], "kernel": sys.argv[0], "path": sys.path, "columns": pandas.get_option("display.max_columns"),
    "forked": "papermill" in sys.modules, "hidden": [name for name, module in sys.modules.items() if module is None],
    "group": os.getpgid(0) == os.getpid() == os.getsid(0), "parent": os.environ["JPY_PARENT_PID"] == str(os.getppid())}))"""


def test_a_forked_kernel_is_as_one_started_anew(tmp_path, capsys):
    """Environment, folder, path, what pandas found when it was imported; and no two draw the same."""
    source, out = tmp_path / "notebooks", tmp_path / "out"
    for name in ("01_a", "02_b"):
        write_notebook(source, name, "x = 1", IMPORTS, FACTS)
    first, second = (json.loads(text_of(path)) for path in run.run_notebooks(out=out, source=source, jobs=1))
    assert not set(first.pop("drawn")) & set(second.pop("drawn"))
    path = first.pop("path")
    assert path == second.pop("path")
    assert "" in path
    assert not any(folder.endswith("publishing") for folder in path)
    wanted = {"folder": str(source), "book": "1", "threads": os.environ.get("OMP_NUM_THREADS", "1"), "columns": 20, "hidden": []}
    assert first == second == {**wanted, "kernel": first["kernel"], "forked": True, "group": True, "parent": True}
    assert first["kernel"].endswith(("ipykernel_launcher", "ipykernel_launcher.py"))
    table = capsys.readouterr().out
    assert [line.split()[-1] for line in table.splitlines() if line.startswith("shared imports")] > ["0"]


@pytest.fixture(scope="module")
def server():
    with_one = ForkServer(["no_such_module"], surroundings())
    assert with_one.refusal is None
    yield with_one
    with_one.close()


def program(folder, text):
    """A file with a program."""
    file = folder / "program.py"
    file.write_text(text)
    return str(file)


def test_a_forked_process_is_held_like_one_that_was_started(server, tmp_path):
    held = server.start([program(tmp_path, "import sys\nprint(sys.argv[1], sys.stdin.read())\nsys.exit(3)"), "word"])
    assert held.poll() is None
    held.stdin.write(b"said")
    held.stdin.close()
    assert held.stdout.read() == b"word said\n"
    assert held.wait() == held.poll() == 3
    raised = server.start([program(tmp_path, "1 / 0")])
    assert b"ZeroDivisionError" in raised.stdout.read()
    assert raised.wait() == 1
    killed = server.start([program(tmp_path, "import time\ntime.sleep(60)")])
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL


def test_nothing_waits_for_ever_to_be_a_kernel(server, tmp_path):
    file = program(tmp_path, "import sys\nprint(sys.argv[-1], flush=True)\nsys.stdin.read()")
    held = server.start([file])
    ahead = int(held.stdout.readline().split(b":")[0])
    assert psutil.Process(ahead).ppid() == held.pid
    held.stdin.close()
    assert held.wait() == 0
    assert wait_for(lambda: not psutil.pid_exists(ahead), 20)


def test_processor_time_of_what_was_forked_counts(server, tmp_path):
    """For whoever measures a whole run from outside; the server's own is what the imports took."""
    before, own = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]), server.processor()
    server.start([program(tmp_path, "import time\nwhile time.process_time() < 1: pass")]).wait()
    assert 0.1 < own <= server.processor() < own + 0.5
    server.close()
    assert sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before > 1 + 0.9 * own


def test_threads_and_half_imported_modules_are_reasons_not_to_fork(tmp_path, monkeypatch):
    (tmp_path / "threaded.py").write_text("import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "half.py").write_text("raise ValueError")
    (tmp_path / "part.py").write_text("import no_such_module")
    refusing = ForkServer(["half", "part", "part.none", "no_such_module", "json.none", "threaded"], surroundings())
    half, part, none, threads = refusing.refusal.split("; ")
    assert (half, part, none) == ("importing half raised ValueError", "part lacks no_such_module", "part.none lacks no_such_module")
    assert threads.startswith("the imports have started threads (")
    left = refusing.start([program(tmp_path, "import sys\nsys.stdin.read()\nsys.exit(4)")])
    os.kill(refusing._child.pid, signal.SIGKILL)  # the code is told all the same
    left.stdin.close()
    assert left.wait() == 4
    with pytest.raises(OSError, match=r"Broken pipe|not fork"):
        refusing.start(["program.py"])
    refusing.close()


@pytest.mark.parametrize("why", ["threads", None])
def test_without_a_fork_python_starts_anew(tmp_path, monkeypatch, capsys, why):
    """Where the server refuses, with a line; where one fork fails, silently; where nobody wants it, without a server."""

    class Refusing:
        def __init__(self, modules, environment):
            self.refusal, self.processor = why, float

        def start(self, words):
            raise BlockingIOError("no process left")

        def close(self):
            pass

    write_notebook(tmp_path, "01_a", "import os")
    write_notebook(tmp_path, "02_b", "import os", "from os import path", "import wrong syntax", "%magic")
    plans = [run._plan(path, "quick", {}) for path in sorted(tmp_path.glob("*.ipynb"))]
    assert run._shared(plans) == ["os"]
    monkeypatch.setattr(run, "ForkServer", Refusing)
    monkeypatch.setattr(run, "spawned", lambda job: job.name)
    with run._starting(plans, {}) as (start, _):
        assert start(Job("01_a", (), {})) == "01_a"
    assert capsys.readouterr().out == ("each notebook starts Python anew: threads\n" if why else "")
    monkeypatch.setattr(run, "ForkServer", None)
    with run._starting(plans[:1], {}) as (start, _):
        assert start(Job("01_a", (), {})) == "01_a"
    monkeypatch.setenv("XAICL_FORK", "0")
    with run._starting(plans, {}) as (start, _):
        assert start(Job("01_a", (), {})) == "01_a"
