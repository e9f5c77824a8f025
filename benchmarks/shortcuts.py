"""Shortcuts planted in heads of several seeds: scores, retrieval and maps, into results/shortcuts.parquet.

    python benchmarks/shortcuts.py [--seeds 5] [--pairs 200] [--maps 24] [-o results/shortcuts.parquet]

Trains the heads (two seconds each) and keeps the rows of each model beside the file until all are there, so a run can be stopped.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch

from xaicl_lib.files import written_whole
from xaicl_lib.studies import shortcuts
from xaicl_lib.studies.tables import with_provenance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--maps", type=int, default=24)
    parser.add_argument("-o", "--out", type=Path, default=Path("results/shortcuts.parquet"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    kept = given.out.with_suffix(".parts")
    kept.mkdir(parents=True, exist_ok=True)
    for seed, model in shortcuts.trained_again(given.seeds):
        part = kept / f"{model.name}-{seed}.parquet"
        if not part.is_file():
            rows = shortcuts.measured([model], given.pairs, given.maps, shortcuts.METHODS).assign(seed=seed)
            with written_whole(part) as whole:
                with_provenance(rows, model, "stickers").to_parquet(whole, index=False)
            print(f"{model.name}, seed {seed}", flush=True)
    found = pd.concat([pd.read_parquet(path) for path in sorted(kept.glob("*.parquet"))], ignore_index=True)
    names = ["model", "table", "objects", "carried", "method", "device", "torch", "date", "pairs"]
    with written_whole(given.out) as whole:
        found.astype(dict.fromkeys(names, "category")).to_parquet(whole, index=False)
    for path in kept.glob("*.parquet"):
        path.unlink()
    kept.rmdir()


if __name__ == "__main__":
    main()
