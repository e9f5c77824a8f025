"""How wide the library is, in numbers that may fall and not grow. `python -m tests.test_counts` prints them."""

import ast
import statistics
from pathlib import Path

import pytest

from tests.test_chapters import NOTEBOOKS, imports
from tests.test_imports import circles, graph
from tests.test_scripts import SCRIPTS, longest_functions
from xaicl_lib.evaluation.sources import TOP

# What each number is at most. Whoever makes one smaller writes it here, so that it stays so.
CEILINGS = {
    "lines of Python": 32_710,
    "public functions and classes": 741,
    "imports of the median notebook": 3,
    "circles of files": 0,
    "circles of folders": 0,
    "lines of the longest function of a script": 58,
}
SLACK = 0.05  # by which a number may stand below what is written before it must be written again


def public_names(text: str) -> list[str]:
    """Functions and classes that a module defines at its top and does not hide."""
    defined = (node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef))
    return [node.name for node in defined if not node.name.startswith("_")]


def counts() -> dict[str, float]:
    texts = [path.read_text(encoding="utf-8") for path in TOP.rglob("*.py")]
    scripts = [path.read_text(encoding="utf-8") for path in SCRIPTS]
    return {
        "lines of Python": sum(len(text.splitlines()) for text in texts),
        "public functions and classes": sum(len(public_names(text)) for text in texts),
        "imports of the median notebook": statistics.median(len(imports(path)) for path in NOTEBOOKS),
        "circles of files": len(list(circles(graph("files")))),
        "circles of folders": len(list(circles(graph("folders")))),
        "lines of the longest function of a script": max(longest_functions(scripts)),
    }


@pytest.fixture(scope="module")
def counted() -> dict[str, float]:
    return counts()


def test_the_library_grows_no_wider(counted: dict[str, float]) -> None:
    assert {name: count for name, count in counted.items() if count > CEILINGS[name]} == {}


def test_what_became_narrower_stays_so(counted: dict[str, float]) -> None:
    assert {name: count for name, count in counted.items() if count < (1 - SLACK) * CEILINGS[name]} == {}


def test_names_that_are_hidden_or_within_others_do_not_count() -> None:
    text = "import os\nX = 1\ndef f():\n    def g(): pass\nclass A:\n    def m(self): pass\ndef _h(): pass\nasync def i(): pass"
    assert public_names(text) == ["f", "A", "i"]


def test_counts_are_of_this_checkout(counted: dict[str, float]) -> None:
    assert Path(__file__).parents[1] == TOP.parent
    assert set(counted) == set(CEILINGS)


if __name__ == "__main__":
    for name, count in counts().items():
        print(f"{count:>8,} {name} (at most {CEILINGS[name]:,})")
