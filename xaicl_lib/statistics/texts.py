"""Numbers as a table to read has them."""

from collections.abc import Iterable

import pandas as pd


def with_interval(table: pd.DataFrame, form: str = ".0%", *, mean: str = "mean") -> list[str]:
    """Each mean with its interval, as in "50% (40% to 60%)"; `form` is that of each number, `mean`, low and high are columns."""
    ends = zip(table[mean], table["low"], table["high"], strict=True)
    return [f"{middle:{form}} ({low:{form}} to {high:{form}})" for middle, low, high in ends]


def p_texts(values: Iterable[float]) -> list[str]:
    """p values to three digits after the point, smaller ones as "< 0.001"."""
    return [f"{p:.3f}" if p >= 0.001 else "< 0.001" for p in values]
