"""Shortcuts planted in heads of several seeds: scores, retrieval and maps, into results/shortcuts.parquet.

    python benchmarks/shortcuts.py [--seeds 12] [--pairs 200] [--maps 24] [-o results/shortcuts.parquet]

Trains the heads (two seconds each) and keeps the rows of each model beside the file until all are there, so a run can be stopped.
"""

import argparse
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from parts import gathered

from xaicl_lib import PairModel
from xaicl_lib.studies import shortcuts
from xaicl_lib.studies.tables import with_provenance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--maps", type=int, default=24)
    parser.add_argument("-o", "--out", type=Path, default=Path("results/shortcuts.parquet"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    names = ["model", "table", "objects", "carried", "method", "device", "torch", "date", "pairs"]
    gathered(
        given.out,
        ((f"{model.name}-{seed}", partial(rows, model, seed, given)) for seed, model in shortcuts.trained_again(given.seeds)),
        names,
    )


def rows(model: PairModel, seed: int, given: argparse.Namespace) -> pd.DataFrame:
    found = shortcuts.measured([model], given.pairs, given.maps, shortcuts.METHODS).assign(seed=seed)
    return with_provenance(found, model, "stickers")


if __name__ == "__main__":
    main()
