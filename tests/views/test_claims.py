"""The table of verdicts as texts, and its power figure."""

import numpy as np
import pandas as pd

from xaicl_lib import show
from xaicl_lib.views.claims import power_figure, readable
from xaicl_lib.views.render import alt_of
from xaicl_lib.views.tables import BREAK

TABLE = pd.DataFrame(
    {
        "place": ["Fig. 1", "Table I", "V"], "claim": ["a", "b", "c"], "paper": ["64 %", "", ""], "ours": [0.25, -0.1, np.nan],
        "low": [0.1, -0.3, np.nan], "high": [0.4, 0.1, np.nan], "n": [24, 30, 0], "unit": ["pairs", "pairs", ""],
        "p": [0.0002, 0.25, np.nan], "verdict": ["holds", "undecided", "not testable here"], "needed": [np.nan, 1500.0, np.nan],
        "at_least": [np.nan, 60.0, np.nan], "note": ["", "", "why"], "protocol": ["50 pairs", "", ""],
        "used": ["t.parquet, m", "", ""],
    }
)  # fmt: skip


def test_rows_are_texts() -> None:
    found = readable(TABLE)
    ours = ["+0.250 (+0.100 to +0.400)|24 pairs|p < .001|paper: 64 %", "-0.100 (-0.300 to +0.100)|30 pairs|p = .250|needs 1,500", ""]
    assert [text.replace(BREAK, "|") for text in found["ours"]] == ours
    claims = ["a|Fig. 1|there: 50 pairs|here: t.parquet, m", "b|Table I", "c|V|why"]
    assert [text.replace(BREAK, "|") for text in found["claim"]] == claims
    assert list(found.index) == list(TABLE["verdict"])
    assert list(readable(TABLE, verdict="undecided")["claim"]) == [f"b{BREAK}Table I"]
    assert readable(TABLE.assign(needed=[np.nan, 2e6, np.nan]))["ours"].iloc[1].endswith("needs > 1,000,000")
    cells = readable(TABLE.assign(p=np.nan))["ours"]
    assert list(cells)[1:] == [f"{BREAK}30 pairs{BREAK}needs 1,500", ""], "what was not drawn has no interval"


def test_the_power_figure_counts_rows() -> None:
    more = pd.concat([TABLE, TABLE.assign(needed=[np.nan, np.inf, 4.0], unit=["", "pairs", "models"])])
    figure = power_figure(more)
    solid, dotted = figure.data
    assert (list(solid.x), list(solid.y)) == ([1500.0, 1_000_000.0], [1, 2])
    assert list(dotted.x) == [60.0, 60.0]
    assert "Of 2 undecided rows" in alt_of(figure)
    assert "200 pairs 0 (2), 1,000 pairs 0 (2), 10,000 pairs 1 (2)" in alt_of(figure)


def test_a_section_is_a_table_of_its_own() -> None:
    html = show(readable(TABLE.assign(section=["x", "y", "y"]), section="y"))._repr_html_()
    assert (html.count("<tr"), "64 %" in html) == (3, False)
    assert show(readable(TABLE, verdict="holds"))._repr_html_().count("<tr") == 2
