"""What an explanation of a pair is worth where the evidence is known: a number in [0, 1] each, and what is had by chance."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from xaicl_lib.benchmark.suite import Case
from xaicl_lib.metrics.localisation import SHARES, energy
from xaicl_lib.pair import Explanation, resize_map

METRICS = {
    "pointing_game": "the largest value of either map lies on the shared thing",
    "relevance_mass": "share of the positive values that lies on the shared thing",
    "relevance_rank": "share of the shared thing among as many first pixels as it has",
    "order": "the shared thing gets more of the map, pixel for pixel, than another one, which shares nothing",
    "strongest_links": "share of the strongest links between cells that join the shared thing with itself",
}
GRID = 8  # cells a side of the links of a method that has maps alone


def scored(case: Case, made: Explanation) -> dict[str, tuple[list[float], list[float]]]:
    """By metric, for each pair of a case the value and what is expected by chance: of a map of independent random pixels.

    Args:
        made: their explanation. One without `joint` says nothing of links: it is scored as if every cell of one map went with every cell
            of the other, by the product of both values.
    """
    truth = case.pair.truth
    assert truth is not None  # a case has one
    masks, maps = (truth.a, truth.b), (made.a, torch.zeros_like(made.a) if made.b is None else made.b)
    sides = [_of_side(x.float(), mask, other) for x, mask, other in zip(maps, masks, case.others, strict=True)]
    found = {name: [(x + y) / 2 for x, y in zip(sides[0][name], sides[1][name], strict=True)] for name in sides[0]}
    found["strongest_links"] = list(_of_links(_joint(made), masks))
    return {name: (value.tolist(), chance.tolist()) for name, (value, chance) in found.items()}


def _of_side(maps: Float[Tensor, "n i j"], mask: Bool[Tensor, "n h w"], others: Bool[Tensor, "n k h w"]) -> dict[str, list[Tensor]]:
    """Values and chances of one side; a map that is nowhere positive has found nothing."""
    maps, area = resize_map(maps, (mask.shape[1], mask.shape[2])), mask.double().mean((1, 2))
    empty = ~(maps > 0).flatten(1).any(1)
    found = {name: [share(maps, mask).double().nan_to_num(0).masked_fill(empty, 0), area] for name, share in SHARES.items()}
    things = torch.cat([mask.unsqueeze(1), others], 1).flatten(2)  # (n, 1 + k, pixels)
    dense = (energy(maps).unsqueeze(1) * things).sum(2).nan_to_num(0) / things.sum(2).clamp_min(1)
    first, rest = dense[:, :1], dense[:, 1:]
    order = torch.where(torch.isclose(first, rest), 0.5, (first > rest).double()).mean(1)
    return {**found, "order": [order, torch.full_like(area, 0.5)]}


def _joint(made: Explanation) -> Float[Tensor, "n i j k l"]:
    if made.joint is not None:
        return made.joint.double()
    a, b = (F.adaptive_avg_pool2d(side.double().clamp_min(0), GRID) for side in (made.a, made.b if made.b is not None else made.a * 0))
    return torch.einsum("nij,nkl->nijkl", a, b)


def _of_links(joint: Float[Tensor, "n i j k l"], masks: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """A link is as true as its cells lie on the shared object; as many are looked at as are true."""
    grids = (list(joint.shape[1:3]), list(joint.shape[3:]))
    covers = [F.adaptive_avg_pool2d(mask.double(), grid).flatten(1) for mask, grid in zip(masks, grids, strict=True)]  # type: ignore[arg-type]
    true = torch.einsum("np,nq->npq", *covers).flatten(1)  # (n, links)
    rows = [_of_pair(links, truth) for links, truth in zip(joint.flatten(1), true, strict=True)]
    top, chance = torch.tensor(rows, dtype=torch.float64).T
    return top, chance


def _of_pair(links: Float[Tensor, " l"], true: Float[Tensor, " l"]) -> tuple[float, float]:
    count = max(1, round(true.sum().item()))
    attainable = true.topk(count).values.sum()
    return (_expected(links, true, count) / attainable).item(), (count * true.mean() / attainable).item()


def _expected(links: Tensor, true: Tensor, count: int) -> Tensor:
    """Truth of the strongest `count` links, those at the edge counted in part where several are equal, as in a map of one value."""
    edge = links.topk(count).values[-1]
    above, at = links > edge, links == edge
    return true[above].sum() + true[at].mean() * (count - above.sum())
