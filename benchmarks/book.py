"""What the two commands cost: this checkout beside another commit, one after the other on the same machine.

    python benchmarks/book.py [setup] [notebooks] [tests] [--base b2a8562] [-o results/cost_book.parquet]

Run from the environment of `make setup`. `setup` installs everything into a new environment, by pip and by uv, both without a cache.
`notebooks` executes the quick profile of all notebooks and `tests` runs the tests, each in a fresh clone of either commit, with as many
processes and threads as that commit takes by itself. Processor seconds are those of the command and all that it has started.
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
CORES = len(os.sched_getaffinity(0))
PHOTOS = ROOT.parent / "shared"


def measured(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> dict[str, float]:
    """Seconds by the clock and of the processor that a command takes; what it says goes to a file beside its folder."""
    began = time.monotonic()
    with (folder / "said.txt").open("w") as said:
        child = subprocess.Popen(command, cwd=folder, env=dict(environment), stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(child.pid, 0)
    seconds = time.monotonic() - began
    lines = (folder / "said.txt").read_text().strip().splitlines()
    if status:
        told = [line for line in lines if line.startswith("FAILED")] + lines[-1:] or ["without a word"]
        raise SystemExit(f"{' '.join(command)} in {folder} failed: {'; '.join(told)}")
    print(f"  {lines[-1]}")
    return {"seconds": seconds, "processor_seconds": used.ru_utime + used.ru_stime}


def clone(commit: str, folder: Path) -> Path:
    """A fresh clone at a commit, with photos beside it where this checkout has some."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), "checkout", "--quiet", "--detach", commit], check=True)
    if PHOTOS.is_dir() and not (folder.parent / "shared").exists():
        (folder.parent / "shared").symlink_to(PHOTOS)
    return folder


def commands(part: str, folder: Path) -> list[str]:
    """How a commit's own Makefile runs the part."""
    if part == "notebooks":
        return [sys.executable, "-m", "xaicl_lib", "run"]
    spread = ["-n", str(CORES), "--dist", "loadfile"] if "--dist loadfile" in (folder / "Makefile").read_text() else []
    return [sys.executable, "-m", "pytest", *spread]


def compared(part: str, base: str) -> list[dict[str, Any]]:
    """One row for the other commit, one for this checkout's last."""
    rows = []
    for commit in (base, "HEAD"):
        with tempfile.TemporaryDirectory() as scratch:
            folder = clone(commit if commit != "HEAD" else _commit(), Path(scratch) / "main")
            print(f"{part} at {commit}:", flush=True)
            took = measured(commands(part, folder), folder, {**os.environ, "PYTHONPATH": str(folder)})
            rows.append({"part": part, "which": commit, **took})
    return rows


def setups() -> list[dict[str, Any]]:
    """One row for pip, one for uv."""
    rows = []
    for installer in ("pip", "uv"):
        with tempfile.TemporaryDirectory() as scratch:
            folder = clone(_commit(), Path(scratch) / "main")
            fresh = {"PIP_NO_CACHE_DIR": "1", "UV_CACHE_DIR": str(Path(scratch) / "cache"), "INSTALLER": installer}
            print(f"setup by {installer}:", flush=True)
            rows.append({"part": "setup", "which": installer, **measured(["make", "setup"], folder, {**os.environ, **fresh})})
    return rows


def _commit() -> str:
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["setup", "notebooks", "tests"], metavar="PART")
    parser.add_argument("--base", default="b2a8562", help="the other commit (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "results" / "cost_book.parquet")
    given = parser.parse_args()
    rows = [row for part in given.parts for row in (setups() if part == "setup" else compared(part, given.base))]
    where = {"device": f"{platform.machine()} CPU, {CORES} cores", "date": datetime.date.today().isoformat(), "commit": _commit()}
    table = pd.DataFrame(rows).assign(**where)
    if given.output.is_file():
        old = pd.read_parquet(given.output)
        table = pd.concat([old[~old["part"].isin(given.parts)], table], ignore_index=True)
    table.to_parquet(given.output, index=False)
    print(table.round(1).to_string(index=False))


if __name__ == "__main__":
    main()
