"""Metrics of a joint map: what the score does while pairs of cells come and go, both ends of a link together; whether links are true."""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from xaicl_lib.errors import InputError, require
from xaicl_lib.methods.words import WordMap
from xaicl_lib.metrics.perturbation import BASELINES, check_maps
from xaicl_lib.metrics.registry import Curves, Measured, metrics
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.scores import Score, ask, cosine
from xaicl_lib.tokens.texts import open_text

GRID = 8  # cells a side of the links of an explanation that has maps alone
POINTS = 16  # steps of a curve, unless the smaller side has fewer cells
AREA = {"paper": "sammani2023visualizing", "where": "Sec. IV-B, of links", "low": 0.0, "high": 1.0, "needs": "17 forwards a side"}


def _links_of(explanation: Explanation) -> Float[Tensor, "n i j k l"]:
    """The joint map; of an explanation without one the product of both maps, as if every cell went with every other.

    Maps of more than 8 cells a side are pooled first, and negative values count as nothing: two of them do not make a link.
    """
    if explanation.joint is not None:
        return explanation.joint
    assert explanation.b is not None  # what is measured of one side has no links
    a, b = (_coarse(side.clamp_min(0)) for side in (explanation.a, explanation.b))
    return torch.einsum("nij,nkl->nijkl", a, b)


def _coarse(maps: Float[Tensor, "n i j"]) -> Float[Tensor, "n i j"]:
    return F.adaptive_avg_pool2d(maps, (min(GRID, maps.shape[1]), min(GRID, maps.shape[2])))


def _matching(links: Float[Tensor, "p q"]) -> tuple[Int[Tensor, " p"], Int[Tensor, " q"]]:
    """In which step each end goes when both ends of a link go together, strongest links first.

    Each step takes the strongest link between cells that are left, and with its cell on the side of fewer cells as many of the others as
    there are to each, one more now and then where they do not come out even, the most strongly linked to it. So each side changes by the
    same share in each.
    """
    if links.shape[0] > links.shape[1]:
        return _matching(links.T)[::-1]
    p, q = links.shape
    left = links.detach().cpu().double().clone()
    when_p, when_q = torch.zeros(p, dtype=torch.long), torch.full((q,), p - 1)
    free = torch.ones(q, dtype=torch.bool)
    for step in range(p):
        cell = int(left.amax(1).argmax())
        ends = left[cell].topk((step + 1) * q // p - step * q // p).indices
        when_p[cell], when_q[ends] = step, step
        free[ends] = False
        left[cell], left[:, ends] = -torch.inf, -torch.inf
        if not free.any():
            break
    return when_p, when_q


@metrics.add(
    LI={
        **AREA, "higher_is_better": True,
        "says": "area under the score while both ends of each link come out of a blur, strongest links first",
    },
    LD={
        **AREA, "higher_is_better": False,
        "says": "area under the score while both ends of each link go to zeros, strongest links first",
    },
)  # fmt: skip
@torch.no_grad()
def link_perturbation(
    model: PairModel,
    pair: Pair,
    explanation: Explanation,
    columns: Sequence[str],
    *,
    score: Score = cosine,
    generator: Generator | None = None,
    chunk: int | None = None,
    points: int = POINTS,
    link_insertion: str = "blur",
    link_deletion: str = "zero",
) -> Measured:
    """Insertion and deletion of links: pairs of cells, one of each side, that come and go together.

    As insertion and deletion of :cite:t:`sammani2023visualizing`, Sec. IV-B, but of cells in the order of `_matching`, which asks the joint
    map which cell of b goes with which of a: a map of either side alone does not say that.

    Of one side alone, which has no links, both are NaN.

    Args:
        explanation: with a joint map; of one without, the product of both maps is taken.
        columns: which of LI, LD.
        points: steps of a curve; no more than the smaller side has cells.
        link_insertion, link_deletion: what insertion starts from and deletion goes to, as for `perturbation`.

    Raises:
        InputError: maps that are not of these pairs, an unknown baseline, or no points.
    """
    check_maps(pair, explanation)
    if points < 1:
        raise InputError(f"expected at least one point of a curve, got {points}")
    require("baseline", BASELINES, link_insertion, link_deletion)
    if pair.b is None:
        return _undefined(pair, columns)
    model, links = model.fast, _links_of(explanation)
    when = [_matching(one.flatten(2).flatten(0, 1)) for one in links]
    grids = (links.shape[1:3], links.shape[3:5])
    steps = min(points, *(grid[0] * grid[1] for grid in grids))
    sides = [
        _Side(model.normalize(pixels), torch.stack([w[k] for w in when]).view(-1, *grids[k]), pixels) for k, pixels in enumerate(pair.sides)
    ]
    found = {}
    for column, name, inserting in (("LI", link_insertion, True), ("LD", link_deletion, False)):
        if column in columns:
            z = [side.embeddings(model, "ab"[k], BASELINES[name], inserting, steps, generator, chunk) for k, side in enumerate(sides)]
            found[column] = ask(score, *(one.flatten(0, 1) for one in z)).unflatten(0, z[0].shape[:2]).unsqueeze(1)  # (n, 1, steps + 1)
    encoded = torch.full((len(pair),), 2 * len(found) * (steps + 1))
    curves = Curves(found, encoded, {name: torch.zeros(len(pair)) for name in found})
    return Measured(curves.areas(), curves)


def _undefined(pair: Pair, columns: Sequence[str]) -> Measured:
    """One side has no links."""
    return Measured({name: torch.full((len(pair),), torch.nan) for name in columns})


class _Side:
    """Images of one side and when each of their cells goes."""

    def __init__(self, x: Float[Tensor, "n c h w"], when: Int[Tensor, "n i j"], pixels: Tensor) -> None:
        self.x, self.pixels = x, pixels
        self.when = F.interpolate(when.unsqueeze(1).float(), x.shape[2:], mode="nearest-exact").to(x.device)  # (n, 1, h, w)
        self.last = float(when.max()) + 1

    def embeddings(
        self, model: PairModel, name: str, baseline: Callable[..., Tensor], inserting: bool, steps: int, generator: Generator | None,
        chunk: int | None,
    ) -> Float[Tensor, "n k d"]:  # fmt: skip
        empty = baseline(self.pixels, self.x, model, generator)
        gone, there = (self.x, empty) if inserting else (empty, self.x)

        def changed() -> Iterator[Tensor]:
            for k in range(len(self.x)):
                for part in torch.linspace(0, self.last, steps + 1, device=self.x.device).split(chunk or model.chunk(self.x[0, 0].numel())):
                    yield torch.where(self.when[k : k + 1] < part.view(-1, 1, 1, 1), gone[k : k + 1], there[k : k + 1])

        return model.encode_inputs(changed(), name).unflatten(0, (len(self.x), steps + 1))


@metrics.add(
    link_pointing={
        "paper": "zhang2018top", "where": "Sec. 4.1, of links", "higher_is_better": True, "low": 0.0, "high": 1.0,
        "needs": "the true evidence",
        "says": "whether both ends of the strongest link lie on the true evidence",
    },
)  # fmt: skip
@torch.no_grad()
def link_localisation(model: PairModel, pair: Pair, explanation: Explanation, columns: Sequence[str]) -> Measured:
    """The pointing game of :cite:t:`zhang2018top` for links: how much of both ends of the strongest link lies on the shared evidence.

    A cell counts by the share of it that the evidence covers, so by chance the product of both areas is had. Of several links that are
    strongest, as of a map of one value, the mean.

    Of an explanation without a joint map the product of both maps is taken.

    Returns:
        Shares in [0, 1]; NaN where a side has no evidence, and of one side alone, which has no links.

    Raises:
        InputError: pairs without truth.
    """
    check_maps(pair, explanation)
    if pair.truth is None:
        raise InputError("expected pairs whose shared evidence is known (truth), as those of xaicl_lib.data.scenes, got pairs without")
    if pair.b is None:
        return _undefined(pair, columns)
    links = _links_of(explanation)
    a, b = (_cover(mask, links.shape[k : k + 2]) for mask, k in ((pair.truth.a, 1), (pair.truth.b, 3)))
    true = torch.einsum("np,nq->npq", a, b).flatten(1).to(links)
    flat = links.flatten(1)
    strongest = flat == flat.amax(1, keepdim=True)
    found = (true * strongest).sum(1) / strongest.sum(1)
    known = pair.truth.a.flatten(1).any(1) & pair.truth.b.flatten(1).any(1)
    return Measured({"link_pointing": found.masked_fill(~known.to(found.device), torch.nan)})


@torch.no_grad()
def measure_words(
    model: PairModel, images: Float[Tensor, "n c h w"], texts: Sequence[str], made: Sequence[WordMap], *, score: Score = cosine,
    points: int = POINTS, insertion: str = "blur", deletion: str = "zero",
) -> dict[str, Float[Tensor, " n"]]:  # fmt: skip
    """LI and LD of words and regions: a word and the cells that go with it come and go together.

    As `link_perturbation`; words that are not there are blank, as `explain_words` has them.

    Args:
        images, texts: n of each.
        points, insertion, deletion: as for `link_perturbation`.

    Raises:
        InputError: an unknown baseline.
    """
    require("baseline", BASELINES, insertion, deletion)
    rows: dict[str, list[Tensor]] = {"LI": [], "LD": []}
    for image, text, one in zip(images.split(1), texts, made, strict=True):
        when_w, when_p = _matching(one.joint.flatten(1))
        side = _Side(model.fast.normalize(image), when_p.view(1, *one.joint.shape[1:]), image)
        opened, steps = open_text(model._parts["text"], text), min(points, len(when_w), len(when_p))
        for column, name, inserting in (("LI", insertion, True), ("LD", deletion, False)):
            z = side.embeddings(model.fast, "a", BASELINES[name], inserting, steps, None, None)[0]
            gone = when_w < torch.linspace(0, float(when_w.max()) + 1, steps + 1).unsqueeze(1)  # (k, w)
            words = opened.embed(opened.without((gone if inserting else ~gone).to(opened.places.device)))
            rows[column].append(torch.trapezoid(ask(score, z, words.to(z)), dx=1 / steps))
    return {name: torch.stack(values) for name, values in rows.items()}


def _cover(mask: Bool[Tensor, "n h w"], grid: Sequence[int]) -> Float[Tensor, "n p"]:
    return F.adaptive_avg_pool2d(mask.double(), list(grid)).flatten(1)  # type: ignore[arg-type]
