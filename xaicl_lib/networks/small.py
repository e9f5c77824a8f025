"""The small networks of the bundled zoo: one backbone, so that only the training differs between models.

`build_network` makes all modules of a recipe, for the trainer and for the loader alike.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xaicl_lib.model import MeanPool
from xaicl_lib.networks.transformer import TransformerBlock


class Block(nn.Module):
    """Basic residual block: two 3 x 3 convolutions and a projected shortcut where the shape changes."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.relu2 = nn.ReLU()
        same = c_in == c_out and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(out)) + self.shortcut(x))


def _slim_resnet(widths: tuple[int, ...] = (32, 64, 128, 192), strides: tuple[int, ...] = (1, 2, 2, 1)) -> nn.Sequential:
    """A residual network of one block a stage: (n, 3, h, w) to (n, widths[-1], h / 8, w / 8), values >= 0."""
    layers = [nn.Conv2d(3, widths[0], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    for c_in, c_out, stride in zip((widths[0], *widths), widths, strides, strict=False):
        layers.append(Block(c_in, c_out, stride))
    return nn.Sequential(*layers)


def projection_head(c: int, hidden: int, d: int) -> nn.Sequential:
    """Mean pooling and a three-layer perceptron with batch norm, as in SimCLRv2: (n, c, i, j) to (n, d)."""
    return nn.Sequential(
        MeanPool(),
        nn.Linear(c, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(),
        nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(),
        nn.Linear(hidden, d, bias=False), nn.BatchNorm1d(d, affine=False),
    )  # fmt: skip


def _predictor_head(d: int, hidden: int) -> nn.Sequential:
    """A two-layer perceptron from embeddings to predictions of the other view's: (n, d) to (n, d)."""
    return nn.Sequential(nn.Linear(d, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, d))


def _sine_positions(i: int, j: int, c: int, span: float = 8.0) -> Float[Tensor, "ij c"]:
    """Fixed positions of an i x j grid of tokens: a quarter of the channels each for the sine and cosine of row and column.

    The grid always spans the same range, so that a photo in more pixels has finer positions, not farther ones.

    As in :cite:t:`chen2021empirical`, Sec. 4, but for the range.
    """
    frequency = 1 / 10000 ** (torch.arange(c // 4) / (c // 4))  # (c / 4,)
    rows, columns = ((torch.arange(k) + 0.5) * span / k for k in (i, j))
    angle_i, angle_j = rows.unsqueeze(1) * frequency, columns.unsqueeze(1) * frequency  # (i, c / 4), (j, c / 4)
    angle_i, angle_j = angle_i.repeat_interleave(j, 0), angle_j.repeat(i, 1)  # (i * j, c / 4)
    return torch.cat([angle_i.sin(), angle_i.cos(), angle_j.sin(), angle_j.cos()], 1)


class _SlimViT(nn.Module):
    """A vision transformer (:cite:t:`dosovitskiy2021image`) whose patch tokens come back as a map: (n, 3, h, w) to (n, c, h / 8, w / 8).

    Differs: tokens are made by a few small convolutions, as :cite:t:`xiao2021early` advise, not by one of 8 x 8; there is
    no class token (the head averages the map); positions are fixed and work for every size. No ReLU.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128), depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        c, layers = widths[-1], []
        for c_in, c_out in zip((3, *widths), widths, strict=False):
            layers += [nn.Conv2d(c_in, c_out, 3, 2, 1, bias=False), nn.BatchNorm2d(c_out), nn.GELU()]
        self.tokens = nn.Sequential(*layers, nn.Conv2d(c, c, 1))
        self.blocks = nn.Sequential(*(TransformerBlock(c, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(c)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c i j"]:
        x = self.tokens(x)  # (n, c, i, j)
        n, c, i, j = x.shape
        tokens = x.flatten(2).mT + _sine_positions(i, j, c).to(x)  # (n, i * j, c)
        return self.norm(self.blocks(tokens)).mT.reshape(n, c, i, j)


BACKBONES: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "slim_resnet": lambda recipe: _slim_resnet(tuple(recipe["widths"])),
    "slim_vit": lambda recipe: _SlimViT(tuple(recipe["widths"]), recipe["depth"], recipe["heads"]),
}


def build_network(recipe: Mapping[str, Any]) -> nn.ModuleDict:
    """All modules of a recipe: features and head, and as it says a predictor, a classifier, a momentum branch and a text encoder.

    Args:
        recipe: facts of a recipe, as its card holds them; those of an older card may lack what is not needed.
    """
    features = BACKBONES[recipe.get("architecture", "slim_resnet")](recipe)
    network = nn.ModuleDict({"features": features, "head": projection_head(recipe["widths"][-1], recipe["hidden"], recipe["embedding"])})
    if recipe.get("predictor"):
        network["predictor"] = _predictor_head(recipe["embedding"], recipe["predictor"])
    if recipe.get("classes"):
        network["classifier"] = nn.Linear(recipe["embedding"], recipe["classes"])
    if recipe.get("momentum"):
        for role in ("features", "head"):
            network[role + "_b"] = copy.deepcopy(network[role]).requires_grad_(False)
    if recipe.get("text"):
        from xaicl_lib.networks.text import Temperature, TextEncoder  # which is made of what is here

        network["text"] = TextEncoder(recipe["text"], recipe["text_depth"], recipe["embedding"])
        network["temperature"] = Temperature()
    return network


def branches(network: nn.ModuleDict) -> dict[str, Any]:
    """The modules of a network as `PairModel` takes them.

    With a momentum branch, side a is the query with its predictor and side b the momentum key without one; else both
    sides are features and head, as a predictor only served the training.
    """
    if "text" in network:
        from xaicl_lib.networks.text import Reader

        return {"features": network["features"], "head": network["head"], "text": Reader(network["text"])}
    if "features_b" not in network:
        return {"features": network["features"], "head": network["head"]}
    return {
        "features": network["features"],
        "head": nn.Sequential(network["head"], network["predictor"]),
        "features_b": network["features_b"],
        "head_b": network["head_b"],
    }
