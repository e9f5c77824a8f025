"""Folders to give away: the site as any static host serves it, and one for a room of computers without internet."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat

from xaicl_lib.errors import InputError
from xaicl_lib.files import folder_whole, written_whole
from xaicl_lib.publishing.editions import edit_notebook
from xaicl_lib.publishing.whole import FIRST, OF, digest

SIGN = '{"built": "xaicl '  # how `version.json` begins, by which a site of ours is known; other sites have an index, too
VERSION = re.compile(r"v?\d+(\.\d+)*")
OFFER = '<p class="xaicl-editions" hidden></p>'  # on the first page, until the files are there
BESIDE = ("jupyterlab>=4.2",)  # what a student needs beside the package to open a notebook
START = '''"""Shows the book on this computer, for the browsers of this room: python serve.py [PORT]. Needs nothing but Python."""

import functools
import http.server
import pathlib
import sys

folder = pathlib.Path(__file__).resolve().parent / "site"
port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
print(f"The book is at http://localhost:{port}/ here, and at http://<this computer's address>:{port}/ in the room. Ctrl-C stops it.")
http.server.ThreadingHTTPServer(("", port), handler).serve_forever()
'''
README = """# The book of a course, to copy

- `site/` is the whole book with its slides. `python serve.py` shows it; any web server will do, too. Opened as files, without a server,
  the text can be read, but live parts do not work.
- `notebooks/` are the chapters to run, without solutions; `results/` holds the larger tables that they show.
- `wheels/` is what they need, for {platform} and Python {python}. On each computer, without internet:

      python -m venv course
      course/bin/python -m pip install --no-index --find-links wheels "xaicl_lib[views]" jupyterlab
      course/bin/python -m jupyterlab notebooks

  (on Windows `course\\Scripts\\python` instead of `course/bin/python`).

Made {date}, version {version}.
"""


def stamp() -> str:
    """Version of the library and date of the build, as every page carries them; SOURCE_DATE_EPOCH sets the date."""
    from xaicl_lib import __version__

    seconds = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    return f"xaicl {__version__}, built {time.strftime('%Y-%m-%d', time.gmtime(seconds))}"


def make_site(book: Path, folder: Path, editions: Path | None = None) -> Path:
    """Copy a built book into `folder`, ready to be served from anywhere; what was there before is replaced.

    The site's first page offers the PDF and the ePub in the folder `editions`, if they are of its pages.

    Raises:
        InputError: no book, a folder of which it is a part or the other way round, or one that holds something else.
    """
    _require_book(book, folder)
    with folder_whole(folder, _is_site) as fresh:
        shutil.copytree(book, fresh, ignore=shutil.ignore_patterns(".buildinfo", ".doctrees"), dirs_exist_ok=True)
        (fresh / ".nojekyll").touch()  # GitHub Pages would leave out folders that begin with an underscore
        (fresh / "version.json").write_text(json.dumps({"built": stamp()}) + "\n")
        _offer(book, fresh, editions)
    return folder


def _is_site(folder: Path) -> bool:
    sign = folder / "version.json"
    return sign.is_file() and sign.read_text(encoding="utf-8", errors="replace").startswith(SIGN)


def _offer(book: Path, site: Path, editions: Path | None) -> None:
    """Put the book's files into the site and links to them where its first page has room for them."""
    page = site / FIRST
    files = {kind: editions / f"xaicl.{kind.lower()}" for kind in ("PDF", "ePub")} if editions else {}
    if editions is None or not all(file.is_file() for file in (page, *files.values(), editions / OF)):
        return
    if (editions / OF).read_text().strip() != digest(book):
        print("the PDF and the ePub are of other pages than the book's and are left out; `make editions` makes them anew")
        return
    (site / "editions").mkdir()
    for file in files.values():
        shutil.copy(file, site / "editions")
    links = [f'<a href="../editions/{file.name}" download>{kind}</a> ({file.stat().st_size / 1e6:.0f} MB)' for kind, file in files.items()]
    offer = OFFER.replace(" hidden>", f">The whole book as one file, to print or to read without a network: {' or '.join(links)}.")
    page.write_text(page.read_text(encoding="utf-8").replace(OFFER, offer), encoding="utf-8")


def make_version(book: Path, folder: Path, version: str, editions: Path | None = None) -> Path:
    """Copy a built book below a site's folder as one of its versions; the others there stay, and every page leads to them.

    `versions.json` in the folder lists what it holds, the newest first, and its index leads to the newest. A version is such as "v0.2";
    `editions` are as for `make_site`.

    Raises:
        InputError: no version, or as for `make_site`.
    """
    if not VERSION.fullmatch(version):
        raise InputError(f"expected a version such as v0.2, got {version!r}")
    _require_book(book, folder)
    known = _listed(folder)
    if known is None:
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"expected an empty folder or a site with versions, got {str(folder)!r}, which holds something else")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "versions.json").write_text("[]\n")  # what such a site is known by comes first: one that was stopped goes on
    with folder_whole(folder / version, _is_site) as fresh:
        make_site(book, fresh, editions)
        for page in fresh.rglob("*.html"):
            text = page.read_text(encoding="utf-8")
            page.write_text(text.replace("<html ", f'<html data-xaicl-version="{version}" ', 1), encoding="utf-8")
    versions = sorted({*(known or ()), version}, key=lambda one: [int(part) for part in re.findall(r"\d+", one)], reverse=True)
    with written_whole(folder / "versions.json") as part:
        part.write_text(json.dumps(versions) + "\n")
    (folder / "index.html").write_text(f'<meta http-equiv="Refresh" content="0; url={versions[0]}/index.html" />\n')
    (folder / ".nojekyll").touch()
    return folder / version


def _listed(folder: Path) -> list[str] | None:
    """The versions that a site says it holds; None of what is no such site."""
    try:
        found = json.loads((folder / "versions.json").read_text(encoding="utf-8"))
        return list(found) if all(VERSION.fullmatch(one) for one in found) else None
    except (OSError, ValueError, TypeError):  # none there, or another program's
        return None


def make_classroom(root: Path, book: Path, folder: Path, *, wheels: bool = True) -> Path:
    """One folder to copy: the site, a server of it, the notebooks without solutions, and the wheels to run them.

    Wheels are those of this platform and version of Python: some hundred megabytes, with CUDA gigabytes.

    Raises:
        InputError: wheels that could not be had, or as for `make_site`.
    """
    from xaicl_lib import __version__

    _require_book(book, folder)
    with folder_whole(folder, lambda made: (made / "serve.py").is_file() and _is_site(made / "site")) as fresh:
        make_site(book, fresh / "site")
        (fresh / "serve.py").write_text(START)
        if (root / "results").is_dir():
            shutil.copytree(root / "results", fresh / "results")
        (fresh / "notebooks").mkdir()
        for path in sorted((root / "notebooks").glob("*.ipynb")):
            nbformat.write(edit_notebook(nbformat.read(path, as_version=4), "student"), fresh / "notebooks" / path.name)
        facts = {"platform": sys.platform, "python": f"{sys.version_info.major}.{sys.version_info.minor}", "version": __version__}
        (fresh / "README.md").write_text(README.format(**facts, date=time.strftime("%Y-%m-%d")))
        if wheels:
            _fetch_wheels(root, fresh / "wheels")
    return folder


def _fetch_wheels(root: Path, folder: Path, extra: str = "[views]", beside: tuple[str, ...] = BESIDE) -> None:
    """Put the package's wheel and those of all it needs into a folder."""
    command = [sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "--wheel-dir", str(folder), f"{root}{extra}", *beside]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"the wheels could not be had: {' '.join(done.stderr.split())[-300:]}")


def _require_book(book: Path, folder: Path) -> None:
    """A book is there, and neither it nor the folder that it is copied to lies in the other."""
    if not (book / "index.html").is_file():
        raise InputError(f"expected a book in {book}, found none; `make book` builds it")
    here, there = book.resolve(), folder.resolve()
    if here.is_relative_to(there) or there.is_relative_to(here):
        raise InputError(f"expected a folder apart from the book's, {str(book)!r}, got {str(folder)!r}")
