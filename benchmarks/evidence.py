"""All larger runs behind the pages by one command: what is there, what is missing, how long it takes.

    python benchmarks/evidence.py [NAME ...] [--run] [--store FOLDER] [--device auto] [-o results]

Without --run it lists and starts nothing. With it, every model that has fewer than is wanted is run, one after the other, and each is in
its table when it ends: a run that was stopped goes on with the models that are left, and within a model with what the store has. How long
each took goes to evidence.csv beside the tables, which is where the listing knows it from.

Photos are those of XAICL_IMAGENETTE, photos with conflicting cues those of XAICL_CUE_CONFLICT; `downstream` wants snapshots of trainings
(see `benchmarks/studies.py`). Runs whose data are not at hand are named and left out.
"""

import argparse
import csv
import datetime
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from xaicl_lib.studies.dissection import DOSED, LEFT_OUT

HERE = Path(__file__).parent
SCENES = ("scenes_simclr", "scenes_supervised", *(f"scenes_simclr_{how}" for how in ("no_jitter", "no_grayscale", "no_blur", "rotation")))
PHOTOS = ("simclr", "barlow_twins", "simsiam", "moco_v3", "supervised", "supcon", "triplet")
FOUR = ("scenes_simclr", "scenes_simclr_no_jitter", "simclr", "supervised")
EVERY = "every model"  # of runs that make their tables as a whole
ADDS = ("studies.py", "tables.py")  # scripts that keep the rows of other models when told to
FOLDERS = ("studies.py", "quality.py", "organization.py")  # scripts that are told a folder, and a device
TIMES = ("name", "model", "units", "seconds", "processor_seconds", "device", "torch", "date")


@dataclass(frozen=True)
class Run:
    """A larger run: the table it makes, and what there should be in it.

    Attributes:
        name: of the table, without its ending.
        script: of `benchmarks`, with what is always given to it.
        models: each a run of its own; those of tables that are made as a whole are counted one by one and run together.
        wanted: units of each.
        unit: column that numbers them; `who` is that of the models.
        given: the option that asks for so many, with its number; empty where the script knows.
        stored: whether it takes a store; `apart` whether it can make one model and keep the others.
        needs: what has to be at hand.
    """

    name: str
    script: tuple[str, ...]
    models: tuple[str, ...]
    wanted: int
    unit: str = "pair"
    who: str = "model"
    given: tuple[str, ...] = ()
    stored: bool = True
    apart: bool = True
    needs: str = "XAICL_IMAGENETTE"


def study(name: str, models: Sequence[str], wanted: int, n: int | None = None, **facts: object) -> Run:
    """A run of `studies.py`, which is told `n` to make as many as are wanted."""
    return Run(name, ("studies.py", name), tuple(models), wanted, given=("-n", str(n or wanted)), **facts)  # type: ignore[arg-type]


_JUDGES = ("supervised, corpus", "supervised, logit", "supcon, corpus", "triplet, corpus", "simclr, corpus", "scenes_simclr, corpus")
_UNTRAINED = ("untrained simclr",)
RUNS = (
    study("preference", SCENES, 200, needs=""),
    study("localisation", (*SCENES, *PHOTOS), 64),
    study("truth", (*SCENES, *PHOTOS), 64),
    study("copies", SCENES, 128, needs="", stored=False),
    Run("metrics", ("tables.py",), PHOTOS, 200, given=("-n", "200", "--shaken", "12")),
    Run("variants", ("variants.py",), ("simclr", "moco_v3", "scenes_simclr"), 100, given=("-n", "100"), apart=False),
    study("dissection", (*SCENES[:1], *SCENES[2:], *PHOTOS), 128),
    study("harmful", FOUR, 128, stored=False),
    study("combined", FOUR, 128, stored=False),
    study("inversion", ("simclr", "supervised", "scenes_simclr", "scenes_supervised"), 24, unit="target"),
    study("grey", (*SCENES, *PHOTOS, *_UNTRAINED), 500, unit="target", stored=False),
    study("downstream", PHOTOS, 40, apart=False, needs="runs/*/snapshots"),
    study("texture", (*SCENES, *PHOTOS), 640, 160, unit="stimulus", stored=False, needs="XAICL_CUE_CONFLICT"),
    Run("properties", ("quality.py",), _JUDGES, 64, "image", "judge", ("-n", "64"), stored=False, apart=False),
    Run("contrastivity", ("quality.py",), _JUDGES, 64, "image", "judge", ("-n", "64"), stored=False, apart=False),
    Run("corpus", ("corpus.py", "scenes", "photos", "sizes", "sanity", "views", "localisation"), ("scenes", "photos"), 80, who="part",
        stored=False, apart=False),
    Run("shortcuts", ("shortcuts.py",), tuple(f"stickers_{share}" for share in ("none", "0", "50", "95")), 12, "seed",
        given=("--pairs", "200", "--seeds", "12"), stored=False, apart=False, needs=""),
    Run("twins_seeds", ("twins.py",), (*SCENES[:1], *SCENES[2:]), 5, "seed", given=("--seeds", "5"), stored=False, apart=False, needs=""),
    Run("seeds", ("seeds.py",), (SCENES[0], *LEFT_OUT, *DOSED), 5, "seed", given=("--seeds", "1", "2", "3", "4", "5"),
        stored=False, apart=False, needs=""),
    Run("marks", ("marks.py",), ("stickers_0", "stickers_50", "stickers_95"), 5, "seed",
        given=("--seeds", "1", "2", "3", "4", "5"), stored=False, apart=False, needs=""),
    Run("cells", ("cells.py",), (*SCENES[:3], "simclr", "barlow_twins", "supervised"), 64, given=("-n", "64"), stored=False, apart=False),
    Run("search", ("search.py",), ("apart", "links", "measured", "words", "weights"), 80, who="part", given=("-n", "80"), stored=False,
        apart=False, needs=""),
    Run("organization", ("organization.py", "curves", "layers"), (*PHOTOS, *_UNTRAINED), 13, "draw", stored=False),
    Run("organization_classifiers", ("organization.py", "classifiers"), (*PHOTOS, *_UNTRAINED), 5, "draw", stored=False),
)  # fmt: skip


def counted(run: Run, folder: Path) -> dict[str, int]:
    """How many units a run's table has of each of its models."""
    path = folder / f"{run.name}.parquet"
    if not path.is_file():
        return dict.fromkeys(run.models, 0)
    table = pd.read_parquet(path, columns=[run.who, run.unit])
    found = table.groupby(table[run.who].astype(str))[run.unit].nunique()
    return {model: int(found.get(model, 0)) for model in run.models}


def missing(run: Run, folder: Path) -> list[str]:
    """The models that have to be run, or EVERY in their place."""
    few = [model for model, count in counted(run, folder).items() if count < run.wanted]
    return few if run.apart or not few else [EVERY]


def at_hand(run: Run) -> bool:
    """Whether the data of a run are there."""
    return bool(list(Path().glob(run.needs)) if "*" in run.needs else not run.needs or os.environ.get(run.needs))


def seconds_each(name: str, times: pd.DataFrame) -> float:
    """Seconds of processor that a unit of one model took, over all that was timed of a run; NaN where nothing was."""
    rows = times[times["name"] == name]
    return float(rows["processor_seconds"].sum() / rows["units"].sum()) if len(rows) else float("nan")


def listing(runs: Sequence[Run], folder: Path) -> pd.DataFrame:
    """A row for each run: how many of its models have enough, the fewest units that one has, wanted, and what is left to do.

    `seconds` (of processor, which a busy machine inflates less than the clock) is what a unit of one model took where it was timed, `hours`
    what is missing would take at that pace; NaN where it was not.
    """
    times, rows = known_times(folder), []
    for run in runs:
        have, each = counted(run, folder), seconds_each(run.name, times)
        lack = sum(run.wanted - min(count, run.wanted) for count in have.values())
        enough = f"{sum(count >= run.wanted for count in have.values())} of {len(have)}"
        note = "" if at_hand(run) else f"needs {run.needs}"
        rows.append((run.name, enough, min(have.values()), run.wanted, run.unit, each, lack * each / 3600, note))
    columns = ["table", "models with enough", "fewest", "wanted", "unit", "seconds", "hours", "note"]
    return pd.DataFrame(rows, columns=columns).set_index("table")


def known_times(folder: Path) -> pd.DataFrame:
    path = folder / "evidence.csv"
    return pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=list(TIMES))


def command(run: Run, model: str, folder: Path, store: str | None, device: str) -> list[str]:
    """What makes the rows of one model, or of all."""
    script, *more = run.script
    told = [sys.executable, str(HERE / script), *more, *run.given]
    told += ["--add", "--models", model] if run.apart and script in ADDS else ["--models", model] if run.apart else []
    told += ["--snapshots", *map(str, sorted(Path().glob(run.needs)))] if "*" in run.needs else []
    told += ["--store", store] if store and run.stored else []
    told += ["--device", device] if script in FOLDERS else []
    return [*told, "-o", str(folder if script in FOLDERS else folder / f"{run.name}.parquet")]


def pieces(runs: Sequence[Run], folder: Path) -> Iterator[tuple[Run, str]]:
    """What has to be run, looked up anew before each piece: one script may make two tables."""
    for run in runs:
        for model in missing(run, folder) if at_hand(run) else []:
            if model in missing(run, folder):
                yield run, model


def carry_out(run: Run, model: str, folder: Path, store: str | None, device: str) -> bool:
    """Run one piece and note how long it took; whether it ended well."""
    units = run.wanted * (len(run.models) if model == EVERY else 1)
    told = command(run, model, folder, store, device)
    print(" ".join(told[1:]), flush=True)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ended = subprocess.run(told, check=False).returncode
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if ended == 0:
        kind = torch.cuda.get_device_name() if device.startswith("cuda") else f"{platform.machine()} CPU"
        note(folder, (run.name, model, units, round(seconds, 1), round(processor, 1), kind))
    return ended == 0


def note(folder: Path, row: tuple[object, ...]) -> None:
    path = folder / "evidence.csv"
    new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerows([TIMES] if new else [])
        out.writerow((*row, torch.__version__, datetime.date.today().isoformat()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="tables, such as preference; all without any")
    parser.add_argument("--run", action="store_true", help="run what is missing; else it is only listed")
    parser.add_argument("--store", default="runs/evidence", help="folder where values are kept as they come")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("-o", "--output", type=Path, default=Path("results"))
    given = parser.parse_args()
    known = {run.name: run for run in RUNS}
    if strange := [name for name in given.names if name not in known]:
        parser.error(f"unknown table {strange[0]!r}; there are: {', '.join(known)}")
    runs = [known[name] for name in given.names] or list(RUNS)
    failed = [
        f"{run.name} ({model})"
        for run, model in (pieces(runs, given.output) if given.run else ())
        if not carry_out(run, model, given.output, given.store, given.device)
    ]
    print(listing(runs, given.output).to_string(float_format="{:.1f}".format, na_rep="not timed"))
    print(f"failed: {', '.join(failed)}" if failed else "", end="\n" if failed else "")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
