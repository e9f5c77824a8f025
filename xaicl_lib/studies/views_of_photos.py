"""What an augmentation changes in a model's view of a photo: which part of the photo makes it like its augmented self?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from xaicl_lib import augment
from xaicl_lib.errors import InputError
from xaicl_lib.evaluation.method_spec import Method, Methods, method_specs
from xaicl_lib.images import SAMPLES as SAMPLES
from xaicl_lib.metrics.localisation import relevance_mass
from xaicl_lib.metrics.randomisation import rank_correlation
from xaicl_lib.model import PairModel, embed_corpus
from xaicl_lib.pair import Explanation, resize_map
from xaicl_lib.statistics.paired import summarise
from xaicl_lib.studies.corpus import explain_corpus

Images = Float[Tensor, "n 3 h w"]
BOX = (0.25, 0.5)  # smallest and largest share of the photo's area that a crop keeps or a patch hides


@dataclass(frozen=True)
class _Change:
    """Photos after an augmentation, and which part of each photo is still in it: masks (n, h, w), None where all of it is."""

    photos: Images
    kept: Bool[Tensor, "n h w"] | None = None


def _crop(photos: Images, generator: Generator) -> _Change:
    """A random square part, enlarged to the whole."""
    boxes = _boxes(len(photos), generator)
    return _Change(augment.resized_crop(photos, boxes, photos.shape[-1]).clamp(0, 1), _inside(boxes, photos))


def _cut_out(photos: Images, generator: Generator) -> _Change:
    """A random square part painted in the photo's mean colour."""
    hidden = _inside(_boxes(len(photos), generator), photos)
    return _Change(torch.where(hidden.unsqueeze(1), photos.mean((2, 3), keepdim=True), photos), ~hidden)


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


CHANGES: dict[str, Callable[[Images, Generator], _Change]] = {
    "crop": _crop,
    "cut-out": _cut_out,
    "colours": lambda photos, g: _Change(augment.hue(photos, 0.2 + 0.6 * torch.rand(len(photos), generator=g)).clamp(0, 1)),
    "grayscale": lambda photos, g: _Change(augment.grayscale(photos, 1.0)),
    "blur": lambda photos, g: _Change(augment.gaussian_blur(photos, 0.03 * photos.shape[-1], 2 * round(0.09 * photos.shape[-1]) + 1)),
    "darkening": lambda photos, g: _Change(augment.brightness(photos, 0.25)),
}


def _explain_change(model: PairModel, photos: Images, change: _Change, foil: Float[Tensor, "k d"], method: Method) -> Explanation:
    """Why each photo is more like its augmented self than like a foil; photo by photo, for each is a corpus of its own."""
    z = embed_corpus(model, change.photos)
    return Explanation.concat([explain_corpus(model, photos[k : k + 1], method, z[k : k + 1], foil) for k in range(len(photos))])


def explain_changes(
    model: PairModel, photo: Float[Tensor, "1 3 h w"], foil: Images, method: Method = "conditional_occlusion", *, seed: int = 0
) -> tuple[dict[str, Explanation], dict[str, Float[Tensor, "3 h w"]]]:
    """For each of `CHANGES` why a photo is more like its augmented self than like other photos, and the augmented photo."""
    changes = {name: apply(photo, Generator().manual_seed(seed)) for name, apply in CHANGES.items()}
    z = embed_corpus(model, foil)
    made = {name: _explain_change(model, photo, change, z, method) for name, change in changes.items()}
    return made, {name: change.photos[0] for name, change in changes.items()}


def compare_views(
    model: PairModel,
    photos: Images,
    foil: Images,
    methods: Methods = "conditional_occlusion",
    *,
    changes: Mapping[str, Callable[[Images, Generator], _Change]] = CHANGES,
    repeats: int = 2,
) -> pd.DataFrame:
    """Scores and maps of photos towards augmented versions of themselves.

    After :cite:t:`lin2023contrastive`, where maps of SimCLR towards augmented images are looked at; here they are measured: a
    part that a crop or a patch took away cannot make the photo like what is left.

    Args:
        changes: augmentations by name, (photos, generator) -> Change.
        repeats: of each augmentation, each with its own random numbers, which are the same for all methods.

    Returns:
        One row per method (in the column way), augmentation, photo and draw: score, agreement (rank correlation with the map towards the
        photo as it is), inside (share of the map's positive values on the part that was kept), area (that part's share of the photo; both
        NaN where all is kept).

    Raises:
        InputError: no repeats.
    """
    if repeats < 1:
        raise InputError(f"expected at least one draw, got {repeats}")
    generator, z = Generator().manual_seed(0), embed_corpus(model, foil)
    drawn = [(name, draw, apply(photos, generator)) for name, apply in changes.items() for draw in range(repeats)]
    frames = []
    for label, method in method_specs(methods).items():
        itself = _explain_change(model, photos, _Change(photos), z, method)
        for name, draw, change in drawn:
            made = _explain_change(model, photos, change, z, method)
            row = {"pair": range(len(photos)), "score": made.score.cpu().double(), "agreement": rank_correlation(made.a, itself.a).cpu()}
            frames.append(pd.DataFrame({**row, **_inside_share(made, change)}).assign(way=label, augmentation=name, draw=draw))
    table = pd.concat(frames, ignore_index=True).assign(model=model.name)
    return table[["model", "way", "augmentation", "pair", "draw", "score", "agreement", "inside", "area"]]


def _inside_share(made: Explanation, change: _Change) -> dict[str, Tensor]:
    if change.kept is None:
        nothing = torch.full((len(made),), torch.nan)
        return {"inside": nothing, "area": nothing}
    kept = change.kept
    maps = resize_map(made.a.cpu(), kept.shape[1:])  # type: ignore[arg-type]
    return {"inside": relevance_mass(maps, kept).double(), "area": kept.double().mean((1, 2))}


def silent_maps(table: pd.DataFrame) -> pd.DataFrame:
    """How many maps have no positive value at all, where the part that was kept is known: way, augmentation, maps; none have no row."""
    known = table.dropna(subset=["area"])
    counts = known["inside"].isna().groupby([known["way"], known["augmentation"]]).sum()
    return counts[counts > 0].rename("maps").reset_index()


def shares_kept(table: pd.DataFrame) -> pd.DataFrame:
    """The share of positive evidence on the part of a photo that was kept, by augmentation and way, and that part's share of the area.

    Returns:
        One row per augmentation and way, "its area" among these: mean, low, high over photos.
    """
    each = _each_photo(table, "inside")
    area = _each_photo(table, "area")
    area = area[area["way"] == table["way"].iloc[-1]].assign(way="its area")
    return summarise(pd.concat([each, area]).dropna(subset=["value"]), ["augmentation", "way"])


def scores_and_agreement(table: pd.DataFrame, way: str) -> pd.DataFrame:
    """Score of the photos by one way, and the rank correlation of its map with that towards the photo as it is.

    Returns:
        One row per augmentation and measure ("score", "agreement"): mean, low, high over photos.
    """
    part = table[table["way"] == way]
    long = pd.concat([_each_photo(part, name).assign(measure=name) for name in ("score", "agreement")])
    return summarise(long, ["augmentation", "measure"])


def _each_photo(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Means over the draws of an augmentation of a photo."""
    return table.groupby(["augmentation", "way", "pair"], sort=False)[column].mean().rename("value").reset_index()
