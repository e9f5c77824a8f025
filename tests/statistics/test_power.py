"""Numbers of pairs by hand, and by drawing samples of that size."""

import math

import numpy as np
import pytest
from scipy import stats

from xaicl_lib.statistics.paired import signed_ranks
from xaicl_lib.statistics.power import _least_pairs, models_needed, pairs_needed


def test_pairs_by_hand() -> None:
    power = {n: stats.nct.sf(stats.t.isf(0.025, n - 1), n - 1, 0.5 * math.sqrt(n)) for n in range(2, 60)}
    least = min(n for n, found in power.items() if found >= 0.8)
    assert pairs_needed(0.5, 1.0) == math.ceil(least * math.pi / 3) == 36
    assert pairs_needed(-0.5, 1.0) == 36, "either direction"
    assert pairs_needed(0.5, 0.0) == _least_pairs()
    assert pairs_needed(0.25, 1.0) == pytest.approx(4 * pairs_needed(0.5, 1.0), rel=0.1), "half the difference takes four times as many"
    assert pairs_needed(0.5, 1.0, level=0.0005) > pairs_needed(0.5, 1.0)
    assert pairs_needed(0.0, 1.0) == math.inf
    assert math.isnan(pairs_needed(math.nan, 1.0))


@pytest.mark.parametrize(("mean", "level"), [(0.5, 0.05), (1.5, 0.001), (0.8, 0.001)])
def test_so_many_pairs_decide_four_times_in_five(mean: float, level: float) -> None:
    n, generator = int(pairs_needed(mean, 1.0, level=level)), np.random.default_rng(0)
    spoke = np.mean([signed_ranks(generator.normal(mean, 1, n)) < level for _ in range(600)])
    assert 0.75 < spoke < 0.89


@pytest.mark.parametrize("level", [0.05, 0.01, 0.05 / 105])
def test_fewer_pairs_can_never_speak(level: float) -> None:
    n = _least_pairs(level)
    assert signed_ranks(np.arange(1.0, n + 1)) <= level < signed_ranks(np.arange(1.0, n))
    assert pairs_needed(100.0, 1e-3, level=level) == n


def test_least_pairs_of_a_round_level() -> None:
    assert _least_pairs(2 / 2**8) == 8


def test_models_by_hand() -> None:
    reach = stats.norm.isf(0.025) + stats.norm.isf(0.2)
    assert models_needed(0.5) == math.ceil((reach / np.arctanh(0.5)) ** 2 + 3) == models_needed(-0.5)
    assert models_needed(0.0) == math.inf
    assert models_needed(1.0) >= 4
    assert math.isnan(models_needed(math.nan))
