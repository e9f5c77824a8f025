"""Conditional occlusion against three loops over the formula."""

import numpy as np
import pytest
import torch

from tests.conftest import assert_close, random_pair
from xaicl_lib import InputError, Pair, PairModel, explain
from xaicl_lib.methods.occlusion import conditional_occlusion
from xaicl_lib.scores import cosine


def slow(model, pair, window, stride):
    """Straight from Sec. III-B1: hide a window, subtract."""
    xa, xb = model.normalize(pair.a), model.normalize(pair.b)
    whole = cosine(model.embed_a(xa), model.embed_b(xb))
    maps = []
    for side, x in enumerate((xa, xb)):
        h, w = x.shape[2:]
        grid = torch.zeros(len(x), len(range(0, h - window + 1, stride)), len(range(0, w - window + 1, stride)), dtype=x.dtype)
        for n in range(len(x)):
            for i, top in enumerate(range(0, h - window + 1, stride)):
                for j, left in enumerate(range(0, w - window + 1, stride)):
                    hidden = x[n : n + 1].clone()
                    hidden[:, :, top : top + window, left : left + window] = 0
                    if side == 0:
                        s = cosine(model.embed_a(hidden), model.embed_b(xb[n : n + 1]))
                    else:
                        s = cosine(model.embed_a(xa[n : n + 1]), model.embed_b(hidden))
                    grid[n, i, j] = whole[n] - s
        maps.append(grid)
    return maps


@pytest.mark.parametrize(("window", "stride"), [(7, 3), (24, 1), (1, 8), (10, 9)])
def test_equals_three_loops(model, pair, window, stride) -> None:
    made = conditional_occlusion(model, pair, window=window, stride=stride, grid="published")
    for got, want in zip((made.a, made.b), slow(model, pair, window, stride), strict=True):
        assert_close(got, want, atol=1e-12)


def test_sides_of_two_sizes(projected) -> None:
    pair = random_pair(2, a=(24, 32), b=(40, 28))
    made = conditional_occlusion(projected, pair, window=8, stride=4, grid="published")
    for got, want in zip((made.a, made.b), slow(projected, pair, 8, 4), strict=True):
        assert_close(got, want)


def test_the_papers_window_and_places_at_224() -> None:
    net = torch.nn.Conv2d(3, 2, 8, 8)
    made = conditional_occlusion(PairModel(net, size=224), random_pair(1, (224, 224), (224, 224)), grid="published")
    assert made.a.shape == (1, 21, 21)
    smaller = conditional_occlusion(PairModel(net, size=96), random_pair(1, (96, 96), (96, 96)), grid="published")
    assert smaller.a.shape == (1, 24, 24)  # window 27, stride 3


def between(places, side, window, stride):
    """Values of windows at the centres of cells, one axis after the other."""
    cells = round(side / stride)
    at, known = (np.arange(cells) + 0.5) * side / cells, np.arange(len(places)) * stride + window / 2
    return np.stack([np.interp(at, known, column) for column in np.asarray(places).T], axis=1)


@pytest.mark.parametrize(("window", "stride"), [(7, 3), (24, 1), (1, 8), (10, 9), (8, 4)])
def test_a_cell_has_the_value_of_the_window_that_is_centred_on_it(model, pair, window, stride) -> None:
    made = conditional_occlusion(model, pair, window=window, stride=stride)
    for got, wanted in zip((made.a, made.b), slow(model, pair, window, stride), strict=True):
        for one, want in zip(got, wanted, strict=True):
            rows = between(want, 24, window, stride)
            assert_close(one, torch.from_numpy(between(rows.T, 24, window, stride).T), atol=1e-12)


def test_places_are_kept_where_windows_are_centred_on_cells(projected, pair) -> None:
    made, drops = (conditional_occlusion(projected, pair, window=12, stride=4, grid=grid) for grid in ("registered", "published"))
    assert made.a.shape == (3, 6, 6)  # and 4 x 4 places, the outer cells as the outermost of them
    assert_close(made.a[:, 1:5, 1:5], drops.a)
    assert_close(made.a[:, 0, 1:5], drops.a[:, 0])
    assert_close(made.a[:, 1:5, 5], drops.a[:, :, 3])


@pytest.mark.parametrize(("row", "first", "last"), [(2, 0, 5), (4, 0, 7), (11, 8, 14), (19, 16, 23)])
def test_a_map_is_high_where_the_evidence_is(row, first, last) -> None:
    class One(torch.nn.Module):
        def forward(self, x):
            return torch.stack([x[:, 0, row, 20], torch.ones_like(x[:, 0, 0, 0])], 1).view(-1, 2, 1, 1)

    pixels = torch.full((1, 3, 24, 24), 0.8, dtype=torch.float64)
    made = explain(
        PairModel(One(), size=24, mean=(0, 0, 0), std=(1, 1, 1)), Pair(pixels, pixels), "conditional_occlusion", window=7, stride=1
    )
    high = (made.a[0] > made.a[0].max() / 2).nonzero()  # windows of 7 around one pixel; no window is centred on the outermost three
    assert (high[:, 0].min(), high[:, 0].max()) == (first, last)
    assert (high[:, 1].min(), high[:, 1].max()) == (17, 23)


def test_a_grid_that_there_is_not(projected, pair) -> None:
    with pytest.raises(InputError, match="unknown grid 'paper'; there are: registered, published"):
        conditional_occlusion(projected, pair, grid="paper")


def test_hiding_what_is_zero_already_changes_nothing(projected) -> None:
    mean = torch.tensor((0.4, 0.5, 0.6), dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 24, 24)
    a = mean.clone()
    a[:, :, 12:, 12:] = 1
    made = conditional_occlusion(projected, Pair(a, random_pair(1).b), window=4, stride=4)
    assert_close(made.a[0, :3, :3], torch.zeros(3, 3), atol=1e-7)  # zero is the model's mean colour, and only that
    assert made.a[0, 3:, 3:].abs().min() > 1e-6


def test_only_chunk_images_are_in_flight(projected, pair) -> None:
    seen = []
    projected.fast.features_a.register_forward_hook(lambda module, given, out: seen.append(len(given[0])))
    conditional_occlusion(projected, pair, window=8, stride=4, chunk=6)
    assert max(seen) <= 6
    assert sum(seen) == 2 * 3 * (1 + 25)  # the whole images are encoded once


@pytest.mark.parametrize("options", [{"window": 25}, {"window": 0}, {"stride": 0}])
def test_windows_that_cannot_be(projected, pair, options) -> None:
    with pytest.raises(InputError, match="expected a window"):
        conditional_occlusion(projected, pair, **options)
