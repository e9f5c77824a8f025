"""Ways to be fooled by a saliency map of a pair, measured: vanishing gradients, maps of edges, areas and fills, shares and noise."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.methods import explain
from xaicl_lib.metrics import measure
from xaicl_lib.metrics.localisation import relevance_rank
from xaicl_lib.metrics.randomisation import randomisation, rank_correlation
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair, resize_map

Way = tuple[str, Mapping[str, Any]]
FILLS = ("zero", "blur", "shuffle")
MIX = (0.0, 0.02, 0.1, 0.25, 0.5, 0.75, 1.0)  # shares of another photo


def saturation(
    model: PairModel,
    photo: Float[Tensor, "1 3 h w"],
    other: Float[Tensor, "1 3 h w"],
    ways: Mapping[str, Way],
    *,
    mix: Sequence[float] = MIX,
) -> pd.DataFrame:
    """How large maps are as side b moves from the photo itself towards another one.

    The cosine has its maximum where both embeddings point the same way, and its gradient is zero there; a drop under occlusion is not.

    Args:
        model: that is explained.
        photo: side a, and side b at a mix of 0.
        other: what is blended into side b.
        ways: label to method and its parameters.
        mix: shares of the other photo in side b, each in [0, 1].

    Returns:
        Rows of mix, score, method, largest: the largest absolute value in either map, in the units of the method, and `relative`, that over
        the method's largest value in the table.

    Raises:
        InputError: a share outside of [0, 1].
    """
    if not all(0 <= share <= 1 for share in mix):
        raise InputError(f"expected shares of the other photo in [0, 1], got {list(mix)}")
    shares = torch.tensor(list(mix)).to(photo).view(-1, 1, 1, 1)
    pair = Pair(photo.expand(len(shares), -1, -1, -1), (1 - shares) * photo + shares * other)
    rows = []
    for label, (method, params) in ways.items():
        made = [explain(model, pair[k], method, **params) for k in range(len(pair))]
        rows += [{"mix": m, "score": one.score.item(), "method": label, "largest": _largest(one)} for m, one in zip(mix, made, strict=True)]
    table = pd.DataFrame(rows)
    table["relative"] = table["largest"] / table.groupby("method")["largest"].transform("max")
    return table


def _largest(made: Explanation) -> float:
    assert made.b is not None  # a pair was explained
    return max(made.a.abs().max().item(), made.b.abs().max().item())


def likeness(model: PairModel, pair: Pair, ways: Mapping[str, Way]) -> pd.DataFrame:
    """How alike maps are to edges, and to the maps of the same network with all its weights in random order.

    A method whose maps look like edges, or that hardly change when everything the network learned is destroyed, says little about it:
    the sanity check of :cite:t:`adebayo2018sanity`.

    Args:
        model: that is explained.
        pair: n pairs.
        ways: label to method and its parameters.

    Returns:
        Rows of method, pair, what ("edges and map", "edges and map of random weights", "map and map of random weights"), value:
        Spearman's rank correlation over the pixels, mean of both sides.
    """
    outlines = explain(model, pair, "edges")
    rows = []
    for label, (method, params) in ways.items():
        made = explain(model, pair, method, **params)
        spoiled = randomisation(model, pair, made, every=10_000).explanations[-1]  # of the last depth alone: all layers
        found = {
            "edges and map": _alike(pair, outlines, made),
            "edges and map of random weights": _alike(pair, outlines, spoiled),
            "map and map of random weights": _alike(pair, made, spoiled),
        }
        rows += [
            {"method": label, "pair": k, "what": what, "value": v} for what, values in found.items() for k, v in enumerate(values.tolist())
        ]
    return pd.DataFrame(rows)


def _alike(pair: Pair, one: Explanation, other: Explanation) -> Float[Tensor, " n"]:
    """Rank correlation of two explanations at the size of the images, mean over the sides."""
    size = (pair.a.shape[2], pair.a.shape[3])
    sides = zip(one.maps(size), other.maps(size), strict=True)
    return torch.stack([rank_correlation(x.float(), y.float()) for x, y in sides if x is not None and y is not None]).mean(0)


def by_fill(
    model: PairModel,
    pair: Pair,
    ways: Mapping[str, Way],
    *,
    metric: str = "CD",
    fills: Sequence[str] = FILLS,
    adaptive: bool | float = 0.02,
) -> pd.DataFrame:
    """A deletion metric of the same maps when missing pixels are zeros, a blur, or the photo's own pixels in random places.

    Args:
        model: that is explained.
        pair: n pairs.
        ways: label to method and its parameters.
        metric: SD or CD.
        fills: names of what takes the place of deleted pixels.
        adaptive: error allowed for each area (see `xaicl_lib.metrics.perturbation`); False takes every step.

    Returns:
        Rows of method, fill, pair, value: the area under the deletion curve, lower is better.
    """
    rows = []
    for label, (method, params) in ways.items():
        made = explain(model, pair, method, **params)
        for fill in fills:
            values = measure(model, pair, made, [metric], deletion=fill, adaptive=adaptive)[metric]
            rows += [{"method": label, "fill": fill, "pair": k, "value": v} for k, v in enumerate(values.tolist())]
    return pd.DataFrame(rows)


def lost_by_noise(masks: Bool[Tensor, "n h w"], *, cells: Sequence[int] = (3, 7, 14, 28), seed: int = 0) -> pd.DataFrame:
    """How many maps of pure noise "lose their meaning" by the two measures of `xaicl_lib.studies.harmful.sweep`.

    Args:
        masks: of the true evidence, at least two.
        cells: along either side of the random maps.
        seed: of the noise.

    Returns:
        Rows of cells, measure, map, lost (0 or 1): by "agreement", a map of noise agrees no more with another map of noise, its clean one,
        than with a third, that of another image; by "truth", it finds the mask no better than chance (`relevance_rank`).
    """
    n, chance = len(masks), masks.double().mean((1, 2))
    generator = Generator().manual_seed(seed)
    rows = []
    for k in cells:
        clean, after = torch.rand(2, n, k, k, generator=generator)
        alike = [rank_correlation(x.unsqueeze(1), after.unsqueeze(1)) for x in (clean, clean.roll(1, 0))]
        found = relevance_rank(resize_map(after, (masks.shape[1], masks.shape[2])), masks).double()
        for measure_, lost in {"agreement": alike[0] <= alike[1], "truth": found <= chance}.items():
            rows.append(pd.DataFrame({"cells": k, "measure": measure_, "map": range(n), "lost": lost.int().tolist()}))
    return pd.concat(rows, ignore_index=True)
