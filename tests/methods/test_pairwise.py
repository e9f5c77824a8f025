"""Pairwise occlusion against loops over its draws, and the controls against what they mean."""

import pytest
import torch

from tests.conftest import assert_close, random_pair
from xaicl_lib import InputError, Pair
from xaicl_lib.methods.controls import edges, random_map
from xaicl_lib.methods.occlusion import _rectangles, pairwise_occlusion
from xaicl_lib.scores import cosine


def test_equals_a_loop_over_draws(model) -> None:
    pair = random_pair(2, (24, 24), (20, 28))
    made = pairwise_occlusion(model, pair, masks=9, generator=torch.Generator().manual_seed(4))
    g = torch.Generator().manual_seed(4)
    rectangles = [_rectangles(9, (0.1, 0.3), (1.0, 1.5), *side.shape[2:], g) for side in pair.sides]
    xs = [model.normalize(side) for side in pair.sides]
    for n in range(2):
        s = cosine(model.embed_a(xs[0][n : n + 1]), model.embed_b(xs[1][n : n + 1])).item()
        drops, winners = [], []
        for k in range(9):
            z = []
            for x, (rows, columns), embed in zip(xs, rectangles, (model.embed_a, model.embed_b), strict=True):
                hidden = x[n : n + 1].clone()
                hidden[:, :, rows[k][:, None] & columns[k][None, :]] = 0
                z.append(embed(hidden))
            drops.append(s - cosine(*z).item())
            winners.append(0 if z[0].norm() <= z[1].norm() else 1)
        weights = torch.tensor(drops).exp()
        weights = weights / weights.sum()
        wants = [torch.zeros(24, 24).double(), torch.zeros(20, 28).double()]
        for k in range(9):
            rows, columns = rectangles[winners[k]]
            wants[winners[k]][rows[k][:, None] & columns[k][None, :]] += weights[k]
        assert_close(made.a[n], wants[0], rtol=1e-5)
        assert_close(made.b[n], wants[1], rtol=1e-5)


def test_black_pixels_do_not_count_as_hidden(projected) -> None:
    """Half of side a is zero in the model's input space; its map must not light up all of it."""
    mean = torch.tensor((0.4, 0.5, 0.6), dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 24, 24)
    a = torch.cat([mean[:, :, :12], random_pair(1).a[:, :, 12:]], 2)
    made = pairwise_occlusion(projected, Pair(a, random_pair(1).b), masks=3)
    assert (made.a[0, :12] == 0).any()


def test_rectangles_are_as_asked() -> None:
    rows, columns = _rectangles(500, (0.1, 0.3), (1.0, 1.5), 224, 224, torch.Generator().manual_seed(0))
    height, width = rows.sum(1).double(), columns.sum(1).double()
    area, ratio = height * width / 224**2, height / width
    assert 0.095 < area.min() < 0.11
    assert 0.29 < area.max() < 0.305
    assert 0.98 < ratio.min() < 1.02
    assert 1.45 < ratio.max() < 1.53
    for inside in (rows, columns):
        edges_ = inside.int().diff(dim=1).abs().sum(1) + inside[:, 0] + inside[:, -1]
        assert (edges_ == 2).all()  # one run of pixels each
        assert inside.any(0).all()  # that reach every place


@pytest.mark.parametrize("options", [{"masks": 0}, {"scale": (0.3, 0.1)}, {"scale": (0.0, 0.1)}, {"ratio": (0.0, 1.0)}, {"scale": (0.1,)}])
def test_rectangles_that_cannot_be(projected, pair, options) -> None:
    with pytest.raises(InputError, match="expected"):
        pairwise_occlusion(projected, pair, **options)


def test_edges_are_sobels(projected) -> None:
    step = torch.zeros(1, 3, 24, 24).double()
    step[..., 12:] = 1
    made = edges(projected, Pair(step, step.transpose(2, 3)))
    assert_close(made.a[0, 5], torch.tensor([0.0] * 11 + [0.5, 0.5] + [0.0] * 11), atol=1e-4)
    assert_close(made.b, made.a.transpose(1, 2))


def test_random_maps_are_random_and_follow_the_seed(projected, pair) -> None:
    made, again = (random_map(projected, pair, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    assert not torch.equal(made.a, again.a)
    assert not torch.equal(made.a, made.b)
    assert 0.3 < made.a.mean() < 0.7
