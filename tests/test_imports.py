"""The shape of the library: its modules import each other downwards only."""

import ast
from collections.abc import Iterator

import pytest

from xaicl_lib.evaluation.sources import TOP, _imports_of, imported


def modules() -> list[str]:
    names = (".".join((TOP.name, *path.relative_to(TOP).with_suffix("").parts)) for path in TOP.rglob("*.py"))
    return sorted(name.removesuffix(".__init__") for name in names)


def folder(name: str) -> str:
    """What stands directly below the library's top: a folder, or a file of its own."""
    return ".".join(name.split(".")[:2])


def graph(of: str) -> dict[str, set[str]]:
    """What each file, or each folder, imports, those of functions included; a package is not an import of what is in it."""
    known, found = modules(), {}
    for name in known:
        path = TOP.joinpath(*name.split(".")[1:])
        text = (path.with_suffix(".py") if name != TOP.name and path.with_suffix(".py").is_file() else path / "__init__.py").read_text()
        taken = {one for one in imported(_without_types(ast.parse(text))) if one in known and one != name}
        if of == "folders":
            found.setdefault(folder(name), set()).update({folder(one) for one in taken} - {folder(name)})
        else:
            found[name] = taken
    return found


def _without_types(tree: ast.Module) -> ast.Module:
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")]
    return tree


def circles(found: dict[str, set[str]]) -> Iterator[list[str]]:
    """Ways along imports that come back to where they began, one for each place where a search meets its own path."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> Iterator[list[str]]:
        if name in path:
            yield [*path[path.index(name) :], name]
        elif name not in done:
            for other in sorted(found.get(name, ())):
                yield from visit(other, [*path, name])
            done.add(name)

    for name in sorted(found):
        yield from visit(name, [])


@pytest.mark.parametrize("of", ["files", "folders"])
def test_imports_point_down_only(of: str) -> None:
    assert [" -> ".join(circle) for circle in circles(graph(of))] == []


def test_a_circle_is_seen() -> None:
    assert list(circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()})) == [["a", "b", "c", "a"]]


def test_every_import_is_in_the_graph() -> None:
    """Among them one within a function, and names that the library's front offers."""
    found = graph("files")
    assert "xaicl_lib.evaluation.cluster" in found["xaicl_lib.evaluation.evaluate"]
    assert "xaicl_lib.pair" in found["xaicl_lib.commands"]
    assert set(found) == set(modules())
    offered = imported(ast.parse("from xaicl_lib import Pair, evaluate, show"))
    assert list(offered) == ["xaicl_lib.pair", "xaicl_lib.evaluation.evaluate", "xaicl_lib.views.page"]
    assert "xaicl_lib.model" in set(_imports_of("xaicl_lib.methods.cam"))
