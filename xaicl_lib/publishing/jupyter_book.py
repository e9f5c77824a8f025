"""Jupyter Book on the staged sources: pages, and the check of links to other hosts."""

import os
import re
import shutil
from pathlib import Path

from xaicl_lib.errors import InputError, NotebookError
from xaicl_lib.publishing.pool import guarded, surroundings


def build_html(source: Path, work: Path) -> Path:
    """Build the staged book from nothing; every warning is an error."""
    shutil.rmtree(work, ignore_errors=True)
    log = source.parent / "jupyter-book.log"
    print("Jupyter Book: building", flush=True)
    code, said = _build(source, work, "-W", "-n", "--keep-going")
    log.write_text(said)
    html = work / "_build" / "html"
    if code or not (html / "index.html").is_file():
        found = [line for line in said.splitlines() if "WARNING" in line or "ERROR" in line] or said.splitlines()[-5:]
        raise NotebookError(f"Jupyter Book failed, its log is {log}: " + "; ".join(found[:5]))
    return html


def check_outer_links(out: str | os.PathLike[str] = "_build") -> None:
    """Ask every address on other hosts that the staged book links to; what was answered is in `<out>/links/output.txt`.

    Raises:
        InputError: no book was built here.
        NotebookError: names the addresses that do not answer.
    """
    base = Path(out).resolve()
    source, work = base / "src", base / "work-links"
    if not (source / "_toc.yml").is_file():
        raise InputError(f"expected the sources of a book in {source}, found none; `make book` puts them there")
    shutil.rmtree(work, ignore_errors=True)
    _, said = _build(source, work, "--builder", "linkcheck")
    answers = work / "_build" / "linkcheck" / "output.txt"
    if not answers.is_file():
        raise NotebookError(f"the links were not asked: {' '.join(said.split())[-300:]}")
    (base / "links").mkdir(exist_ok=True)
    shutil.copy2(answers, base / "links" / "output.txt")
    shutil.rmtree(work)
    broken = [line for line in (base / "links" / "output.txt").read_text().splitlines() if "[broken]" in line]
    if broken:
        raise NotebookError(f"{len(broken)} links do not answer: " + "; ".join(broken[:8]))
    print("every link to another host answers")


def _build(source: Path, work: Path, *options: str) -> tuple[int, str]:
    """Jupyter Book's exit code, and what it said, without its colours."""
    arguments = ["jupyter_book.cli.main:main", "build", str(source), "--path-output", str(work), *options]  # it has no -m form
    code, said = guarded(arguments, surroundings())
    return code, re.sub(r"\x1b\[[0-9;]*m", "", said)
