"""The figure of claims says what the tests say."""

import numpy as np
import pandas as pd

from xaicl_lib.views.headlines import claims_alt, claims_figure


def test_cells_are_verdicts() -> None:
    rows = [
        ("one", "SI", "m", 0.1234, 0.1, 0.2, 24, 0.01, "holds"),
        ("one", "SD", "m", -0.2, -0.3, -0.1, 24, 0.02, "contrary"),
        ("one", "SD", "k", 0.01, -0.1, 0.2, 24, 1.0, "undecided"),
        ("two", "SI", "k", 0.01, -0.1, 0.2, 24, 1.0, "undecided"),
    ]
    found = pd.DataFrame(rows, columns=["claim", "metric", "model", "difference", "low", "high", "n", "p", "verdict"])
    first, second = claims_figure(found).data
    assert np.asarray(first.z, float)[0].tolist() == [1, -1]
    assert np.isnan(np.asarray(first.z, float)[1, 0])
    assert first.text[0][0] == "+0.123<br>+0.10 to +0.20"
    assert "24 pairs, corrected p 0.02: contrary" in first.hovertext[0][1]
    assert (first.visible, second.visible) == (True, False)
    assert "one: 1 of 3 hold, 1 contrary; two: 0 of 1 hold, 0 contrary" in claims_alt(found)
