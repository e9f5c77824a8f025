"""Intervals of shares, and bootstrap samples of whole rows; intervals of means are in `xaicl_lib.statistics.paired`."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special

from xaicl_lib.statistics.paired import RESAMPLES, batches

AT_ONCE = 5_000_000  # counts drawn at a time, 40 MB: in smaller batches the products of matrices are rounded in another order


def resampled_means(values: np.ndarray, draws: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Means (draws, k) of n rows (n, k) drawn again with replacement, whole rows at a time."""
    n, generator = len(values), np.random.default_rng(seed)
    return np.concatenate([generator.multinomial(n, np.full(n, 1 / n), k) @ values / n for k in batches(n, draws, AT_ONCE)])


def share(hits: float, n: int) -> tuple[float, float, float]:
    """A share with its 95 % interval after Wilson, which holds for few cases and for shares of 0 and 1."""
    if not n:
        return (np.nan,) * 3
    z = special.ndtri(0.975)
    middle, half = hits + z**2 / 2, z * np.sqrt(hits * (n - hits) / n + z**2 / 4)
    low, high = (middle - half) / (n + z**2), (middle + half) / (n + z**2)
    return hits / n, max(0.0, float(low)), min(1.0, float(high))


def shares(table: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """One row for each group: share of its rows where `value` holds, as mean, low, high (Wilson, 95 %) and n; empty values do not count."""
    rows = []
    for key, part in table.dropna(subset=[value]).groupby(list(by), sort=False, observed=True):
        mean, low, high = share(int(part[value].astype(bool).sum()), len(part))
        rows.append({**dict(zip(by, key, strict=True)), "mean": mean, "low": low, "high": high, "n": len(part)})
    return pd.DataFrame(rows)


def with_interval(table: pd.DataFrame, form: str = ".0%", *, mean: str = "mean") -> list[str]:
    """Each mean with its interval, as in "50% (40% to 60%)"; `form` is that of each number, `mean`, low and high are columns."""
    ends = zip(table[mean], table["low"], table["high"], strict=True)
    return [f"{middle:{form}} ({low:{form}} to {high:{form}})" for middle, low, high in ends]
