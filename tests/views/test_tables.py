"""Tables to read."""

import re

import pandas as pd

from xaicl_lib.views.tables import BREAK, Table, provenance


def test_tables_round_to_their_digits_and_keep_whole_texts() -> None:
    frame = pd.DataFrame({"x": [0.12345, float("nan")], "says": ["word " * 40, "b"]}, index=pd.Index(["p", "q"], name="model"))
    two, three = Table(frame)._repr_html_(), Table(frame, digits=3)._repr_html_()
    assert "<td>0.12</td>" in two
    assert "<td>0.123</td>" in three
    assert "word " * 39 in two
    assert "nan" not in two.lower()
    assert "<th>model</th>" in two
    assert two.startswith('<div class="xaicl-table">')


def test_there_is_no_zero_below_zero() -> None:
    text = Table(pd.DataFrame({"drop": [-0.001, -0.006, 0.001]}))._repr_html_()
    assert re.findall(r"<td>(-?0\.\d+)", text) == ["0.00", "-0.01", "0.00"]


def test_a_p_is_never_zero_and_a_cell_may_have_small_lines() -> None:
    frame = pd.DataFrame(
        {"p": [0.0004, 1.0], "p, edges": [0.0499, float("nan")], "share": [0.0004, 1], "says": [f"a{BREAK}b < c{BREAK}d", "e"]}
    )
    found = Table(frame.set_index("says"))._repr_html_()
    cells = re.findall(r"<td>(.*?)</td>", found)
    assert cells == ["a<small>b &lt; c<br>d</small>", "&lt; .001", ".050", "0.00", "e", "1", "", "1.00"]


def test_a_stored_table_says_where_it_is_from() -> None:
    table = pd.DataFrame({"pairs": [50], "device": ["CPU, 2 cores"], "torch": ["2.9"], "date": ["2026-01-02"], "code": ["abc"]})
    assert provenance(table, pairs="pairs") == "50 pairs · CPU, 2 cores · torch 2.9 · 2026-01-02 · code abc"
    assert provenance(table[["torch"]]) == "torch 2.9", "what is not there is not said"
    assert provenance(table[["torch"]].rename(columns={"torch": "model"}), pairs="pairs") == "the quick run of this page"
