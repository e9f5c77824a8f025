"""A deck of slides from a Markdown file: one page of HTML that needs nothing but the book's own scripts, scrolls, and prints.

Slides are separated by lines of `---`. What follows a line `Notes:` is for the speaker. `<!-- figure NOTEBOOK CELL -->` shows a figure of
the book's run, as in the book's own prose.
"""

import html
import re
from collections.abc import Callable, Sequence
from string import Template

import nbformat
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from xaicl_lib.publishing.chapters import about
from xaicl_lib.publishing.reference import notebook_title

_PAGE = Template("""<!doctype html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<meta name="description" content="$description">
<link rel="icon" href="../_static/favicon.svg">
<link rel="stylesheet" href="../_static/slides.css">
<script>window.MathJax = {options: {ignoreHtmlClass: "deck", processHtmlClass: "math"}};</script>
<script defer src="../_static/mathjax/es5/tex-chtml-full.js"></script>
<script defer src="../_static/slides.js"></script>
<script defer src="../_static/xaicl.js"></script>
</head>
<body class="deck">
<main>
$slides
</main>
<nav class="bar" aria-label="Slides">
<a href="../index.html">To the book</a>
<span class="hint">arrow keys move, N shows notes</span>
<button type="button" id="notes" aria-pressed="false">Notes</button>
<output id="place" aria-live="polite">1 / $count</output>
</nav>
<footer class="about">$about</footer>
</body>
</html>
""")


def deck(text: str, figure: Callable[[str, str], str], about: str = "") -> str:
    """The deck's page: of its Markdown, with `figure(notebook, cell)` for the figure of a cell by its id, and `about` on the last slide."""
    parts = [part.strip() for part in re.split(r"^---$", text, flags=re.MULTILINE) if part.strip()]
    slides = [_slide(part, number, figure) for number, part in enumerate(parts, start=1)]
    title = next((line[2:] for line in text.splitlines() if line.startswith("# ")), "Slides")
    said = next((line for line in text.splitlines() if len(line) > 40 and line[0].isalpha()), title)
    return _PAGE.substitute(
        title=html.escape(title),
        description=html.escape(said, quote=True),
        slides="\n".join(slides),
        count=len(slides),
        about=html.escape(about),
    )


def chapter_slides(name: str, notebook: nbformat.NotebookNode, questions: Sequence[str] = ()) -> str:
    """A chapter's deck in Markdown: its question, a slide for each figure with the prose around it as notes, its limits and its summary.

    Of the executed notebook directives are left out, solutions and notes for teachers among them. Questions are slides before the summary.
    """
    slides: list[_Slide] = [_opening(notebook)]
    heading, waiting = "", list[str]()
    lists: dict[str, list[str]] = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if _has_figure(cell):
                slides.append((heading, f"<!-- figure {name} {cell.id} -->", waiting))
                waiting = []
            continue
        for block in _blocks(cell.source):
            if found := re.match(r"#+ (.*)", block):
                _told(slides, heading, waiting)
                heading, waiting = found[1], []
            elif heading in LISTED and block.startswith(("- ", "**")):
                lists.setdefault(heading, []).append(block)
            else:
                waiting.append(block)
    closing: list[_Slide] = [(one, "\n\n".join(lists[one]), []) for one in LISTED if one in lists]
    _told(slides, heading, waiting)
    made = [_deck_slide(*one) for one in slides] + list(questions) + [_deck_slide(*one) for one in closing]
    return "\n---\n".join(made)


_Slide = tuple[str, str, list[str]]  # a heading, what is shown, and what the speaker says
LISTED = ("Exercises", "What this page does not show", "Summary")  # sections whose text is what is shown


def _opening(notebook: nbformat.NotebookNode) -> _Slide:
    """The first slide, under the chapter's title: what one will know."""
    first = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    blocks = _blocks(first)
    return (
        f"# {notebook_title(notebook)}",
        f"You will know {_unlinked(about(first, 'You will know'))}.",
        [one for one in blocks[1:] if "\n: " not in one],
    )


def _told(slides: list[_Slide], heading: str, waiting: list[str]) -> None:
    """What follows a section's last figure is said with it."""
    if slides[-1][0] == heading:
        slides[-1][2].extend(waiting)


def _deck_slide(heading: str, shown: str, notes: Sequence[str]) -> str:
    head = heading if heading.startswith("# ") else f"## {heading}"
    said = "\n\nNotes:\n" + "\n\n".join(notes) if notes else ""
    return f"{head}\n\n{shown}{said}\n"


def _has_figure(cell: nbformat.NotebookNode) -> bool:
    return any('class="xaicl-plot"' in "".join(one.get("data", {}).get("text/html", "")) for one in cell.get("outputs", ()))


def _blocks(text: str) -> list[str]:
    """Paragraphs, lists and headings of a cell as plain Markdown: without directives, references and links."""
    text = re.sub(r"^(:{3,}|`{3,}).*?^\1\s*$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [block.strip() for block in re.split(r"\n{2,}", _unlinked(text)) if block.strip() and not block.startswith(("|", "("))]


def _unlinked(text: str) -> str:
    """Markdown without links, citations and comments.

    >>> _unlinked("as [they](a.ipynb#x) say {cite:p}`x2020y`.")
    'as they say.'
    """
    text = re.sub(r"\s*\{cite:p\}`[^`]*`|\{cite:t\}`[^`]*`|<!--.*?-->", "", text)
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)


def _slide(text: str, number: int, figure: Callable[[str, str], str]) -> str:
    shown, _, notes = text.partition("\nNotes:\n")
    body = _render(shown)
    body = re.sub(r"<!-- figure (\w+) ([\w-]+) -->", lambda match: figure(match[1], match[2]), body)
    heading = re.search(r"<h[12]>(.*?)</h[12]>", body)
    label = html.unescape(re.sub(r"<.*?>", "", heading[1])) if heading else f"Slide {number}"
    kind = " title" if body.lstrip().startswith("<h1>") else ""
    said = f'\n<aside class="notes" aria-label="Notes">{_render(notes)}</aside>' if notes.strip() else ""
    start = f'<section id="s{number}" class="slide{kind}" aria-label="{html.escape(label, quote=True)}" tabindex="-1">'
    return f'{start}\n<div class="body">{body}</div>{said}\n</section>'


def _render(text: str) -> str:
    """Markdown as HTML; formulas stay as MathJax reads them."""
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    reader.use(dollarmath_plugin, renderer=_formula)
    return str(reader.render(text)).replace("<img ", '<img loading="lazy" ')


def _formula(content: str, options: dict[str, bool]) -> str:
    ends = (r"\[", r"\]") if options.get("display_mode") else (r"\(", r"\)")
    return f'<span class="math">{ends[0]}{html.escape(content)}{ends[1]}</span>'
