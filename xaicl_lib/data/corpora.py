"""Corpora: sets of things to be alike, as embeddings, from images, folders, classes by name, or texts.

A corpus is side b of a question whose side a is the image that is explained (the explicand), so images are embedded with the model's
side b.
"""

import os
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from xaicl_lib.errors import InputError, unknown
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair

Source = Tensor | str | os.PathLike[str] | list[str]
IMAGENETTE = {  # names of the ten classes, by the folders that hold them
    "tench": "n01440764", "English springer": "n02102040", "cassette player": "n02979186", "chain saw": "n03000684", "church": "n03028079",
    "French horn": "n03394916", "garbage truck": "n03417042", "gas pump": "n03425413", "golf ball": "n03445777", "parachute": "n03888257",
}  # fmt: skip


@torch.no_grad()
def embed_corpus(model: PairModel, source: Source, *, chunk: int | None = None) -> Float[Tensor, "m d"]:
    """Embeddings of a corpus.

    Args:
        model: whose space it is.
        source: images (m, 3, h, w) in [0, 1], a folder of image files (its subfolders included), or a list of texts for an image-text
            model.
        chunk: images in flight.

    Raises:
        InputError: no images or texts, images that are none, or texts for a model without a text side.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 4), torch.nn.ReLU())
        >>> embed_corpus(PairModel(net, size=32), torch.rand(5, 3, 32, 32)).shape
        torch.Size([5, 8])
    """
    if isinstance(source, list):
        return model.embed_text(source)
    if isinstance(source, Tensor):
        images, model = Pair(source).a, model.fast
        step = chunk or model.chunk(images[0, 0].numel())
        return torch.cat([model.embed_b(model.normalize(part)) for part in images.split(step)])
    from xaicl_lib.data.photos import list_images, load_images

    paths = list_images(source, recursive=True)
    step = chunk or model.chunk(model.size**2)
    return torch.cat([embed_corpus(model, load_images(paths[k : k + step], model.size)) for k in range(0, len(paths), step)])


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
        count: how many.
        size: side in pixels.
        root: folder with `split/class/`; without it the one named by XAICL_IMAGENETTE.
        split: "train" or "val".
        generator: of the choice; None is seed 0.

    Raises:
        InputError: no such class, or fewer photos than asked for.
    """
    from xaicl_lib.data.photos import list_images, load_images

    place = root or os.environ.get("XAICL_IMAGENETTE") or None
    folder = Path(place or "") / split
    if place is None or not folder.is_dir():
        raise InputError(f"expected photos by class in {split}/, got {str(place)!r}; name their folder by root or XAICL_IMAGENETTE")
    known = [*IMAGENETTE, *sorted(one.name for one in folder.iterdir() if one.is_dir() and one.name not in IMAGENETTE.values())]
    if name not in known:
        raise unknown("class", name, known)
    paths = list_images(folder / IMAGENETTE.get(name, name))
    if not 1 <= count <= len(paths):
        raise InputError(f"expected 1 to {len(paths)} photos of {name!r}, got {count}")
    chosen = torch.randperm(len(paths), generator=generator or Generator().manual_seed(0))[:count]
    return load_images([paths[k] for k in chosen.tolist()], size)


def scenes_of(factor: str, value: str, count: int, size: int = 64, *, generator: Generator | None = None) -> Float[Tensor, "m 3 s s"]:
    """Random scenes of one object with this value of a factor: `scenes_of("shape", "star", 20)`.

    Raises:
        InputError: no such factor or value, or no scenes.
    """
    from xaicl_lib.data.scenes import FACTORS, scenes

    if factor not in FACTORS:
        raise unknown("factor", factor, FACTORS)
    if value not in FACTORS[factor]:
        raise unknown(factor, value, FACTORS[factor])
    if count < 1:
        raise InputError(f"expected at least one scene, got {count}")
    generator = generator or Generator().manual_seed(0)
    found: list[Tensor] = []
    column, wanted = list(FACTORS).index(factor), FACTORS[factor].index(value)
    while sum(len(part) for part in found) < count:  # a value is one of nine at most
        images, _, labels = scenes(4 * count + 16, size, generator)
        found.append(images[labels[:, column] == wanted])
    return torch.cat(found)[:count]
