"""Three editions of one source: solutions folded for readers, open for teachers, left out for classes.

A solution is a dropdown whose title begins with Answer or Solution; an admonition titled For teachers is for their edition alone.
"""

import re
from collections.abc import Callable

import nbformat

from xaicl_lib.errors import require

EDITIONS = {"reader": "solutions are folded", "teacher": "solutions are open, with notes for teachers", "student": "no solutions"}
_ANSWERS = re.compile(r"^.*(?:book/questions$|\(questions\.md\)).*\n", re.MULTILINE)  # what leads to the page of all answers
_OPENING = re.compile(r"^(?P<fence>:{3,}|`{3,})\{(?P<kind>dropdown|admonition)\}\s*(?P<title>.*?)\s*$")


def edited(text: str, edition: str) -> str:
    """Markdown for an edition.

    Raises:
        InputError: no such edition.
    """
    require("edition", EDITIONS, edition)
    text = _ANSWERS.sub("", text) if edition == "student" else text
    keep: dict[str, Callable[[list[str]], list[str]]] = {
        "reader": lambda block: [] if _is_note(block) else block,
        "teacher": lambda block: [block[0], ":open:", *block[1:]] if _is_solution(block) else block,
        "student": lambda _: [],
    }
    lines, made, k = text.split("\n"), [], 0
    while k < len(lines):
        end = _end(lines, k)
        block = lines[k : end + 1]
        marked = end > k and (_is_note(block) or _is_solution(block))
        made += keep[edition](block) if marked else [lines[k]]
        k = end + 1 if marked else k + 1
    return "\n".join(made)


def edit_notebook(notebook: nbformat.NotebookNode, edition: str) -> nbformat.NotebookNode:
    """The notebook with the Markdown of each cell for an edition, in place."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = edited(cell.source, edition)
    return notebook


def _end(lines: list[str], start: int) -> int:
    """The line that closes the directive opened on line `start`; that line itself if none is opened or it stays open."""
    opened = _OPENING.match(lines[start])
    if opened is None:
        return start
    return next((k for k in range(start + 1, len(lines)) if lines[k].rstrip() == opened["fence"]), start)


def _is_solution(block: list[str]) -> bool:
    opened = _OPENING.match(block[0])
    return opened is not None and opened["kind"] == "dropdown" and opened["title"].lower().startswith(("answer", "solution"))


def _is_note(block: list[str]) -> bool:
    opened = _OPENING.match(block[0])
    return opened is not None and opened["kind"] == "admonition" and opened["title"].lower() == "for teachers"
