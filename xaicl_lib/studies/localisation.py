"""Do maps find the evidence that pairs are known to share, and only where it is shared?"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.evaluation.evaluate import evaluate
from xaicl_lib.evaluation.method_spec import Methods, short
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair, Truth
from xaicl_lib.statistics.paired import paired_difference
from xaicl_lib.studies.truth import METRICS


def _mismatched(pair: Pair) -> Pair:
    """The same images with the b sides of neighbours exchanged: what was shared is still there on either side, but shared no more.

    Two by two (the last three of an odd number in a circle), so that no image is in two groups, and what `specific` says of one group has
    nothing to do with another.
    """
    if pair.truth is None or pair.b is None or len(pair) < 2:
        raise InputError("expected at least two pairs of two sides with truth to mismatch")
    order = torch.cat([rows.roll(1) for rows in _groups(len(pair))])
    return Pair(pair.a, pair.b[order], Truth(pair.truth.a, pair.truth.b[order]))


def _groups(n: int) -> list[Int[Tensor, " k"]]:
    """Which of n pairs exchange their b sides with each other."""
    odd = n % 2 * 3
    return [*torch.arange(n - odd).split(2), *([torch.arange(n - odd, n)] if odd else [])]


def localise(
    models: Sequence[str | PairModel],
    pairs: Mapping[str, Pair],
    methods: Methods,
    *,
    metrics: Sequence[str] = METRICS,
    store: Any | None = None,
    **options: Any,
) -> pd.DataFrame:
    """How well every method's maps find the evidence that pairs share by construction, and how well they do when it is not shared.

    A map that finds an object may look for what is shared, or for objects. So everything is measured a second time on mismatched pairs:
    the same images, the b sides of neighbours exchanged. What a method finds there as well has nothing to do with the similarity.

    The pairs are with truth, by kind, at least two of each.

    Returns:
        The rows of `evaluate` with the kind of pair, `shared` (False for mismatched pairs) and `chance`: what a map gets that knows
        nothing, the share of the image that the evidence covers.
    """
    frames = []
    for kind, pair in pairs.items():
        if pair.truth is None:
            raise InputError(f"expected pairs whose shared evidence is known (truth), got {kind!r} without")
        for shared, these in ((True, pair), (False, _mismatched(pair))):
            assert these.truth is not None  # has just been seen
            table = evaluate(models, these, methods, metrics, store=store, **options)
            chance = torch.stack([mask.double().mean((1, 2)) for mask in (these.truth.a, these.truth.b)]).mean(0)
            frames.append(table.assign(kind=kind, shared=shared, chance=chance.numpy()[table["pair"]]))
    return pd.concat(frames, ignore_index=True)


def specific(found: pd.DataFrame) -> pd.DataFrame:
    """What sharing adds: values of pairs minus those of the same images mismatched, a row for each two pairs that exchanged images.

    Two such pairs are one observation: their four images are in both, and in no other. A map that looks at one side alone adds exactly 0.

    Returns:
        One row per model, method, kind, metric and couple of pairs: value, NaN where one of their pairs has none.
    """
    by = ["model", "method", "kind", "metric"]
    wide = found.set_index([*by, "pair", "shared"])["value"].unstack("shared", sort=False)
    added = (wide[True] - wide[False]).rename("value").reset_index()
    added["couple"] = added.groupby("kind", observed=True)["pair"].transform(_couples)
    each = added.groupby([*by, "couple"], sort=False, observed=True)["value"]
    return each.mean().where(each.count() == each.size()).reset_index()


def _couples(pairs: pd.Series) -> list[int]:
    """The number of the group that each pair exchanges images in."""
    group = {int(pair): k for k, rows in enumerate(_groups(pairs.nunique())) for pair in rows}
    return [group[pair] for pair in pairs]


def among_confirmed(found: pd.DataFrame, drops: pd.DataFrame) -> pd.DataFrame:
    """The rows of `localise` with NaN as the value of pairs whose evidence costs no more than another thing, or is not in `drops`.

    The drops are of `intervene`, of the same pairs.
    Only where a model uses what is shared do the masks say where its explanations should be.
    """
    by = ["model", "kind", "pair"]
    used = (drops["evidence"] > drops["other"]).set_axis(pd.MultiIndex.from_frame(drops[by].astype({"model": str, "kind": str})))
    rows = pd.MultiIndex.from_frame(found[by].astype({"model": str, "kind": str}))
    return found.assign(value=found["value"].where(used.reindex(rows, fill_value=False).to_numpy()))


def used(found: pd.DataFrame, drops: pd.DataFrame) -> pd.DataFrame:
    """In how many of the pairs that maps were made of a model uses the evidence: a row for each kind, with used and pairs."""
    asked = found.drop_duplicates(["model", "kind", "pair"]).assign(value=1.0)
    counts = among_confirmed(asked, drops).groupby("kind", sort=False, observed=True)["value"].agg(["count", "size"])
    return counts.set_axis(["used", "pairs"], axis=1)


def ahead(added: pd.DataFrame, other: str, ones: Sequence[str] | None = None) -> pd.DataFrame:
    """Whether sharing adds more by some methods than by another: couple by couple, each the mean over its models.

    Models explain the same images, so what can be drawn again is a couple of pairs; what is said is said of these models.

    Returns:
        One row per kind, metric and method of `ones`, by its short name: mean, low, high (difference to `other`; bootstrap over couples),
        n (couples), p (Wilcoxon's signed-rank test, corrected by Holm's procedure for all rows), significant, ahead on (how many of the
        models that have both have a mean difference above 0).

    Raises:
        InputError: a method that is not in the table.
    """
    by = ["kind", "metric"]
    found = paired_difference(added, "method", ["model", "couple"], by, against=other, names=ones, unit="couple")
    columns = [*by, "method", "mean", "low", "high", "n", "p", "significant", "ahead on"]
    found = found.join(_ahead_on(added, other), on=[*by, "method"])[columns]
    return found.assign(method=found["method"].map(short))


def _ahead_on(added: pd.DataFrame, other: str) -> pd.Series:
    """By kind, metric and method: how many of the models that have it and the other one find a mean difference above 0."""
    wide = added.set_index(["kind", "metric", "model", "couple", "method"])["value"].unstack("method")
    means = wide.sub(wide[other], axis=0).groupby(["kind", "metric", "model"], observed=True).mean().stack().dropna()
    counts = (means > 0).groupby(["kind", "metric", "method"], observed=True).agg(["sum", "size"])
    return pd.Series([f"{row['sum']} of {row['size']} models" for _, row in counts.iterrows()], counts.index, name="ahead on")
