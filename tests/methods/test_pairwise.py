"""Pairwise occlusion against loops over its draws, and the controls against what they mean."""

import pytest
import torch

from tests.conftest import assert_close, random_pair
from xaicl_lib import InputError, Pair
from xaicl_lib.methods.controls import edges, random_map
from xaicl_lib.methods.occlusion import _rectangles, _weights, pairwise_occlusion
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


def test_weights_of_standardised_drops() -> None:
    """Drops of two values, each half of the time, are +1 and -1 once standardised; one high among m - 1 equal ones is sqrt(m - 1)."""
    half = torch.tensor([[0.3, 0.1] * 4, [3.0, 1.0] * 4]).double()
    for temperature in (0.5, 1.0, 2.0):
        up = torch.tensor(2 / temperature).double().sigmoid() / 4
        assert_close(_weights(half, temperature), torch.stack([up, 0.25 - up]).repeat(4).expand(2, 8))  # whatever the scale
    single = torch.tensor([[0.7, 0, 0, 0, 0]]).double()
    odds = torch.tensor(2.0 + 0.5).double().exp()  # sqrt(4) above the mean, against 1 / sqrt(4) below it
    assert_close(_weights(single, 1.0)[0, 0], odds / (odds + 4))
    for temperature in (0.1, 1e-20):  # the second times the least number there is would be zero
        assert_close(_weights(torch.ones(1, 5).double(), temperature), torch.full((1, 5), 0.2, dtype=torch.float64))
    assert_close(_weights(half, None), half.softmax(1))


def test_a_high_temperature_counts_the_rectangles(projected) -> None:
    """All draws count alike then, and each on one side: cover and weight add up, and only which side won is left of the model."""
    pair = random_pair(1)
    made = pairwise_occlusion(projected, pair, masks=7, temperature=1e9)
    g = torch.Generator().manual_seed(0)
    cover = []
    for side in pair.sides:
        rows, columns = (inside.double() for inside in _rectangles(7, (0.1, 0.3), (1.0, 1.5), *side.shape[2:], g))
        cover.append(torch.einsum("kh,kw->khw", rows, columns))
    won = [k for k in range(2**7) if torch.allclose(_of(k, cover[0]), made.a[0] * 7, atol=1e-6)]
    assert len(won) == 1
    assert_close(_of(2**7 - 1 - won[0], cover[1]), made.b[0] * 7, atol=1e-6)


def _of(bits: int, cover: torch.Tensor) -> torch.Tensor:
    """The sum of the rectangles whose bit is set."""
    return sum((one for k, one in enumerate(cover) if bits >> k & 1), torch.zeros_like(cover[0]))


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


@pytest.mark.parametrize(
    "options", [{"masks": 0}, {"scale": (0.3, 0.1)}, {"scale": (0.0, 0.1)}, {"ratio": (0.0, 1.0)}, {"scale": (0.1,)}, {"temperature": 0}]
)
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
