"""Tables of the book, generated from what the library knows of itself."""

import pandas as pd

from xaicl_lib.methods import methods


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
    order = ["perturbation", "gradient", "activation", "similarity", "control"]
    table = pd.DataFrame(rows)
    return table.sort_values("family", key=lambda column: column.map(order.index), kind="stable").set_index("method")
