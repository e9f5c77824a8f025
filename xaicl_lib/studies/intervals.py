"""Means with their intervals, the same for every study."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

DRAWS = 2000


def bootstrap(values: Sequence[float] | np.ndarray, *, draws: int = DRAWS, seed: int = 0) -> tuple[float, float, float]:
    """Mean of the values that are numbers, with the ends of its 95 % percentile bootstrap interval.

    NaNs are left out; without any number all three are NaN, and the ends are those of the mean itself with a single one.
    """
    numbers = np.asarray(values, float)
    numbers = numbers[~np.isnan(numbers)]
    if not len(numbers):
        return (np.nan,) * 3
    low, high = np.percentile(resampled_means(numbers[:, None], draws, seed)[:, 0], [2.5, 97.5])
    return float(numbers.mean()), float(low), float(high)


def resampled_means(values: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Means (draws, k) of n rows (n, k) drawn again with replacement, whole rows at a time."""
    counts = np.random.default_rng(seed).multinomial(len(values), np.full(len(values), 1 / len(values)), draws)
    return counts @ values / len(values)


def summary(table: pd.DataFrame, by: Sequence[str], value: str = "value") -> pd.DataFrame:
    """One row for each group: mean, low, high (95 % bootstrap over its rows) and n, the number of rows that are numbers."""
    rows = []
    for key, part in table.groupby(list(by), sort=False, observed=True):
        mean, low, high = bootstrap(part[value].to_numpy(float))
        rows.append({**dict(zip(by, key, strict=True)), "mean": mean, "low": low, "high": high, "n": int(part[value].notna().sum())})
    return pd.DataFrame(rows)


def share(hits: int, n: int) -> tuple[float, float, float]:
    """A share with its 95 % interval after Wilson, which holds for few cases and for shares of 0 and 1."""
    if not n:
        return (np.nan,) * 3
    z, p = 1.96, hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return p, max(0.0, middle - half), min(1.0, middle + half)


def shares(table: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """One row for each group: share of its rows where `value` holds, as mean, low, high (Wilson, 95 %) and n; empty values do not count."""
    rows = []
    for key, part in table.dropna(subset=[value]).groupby(list(by), sort=False, observed=True):
        mean, low, high = share(int(part[value].astype(bool).sum()), len(part))
        rows.append({**dict(zip(by, key, strict=True)), "mean": mean, "low": low, "high": high, "n": len(part)})
    return pd.DataFrame(rows)
