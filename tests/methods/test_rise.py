"""RISE against its formula, mask by mask, and what its errors promise."""

import pytest
import torch
import torch.nn.functional as F

from tests.conftest import STATS, assert_close, random_pair
from xaicl_lib import InputError, Pair, PairModel, explain
from xaicl_lib.draws import own_generator
from xaicl_lib.scores import corpus_similarity, cosine


def slow_masks(image: torch.Tensor, masks: int, cells: int, keep: float) -> list[torch.Tensor]:
    """Grids of ones and zeros, enlarged whole and cut out: a mask at a time."""
    h, w = image.shape[1:]
    rows, columns = (round(cells * side / min(h, w)) for side in (h, w))
    tall, wide = -(-h // rows), -(-w // columns)
    u = torch.rand(masks, rows * columns + 2, generator=own_generator(image, 0))
    out = []
    for row in u:
        grid = (row[:-2] < keep).double().view(1, 1, rows, columns)
        large = F.interpolate(grid, ((rows + 1) * tall, (columns + 1) * wide), mode="bilinear", align_corners=False)[0, 0]
        top, left = int(row[-2] * tall), int(row[-1] * wide)
        out.append(large[top : top + h, left : left + w])
    return out


def slow_map(model, pair, side: int, masks: int, cells: int, keep: float, centred: bool) -> tuple[torch.Tensor, torch.Tensor]:
    image, x = pair.sides[side][0], model.normalize(pair.sides[side])[0]
    whole = [model.embed_a(model.normalize(pair.a)), model.embed_b(model.normalize(pair.b))]
    drawn = slow_masks(image, masks, cells, keep)
    scores = []
    for m in drawn:
        z = list(whole)
        z[side] = (model.embed_a, model.embed_b)[side]((x * m)[None])
        scores.append(cosine(*z)[0])
    c = sum(scores) / masks if centred else 0.0
    usual = sum(drawn) / masks if centred else 0.0  # a centred mean is a covariance of score and mask
    values = torch.stack([(s - c) * (m - usual) / keep for s, m in zip(scores, drawn, strict=True)])
    return values.mean(0), values.std(0) / masks**0.5


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("shape", [(24, 24), (18, 26)])
def test_is_the_mean_over_masks(model, shape, centred) -> None:
    pair = random_pair(1, shape, (24, 20), seed=3)
    options = {"masks": 23, "cells": 4, "keep": 0.4, "centred": centred}
    made = explain(model, pair, "rise", **options)
    for side, (got, error) in enumerate([(made.a, made.error_a), (made.b, made.error_b)]):
        want, spread = slow_map(model, pair, side, **options)
        assert_close(got[0], want, rtol=1e-7, atol=1e-9)
        assert_close(error[0], spread, rtol=1e-6, atol=1e-9)


def test_centring_takes_a_constant_and_the_chance_of_the_masks_away(projected, pair) -> None:
    plain, centred = (explain(projected, pair, "rise", masks=4000, centred=c) for c in (False, True))
    assert (centred.error_a.mean((1, 2)) < 0.2 * plain.error_a.mean((1, 2))).all()
    away = (plain.a - centred.a - (plain.a - centred.a).mean((1, 2), keepdim=True)).abs()
    assert (away < 4 * plain.error_a).all()


def test_errors_are_those_of_repeated_runs(projected) -> None:
    pair = random_pair(1)
    runs = [explain(projected, pair, "rise", masks=40, centred=True, generator=torch.Generator().manual_seed(k)) for k in range(60)]
    found = torch.stack([run.a[0] for run in runs]).std(0)
    said = torch.stack([run.error_a[0] for run in runs]).mean(0)
    assert 0.8 < (found / said).mean() < 1.2


def test_a_linear_score_is_explained_pixel_by_pixel() -> None:
    """With a pixel a cell and s = <w, x>, a centred map is w x times the masks' covariance: w x, smoothed as the masks are."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1, bias=False)).double()
    model = PairModel(net, size=8, **STATS)
    pair = Pair(torch.rand(1, 3, 8, 8, dtype=torch.float64))
    pair.a[0, :, :4] = torch.tensor(STATS["mean"], dtype=torch.float64).view(3, 1, 1)  # which is zero: no evidence above
    corpus = torch.ones(1, 2, dtype=torch.float64)
    made = explain(model, pair, "rise", masks=4000, cells=8, centred=True, score=corpus_similarity(corpus, normalize=False))
    assert made.a[0, :2].abs().max() < 5 * made.error_a[0, :2].max()
    value = F.avg_pool2d(net(model.normalize(pair.a)).detach().sum(1), 3, 1, 1)
    assert torch.corrcoef(torch.stack([made.a[0].flatten(), value.flatten()]))[0, 1] > 0.8


def test_numbers_that_make_no_masks(projected, pair) -> None:
    for options in ({"masks": 1}, {"cells": 0}, {"keep": 1.0}, {"keep": 0.0}):
        with pytest.raises(InputError, match=r"at least 2 masks and 1 cell and keep in \(0, 1\)"):
            explain(projected, pair, "rise", **options)
    with pytest.raises(InputError, match="at most one cell a pixel, got 25 cells for 24 pixels"):
        explain(projected, pair, "rise", cells=25)
