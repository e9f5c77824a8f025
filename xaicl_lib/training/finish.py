"""What follows a training, or an epoch of one: how good the features are, and the weights with their card."""

import hashlib
import json
import platform
from collections.abc import Callable, Collection
from datetime import date
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from xaicl_lib.errors import InputError
from xaicl_lib.files import written_whole
from xaicl_lib.networks.small import kept
from xaicl_lib.networks.text import Reader
from xaicl_lib.probes import PROBE_C, knn_accuracy, probe_accuracy
from xaicl_lib.training.data import Data, training_labels
from xaicl_lib.training.recipes import Recipe
from xaicl_lib.training.train import MEAN, STD, Trainer, normalize
from xaicl_lib.training.zero_shot import relation_accuracy, zero_shot

MIN_STD, MIN_RANK = 0.2, 5.0  # spread under which a model counts as collapsed


@torch.no_grad()
def encode(module: nn.Module, photos: UInt8[Tensor, "n 3 s s"], chunk: int = 128, mixed: bool = False) -> Tensor:
    """Outputs of a module in evaluation mode, mean-pooled if they are maps: (n, c) on the CPU."""
    device = next(module.parameters()).device
    module.eval()
    out = []
    for part in photos.split(chunk):
        x = normalize(part.to(device).float() / 255).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            y = module(x).float()
        out.append((y.mean((2, 3)) if y.ndim == 4 else y).cpu())
    return torch.cat(out)


def _spread(embeddings: Float[Tensor, "n d"]) -> dict[str, float]:
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


def _check_spread(name: str, found: dict[str, float], d: int) -> None:
    """Refuse a collapsed model."""
    rank = min(MIN_RANK, d / 2)
    if not (found["std"] >= MIN_STD and found["effective_rank"] >= rank):  # also true of NaN
        raise InputError(
            f"training {name!r} collapsed: expected embeddings of std >= {MIN_STD} and effective rank >= {rank:g}, got std "
            f"{found['std']:.3g} and effective rank {found['effective_rank']:.3g}; nothing was written"
        )


def _accuracies(name: str, train: Data, test: Data, features: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """k-NN and linear-probe accuracy on mean-pooled features; for labels of several factors those of each as well."""
    if train[1].ndim == 1:
        labels = train[1], test[1]
        return {"knn_accuracy": _knn(features, labels), "linear_accuracy": _probe(features, labels)}
    each = {}
    for k, factor in enumerate(train[2]):
        labels = train[1][:, k], test[1][:, k]
        each[factor] = {"knn": _knn(features, labels), "linear": _probe(features, labels)}
    first = each[train[2][0]]
    return {"knn_accuracy": first["knn"], "linear_accuracy": first["linear"], "factors": each}


def _knn(features: tuple[Tensor, Tensor], labels: tuple[Tensor, Tensor]) -> float:
    return round(knn_accuracy(features[0], labels[0], features[1], labels[1]), 4)


def _probe(features: tuple[Tensor, Tensor], labels: tuple[Tensor, Tensor]) -> float:
    return round(probe_accuracy(features[0], labels[0], features[1], labels[1]), 4)


def _halved(network: nn.ModuleDict) -> dict[str, Tensor]:
    """The state of a network in half precision, on the CPU; the network stays as it is."""
    return {k: v.cpu().half().contiguous() if v.is_floating_point() else v.cpu() for k, v in network.state_dict().items()}


def store(network: nn.ModuleDict) -> dict[str, Tensor]:
    """The state of a network in half precision, to which the network itself is rounded too."""
    stored = _halved(network)
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in stored.items()})
    return stored


def finish(trainer: Trainer, train: Data, test: Data, folder: Path) -> dict[str, Any]:
    """Measure the trained network and write `NAME.safetensors` and `NAME.json` into `folder`.

    The accuracies are those of the weights as stored, rounded to half precision. The card is written last, so that
    weights without a card are never taken for a model.

    Raises:
        InputError: the model is collapsed; then nothing is written.
    """
    from safetensors.torch import save

    recipe = trainer.recipe
    network = kept(trainer.network.eval())
    stored = store(network)
    embeddings = encode(nn.Sequential(*(network[role] for role in ("features", "head") if role in network)), test[0])
    found = _spread(embeddings)
    _check_spread(recipe.name, found, embeddings.shape[1])
    weights = save(stored)
    card = {
        **_what_it_is(trainer, recipe.name),
        "data": _data_line(recipe, len(train[0]), len(test[0])),
        **_measured(trainer, train, test),
        "spread": {k: round(v, 4) for k, v in found.items()},
        **_how_it_came(trainer, weights),
    }
    write_model(folder, card, weights)
    return card


def _what_it_is(trainer: Trainer, name: str) -> dict[str, Any]:
    """The first lines of a card: what `load_model` needs, and what the network is."""
    recipe = trainer.recipe
    return {
        "name": name,
        "parameters": sum(p.numel() for p in kept(trainer.network).parameters()),
        "size": recipe.photo_size,
        "mean": MEAN,
        "std": STD,
        "head": HEADS[recipe.task],
    }


def _how_it_came(trainer: Trainer, weights: bytes) -> dict[str, Any]:
    """The last lines of a card: the training so far, and the checksum of the weights."""
    recipe = trainer.recipe
    return {
        "recipe": recipe.facts(),
        "epochs": trainer.epoch,
        "seconds": round(trainer.seconds),
        "history": [{k: round(v, 4) for k, v in row.items()} for row in trainer.history],
        "hardware": hardware(trainer.device),
        "mixed_precision": trainer.mixed,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "date": date.today().isoformat(),
        "licence": LICENCES[recipe.data],
        "sha256": hashlib.sha256(weights).hexdigest(),
    }


def write_model(folder: Path, card: dict[str, Any], weights: bytes) -> None:
    """The weights, and then their card."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, data in (("safetensors", weights), ("json", (json.dumps(card, indent=1) + "\n").encode())):
        with written_whole(folder / f"{card['name']}.{suffix}") as part:
            part.write_bytes(data)


HEADS = {
    "contrast": "three-layer projection head on mean-pooled features",
    "predict": "three-layer projection head on mean-pooled features; its predictor served the training and is not stored",
    "momentum_contrast": "a: query with three-layer projection head on mean-pooled tokens and predictor; b: momentum key without predictor",
    "distill": "none: the class token; its registers are left out, its head served the training and is not stored",
    "classify": "three-layer projection head on mean-pooled features; the linear classifier on top is stored, but not part of the model",
    "group": "three-layer projection head on mean-pooled features",
    "describe": "three-layer projection head on mean-pooled features; the text encoder's embeddings lie in the same space",
}
LICENCES = {
    "photos": "MIT (weights); the photos are ImageNet's: research and teaching use",
    "scenes": "MIT (weights and scenes)",
    "captions": "MIT (weights and scenes)",
}


def _data_line(recipe: Recipe, train: int, test: int) -> str:
    """What was learned from and measured on, in words."""
    if recipe.data == "captions":
        kinds = "half with one object, half with two, captions drawn anew at each step"
        return f"procedural scenes of xaicl_lib.data.captions, {train} for training, {kinds}; accuracy on {test // 2} others"
    labels = "labels used" if recipe.task in ("classify", "group") else "labels unused"
    if recipe.data == "scenes":
        labels = labels.replace("labels used", "shapes used as labels")
        pairs = "each object seen twice, at another place and before another background"
        return f"procedural scenes of xaicl_lib.data.scenes, {train} objects for training, {pairs}, {labels}; accuracy on {test} others"
    return f"Imagenette, {train} training photos, {labels}; accuracy on {test} validation photos"


def _measured(trainer: Trainer, train: Data, test: Data) -> dict[str, Any]:
    """The accuracies of the card, of the trained network and, by neighbours, of the untrained one."""
    network, recipe, whole = kept(trainer.network), trainer.recipe, test
    train, test = _known(train), _known(test)
    features = encode(network["features"], train[0]), encode(network["features"], test[0])
    start = kept(recipe.network())["features"].to(trainer.device)
    what = "class token" if recipe.task == "distill" else "mean-pooled features"
    raw = encode(start, train[0], mixed=trainer.mixed), encode(start, test[0], mixed=trainer.mixed)
    labels = training_labels(train), training_labels(test)
    card = {
        **_accuracies(recipe.name, train, test, features),
        "knn_accuracy_untrained": _knn(raw, labels),
        "knn": f"k = 20, cosine, {what}, one vote per neighbour",
        "linear": f"logistic regression, C = {PROBE_C}, on standardised {what.replace('token', 'tokens')}",
        "classes": train[2] if train[1].ndim == 1 else [],
    }
    if recipe.task == "classify":
        scores = encode(nn.Sequential(network["features"], network["head"], network["classifier"]), test[0])
        card["accuracy"] = round(float((scores.argmax(1) == labels[1]).float().mean()), 4)
    if recipe.task == "describe":
        card |= _asked(trainer, test, whole)
    return card


def _known(data: Data) -> Data:
    """The images that labels speak of, with those labels: the first picture of each thing, the captioned scenes of one object."""
    images, labels, names = data
    if labels.ndim == 3:
        alone = labels[:, 1, 0] < 0
        return images[alone], labels[alone, 0], names
    return images if images.ndim == 4 else images[:, 0], labels, names


def _asked(trainer: Trainer, alone: Data, whole: Data) -> dict[str, Any]:
    """What an image-text model answers: by factor on scenes of one object, and how two objects lie to each other."""
    image, read = nn.Sequential(trainer.network["features"], trainer.network["head"]), Reader(trainer.network["text"])
    two = whole[1][:, 1, 0] >= 0
    return {
        "zero_shot": zero_shot(encode(image, alone[0]), alone[1], read),
        "zero_shot_relation": relation_accuracy(encode(image, whole[0][two]), whole[1][two], read),
        "zero_shot_says": "share of scenes whose nearest text is right: one text for each value of a factor; of two opposite relations",
    }


def hardware(device: torch.device) -> str:
    """What the training ran on, for the card."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU ({torch.backends.cpu.get_cpu_capability()}), {torch.get_num_threads()} threads"


def _snapshot_name(recipe: str, epoch: int) -> str:
    """The name of the model that a training was after an epoch; 0 is the untrained network."""
    return f"{recipe}_epoch{epoch}"


def keeper(epochs: Collection[int], folder: Path) -> Callable[[Trainer], None]:
    """What writes snapshots of a training into a folder, to be given to `Trainer.run`.

    A snapshot is `RECIPE_epochN.safetensors`, the state of the network in half precision, and a card with what the training was till
    then, without accuracies; `load_model(_snapshot_name(recipe, n), folder=folder)` loads it. Unlike a finished model it may be
    collapsed or untrained.

    Args:
        epochs: after which to keep the network; 0 for the untrained one.
        folder: for the weights and cards.
    """

    def keep(trainer: Trainer) -> None:
        from safetensors.torch import save

        if trainer.epoch not in epochs:
            return
        weights = save(_halved(kept(trainer.network)))
        card = {**_what_it_is(trainer, _snapshot_name(trainer.recipe.name, trainer.epoch)), **_how_it_came(trainer, weights)}
        write_model(folder, card, weights)

    return keep


def check_epochs(epochs: Collection[int], trainer: Trainer, folder: Path) -> None:
    """Refuse epochs that the training will not come to.

    Raises:
        InputError: epochs after the last one, or before the one that a training was taken up at, unless they were kept then.
    """
    name, last = trainer.recipe.name, trainer.recipe.epochs
    for epoch in sorted(epochs):
        if epoch > last:
            raise InputError(f"expected epochs to keep from 0 (untrained) to {last}, the last one, got {epoch}")
        gone = epoch < trainer.epoch or (epoch == trainer.epoch and trainer.epoch > 0)
        if gone and not (folder / f"{_snapshot_name(name, epoch)}.json").is_file():
            raise InputError(
                f"expected epochs to keep that are still to come, got {epoch}: the training in {str(trainer.out)!r} is at epoch "
                f"{trainer.epoch} already; name another folder or remove it"
            )
