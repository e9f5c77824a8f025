"""The road from clean notebooks to checked pages, on notebooks of a few cells."""

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import nbformat
import numpy as np
import plotly.graph_objects as go
import psutil
import pytest
import yaml
from filelock import FileLock

from xaicl_lib.errors import InputError
from xaicl_lib.publishing import run
from xaicl_lib.publishing.assets import _check_integrity, _extract, mathjax
from xaicl_lib.publishing.book import (
    NotebookError,
    _page_outputs,
    _public_address,
    _with_figures,
    _with_repository,
    check_pages,
    repository_address,
)
from xaicl_lib.publishing.build import serve
from xaicl_lib.publishing.pool import cores
from xaicl_lib.publishing.run import ROOT, plain, run_notebooks
from xaicl_lib.views.render import BookFigure, figure_json, show

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


# Executing


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
    """One that works, one that raises, one whose kernel dies, one that waits for ever: three lines, and the first is kept."""
    source, out = tmp_path / "notebooks", tmp_path / "out"
    write_notebook(source, "01_good", "x = 1", "import os\nprint(os.environ['OMP_NUM_THREADS'])")
    write_notebook(source, "02_raises", "x = 1", "x + 1", "\nraise KeyError('no such thing')")
    write_notebook(source, "03_dies", "import os", "os._exit(1)")
    write_notebook(source, "04_waits", "import threading", "threading.Event().wait()")
    out.mkdir()
    (out / "02_raises.ipynb").write_text("the last good one")
    (out / ".running-killed").mkdir()
    with pytest.raises(NotebookError) as caught:
        run_notebooks(out=out, source=source, jobs=4, patience=8)
    first, *lines = str(caught.value).splitlines()
    assert first == "3 of 4 notebooks failed"
    told = {line.split(",")[0]: line for line in lines}
    assert "cell 3 of 3 (\"raise KeyError('no such thing')\"): KeyError: 'no such thing'; alone: " in told["02_raises"]
    assert "cell 2 of 2 ('os._exit(1)'): the kernel died, as it does when memory runs out" in told["03_dies"]
    assert re.search(r"cell 2 of 2 .*: stood still: used no processor time for \d+ s; alone: .* run 04_waits$", told["04_waits"])
    assert text_of(out / "01_good.ipynb") == "1\n"
    assert (out / "02_raises.ipynb").read_text() == "the last good one"
    assert sorted(item.name for item in out.iterdir()) == [".lock", "01_good.ipynb", "02_raises.ipynb", "manifest.json"]
    said = capsys.readouterr().out
    assert "4 jobs share" in said or cores() >= 4
    assert re.search(r"02_raises +- +- +failed", said)
    assert re.search(r"01_good +\d+ +\d+ +executed", said)


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


@pytest.mark.parametrize(("value", "kept"), [(np.int64(3), 3), (float("inf"), float("inf")), (Path("a"), "a"), ((1, 2), [1, 2])])
def test_parameters_become_what_json_knows(value, kept):
    assert plain("x", value) == kept


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", {1: 2}, object(), [{3}]])
def test_parameters_that_cannot_be_given_are_refused(value):
    with pytest.raises(InputError, match="expected x to be made of text"):
        plain("x", value)


CELLS = ("import time", "time.sleep(0.5)", "print('done')")
PROGRAM = """
import sys
from xaicl_lib.cli import main, program
import xaicl_lib.publishing.run as run
run.run_notebooks.__kwdefaults__["source"] = sys.argv[1]
sys.argv = ["xaicl", "run", "--jobs", "2", "--out", sys.argv[2]]
sys.exit(program())
"""


def of_this_test(folder):
    """Processes that work for it: their command line or environment names its folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and any(str(folder) in text for text in (*process.cmdline(), *process.environ().values())):
                found.append(process)
    return found


def test_a_run_that_is_killed_leaves_nothing_behind_and_goes_on(tmp_path):
    """Three kills, one of them gentle; each time the processes end within seconds, and what was done is kept."""
    source, out = tmp_path / "notebooks", tmp_path / "out"
    for name in ("01_a", "02_b", "03_c"):
        write_notebook(source, name, *CELLS)

    def start():
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen([sys.executable, "-c", PROGRAM, str(source), str(out)], env=environment, stdout=subprocess.PIPE, text=True)

    done = 0
    for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        child = start()
        kernels = wait_for(lambda: [p for p in of_this_test(tmp_path) if "ipykernel_launcher" in p.cmdline()])
        assert kernels
        if how is signal.SIGTERM:
            wait_for(lambda: list(out.glob("*.ipynb")))
        child.send_signal(how)
        child.wait(120)
        assert wait_for(lambda: not of_this_test(tmp_path)), "nothing of it is left"
        done = len(list(out.glob("*.ipynb")))
        if how is signal.SIGTERM:
            assert done >= 1
            assert not list(out.glob(".running-*"))
    last = start()
    said, _ = last.communicate(timeout=600)
    assert last.returncode == 0
    assert len(re.findall(r"^0\d_\w .*kept$", said, re.MULTILINE)) == done
    assert sorted(item.name for item in out.iterdir() if item.name.startswith(".")) == [".lock"]
    assert all("done" in text_of(path) for path in out.glob("*.ipynb"))


def wait_for(condition, seconds=300):
    """What the condition answers, as soon as it is true."""
    until = time.monotonic() + seconds
    while not (answer := condition()) and time.monotonic() < until:
        time.sleep(0.1)
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


def test_serving_without_a_book_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match="make book"):
        serve(0, out=tmp_path)


# Figures


def test_a_live_notebook_gets_the_figure_itself(monkeypatch):
    monkeypatch.delenv("XAICL_BOOK", raising=False)
    figure = go.Figure()
    assert show(figure, "nothing") is figure


def test_the_book_gets_compact_html_that_text_cannot_break(monkeypatch):
    monkeypatch.setenv("XAICL_BOOK", "1")
    figure = go.Figure(go.Scatter(y=[1, 2], name="</script><!-- é"), layout={"height": 300})
    shown = show(figure, 'a "line"\n <b>rising</b>')
    assert isinstance(shown, BookFigure)
    page = shown._repr_mimebundle_()["text/html"]
    assert page.count("</script") == 1
    assert "<!--" not in page
    assert 'aria-label="a &quot;line&quot; &lt;b&gt;rising&lt;/b&gt;"' in page
    assert "min-height:300px" in page
    spec = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)[1])
    assert spec["data"][0]["name"] == "</script><!-- é"
    assert "template" not in spec["layout"]


def test_a_figure_weighs_little():
    assert len(figure_json(go.Figure(go.Scatter(y=[1, 2])))) < 200  # plotly's default template alone takes 6.5 kB


def test_a_figure_needs_a_description():
    with pytest.raises(ValueError, match="alt"):
        show(go.Figure(), " ")


# Assets


def test_a_package_that_is_not_the_pinned_one_is_refused(tmp_path):
    file = tmp_path / "package.tgz"
    file.write_bytes(b"content")
    digest = base64.b64encode(hashlib.sha512(b"content").digest()).decode()
    _check_integrity(file, f"sha512-{digest}")
    file.write_bytes(b"Content")
    with pytest.raises(InputError, match="not the pinned package"):
        _check_integrity(file, f"sha512-{digest}")


def pack(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for name, kind in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, "/etc/passwd", 2 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"ok"))
    return path


def test_only_the_wanted_parts_are_extracted(tmp_path):
    package = pack(tmp_path / "p.tgz", *[(f"package/{n}", tarfile.REGTYPE) for n in ("a.js", "fonts/f.woff", "b.js", "fontsy/x")])
    _extract(package, tmp_path / "out", ("a.js", "fonts/"))
    found = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert found == ["a.js", "fonts/f.woff"]
    with pytest.raises(InputError, match=r"lacks c\.js"):
        _extract(package, tmp_path / "again", ("a.js", "c.js"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("package/fonts/../../escaped", tarfile.REGTYPE),
        ("package/fonts/link", tarfile.SYMTYPE),
        ("package/fonts/hard", tarfile.LNKTYPE),
        ("package/fonts/device", tarfile.CHRTYPE),
    ],
)
def test_unsafe_members_are_refused(tmp_path, name, kind):
    package = pack(tmp_path / "p.tgz", (name, kind))
    with pytest.raises(InputError, match="unsafe member"):
        _extract(package, tmp_path / "deep" / "out", ("fonts/",))
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["p.tgz"]


def test_without_network_and_cache_the_message_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(InputError, match="could not be fetched"):
        mathjax(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


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
    cells = [
        nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("display_data", {"text/html": html})]) for html in ("<b>1</b>", plot)
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "01_x.ipynb")
    executed = {"01_x": tmp_path / "01_x.ipynb"}
    assert _with_figures("a\n<!-- figure 01_x 1 -->\nb", executed) == f"a\n```{{raw}} html\n{plot}\n```\nb"
    for missing in ("<!-- figure 01_x 2 -->", "<!-- figure 02_y 1 -->"):
        with pytest.raises(NotebookError, match="expected figure"):
            _with_figures(missing, executed)
