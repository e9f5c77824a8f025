"""Embedding spaces laid out in the plane, and who is next to whom in them."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xaicl_lib.errors import InputError, require
from xaicl_lib.studies.graph_classifier import directions

METHODS = ("tsne", "umap", "pca")


def project(features: Float[Tensor, "n d"], method: str = "tsne", *, seed: int = 0, **options: Any) -> Float[Tensor, "n 2"]:
    """Places in the plane that keep near what is near by cosine.

    Args:
        method: "tsne" (:cite:t:`maaten2008visualizing`, scikit-learn's), "umap" (:cite:t:`mcinnes2018umap`, needs umap-learn) or "pca".
        options: of the library that does it, such as `perplexity` of t-SNE (30, or a third of the items where they are few).

    Returns:
        About the origin, the farthest at distance 1. Distances between groups and the sizes of groups mean nothing for t-SNE and UMAP.

    Raises:
        InputError: as `directions`, an unknown method, umap-learn that is not there, or options that do not fit.
    """
    require("projection", METHODS, method)
    z = directions(features).cpu()
    try:
        flat = {"tsne": _tsne, "umap": _umap, "pca": _pca}[method](z, seed, options)
    except (ValueError, TypeError) as error:
        raise (
            error if isinstance(error, InputError) else InputError(f"expected options that fit {method} of {len(z)} items: {error}")
        ) from error
    flat = flat - flat.mean(0)
    return flat / flat.norm(dim=1).max().clamp_min(1e-12)


def _tsne(z: Tensor, seed: int, options: dict[str, Any]) -> Tensor:
    from sklearn.manifold import TSNE

    given = {"perplexity": min(30.0, (len(z) - 1) / 3), "metric": "cosine", "init": "pca", "random_state": seed, **options}
    return torch.from_numpy(TSNE(2, **given).fit_transform(z.float().numpy())).double()


def _umap(z: Tensor, seed: int, options: dict[str, Any]) -> Tensor:
    try:
        from umap import UMAP
    except ImportError as error:
        raise InputError("expected umap-learn for method='umap', which is not installed: pip install 'xaicl_lib[umap]'") from error
    given = {"n_neighbors": min(15, len(z) - 1), "metric": "cosine", "random_state": seed, "n_jobs": 1, **options}
    return torch.from_numpy(UMAP(n_components=2, **given).fit_transform(z.float().numpy())).double()


def _pca(z: Tensor, seed: int, options: dict[str, Any]) -> Tensor:
    from sklearn.decomposition import PCA

    return torch.from_numpy(PCA(2, random_state=seed, **options).fit_transform(z.numpy())).double()


def evenly(n: int, most: int) -> Int[Tensor, " m"]:
    """Places of at most so many of n items, spread evenly over them."""
    return torch.linspace(0, n - 1, min(n, most)).round().long()


def neighbours(features: Float[Tensor, "n d"], k: int) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
    """The `k` nearest others of each item by cosine, and their cosines, nearest first.

    Raises:
        InputError: as `directions`, or not as many others.
    """
    z = directions(features)
    if not 1 <= k < len(z):
        raise InputError(f"expected from 1 to {len(z) - 1} neighbours, as many as there are other items, got {k}")
    found = [_nearest(part, z, start, k) for start, part in zip(range(0, len(z), 1024), z.split(1024), strict=True)]
    indices, cosines = (torch.cat(parts) for parts in zip(*found, strict=True))
    return indices, cosines


def _nearest(part: Tensor, z: Tensor, start: int, k: int) -> tuple[Tensor, Tensor]:
    cosines = part @ z.T
    cosines.diagonal(start).fill_(-torch.inf)  # an item is not its own neighbour
    best = cosines.topk(k, 1)
    return best.indices, best.values


def shared(one: Int[Tensor, "n k"], other: Int[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """The share of each item's neighbours that are its neighbours in the other list, too: of two models, or of a space and its map."""
    if one.shape != other.shape:
        raise InputError(f"expected as many neighbours of the same items, got {tuple(one.shape)} and {tuple(other.shape)}")
    return (one.unsqueeze(2) == other.unsqueeze(1)).any(2).double().mean(1)


def kept_on_map(places: Float[Tensor, "n 2"], near: Int[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """How far a map can be trusted: the share of each item's neighbours that are among as many nearest on the map."""
    distance = torch.cdist(places.double(), places.double()).fill_diagonal_(torch.inf)
    return shared(near, distance.topk(near.shape[1], 1, largest=False).indices)
