"""Methods of others that were written anew, held to their definitions on networks of which the answer is known."""

import pytest
import torch
from torch import nn

from benchmarks import peers
from xaicl_lib import Pair, PairModel
from xaicl_lib.scores import cosine


def network(*convolutions: nn.Conv2d) -> nn.Sequential:
    for layer in convolutions:
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*(part for layer in convolutions for part in (layer, nn.ReLU())))


@pytest.fixture
def model() -> PairModel:
    """Of 16 pixels and 5 numbers, without biases, so that nothing is lost to them."""
    return PairModel(network(nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 1, 1), nn.Conv2d(8, 5, 1)), size=16, mean=0.5, std=0.25)


@pytest.fixture
def pair() -> Pair:
    return Pair(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16))


def test_bilrp_shares_out_the_whole_score(model, pair) -> None:
    made, z = peers.bilrp(model, pair), [model.encode(side, name) for side, name in zip(pair.sides, "ab", strict=True)]
    assert made.joint.shape == (1, 8, 8, 8, 8)
    for total in (made.joint.sum(), made.a.sum(), made.b.sum(), made.score.sum()):
        assert total.item() == pytest.approx(cosine(*z).item(), abs=1e-5)


def test_bilrp_is_gradient_times_input_number_by_number_where_gamma_is_nothing(model, pair, monkeypatch) -> None:
    monkeypatch.setattr(peers, "GAMMA", 0.0)
    rows = []
    for x in map(model.normalize, pair.sides):
        x = x.requires_grad_()
        z = model.embed_a(x)[0]
        each = [(x * torch.autograd.grad(number, x, retain_graph=True)[0]).sum(1)[0] for number in z]
        rows.append(torch.stack([torch.nn.functional.avg_pool2d(4 * m[None], 2)[0] for m in each]) / z.detach().norm())
    expected = torch.einsum("mij,mkl->ijkl", *rows)
    assert torch.allclose(peers.bilrp(model, pair).joint[0], expected, atol=1e-6)


def test_the_gamma_rule_is_as_it_is_defined(model, pair) -> None:
    """By hand, backwards through the last convolution, of one place: inputs times favoured weights, as shares."""
    features = model.fast.features_a
    inner = features[:4](model.fast.normalize(pair.a)).detach()
    weights = features[4].weight[:, :, 0, 0]
    x = inner[0, :, 3, 5]
    out = (weights @ x).clamp_min(0)
    favoured = x * (weights + peers.GAMMA * weights.clamp_min(0))
    expected = (favoured / favoured.sum(1, keepdim=True) * out.unsqueeze(1)).nan_to_num(0).sum(0)
    inner.requires_grad_()
    with peers._gamma_rule(features):
        (gradient,) = torch.autograd.grad(features[4:](inner)[0, :, 3, 5].sum(), inner)
    assert out.max() > 0
    assert torch.allclose((inner * gradient)[0, :, 3, 5], expected, atol=1e-6)
    assert not any(layer._forward_hooks for layer in features)


def test_random_masks_that_leave_the_sides_nearest_show_what_they_share() -> None:
    model = PairModel(nn.Conv2d(3, 3, 1, bias=False).requires_grad_(False), size=32, mean=0.5, std=0.5)
    model.features_a.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
    a = torch.full((1, 3, 32, 32), 0.5)
    a[:, 0, :8, :8] = a[:, 1, 24:, 24:] = 1.0
    b = torch.full((1, 3, 32, 32), 0.5)
    b[:, 0] = 1.0
    found = peers.distance_explainer(model, Pair(a, b)).a[0]
    assert found[2:6, 2:6].mean() > 0.3
    assert found[26:30, 26:30].mean() < -0.3
    assert found[12:20, 12:20].mean().abs() < 0.2
