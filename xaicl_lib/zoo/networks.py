"""The small networks of the bundled zoo: one backbone, so that only the training differs between models."""

from torch import Tensor, nn

from xaicl_lib.model import MeanPool


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


def slim_resnet(widths: tuple[int, ...] = (32, 64, 128, 192), strides: tuple[int, ...] = (1, 2, 2, 1)) -> nn.Sequential:
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
