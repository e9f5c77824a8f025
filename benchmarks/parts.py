"""Runs of many parts that can be stopped: each part is kept beside the table until all of them are there."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from xaicl_lib.files import written_whole


def gathered(out: Path, parts: Iterable[tuple[str, Callable[[], pd.DataFrame]]], names: Sequence[str]) -> None:
    """Write the rows of all parts as one table; those that an earlier run has kept are not made again.

    Args:
        out: the Parquet file.
        parts: a name, and what makes the rows; in any order, each name once.
        names: columns of few different values.
    """
    kept = out.with_suffix(".parts")
    kept.mkdir(parents=True, exist_ok=True)
    for name, make in parts:
        path = kept / f"{name}.parquet"
        if not path.is_file():
            rows = make()
            with written_whole(path) as whole:
                rows.to_parquet(whole, index=False)
            print(name, flush=True)
    found = pd.concat([pd.read_parquet(path) for path in sorted(kept.glob("*.parquet"))], ignore_index=True)
    with written_whole(out) as whole:
        found.astype(dict.fromkeys(names, "category")).to_parquet(whole, index=False)
    for path in kept.glob("*.parquet"):
        path.unlink()
    kept.rmdir()
