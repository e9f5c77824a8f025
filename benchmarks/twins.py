"""Twins of several seeds: heads with one augmentation left out or added, on frozen backbones, dissected: results/twins_seeds.parquet.

    python benchmarks/twins.py [--seeds 5] [--scenes 80] [--explained 8] [-o results/twins_seeds.parquet]

A head learns from two views each of pictures of one object, as its backbone did. Each recipe has heads on the backbone that saw all
augmentations but turns, and each that leaves one out is set beside the full recipe on the backbone that never saw it, too. Within a seed
every recipe has the same weights to begin with, the same batches and the same random numbers of every augmentation; a turn, which only one
recipe has, draws from a stream of its own. The rows of a head are kept beside the file until all are there, so a run can be stopped.
"""

import argparse
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd
import torch
from parts import gathered
from torch import Generator, Tensor

from xaicl_lib import PairModel, augment, load_model
from xaicl_lib.augment.views import Views, random_view
from xaicl_lib.data.scenes import scene_set
from xaicl_lib.studies.dissection import LEFT_OUT, baselines, dissect
from xaicl_lib.studies.tables import drawn_scenes, with_provenance
from xaicl_lib.training.heads import Features, HeadRecipe, head_model
from xaicl_lib.training.recipes import RECIPES

BASE = "scenes_simclr"
OBJECTS, AT_ONCE, POINTS = 4_000, 250, 8
TURNS = 1_000_003  # seeds of turns begin here
HEADS = [(BASE, name) for name in (BASE, *LEFT_OUT)]  # backbone and recipe
HEADS += [(twin, name) for twin, (_, sign) in LEFT_OUT.items() if sign < 0 for name in (BASE, twin)]


def viewed(images: Tensor, views: Views, generator: Generator, turns: Generator) -> Tensor:
    """A random view of each image, whose turn, if it has one, does not change what is drawn for the rest of it."""
    if views.rotation:
        images = augment.rotate(images, views.rotation * (2 * torch.rand(len(images), generator=turns) - 1))
    return random_view(images, replace(views, rotation=0.0), generator)


@torch.no_grad()
def features(base: PairModel, pictures: Tensor, views: Views, seed: int) -> Features:
    """What a head learns from: of one view each of both pictures of every object."""
    streams, found = (Generator().manual_seed(seed), Generator().manual_seed(TURNS + seed)), {}
    for k, side in enumerate("ab"):
        parts = [base.normalize(viewed(part.float() / 255, views, *streams)) for part in pictures[:, k].split(AT_ONCE)]
        found[f"{side} none"] = torch.cat([base.features_a(part).mean((2, 3)) for part in parts])
    return found


def measured(model: PairModel, scenes: Tensor, explained: int) -> pd.DataFrame:
    """Means over scenes: of the scores of all, of the metrics of some, and the baselines of all."""
    alone = dissect([model], scenes, variants=())
    few = dissect([model], scenes[:explained], variants=("plain",), points=POINTS)
    both = pd.concat([alone, few[few["metric"] != "score"]])
    found = both.groupby(["model", "transform", "metric"], sort=False)["value"].agg(value="mean", scenes="count").reset_index()
    return pd.concat([found, baselines(model, scenes).assign(model=model.name, scenes=len(scenes))], ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scenes", type=int, default=80, help="of which the score is asked")
    parser.add_argument("--explained", type=int, default=8, help="of them are explained, too")
    parser.add_argument("-o", "--out", type=Path, default=Path("results/twins_seeds.parquet"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    bases = {name: load_model(name, "cpu") for name, _ in HEADS}
    size = bases[BASE].size
    pictures, scenes = scene_set("train", size, OBJECTS, pictures=2)[0], drawn_scenes(given.scenes, size)[0]

    def rows(seed: int, backbone: str, name: str) -> pd.DataFrame:
        recipe = HeadRecipe(name, None, seed=seed, backbone=backbone, objects=OBJECTS)
        model = head_model(recipe, bases[backbone], features(bases[backbone], pictures, RECIPES[name].views, seed))
        found = measured(model, scenes, given.explained).assign(backbone=backbone, seed=seed)
        return with_provenance(found, model, "scenes of one object")

    parts = (
        (f"{backbone}-{name}-{seed}", partial(rows, seed, backbone, name)) for seed, (backbone, name) in product(range(given.seeds), HEADS)
    )
    gathered(given.out, parts, ["model", "backbone", "transform", "metric", "device", "engine", "torch", "date", "pairs"])


if __name__ == "__main__":
    main()
