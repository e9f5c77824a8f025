"""Corpora: sets of images to be alike, of classes by name and of scenes; `embed_corpus` and `PairModel.like` make scores of them."""

import os
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from xaicl_lib.errors import InputError, require
from xaicl_lib.images import list_images, open_photo
from xaicl_lib.model import embed_corpus as embed_corpus

IMAGENETTE = {  # names of the ten classes, by the folders that hold them
    "tench": "n01440764", "English springer": "n02102040", "cassette player": "n02979186", "chain saw": "n03000684", "church": "n03028079",
    "French horn": "n03394916", "garbage truck": "n03417042", "gas pump": "n03425413", "golf ball": "n03445777", "parachute": "n03888257",
}  # fmt: skip


def photos_of(
    name: str,
    count: int,
    size: int,
    *,
    root: str | os.PathLike[str] | None = None,
    split: str = "train",
    generator: Generator | None = None,
) -> Float[Tensor, "m 3 s s"]:
    """Random photos of a class by its name, such as "church".

    Args:
        name: of one of Imagenette's classes, or of a folder in `root/split`.
        size: side in pixels.
        root: folder with `split/class/`; without it the one named by XAICL_IMAGENETTE.
        split: "train" or "val".
        generator: of the choice; None is seed 0.

    Raises:
        InputError: no such class, or fewer photos than asked for.
    """
    place = root or os.environ.get("XAICL_IMAGENETTE") or None
    folder = Path(place or "") / split
    if place is None or not folder.is_dir():
        raise InputError(f"expected photos by class in {split}/, got {str(place)!r}; name their folder by root or XAICL_IMAGENETTE")
    there = sorted(one.name for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    known = [*IMAGENETTE, *(one for one in there if one not in IMAGENETTE.values())]
    require("class", known, name)
    paths = list_images(folder / IMAGENETTE.get(name, name))
    if not 1 <= count <= len(paths):
        raise InputError(f"expected 1 to {len(paths)} photos of {name!r}, got {count}")
    chosen = torch.randperm(len(paths), generator=generator or Generator().manual_seed(0))[:count]
    return open_photo([paths[k] for k in chosen.tolist()], size)


def scenes_of(factor: str, value: str, count: int, size: int = 64, *, generator: Generator | None = None) -> Float[Tensor, "m 3 s s"]:
    """Random scenes of one object with this value of a factor: `scenes_of("shape", "star", 20)`.

    Raises:
        InputError: no such factor or value, or no scenes.
    """
    from xaicl_lib.data.scenes import FACTORS, scenes

    require("factor", FACTORS, factor)
    require(factor, FACTORS[factor], value)
    if count < 1:
        raise InputError(f"expected at least one scene, got {count}")
    generator = generator or Generator().manual_seed(0)
    found: list[Tensor] = []
    column, wanted = list(FACTORS).index(factor), FACTORS[factor].index(value)
    while sum(len(part) for part in found) < count:  # a value is one of nine at most
        images, _, labels = scenes(4 * count + 16, size, generator)
        found.append(images[labels[:, column] == wanted])
    return torch.cat(found)[:count]
