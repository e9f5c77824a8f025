"""The table of what holds of the papers, to read; and how many pairs its open rows would take."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from xaicl_lib.views.render import described
from xaicl_lib.views.style import GRID, PLAIN, WIDE_LEGEND
from xaicl_lib.views.tables import BREAK, said_p

FAR = 1_000_000  # pairs, beyond which a number says no more than "not with pairs"
LINES = {"needed": ("at the observed difference", "solid"), "at_least": ("at the far end of its interval", "dot")}


def readable(table: pd.DataFrame, *, section: str = "", verdict: str = "") -> pd.DataFrame:
    """Rows of `studies.claims.answers` as texts, by verdict: the claim, with place, note and protocols; our number and the paper's.

    A section or verdict picks rows.
    """
    rows = table if not section else table[table["section"] == section]
    rows = rows if not verdict else rows[rows["verdict"] == verdict]
    columns = {
        "claim": [_lines(r.claim, r.place, r.note, _after("there: ", r.protocol), _after("here: ", r.used)) for r in rows.itertuples()],
        "ours": [_ours(r) for r in rows.itertuples()],
    }
    return pd.DataFrame(columns, index=rows.index).set_index(rows["verdict"])


def _lines(first: str, *small: str) -> str:
    return BREAK.join([first, *filter(None, small)])


def _after(what: str, text: str) -> str:
    return what + text if text else ""


def _ours(row: Any) -> str:
    """The mean with its interval, what was drawn, the corrected p, how many an open row needs, and the paper's number."""
    mean = f"{row.ours:+.3f} ({row.low:+.3f} to {row.high:+.3f})" if not np.isnan(row.p) else ""
    units = f"{row.n} {row.unit}" if row.n else ""
    chance, needs = _after("p ", _relation(said_p(row.p))), _after("needs ", _number(row.needed))
    return _lines(mean, units, chance, needs, _after("paper: ", row.paper))


def _relation(p: str) -> str:
    return p if not p or p.startswith("<") else f"= {p}"


def _number(n: float) -> str:
    return "" if np.isnan(n) else f"> {FAR:,}" if n > FAR else f"{n:,.0f}"


def _open(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["needed"].notna() & (table["unit"] != "models")]


def power_figure(table: pd.DataFrame) -> go.Figure:
    """How many of the undecided rows n pairs (or images) would decide with power 0.8; rows over models are left out."""
    rows, figure = _open(table), go.Figure()
    for column, (name, dash) in LINES.items():
        n = np.sort(rows[column].clip(upper=FAR).to_numpy(float))
        figure.add_trace(
            go.Scatter(
                x=n.tolist(), y=list(range(1, len(n) + 1)), name=name, mode="lines",
                line={"shape": "hv", "dash": dash, "width": 2, "color": "#0072b2"},
                hovertemplate="%{x:,.0f} pairs decide %{y}",
            )
        )  # fmt: skip
    figure.update_xaxes(**GRID, type="log", title="pairs", range=[1, 6], tickvals=[10, 100, 1000, 1e4, 1e5, 1e6])
    figure.update_xaxes(ticktext=["10", "100", "1,000", "10,000", "100,000", "a million"])
    figure.update_yaxes(**GRID, title=f"rows decided, of {len(rows)}", range=[0, len(rows) + 1])
    figure.update_layout(
        **PLAIN, height=380, margin={"l": 56, "r": 24, "t": 10, "b": 100},
        legend=WIDE_LEGEND,
    )  # fmt: skip
    decided = ", ".join(
        f"{n:,} pairs {int((rows['needed'] <= n).sum())} ({int((rows['at_least'] <= n).sum())})" for n in (50, 200, 1000, 10000)
    )
    said = (
        f"Of {len(rows)} undecided rows these would be decided at the observed difference (and at the far end of its interval): {decided}."
    )
    return described(figure, said)
