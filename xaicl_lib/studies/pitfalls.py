"""Ways to be fooled by a saliency map of a pair, measured: vanishing gradients, maps of edges, areas and fills, shares and noise."""

import warnings
from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from xaicl_lib.data.scenes import scene_pairs
from xaicl_lib.errors import InputError
from xaicl_lib.evaluation.method_spec import Methods, method_specs
from xaicl_lib.methods import explain
from xaicl_lib.metrics.localisation import relevance_rank
from xaicl_lib.metrics.randomisation import randomisation, rank_correlation
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair, resize_map
from xaicl_lib.statistics.bootstrap import shares
from xaicl_lib.statistics.paired import paired_difference

MIX = (0.0, 0.02, 0.1, 0.25, 0.5, 0.75, 1.0)  # shares of another photo


def fading(model: PairModel, pair: Pair, methods: Methods, *, mix: Sequence[float] = MIX) -> pd.DataFrame:
    """How large maps are as side b moves from the photo of side a towards that of side b.

    The cosine has its maximum where both embeddings point the same way, and its gradient is zero there; a drop under occlusion is not.

    Returns:
        Rows of mix, score, method, largest: the largest absolute value in either map, in the units of the method, and `relative`, that over
        the method's largest value in the table.

    Raises:
        InputError: a share outside of [0, 1].
    """
    if not all(0 <= share <= 1 for share in mix):
        raise InputError(f"expected shares of the other photo in [0, 1], got {list(mix)}")
    photo, other = pair.sides
    steps = [Pair(photo, (1 - share) * photo + share * other) for share in torch.tensor(list(mix)).to(photo)]
    rows = []
    for label, spec in method_specs(methods).items():
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "score 1")  # of gradients that vanish, as the table shows
            made = [spec.explain(model, step) for step in steps]
        rows += [{"mix": m, "score": one.score.item(), "method": label, "largest": _largest(one)} for m, one in zip(mix, made, strict=True)]
    table = pd.DataFrame(rows)
    return table.assign(relative=table["largest"] / table.groupby("method")["largest"].transform("max"))


def _largest(made: Explanation) -> float:
    assert made.b is not None  # a pair was explained
    return max(made.a.abs().max().item(), made.b.abs().max().item())


def likeness(model: PairModel, pair: Pair, methods: Methods) -> pd.DataFrame:
    """How alike maps are to edges, and to the maps of the same network with all its weights in random order.

    A method whose maps look like edges, or that hardly change when everything the network learned is destroyed, says little about it:
    the sanity check of :cite:t:`adebayo2018sanity`.

    Returns:
        Rows of method, pair, what ("edges and map", "edges and map of random weights", "map and map of random weights"), value:
        Spearman's rank correlation over the pixels, mean of both sides.
    """
    outlines = explain(model, pair, "edges")
    rows = []
    for label, spec in method_specs(methods).items():
        made = spec.explain(model, pair)
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


def _lost_by_noise(masks: Bool[Tensor, "n h w"], *, cells: Sequence[int] = (3, 7, 14, 28), seed: int = 0) -> pd.DataFrame:
    """How many maps of pure noise "lose their meaning" by the two measures of `xaicl_lib.studies.harmful.sweep`.

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


def noise_shares(seed: int = 0) -> pd.DataFrame:
    """Shares of `_lost_by_noise` on scenes, with intervals: a row for each number of cells, in words, and each measure."""
    truth = scene_pairs(200, "same_object", 64).truth
    assert truth is not None  # scenes know theirs
    found = shares(_lost_by_noise(truth.b, seed=seed), ["cells", "measure"], "lost")
    return found.assign(cells=found["cells"].map("{0} by {0} cells".format))


def near_the_border(model: PairModel, *, drawn: int = 40, seed: int = 0) -> Pair:
    """Of so many pairs of scenes that share an object, the one whose shared objects lie furthest from the middle of their pictures."""
    pairs = scene_pairs(drawn, "one_shared", model.size, Generator().manual_seed(seed))
    assert pairs.truth is not None  # it was drawn
    furthest = _from_the_middle(pairs.truth.a) + _from_the_middle(pairs.truth.b)
    return pairs[int(furthest.argmax())]


def _from_the_middle(masks: Bool[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """How far the centre of each mask is from that of its picture, along the axis along which it is further, in pixels."""
    line = torch.arange(masks.shape[-1], dtype=torch.float32) + 0.5 - masks.shape[-1] / 2
    weights = masks.float() / masks.sum((1, 2), keepdim=True)
    return torch.maximum((weights.sum(1) @ line).abs(), (weights.sum(2) @ line).abs())


def gains_of_moving(run: pd.DataFrame) -> pd.DataFrame:
    """By how much the relevance rank of moved cells is higher than of cells as usual, by method and kind of pairs, over pairs."""
    rank = run[run["metric"] == "relevance_rank"]
    return paired_difference(rank, "cells", ["model", "pair"], ["pairs", "method"], names=["moved"], against="as usual", unit="pair")
