"""What a recipe learns from and is measured on."""

import os

from torch import Tensor

from xaicl_lib.data.photos import imagenette
from xaicl_lib.errors import InputError
from xaicl_lib.training.recipes import Recipe

# Images (n, 3, s, s) or several pictures of each thing (n, v, 3, s, s), uint8; labels (n,) or (n, k), of the first picture, or
# facts (n, 2, k) of captioned scenes; names of the classes or of the k factors.
Data = tuple[Tensor, Tensor, list[str]]


def load_data(recipe: Recipe, root: str | os.PathLike[str] | None = None) -> tuple[Data, Data]:
    """Images and labels for training and for measuring.

    Args:
        recipe: whose data.
        root: folder of the photos, as for `imagenette`; scenes are drawn anew from fixed seeds.

    Raises:
        InputError: no photos there, fewer than two classes, or other classes to measure on than to learn.
    """
    if recipe.data == "scenes":
        from xaicl_lib.data.scenes import scene_set

        return scene_set("train", recipe.photo_size, pictures=2), scene_set("val", recipe.photo_size)
    if recipe.data == "captions":
        from xaicl_lib.data.captions import captioned_set

        return captioned_set("train", recipe.photo_size), captioned_set("val", recipe.photo_size)
    train, test = (imagenette(split, recipe.photo_size, root) for split in ("train", "val"))
    if len(train[2]) < 2:
        raise InputError(f"expected photos of at least two classes in train/, got only {train[2][0]!r}")
    if train[2] != test[2]:
        odd = sorted(set(train[2]) ^ set(test[2]))
        raise InputError(f"expected the same classes in train/ and val/, got {', '.join(map(repr, odd[:5]))} in only one of them")
    return train, test


def training_labels(data: Data) -> Tensor:
    """Labels to learn from: the classes of photos, the shapes of scenes, the facts of captioned scenes."""
    return data[1][:, 0] if data[1].ndim == 2 else data[1]
