"""What each edition shows of solutions and of notes for teachers."""

import html
import re
import shutil

import nbformat
import pytest

from tests.exercises.test_notebooks import solutions
from xaicl_lib.errors import InputError
from xaicl_lib.publishing.book import stage
from xaicl_lib.publishing.editions import edit_notebook, edited
from xaicl_lib.publishing.quizzes import read_quizzes
from xaicl_lib.publishing.run import ROOT

TEXT = """**1.** What is it?

:::{dropdown} Answer
Nothing. :::
```python
x = 1
```
:::

:::{dropdown} A recipe
Kept.
:::

::::{admonition} For teachers
:class: xaicl-teacher
:::{note}
Be patient.
:::
::::

```{dropdown} Solution of the second
forty-two
```
The end."""


def test_readers_find_solutions_folded_and_no_notes():
    made = edited(TEXT, "reader")
    assert ":::{dropdown} Answer\nNothing." in made
    assert ":open:" not in made
    assert "patient" not in made
    assert "```{dropdown} Solution of the second\nforty-two\n```" in made


def test_teachers_find_them_open_with_the_notes():
    made = edited(TEXT, "teacher")
    assert ":::{dropdown} Answer\n:open:\nNothing." in made
    assert "```{dropdown} Solution of the second\n:open:\nforty-two\n```" in made
    assert "::::{admonition} For teachers\n:class: xaicl-teacher\n:::{note}\nBe patient.\n:::\n::::" in made
    assert "{dropdown} A recipe\nKept." in made


def test_classes_find_neither():
    made = edited(TEXT, "student")
    for gone in ("Nothing", "x = 1", "patient", "forty-two", "For teachers"):
        assert gone not in made
    assert made.startswith("**1.** What is it?")
    assert "{dropdown} A recipe\nKept.\n:::" in made
    assert made.endswith("The end.")


def shown(source):
    """What is to be read of a staged book, page by page, without the data that the scripts check answers by."""
    texts = {path.name: path.read_text() for path in (*source.rglob("*.md"), *source.rglob("*.html"))}
    for path in source.rglob("*.ipynb"):
        texts[path.name] = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    return {name: html.unescape(re.sub(r"<script.*?</script>", "", text)) for name, text in texts.items()}


def test_classes_find_no_answers_to_the_questions_either(tmp_path, monkeypatch):
    monkeypatch.setattr("xaicl_lib.publishing.book.write_reference", lambda *_: {})
    (tmp_path / "book").mkdir()
    for name in ("book/quizzes.json", "book/course.md", "book/teach.md", "_toc.yml", "_config.yml"):
        shutil.copy(ROOT / name, tmp_path / name)
    executed = [ROOT / "notebooks" / "02_metrics.ipynb"]
    questions = read_quizzes(ROOT / "book" / "quizzes.json")["02_metrics"]
    says = [one["says"] for question in questions for one in question.get("options", [question]) if one.get("right", True)]
    for edition, all_there in (("reader", True), ("teacher", True), ("student", False)):
        source = tmp_path / edition
        stage(tmp_path, executed, source, None, edition)
        texts = shown(source)
        assert (source / "book" / "_static" / "xaicl-moodle.xml").exists() == all_there
        assert ("book/questions" in (source / "_toc.yml").read_text()) == all_there
        assert ("questions.md" in texts["course.md"]) == all_there
        assert "A chapter's slides are its figures" in texts["course.md"]
        assert all(question["ask"] in texts["02_metrics.ipynb"] for question in questions)
        assert [text for text in says if text in texts["02_metrics.ipynb"]] == (says if all_there else [])
        assert any(text in texts["02_metrics.html"] for text in says) == all_there
        assert ("questions.md" in texts) == all_there


def test_an_edition_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="unknown edition 'cheat'; there are: reader, teacher, student"):
        edited("", "cheat")


def test_a_directive_that_stays_open_is_left_alone():
    assert edited(":::{dropdown} Answer\nforever", "student") == ":::{dropdown} Answer\nforever"


def test_solutions_are_found():
    assert solutions(TEXT) == ["Nothing. :::\n```python\nx = 1\n```", "forty-two"]


def test_only_the_markdown_of_a_notebook_changes():
    cells = [nbformat.v4.new_markdown_cell(TEXT), nbformat.v4.new_code_cell("':::{dropdown} Answer'")]
    made = edit_notebook(nbformat.v4.new_notebook(cells=cells), "student")
    assert "forty-two" not in made.cells[0].source
    assert made.cells[1].source == "':::{dropdown} Answer'"
