"""Clean notebooks to executed ones: side by side, one process a core; those that are still good are kept."""

import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import papermill
from filelock import FileLock, Timeout

from xaicl_lib.errors import InputError, NotebookError, require, unknown
from xaicl_lib.evaluation.sources import code_digest, imported
from xaicl_lib.files import written_whole
from xaicl_lib.publishing.pool import (
    CEILING,
    MARK,
    PATIENCE,
    WORKER,
    Job,
    Outcome,
    before,
    chosen_jobs,
    side_by_side,
    surroundings,
)

ROOT = Path(__file__).resolve().parents[2]  # of a checkout: the notebooks and the book's prose are not part of the installed package
PROFILES = ("quick", "full")
RESULT = re.compile(r"results/([\w-]+)\.parquet|stored\(\s*\"([\w-]+)\"")


class _NotebooksFailed(NotebookError):
    """Notebooks that did not run to their end, a line for each; what was executed well is kept."""


@dataclass(frozen=True)
class _Notebook:
    """A notebook to be executed."""

    path: Path  # of the clean one
    inject: dict[str, Any]  # parameters that differ from their defaults; a cell that repeats the defaults would only puzzle
    facts: dict[str, Any]  # decide whether an earlier run is still good: parameters, profile, digests of source and library, versions


def run_notebooks(
    names: Sequence[str] | None = None,
    *,
    profile: str = "quick",
    out: str | os.PathLike[str],
    parameters: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    timeout: float = CEILING,
    patience: float = PATIENCE,
    source: str | os.PathLike[str] = ROOT / "notebooks",
) -> list[Path]:
    """Executed copies of clean notebooks in `out`, with a `manifest.json` beside them.

    Each notebook runs in a process of its own with one thread, several side by side, those that took longest before first. One that was
    executed before is kept if neither it, its parameters, the library nor the versions of Python and torch changed. A run that was
    stopped goes on where it was. All are tried; those that fail are named at the end.

    Args:
        names: notebooks without their suffix; None means all in `source`.
        profile: given to notebooks with a parameter of that name.
        out: where the executed notebooks go.
        parameters: values for the notebooks' parameters, over their defaults.
        jobs: notebooks at a time; None means as many as there are cores.
        timeout: seconds by the clock after which a notebook is given up.
        patience: seconds without processor time after which a notebook is given up: it hangs.
        source: folder with the clean notebooks.

    Raises:
        InputError: unknown notebook, profile or parameter, a folder that cannot be written to, or one that another run works in; nothing
            is executed then.
        _NotebooksFailed: some failed; a line for each names notebook, cell, error and how to run it alone.
    """
    require("profile", PROFILES, profile)
    if not timeout > 0:
        raise InputError(f"expected timeout to be a number of seconds above 0, got {timeout!r}")
    plans = [_plan(path, profile, parameters or {}) for path in _find(Path(source), names)]
    at_once, target = chosen_jobs(jobs), Path(out)
    if target.resolve() == Path(source).resolve():
        raise InputError(f"expected a folder for the executed notebooks other than that of the clean ones, got {str(out)!r}")
    with _alone_in(target):
        kept, todo = _sorted_out(plans, target)
        failures = _execute(todo, target, min(at_once, max(1, len(todo))), timeout, patience)
        _print_table(plans, kept, _read_manifest(target), {failure.job.name for failure in failures})
    if failures:
        told = (_failure(failure, _options(profile, target, parameters or {})) for failure in failures)
        raise _NotebooksFailed("\n".join([f"{len(failures)} of {len(plans)} notebooks failed", *told]))
    return [target / plan.path.name for plan in plans]


def _find(folder: Path, names: Sequence[str] | None) -> list[Path]:
    there = {path.stem: path for path in sorted(folder.glob("*.ipynb"))}
    if not there:
        raise InputError(f"expected notebooks in {folder}, found none")
    require("notebook", there, *names or ())
    return [there[name] for name in dict.fromkeys(names or there)]


def _plan(path: Path, profile: str, given: Mapping[str, Any]) -> _Notebook:
    defaults = _parameters(path)
    for name in given:
        if name not in defaults:
            raise unknown(f"parameter of {path.stem}", name, defaults or ["none"])
    own = {name: _plain(name, value) for name, value in given.items()}
    values = {**defaults, **({"profile": profile} if "profile" in defaults else {}), **own}
    facts = {
        "parameters": values,
        "profile": profile,
        "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "behind_sha256": _behind(path),
        "versions": _versions(),
    }
    return _Notebook(path, {name: value for name, value in values.items() if value != defaults[name]}, facts)


def _plain(name: str, value: Any) -> Any:
    """A parameter as JSON knows it."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(name, item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(name, item) for key, item in value.items()}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise InputError(f"expected {name} to be made of text, numbers, booleans, None, lists and dictionaries keyed by text, got {value!r}")


def _parameters(path: Path) -> dict[str, Any]:
    """Names and defaults of a notebook's parameters cell; a default that is no literal stays text."""
    try:
        found = papermill.inspect_notebook(str(path))
    except Exception as error:  # whatever papermill, nbformat or json find wrong with the file
        raise InputError(f"expected a notebook with a kernel in {path}: {error}") from error
    return {name: _literal(facts["default"]) for name, facts in found.items()}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):  # the last of a key that cannot be one
        return text


def _behind(path: Path) -> str:
    """Digest of what a notebook depends on beside itself: the modules of the library that it imports, the stored results that it names."""
    roots, digest = set[str](), hashlib.sha256()
    for source in _code(path):
        with suppress(SyntaxError):  # the cell itself will say so
            roots |= set(imported(ast.parse(source)))
        for name in sorted({f"results/{one or other}.parquet" for one, other in RESULT.findall(source)}):
            stored = path.parent.parent / name
            digest.update(name.encode() + (stored.read_bytes() if stored.is_file() else b""))
    digest.update(code_digest(*sorted(roots)).encode())
    return digest.hexdigest()


def _code(path: Path) -> list[str]:
    """The code cells of a notebook, without what only IPython reads."""
    cells = nbformat.read(path, as_version=4).cells
    return [re.sub(r"^(\s*)[%!].*$", r"\1pass", cell.source, flags=re.MULTILINE) for cell in cells if cell.cell_type == "code"]


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for key, package in (("torch", "torch"), ("xaicl_lib", "xaicl_lib")):
        try:
            found[key] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[key] = "not installed"
    return found


@contextmanager
def _alone_in(out: Path, what: str = "executed notebooks") -> Iterator[None]:
    """The folder, made, held against other runs, and rid of what a killed run left."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise InputError(f"expected a folder of its own for the {what}, but another run is at work in {out}") from None
    except OSError as error:
        raise InputError(f"expected a folder for the {what}, got {str(out)!r}: {error.strerror}") from error
    with lock:
        for left in out.glob(".running-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _sorted_out(plans: Sequence[_Notebook], out: Path) -> tuple[set[str], list[_Notebook]]:
    """Names of notebooks whose executed copy is still good, and the others, those that took longest before first."""
    manifest = _read_manifest(out)
    kept = {plan.path.stem for plan in plans if _is_good(plan, out, manifest.get(plan.path.stem, {}))}
    todo = [plan for plan in plans if plan.path.stem not in kept]
    unknown_last = sorted(todo, key=lambda plan: -manifest.get(plan.path.stem, {}).get("seconds", 0.0))
    return kept, unknown_last


def _is_good(plan: _Notebook, out: Path, noted: Mapping[str, Any]) -> bool:
    """Whether the executed copy is whole and made from the same."""
    if any(noted.get(key) != value for key, value in plan.facts.items()):
        return False
    final = out / plan.path.name
    return final.is_file() and hashlib.sha256(final.read_bytes()).hexdigest() == noted.get("executed_sha256")


def _execute(plans: Sequence[_Notebook], out: Path, at_once: int, timeout: float, patience: float) -> list[Outcome]:
    """Execute notebooks and note each in the manifest as it ends: those that failed."""
    failures = []
    by_name = {plan.path.stem: plan for plan in plans}
    with tempfile.TemporaryDirectory(dir=out, prefix=".running-", ignore_cleanup_errors=True) as scratch:
        environment = _kernel(Path(scratch))
        jobs = [_job(plan, Path(scratch), environment) for plan in plans]
        with closing(side_by_side(jobs, at_once, ceiling=timeout, patience=patience)) as outcomes:
            for outcome in outcomes:
                name = outcome.job.name
                if outcome.problem is None:
                    _keep(by_name[name], Path(scratch), out, outcome, at_once)
                    print(f"{name}: executed in {outcome.seconds:.0f} s", flush=True)
                else:
                    failures.append(outcome)
                    print(f"{name}: failed after {outcome.seconds:.0f} s", flush=True)
    return failures


def _job(plan: _Notebook, scratch: Path, environment: Mapping[str, str]) -> Job:
    """What the worker is called with."""
    name = plan.path.stem
    orders = {"source": plan.path, "draft": scratch / plan.path.name, "folder": plan.path.parent}
    file = scratch / f"{name}.json"
    file.write_text(json.dumps({**{key: str(path.resolve()) for key, path in orders.items()}, "parameters": plan.inject}), encoding="utf-8")
    return Job(name, (WORKER, str(file), MARK), environment)


def _kernel(scratch: Path) -> dict[str, str]:
    """Environment in which the kernel `python3` is this very interpreter, whatever kernels the user has, and figures are for the book."""
    spec = scratch / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    launch = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": launch, "display_name": "Python 3", "language": "python"}))
    own = {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "JUPYTER_PREFER_ENV_PATH": "1", "JUPYTER_RUNTIME_DIR": str(scratch / "runtime")}
    return {**surroundings(), "JUPYTER_PATH": before("JUPYTER_PATH", scratch / "jupyter"), **own, "XAICL_BOOK": "1"}


def _keep(plan: _Notebook, scratch: Path, out: Path, outcome: Outcome, at_once: int) -> None:
    """Put the executed copy in its place, and note it."""
    data = (scratch / plan.path.name).read_bytes()
    with written_whole(out / plan.path.name) as part:
        part.write_bytes(data)
    executed = hashlib.sha256(data).hexdigest()
    took = {"seconds": round(outcome.seconds, 1), "processor_seconds": round(outcome.processor or 0.0, 1), "side_by_side": at_once}
    made = {**plan.facts, **took, "device": _device(plan.facts["parameters"]), "executed_sha256": executed}
    _write_manifest(out, {**_read_manifest(out), plan.path.stem: made})


def _failure(outcome: Outcome, asked: str) -> str:
    """One line on what went wrong, and how to see it again: by the command with the options that were asked for."""
    number, of, line = outcome.cell or (0, 0, "")
    where = f", cell {number} of {of} ({line[:60]!r})" if outcome.cell else ""
    return f"{outcome.job.name}{where}: {(outcome.problem or '')[:500]}; alone: {_python()} -m xaicl_lib run {outcome.job.name}{asked}"


def _options(profile: str, out: Path, given: Mapping[str, Any]) -> str:
    """What a run was asked for that differs from the command's defaults, as the command takes it."""
    asked = [] if profile == PROFILES[0] else ["--profile", profile]
    asked += [] if out.resolve() == Path("_build/notebooks", profile).resolve() else ["--out", str(out)]
    for name, value in ((name, _plain(name, value)) for name, value in given.items()):
        asked += ["--set", f"{name}={value if isinstance(value, str) and _literal(value) == value else repr(value)}"]
    return "".join(f" {shlex.quote(one)}" for one in asked)


def _python() -> str:
    """How the user calls this interpreter."""
    here = Path(sys.executable)
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else str(here)


def _print_table(plans: Sequence[_Notebook], kept: set[str], manifest: Mapping[str, Any], failed: set[str]) -> None:
    """Each notebook with its seconds, by the clock and of the processor, and whether it was kept."""
    print(f"\n{'notebook':<28}{'seconds':>9}{'processor':>11}  ")
    for plan in plans:
        name = plan.path.stem
        noted = {} if name in failed else manifest.get(name, {})
        took = [f"{noted[key]:.0f}" if key in noted else "-" for key in ("seconds", "processor_seconds")]
        print(f"{name:<28}{took[0]:>9}{took[1]:>11}  {'failed' if name in failed else 'kept' if name in kept else 'executed'}")
    print(flush=True)


def _device(parameters: Mapping[str, Any]) -> str:
    """Name of the device that a notebook with these parameters ran on."""
    import torch

    asked = str(parameters.get("device") or "auto")
    cuda = torch.cuda.is_available() and (asked == "auto" or asked.startswith("cuda"))
    return torch.cuda.get_device_name() if cuda else "cpu" if asked == "auto" else asked


def _read_manifest(out: Path) -> dict[str, Any]:
    """What is noted of executed notebooks; whatever else the file holds is not ours, and what it is about is executed again."""
    try:
        found = json.loads((out / "manifest.json").read_text())
    except (OSError, ValueError):  # none yet, or damaged
        return {}
    entries = found.items() if isinstance(found, dict) else ()
    return {name: noted for name, noted in entries if isinstance(noted, dict) and isinstance(noted.get("seconds", 0.0), int | float)}


def _write_manifest(out: Path, manifest: Mapping[str, Any]) -> None:
    with written_whole(out / "manifest.json") as part:
        part.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
