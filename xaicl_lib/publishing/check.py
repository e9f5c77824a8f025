"""Anyone who runs the notebooks again sees the same: nbval executes them once more and compares with what papermill stored."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from xaicl_lib.errors import NotebookError
from xaicl_lib.publishing.pool import chosen_jobs, surroundings
from xaicl_lib.publishing.run import ROOT, run_notebooks

SANITISED = ROOT / "tests" / "nbval.cfg"  # what may differ: times, dates, versions, ids, digits beyond the sixth
CELL_TIMEOUT = 3600  # seconds; a slow machine is no error


def check_notebooks(names: Sequence[str] | None = None, *, out: str | os.PathLike[str], jobs: int | None = None) -> None:
    """Run notebooks again and compare each output with that of the executed copies in `out`, made first where missing.

    Arguments are those of `run_notebooks`; the profile is the quick one.

    Raises:
        InputError: as there.
        NotebookError: an output differs; pytest has printed which, and how.
    """
    executed = run_notebooks(names, out=out, jobs=jobs)
    with tempfile.TemporaryDirectory(prefix="xaicl-check-") as scratch:
        folder = _beside_results(executed, Path(scratch))
        if _compare(folder, min(chosen_jobs(jobs), len(executed))):
            raise NotebookError("notebooks run again did not give what is stored; the lines above say where")


def _beside_results(executed: Sequence[Path], scratch: Path) -> Path:
    """A folder with copies of executed notebooks that finds the stored results where the notebooks look for them."""
    (scratch / "results").symlink_to(ROOT / "results", target_is_directory=True)
    folder = scratch / "notebooks"
    folder.mkdir()
    for path in executed:
        shutil.copy2(path, folder)
    return folder


def _compare(folder: Path, jobs: int) -> int:
    """Pytest's exit code after nbval has compared every notebook in a folder."""
    options = ["--nbval", "--nbval-current-env", f"--nbval-sanitize-with={SANITISED}", f"--nbval-cell-timeout={CELL_TIMEOUT}"]
    spread = ["-n", str(jobs), "--dist", "loadfile"] if jobs > 1 else []
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *options, *spread, str(folder)]
    return subprocess.run(command, cwd=folder, env={**surroundings(), "XAICL_BOOK": "1"}, check=False).returncode
