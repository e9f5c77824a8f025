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

    The n of Student's test, whose power is that of the noncentral t distribution, over 3 / pi, rounded up, and never fewer than
    `_least_pairs`.

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
    if deviation == 0:
        return _least_pairs(level)
    return max(math.ceil(_least_values(abs(mean) / deviation, level) / EFFICIENCY), _least_pairs(level))


def _least_values(effect: float, level: float) -> int:
    """Values with which Student's test finds a mean of that many standard deviations, from the normal approximation upwards."""
    n = max(2, math.ceil((_reach(level) / effect) ** 2))
    while special.nctdtr(n - 1, effect * math.sqrt(n), special.stdtrit(n - 1, 1 - level / 2)) > 1 - POWER:
        n += 1
    return n


def models_needed(r: float, *, level: float = 0.05) -> float:
    """Models that a test of a correlation r against 0 needs: ((z(1 - level / 2) + z(0.8)) / artanh r)^2 + 3, rounded up (Fisher)."""
    if math.isnan(r):
        return math.nan
    if r == 0:
        return math.inf
    return float(math.ceil((_reach(level) / math.atanh(min(abs(r), 1 - 1e-12))) ** 2 + 3))


def _reach(level: float) -> float:
    return float(special.ndtri(1 - level / 2) + special.ndtri(POWER))
