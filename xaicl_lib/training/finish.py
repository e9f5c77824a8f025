"""What follows a training: how good the features are, and the weights with their card."""

import hashlib
import json
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from xaicl_lib.training.train import MEAN, STD, Trainer, normalize

Photos = tuple[Tensor, Tensor]  # (n, 3, s, s) uint8 and labels (n,)


@torch.no_grad()
def encode(module: nn.Module, photos: UInt8[Tensor, "n 3 s s"], chunk: int = 128) -> Tensor:
    """Outputs of a module in evaluation mode, mean-pooled if they are maps: (n, c) on the CPU."""
    device = next(module.parameters()).device
    module.eval()
    out = []
    for part in photos.split(chunk):
        y = module(normalize(part.to(device).float() / 255)).float()
        out.append((y.mean((2, 3)) if y.ndim == 4 else y).cpu())
    return torch.cat(out)


def knn_accuracy(
    train: Float[Tensor, "n c"], train_labels: Int[Tensor, " n"], test: Float[Tensor, "m c"], test_labels: Int[Tensor, " m"], k: int = 20
) -> float:
    """Share of test items whose `k` nearest neighbours by cosine vote for their class (one vote each)."""
    from sklearn.neighbors import KNeighborsClassifier

    judge = KNeighborsClassifier(k, metric="cosine").fit(train.numpy(), train_labels.numpy())
    return float(judge.score(test.numpy(), test_labels.numpy()))


def spread(embeddings: Float[Tensor, "n d"]) -> dict[str, float]:
    """Signs of collapse, both near 0 or 1 for a collapsed model.

    Returns:
        `std`: standard deviation of the unit embeddings per dimension, times sqrt(d); 1 if they fill the sphere evenly.
        `effective_rank`: exp of the entropy of the normalised singular values (:cite:t:`roy2007effective`), at most d.
    """
    z = nn.functional.normalize(embeddings.double())
    share = torch.linalg.svdvals(z - z.mean(0))
    share = share / share.sum()
    entropy = -(share * share.clamp_min(1e-12).log()).sum()
    return {"std": float(z.std(0).mean() * z.shape[1] ** 0.5), "effective_rank": float(entropy.exp())}


def finish(trainer: Trainer, train: Photos, test: Photos, folder: Path) -> dict[str, Any]:
    """Measure the trained network and write `NAME.safetensors` and `NAME.json` into `folder`.

    The accuracies are those of the weights as stored, rounded to half precision. The card is written last, so that
    weights without a card are never taken for a model.
    """
    from safetensors.torch import save

    recipe = trainer.recipe
    network = trainer.network.eval()
    stored = {k: v.cpu().half().contiguous() if v.is_floating_point() else v.cpu() for k, v in network.state_dict().items()}
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in stored.items()})
    features = encode(network["features"], train[0]), encode(network["features"], test[0])
    embeddings = encode(nn.Sequential(network["features"], network["head"]), test[0])
    untrained = recipe.network()["features"].to(trainer.device)
    weights = save(stored)
    card = {
        "name": recipe.name,
        "parameters": sum(p.numel() for p in network.parameters()),
        "size": recipe.photo_size,
        "mean": MEAN,
        "std": STD,
        "head": "three-layer projection head on mean-pooled features",
        "data": f"Imagenette, {len(train[0])} training photos, labels unused; accuracy on {len(test[0])} validation photos",
        "knn_accuracy": round(knn_accuracy(features[0], train[1], features[1], test[1]), 4),
        "knn_accuracy_untrained": round(knn_accuracy(encode(untrained, train[0]), train[1], encode(untrained, test[0]), test[1]), 4),
        "knn": "k = 20, cosine, mean-pooled features, one vote per neighbour",
        "spread": {k: round(v, 4) for k, v in spread(embeddings).items()},
        "recipe": recipe.facts(),
        "epochs": trainer.epoch,
        "seconds": round(trainer.seconds),
        "history": [{k: round(v, 4) for k, v in row.items()} for row in trainer.history],
        "hardware": hardware(trainer.device),
        "mixed_precision": trainer.mixed,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "date": date.today().isoformat(),
        "licence": "MIT (weights); the photos are ImageNet's: research and teaching use",
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{recipe.name}.safetensors", weights)
    write_whole(folder / f"{recipe.name}.json", (json.dumps(card, indent=1) + "\n").encode())
    return card


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)


def hardware(device: torch.device) -> str:
    """What the training ran on, for the card."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU ({torch.backends.cpu.get_cpu_capability()}), {torch.get_num_threads()} threads"
