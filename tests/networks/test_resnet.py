"""ResNet-50 against torchvision's, pooling against TensorFlow's results, perceptrons against their formula."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from tests.conftest import assert_close
from tests.zoo.published import random_state
from xaicl_lib import PairModel
from xaicl_lib.checkpoints.simclr_v2 import _SamePool
from xaicl_lib.networks.resnet import ResNet50, perceptron

FIXTURES = Path(__file__).parents[1] / "checkpoints" / "fixtures"


def slim_resnet50(**options) -> ResNet50:
    net = ResNet50(8, **options).eval()
    net.load_state_dict(random_state(net.state_dict()))
    return net


def test_equals_torchvisions() -> None:
    with torch.device("meta"):
        theirs, ours = torchvision.models.resnet50(num_classes=10).eval(), ResNet50().eval()
    state = random_state(theirs.state_dict())
    theirs.load_state_dict(state, assign=True)
    ours.load_state_dict({name: value for name, value in state.items() if not name.startswith("fc.")}, assign=True)
    theirs.fc, theirs.avgpool = nn.Identity(), nn.Identity()
    x = torch.randn(1, 3, 64, 96)
    assert ours(x).shape == (1, 2048, 2, 3)
    assert_close(ours(x).flatten(1), theirs(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", [6, 7])
def test_pooling_and_padding_equal_tensorflows(side) -> None:
    """Even and odd sides in one image, negative values, so that padding by zeros would show."""
    layers = np.load(FIXTURES / "tiny_outputs.npz")
    x, pooled, kernel, convolved = (torch.from_numpy(layers[f"layers/{k}_{side}"]) for k in ("x", "pool", "kernel", "conv"))
    assert x.max() < 1
    assert_close(_SamePool()(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), pooled, rtol=0, atol=0)
    assert not torch.equal(nn.MaxPool2d(3, 2, 1)(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), pooled)
    conv = nn.Conv2d(2, 3, 3, 2, 1, bias=False)
    conv.weight = nn.Parameter(kernel.permute(3, 2, 0, 1))
    assert_close(conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), convolved, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("pool", [None, _SamePool()])
def test_every_norm_is_folded(pool) -> None:
    model = PairModel(slim_resnet50(pool=pool), size=64)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.fast._parts.modules())
    for side in (64, 65):
        x = torch.rand(2, 3, side, 80)
        got, want = model.fast.features_a(x), model.features_a(x)
        assert_close(got, want, rtol=1e-4, atol=1e-5 * want.abs().max().item())


def test_perceptrons_end_as_asked() -> None:
    x = torch.randn(5, 4)
    for last_norm, kinds in (("none", 4), ("plain", 5), ("affine", 5)):
        net = perceptron(4, 6, 3, last_norm=last_norm, last_bias=last_norm == "none").eval()
        net.load_state_dict(random_state(net.state_dict()))
        assert len(net) == kinds
        first, norm, _, last = net[:4]
        scale = norm.weight / (norm.running_var + 1e-5).sqrt()
        want = ((x @ first.weight.T - norm.running_mean) * scale + norm.bias).relu() @ last.weight.T
        if last_norm == "none":
            want = want + last.bias
        else:
            end = net[4]
            want = (want - end.running_mean) / (end.running_var + 1e-5).sqrt()
            want = want * end.weight + end.bias if last_norm == "affine" else want
        assert_close(net(x), want, rtol=1e-4, atol=1e-5)
        assert first.bias is None
