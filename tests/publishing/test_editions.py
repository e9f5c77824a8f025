"""What each edition shows of solutions and of notes for teachers."""

import nbformat
import pytest

from tests.exercises.test_notebooks import solutions
from xaicl_lib.errors import InputError
from xaicl_lib.publishing.editions import edit_notebook, edited

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
