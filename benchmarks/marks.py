"""Shortcuts planted in whole networks of several seeds: scores, retrieval and maps, into results/marks.parquet.

    python benchmarks/marks.py [--seeds 1 2 3 4 5] [--models stickers_0 ...] [--pairs 200] [--maps 24] [-o results/marks.parquet]

The recipe of `scenes_simclr` from its first step, on the same objects with a sticker in each picture, which both pictures of an object
share in 0, 50 or 95 % of cases; asked is what `shortcuts.py` asks of heads. Some ten minutes for each of fifteen trainings on one core; a
run that was stopped goes on, and what is trained is not trained again. The weights stay in `--runs`; the table has their checksums and
accuracies.
"""

import argparse
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd
import torch
from parts import gathered
from seeds import KEPT, trained
from torch import Generator, Tensor
from twins import BASE

from xaicl_lib import load_model
from xaicl_lib.data.scenes import SETS
from xaicl_lib.data.stickers import STICKERS, stickered_pairs
from xaicl_lib.studies import shortcuts
from xaicl_lib.studies.tables import with_provenance
from xaicl_lib.training.heads import RECIPES as SHARES
from xaicl_lib.training.recipes import RECIPES


def pictures(share: float, seed: int, count: int | None = None) -> Tensor:
    """Both pictures of every object, (n, 2, 3, s, s) uint8; who shares a sticker at some share does so at every larger one."""
    most, scenes = SETS["train"]
    same, another = (stickered_pairs(count or most, carried, seed=scenes).pair for carried in ("same", "another"))
    told, chance = torch.rand(2, len(same), 1, 1, 1, generator=Generator().manual_seed(seed))
    both = torch.where(
        (told < share) | (chance < 1 / STICKERS), same.sides[1], another.sides[1]
    )  # any two are the same one time in so many
    return (torch.stack([same.a, both], 1) * 255).round().byte()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--models", nargs="+", choices=shortcuts.MODELS[1:], default=list(shortcuts.MODELS[1:]))
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--maps", type=int, default=24)
    parser.add_argument("--runs", type=Path, default=Path("runs/marks"), help="for checkpoints, weights and cards")
    parser.add_argument("-o", "--out", type=Path, default=Path("results/marks.parquet"))
    given = parser.parse_args()
    torch.set_num_threads(1)

    def rows(seed: int, name: str) -> pd.DataFrame:
        folder = given.runs / f"{name}-{seed}"
        share = SHARES[name].stickers
        card = trained(replace(RECIPES[BASE], name=name, seed=seed), folder, pictures(share, seed))
        model = load_model(name, "cpu", folder=folder)
        found = shortcuts.measured([model], given.pairs, given.maps, shortcuts.METHODS)
        found = found.assign(seed=seed, **{key: card[key] for key in KEPT})
        return with_provenance(found, model, "stickers")

    parts = ((f"{name}-{seed}", partial(rows, seed, name)) for seed, name in product(given.seeds, given.models))
    gathered(given.out, parts, ["model", "table", "objects", "carried", "method", "sha256", "device", "torch", "date", "pairs"])


if __name__ == "__main__":
    main()
