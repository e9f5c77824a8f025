"""What the first page says of every chapter, taken from the chapters themselves: title, time to read, what a reader will know."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat

from xaicl_lib.publishing.reference import notebook_title

MARK = "<!-- chapters -->"
TABLE = "<!-- course -->"


def with_chapters(text: str, toc: dict[str, Any], executed: Mapping[str, Path]) -> str:
    """The text with `<!-- chapters -->` replaced by a list of the notebooks in the table of contents, part by part."""
    return text.replace(MARK, _chapter_list(toc, executed)) if MARK in text else text


def with_course(text: str, toc: dict[str, Any], executed: Mapping[str, Path], questions: Mapping[str, int]) -> str:
    """The text with `<!-- course -->` replaced by a table of the notebooks in the table of contents, for whoever plans a course.

    `questions` says how many each asks at its end.
    """
    if TABLE not in text:
        return text
    names = [Path(file).name for _, files in _parts(toc) for file in files if Path(file).name in executed]
    rows = [_row(executed[name], questions.get(name, 0)) for name in names]
    head = "| chapter | what there is | students will know |\n| --- | --- | --- |"
    minutes, asked = sum(one[0] for one in rows), sum(questions.get(name, 0) for name in names)
    last = f"| **all {len(names)}** | **{minutes} minutes, {asked} questions** | |"
    return text.replace(TABLE, "\n".join([head, *(line for _, line in rows), last]))


def _row(path: Path, questions: int) -> tuple[int, str]:
    """Minutes to read, and the chapter's line of the table."""
    notebook = nbformat.read(path, as_version=4)
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    minutes = re.match(r"(\d+) minutes", about(texts[0], "Time"))
    exercises = len(re.findall(r"^\*\*\d+\. .+?\*\*", "\n".join(texts), re.MULTILINE))
    title, known = (one.replace("|", "\\|") for one in (notebook_title(notebook), about(texts[0], "You will know")))
    there = {"minutes": minutes[1] if minutes else "", "exercises": exercises, "questions": questions}
    counted = ", ".join(f"{count}\N{NO-BREAK SPACE}{what}" for what, count in there.items() if count)
    cells = f"[{title}](../notebooks/{path.name})", f'{counted}, <a href="../slides/{path.stem}.html">slides</a>', known
    return int(minutes[1]) if minutes else 0, f"| {' | '.join(cells)} |"


def _chapter_list(toc: dict[str, Any], executed: Mapping[str, Path]) -> str:
    """Markdown: under each part's name a line for each of its notebooks."""
    made = []
    for caption, files in _parts(toc):
        lines = [_line(executed[Path(file).name]) for file in files if Path(file).name in executed]
        if lines:
            made.append(f"**{caption}**\n\n" + "\n".join(lines) if caption else "\n".join(lines))
    return "\n\n".join(made)


def _parts(toc: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for part in toc.get("parts", [toc]):
        yield part.get("caption", ""), [e["file"] for e in part.get("chapters", []) if e.get("file", "").startswith("notebooks/")]


def _line(path: Path) -> str:
    notebook = nbformat.read(path, as_version=4)
    first = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    time, known = about(first, "Time"), about(first, "You will know")
    minutes = re.match(r"\d+ minutes", time)
    head = f"[{notebook_title(notebook)}](../notebooks/{path.name})" + (f", *{minutes[0]}*" if minutes else "")
    return f"- {head}: {known}" if known else f"- {head}"


def about(text: str, term: str) -> str:
    """What a page says after `term` in the list under its title; empty if it says nothing.

    >>> about("Time\\n: 25 minutes to read\\n\\nYou will know\\n: a lot", "Time")
    '25 minutes to read'
    """
    found = re.search(rf"^{term}\n: (.+?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return " ".join(found[1].split()) if found else ""
