"""Folders to give away, and what stands at the foot of every page."""

import errno
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest

from xaicl_lib import __version__
from xaicl_lib.cli import main
from xaicl_lib.errors import InputError
from xaicl_lib.publishing.book import _with_sections, _with_stamp
from xaicl_lib.publishing.run import ROOT
from xaicl_lib.publishing.site import OFFER, _fetch_wheels, make_classroom, make_site, make_version, stamp
from xaicl_lib.publishing.whole import OF, digest


@pytest.fixture
def book(tmp_path):
    folder = tmp_path / "html"
    (folder / "_static").mkdir(parents=True)
    for name in ("index.html", ".buildinfo", "_static/a.css"):
        (folder / name).write_text(name)
    return folder


def test_the_stamp_says_version_and_date(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert stamp() == f"xaicl {__version__}, built 1970-01-02"
    config = {"title": "T", "html": {"favicon": "f"}}
    assert _with_stamp(config, "reader") == {
        "title": "T",
        "html": {"favicon": "f", "extra_footer": f'<p class="xaicl-stamp">xaicl {__version__}, built 1970-01-02</p>'},
    }
    teacher = _with_stamp(config, "teacher")
    assert teacher["title"] == "T (teacher's edition)"
    assert "teacher's edition" in teacher["html"]["extra_footer"]


def test_a_site_is_made_and_made_again_but_never_over_something_else(book, tmp_path):
    site = make_site(book, tmp_path / "site")
    assert sorted(p.relative_to(site).as_posix() for p in site.rglob("*") if p.is_file()) == [
        ".nojekyll", "_static/a.css", "index.html", "version.json",
    ]  # fmt: skip
    (site / "old.html").write_text("")
    make_site(book, site)
    assert not (site / "old.html").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="holds something else"):
        make_site(book, mine)
    assert (mine / "thesis.tex").exists()
    with pytest.raises(InputError, match="make book"):
        make_site(tmp_path / "nothing", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "own",
    [
        {"index.html": "<h1>mine</h1>", "thesis.txt": "all of it"},
        {"index.html": "", ".nojekyll": "", "version.json": '{"app_name": "mine"}', "thesis.txt": "all of it"},
        {"serve.py": "mine", "thesis.txt": "all of it"},
        {"versions.json": '[{"version": "1.0"}]', "thesis.txt": "all of it"},
        {"versions.json": "7", "v1/index.html": "mine"},
        {"versions.json": '["v1"]', "v1/index.html": "mine"},
    ],
)
def test_a_site_of_somebody_else_stays(book, tmp_path, own):
    folder = tmp_path / "own"
    for name, text in own.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for make in (make_site, lambda *given: make_version(*given, "v1"), lambda *given: make_classroom(tmp_path, *given, wheels=False)):
        with pytest.raises(InputError, match="holds something else"):
            make(book, folder)
    assert {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()} == own
    assert sorted(path.name for path in tmp_path.iterdir()) == ["html", "own"]


def test_versions_stay_where_a_site_without_is_asked_for(book, tmp_path):
    make_version(book, tmp_path / "site", "v1")
    with pytest.raises(InputError, match="holds something else"):
        make_site(book, tmp_path / "site")
    assert (tmp_path / "site" / "v1" / "index.html").is_file()


@pytest.mark.parametrize("place", [".", "..", "site", "_static/site"])
def test_a_book_is_not_copied_over_or_into_itself(book, tmp_path, place):
    before = sorted(tmp_path.rglob("*"))
    for make in (make_site, lambda *given: make_version(*given, "v1"), lambda *given: make_classroom(tmp_path, *given, wheels=False)):
        with pytest.raises(InputError, match="expected a folder apart from the book's"):
            make(book, book / place)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_stopped_is_made_the_next_time_and_the_old_one_stands_until_then(book, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    def make(kind):
        if kind == "site":
            return make_site(book, tmp_path / kind) / "index.html"
        if kind == "versions":
            return make_version(book, tmp_path / kind, "v1") / "index.html"
        return make_classroom(tmp_path, book, tmp_path / kind, wheels=False) / "site" / "index.html"

    for kind in ("site", "versions", "classroom") * 2:  # the first one, and one over an older
        with monkeypatch.context() as patch:
            patch.setattr("xaicl_lib.publishing.site._offer", stop)
            there = sorted(tmp_path.rglob("*.html"))
            with pytest.raises(KeyboardInterrupt):
                make(kind)
            assert sorted(tmp_path.rglob("*.html")) == there
        assert make(kind).read_text() == "index.html"
    assert not list(tmp_path.rglob(".xaicl-*"))


def test_a_full_disk_is_one_line_and_no_half_site(book, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(InputError, match=r"expected a folder that can be written, got '.*site': \[Errno 28\] No space left on device$"):
        make_site(book, tmp_path / "site")
    assert [path.name for path in tmp_path.iterdir()] == ["html"]


def test_a_site_offers_the_book_as_files_that_were_made_of_it(book, tmp_path, capsys):
    page = book / "book" / "intro.html"
    page.parent.mkdir()
    nav = '<nav class="bd-docs-nav"><ul><li class="toctree-l1"><a href="#">T</a></li></ul></nav>'
    page.write_text(f"{nav}<article><h1>T</h1>{OFFER}<p>rest</p></article>")
    files = [tmp_path / "editions" / name for name in ("xaicl.pdf", "xaicl.epub")]
    files[0].parent.mkdir()
    files[0].write_bytes(b"x" * 2_400_000)
    site = tmp_path / "site"
    assert "hidden" in (make_site(book, site, files[0].parent) / "book" / "intro.html").read_text()  # one of them is not there
    files[1].write_bytes(b"x" * 600_000)
    (files[0].parent / OF).write_text(digest(book))
    told = (make_site(book, site, files[0].parent) / "book" / "intro.html").read_text()
    assert "hidden" not in told
    assert (
        '<a href="../editions/xaicl.pdf" download>PDF</a> (2 MB) or <a href="../editions/xaicl.epub" download>ePub</a> (1 MB).</p><p>rest'
        in told
    )
    assert (site / "editions" / "xaicl.pdf").stat().st_size == 2_400_000
    page.write_text(page.read_text().replace("<nav", "<nav id='other'"))
    assert "hidden" not in (make_site(book, site, files[0].parent) / "book" / "intro.html").read_text()  # the page says the same
    page.write_text(page.read_text().replace("rest", "more"))
    assert "hidden" in (make_site(book, site, files[0].parent) / "book" / "intro.html").read_text()
    assert "of other pages" in capsys.readouterr().out
    assert not (site / "editions").exists()
    assert OFFER in (ROOT / "book" / "intro.md").read_text()


def test_a_site_holds_versions_side_by_side(book, tmp_path):
    site = tmp_path / "site"
    (book / "a.html").write_text('<html lang="en"><p>&lt;html </p>')
    for version in ("v0.9", "v0.10", "v0.9"):
        made = make_version(book, site, version)
        assert (made / "a.html").read_text() == f'<html data-xaicl-version="{version}" lang="en"><p>&lt;html </p>'
    assert json.loads((site / "versions.json").read_text()) == ["v0.10", "v0.9"]  # by number
    assert "url=v0.10/index.html" in (site / "index.html").read_text()
    assert "data-xaicl" not in (book / "a.html").read_text()
    for version in ("../up", "v0.2/x", "new", ""):
        with pytest.raises(InputError, match="expected a version such as"):
            make_version(book, site, version)
    plain = make_site(book, tmp_path / "plain")
    with pytest.raises(InputError, match="holds something else"):
        make_version(book, plain, "v1")


def test_the_classroom_serves_itself_with_python_alone(book, tmp_path):
    root = tmp_path / "checkout"
    (root / "notebooks").mkdir(parents=True)
    cells = [nbformat.v4.new_markdown_cell("ask\n\n:::{dropdown} Solution\nforty-two\n:::")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), root / "notebooks" / "01_a.ipynb")
    made = make_classroom(root, book, tmp_path / "classroom", wheels=False)
    given = (made / "notebooks" / "01_a.ipynb").read_text()
    assert "ask" in given
    assert "forty-two" not in given
    assert "--no-index --find-links wheels" in (made / "README.md").read_text()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-I", str(made / "serve.py"), str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert _get(f"http://127.0.0.1:{port}/index.html") == b"index.html"
    finally:
        server.terminate()
        server.wait(10)


def _get(address):
    for _ in range(100):
        try:
            return urllib.request.urlopen(address, timeout=5).read()
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server did not answer")


def test_wheels_that_cannot_be_had_are_said_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(InputError, match="wheels could not be had"):
        _fetch_wheels(tmp_path / "no_project_here", tmp_path / "wheels", "", ())


def test_generated_pages_join_the_table_of_contents():
    toc = {"root": "a", "parts": [{"caption": "c", "chapters": [{"file": "b"}, {"file": "api"}]}]}
    made = _with_sections(toc, {"api": ["api_x", "api_y"]})
    assert made["parts"][0]["chapters"] == [{"file": "b"}, {"file": "api", "sections": [{"file": "api_x"}, {"file": "api_y"}]}]
    assert toc["parts"][0]["chapters"][1] == {"file": "api"}


def test_the_command_line_makes_a_site_or_says_why_not(book, tmp_path, capsys):
    assert main(["site", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "site" / "index.html").is_file()
    assert main(["site", "--out", str(tmp_path / "nowhere")]) == 2
    assert "make book" in capsys.readouterr().err
    assert main(["site", "--out", str(tmp_path), "--version", ""]) == 2
    assert "expected a version such as v0.2, got ''" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["site", "--out", str(tmp_path), "--version", "v0.2", "--classroom"])
    assert "--classroom: not allowed with argument --version" in capsys.readouterr().err
    assert main(["links", "--out", str(tmp_path)]) == 2
    assert "expected the sources of a book" in capsys.readouterr().err
