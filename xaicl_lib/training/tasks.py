"""What a training asks of its network: functions from views to the arguments of a loss.

A task is `(network, x, labels) -> arguments`, with x the views of n photos one after the other, (v * n, 3, s, s). The
trainer runs it in mixed precision, widens what comes back and hands it to the loss. Views of another size, which some recipes have, are
a fourth argument.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

Task = Callable[..., tuple[Tensor, ...]]


def _embed(network: nn.ModuleDict, x: Tensor) -> Tensor:
    """Embeddings of the branch that learns by gradients."""
    return network["head"](network["features"](x))


def _contrast(network: nn.ModuleDict, x: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """Embeddings of both views (SimCLR, Barlow Twins)."""
    return _embed(network, x).chunk(2)


def _predict(network: nn.ModuleDict, x: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """Predictions and embeddings of both views (SimSiam)."""
    z = _embed(network, x)
    return *network["predictor"](z).chunk(2), *z.chunk(2)


def _momentum_contrast(network: nn.ModuleDict, x: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """Queries of both views, and keys from the momentum branch (MoCo v3)."""
    queries = network["predictor"](_embed(network, x))
    with torch.no_grad():
        keys = network["head_b"](network["features_b"](x))
    return *queries.chunk(2), *keys.chunk(2)


def _distill(network: nn.ModuleDict, x: Tensor, labels: Tensor, local: Tensor) -> tuple[Tensor, ...]:
    """What the teacher says of the whole views, and the student of each view, the local ones last (DINO).

    On a CPU the fused kernel of attention takes three times as long for so few tokens, most of it on its way back.
    """
    with sdpa_kernel(SDPBackend.MATH):
        with torch.no_grad():
            teacher = network["teacher"](x)
        return *teacher.chunk(2), *_embed(network, x).chunk(2), *_embed(network, local).split(len(labels))


def _classify(network: nn.ModuleDict, x: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """Class scores and classes."""
    return network["classifier"](_embed(network, x)), labels.repeat(len(x) // len(labels))


def _group(network: nn.ModuleDict, x: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """Embeddings of all views and their classes (supervised contrastive, triplets)."""
    return _embed(network, x), labels.repeat(len(x) // len(labels))


def _describe(network: nn.ModuleDict, x: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """Embeddings of pictures and of their captions, whose tokens stand in for labels, and the logarithm of 1 / temperature (CLIP)."""
    return _embed(network, x), network["text"](labels), network["temperature"]()


TASKS: dict[str, Task] = {
    "contrast": _contrast, "predict": _predict, "momentum_contrast": _momentum_contrast, "distill": _distill, "classify": _classify,
    "group": _group, "describe": _describe,
}  # fmt: skip
