"""Pages that the library writes about itself: methods, metrics, models, where it differs, its functions, and the runs of the notebooks."""

import ast
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
import yaml

import xaicl_lib
from xaicl_lib.methods import methods
from xaicl_lib.methods.registry import Method
from xaicl_lib.metrics import metrics
from xaicl_lib.publishing.cost import cost_page
from xaicl_lib.publishing.families import families_page
from xaicl_lib.publishing.leaderboard import leaderboard_page
from xaicl_lib.publishing.markdown import table as _table
from xaicl_lib.scores import scores
from xaicl_lib.zoo import list_models, list_official, model_card

# Parts of the reference and the modules (with those below them) that each shows; what is in none of them is the book's own machinery.
PARTS = {
    "pairs, models, scores": (
        "xaicl_lib.pair",
        "xaicl_lib.images",
        "xaicl_lib.model",
        "xaicl_lib.stages",
        "xaicl_lib.scores",
        "xaicl_lib.registry",
        "xaicl_lib.errors",
    ),
    "methods": ("xaicl_lib.methods",),
    "metrics": ("xaicl_lib.metrics",),
    "images": ("xaicl_lib.data", "xaicl_lib.augment"),
    "the zoo of models": ("xaicl_lib.zoo.bundled", "xaicl_lib.zoo.official", "xaicl_lib.zoo.backbones"),
    "studies": ("xaicl_lib.studies", "xaicl_lib.evaluation", "xaicl_lib.statistics", "xaicl_lib.probes"),
    "the benchmark": ("xaicl_lib.benchmark",),
    "exercises": ("xaicl_lib.exercises",),
    "other libraries": ("xaicl_lib.adapters",),
}
RESULTS = Path(__file__).resolve().parents[2] / "results"
FIRST = ("methods", "metrics", "studies")  # of the folders, in the table of differences
DIRECTIONS = {True: "higher", False: "lower"}


def write_reference(folder: Path, executed: Sequence[Path]) -> dict[str, list[str]]:
    """Write all pages into a folder `book/reference`; for the table of contents, the pages that stand below others."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {"methods": _methods_page(), "metrics": _metrics_page(), "models": _models_page(), "differences": _differences_page()}
    own |= {"families": families_page(RESULTS / "families.parquet"), "benchmark": leaderboard_page(RESULTS / "benchmark")}
    own["cost"] = cost_page(RESULTS)
    pages = {**own, **_api_pages(), **_runs_pages(executed)}
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    place = "book/reference/"
    return {f"{place}{head}": [f"{place}{n}" for n in pages if n.startswith(mark)] for head, mark in (("api", "api_"), ("runs", "run_"))}


def _methods_page() -> str:
    """Every registered method with its facts, then the parameters of each."""
    order = {name: k for k, name in enumerate(("perturbation", "gradient", "activation", "similarity", "attention", "control"))}
    listed = sorted(methods, key=lambda m: order.get(m.facts["family"], len(order)))
    head = ("method", "what comes back", "passes for a pair", "source")
    rows = [
        (
            f"{{py:func}}`~{_address(m)}`<br>{m.facts['family']}",
            f"{m.summary} {'Signed.' if m.facts['signed'] else ''} {'Explains one side alone, too.' if m.facts['one_sided'] else ''}",
            m.facts["cost"],
            f"{{cite:t}}`{m.facts['paper']}`, {m.facts['where']}",
        )
        for m in listed
    ]
    scores_ = [(f"`{s.name}`", s.summary, _range(s.facts), f"{{cite:t}}`{s.facts['paper']}`") for s in scores]
    parameters = [(f"`{m.name}`", ", ".join(f"`{k}={v!r}`" for k, v in m.defaults.items()) or "none") for m in listed]
    return "\n".join(
        [
            "# Table of methods\n",
            "What `explain(model, pair, method=...)` knows, written by the library itself. Each name leads to the formula, the source and",
            "what differs from it.\n",
            *_table(head, rows),
            "\n## Parameters\n",
            "With their defaults; every method also takes `score`, `generator` and `chunk`.\n",
            *_table(("method", "parameters"), parameters),
            "\n## Scores\n",
            "What is explained, by name or as a function of two embeddings; `model.like(corpus, foil)` makes scores of one image.\n",
            *_table(("score", "what it says", "range", "source"), scores_),
        ]
    )


def _metrics_page() -> str:
    """Every registered metric with its direction, range, meaning, needs, options and source."""
    head = ("metric", "what it says", "what it needs", "options", "source")
    rows = [
        (
            f"**{m.name}**<br>{DIRECTIONS[m.facts['higher_is_better']]} is better<br>usually {_range(m.facts)}",
            m.facts["says"],
            m.facts["needs"],
            ", ".join(f"`{name}`" for name in m.options if name not in ("score", "generator", "chunk")) or "none",
            f"{{cite:t}}`{m.facts['paper']}`, {m.facts['where']}",
        )
        for m in metrics
    ]
    text = "What `measure(model, pair, explanation, metrics=[...])` knows, written by the library itself. How they behave:"
    link = "[Is the map right?](../../notebooks/02_metrics.ipynb)\n"
    return "\n".join(["# Table of metrics\n", text, link, *_table(head, rows)])


def _models_page() -> str:
    """A card for each model: those in the package with all that their training wrote, and those that others published."""
    own = [line for name in list_models() for line in _card(model_card(name))]
    head = ("name", "head", "maps from", "parameters", "input", "licence", "paper")
    rows = [
        (
            f"`{c['name']}`",
            c["head"],
            c["features"],
            f"{c['parameters'] / 1e6:.1f}M",
            f"{c['size']} px",
            c["licence"],
            f"{{cite:t}}`{c['paper']}`",
        )
        for c in map(model_card, list_official())
    ]
    return "\n".join(
        [
            "# Model cards\n",
            "Every bundled model comes with the card that its training wrote; this page is made from those cards. What the models find",
            "alike, and how they learned, is on [the page of the models](../../notebooks/models.ipynb).\n",
            "## Bundled\n",
            *own,
            "\n## Published by others\n",
            "Fetched at their first use, then kept. Read the licences before you use one.\n",
            *_table(head, rows),
        ]
    )


def _differences_page() -> str:
    """Every place where the library departs from a paper or from its published code, as the docstring there says after `Differs:`."""
    found = sorted(_differences(), key=lambda one: (FIRST.index(one[0]) if one[0] in FIRST else len(FIRST), one[0]))
    rows = [
        (f"{{py:obj}}`~{address}`<br>{folder}", ", ".join(f"{{cite:t}}`{k}`" for k in keys), says) for folder, address, keys, says in found
    ]
    return "\n".join(
        [
            "# Where we differ\n",
            "Everything here is written from the formulas of the papers. Where a formula left something open, where a published program",
            "does something else than its paper says, or where we chose another way, the docstring says so after *Differs:*. This table",
            f"is all of them, collected from the source: {len(rows)} places. Numbers can be those of a paper only up to these.\n",
            *_table(("where", "of", "what differs"), rows),
        ]
    )


def _differences(root: Path | None = None) -> list[tuple[str, str, list[str], str]]:
    """Folder, address, bibliography keys and text of every `Differs:` in the docstrings below a folder, by default the library's own.

    Sources are read, not imported, so that it does not matter which libraries are there.
    """
    root = root or Path(xaicl_lib.__file__).parent
    found = []
    for path in sorted(root.rglob("*.py")):
        parts = (root.name, *path.relative_to(root).with_suffix("").parts)
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        for name, text in _docstrings(ast.parse(path.read_text(encoding="utf-8"))):
            keys = list(dict.fromkeys(key.strip() for keys in re.findall(r":cite:[tp]:`([^`]+)`", text) for key in keys.split(",")))
            folder = parts[1] if len(parts) > 2 else ""
            texts = [part.removeprefix("Differs:") for part in text.split("\n\n") if part.startswith("Differs:")]
            found += [(folder, ".".join(filter(None, (module, name))), keys, _myst(part)) for part in texts]
    return found


def _docstrings(node: ast.AST, above: str = "") -> Iterator[tuple[str, str]]:
    """The names, dotted from the module's top, and docstrings of a module and of all functions and classes in it."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield above, ast.get_docstring(node) or ""
        for child in (one for one in node.body if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)):
            yield from _docstrings(child, f"{above}.{child.name}" if above else child.name)


def _myst(text: str) -> str:
    """A docstring's words after the label for a page: one line that begins like a sentence, roles as MyST writes them."""
    line = re.sub(r":([a-z]+(?::[a-z]+)?):`", r"{\1}`", " ".join(text.split()))
    line = f"Differs {line}" if line.startswith("from ") else line
    return line[:1].upper() + line[1:]


def _card(card: dict[str, Any]) -> list[str]:
    recipe = card["recipe"]
    facts = {
        "trained on": card["data"],
        "loss": recipe["loss"],
        "head": card["head"],
        "parameters": f"{card['parameters']:,}",
        "input": f"{card['size']} px, mean {_numbers(card['mean'])}, std {_numbers(card['std'])}",
        "k-NN accuracy": f"{card['knn_accuracy']:.3f} (untrained {card['knn_accuracy_untrained']:.3f}); {card['knn']}",
        "linear probe": f"{card['linear_accuracy']:.3f}; {card['linear']}" if "linear_accuracy" in card else "not measured",
        "classifier's accuracy": f"{card['accuracy']:.3f}" if "accuracy" in card else None,
        "spread of embeddings": ", ".join(f"{k.replace('_', ' ')} {v:.2f}" for k, v in card["spread"].items()),
        "training": f"{card['epochs']} epochs, {card['seconds'] / 60:.0f} minutes, {card['hardware']}, {card['date']}",
        "licence": card["licence"],
        "sha256 of the weights": f"`{card['sha256']}`",
    }
    return [
        f"### {card['name']}\n",
        *_table(("entry", "value"), [(name, str(value)) for name, value in facts.items() if value is not None]),
        "\n:::{dropdown} The recipe\n```yaml",
        yaml.safe_dump(recipe, sort_keys=False, default_flow_style=None, width=100).rstrip(),
        "```\n:::\n",
    ]


def _api_pages() -> dict[str, str]:
    """The reference of public functions and classes: a first page with what `xaicl_lib` itself offers, and one for each part."""
    seen: set[int] = set()
    top = _documented("xaicl_lib", [(name, getattr(xaicl_lib, name)) for name in xaicl_lib.__all__], seen)
    pages = {_file(part): _part_page(part, roots, seen) for part, roots in PARTS.items()}
    links = "\n".join(f"- [{part[0].upper() + part[1:]}]({_file(part)}.md)" for part in PARTS)
    return {
        "api": "# Functions and classes\n\nWritten from the docstrings. These come from `xaicl_lib` itself; the rest from its modules:\n\n"
        f"{links}\n\n{top}\n",
        **pages,
    }


def _file(part: str) -> str:
    return "api_" + part.replace(",", "").replace(" ", "_")


def _part_page(part: str, roots: Sequence[str], seen: set[int]) -> str:
    made = [f"# {part[0].upper() + part[1:]}\n"]
    for name in _modules(roots):
        module = importlib.import_module(name)
        text = _documented(name, _public(module), seen)
        if text:
            made.append(f"## `{name}`\n\n{(inspect.getdoc(module) or '').split(chr(10))[0]}\n\n{text}\n")
    return "\n".join(made)


def _modules(roots: Iterable[str]) -> list[str]:
    """The modules of these names and all public ones below them."""
    found = []
    for root in roots:
        found.append(root)
        path = getattr(importlib.import_module(root), "__path__", [])
        found += [f"{root}.{m.name}" for m in pkgutil.iter_modules(path) if not m.name.startswith("_")]
    return found


def _public(module: Any) -> list[tuple[str, Any]]:
    """Functions, classes and registered methods that a module defines and does not hide, in the order of the source."""
    offered = getattr(module, "__all__", None)
    own = [
        (name, thing)
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(thing) or inspect.isclass(thing) or isinstance(thing, Method))
        and (name in offered if offered else getattr(thing, "__module__", None) == module.__name__)
    ]
    return [(name, thing) for name, thing in own if inspect.getdoc(thing)]


def _documented(module: str, things: Iterable[tuple[str, Any]], seen: set[int]) -> str:
    """Sphinx's directives for those that no page has yet."""
    lines = []
    for name, thing in things:
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        kind = "autoclass" if inspect.isclass(thing) else "autofunction"
        lines += [f".. {kind}:: {module}.{name}", *(["   :members:"] if kind == "autoclass" else []), ""]
    return "\n".join(["```{eval-rst}", *lines, "```"]) if lines else ""


def _runs_pages(executed: Sequence[Path]) -> dict[str, str]:
    """A page for each executed notebook: what it ran with and where its time went; and one table of all."""
    rows, pages = [], {}
    for path in executed:
        notebook, facts = nbformat.read(path, as_version=4), _manifest(path)
        title = notebook_title(notebook)
        took = _seconds(facts, "seconds")
        rows.append((f"[{title}](run_{path.stem}.md)", facts.get("profile", "not noted"), facts.get("device", "not noted"), took))
        pages[f"run_{path.stem}"] = _run_page(path.stem, title, notebook, facts, took)
    head = ("notebook", "profile", "device", "seconds")
    text = "The pages of this book were computed by executing its notebooks. What each was given and where its time went:\n"
    return {"runs": "\n".join(["# The runs behind the pages\n", text, *_table(head, rows)]), **pages}


def _run_page(name: str, title: str, notebook: nbformat.NotebookNode, facts: dict[str, Any], took: str) -> str:
    noted = notebook.metadata.get("papermill", {})
    versions = ", ".join(f"{key} {value}" for key, value in facts.get("versions", {}).items())
    about = [
        ("notebook", f"[{title}](../../notebooks/{name}.ipynb)"),
        ("profile", facts.get("profile", "not noted")),
        ("device", facts.get("device", "not noted")),
        ("executed", str(noted.get("end_time") or "not noted")[:10]),
        ("time, start of Python included", took),
        ("processor time", _seconds(facts, "processor_seconds")),
        ("cores", _cores(facts)),
        ("versions", versions or "not noted"),
        ("sha256 of the source", f"`{facts['source_sha256']}`" if facts.get("source_sha256") else "not noted"),
    ]
    parameters = [(f"`{key}`", f"`{value!r}`") for key, value in facts.get("parameters", {}).items()]
    slow = sorted(_cells(notebook), reverse=True)[:5]
    cells = [(f"{seconds:.1f}", f"`{line}`") for seconds, line in slow if seconds >= 0.1]
    made = [f"# Run: {title}\n", "What this page of the book was computed with.\n", *_table(("entry", "value"), about)]
    made += ["\n## Parameters\n", *(_table(("parameter", "value"), parameters) if parameters else ["None."])]
    return "\n".join(
        [*made, "\n## Where the time went\n", *(_table(("seconds", "cell that begins with"), cells) if cells else ["Not noted."])]
    )


def _seconds(facts: Mapping[str, Any], key: str) -> str:
    return f"{facts[key]:.0f} s" if key in facts else "not noted"


def _cores(facts: Mapping[str, Any]) -> str:
    """On how many cores a notebook ran: one thread each, some side by side."""
    beside = facts.get("side_by_side", 0) - 1
    return "not noted" if beside < 0 else "1" if beside == 0 else f"1, with up to {beside} more notebooks on others"


def _cells(notebook: nbformat.NotebookNode) -> list[tuple[float, str]]:
    """Seconds and first line of code of each executed cell."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    timed = [(cell.metadata.get("papermill", {}).get("duration") or 0.0, cell.source) for cell in code]
    return [(seconds, next((line for line in source.splitlines() if line.strip()), "")) for seconds, source in timed]


def notebook_title(notebook: nbformat.NotebookNode) -> str:
    """The first heading."""
    lines = (line for cell in notebook.cells if cell.cell_type == "markdown" for line in cell.source.splitlines())
    return next((line[2:].strip() for line in lines if line.startswith("# ")), "Untitled")


def _manifest(path: Path) -> dict[str, Any]:
    file = path.parent / "manifest.json"
    return dict(json.loads(file.read_text()).get(path.stem, {})) if file.is_file() else {}


def _address(method: Method) -> str:
    return f"{method.function.__module__}.{method.name}"


def _range(facts: Mapping[str, Any]) -> str:
    ends = [_end(facts[name]) for name in ("low", "high")]
    return " to ".join(dict.fromkeys(ends))


def _end(value: float) -> str:
    return "unbounded" if value in (float("inf"), float("-inf")) or value is None else f"{value:g}"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{v:g}" for v in values)
