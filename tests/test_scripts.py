"""The scripts of the pages consist of small functions, as the library does."""

from pathlib import Path

import pytest

from tests.check_pages import ROOT
from tests.lab_node import LAB, in_node

LONGEST = 80  # lines from the first of a function to its last, functions within it included
FOLDERS = (LAB, ROOT / "xaicl_lib" / "views" / "static", ROOT / "book" / "_static")
SCRIPTS = sorted(path for folder in FOLDERS for path in folder.rglob("*.js"))
LENGTHS = """
import { createRequire } from "node:module";
const { parse } = createRequire("file:///")("internal/deps/acorn/acorn/dist/acorn"); // the parser that Node brings for itself
const functions = (node) => {
  if (node === null || typeof node !== "object") return [];
  const below = Object.values(node).flatMap(functions);
  return /Function/.test(node.type ?? "") ? [node, ...below] : below;
};
const length = ({ loc: { start, end } }) => end.line - start.line + 1;
const tree = (text) => parse(text, { ecmaVersion: "latest", sourceType: "module", locations: true });
const longest = (text) => Math.max(0, ...functions(tree(text)).map(length));
answer(given.map(longest));
"""


def longest_functions(texts: list[str]) -> list[int]:
    return in_node(LENGTHS, texts, flags=["--expose-internals"])


def test_no_function_is_longer_than_a_screen_or_two() -> None:
    lengths = dict(zip(SCRIPTS, longest_functions([path.read_text(encoding="utf-8") for path in SCRIPTS]), strict=True))
    assert len(lengths) > 30
    assert not {_name(path): length for path, length in lengths.items() if length > LONGEST}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("function f() {\n\n}", 3),
        ("const f = async () => {\n};\nconst g = (x) =>\n  x +\n  1;", 3),
        ("(() => {\n  function g() {\n  }\n\n})();", 5),
        ("class A {\n  m() {\n  }\n}", 2),
        ("const data = [\n1,\n2,\n];", 0),
        ("const text = `function f() {\n\n\n${1}`;", 0),
    ],
)
def test_lengths_are_counted_in_lines(text: str, lines: int) -> None:
    assert longest_functions([text]) == [lines]
