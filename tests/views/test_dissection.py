"""How sure a metric is, as colours."""

import pandas as pd

from xaicl_lib.views.dissection import sure_figure
from xaicl_lib.views.render import alt_of


def test_a_row_for_each_metric_and_a_column_for_each_twin() -> None:
    facts = {"metric": ["SI plain", "score"], "twin": "no_blur", "identified": ["hue", "blur"], "right": [False, True], "sure": [0.2, 0.9]}
    figure = sure_figure(pd.DataFrame({**facts, "n": 3}))
    assert figure.data[0].z.tolist() == [[0.2], [0.9]]
    assert figure.data[0].y == ("SI plain", "score")
    assert alt_of(figure).endswith("Identified by SI plain of no_blur: hue (20% right); score of no_blur: blur (90% right).")
