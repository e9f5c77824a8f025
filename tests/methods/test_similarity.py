"""Similarity decompositions against four loops and closed forms; completeness."""

import pytest
import torch
from torch import nn

from tests.conftest import STATS, assert_close, build, random_pair, small_features
from xaicl_lib import InputError, PairModel
from xaicl_lib.methods.cells import cell_vectors
from xaicl_lib.methods.similarity import deep_similarity, integrated_jacobians
from xaicl_lib.scores import cosine


def features(model, pair):
    return model.features_a(model.normalize(pair.a)), model.features_b(model.normalize(pair.b))


def test_deep_similarity_equals_four_loops(model) -> None:
    pair = random_pair(2, (24, 24), (16, 20))
    fa, fb = features(model, pair)
    made = deep_similarity(model, pair)
    for n in range(2):
        pa, pb = fa[n].mean((1, 2)), fb[n].mean((1, 2))
        for i in range(fa.shape[2]):
            for j in range(fa.shape[3]):
                assert_close(made.a[n, i, j], fa[n, :, i, j] @ pb / (fa[0, 0].numel() * pa.norm() * pb.norm()))
                for k in range(fb.shape[2]):
                    for m in range(fb.shape[3]):
                        want = fa[n, :, i, j] @ fb[n, :, k, m] / (fa[0, 0].numel() * fb[0, 0].numel() * pa.norm() * pb.norm())
                        assert_close(made.joint[n, i, j, k, m], want)


def test_cells_of_a_headless_model_add_up_to_the_cosine(headless, pair) -> None:
    made = deep_similarity(headless, pair)
    want = cosine(headless.embed_a(headless.normalize(pair.a)), headless.embed_b(headless.normalize(pair.b)))
    assert_close(made.a.sum((1, 2)), want)
    assert_close(made.b.sum((1, 2)), want)
    assert_close(made.residual, torch.zeros(3))


@pytest.mark.parametrize("method", [deep_similarity, integrated_jacobians])
def test_margins_of_the_joint_map_are_the_maps_and_the_residual_completes_them(model, pair, method) -> None:
    made = method(model, pair)
    assert_close(made.joint.sum((3, 4)), made.a)
    assert_close(made.joint.sum((1, 2)), made.b)
    assert_close(made.a.sum((1, 2)) + made.residual, made.score)


def slow_vectors(head, f, r, steps):
    """Contributions of the cells by the full Jacobian of the head at each point of the way."""
    from numpy.polynomial.legendre import leggauss

    _, i, j = f.shape
    points, weights = leggauss(steps)
    mean = 0
    for point, weight in zip(points, weights, strict=True):
        at = r + (point + 1) / 2 * (f - r)
        mean = mean + weight / 2 * torch.autograd.functional.jacobian(lambda x: head(x[None])[0], at)  # (d, c, i, j)
    return torch.stack([(mean[:, :, p // j, p % j] * (f - r)[:, p // j, p % j]).sum(1) for p in range(i * j)])


@pytest.mark.parametrize("with_reference", [False, True])
def test_integrated_jacobians_equals_full_jacobians(model, pair, with_reference) -> None:
    fa, fb = features(model, pair)
    r = torch.rand(6, 1, 1, generator=torch.Generator().manual_seed(1)).double() if with_reference else torch.zeros(6, 1, 1).double()
    made = integrated_jacobians(model, pair, steps=5, reference=r if with_reference else None)
    for n in range(3):
        va, vb = slow_vectors(model.head_a, fa[n], r.expand(6, 6, 6), 5), slow_vectors(model.head_b, fb[n], r.expand(6, 6, 6), 5)
        scale = model.head_a(fa[n : n + 1]).norm() * model.head_b(fb[n : n + 1]).norm()
        assert_close(made.joint[n].reshape(36, 36), va @ vb.T / scale)


class TokenSum(nn.Module):
    """Sees the sum of the cells, as what follows a class token does."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.out = nn.LayerNorm(6), nn.Linear(6, 4)

    def forward(self, f):
        return self.out(self.norm(f.sum((2, 3))))


class Attending(nn.Module):
    """Pools by attention, whose kernels have no forward derivative but the plain one."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, f):
        tokens = f.flatten(2).mT
        return self.attention(tokens.mean(1, keepdim=True), tokens, tokens, need_weights=False)[0][:, 0]


class Unbatched(nn.Module):
    """Looks at its numbers, which torch does not allow while it batches directions."""

    def forward(self, f):
        return f.square().mean((2, 3)) if f.sum().item() > -1e9 else f.mean((2, 3))


def layers_of(bends: int, bend=nn.Tanh) -> nn.Sequential:
    middle = [layer for k in range(bends) for layer in (nn.Linear(6, 6), nn.BatchNorm1d(6), bend())]
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Sequential(*middle), nn.Linear(6, 4))


HEADS = {
    **{f"pooled, {k} bends": (lambda k=k: layers_of(k)) for k in range(5)},
    "pooled, bent first": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.ReLU(True), nn.Linear(6, 4)),
    "in place": lambda: layers_of(2, lambda: nn.ReLU(True)),
    "GELU": lambda: layers_of(2, nn.GELU),
    "flattened": lambda: nn.Sequential(nn.Flatten(), nn.Linear(6 * 20, 7), nn.Tanh(), nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 4)),
    "convolutions": lambda: nn.Sequential(
        nn.Conv2d(6, 5, 3, padding=1), nn.BatchNorm2d(5), nn.SiLU(), nn.Conv2d(5, 5, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
    "bent before pooling": lambda: nn.Sequential(nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)),
    "largest cells": lambda: nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 4, 4)),
    "sum of tokens": TokenSum,
    "attention": Attending,
    "not to be batched": Unbatched,
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("with_reference", [False, True])
def test_cells_of_any_head_equal_full_jacobians(name, with_reference) -> None:
    torch.manual_seed(0)
    head = HEADS[name]().double().requires_grad_(False)
    for module in head.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    head.eval()
    f, r = torch.randn(2, 6, 4, 5).double(), torch.randn(6, 4, 5).double() if with_reference else torch.zeros(6, 4, 5).double()
    before = f.clone()
    with torch.no_grad():
        made = cell_vectors(head, f, r, 3)
    assert torch.equal(f, before)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        for n in range(2):
            assert_close(made[n], slow_vectors(head, f[n], r, 3))


@pytest.mark.parametrize("name", ["pooled, 2 bends", "convolutions"])
def test_a_hook_on_a_layer_is_not_passed_over(name) -> None:
    head = HEADS[name]().double().requires_grad_(False).eval()
    head[0].register_forward_hook(lambda module, given, out: out.square())
    f = torch.randn(1, 6, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        made = cell_vectors(head, f, torch.zeros_like(f[0]), 3)
    assert_close(made[0], slow_vectors(head, f[0], torch.zeros_like(f[0]), 3))


def test_integrated_jacobians_of_a_headless_model_is_deep_similarity(headless, pair) -> None:
    jacobians, similarity = integrated_jacobians(headless, pair, steps=1), deep_similarity(headless, pair)
    assert_close(jacobians.joint, similarity.joint)
    assert_close(jacobians.residual, torch.zeros(3), atol=1e-12)


def test_completeness_in_the_limit() -> None:
    """Of a smooth head with h(0) = 0 nothing is left over but the error of the quadrature."""
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 8, bias=False), nn.Tanh(), nn.Linear(8, 5, bias=False)
    ).double()
    model, pair = PairModel(small_features(), head, size=24, **STATS), random_pair()
    left = [integrated_jacobians(model, pair, steps=steps).residual.abs().max().item() for steps in (1, 3, 8)]
    assert left[0] > left[1] > left[2]
    assert left[2] < 1e-9


def test_the_joint_map_finds_the_shared_cell() -> None:
    """A head that passes on the pooled map of a model whose features are pixels: the shared bright block is matched."""
    a, b = torch.zeros(1, 3, 24, 24).double(), torch.zeros(1, 3, 24, 24).double()
    a[:, 0, :4, :4] = 1
    b[:, 0, 20:, 8:12] = 1  # the same red block elsewhere
    a[:, 1, 12:16, 12:16] = 1
    b[:, 2, 4:8, 4:8] = 1  # a green and a blue one
    from xaicl_lib import Pair

    made = integrated_jacobians(PairModel(nn.AvgPool2d(4), size=24), Pair(a, b))
    best = made.joint[0].flatten().argmax().item()
    assert torch.unravel_index(torch.tensor(best), made.joint[0].shape) == (0, 0, 5, 2)


def test_wrong_references_and_steps(projected, pair) -> None:
    with pytest.raises(InputError, match="fits the feature map"):
        integrated_jacobians(projected, pair, reference=torch.zeros(5, 1, 1))
    with pytest.raises(InputError, match="at least one step"):
        integrated_jacobians(projected, pair, steps=0)


def test_sides_of_two_sizes() -> None:
    made = integrated_jacobians(build("projected"), random_pair(1, (24, 24), (16, 20)))
    assert made.joint.shape == (1, 6, 6, 4, 5)
