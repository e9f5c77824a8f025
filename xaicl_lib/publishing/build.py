"""The whole book: notebooks executed, the lab filled, Jupyter Book's pages made and checked; and a local server that shows it."""

import functools
import http.server
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from xaicl_lib.data.fetch import locked
from xaicl_lib.errors import InputError, NotebookError, require
from xaicl_lib.evaluation.sources import code_digest
from xaicl_lib.files import folder_whole
from xaicl_lib.publishing.assets import place_assets, place_onnxruntime
from xaicl_lib.publishing.book import check_pages, repository_address, stage
from xaicl_lib.publishing.editions import EDITIONS
from xaicl_lib.publishing.links import check_site
from xaicl_lib.publishing.pool import CEILING, Job, chosen_jobs, guarded, side_by_side, surroundings
from xaicl_lib.publishing.run import ROOT, _alone_in, run_notebooks


def build_book(
    out: str | os.PathLike[str] = "_build",
    profile: str = "quick",
    edition: str = "reader",
    jobs: int | None = None,
    timeout: float = CEILING,
) -> Path:
    """The book's folder, after executing its notebooks, building it and checking its pages: `<out>/html`, or `<out>/<edition>` of others.

    Args:
        out: where everything made goes; executed notebooks in it are kept as long as nothing they depend on changes.
        profile: "quick" (minutes on a laptop) or "full".
        edition: "reader" (solutions folded), "teacher" (open, with notes) or "student" (left out).
        jobs: processes at a time; None means as many as there are cores.
        timeout: seconds by the clock after which a notebook is given up.

    Raises:
        NotebookError: notebooks failed, Jupyter Book warned, or a page lacks outputs; the book built before stays as it was.
        InputError: not in a checkout, unknown profile, a folder with other things in the book's place or where another run is at work, or
            assets that cannot be had.
    """
    from xaicl_lib.publishing.translations import add_translations  # Babel comes with Sphinx

    _require_checkout()
    require("edition", EDITIONS, edition)
    base = Path(out).resolve()
    final = base / ("html" if edition == "reader" else edition)
    _require_own(base, "src", "work", "work-translations", final.name)
    with _alone_in(base, "book"):
        executed = run_notebooks(profile=profile, out=base / "notebooks" / profile, jobs=jobs, timeout=timeout)
        source = base / "src"
        staged = stage(ROOT, executed, source, repository_address(ROOT), edition)
        place_assets(source / "book" / "_static", ROOT / ".assets")
        _place_lab(source / "book" / "_static" / "lab", base / "lab", jobs)
        html = _build_html(source, base / "work")
        check_pages(staged, html / "notebooks")
        add_translations(source, html, base / "work-translations")
        check_site(html)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(html, final)
        shutil.rmtree(base / "work", ignore_errors=True)
    print(f"The book is at {final / 'index.html'}\nTo look at it: make serve")
    return final


def _require_own(base: Path, *names: str) -> None:
    """Folders of these names give way only where a book was built: notebooks are executed before anything else is made."""
    others = [name for name in names if (base / name).exists()]
    if others and not any(base.glob("notebooks/*/manifest.json")):
        raise InputError(f"expected a folder for the book without {others[0]!r}, which would be replaced, got {str(base)!r}")


def _build_html(source: Path, work: Path) -> Path:
    """Build the staged book from nothing; every warning is an error."""
    shutil.rmtree(work, ignore_errors=True)
    log = source.parent / "jupyter-book.log"
    print("Jupyter Book: building", flush=True)
    code, said = _run_jupyter_book(source, work, "-W", "-n", "--keep-going")
    log.write_text(said)
    html = work / "_build" / "html"
    if code or not (html / "index.html").is_file():
        found = [line for line in said.splitlines() if "WARNING" in line or "ERROR" in line] or said.splitlines()[-5:]
        raise NotebookError(f"Jupyter Book failed, its log is {log}: " + "; ".join(found[:5]))
    return html


def check_outer_links(out: str | os.PathLike[str] = "_build") -> None:
    """Ask every address on other hosts that the staged book links to; what was answered is in `<out>/links/output.txt`.

    Raises:
        InputError: no book was built here.
        NotebookError: names the addresses that do not answer.
    """
    base = Path(out).resolve()
    source, work = base / "src", base / "work-links"
    if not (source / "_toc.yml").is_file():
        raise InputError(f"expected the sources of a book in {source}, found none; `make book` puts them there")
    shutil.rmtree(work, ignore_errors=True)
    _, said = _run_jupyter_book(source, work, "--builder", "linkcheck")
    answers = work / "_build" / "linkcheck" / "output.txt"
    if not answers.is_file():
        raise NotebookError(f"the links were not asked: {' '.join(said.split())[-300:]}")
    (base / "links").mkdir(exist_ok=True)
    shutil.copy2(answers, base / "links" / "output.txt")
    shutil.rmtree(work)
    broken = [line for line in (base / "links" / "output.txt").read_text().splitlines() if "[broken]" in line]
    if broken:
        raise NotebookError(f"{len(broken)} links do not answer: " + "; ".join(broken[:8]))
    print("every link to another host answers")


def _run_jupyter_book(source: Path, work: Path, *options: str) -> tuple[int, str]:
    """Jupyter Book's exit code, and what it said, without its colours."""
    arguments = ["jupyter_book.cli.main:main", "build", str(source), "--path-output", str(work), *options]  # it has no -m form
    code, said = guarded(arguments, surroundings())
    return code, re.sub(r"\x1b\[[0-9;]*m", "", said)


def write_element(
    folder: str | os.PathLike[str], models: Sequence[str] = ("simclr",), out: str | os.PathLike[str] = "_build", jobs: int | None = None
) -> None:
    """Write what `<xaicl-pair>` needs on any page into a folder to put beside it, which replaces one made before.

    The page can ask these models of the lab; those that a build keeps in `out` are not made again.

    Raises:
        InputError: not in a checkout, a model that the lab does not have, a folder that holds something else, or assets that cannot be had.
    """
    from xaicl_lib.lab.gallery import MODELS

    _require_checkout()
    require("model of the lab", MODELS, *models)
    with folder_whole(Path(folder), lambda made: (made / "page" / "pair.js").is_file()) as fresh:
        _place_lab(fresh, Path(out).resolve() / "lab", jobs, list(dict.fromkeys(models)))


def _place_lab(static: Path, cache: Path, jobs: int | None, names: Sequence[str] | None = None) -> None:
    """Put the lab into the folder `static`; `cache` keeps what takes minutes to make, until the library or torch changes."""
    import torch

    from xaicl_lib.lab.gallery import MODELS, write_lab
    from xaicl_lib.lab.search import write_search

    place_onnxruntime(static, ROOT / ".assets")
    state = f"{code_digest('xaicl_lib.lab.gallery')}-torch-{torch.__version__}"
    made = {name: cache / f"{name}-{state}" for name in names or MODELS}
    missing = [name for name, folder in made.items() if not folder.is_dir()]
    if missing:
        _make_lab_models(missing, made, cache, jobs)
    write_lab(static, list(made.values()))
    if names is None:
        write_search(static)


def _make_lab_models(missing: Sequence[str], made: Mapping[str, Path], cache: Path, jobs: int | None) -> None:
    """Make the lab's models side by side; each is kept as it is done, older ones go."""
    print(f"lab: making {', '.join(missing)}", flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache), tempfile.TemporaryDirectory(dir=cache, prefix=".running-", ignore_cleanup_errors=True) as scratch:
        for left in set(cache.glob(".running-*")) - {Path(scratch)}:
            shutil.rmtree(left, ignore_errors=True)
        todo = [name for name in missing if not made[name].is_dir()]  # another process may have made the others meanwhile
        orders = [Job(name, ("xaicl_lib.lab.gallery:main", name, str(Path(scratch) / name)), surroundings()) for name in todo]
        with closing(side_by_side(orders, chosen_jobs(jobs))) as outcomes:
            for outcome in outcomes:
                name = outcome.job.name
                if outcome.problem is not None:
                    raise NotebookError(f"the lab's model {name} could not be made: {outcome.problem}")
                for old in cache.glob(f"{name}-????????????????-*"):
                    shutil.rmtree(old)
                os.replace(Path(scratch) / name, made[name])
                print(f"lab: {name} made in {outcome.seconds:.0f} s", flush=True)


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
