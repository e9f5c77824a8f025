"""Figures of augmentations that grow stronger: maps of one pair, and maps lost by two at once."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from torch import Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.views.gallery import gallery_figure, overlaid
from xaicl_lib.views.render import described
from xaicl_lib.views.studies import matrix_figure

Levels = Sequence[tuple[int, Pair, Explanation]]  # of `xaicl_lib.studies.harmful.harder`


def levels_figure(explained: Levels, control: Levels) -> go.Figure:
    """One pair at growing levels of an augmentation: side b, its maps on one scale, and those of a control, each on its own.

    Both are of `studies.harmful.harder`.
    """
    maps = [_side_b(*level) for level in explained]
    limit = max(side.max().item() for _, side in maps)
    scores = [f"{level or 'clean'}: {made.score.item():.2f}" for level, _, made in explained]
    items = [(score, [image]) for score, (image, _) in zip(scores, maps, strict=True)]
    items += [(f"to {side.max().item():.0e}", [overlaid(image, side, limit)]) for image, side in maps]
    items += [
        (made.method, [overlaid(image, side, side.max().item())]) for _, pair, made in control for image, side in [_side_b(0, pair, made)]
    ]
    what = f"A view at {len(maps)} levels of an augmentation over its score, its maps, and those of {control[0][2].method}"
    return gallery_figure(items, columns=len(maps), what=what)


def _side_b(level: int, pair: Pair, made: Explanation) -> tuple[Tensor, Tensor]:
    if pair.b is None or made.b is None:
        raise InputError(f"expected pairs of two sides, got one without side b at level {level}")
    return pair.b[0], made.b[0]


def square_figure(square: pd.DataFrame, what: str, minus: str | None = None) -> go.Figure:
    """Two augmentations at once, below the diagonal, and each alone, on it.

    The square is of `studies.combined.square`; `minus` is the control taken away.
    """
    figure = matrix_figure(square, bounds=(-1 if minus else 0, 1), centre=0.0 if minus else None)
    top = "; ".join(f"{b} and {a} {value:.2f}" for (a, b), value in square.stack().nlargest(3).items())
    shown = f"Maps lost, minus the share that {minus} loses," if minus else "Maps lost"
    return described(figure, f"{shown} by two augmentations at once: {what}. Most: {top}.")
