"""The bundled models side by side: what their cards say, what they find alike, what leaving out one augmentation changes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from xaicl_lib import augment
from xaicl_lib.data.photos import SAMPLES, imagenette, open_photo
from xaicl_lib.data.scenes import FACTORS, SETS
from xaicl_lib.studies.tables import drawn_scenes
from xaicl_lib.zoo import list_models, load_model, model_card

Card = dict[str, Any]
SPREAD = ["std", "effective_rank", "dimensions"]  # columns of a table of cards
_TILES = [(x, y, 0.4, 0.4) for y in (0, 0.3, 0.6) for x in (0, 0.3, 0.6)]  # left, top, width, height of the parts of a photo


def cards(of: str | None = None) -> list[Card]:
    """The cards of the bundled models: of those of "photos", of those of "scenes" (which have factors), or of all."""
    every = [model_card(name) for name in list_models()]
    return [card for card in every if of in (None, "scenes" if "factors" in card else "photos")]


def card_table(cards: Sequence[Card]) -> pd.DataFrame:
    """One row per model: how it was trained, how well it does, and how far its embeddings spread (`SPREAD`).

    Embeddings that fill the sphere evenly have a std of 1 and an effective_rank that is the number of dimensions.
    """
    rows = [
        {
            "model": card["name"],
            "k-NN": card["knn_accuracy"],
            "k-NN untrained": card["knn_accuracy_untrained"],
            "linear probe": card.get("linear_accuracy", float("nan")),
            "loss": card["recipe"]["loss"],
            "backbone": card["recipe"].get("architecture", "slim_resnet"),
            "parameters": card["parameters"],
            "epochs": card["epochs"],
            "minutes": round(card["seconds"] / 60, 1),
            "data": card["recipe"].get("data", "photos"),
            **card["spread"],
            "dimensions": card["recipe"]["embedding"],
        }
        for card in cards
    ]
    return pd.DataFrame(rows).set_index("model")


def factor_table(cards: Sequence[Card]) -> pd.DataFrame:
    """One row per model of scenes and factor: accuracy by neighbours and by linear probe, and what guessing would give."""
    rows = [
        {"model": card["name"], "factor": factor, **accuracy, "chance": 1 / len(FACTORS[factor])}
        for card in cards
        for factor, accuracy in card["factors"].items()
    ]
    return pd.DataFrame(rows)


def twin_table(cards: Sequence[Card], base: str = "scenes_simclr") -> pd.DataFrame:
    """One row per twin and factor: its linear-probe accuracy minus that of the model it is a twin of.

    `low` and `high` are a 95 % interval of the difference over test scenes, (p - q) -/+ 1.96 sqrt(p (1 - p) / n + q (1 - q) / n).
    It knows nothing of how another seed of the training would have come out.

    Twins are named after their model, such as scenes_simclr_no_jitter.
    """
    n, known = SETS["val"][0], {card["name"]: card["factors"] for card in cards}
    rows = []
    for name in known:
        for factor, accuracy in known[name].items() if name.startswith(f"{base}_") else ():
            p, q = accuracy["linear"], known[base][factor]["linear"]
            half = 1.96 * ((p * (1 - p) + q * (1 - q)) / n) ** 0.5
            rows.append({"model": name, "factor": factor, "difference": p - q, "low": p - q - half, "high": p - q + half})
    return pd.DataFrame(rows)


@dataclass(frozen=True, eq=False)
class Gallery:
    """Pictures to look for, and pictures to look among."""

    queries: Float[Tensor, "n 3 s s"]  #: in [0, 1]
    asked: list[str]  #: what each query is
    pictures: Float[Tensor, "m 3 s s"]  #: in [0, 1], the queries perhaps among them
    labels: list[str]  #: what each picture is


def tiles(names: Sequence[str], size: int = 96) -> Gallery:
    """Nine tiles of each sample photo to look among, and to look for the middle tiles of those that are named."""
    photos = [open_photo(name, 240).expand(len(_TILES), -1, -1, -1) for name in SAMPLES]
    pictures = torch.cat([augment.resized_crop(photo, torch.tensor(_TILES), size) for photo in photos])
    middle = [len(_TILES) * list(SAMPLES).index(name) + len(_TILES) // 2 for name in names]
    return Gallery(pictures[middle], [f"A tile of {name}" for name in names], pictures, [name for name in SAMPLES for _ in _TILES])


def validation_photos(count: int) -> Gallery | None:
    """So many photos of Imagenette that no model was trained on, and one of them to look for; None where no folder of them is named."""
    if not os.environ.get("XAICL_IMAGENETTE"):
        return None
    images, classes, wnids = imagenette("val", 96, limit=count)
    pictures = images.float() / 255
    return Gallery(pictures[count // 2 :][:1], ["A validation photo"], pictures, [wnids[c] for c in classes])


def many_scenes(count: int, seed: int = 0) -> Gallery:
    """So many scenes, and the first of them to look for."""
    pictures, labels = drawn_scenes(count, 64, seed)
    return Gallery(pictures[:1], [f"A scene, {labels[0]},"], pictures, labels)


Found = dict[str, tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]]


@torch.no_grad()
def nearest_by(names: Sequence[str], gallery: Gallery, k: int = 6, device: str = "auto") -> Found:
    """For each of these models the `k` pictures of a gallery that it finds most similar to each query: their places and scores.

    Scores are cosines, best first. Queries are side a, the gallery is side b. An image does not find itself: equal pictures are left out.
    """
    same = torch.stack([(gallery.pictures == query).flatten(1).all(1) for query in gallery.queries])  # (n, m)
    found = {}
    for name in names:
        model = load_model(name, device)
        sides = (gallery.queries, "a"), (gallery.pictures, "b")
        z_a, z_b = (F.normalize(model.encode(images, side)).cpu() for images, side in sides)
        best = (z_a @ z_b.T).masked_fill(same, -2).topk(k, 1)
        found[name] = best.indices, best.values
    return found
