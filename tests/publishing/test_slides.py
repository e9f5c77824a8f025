"""The deck: slides, notes, formulas and figures from Markdown."""

import nbformat
import pytest

from xaicl_lib.publishing.chapters import with_course
from xaicl_lib.publishing.quizzes import quiz_slides
from xaicl_lib.publishing.slides import chapter_slides, deck

TEXT = """# Why <these>?

A line that is long enough to be the description of it all.

Notes:
Say **hello**.
---
## A figure & a formula

<!-- figure 01_a c-2 -->

$a < b$ and

$$ |x| $$
---
no heading here
"""


def test_a_deck_has_its_slides_notes_figures_and_formulas():
    page = deck(TEXT, lambda name, cell: f"<figure>{name} {cell}</figure>", "version <1>")
    assert page.count('<section id="s') == 3
    assert "1 / 3" in page
    assert "<title>Why &lt;these&gt;?</title>" in page
    assert 'content="A line that is long enough' in page
    assert '<section id="s1" class="slide title"' in page
    assert '<aside class="notes" aria-label="Notes"><p>Say <strong>hello</strong>.</p>' in page
    assert "Notes:" not in page
    assert "<figure>01_a c-2</figure>" in page
    assert r'<span class="math">\(a &lt; b\)</span>' in page
    assert r"\[" in page
    assert "|x|" in page
    assert 'aria-label="A figure &amp; a formula"' in page
    assert 'aria-label="Slide 3"' in page
    assert "version &lt;1&gt;" in page
    assert page.count('class="notes"') == 1


@pytest.fixture
def chapter():
    shown = nbformat.v4.new_output("display_data", {"text/html": '<div class="xaicl-plot"></div>'})
    markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    first = "# Why?\n\nA [first](a.ipynb) line {cite:p}`x`.\n\nTime\n: 25 minutes to read\n\nYou will know\n: how | why"
    cells = [
        markdown(first), code("x", id="c0"), markdown("## Look\n\nBefore."), code("show(1)", id="c1", outputs=[shown]),
        markdown("After.\n\n:::{dropdown} Solution\nforty-two\n:::\n\n| a | b |\n| --- | --- |\n\n## No figure\n\nProse."),
        markdown("## Exercises\n\n**1. Predict.** What?\n\nRun:\n\n**2. Write it.** Do."), markdown("## Summary\n\n- one\n- two"),
    ]  # fmt: skip
    return nbformat.v4.new_notebook(cells=cells)


def test_a_chapter_has_a_slide_for_each_figure_with_its_prose_as_notes(chapter):
    made = chapter_slides("01_a", chapter, ["## Vote\n"]).split("\n---\n")
    assert [one.split("\n", 1)[0] for one in made] == ["# Why?", "## Look", "## Vote", "## Exercises", "## Summary"]
    assert made[0] == "# Why?\n\nYou will know how | why.\n\nNotes:\nA first line.\n"
    assert made[1] == "## Look\n\n<!-- figure 01_a c1 -->\n\nNotes:\nBefore.\n\nAfter.\n"
    assert made[3] == "## Exercises\n\n**1. Predict.** What?\n\n**2. Write it.** Do.\n"


def test_a_question_is_put_to_the_vote_with_its_answer_in_the_notes():
    options = [{"text": "yes", "right": True, "says": "For *it* is."}, {"text": "no", "right": False, "says": "It is."}]
    (made,) = quiz_slides([{"id": "q", "kind": "choice", "ask": "Is it?", "options": options}, {"id": "n", "kind": "number"}])
    assert made.startswith("## Vote\n\nIs it?\n\n- **A** ")
    assert made.endswith("Notes:\nyes For \\*it\\* is.\n")
    (without,) = quiz_slides([{"id": "q", "kind": "choice", "ask": "Is it?", "options": options}], answers=False)
    assert without == made.partition("\nNotes:")[0]


def test_all_chapters_stand_in_one_table(chapter, tmp_path):
    path = tmp_path / "01_a.ipynb"
    nbformat.write(chapter, path)
    toc = {"parts": [{"caption": "P", "chapters": [{"file": "notebooks/01_a"}, {"file": "book/x"}]}]}
    rows = with_course("<!-- course -->", toc, {"01_a": path}, {"01_a": 4}).splitlines()
    link = '<a href="../slides/01_a.html">slides</a>'
    counts = "25 minutes, 2 exercises, 4 questions".replace(", ", ",").replace(" ", "\N{NO-BREAK SPACE}").replace(",", ", ")
    assert rows[2] == f"| [Why?](../notebooks/01_a.ipynb) | {counts}, {link} | how \\| why |"
    assert rows[3] == "| **all 1** | **25 minutes, 4 questions** | |"
