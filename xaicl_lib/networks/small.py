"""The small networks of the bundled zoo: one backbone, so that only the training differs between models.

`build_network` makes all modules of a recipe, for the trainer and for the loader alike.
"""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xaicl_lib.model import MeanPool
from xaicl_lib.networks import vit
from xaicl_lib.networks.transformer import TransformerBlock
from xaicl_lib.tokens import open_tokens

OPENED = 32  # pixels a side of the images by which a network is seen to be the same when it is opened; it takes any


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


def _stem(widths: tuple[int, ...]) -> nn.Sequential:
    """Images to patch tokens as a map, each width at half the size of the one before: (n, 3, h, w) to (n, widths[-1], i, j)."""
    layers: list[nn.Module] = []
    for c_in, c_out in zip((3, *widths), widths, strict=False):
        layers += [nn.Conv2d(c_in, c_out, 3, 2, 1, bias=False), nn.BatchNorm2d(c_out), nn.GELU()]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], widths[-1], 1))


class _SlimViT(nn.Module):
    """A vision transformer (:cite:t:`dosovitskiy2021image`) whose patch tokens come back as a map: (n, 3, h, w) to (n, c, h / 8, w / 8).

    Differs: tokens are made by a few small convolutions, as :cite:t:`xiao2021early` advise, not by one of 8 x 8; there is
    no class token (the head averages the map); positions are fixed and work for every size. No ReLU.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128), depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        c = widths[-1]
        self.tokens = _stem(widths)
        self.blocks = nn.Sequential(*(TransformerBlock(c, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(c)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c i j"]:
        x = self.tokens(x)  # (n, c, i, j)
        n, c, i, j = x.shape
        tokens = x.flatten(2).mT + _sine_positions(i, j, c).to(x)  # (n, i * j, c)
        return self.norm(self.blocks(tokens)).mT.reshape(n, c, i, j)


class _RegisterViT(nn.Module):
    """A vision transformer with a class token, which is its embedding, and registers: (n, 3, h, w) to (n, c).

    Registers (:cite:t:`darcet2024vision`) are tokens of no place and no use but to be written to, so that patch tokens need not be.

    Differs: patch tokens and their positions are made as in the other small transformer, by convolutions and without learning.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128), depth: int = 4, heads: int = 4, registers: int = 4) -> None:
        super().__init__()
        c = widths[-1]
        self.patches = _stem(widths)
        self.class_token, self.registers = (nn.Parameter(0.02 * torch.randn(1, count, c)) for count in (1, registers))
        self.blocks = nn.Sequential(*(vit.TransformerBlock(c, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(c, vit.EPSILON)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c"]:
        x = self.patches(x)  # (n, c, i, j)
        n, c, i, j = x.shape
        prefix = [token.to(x.dtype).expand(n, -1, -1) for token in (self.class_token, self.registers)]
        tokens = torch.cat([*prefix, x.flatten(2).mT + _sine_positions(i, j, c).to(x)], 1)  # (n, 1 + registers + i * j, c)
        return self.norm(self.blocks(tokens))[:, 0]


class Prototypes(nn.Module):
    """Cosines to k directions: (n, d) to (n, k)."""

    def __init__(self, d: int, k: int) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(k, d))

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        return F.linear(F.normalize(x, dim=1), F.normalize(self.directions, dim=1))


def _prototype_head(c: int, hidden: int, d: int, k: int) -> nn.Sequential:
    """The head of distillation (:cite:t:`caron2021emerging`, App. C), cosines to learned directions: (n, c) to (n, k)."""
    layers = (nn.Linear(c, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, d))
    return nn.Sequential(*layers, Prototypes(d, k))


BACKBONES: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "slim_resnet": lambda recipe: _slim_resnet(tuple(recipe["widths"])),
    "slim_vit": lambda recipe: _SlimViT(tuple(recipe["widths"]), recipe["depth"], recipe["heads"]),
    "register_vit": lambda recipe: _RegisterViT(tuple(recipe["widths"]), recipe["depth"], recipe["heads"], recipe["registers"]),
}


class _Temperature(nn.Module):
    """What cosines are multiplied by before the softmax, learned as its logarithm, as in :cite:t:`radford2021learning`, Sec. 2.5."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self) -> Float[Tensor, ""]:
        return self.log_scale


def build_network(recipe: Mapping[str, Any]) -> nn.ModuleDict:
    """All modules of a recipe: features and head, and as it says a predictor, a classifier, a momentum branch and a text encoder.

    Args:
        recipe: facts of a recipe, as its card holds them; those of an older card may lack what is not needed.
    """
    c, hidden, d = recipe["widths"][-1], recipe["hidden"], recipe["embedding"]
    head = _prototype_head(c, hidden, d, recipe["prototypes"]) if recipe.get("prototypes") else projection_head(c, hidden, d)
    network = nn.ModuleDict({"features": BACKBONES[recipe.get("architecture", "slim_resnet")](recipe), "head": head})
    if recipe.get("predictor"):
        network["predictor"] = _predictor_head(recipe["embedding"], recipe["predictor"])
    if recipe.get("classes"):
        network["classifier"] = nn.Linear(recipe["embedding"], recipe["classes"])
    if recipe.get("momentum"):
        for role in ("features", "head"):
            network[role + "_b"] = copy.deepcopy(network[role]).requires_grad_(False)
    if recipe.get("text"):
        from xaicl_lib.networks.text import TextEncoder  # which is made of what is here

        network["text"] = TextEncoder(recipe["text"], recipe["text_depth"], recipe["embedding"])
        network["temperature"] = _Temperature()
    return network


def kept(network: nn.ModuleDict) -> nn.ModuleDict:
    """What of a network is stored: all but a predictor that only served the training; of a student what is below its head."""
    if isinstance(network["features"], _RegisterViT):
        return nn.ModuleDict({"features": network["features"]})
    served = set() if "features_b" in network else {"predictor"}
    return nn.ModuleDict({name: part for name, part in network.items() if name not in served})


def branches(network: nn.ModuleDict) -> dict[str, Any]:
    """The modules of a network, of which what is `kept` is enough, as `PairModel` takes them.

    With a momentum branch, side a is the query with its predictor and side b the momentum key without one; else both
    sides are features and head, as a predictor only served the training. A network that ends in a class token is opened.
    """
    if isinstance(network["features"], _RegisterViT):
        parts = open_tokens(network["features"], OPENED)
        assert parts is not None  # its family is known
        return dict(zip(("features", "head"), parts, strict=True))
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
