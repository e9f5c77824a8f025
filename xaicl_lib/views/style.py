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
WIDTH = 720  # pixels of a figure in the book, for which heights are made
WIDE_LEGEND = {**SMALL_LEGEND, "xref": "container", "x": 0.02}
RING = "rgba(110,110,110,1)"  # seen on light and dark pages
DOTTED = {"color": "rgba(128,128,128,0.9)", "width": 1.5, "dash": "dot"}  # a line to compare with
MENU: dict[str, Any] = {"x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "pad": {"b": 8}}  # above the plot


def menu(owners: Sequence[str | None], method: str = "restyle", **look: Any) -> list[dict[str, Any]]:
    """A menu that shows one name's traces at a time: for each trace whose it is, None where it always stays; none for a single name."""
    names = [name for name in dict.fromkeys(owners) if name is not None]
    buttons = [{"label": n, "method": method, "args": [{"visible": [one in (n, None) for one in owners]}]} for n in names]
    return [{**MENU, "buttons": buttons, **look}] if len(names) > 1 else []


def slider(steps: Sequence[dict[str, Any]], active: int, prefix: str, **look: Any) -> list[dict[str, Any]]:
    """A slider that says, after `prefix`, where it stands."""
    plain = {"ticklen": 0, "minorticklen": 0, "font": {"size": 11}, "x": 0, "len": 1, "y": 0, "pad": {"t": 8}}
    return [{**plain, "steps": list(steps), "active": active, "currentvalue": {"prefix": prefix, "visible": True}, **look}]


def fitted(fixed: float, share: float, narrow: dict[str, Any] | None = None) -> dict[str, Any]:
    """The height of a figure for the book's width, and what a page must know to fit it to its own.

    Args:
        fixed, share: the height is `fixed` pixels and this share of the width.
        narrow: what the book's script changes on a phone: a share of its own, and entries of the layout.
    """
    phone = {"fixed": fixed, "share": share, "layout": {}, "bars": {}, "traces": [], **(narrow or {})}
    return {"height": fixed + share * WIDTH, "meta": {"fixed": fixed, "share": share, "narrow": phone}}


def reach(table: pd.DataFrame, **look: Any) -> dict[str, Any]:
    """The bars from `low` to `high` around means, as plotly wants them."""
    return {"type": "data", "array": table["high"] - table["mean"], "arrayminus": table["mean"] - table["low"], **look}
