"""Evidence that an image holds twice: hiding one copy leaves the other, so does a map that hides one at a time find either?"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Bool
from torch import Generator, Tensor

from xaicl_lib.data.drawing import render
from xaicl_lib.data.scenes import draw_pairs
from xaicl_lib.evaluation.method_spec import Methods, method_specs
from xaicl_lib.metrics.localisation import SHARES
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair, Truth, resize_map
from xaicl_lib.scores import cosine
from xaicl_lib.statistics.paired import paired_difference, summarise
from xaicl_lib.studies.truth import paint


class _Copies(NamedTuple):
    """Pairs of scenes whose sides b hold an object that sides a hold once or twice."""

    pairs: dict[str, Pair]  # "once" and "twice", n each; the truth of a is all that is shared: one copy or both
    single: Bool[Tensor, "2 n h w"]  # masks of either copy, (2, n, h, w)


def once_and_twice(n: int, size: int, seed: int = 0) -> _Copies:
    """Scenes of two objects a side that share one; "once" as they are, "twice" with a second copy where a had its other object."""
    a, b = draw_pairs(n, "one_shared", Generator().manual_seed(seed))
    first, other = a.things
    again = replace(a, things=(first, replace(first, place=other.place, middle=other.middle)))
    (images, _), (images_b, masks_b), (doubled, single) = (render(side, size) for side in (a, b, again))
    truth_b = masks_b[:, 0]
    once, twice = (Pair(x, images_b, Truth(mask, truth_b)) for x, mask in ((images, single[:, 0]), (doubled, single.any(1))))
    return _Copies({"once": once, "twice": twice}, single.movedim(1, 0))


@torch.no_grad()
def hidden(models: Sequence[PairModel], copies: _Copies) -> pd.DataFrame:
    """How far the score falls when copies on side a are painted over: model, painted over, mean, low, high (over pairs), n."""
    one, both = copies.single, copies.pairs["twice"].truth.a[None]  # type: ignore[union-attr]
    asked = {"the only copy": ("once", one[:1]), "one of two": ("twice", one), "both of two": ("twice", both)}
    rows = [
        {"model": model.name, "painted over": name, "pair": k, "value": value}
        for model in models
        for name, (kind, masks) in asked.items()
        for k, value in enumerate(_drops(model, copies.pairs[kind], masks).tolist())
    ]
    return summarise(pd.DataFrame(rows), ["model", "painted over"])


def _drops(model: PairModel, pair: Pair, masks: Bool[Tensor, "k n h w"]) -> Tensor:
    """Drop of the score without each of k masks on side a, averaged over them: (n,)."""
    z_b, whole = model.encode(pair.b, "b"), model.encode(pair.a, "a")  # type: ignore[arg-type]
    drops = [cosine(whole, z_b) - cosine(model.encode(paint(pair.a, mask), "a"), z_b) for mask in masks]
    return torch.stack(drops).mean(0)


def located(models: Sequence[PairModel], copies: _Copies, methods: Methods) -> pd.DataFrame:
    """Where the maps of side a point: a row per model, method, kind, pair and metric.

    Returns:
        value (relevance rank and mass of side a alone, minus what chance gives: the share of the image that all copies cover), and the
        metric "weaker copy": the smaller of both copies' relevance masses over the larger, 1 for maps that see both alike.
    """
    frames = [
        _measured(spec.explain(model, pair).a, pair, copies.single if kind == "twice" else None).assign(
            model=model.name, method=label, kind=kind
        )
        for model in models
        for label, spec in method_specs(methods).items()
        for kind, pair in copies.pairs.items()
    ]
    return pd.concat(frames, ignore_index=True)[["model", "method", "kind", "pair", "metric", "value"]]


def _measured(maps: Tensor, pair: Pair, single: Bool[Tensor, "2 n h w"] | None) -> pd.DataFrame:
    """The values of `located` of the maps of one method, side a of one kind: pair, metric, value."""
    truth = pair.truth.a  # type: ignore[union-attr]
    maps = resize_map(maps.cpu(), truth.shape[1:])  # type: ignore[arg-type]
    found = {name: SHARES[name](maps, truth).double() - truth.double().mean((1, 2)) for name in ("relevance_rank", "relevance_mass")}
    if single is not None:
        masses = torch.stack([SHARES["relevance_mass"](maps, mask) for mask in single])
        found["weaker copy"] = (masses.amin(0) / masses.amax(0)).double()
    wide = pd.DataFrame({name: values.numpy() for name, values in found.items()})
    return wide.rename_axis("pair").reset_index().melt("pair", var_name="metric")


def ahead_of(found: pd.DataFrame, reference: str = "conditional_occlusion") -> pd.DataFrame:
    """Each method minus a reference on the same pairs, corrected by Holm's procedure for all rows of the table.

    Returns:
        By kind, metric and method: value and reference (means of both), mean, low, high (of the difference), n, p, significant.
    """
    each = found.groupby(["method", "kind", "metric", "pair"], sort=False)["value"].mean().reset_index()  # over models
    made = paired_difference(each, "method", "pair", ["kind", "metric"], against=reference)
    return made.set_index(["kind", "metric", "method"])[["value", "reference", "mean", "low", "high", "n", "p", "significant"]]
