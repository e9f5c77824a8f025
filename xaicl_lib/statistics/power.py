"""How many pairs or models a paired test or a correlation would need, from what a smaller sample shows."""

import math

from scipy import special

POWER = 0.8  # how often the test would speak, if the true difference were the observed one
EFFICIENCY = 3 / math.pi  # of Wilcoxon's signed-rank test beside Student's, for normal differences


def _least_pairs(level: float = 0.05) -> int:
    """The fewest pairs with which the exact signed-rank test can speak at all: the smallest n with 2 / 2**n <= level."""
    return math.ceil(1 - math.log2(level) - 1e-9)


def pairs_needed(mean: float, deviation: float, *, level: float = 0.05) -> float:
    """Pairs that Wilcoxon's signed-rank test needs to find a mean difference.

    n = (z(1 - level / 2) + z(0.8))^2 (deviation / mean)^2 / (3 / pi), rounded up, and never fewer than `_least_pairs`.

    Args:
        mean: of the paired differences.
        deviation: their standard deviation.
        level: of the two-sided test, already divided by the number of tests where several are corrected for.

    Returns:
        The number; infinite where the mean is 0, NaN where it is not known.
    """
    if math.isnan(mean) or math.isnan(deviation):
        return math.nan
    if mean == 0:
        return math.inf
    n = (_reach(level) * deviation / mean) ** 2 / EFFICIENCY
    return max(float(math.ceil(n)), _least_pairs(level))


def models_needed(r: float, *, level: float = 0.05) -> float:
    """Models that a test of a correlation r against 0 needs: ((z(1 - level / 2) + z(0.8)) / artanh r)^2 + 3, rounded up (Fisher)."""
    if math.isnan(r):
        return math.nan
    if r == 0:
        return math.inf
    return float(math.ceil((_reach(level) / math.atanh(min(abs(r), 1 - 1e-12))) ** 2 + 3))


def _reach(level: float) -> float:
    return float(special.ndtri(1 - level / 2) + special.ndtri(POWER))
