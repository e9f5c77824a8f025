"""ResNet-50 (:cite:t:`he2016deep`) as published checkpoints have it, up to its last feature map, and the perceptrons on top.

Layers are named as in torchvision, whose networks the PyTorch checkpoints come from; the stride is on the 3 x 3 convolution.
"""

import itertools
from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from xaicl_lib.model import MeanPool


class _Bottleneck(nn.Module):
    """Residual block of three convolutions, the last four times as wide; a projected shortcut where the shape changes."""

    def __init__(self, c_in: int, c: int, stride: int = 1, project: bool = False) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c_in, c, 1, bias=False), nn.BatchNorm2d(c)
        self.conv2, self.bn2 = nn.Conv2d(c, c, 3, stride, 1, bias=False), nn.BatchNorm2d(c)
        self.conv3, self.bn3 = nn.Conv2d(c, 4 * c, 1, bias=False), nn.BatchNorm2d(4 * c)
        self.relu = nn.ReLU()
        self.downsample = nn.Sequential()
        if project:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, 4 * c, 1, stride, bias=False), nn.BatchNorm2d(4 * c))

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.relu(self.bn3(self.conv3(out)) + self.downsample(x))


class ResNet50(nn.Module):
    """(n, 3, h, w) to the map (n, 32 * filters, h / 32, w / 32) after `layer4`, values >= 0.

    Args:
        filters: of the first layer, 64 in the ResNet-50 of the paper.
        pool: after the first layer; torchvision's if left out.
        blocks: of the four stages.
    """

    def __init__(self, filters: int = 64, pool: nn.Module | None = None, blocks: tuple[int, int, int, int] = (3, 4, 6, 3)) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, filters, 7, 2, 3, bias=False), nn.BatchNorm2d(filters)
        self.relu, self.maxpool = nn.ReLU(), pool or nn.MaxPool2d(3, 2, 1)
        widths = [filters * 2**stage for stage in range(4)]
        self.layer1 = _stage(filters, widths[0], blocks[0], 1)
        self.layer2 = _stage(4 * widths[0], widths[1], blocks[1], 2)
        self.layer3 = _stage(4 * widths[1], widths[2], blocks[2], 2)
        self.layer4 = _stage(4 * widths[2], widths[3], blocks[3], 2)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c i j"]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def _stage(c_in: int, c: int, count: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_Bottleneck(c_in, c, stride, project=True), *(_Bottleneck(4 * c, c) for _ in range(count - 1)))


def perceptron(*widths: int, last_norm: str = "plain", last_bias: bool = False) -> nn.Sequential:
    """Linear layers without bias, each with batch norm and ReLU but the last; (n, widths[0]) to (n, widths[-1]).

    Args:
        widths: from the input to the output.
        last_norm: of the last layer: "none", "plain" (without weights), "affine".
        last_bias: whether the last linear layer has a bias.
    """
    layers: list[nn.Module] = []
    for k, (c_in, c_out) in enumerate(itertools.pairwise(widths), start=2):
        if k < len(widths):
            layers += [nn.Linear(c_in, c_out, bias=False), nn.BatchNorm1d(c_out), nn.ReLU()]
    layers.append(nn.Linear(widths[-2], widths[-1], bias=last_bias))
    if last_norm != "none":
        layers.append(nn.BatchNorm1d(widths[-1], affine=last_norm == "affine"))
    return nn.Sequential(*layers)


def pooled_head(**parts: nn.Module) -> nn.Sequential:
    """Global average pooling, then the parts in order, each under its name: (n, c, i, j) to (n, d)."""
    return nn.Sequential(OrderedDict(pool=MeanPool(), **parts))
