"""What an augmentation changes in a model's view of a photo: which part of the photo makes it like its augmented self?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from xaicl_lib import augment
from xaicl_lib.errors import InputError
from xaicl_lib.metrics.localisation import relevance_mass
from xaicl_lib.metrics.randomisation import rank_correlation
from xaicl_lib.model import PairModel, embed_corpus
from xaicl_lib.pair import Explanation, resize_map
from xaicl_lib.studies.corpus import Way, explain_corpus

Images = Float[Tensor, "n 3 h w"]
OCCLUSION = Way("conditional_occlusion")
BOX = (0.25, 0.5)  # smallest and largest share of the photo's area that a crop keeps or a patch hides


@dataclass(frozen=True)
class Change:
    """Photos after an augmentation, and which part of each photo is still in it: masks (n, h, w), None where all of it is."""

    photos: Images
    kept: Bool[Tensor, "n h w"] | None = None


def _crop(photos: Images, generator: Generator) -> Change:
    """A random square part, enlarged to the whole."""
    boxes = _boxes(len(photos), generator)
    return Change(augment.resized_crop(photos, boxes, photos.shape[-1]).clamp(0, 1), _inside(boxes, photos))


def _cut_out(photos: Images, generator: Generator) -> Change:
    """A random square part painted in the photo's mean colour."""
    hidden = _inside(_boxes(len(photos), generator), photos)
    return Change(torch.where(hidden.unsqueeze(1), photos.mean((2, 3), keepdim=True), photos), ~hidden)


def _boxes(n: int, generator: Generator) -> Float[Tensor, "n 4"]:
    u = torch.rand(n, 3, generator=generator)
    side = (BOX[0] + (BOX[1] - BOX[0]) * u[:, 0]).sqrt()
    return torch.stack([u[:, 1] * (1 - side), u[:, 2] * (1 - side), side, side], 1)


def _inside(boxes: Float[Tensor, "n 4"], photos: Images) -> Bool[Tensor, "n h w"]:
    h, w = photos.shape[2:]
    y, x = ((torch.arange(k) + 0.5) / k for k in (h, w))
    left, top, wide, tall = boxes.unsqueeze(2).unbind(1)  # (n, 1) each
    rows, columns = (y >= top) & (y < top + tall), (x >= left) & (x < left + wide)
    return rows.unsqueeze(2) & columns.unsqueeze(1)


CHANGES: dict[str, Callable[[Images, Generator], Change]] = {
    "crop": _crop,
    "cut-out": _cut_out,
    "colours": lambda photos, g: Change(augment.hue(photos, 0.2 + 0.6 * torch.rand(len(photos), generator=g)).clamp(0, 1)),
    "grayscale": lambda photos, g: Change(augment.grayscale(photos, 1.0)),
    "blur": lambda photos, g: Change(augment.gaussian_blur(photos, 0.03 * photos.shape[-1], 2 * round(0.09 * photos.shape[-1]) + 1)),
    "darkening": lambda photos, g: Change(augment.brightness(photos, 0.25)),
}


def explain_change(model: PairModel, photos: Images, change: Change, foil: Float[Tensor, "k d"], way: Way, seed: int = 0) -> Explanation:
    """Why each photo is more like its augmented self than like a foil; photo by photo, for each is a corpus of its own."""
    z = embed_corpus(model, change.photos)
    made = [explain_corpus(model, photos[k : k + 1], way, z[k : k + 1], foil, seed) for k in range(len(photos))]
    return Explanation.concat(made)


def compare_views(
    model: PairModel,
    photos: Images,
    foil: Images,
    *,
    changes: Mapping[str, Callable[[Images, Generator], Change]] = CHANGES,
    way: Way = OCCLUSION,
    draws: int = 2,
    generator: Generator | None = None,
) -> pd.DataFrame:
    """Scores and maps of photos towards augmented versions of themselves.

    After :cite:t:`lin2023contrastive`, where maps of SimCLR towards augmented images are looked at; here they are measured: a
    part that a crop or a patch took away cannot make the photo like what is left.

    Args:
        model: whose view it is.
        photos: at least one.
        foil: other photos.
        changes: augmentations by name, (photos, generator) -> Change.
        way: of explanation.
        draws: of each augmentation.
        generator: of the augmentations; None is seed 0.

    Returns:
        One row per augmentation, photo and draw: score, agreement (rank correlation with the map towards the photo as it is), inside
        (share of the map's positive values on the part that was kept), area (that part's share of the photo; both NaN where all is kept).

    Raises:
        InputError: no draws.
    """
    if draws < 1:
        raise InputError(f"expected at least one draw, got {draws}")
    generator, z_foil = generator or Generator().manual_seed(0), embed_corpus(model, foil)
    itself = explain_change(model, photos, Change(photos), z_foil, way)
    frames = []
    for name, apply in changes.items():
        for draw in range(draws):
            change = apply(photos, generator)
            made = explain_change(model, photos, change, z_foil, way)
            row = {"pair": range(len(photos)), "score": made.score.cpu().double(), "agreement": rank_correlation(made.a, itself.a).cpu()}
            frames.append(pd.DataFrame({**row, **_inside_share(made, change)}).assign(augmentation=name, draw=draw, model=model.name))
    return pd.concat(frames, ignore_index=True)[["model", "augmentation", "pair", "draw", "score", "agreement", "inside", "area"]]


def _inside_share(made: Explanation, change: Change) -> dict[str, Tensor]:
    if change.kept is None:
        nothing = torch.full((len(made),), torch.nan)
        return {"inside": nothing, "area": nothing}
    kept = change.kept
    maps = resize_map(made.a.cpu(), kept.shape[1:])  # type: ignore[arg-type]
    return {"inside": relevance_mass(maps, kept).double(), "area": kept.double().mean((1, 2))}
