"""Areas from few points, on curves whose every point is known."""

import itertools
import math

import pytest
import torch

from tests.conftest import assert_close, random_pair
from tests.metrics.test_perturbation import random_maps
from xaicl_lib.metrics import measure
from xaicl_lib.metrics.quadrature import adaptive


class Known:
    """A sweep of given curves (n, k + 1, c) that counts what it is asked for."""

    def __init__(self, curves: torch.Tensor) -> None:
        self.curves, self.asked = curves, []

    @property
    def shape(self) -> tuple[int, int]:
        return self.curves.shape[0], self.curves.shape[1]

    def points(self, item, k):
        self.asked += list(zip(item.tolist(), k.tolist(), strict=True))
        return self.curves[item, k], torch.full_like(item, 2)


def rough_and_steep(n: int = 300, points: int = 225, seed: int = 0) -> torch.Tensor:
    """Falling curves of all slopes, some with a cliff, with noise of several sizes."""
    g = torch.Generator().manual_seed(seed)
    x = torch.linspace(0, 1, points).expand(n, 1, points)
    fall = torch.sigmoid((torch.rand(n, 1, 1, generator=g) - x) * 10 ** (0.5 + 1.5 * torch.rand(n, 1, 1, generator=g)))
    noise = torch.randn(n, 3, points, generator=g).cumsum(2) * 0.01 * torch.rand(n, 1, 1, generator=g)
    return (fall + noise + 0.01 * torch.rand(n, 1, 1, generator=g) * torch.randn(n, 3, points, generator=g)).mT.double()


def test_within_the_bound_and_the_bound_within_the_tolerance() -> None:
    sweep = Known(rough_and_steep())
    got = adaptive(sweep, 0.005)
    want = adaptive(Known(sweep.curves), 0).areas()
    for name in "SC":
        error = (got.areas()[name] - want[name]).abs()
        assert (got.error[name] <= 0.005).all()
        assert (error <= 0.005).float().mean() >= 0.99
        assert (error <= got.error[name] + 1e-12).float().mean() >= 0.98
    assert got.encoded.float().mean() <= 2 * 225 / 5


def test_nothing_is_asked_for_twice() -> None:
    sweep = Known(rough_and_steep(20))
    got = adaptive(sweep, 0.002)
    assert len(sweep.asked) == len(set(sweep.asked))
    assert got.encoded.sum() == 2 * len(sweep.asked)


def test_points_asked_for_are_kept_and_the_others_on_the_line() -> None:
    sweep = Known(rough_and_steep(5))
    got = torch.cat([adaptive(sweep, 0.005).points[name] for name in "SC"], 1).mT
    known = torch.zeros(5, 225, dtype=torch.bool)
    known[tuple(torch.tensor(sweep.asked).T)] = True
    assert torch.equal(got[known], sweep.curves[known])
    for n in range(5):
        at = known[n].nonzero()[:, 0].tolist()
        for left, right in itertools.pairwise(at):
            for k in range(left + 1, right):
                share = (k - left) / (right - left)
                assert_close(got[n, k], (1 - share) * sweep.curves[n, left] + share * sweep.curves[n, right])


def test_calm_curves_need_no_more_than_the_first_points() -> None:
    line = torch.linspace(1, 0, 225, dtype=torch.float64).view(1, 225, 1).expand(3, 225, 3)
    got = adaptive(Known(line), 0.005)
    assert got.encoded.tolist() == [2 * 29] * 3
    assert_close(got.areas()["S"], torch.full((3,), 0.5, dtype=torch.float64))


def test_rough_curves_get_every_point_if_they_need_it() -> None:
    noise = torch.rand(2, 65, 3, generator=torch.Generator().manual_seed(0)).double()
    got = adaptive(Known(noise), 1e-6)
    assert got.encoded.tolist() == [2 * 65] * 2
    assert got.error["S"].tolist() == [0, 0]
    assert_close(got.areas()["C"], adaptive(Known(noise), 0).areas()["C"])


def test_a_cliff_is_found() -> None:
    step = (torch.arange(225) < 101).double().view(1, 225, 1).expand(1, 225, 3)
    got = adaptive(Known(step), 0.003)
    assert math.isclose(got.areas()["S"].item(), adaptive(Known(step), 0).areas()["S"].item(), abs_tol=0.003)


@pytest.mark.parametrize("points", [2, 3, 5])
def test_very_short_curves(points) -> None:
    curves = torch.rand(2, points, 3, generator=torch.Generator().manual_seed(1)).double()
    assert_close(adaptive(Known(curves), 1e-9).areas()["S"], adaptive(Known(curves), 0).areas()["S"])


def test_measure_adaptively(model) -> None:
    pair = random_pair(3)
    explanation, four = random_maps(pair), ["SI", "SD", "CI", "CD"]
    want = measure(model, pair, explanation, four, step=1)
    got, curves = measure(model, pair, explanation, four, step=1, adaptive=True, curves=True)
    assert curves.encoded.max() < 4 * 576 / 4
    for name in four:
        assert (got[name] - want[name]).abs().max() <= 0.005
        assert_close(curves.areas()[name], got[name])
        assert (curves.error[name] <= 0.005).all()
    alone = measure(model, pair[1], explanation[1], four, step=1, adaptive=True)
    for name in four:
        assert_close(alone[name], got[name][1:2])
