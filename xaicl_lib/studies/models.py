"""The bundled models side by side: what their cards say, what they find alike, what leaving out one augmentation changes."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from xaicl_lib.data.scenes import FACTORS, SETS
from xaicl_lib.model import PairModel

Card = dict[str, Any]


def card_table(cards: Sequence[Card]) -> pd.DataFrame:
    """One row per model: how it was trained and how well it does."""
    rows = []
    for card in cards:
        recipe = card["recipe"]
        rows.append(
            {
                "model": card["name"],
                "data": recipe.get("data", "photos"),
                "backbone": recipe.get("architecture", "slim_resnet"),
                "parameters": card["parameters"],
                "loss": recipe["loss"],
                "epochs": card["epochs"],
                "minutes": round(card["seconds"] / 60, 1),
                "k-NN": card["knn_accuracy"],
                "k-NN untrained": card["knn_accuracy_untrained"],
                "linear probe": card.get("linear_accuracy", float("nan")),
            }
        )
    return pd.DataFrame(rows).set_index("model")


def spread_table(cards: Sequence[Card]) -> pd.DataFrame:
    """One row per model: how far its embeddings spread; 1 and the number of dimensions if they fill the sphere evenly."""
    rows = [{"model": card["name"], **card["spread"], "dimensions": card["recipe"]["embedding"]} for card in cards]
    return pd.DataFrame(rows).set_index("model")


def factor_table(cards: Sequence[Card]) -> pd.DataFrame:
    """One row per model of scenes and factor: accuracy by neighbours and by linear probe, and what guessing would give."""
    rows = [
        {"model": card["name"], "factor": factor, **accuracy, "chance": 1 / len(FACTORS[factor])}
        for card in cards
        for factor, accuracy in card["factors"].items()
    ]
    return pd.DataFrame(rows)


def twin_table(base: Card, twins: Sequence[Card]) -> pd.DataFrame:
    """One row per twin and factor: its linear-probe accuracy minus that of the model it is a twin of.

    `low` and `high` are a 95 % interval of the difference over test scenes, (p - q) -/+ 1.96 sqrt(p (1 - p) / n + q (1 - q) / n).
    It knows nothing of how another seed of the training would have come out.
    """
    n = SETS["val"][0]
    rows = []
    for twin in twins:
        for factor, accuracy in twin["factors"].items():
            p, q = accuracy["linear"], base["factors"][factor]["linear"]
            half = 1.96 * ((p * (1 - p) + q * (1 - q)) / n) ** 0.5
            rows.append({"model": twin["name"], "factor": factor, "difference": p - q, "low": p - q - half, "high": p - q + half})
    return pd.DataFrame(rows)


@torch.no_grad()
def nearest(
    model: PairModel, queries: Float[Tensor, "n 3 h w"], gallery: Float[Tensor, "m 3 h w"], k: int = 6
) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
    """The `k` images of a gallery that a model finds most similar to each query, and their scores (cosine), best first.

    Queries are side a, the gallery is side b. An image does not find itself: equal pictures are left out.
    """
    z_a, z_b = (F.normalize(model.encode(images, side)).cpu() for images, side in ((queries, "a"), (gallery, "b")))
    scores = z_a @ z_b.T  # (n, m)
    for row, query in enumerate(queries):
        scores[row, (gallery == query).flatten(1).all(1).cpu()] = -2
    best = scores.topk(k, 1)
    return best.indices, best.values
