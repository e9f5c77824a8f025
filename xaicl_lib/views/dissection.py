"""How sure a metric is of the augmentation that a twin was trained without, or with."""

import pandas as pd
import plotly.graph_objects as go

from xaicl_lib.views.render import described
from xaicl_lib.views.studies import matrix_figure


def sure_figure(answers: pd.DataFrame) -> go.Figure:
    """How sure the right answer is, a row for each metric, a column for each twin (`xaicl_lib.studies.dissection.answers`)."""
    sure = answers.pivot_table("sure", "metric", "twin", sort=False)
    said = (f"{r.metric} of {r.twin}: {r.identified} ({r.sure:.0%} right)" for r in answers.itertuples())
    return described(matrix_figure(sure, bounds=(0, 1)), f"How sure the right answer is. Identified by {'; '.join(said)}.")
