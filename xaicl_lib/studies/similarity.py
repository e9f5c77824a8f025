"""How alike are a photo and a view of it, and what does each method make of that?"""

import warnings
from collections.abc import Iterator
from typing import Any

import pandas as pd
import torch
from torch import Generator

from xaicl_lib import augment
from xaicl_lib.images import SAMPLES, open_photo
from xaicl_lib.methods import explain
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.scores import cosine

# Left, top, width and height of the view, as shares of the photo's; a negative width mirrors.
VIEW = (0.15, 0.15, -0.7, 0.7)


def two_views(source: Any, size: PairModel | int, *, light: float = 1.0) -> Pair:
    """Photos beside a view of each: its middle, mirrored, of so much of its light.

    Args:
        source: as for `Pair.open`.
        size: side in pixels, or the model that is asked.
        light: what the pixels of the view are multiplied by.

    Raises:
        InputError: no photo.
    """
    photos = open_photo(source, size if isinstance(size, int) else size.size)
    view = augment.resized_crop(photos, torch.tensor(VIEW).expand(len(photos), 4), photos.shape[-1])
    return Pair(photos, view if light == 1 else augment.brightness(view, light))


def view_scores(model: PairModel, *, light: float = 0.7) -> pd.DataFrame:
    """The score of every sample photo (rows) with a view of every other (columns), as `two_views` makes it."""
    names = list(SAMPLES)
    z_a, z_b = (model.encode(images, side) for side, images in zip("ab", two_views(names, model, light=light).sides, strict=True))
    return pd.DataFrame([cosine(z.expand_as(z_b), z_b).tolist() for z in z_a], names, names)


def explained_by_all(model: PairModel, pair: Pair, *, seed: int = 0, full: bool = False) -> list[Explanation]:
    """A pair explained by every method but conditional occlusion, gradients both plain and guided; `full` takes more noisy copies."""
    return [explained(model, pair, name, seed=seed, **params) for name, params in _methods(full)]


def explained(model: PairModel, pair: Pair, method: str, *, seed: int = 0, **params: Any) -> Explanation:
    """`xaicl_lib.explain` with the random numbers of a seed."""
    return explain(model, pair, method, generator=Generator().manual_seed(seed), **params)


def _methods(full: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "pairwise_occlusion", {}
    for name in ("input_x_gradient", "smooth_grad", "averaged_transforms"):
        few = {"samples": 20} if name == "smooth_grad" and not full else {}
        yield from ((name, {"guided": guided, **few}) for guided in (False, True))
    for name in ("grad_cam", "interaction_cam", "deep_similarity", "integrated_jacobians", "random_map", "edges"):
        yield name, {}


def explained_with_itself(model: PairModel, pair: Pair, method: str = "grad_cam") -> tuple[Explanation, str]:
    """Why side a is like itself, and what the library warns of when it is asked that."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = explain(model, Pair(pair.a, pair.a), method)
    return made, " ".join(str(one.message) for one in caught)
