"""What a recipe learns from and is measured on."""

import os

from torch import Tensor

from xaicl_lib.data.photos import imagenette
from xaicl_lib.training.recipes import Recipe

Data = tuple[Tensor, Tensor, list[str]]  # images (n, 3, s, s) uint8; labels (n,) or (n, k); names of the classes or of the k factors


def load_data(recipe: Recipe, root: str | os.PathLike[str] | None = None) -> tuple[Data, Data]:
    """Images and labels for training and for measuring.

    Args:
        recipe: whose data.
        root: folder of the photos, as for `imagenette`; scenes are drawn anew from fixed seeds.
    """
    if recipe.data == "scenes":
        from xaicl_lib.data.scenes import scene_set

        return scene_set("train", recipe.photo_size), scene_set("val", recipe.photo_size)
    return imagenette("train", recipe.photo_size, root), imagenette("val", recipe.photo_size, root)


def training_labels(data: Data) -> Tensor:
    """Labels to learn from: the classes of photos, the shapes of scenes."""
    return data[1] if data[1].ndim == 1 else data[1][:, 0]
