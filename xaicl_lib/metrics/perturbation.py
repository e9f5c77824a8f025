"""Insertion, deletion and average drop of a pair: what the score does while pixels come and go in the order of the maps."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from xaicl_lib import augment
from xaicl_lib.drafts import FEW, area_bound, is_draft, sampled
from xaicl_lib.errors import InputError, require
from xaicl_lib.metrics import quadrature
from xaicl_lib.metrics.registry import Curves, Measured, metrics
from xaicl_lib.model import PairModel
from xaicl_lib.notes import note
from xaicl_lib.pair import Explanation, Pair, resize_map
from xaicl_lib.progress import progress
from xaicl_lib.scores import Score, ask, cosine

BLUR_KERNEL, BLUR_SIGMA, BLUR_SIDE = 11, 5.0, 224  # Sec. IV-B, pixels; "blur" takes them whatever the image's size
TOLERANCE = 0.005  # of an area when `adaptive` is True
AT_ONCE = 64_000_000  # bytes of embeddings to hold; more pairs are measured in portions


def _zero(pixels: Tensor, x: Tensor, model: PairModel, generator: Generator | None) -> Tensor:
    return torch.zeros_like(x)


def _blur(pixels: Tensor, x: Tensor, model: PairModel, generator: Generator | None) -> Tensor:
    return model.normalize(augment.gaussian_blur(pixels.to(x), BLUR_SIGMA, BLUR_KERNEL))


def _scaled_blur(pixels: Tensor, x: Tensor, model: PairModel, generator: Generator | None) -> Tensor:
    """The blur with kernel (the nearest odd number of pixels, at least 3) and sigma in proportion to the shorter side."""
    scale = min(pixels.shape[2:]) / BLUR_SIDE
    kernel = max(3, 2 * round((scale * BLUR_KERNEL - 1) / 2) + 1)
    return model.normalize(augment.gaussian_blur(pixels.to(x), scale * BLUR_SIGMA, kernel))


def _shuffle(pixels: Tensor, x: Tensor, model: PairModel, generator: Generator | None) -> Tensor:
    """The image's own pixels in random places, the same for every image: a metric's value must not depend on which others are asked for."""
    seed = generator.initial_seed() if generator else 0
    order = torch.randperm(x[0, 0].numel(), generator=Generator().manual_seed(seed)).to(x.device)
    return x.flatten(2)[..., order].view(x.shape)


BASELINES: dict[str, Callable[..., Tensor]] = {"zero": _zero, "blur": _blur, "scaled_blur": _scaled_blur, "shuffle": _shuffle}
SOURCE = {"paper": "sammani2023visualizing", "where": "Sec. IV-B", "low": 0.0, "high": 1.0}


def _fact(higher_is_better: bool, says: str, needs: str) -> dict[str, object]:
    return {**SOURCE, "higher_is_better": higher_is_better, "says": says, "needs": needs}


@metrics.add(
    SI=_fact(True, "area under the score while both images come out of a blur, most important pixels first", "225 forwards a side"),
    SD=_fact(False, "area under the score while both images go to zeros, most important pixels first", "225 forwards a side"),
    CI=_fact(True, "the same as SI for one image while the other stays whole, averaged over both", "those of SI"),
    CD=_fact(False, "the same as SD for one image while the other stays whole, averaged over both", "those of SD"),
    SAD=_fact(False, "share of the score lost when each image is dimmed by its own map", "1 forward a side"),
    CAD=_fact(False, "the same for one image while the other stays whole, averaged over both", "those of SAD"),
)
@torch.no_grad()
def perturbation(
    model: PairModel,
    pair: Pair,
    explanation: Explanation,
    columns: Sequence[str],
    *,
    score: Score = cosine,
    generator: Generator | None = None,
    chunk: int | None = None,
    step: int | None = None,
    insertion: str = "blur",
    deletion: str = "zero",
    adaptive: bool | float = False,
    precision: str = "exact",
) -> Measured:
    r"""Simultaneous and conditional insertion, deletion and average drop of n pairs.

    Implements Sec. IV-B of :cite:t:`sammani2023visualizing`. Maps are resized to their image (bilinear) and pixels taken
    in order of the map, most important first, `step` at a time: point k of a curve is the score with the first k steps
    changed, and the area is that of the trapezoid rule over evenly spaced points. Deletion goes from the whole image to
    zeros in the model's input space, insertion from a blur (11 x 11 kernel, sigma 5 pixels, edges reflected) to the whole image. For
    average drop each map is scaled to [0, 1] and multiplies its image: :math:`\max(0, s - s_{masked}) / s`.

    The embeddings of one sweep serve both its simultaneous and its conditional curve; whole and empty images are encoded once.
    So all six take at most 4 K + 5 encodings of a pair, where a curve has K + 1 points.

    Differs: equal values of a map are taken from the last pixel to the first (a documented order instead of whatever
    the sort does). A constant map scales to zeros. For one-sided pairs, simultaneous and conditional values are the same. The blur is
    the paper's in pixels whatever the size of the image, and so stronger on one that is smaller than the paper's 224; "scaled_blur" scales
    it. The stored tables of this project are made with "blur".

    Args:
        columns: which of SI, SD, CI, CD, SAD, CAD.
        generator: whose seed gives the places of the baseline "shuffle"; None is seed 0.
        step: pixels at a time; None is the image's shorter side (225 points at 224 pixels). Where the sides differ in size, it
            is that of side a, and side b changes by the same share.
        insertion: what insertion starts from: "blur", "scaled_blur" (kernel and sigma in proportion to the image's shorter side),
            "zero" or "shuffle" (the image's own pixels in random places).
        deletion: what deletion goes to, likewise.
        adaptive: True (0.005) or a tolerance: the same areas from fewer points, see `xaicl_lib.metrics.quadrature.adaptive`.
        precision: "exact", or "draft": images between whole and empty are encoded in bfloat16 where that is faster, the curves corrected by
            a sample of exact points, and the bound on the areas' error widened by what is left there, see `xaicl_lib.drafts`.

    Returns:
        Values (n,), each in units of the score, drops as shares of it; NaN for the drops of pairs whose score is not
        positive, with a warning. Curves of the four areas.

    Raises:
        InputError: unknown baseline, a step that does not fit, maps that are not finite or not of these pairs.
    """
    check_maps(pair, explanation)
    tolerance = TOLERANCE if adaptive is True else float(adaptive)
    if not tolerance >= 0:
        raise InputError(f"expected adaptive to be a tolerance of at least 0, got {adaptive!r}")
    require("baseline", BASELINES, insertion, deletion)
    draft = is_draft(precision)
    model = model.fast
    sides = [_side(model, k, pair, explanation, step) for k in range(len(pair.sides))]
    whole = [model.encode(pixels, side.name, chunk) for side, pixels in zip(sides, pair.sides, strict=True)]
    curves = Curves.nothing(len(pair))
    for name, baseline in {"I": insertion, "D": deletion}.items():
        if {f"S{name}", f"C{name}"} & set(columns):
            for side, pixels in zip(sides, pair.sides, strict=True):
                side.baseline = BASELINES[baseline](pixels, side.x, model, generator)
            found = _curves(_Sweep(sides, whole, name == "I", score, chunk, model, draft and sides[0].steps >= FEW), tolerance)
            curves = curves.join(found.rename({"S": f"S{name}", "C": f"C{name}"}))
    values = {name: area for name, area in curves.areas().items() if name in columns}
    if {"SAD", "CAD"} & set(columns):
        drops = _average_drops(sides, whole, score, chunk, model)
        values |= {name: drops[name] for name in columns if name in drops}
    return Measured(values, curves.only(columns))


def check_maps(pair: Pair, explanation: Explanation) -> None:
    """Refuse maps that are not of these pairs.

    Raises:
        InputError: another number of maps than pairs, a side too many or too few, no map at all, or values that are not finite.
    """
    if (pair.b is None) != (explanation.b is None):
        raise InputError("expected pair and explanation to have the same sides, got one of them without side b")
    for name, maps in zip("ab", (explanation.a, explanation.b), strict=True):
        if maps is None:
            continue
        if maps.ndim != 3 or len(maps) != len(pair) or not maps.numel():
            raise InputError(f"expected maps ({len(pair)}, i, j) on side {name}, got {tuple(maps.shape)}")
        bad = ~maps.isfinite().flatten(1).all(1)
        if bad.any():
            raise InputError(f"expected finite maps, got NaN or infinity on side {name} of pair {int(bad.nonzero()[0])}")


def ranks(maps: Float[Tensor, "n h w"]) -> Int[Tensor, "n h w"]:
    """The place of each pixel in the order of the map, 0 for the most important; of equal values the last pixel comes first."""
    order = maps.flatten(1).argsort(dim=1, stable=True).flip(1)
    places = torch.arange(order.shape[1], device=maps.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view(maps.shape)


@dataclass
class _Side:
    """One side of n pairs, ready to be changed pixel by pixel."""

    name: str  # "a" or "b"
    x: Float[Tensor, "n c h w"]  # what pixels are, in the model's input space
    maps: Float[Tensor, "n h w"]  # resized to the image
    rank: Int[Tensor, "n h w"]  # place of each pixel in the order of its map
    counts: Int[Tensor, " k"]  # (k + 1,) pixels changed at each point of a curve
    baseline: Tensor  # what they are without

    @property
    def steps(self) -> int:
        """Of a curve; it has one point more."""
        return len(self.counts) - 1

    @property
    def pixels(self) -> int:
        """Of an image."""
        return self.x[0, 0].numel()

    def rows(self, part: slice) -> "_Side":
        """Some of the pairs."""
        return replace(self, x=self.x[part], maps=self.maps[part], rank=self.rank[part], baseline=self.baseline[part])


def _side(model: PairModel, k: int, pair: Pair, explanation: Explanation, step: int | None) -> _Side:
    x = model.normalize(pair.sides[k])
    maps = resize_map((explanation.a, explanation.b)[k].to(x), x.shape[2:])  # type: ignore[union-attr, arg-type]
    counts = _counts(pair.a.shape[2:], step, x.device)
    counts = (counts * x[0, 0].numel()).div(pair.a[0, 0].numel(), rounding_mode="floor")
    return _Side("ab"[k], x, maps, ranks(maps), counts, x)


def _counts(shape: Sequence[int], step: int | None, device: torch.device) -> Int[Tensor, " k"]:
    """How many pixels are changed at each point of a curve: 0, step, 2 step, ..., all."""
    total = shape[0] * shape[1]
    step = min(shape) if step is None else step
    if not isinstance(step, int) or not 1 <= step <= total:
        raise InputError(f"expected a step of 1 to {total} pixels, got {step!r}")
    steps = -(-total // step)
    return (torch.arange(steps + 1, device=device) * step).clamp(max=total)


def _curves(sweep: "_Sweep", tolerance: float) -> Curves:
    """The curves of a sweep, of as many pairs at a time as memory allows."""
    n, count = sweep.shape
    step = max(1, AT_ONCE // (2 * count * sweep.whole[0][0].numel() * sweep.whole[0].element_size()))
    parts = [sweep.rows(slice(first, first + step)) for first in range(0, n, step)]
    curves = Curves.stack([quadrature.adaptive(part, tolerance) for part in parts])
    return _corrected(curves, sweep) if sweep.draft else curves


def _corrected(curves: Curves, sweep: "_Sweep") -> Curves:
    """Curves of a draft, moved by their mean distance from exact points; what these then scatter by widens the error of their areas."""
    n, count = sweep.shape
    inner = 1 + sampled(count - 2)
    exact, encoded = replace(sweep, draft=False).points(torch.arange(n).repeat_interleave(len(inner)), inner.repeat(n))
    away = torch.cat([curves.points["S"], curves.points["C"]], 1)[..., inner] - exact.view(n, len(inner), -1).mT  # (n, c, s)
    moved = [dict(zip("SC", part.tensor_split([1], 1), strict=True)) for part in (away.mean(2, keepdim=True), away)]
    points, error = {}, {}
    for name, curve in curves.points.items():
        offset, rest = (part[name] for part in moved)
        points[name] = torch.cat([curve[..., :1], curve[..., 1:-1] - offset, curve[..., -1:]], 2)
        error[name] = curves.error[name] + area_bound(rest.mean(1))
    return Curves(points, curves.encoded + encoded.view(n, -1).sum(1).to(curves.encoded), error)


@dataclass(frozen=True)
class _Sweep:
    """One insertion or deletion of n pairs, from which the points of its curves can be asked in any order."""

    sides: list[_Side]
    whole: list[Float[Tensor, "n d"]]
    inserting: bool
    score: Score
    chunk: int | None
    model: PairModel
    draft: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Pairs and points of a curve."""
        return len(self.whole[0]), self.sides[0].steps + 1

    def rows(self, part: slice) -> "_Sweep":
        """The sweep of some of the pairs."""
        return replace(self, sides=[side.rows(part) for side in self.sides], whole=[z[part] for z in self.whole])

    def points(self, item: Int[Tensor, " m"], k: Int[Tensor, " m"]) -> tuple[Float[Tensor, "m c"], Int[Tensor, " m"]]:
        """Scores of pair `item` at point `k`: simultaneous, then conditional for each side; and how many images each took."""
        item, k = item.to(self.model.device), k.to(self.model.device)
        found = [self._embed(side, whole, item, k) for side, whole in zip(self.sides, self.whole, strict=True)]
        z = [z for z, _ in found]
        scores = [ask(self.score, *z)]
        for side in range(len(z)):
            one = [z[side] if side == other else self.whole[other][item] for other in range(len(z))]
            scores.append(ask(self.score, *one))
        return torch.stack(scores, 1), torch.stack([new for _, new in found]).sum(0)

    def _embed(self, side: _Side, whole: Tensor, item: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of one side, and which of them are new; whole images are known, and all images of zeros are one."""
        z = whole[item]
        new = (k < side.steps) if self.inserting else (k > 0)
        empty = (k == (0 if self.inserting else side.steps)) & ~side.baseline.any()
        if empty.any():
            z[empty] = self.model.encode_inputs([side.baseline[:1]], side.name)
        new = new & ~empty
        between = (k > 0) & (k < side.steps) if self.draft else torch.zeros_like(new)  # ends are exact, whatever they are
        for some, rough in ((new & between, True), (new & ~between, False)):
            if len(todo := some.nonzero()[:, 0]):
                z[todo] = self.model.encode_inputs(self._changed(side, item[todo], side.counts[k[todo]]), side.name, draft=rough)
        return z, new.long()

    def _changed(self, side: _Side, item: Tensor, count: Tensor) -> Iterator[Float[Tensor, "k c h w"]]:
        """The images of pairs `item` with as many pixels changed, in portions."""
        present, absent = (side.x, side.baseline) if self.inserting else (side.baseline, side.x)
        for part in progress(torch.arange(len(item), device=item.device).split(self.chunk or self.model.chunk(side.pixels)), "points"):
            taken = side.rank[item[part]] < count[part].view(-1, 1, 1)
            yield torch.where(taken.unsqueeze(1), present[item[part]], absent[item[part]])


def _average_drops(
    sides: list[_Side], whole: list[Tensor], score: Score, chunk: int | None, model: PairModel
) -> dict[str, Float[Tensor, " n"]]:
    dimmed = [(s.x * unit_scale(s.maps).unsqueeze(1)).split(chunk or model.chunk(s.pixels)) for s in sides]
    masked = [model.encode_inputs(portions, s.name) for portions, s in zip(dimmed, sides, strict=True)]
    s = ask(score, *whole)
    undefined = ~(s > 0)  # NaN as well
    if undefined.any():
        which = ", ".join(map(str, undefined.nonzero()[:5, 0].tolist()))
        note(
            f"average drop is a share of the score and undefined where that is not positive: NaN for {int(undefined.sum())} of {len(s)} "
            f"pairs ({which}{', ...' if undefined.sum() > 5 else ''})"
        )
    base = s.masked_fill(undefined, torch.nan)

    def drop(embeddings: list[Tensor]) -> Tensor:
        return (s - ask(score, *embeddings)).clamp_min(0) / base

    one_side = [drop([masked[k] if k == j else whole[j] for j in range(len(sides))]) for k in range(len(sides))]
    return {"SAD": drop(masked), "CAD": torch.stack(one_side).mean(0)}


def unit_scale(maps: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    """Each map scaled to [0, 1]; a constant one to zeros, for it prefers nothing."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / torch.where(high > low, high - low, 1)
