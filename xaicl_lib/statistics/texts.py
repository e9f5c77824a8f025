"""Numbers as a table to read has them."""

import pandas as pd


def with_interval(table: pd.DataFrame, form: str = ".0%", *, mean: str = "mean") -> list[str]:
    """Each mean with its interval, as in "50% (40% to 60%)"; `form` is that of each number, `mean`, low and high are columns."""
    ends = zip(table[mean], table["low"], table["high"], strict=True)
    return [f"{middle:{form}} ({low:{form}} to {high:{form}})" for middle, low, high in ends]
