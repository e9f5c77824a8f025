"""Gradient methods against loops over the formulas; guided backpropagation against a network rewritten by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.conftest import STATS, assert_close, random_pair, small_features, small_head
from xaicl_lib import InputError, Pair, PairModel
from xaicl_lib.layers import guided
from xaicl_lib.methods.gradients import averaged_transforms, input_x_gradient, smooth_grad
from xaicl_lib.scores import cosine


def gradients(model, xa, xb):
    xa, xb = xa.clone().requires_grad_(), xb.clone().requires_grad_()
    return torch.autograd.grad(cosine(model.embed_a(xa), model.embed_b(xb)).sum(), (xa, xb))


def numeric(model, xa, xb, eps=1e-6):
    """ds/dx_a by central differences, one pixel at a time."""
    g = torch.zeros_like(xa)
    for k in range(xa.numel()):
        values = []
        for sign in (1, -1):
            moved = xa.clone()
            moved.view(-1)[k] += sign * eps
            values.append(cosine(model.embed_a(moved), model.embed_b(xb)).sum())
        g.view(-1)[k] = (values[0] - values[1]) / (2 * eps)
    return g


def strength(x, g):
    return (x * g).abs().max(1).values


def test_input_x_gradient_equals_finite_differences(model) -> None:
    pair = random_pair(1, (12, 12), (12, 12))
    xa, xb = model.normalize(pair.a), model.normalize(pair.b)
    assert_close(input_x_gradient(model, pair).a, strength(xa, numeric(model, xa, xb)), rtol=1e-5, atol=1e-8)


def test_smooth_grad_equals_a_loop_over_samples(model, pair) -> None:
    made = smooth_grad(model, pair, samples=4, sigma=0.3, generator=torch.Generator().manual_seed(3))
    xa, xb = model.normalize(pair.a), model.normalize(pair.b)
    seeds = torch.randint(2**62, (4,), generator=torch.Generator().manual_seed(3)).tolist()
    total = [torch.zeros_like(xa), torch.zeros_like(xb)]
    for seed in seeds:
        noise = 0.3 * torch.randn(3, 24, 24, generator=torch.Generator().manual_seed(seed)).double()
        for sums, g in zip(total, gradients(model, xa + noise, xb + noise), strict=True):  # the same noise on both
            sums += g
    assert_close(made.a, strength(xa, total[0] / 4))
    assert_close(made.b, strength(xb, total[1] / 4))
    assert_close(made.score, cosine(model.embed_a(xa), model.embed_b(xb)))  # of the clean pair


def test_smooth_grad_without_noise_is_the_gradient(model, pair) -> None:
    plain = input_x_gradient(model, pair)
    for options in ({"sigma": 0.0}, {"level": 0.0}, {"sigma": 0.0, "samples": 1}):
        made = smooth_grad(model, pair, **{"samples": 3, **options})
        assert_close(made.a, plain.a)
        assert_close(made.b, plain.b)


def test_level_is_a_share_of_the_range_of_both_images(projected) -> None:
    pair = random_pair(2)
    narrow = Pair(pair.a * 0.1, pair.b * 0.1)
    sides = [projected.normalize(side) for side in narrow.sides]
    for k in range(2):
        both = torch.cat([side[k].flatten() for side in sides])
        spread = (both.max() - both.min()).item()
        for rule, sigma in (("smoothgrad", 0.15 * spread), ("published", 0.15 / spread)):
            named, outright = (smooth_grad(projected, narrow[k], samples=2, sigma=one) for one in (rule, sigma))
            assert_close(named.a, outright.a)
            named, outright = (averaged_transforms(projected, narrow[k], level=0.15, sigma=one) for one in (rule, sigma))
            assert_close(named.b, outright.b)
        assert_close(smooth_grad(projected, narrow[k], samples=2).a, smooth_grad(projected, narrow[k], samples=2, sigma=0.15 * spread).a)


def test_rules_of_the_noise_that_cannot_be(projected) -> None:
    with pytest.raises(InputError, match="unknown rule of the noise 'ours'; there are: smoothgrad, published"):
        smooth_grad(projected, random_pair(1), sigma="ours")
    grey = Pair(*(torch.tensor((0.4, 0.5, 0.6)).double().view(1, 3, 1, 1).expand(1, 3, 8, 8) for _ in "ab"))
    with pytest.raises(InputError, match="more than one value"):
        averaged_transforms(projected, grey, level=0.1, sigma="published")


def slow_transforms(model, xa, xb, sigma=0.0, seed=0):
    """Sec. III-A2 with a loop over lambda, each gradient by a backward pass of its own."""
    ga, gb = torch.zeros_like(xa), torch.zeros_like(xb)
    seeds = torch.randint(2**62, (9,), generator=torch.Generator().manual_seed(seed)).tolist()
    for k, share in enumerate((0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)):
        noise = sigma * torch.randn(xa.shape[1:], generator=torch.Generator().manual_seed(seeds[k])).double()
        blend = share * xa + (1 - share) * xb + noise
        da, db = gradients(model, xa, blend)
        ga += da / 9
        gb += db / 9
    return strength(xa, ga), strength(blend, gb)


@pytest.mark.parametrize("sigma", [0.0, 0.2])
def test_averaged_transforms_equals_a_loop_over_lambda(model, pair, sigma) -> None:
    made = averaged_transforms(model, pair, sigma=sigma)
    for got, want in zip((made.a, made.b), slow_transforms(model, *(model.normalize(s) for s in pair.sides), sigma), strict=True):
        assert_close(got, want)


def test_guided_averaged_transforms_equals_a_loop_over_lambda(model, pair) -> None:
    made = averaged_transforms(model, pair, guided=True)
    with guided():
        wants = slow_transforms(model, *(model.normalize(s) for s in pair.sides))
    for got, want in zip((made.a, made.b), wants, strict=True):
        assert_close(got, want)


def test_a_transform_takes_the_place_of_side_b(projected, pair) -> None:
    made = averaged_transforms(projected, pair, transform=lambda x: x.flip(3))
    want = averaged_transforms(projected, Pair(pair.a, pair.a.flip(3)))
    assert_close(made.a, want.a)
    assert_close(made.b, want.b)
    assert_close(made.score, want.score)
    alone = averaged_transforms(projected, Pair(pair.a), transform=lambda x: x.flip(3))
    assert_close(alone.b, want.b)


def test_image_a_runs_through_the_network_once(projected, pair) -> None:
    seen = []
    projected.fast.features_a.register_forward_hook(lambda module, given, out: seen.append(len(given[0])))
    averaged_transforms(projected, pair)
    assert sum(seen) == 3 * (1 + 9) + 2 * 3  # and twice without gradients, for the score


@pytest.mark.parametrize("method", [smooth_grad, averaged_transforms])
def test_gradient_methods_that_mix_the_sides_need_one_size(projected, method) -> None:
    with pytest.raises(InputError, match="sides of one size"):
        method(projected, random_pair(1, (24, 24), (24, 28)))
    with pytest.raises(InputError, match="at least 0"):
        method(projected, random_pair(1), sigma=-1.0)


class ByHand(nn.Module):
    """The small network with every ReLU written as an autograd function of the definition: both clamps, spelled out."""

    class Relu(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.where(x > 0, x, torch.zeros_like(x))

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return torch.where((x > 0) & (g > 0), g, torch.zeros_like(g))

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x):
        for layer in self.layers:
            x = self.Relu.apply(x) if isinstance(layer, nn.ReLU) else layer(x)
        return x


class Functional(nn.Module):
    """The same with functional ReLUs of every spelling."""

    def __init__(self, layers: nn.Sequential, relu) -> None:
        super().__init__()
        self.layers, self.relu = layers, relu

    def forward(self, x):
        for layer in self.layers:
            x = self.relu(x) if isinstance(layer, nn.ReLU) else layer(x)
        return x


def bare_in_place(x):
    torch.relu_(x)  # the result is in x, the return value dropped
    return x


SPELLINGS = {
    "module": lambda x: nn.ReLU()(x), "module in place": lambda x: nn.ReLU(inplace=True)(x), "F.relu": F.relu, "torch.relu": torch.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True), "positional": lambda x: F.relu(x, True), "F.relu_": F.relu_,
    "method": lambda x: x.relu(), "method in place": lambda x: x.relu_(), "in place, not returned": bare_in_place,
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_relu_is_guided(pair, spelling) -> None:
    want = input_x_gradient(PairModel(ByHand(small_features()), ByHand(small_head()), size=24, **STATS), pair)
    relu = SPELLINGS[spelling]
    model = PairModel(Functional(small_features(), relu), Functional(small_head(), relu), size=24, **STATS)
    plain = input_x_gradient(model, pair)
    first, second = (input_x_gradient(model, pair, guided=True) for _ in range(2))
    assert_close(first.a, want.a)
    assert_close(first.b, want.b)
    assert torch.equal(first.a, second.a)
    assert not torch.allclose(first.a, plain.a)
    assert torch.equal(input_x_gradient(model, pair).a, plain.a)  # nothing stays guided


def test_guided_needs_a_relu(pair) -> None:
    model = PairModel(nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU()).double(), size=24)
    for method in (input_x_gradient, smooth_grad, averaged_transforms):
        with pytest.raises(InputError, match="expected a network with ReLUs"):
            method(model, pair, guided=True)
    input_x_gradient(model, pair)


def test_guided_ends_with_an_error() -> None:
    x = torch.tensor([1.0], requires_grad=True)

    def fail():
        with guided():
            torch.relu(x)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    (g,) = torch.autograd.grad(-torch.relu(x), x)
    assert g == -1  # a guided ReLU would have stopped it
