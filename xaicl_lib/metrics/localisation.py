"""Where a map's evidence lies, for pairs whose shared evidence is known."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.metrics.perturbation import check_maps, ranks
from xaicl_lib.metrics.registry import Measured, metrics
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair, resize_map

FACTS = {"higher_is_better": True, "low": 0.0, "high": 1.0, "needs": "the true evidence"}


def energy(maps: Float[Tensor, "n h w"]) -> Float[Tensor, "n c"]:
    """Positive values of each map, scaled to sum to 1; NaN for a map that has none."""
    positive = maps.clamp_min(0).flatten(1)
    total = positive.sum(1, keepdim=True)
    return positive / torch.where(total > 0, total, torch.nan)


def overlap(x: Float[Tensor, "n h w"], y: Float[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """Share of their energy that two maps have in the same cells: 1 for maps alike up to their scale, 0 for maps apart."""
    return torch.minimum(energy(x), energy(y)).sum(1)


def pointing_game(maps: Float[Tensor, "n h w"], truth: Bool[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """Whether the first pixel in the order of the map is inside, 1 or 0."""
    return ((ranks(maps) == 0) & truth).flatten(1).any(1).to(maps)


def relevance_mass(maps: Float[Tensor, "n h w"], truth: Bool[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """Share of the map's positive values inside; NaN where there are none."""
    return (energy(maps) * truth.flatten(1)).sum(1)


def mass_inside(explanation: Explanation, masks: Sequence[Bool[Tensor, "n h w"]]) -> Float[Tensor, " n"]:
    """Relevance mass in a mask for each side, as a mean over both: 0 from a side that is nowhere positive, or was not explained."""
    maps = (explanation.a, torch.zeros_like(explanation.a) if explanation.b is None else explanation.b)
    resized = [resize_map(m.float().to(mask.device), (mask.shape[1], mask.shape[2])) for m, mask in zip(maps, masks, strict=True)]
    return torch.stack([relevance_mass(m, mask).nan_to_num(0) for m, mask in zip(resized, masks, strict=True)]).mean(0)


def relevance_rank(maps: Float[Tensor, "n h w"], truth: Bool[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """Share of the pixels inside that are among as many first ones in the order of the map."""
    size = truth.flatten(1).sum(1)
    return (truth & (ranks(maps) < size.view(-1, 1, 1))).flatten(1).sum(1).to(maps) / size.clamp_min(1)


SHARES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {share.__name__: share for share in (pointing_game, relevance_mass, relevance_rank)}


@metrics.add(
    pointing_game={
        **FACTS, "paper": "zhang2018top", "where": "Sec. 4.1", "says": "whether the map's largest value lies on the true evidence",
    },
    relevance_mass={
        **FACTS, "paper": "arras2022clevr", "where": "Eq. 3", "says": "share of the map's positive values on the true evidence",
    },
    relevance_rank={
        **FACTS, "paper": "arras2022clevr", "where": "Eq. 4",
        "says": "share of the true evidence, of k pixels, among the k most important ones",
    },
)  # fmt: skip
@torch.no_grad()
def localisation(model: PairModel, pair: Pair, explanation: Explanation, columns: Sequence[str]) -> Measured:
    """How well maps find the evidence that a pair shares by construction, as a mean over the sides.

    The pointing game of :cite:t:`zhang2018top` (without its tolerance of 15 pixels), relevance mass accuracy and relevance rank accuracy of
    :cite:t:`arras2022clevr`. Maps are resized to their image (bilinear); negative values count as no evidence.

    Args:
        columns: which of pointing_game, relevance_mass, relevance_rank.

    Returns:
        Shares in [0, 1]; by chance, the share of the image that the evidence covers. NaN where a side has no evidence,
        and relevance mass where a map has no positive value.

    Raises:
        InputError: pairs without truth.
    """
    check_maps(pair, explanation)
    if pair.truth is None:
        raise InputError("expected pairs whose shared evidence is known (truth), as those of xaicl_lib.data.scenes, got pairs without")
    values: dict[str, list[Tensor]] = {name: [] for name in columns}
    for maps, truth in zip((explanation.a, explanation.b), (pair.truth.a, pair.truth.b), strict=False):
        if maps is None:
            continue
        truth = truth.to(maps.device)
        resized = resize_map(maps, truth.shape[1:])  # type: ignore[arg-type]
        for name in columns:
            share = SHARES[name](resized, truth)
            values[name].append(share.masked_fill(~truth.flatten(1).any(1), torch.nan))
    return Measured({name: torch.stack(found).mean(0) for name, found in values.items()})
