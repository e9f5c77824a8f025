"""Twins of several seeds, trained whole: the scenes' recipe, with one augmentation left out, added or dosed: results/seeds.parquet.

    python benchmarks/seeds.py [--seeds 1 2 3 4 5] [--recipes scenes_simclr ...] [--runs runs/seeds] [-o results/seeds.parquet]

Some ten minutes each on one core, thirty-five of them; a run that was stopped goes on after its last whole epoch, and two processes may
share the work if each is given seeds or recipes of its own: what is trained is not trained again. Within a seed every recipe has the same
weights to begin with, the same batches and the same random numbers of every augmentation; a turn, which only one recipe has, draws from a
stream of its own.
The weights stay in `--runs`; the table has their checksums and accuracies.
"""

import argparse
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from parts import gathered
from torch import Generator, Tensor
from tqdm import tqdm
from twins import BASE, TURNS, measured, viewed

from xaicl_lib import load_model
from xaicl_lib.studies.dissection import DOSED, JITTER_DOSES, LEFT_OUT, WHOLE
from xaicl_lib.studies.tables import drawn_scenes, with_provenance
from xaicl_lib.training.data import load_data, training_labels
from xaicl_lib.training.finish import finish
from xaicl_lib.training.recipes import RECIPES, Recipe
from xaicl_lib.training.train import Trainer, _pictures, normalize

KEPT = ("knn_accuracy", "linear_accuracy", "sha256")  # of a card


def recipes() -> dict[str, Recipe]:
    base = RECIPES[BASE]
    dosed = {name: tuple(dose * strength for strength in base.views.jitter) for name, dose in JITTER_DOSES.items() if name in DOSED}
    named = {name: replace(base, name=name, views=replace(base.views, jitter=jitter)) for name, jitter in dosed.items()}
    return {**{name: RECIPES[name] for name in (BASE, *LEFT_OUT)}, **named}


class Apart(Trainer):
    """A training whose turns have a stream of their own, anew in each epoch, so that it can be stopped."""

    def _one_epoch(self, bar: tqdm) -> float:
        self.turns = Generator().manual_seed(TURNS + 1000 * self.recipe.seed + self.epoch)
        return super()._one_epoch(bar)

    def _views(self, photos: Tensor, kinds: Any) -> Tensor:
        sources = _pictures(photos, len(kinds), self.generator)
        views = [viewed(source, kind, self.generator, self.turns) for source, kind in zip(sources, kinds, strict=True)]
        return normalize(torch.cat(views)).contiguous(memory_format=torch.channels_last)


def trained(recipe: Recipe, out: Path, pictures: Tensor | None = None) -> dict[str, Any]:
    """The card of a training, which is taken up where it was stopped; on the scenes of the recipe, or other pictures of them."""
    train, test = load_data(recipe)
    train = train if pictures is None else (pictures, *train[1:])
    trainer = Apart(recipe, train[0], out, "cpu", training_labels(train))
    trainer.run()
    return finish(trainer, train, test, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--recipes", nargs="+", choices=recipes(), default=list(recipes()))
    parser.add_argument("--scenes", type=int, default=80, help="of which the score is asked")
    parser.add_argument("--explained", type=int, default=8, help="of them are explained, too")
    parser.add_argument("--runs", type=Path, default=Path("runs/seeds"), help="for checkpoints, weights and cards")
    parser.add_argument("-o", "--out", type=Path, default=Path("results/seeds.parquet"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    scenes = drawn_scenes(given.scenes, RECIPES[BASE].photo_size)[0]

    def rows(seed: int, name: str) -> pd.DataFrame:
        folder = given.runs / f"{name}-{seed}"
        card = trained(replace(recipes()[name], seed=seed), folder)
        model = load_model(name, "cpu", folder=folder)
        found = measured(model, scenes, given.explained).assign(backbone=WHOLE, seed=seed, **{key: card[key] for key in KEPT})
        return with_provenance(found, model, "scenes of one object")

    parts = ((f"{name}-{seed}", partial(rows, seed, name)) for seed, name in product(given.seeds, given.recipes))
    gathered(given.out, parts, ["model", "backbone", "transform", "metric", "sha256", "device", "engine", "torch", "date", "pairs"])


if __name__ == "__main__":
    main()
