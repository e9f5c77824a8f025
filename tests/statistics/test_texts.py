"""Numbers as text."""

import pandas as pd

from xaicl_lib.statistics.texts import with_interval


def test_numbers_with_their_intervals() -> None:
    table = pd.DataFrame({"mean": [0.5], "low": [0.25], "high": [0.754], "difference": [-0.5]})
    assert with_interval(table) == ["50% (25% to 75%)"]
    assert with_interval(table, "+.1f", mean="difference") == ["-0.5 (+0.2 to +0.8)"]
