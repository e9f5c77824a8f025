"""Notebooks to pages: papermill executes the clean notebooks, Jupyter Book makes the book, a local server shows it."""

import ast
import base64
import functools
import hashlib
import http.server
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import papermill

from xaicl_lib.errors import InputError, unknown
from xaicl_lib.publishing.assets import place_assets
from xaicl_lib.publishing.book import NotebookError, check_pages, check_site, repository_address, stage
from xaicl_lib.publishing.editions import EDITIONS
from xaicl_lib.publishing.jupyter_book import build_html

ROOT = Path(__file__).resolve().parents[2]  # of a checkout: the notebooks and the book's prose are not part of the installed package
PROFILES = ("quick", "full")
START_TIMEOUT = 120  # seconds a kernel may take to answer
CELL_TIMEOUT = 900  # seconds a cell may take
NOTEBOOK_TIMEOUT = 3600  # seconds a notebook may take, start and end included: papermill itself may hang


def build_book(out: str | os.PathLike[str] = "_build", profile: str = "quick", edition: str = "reader") -> Path:
    """The book's folder, after executing its notebooks, building it and checking its pages: `<out>/html`, or `<out>/<edition>` of others.

    Args:
        out: where everything made goes; executed notebooks in it are kept as long as nothing they depend on changes.
        profile: "quick" (minutes on a laptop) or "full".
        edition: "reader" (solutions folded), "teacher" (open, with notes) or "student" (left out).

    Raises:
        NotebookError: a notebook failed, Jupyter Book warned, or a page lacks outputs; the book built before stays as it was.
        InputError: not in a checkout, unknown profile, or assets that cannot be had.
    """
    from xaicl_lib.lab import place_lab  # needs torch, which serving does without

    _require_checkout()
    if edition not in EDITIONS:
        raise unknown("edition", edition, EDITIONS)
    base = Path(out).resolve()
    executed = run_notebooks(profile=profile, out=base / "notebooks" / profile)
    source = base / "src"
    staged = stage(ROOT, executed, source, repository_address(ROOT), edition)
    place_assets(source / "book" / "_static", ROOT / ".assets")
    place_lab(source / "book" / "_static" / "lab", base / "lab", ROOT / ".assets")
    html = build_html(source, base / "work")
    check_pages(staged, html / "notebooks")
    check_site(html)
    final = base / ("html" if edition == "reader" else edition)
    shutil.rmtree(final, ignore_errors=True)
    os.replace(html, final)
    shutil.rmtree(base / "work", ignore_errors=True)
    print(f"The book is at {final / 'index.html'}\nTo look at it: make serve")
    return final


def serve(port: int = 8000, out: str | os.PathLike[str] = "_build") -> None:
    """Serve the built book on localhost until interrupted."""
    folder = Path(out).resolve() / "html"
    if not (folder / "index.html").is_file():
        raise InputError(f"expected a book in {folder}, found none; `make book` builds it")
    handler = functools.partial(_Quiet, directory=str(folder))
    try:
        server = _Server(("127.0.0.1", port), handler)
    except (OSError, OverflowError) as error:
        raise InputError(f"expected a free port, got {port}: {error}") from error
    print(f"The book is at http://localhost:{server.server_port}/ (stop with Ctrl-C)", flush=True)
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def run_notebooks(
    names: Sequence[str] | None = None,
    *,
    profile: str = "quick",
    out: str | os.PathLike[str],
    parameters: dict[str, Any] | None = None,
    timeout: float = NOTEBOOK_TIMEOUT,
    source: str | os.PathLike[str] = ROOT / "notebooks",
) -> list[Path]:
    """Executed copies of clean notebooks in `out`, with a `manifest.json` beside them.

    Each notebook runs in a process of its own. One that was executed before is kept if neither it, its parameters, the library
    nor the versions of Python and torch changed.

    Args:
        names: notebooks without their suffix; None means all in `source`.
        profile: given to notebooks with a parameter of that name.
        out: where the executed notebooks go.
        parameters: values for the notebooks' parameters, over their defaults.
        timeout: seconds for each notebook.
        source: folder with the clean notebooks.

    Raises:
        InputError: unknown notebook, profile or parameter; nothing is executed then.
        NotebookError: a cell failed or took too long; the text names notebook, cell and error.
    """
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    folder, target = Path(source), Path(out)
    plans = [_plan(path, profile, parameters or {}) for path in _find(folder, names)]
    target.mkdir(parents=True, exist_ok=True)
    for plan in plans:
        _run(plan, target, timeout)
    return [target / plan["path"].name for plan in plans]


def _find(folder: Path, names: Sequence[str] | None) -> list[Path]:
    there = {path.stem: path for path in sorted(folder.glob("*.ipynb"))}
    if not there:
        raise InputError(f"expected notebooks in {folder}, found none")
    for name in names or ():
        if name not in there:
            raise unknown("notebook", name, there)
    return [there[name] for name in names or there]


def _plan(path: Path, profile: str, given: dict[str, Any]) -> dict[str, Any]:
    """What is to be run: the notebook, all its parameters, those to inject, and the facts that decide whether an old run is still good."""
    defaults = _parameters(path)
    for name in given:
        if name not in defaults:
            raise unknown(f"parameter of {path.stem}", name, defaults or ["none"])
    values = {**defaults, **({"profile": profile} if "profile" in defaults else {}), **given}
    # A cell that repeats the defaults would only puzzle the reader.
    inject = {name: value for name, value in values.items() if value != defaults[name]}
    facts = {
        "parameters": values,
        "profile": profile,
        "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "library_sha256": _library_sha256(),
        "versions": _versions(),
    }
    return {"path": path, "inject": inject, "facts": facts}


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
    except (ValueError, SyntaxError):
        return text


@functools.cache
def _library_sha256() -> str:
    """Digest of everything in the package, weights included."""
    digest = hashlib.sha256()
    package = Path(__file__).resolve().parents[1]
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for key, package in (("torch", "torch"), ("xaicl_lib", "xaicl_lib")):
        try:
            found[key] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[key] = "not installed"
    return found


def _run(plan: dict[str, Any], out: Path, timeout: float) -> None:
    """Execute one notebook, unless the executed one in `out` is still good, and note it in the manifest."""
    name, facts = plan["path"].stem, plan["facts"]
    final, manifest = out / plan["path"].name, _read_manifest(out)
    old = manifest.get(name, {})
    if final.is_file() and all(old.get(key) == value for key, value in facts.items()):
        print(f"{name}: unchanged, kept", flush=True)
        return
    print(f"{name}: executing ({facts['profile']} profile)", flush=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=out, prefix=".running-") as scratch:
        draft = Path(scratch) / plan["path"].name
        _papermill(plan, draft, timeout)
        os.replace(draft, final)
    seconds = round(time.monotonic() - start, 1)
    manifest[name] = {**facts, "seconds": seconds, "device": _device(facts["parameters"])}
    _write_manifest(out, manifest)
    print(f"{name}: done in {seconds:.0f} s", flush=True)


def _papermill(plan: dict[str, Any], draft: Path, timeout: float) -> None:
    """Execute in another process, which the outer timeout ends; the draft is only complete if nothing is raised."""
    given = base64.b64encode(json.dumps(plan["inject"]).encode()).decode()
    limits = ["--start-timeout", str(START_TIMEOUT), "--execution-timeout", str(CELL_TIMEOUT)]
    command = [sys.executable, "-m", "papermill", str(plan["path"]), str(draft), "-b", given, "-k", "python3", *limits]
    command += ["--cwd", str(plan["path"].parent), "--progress-bar", "--no-log-output"]
    with _kernel() as environment:
        child = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, errors="replace")
        timer = threading.Timer(timeout, _stop, [child])
        timer.start()
        start = time.monotonic()
        try:
            log = _relay(child)
            code = child.wait()
        finally:
            timer.cancel()
            _stop(child)
    if code and time.monotonic() - start >= timeout:
        raise NotebookError(f"{plan['path'].name} took longer than {timeout:g} s and was stopped")
    if code:
        raise NotebookError(_failure(plan["path"].name, draft, log))


@contextmanager
def _kernel() -> Iterator[dict[str, str]]:
    """Environment in which the kernel `python3` is this very interpreter, whatever kernels the user has, and figures are for the book."""
    with tempfile.TemporaryDirectory(prefix="xaicl-kernel-") as folder:
        spec = Path(folder) / "kernels" / "python3" / "kernel.json"
        spec.parent.mkdir(parents=True)
        launch = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec.write_text(json.dumps({"argv": launch, "display_name": "Python 3", "language": "python"}))
        paths = {"JUPYTER_PATH": folder, "PYTHONPATH": str(ROOT)}
        joined = {key: os.pathsep.join(filter(None, (value, os.environ.get(key)))) for key, value in paths.items()}
        quiet = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        yield {**os.environ, **joined, **quiet, "JUPYTER_PREFER_ENV_PATH": "1", "XAICL_BOOK": "1"}


def _relay(child: subprocess.Popen[str]) -> str:
    """Show the child's progress bar where somebody watches; return the rest of what it says."""
    log = []
    assert child.stderr is not None  # a pipe was asked for
    for line in child.stderr:
        if not line.startswith("Executing:"):
            log.append(line)
        elif sys.stderr.isatty():
            print(f"\r{line.rstrip()}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return "".join(log)


def _stop(child: subprocess.Popen[str]) -> None:
    """End papermill: an interrupt first, so that it ends its kernel, then by force (a kernel without its parent ends itself)."""
    if child.poll() is not None:
        return
    child.send_signal(signal.SIGINT)
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()


def _failure(name: str, draft: Path, log: str) -> str:
    """One line on what went wrong: the failing cell with its error, else the last thing papermill said."""
    cells = nbformat.read(draft, as_version=4).cells if draft.is_file() else []
    added = {"papermill-error-cell-tag", "injected-parameters"}
    own = [cell for cell in cells if not added & set(cell.metadata.get("tags", ()))]
    for number, cell in enumerate(own, start=1):
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                first = next((line for line in cell.source.splitlines() if line.strip()), "")
                return f"{name}, cell {number} of {len(own)} ({first.strip()[:60]!r}): {output.ename}: {output.evalue}"
    said = [line.strip() for line in log.splitlines() if line.strip()]
    return f"{name} failed: {said[-1] if said else 'papermill ended without a word'}"


def _device(parameters: dict[str, Any]) -> str:
    """Name of the device that a notebook with these parameters ran on."""
    import torch

    asked = str(parameters.get("device") or "auto")
    cuda = torch.cuda.is_available() and (asked == "auto" or asked.startswith("cuda"))
    return torch.cuda.get_device_name() if cuda else "cpu" if asked == "auto" else asked


def _read_manifest(out: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((out / "manifest.json").read_text()))
    except (OSError, ValueError):  # none yet, or not ours: everything is executed again
        return {}


def _write_manifest(out: Path, manifest: dict[str, Any]) -> None:
    draft = out / ".manifest.json"
    draft.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    os.replace(draft, out / "manifest.json")


def _require_checkout() -> None:
    missing = [name for name in ("_config.yml", "_toc.yml", "book", "notebooks") if not (ROOT / name).exists()]
    if missing:
        raise InputError(f"expected a checkout of the repository at {ROOT}, but it lacks {', '.join(missing)}")


class _Server(http.server.ThreadingHTTPServer):
    """Does not mind browsers that hang up before they have their answer."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line for each of them."""

    def log_message(self, format: str, *args: Any) -> None:
        pass
