"""What the figures of the book share: nothing painted but the data, so that a page's theme shows through."""

PLAIN = {"template": "none", "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "font": {"size": 13}}
GRID = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False, "fixedrange": True}  # of an axis with numbers
BARE = {"showgrid": False, "zeroline": False, "ticks": "", "fixedrange": True}  # of an axis with names
