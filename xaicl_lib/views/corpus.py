"""Figures of one-sided questions: signed maps over their images."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.pair import Explanation
from xaicl_lib.views.figures import place_of
from xaicl_lib.views.gallery import gallery_figure, overlaid, under_maps
from xaicl_lib.views.render import described


def maps_figure(
    image: Float[Tensor, "3 h w"],
    made: Mapping[str, Explanation],
    *,
    index: int = 0,
    columns: int = 6,
    one_scale: bool = True,
    pictures: Mapping[str, Tensor] | None = None,
    what: str = "Maps.",
) -> go.Figure:
    """An image and its one-sided maps, red for evidence and blue for evidence against.

    Args:
        image: that was explained.
        made: explanations by title; titles get the score, or the end of the scale where each map has its own.
        index: which of a batch.
        columns: maps in a row.
        one_scale: one scale for all maps, for those of one unit.
        pictures: shown beside the map of the same title, such as the images of its corpus.
        what: is seen, for those who do not see it, before the score of each map and where it is strongest.

    Raises:
        InputError: no explanation.
    """
    if not made:
        raise InputError("expected at least one explanation to draw, got none")
    tops = {title: float(one.a[index].abs().max()) for title, one in made.items()}
    limits = dict.fromkeys(tops, max(tops.values())) if one_scale else tops
    items = [("image", [image.cpu()])] if pictures is None else []
    for title, one in made.items():
        said = f"{one.score[index].item():+.2f}" if one_scale else f"to {tops[title]:.1e}"
        beside = [] if pictures is None else [pictures[title].cpu()]
        items.append((f"{title}: {said}", [*beside, overlaid(image, one.a[index], limits[title], signed=True)]))
    places = {title: place_of(one.a[index].float().cpu().numpy()) for title, one in made.items()}
    told = (f"{title}: score {made[title].score[index].item():.2f}, strongest at the {place}" for title, place in places.items())
    return described(gallery_figure(items, columns=columns), f"{what} {'; '.join(told)}.")


def errors_figure(image: Float[Tensor, "3 h w"], made: Mapping[int, Explanation]) -> go.Figure:
    """RISE maps by their number of masks, a row for each: the map, its standard error, and what exceeds two of them; all on one scale."""
    limit = max(one.a.abs().max().item() for one in made.values())
    items, means = [], []
    for masks, one in made.items():
        away, error = one.a - one.a.median(), one.error_a
        assert error is not None  # RISE gives one
        clear = torch.where(away.abs() > 2 * error, one.a, 0.0)
        items += [
            (f"{masks} masks", [overlaid(image, one.a[0], limit, signed=True)]),
            (f"error {error.mean().item():.3f}", [overlaid(image, error[0], limit)]),
            ("beyond 2 errors", [overlaid(image, clear[0], limit, signed=True)]),
        ]
        means.append(f"{masks} masks {error.mean().item():.4f}")
    what = f"RISE maps of {', '.join(map(str, made))} masks on one scale, their standard errors, and what exceeds two of them."
    return described(gallery_figure(items, columns=3), f"{what} Mean error: {', '.join(means)}.")


def either_figure(
    scenes: Float[Tensor, "n 3 s s"],
    masks: Bool[Tensor, "n 2 s s"],
    either: Sequence[Sequence[tuple[str, Float[Tensor, "i j"]]]],
    *,
    method: str,
) -> go.Figure:
    """Scenes under their maps towards the text of one object and of the other, whose outline is drawn; one scale for a scene.

    Scenes and maps are of `studies.text_localisation`: `two_object_scenes`, `explain_either`.
    """
    items, outlines = [], []
    for scene, objects, pair in zip(scenes, masks, either, strict=True):
        items += under_maps([(text, scene, map_) for text, map_ in pair])
        outlines += [[mask] for mask in objects]
    what = f"Scenes of two objects, each twice: {method} towards the text of one object and of the other, and the object outlined"
    return gallery_figure(items, columns=4, masks=outlines, what=what)
