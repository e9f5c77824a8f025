"""Which of the library's files an answer depends on: what is imported, directly and by what is imported, as a digest.

One notion of "has the library changed" for the store of results, executed notebooks and the lab's gallery. It reads import statements, also
those within functions, and runs nothing. A name taken from a package counts as taken from where it is defined.
"""

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from xaicl_lib.errors import InputError

TOP = Path(__file__).resolve().parents[1]
NAME = TOP.name
PAGES = "static"  # folders of scripts and styles of pages, which no number depends on


@functools.cache
def code_digest(*roots: str) -> str:
    """16 hex digits for all that these modules depend on within the library: code, weights and tables.

    Roots are names such as "xaicl_lib.methods".

    Raises:
        InputError: not a module of this library.
    """
    digest = hashlib.sha256()
    for path in _files_behind(roots):
        digest.update(path.relative_to(TOP).as_posix().encode() + b"\0" + _file_digest(path))
    return digest.hexdigest()[:16]


def _files_behind(roots: Iterable[str]) -> list[Path]:
    """Files of the library that these modules depend on: their own, those of what they import, and the data beside them."""
    waiting, seen = list(roots), set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += _imports_of(name)
    modules = {_file(name) for name in seen}
    return sorted(modules | {path for folder in {module.parent for module in modules} - {TOP} for path in _data(folder)})


@functools.cache
def _imports_of(name: str) -> tuple[str, ...]:
    """Modules of the library that a module names in its import statements; a package that looks for its modules has all of them."""
    path = _file(name)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set(imported(tree)) | (set(_offered(NAME).values()) if name == NAME else set())  # asked for or not: it is one front
    if "pkgutil" in {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}:
        found |= {f"{name}.{module.stem}" for module in path.parent.glob("*.py") if module.stem != "__init__"}
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    around = {package} - {name, NAME} if _exists(package) else set()
    return tuple(sorted(found | around))


def imported(tree: ast.AST) -> Iterator[str]:
    """Modules of the library that the import statements of a syntax tree name."""
    for node in _walked(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _is_ours(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and _is_ours(node.module or ""):
            yield from (_origin(node.module or "", alias.name) for alias in node.names)


def _walked(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree, without what is imported for checkers of types alone."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            waiting += ast.iter_child_nodes(node)


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] == NAME


def _origin(module: str, name: str) -> str:
    """The module that `from module import name` makes its importer depend on."""
    if _exists(f"{module}.{name}"):
        return f"{module}.{name}"
    return _offered(module).get(name, module) if _exists(module) else module


@functools.cache
def _offered(package: str) -> dict[str, str]:
    """Name to module of what the front of a package offers, what it imports only when asked for included."""
    path = _file(package)
    if path.name != "__init__.py":
        return {}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and _is_ours(node.module or "")]
    return {alias.asname or alias.name: node.module or "" for node in taken for alias in node.names}


def _exists(name: str) -> bool:
    path = TOP.joinpath(*name.split(".")[1:])
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _file(name: str) -> Path:
    path = TOP.joinpath(*name.split(".")[1:])
    if not _is_ours(name) or not _exists(name):
        raise InputError(f"expected a module of {NAME}, got {name!r}")
    return path.with_suffix(".py") if name != NAME and path.with_suffix(".py").is_file() else path / "__init__.py"


def _data(folder: Path) -> Iterator[Path]:
    """What lies in a folder of modules beside them, and in its folders without modules."""
    for path in folder.iterdir():
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            yield path
        elif path.is_dir() and path.name not in (PAGES, "__pycache__") and not any(path.glob("*.py")):
            yield from (file for file in path.rglob("*") if file.is_file())


@functools.cache
def _file_digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
