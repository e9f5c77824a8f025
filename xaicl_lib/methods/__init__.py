"""Explanation methods, one file a family. Importing the package imports every file in it, which fills the registry."""

import importlib
import pkgutil
from typing import Any

from xaicl_lib.annotations import require
from xaicl_lib.methods.registry import methods
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def list_methods() -> list[str]:
    """Names of the methods that `explain` knows."""
    return [method.name for method in methods]


def explain(model: PairModel, pair: Any, method: str | None = None, **params: Any) -> Explanation:
    """Why `model` finds the images of each pair as alike as it does, or why a score of one image is what it is.

    Args:
        model: from `load_model`, or your own `PairModel`.
        pair: n pairs of images in [0, 1]; or a photo, anything that `Pair.open` takes, for a question about one image, whose score comes
            from `model.like` or `xaicl_lib.scores`.
        method: one of `list_methods()`; None is "interaction_cam" for pairs and "grad_cam" for one image.
        params: the method's own parameters, and `score`, `generator`, `chunk` as for every method.

    Returns:
        One saliency map per side, unscaled, with the score they explain.

    Raises:
        InputError: unknown method or parameter, whose text lists what there is; or something that is no photo.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 4), torch.nn.ReLU())
        >>> pair = Pair(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
        >>> explain(PairModel(net, size=32), pair, "grad_cam").a.shape
        torch.Size([1, 8, 8])
    """
    require(model, PairModel, "model")
    pair = pair if isinstance(pair, Pair) else Pair.open(pair, None, model)
    return methods[method or ("interaction_cam" if pair.b is not None else "grad_cam")](model, pair, **params)
