"""What the figures of the book share: nothing painted but the data, so that a page's theme shows through."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

PLAIN = {"template": "none", "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "font": {"size": 13}}
GRID = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False, "fixedrange": True}  # of an axis with numbers
BARE = {"showgrid": False, "zeroline": False, "ticks": "", "fixedrange": True}  # of an axis with names
# Legends at the foot, however tall the plot: as they are, in smaller letters, and these from the figure's edge on.
LEGEND: dict[str, Any] = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0}
SMALL_LEGEND = {**LEGEND, "font": {"size": 12}}
WIDE_LEGEND = {**SMALL_LEGEND, "xref": "container", "x": 0.02}
RING = "rgba(110,110,110,1)"  # seen on light and dark pages
DOTTED = {"color": "rgba(128,128,128,0.9)", "width": 1.5, "dash": "dot"}  # a line to compare with
MENU: dict[str, Any] = {"x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "pad": {"b": 8}}  # above the plot


def menu(owners: Sequence[str | None], method: str = "restyle", **look: Any) -> list[dict[str, Any]]:
    """A menu that shows one name's traces at a time: for each trace whose it is, None where it always stays; none for a single name."""
    names = [name for name in dict.fromkeys(owners) if name is not None]
    buttons = [{"label": n, "method": method, "args": [{"visible": [one in (n, None) for one in owners]}]} for n in names]
    return [{**MENU, "buttons": buttons, **look}] if len(names) > 1 else []


def reach(table: pd.DataFrame, mean: str = "mean", **look: Any) -> dict[str, Any]:
    """The bars from `low` to `high` around means, as plotly wants them."""
    return {"type": "data", "array": table["high"] - table[mean], "arrayminus": table[mean] - table["low"], **look}
