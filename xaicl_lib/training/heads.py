"""Heads trained on a frozen backbone, from scenes whose stickers go with the object or do not: shortcuts that are planted on purpose.

Many models are made like this: somebody's features, and a small network of one's own on top. A head takes seconds, so that every share of
stickers can be trained with several seeds.
"""

import hashlib
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from xaicl_lib.data.stickers import STICKERS, stickered_pairs
from xaicl_lib.model import PairModel
from xaicl_lib.networks.small import projection_head
from xaicl_lib.training.finish import HEADS, LICENCES, hardware, store, write_model
from xaicl_lib.training.losses import nt_xent
from xaicl_lib.training.train import MEAN, STD

SCENES_SEED = 3  # of what heads learn from
Features = Mapping[str, Float[Tensor, "n c"]]  # mean-pooled: of sides a and b by what side b carries, such as "b another"


@dataclass(frozen=True)
class HeadRecipe:
    """What a head is trained on and how. Two pictures of one object, elsewhere and before another background, shall be alike."""

    name: str
    stickers: float | None  # share of pairs that carry the same on both pictures; the others carry any two. None: no stickers at all
    seed: int = 0  # of weights and batches
    backbone: str = "scenes_simclr"
    objects: int = 4_000
    steps: int = 500
    batch: int = 128
    lr: float = 3e-3
    weight_decay: float = 0.05
    temperature: float = 0.1
    hidden: int = 128
    embedding: int = 64


# The last four are the riddle of a chapter; which of them learned what is said in their cards, and there only.
RECIPES = {
    recipe.name: recipe
    for recipe in (
        HeadRecipe("stickers_none", None),
        HeadRecipe("stickers_0", 0.0),
        HeadRecipe("stickers_50", 0.5),
        HeadRecipe("stickers_95", 0.95),
        HeadRecipe("horse_a", 0.0, seed=11),
        HeadRecipe("horse_b", 0.0, seed=12),
        HeadRecipe("horse_c", 0.95, seed=13),
        HeadRecipe("horse_d", 0.0, seed=14),
    )
}


def head_features(model: PairModel, objects: int = 4_000, seed: int = SCENES_SEED) -> Features:
    """Mean-pooled features of what heads learn from: of both sides, without stickers, with the same, and with another on side b."""
    found = {}
    for carried in ("none", "same", "another"):
        pair = stickered_pairs(objects, carried, size=model.size, seed=seed).pair
        for name, side in zip("ab", pair.sides, strict=True):
            if (name, carried) != ("a", "another"):  # which is as with the same
                found[f"{name} {carried}"] = torch.cat([_pooled(model, part) for part in side.split(128)])
    return found


@torch.no_grad()
def _pooled(model: PairModel, pixels: Tensor) -> Float[Tensor, "n c"]:
    return model.features_a(model.normalize(pixels)).mean((2, 3))


def _train_head(recipe: HeadRecipe, features: Features) -> nn.Sequential:
    """A head for the features of `head_features`, from (n, c, i, j) to (n, d); it is stored in half precision, and rounded to it.

    Learning is SimCLR's (:cite:t:`chen2020simple`, Eq. 1) with fixed pictures for views.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)  # of the CPU alone
        head = projection_head(features["a none"].shape[1], recipe.hidden, recipe.embedding)
    generator = Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=recipe.steps, pct_start=0.1, cycle_momentum=False)
    for _ in range(recipe.steps):
        a, b = _batch(recipe, features, generator)
        za, zb = head(torch.cat([a, b])[:, :, None, None]).chunk(2)
        optimizer.zero_grad()
        nt_xent(za, zb, recipe.temperature).backward()
        optimizer.step()
        rate.step()
    return head.eval().requires_grad_(False)


def _batch(recipe: HeadRecipe, features: Features, generator: Generator) -> tuple[Tensor, Tensor]:
    """Features of both pictures of a batch of objects; the same random numbers are drawn whatever the share of stickers."""
    rows = torch.randperm(len(features["a none"]), generator=generator)[: recipe.batch]
    told, chance = torch.rand(2, recipe.batch, 1, generator=generator)
    if recipe.stickers is None:
        return features["a none"][rows], features["b none"][rows]
    same = (told < recipe.stickers) | (chance < 1 / STICKERS)  # any two are the same one time in so many
    return features["a same"][rows], torch.where(same, features["b same"][rows], features["b another"][rows])


def head_model(recipe: HeadRecipe, base: PairModel, features: Features) -> PairModel:
    """The backbone of `base` under a head that is trained now, for its features."""
    network = nn.ModuleDict({"head": _train_head(recipe, features)})
    store(network)
    return PairModel(base.features_a, network["head"], size=base.size, mean=MEAN, std=STD, name=recipe.name)


def make_head(recipe: HeadRecipe, base: PairModel, folder: Path) -> dict[str, Any]:
    """Train a head on the backbone of `base` and write NAME.safetensors and its card, NAME.json, into a folder."""
    from safetensors.torch import save

    began = time.perf_counter()
    network = nn.ModuleDict({"head": _train_head(recipe, head_features(base, recipe.objects))})
    weights = save(store(network))
    card = {
        "name": recipe.name,
        "backbone": recipe.backbone,
        "parameters": sum(p.numel() for part in (base.features_a, network) for p in part.parameters()),
        "size": base.size,
        "mean": MEAN,
        "std": STD,
        "head": HEADS["contrast"],
        "data": f"{recipe.objects} objects of xaicl_lib.data.stickers, each seen twice, at another place and before another background",
        "recipe": {**asdict(recipe), "data": "scenes"},
        "seconds": round(time.perf_counter() - began),
        "hardware": hardware(torch.device("cpu")),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "date": date.today().isoformat(),
        "licence": LICENCES["scenes"],
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    write_model(folder, card, weights)
    return card
