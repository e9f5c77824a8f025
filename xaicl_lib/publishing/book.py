"""The book around the executed notebooks: staging its sources, its settings, and the check that its pages hold every output."""

import ipaddress
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import yaml
from bs4 import BeautifulSoup

from xaicl_lib.errors import InputError, NotebookError
from xaicl_lib.publishing.chapters import with_chapters, with_course
from xaicl_lib.publishing.editions import edit_notebook, edited
from xaicl_lib.publishing.quizzes import FILE, Quizzes, moodle_xml, quiz_slides, read_quizzes, section, teachers_page
from xaicl_lib.publishing.reference import notebook_title, write_reference
from xaicl_lib.publishing.site import stamp
from xaicl_lib.publishing.slides import chapter_slides, deck

HIDDEN = {"remove-cell", "remove-output", "remove_cell", "remove_output"}  # tags of cells whose outputs are left out on purpose
PLOT = 'class="xaicl-plot"'


def stage(root: Path, executed: list[Path], source: Path, repository: str | None, edition: str = "reader") -> list[Path]:
    """Lay out in `source` what Jupyter Book reads, in the repository's own layout, so that links between its files hold in both.

    Returns:
        The notebooks there, with solutions as the edition wants them.
    """
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(root / "book", source / "book", ignore=shutil.ignore_patterns(".*"))
    (source / "notebooks").mkdir()
    quizzes = read_quizzes(root / "book" / FILE) if (root / "book" / FILE).is_file() else {}
    staged = [_stage_notebook(path, source / "notebooks" / path.name, edition, quizzes) for path in executed]
    if quizzes and edition != "student":
        _stage_questions(source / "book", quizzes, staged)
    by_name, toc = {path.stem: path for path in executed}, yaml.safe_load(edited((root / "_toc.yml").read_text(), edition))
    slides = source / "extra" / "slides"
    slides.mkdir(parents=True)
    for name, path in by_name.items():
        text = chapter_slides(name, nbformat.read(path, as_version=4), quiz_slides(quizzes.get(name, ()), edition != "student"))
        _stage_slides(text, slides / f"{name}.html", by_name)
    for page in (source / "book").rglob("*.md"):
        text = with_chapters(page.read_text(encoding="utf-8"), toc, by_name)
        text = with_course(text, toc, by_name, {name: len(asked) for name, asked in quizzes.items()})
        if page.name == "slides.md":
            _stage_slides(text, slides / "index.html", by_name)
            page.unlink()
        else:
            page.write_text(edited(_with_figures(text, by_name), edition), encoding="utf-8")
    below = write_reference(source / "book" / "reference", executed)
    (source / "_toc.yml").write_text(yaml.safe_dump(_with_sections(toc, below), sort_keys=False))
    config = _with_repository(yaml.safe_load((root / "_config.yml").read_text()), repository)
    (source / "_config.yml").write_text(yaml.safe_dump(_with_stamp(config, edition), sort_keys=False))
    return staged


def _stage_notebook(path: Path, target: Path, edition: str, quizzes: Quizzes) -> Path:
    notebook = edit_notebook(nbformat.read(path, as_version=4), edition)
    if questions := quizzes.get(path.stem):
        notebook.cells.append(nbformat.v4.new_markdown_cell(section(questions, edition != "student"), id="check-yourself"))
    nbformat.write(notebook, target)
    return target


def _stage_questions(book: Path, quizzes: Quizzes, staged: list[Path]) -> None:
    """The page of all questions and answers, and the file that a learning platform imports."""
    titles = {path.stem: notebook_title(nbformat.read(path, as_version=4)) for path in staged}
    (book / "questions.md").write_text(teachers_page(quizzes, titles), encoding="utf-8")
    (book / "_static").mkdir(exist_ok=True)
    (book / "_static" / "xaicl-moodle.xml").write_bytes(moodle_xml(quizzes, titles))


def _stage_slides(text: str, target: Path, executed: dict[str, Path]) -> None:
    page = deck(text, lambda name, cell: _notebook_figure(name, cell, executed), stamp())
    target.write_text(page, encoding="utf-8")


def _with_stamp(config: dict[str, Any], edition: str) -> dict[str, Any]:
    """Settings with version and date at the foot of every page, and the edition's name where it is not the reader's."""
    which = "" if edition == "reader" else f" · {edition}'s edition"
    html = {**config.get("html", {}), "extra_footer": f'<p class="xaicl-stamp">{stamp()}{which}</p>'}
    title = config["title"] + ("" if edition == "reader" else f" ({edition}'s edition)")
    return {**config, "title": title, "html": html}


def _with_sections(toc: Any, below: dict[str, list[str]]) -> Any:
    """The table of contents with pages put below others: `below` has for a file the files of its sections."""
    if isinstance(toc, list):
        return [_with_sections(entry, below) for entry in toc]
    if not isinstance(toc, dict):
        return toc
    made = {key: _with_sections(value, below) for key, value in toc.items()}
    if files := below.get(made.get("file", "")):
        made["sections"] = [*made.get("sections", []), *({"file": file} for file in files)]
    return made


def _with_figures(text: str, executed: dict[str, Path]) -> str:
    """Prose with each `<!-- figure NOTEBOOK CELL -->` replaced by the figure of that cell of the executed notebook."""

    def figure(match: re.Match[str]) -> str:
        return f"```{{raw}} html\n{_notebook_figure(match[1], match[2], executed)}\n```"

    return re.sub(r"<!-- figure (\w+) ([\w-]+) -->", figure, text)


def _notebook_figure(name: str, cell: str, executed: dict[str, Path]) -> str:
    """HTML of the figure that a cell of an executed notebook shows, the first of several; by its id, which stays when figures are added."""
    cells = nbformat.read(executed[name], as_version=4).cells if name in executed else []
    data = {one.id: "".join(o.data.get("text/html", "")) for one in cells for o in reversed(one.get("outputs", ())) if _is_figure(o)}
    if cell not in data:
        raise NotebookError(f"expected a figure in cell {cell} of notebook {name}; those with figures: {', '.join(data) or 'none'}")
    return data[cell]


def _is_figure(output: Any) -> bool:
    return PLOT in "".join(output.get("data", {}).get("text/html", ""))


def _with_repository(config: dict[str, Any], address: str | None) -> dict[str, Any]:
    """Settings with buttons to the repository at `address` and, where they can read it, to Colab and Binder; without one no buttons."""
    if address is None:
        return config
    html = {**config.get("html", {}), "use_repository_button": True}
    made = {**config, "repository": {"url": address, "branch": "main", "path_to_book": ""}, "html": html}
    if urlsplit(address).hostname == "github.com":
        made["launch_buttons"] = {
            "notebook_interface": "jupyterlab",
            "colab_url": "https://colab.research.google.com",
            "binderhub_url": "https://mybinder.org",
        }
    return made


def repository_address(root: Path) -> str | None:
    """The repository's public https address, from XAICL_REPOSITORY_URL or the git remote `origin`; None if there is none.

    Raises:
        InputError: XAICL_REPOSITORY_URL is set to something that is not a public address.
    """
    if given := os.environ.get("XAICL_REPOSITORY_URL"):
        if (address := _public_address(given)) is None:
            raise InputError(f"expected XAICL_REPOSITORY_URL to be like https://host/owner/name, got {given!r}")
        return address
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _public_address(done.stdout.strip()) if done.returncode == 0 else None


def _public_address(remote: str) -> str | None:
    """The https address of a git remote on a public host, without credentials; None for paths, local hosts and other schemes.

    >>> _public_address("git@github.com:someone/xaicl.git")
    'https://github.com/someone/xaicl'
    >>> _public_address("/home/someone/xaicl") is None
    True
    """
    short = re.fullmatch(r"(?:[\w.-]+@)?([\w.-]+\.[a-zA-Z]+):(?!//)([^\s:]+)", remote)  # user@host:owner/name
    try:
        parts = urlsplit(f"ssh://{short[1]}/{short[2]}" if short else remote)
        host, path = parts.hostname or "", parts.path.strip("/").removesuffix(".git")
        secure_port = parts.scheme == "ssh" or parts.port in (None, 443)
    except ValueError:
        return None
    if parts.scheme not in ("https", "ssh") or not secure_port or not _is_public(host) or not re.fullmatch(r"[\w.~-]+(/[\w.~-]+)+", path):
        return None
    return f"https://{host}/{path}"


def _is_public(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." in host and not host.endswith((".local", ".localhost", ".internal", ".lan"))
    return False  # an address by number is a machine at home, or a test


def check_pages(executed: list[Path], pages: Path) -> None:
    """Compare every notebook with its page: as many cells with output, figures and pictures on the page as in the notebook.

    Raises:
        NotebookError: a page is missing or holds fewer; a build over notebooks without outputs ends well otherwise.
    """
    for path in executed:
        page = pages / f"{path.stem}.html"
        if not page.is_file():
            raise NotebookError(f"{path.name} has no page in the book; is it in _toc.yml?")
        want, got = _notebook_outputs(path), _page_outputs(page.read_text(encoding="utf-8"))
        if want["cells"] == 0:
            raise NotebookError(f"{path.name} holds no outputs at all; it was not executed")
        for kind, count in want.items():
            if got[kind] < count:
                raise NotebookError(f"the page of {path.name} lacks outputs: expected {count} {kind}, found {got[kind]}")


def _notebook_outputs(path: Path) -> dict[str, int]:
    """How many cells with output, figures and pictures an executed notebook holds."""
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.get("outputs") and not HIDDEN & set(c.metadata.get("tags", ()))]
    data = [output.get("data", {}) for cell in cells for output in cell.outputs]
    pages = ["".join(d.get("text/html", "")) for d in data]
    pictures = [d for d in data if "text/html" not in d and any(mime.startswith("image/") for mime in d)]
    return {"cells": len(cells), "figures": sum(text.count(PLOT) for text in pages), "pictures": len(pictures)}


def _page_outputs(text: str) -> dict[str, int]:
    """The same counts of a page's HTML; a place for output that is empty does not count."""
    places = BeautifulSoup(text, "html.parser").select(".cell_output")
    filled = [one for one in places if one.get_text(strip=True) or one.find(["img", "svg", "figure", "canvas", "video", "table", "iframe"])]
    counted = {"figures": ".xaicl-plot", "pictures": "img"}
    return {"cells": len(filled), **{name: sum(len(one.select(what)) for one in places) for name, what in counted.items()}}
