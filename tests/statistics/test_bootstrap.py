"""Intervals against closed forms."""

import numpy as np
import pandas as pd
import pytest

from xaicl_lib.statistics.bootstrap import resampled_means, share, shares, with_interval


def test_rows_are_drawn_whole() -> None:
    values = np.arange(10.0)
    means = resampled_means(np.stack([values, 9 - values], 1), 50)
    assert np.allclose(means.sum(1), 9)
    assert means[:, 0].std() > 0


def test_wilson_interval() -> None:
    assert share(0, 20)[1] == 0
    assert share(20, 20)[2] == 1
    # 47 of 50, by the formula as textbooks give it
    p, n, z = 0.94, 50, 1.959964
    centre, half = (p + z**2 / 2 / n) / (1 + z**2 / n), z * np.sqrt(p * (1 - p) / n + z**2 / 4 / n**2) / (1 + z**2 / n)
    assert share(47, 50) == pytest.approx((p, centre - half, centre + half))
    assert np.isnan(share(0, 0)).all()


def test_groups() -> None:
    table = pd.DataFrame({"m": list("aabb"), "hit": pd.array([True, False, None, True], dtype="boolean")})
    hits = shares(table, ["m"], "hit").set_index("m")
    assert hits["mean"].to_dict() == {"a": 0.5, "b": 1.0}
    assert hits["n"].to_dict() == {"a": 2, "b": 1}


def test_numbers_with_their_intervals() -> None:
    table = pd.DataFrame({"mean": [0.5], "low": [0.25], "high": [0.754], "difference": [-0.5]})
    assert with_interval(table) == ["50% (25% to 75%)"]
    assert with_interval(table, "+.1f", mean="difference") == ["-0.5 (+0.2 to +0.8)"]
