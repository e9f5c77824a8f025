"""Figures of pairs whose shared evidence is known."""

from collections.abc import Mapping

import plotly.graph_objects as go

from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.views.gallery import gallery_figure, outlined, overlaid
from xaicl_lib.views.render import described


def pairs_figure(pairs: Mapping[str, Pair], *, what: str, outline: bool = True) -> go.Figure:
    """Both sides of the first pair of each, side by side.

    Args:
        pairs: by title.
        what: is seen, for those who do not see it, before the titles.
        outline: draw a line around the evidence that is shared.
    """
    items = [(title, [side[0] for side in pair.sides]) for title, pair in pairs.items()]
    masks = [(pair.truth.a[0], pair.truth.b[0]) for pair in pairs.values() if pair.truth is not None]
    return gallery_figure(items, masks=masks if outline else None, what=what)


def known_figure(pair: Pair, made: Explanation) -> go.Figure:
    """Both sides of a pair with the evidence outlined, each beside its map; both maps on one scale."""
    assert pair.truth is not None  # its evidence is known
    assert made.b is not None  # a pair was explained
    limit = max(made.a.max(), made.b.max()).item()
    items = []
    for name, image, mask, map_ in zip("ab", pair.sides, (pair.truth.a, pair.truth.b), (made.a, made.b), strict=True):
        items += [(name, [outlined(image[0], mask[0])]), (f"map of {name}", [overlaid(image[0], map_[0], limit)])]
    figure = gallery_figure(items, columns=4)
    return described(figure, f"A pair with the shared evidence outlined, and its maps by {made.method}; score {made.score[0].item():.2f}.")
