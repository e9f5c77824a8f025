"""Tables of the book, generated from what the library knows of itself."""

import re
from dataclasses import dataclass

import pandas as pd

from xaicl_lib.methods import methods

BREAK = "\u2028"  # begins another line in a cell


def methods_table() -> pd.DataFrame:
    """A row for each registered method: its family, what it says, what it costs for a pair, and its source."""
    rows = [
        {
            "method": m.name,
            "family": m.facts["family"],
            "says": m.summary,
            "cost for a pair": m.facts["cost"],
            "source": f"{m.facts['paper']}, {m.facts['where']}",
        }
        for m in methods
    ]
    order = ["perturbation", "gradient", "activation", "similarity", "attention", "control"]
    table = pd.DataFrame(rows)
    return table.sort_values("family", key=lambda column: column.map(order.index), kind="stable").set_index("method")


def provenance(table: pd.DataFrame, **counted: str) -> str:
    """Where a stored table is from, in a line: `provenance(table, pairs="pairs")` begins with the number in its column `pairs`."""
    first = table.iloc[0]
    parts = [f"{first[column]} {name}" for column, name in counted.items() if column in table]
    forms = {"device": "{}", "torch": "torch {}", "date": "{}", "code": "code {}"}
    parts += [form.format(first[column]) for column, form in forms.items() if column in table]
    return " · ".join(parts) or "the quick run of this page"


@dataclass(frozen=True)
class Table:
    """A table to read rather than to compute with: whole texts, `digits` after the point, scrolling within its own box.

    A text may have small lines below its first, each after a `BREAK`. Numbers of columns named p, or "p, of what", are never zero.
    """

    frame: pd.DataFrame
    digits: int = 2

    def _repr_html_(self) -> str:
        frame = self.frame.rename_axis(columns=None).reset_index()
        chances = {name: said_p for name in frame.select_dtypes("float") if str(name).split(",")[0] == "p"}
        with pd.option_context("display.max_colwidth", None):
            text = frame.to_html(
                index=False, border=0, justify="left", float_format=lambda v: f"{v:z.{self.digits}f}", na_rep="", formatters=chances
            )
        text = re.sub(f"{BREAK}([^<]*)", lambda found: f"<small>{found[1].replace(BREAK, '<br>')}</small>", text)
        return f'<div class="xaicl-table">{text}</div>'


def said_p(p: float) -> str:
    """The p of a test, to read: three digits, and no zero."""
    return "" if pd.isna(p) else "< .001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 0.9995 else "1"
