"""Why results came back, and why this one rather than that one: by the regions that match, and by the words that do."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.methods import explain
from xaicl_lib.methods.words import WordMap, explain_words
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.retrieval.gallery import fingerprint
from xaicl_lib.retrieval.search import Results

RING = 8  # an image's sides are this many times as long as its border is wide
AT_BORDER = 2 / 3  # share of the evidence from which on a result is said to be explained by its border, which is 0.44 of the area


@dataclass(frozen=True, eq=False)
class Contrast:
    """Why one result lies before another: the difference of their scores, taken apart."""

    names: tuple[str, str]  #: of both
    difference: float  #: of the scores
    query: Float[Tensor, "i j"] | None  #: what each cell of the picture asked with adds to the difference; None without a picture
    words: tuple[tuple[tuple[str, float], ...], ...]  #: for each text its words with what each adds
    first: Float[Tensor, "i j"]  #: what each cell of either result adds to its own score
    second: Float[Tensor, "i j"]  #: likewise
    residual: float  #: what neither cells nor words explain of the difference


@dataclass(frozen=True, eq=False)
class Why:
    """Results explained, the runner-up among them."""

    results: Results  #: that are explained
    shown: Float[Tensor, "m c s s"]  #: results, then the runner-up, if there is one
    names: tuple[str, ...]  #: of them
    pairs: Pair | None  #: the picture asked with beside each; None without one
    photo: Explanation | None  #: its explanation with a joint map; None without a picture
    texts: tuple[tuple[int, tuple[WordMap, ...]], ...]  #: for each text, with its sign, a map of words and regions of each of them
    maps: Float[Tensor, "m i j"]  #: what each cell adds to the score, by the picture and all texts together
    border: Float[Tensor, " m"]  #: share of the positive part of `maps` that lies at the border
    notes: tuple[str, ...]  #: for each result what should be known of it

    def instead(self, first: int = 0, second: int | None = None) -> Contrast:
        """Why result `first` lies before result `second`, both counted from 0; None is the last that was explained, the runner-up.

        Raises:
            InputError: no such results.
        """
        m = len(self.shown)
        second = m - 1 if second is None else second
        if not (0 <= first < m and 0 <= second < m) or first == second:
            raise InputError(f"expected two of the {m} results that were explained, counted from 0, got {first} and {second}")
        query = None if self.photo is None else self.photo.a[first] - self.photo.a[second]
        words = tuple(_words(sign, maps[first], maps[second]) for sign, maps in self.texts)
        scores = [self.score(k) for k in (first, second)]
        difference = scores[0] - scores[1]
        explained = float(self.maps[first].sum() - self.maps[second].sum())
        names = (self.names[first], self.names[second])
        return Contrast(names, difference, query, words, self.maps[first], self.maps[second], difference - explained)

    def score(self, k: int) -> float:
        """Of result k."""
        own = 0.0 if self.photo is None else float(self.photo.score[k])
        return own + sum(sign * maps[k].score for sign, maps in self.texts)


def explain_results(model: PairModel, results: Results, *, method: str = "integrated_jacobians", **params: object) -> Why:
    """Why each result came back, and the runner-up did not.

    The picture that was asked with is explained beside each result by a method with a joint map, so that a cell of one goes with cells of
    the other; words by `xaicl_lib.methods.words.explain_words`. Results whose evidence lies at their border are said to do so: frames,
    captions, watermarks and grounds are there, rather than what a picture is of.

    Args:
        results: from `retrieve`.
        method: with a joint map.

    Raises:
        InputError: a method without a joint map, or another model than found the results.
    """
    if results.gallery.of != fingerprint(model):
        raise InputError(f"expected the model that found the results, got another one, {model.name!r}")
    more = [] if results.runner_up is None else [results.runner_up]
    indices = [*results.indices, *more]
    shown = results.gallery.pixels(indices, model)
    pairs = photo = None
    if results.query is not None:
        pairs = Pair(results.query.expand(len(shown), -1, -1, -1).contiguous(), shown)
        photo = explain(model, pairs, method, **params)
        if photo.joint is None or photo.b is None:
            raise InputError(f"expected a method with a joint map, such as integrated_jacobians, got {method!r}")
    texts = tuple((sign, tuple(explain_words(model, shown, [text] * len(shown)))) for text, sign in results.texts)
    maps = _together(photo, texts)
    border = _border_share(maps)
    notes = tuple(_noted(note, float(share)) for note, share in zip([*results.notes, *[""] * len(more)], border, strict=True))
    names = tuple(results.gallery.name(index) for index in indices)
    return Why(results, shown, names, pairs, photo, texts, maps, border, notes)


def _border_share(maps: Float[Tensor, "n i j"]) -> Float[Tensor, " n"]:
    """Share of the positive part of each map in the ring along its sides, an eighth of a side wide; 0 for a map without any."""
    positive = maps.clamp_min(0)
    inside = F.adaptive_avg_pool2d(_ring(maps.device).to(maps)[None, None], (maps.shape[1], maps.shape[2]))[0]
    return (positive * inside).sum((1, 2)) / positive.sum((1, 2)).clamp_min(torch.finfo(maps.dtype).tiny)


def _ring(device: torch.device) -> Bool[Tensor, "h w"]:
    side, width = 8 * RING, 8
    ring = torch.ones(side, side, dtype=torch.bool, device=device)
    ring[width:-width, width:-width] = False
    return ring


def _noted(note: str, share: float) -> str:
    at_border = f"{share:.0%} of what speaks for it lies at its border" if share >= AT_BORDER else ""
    return "; ".join(part for part in (note, at_border) if part)


def _together(photo: Explanation | None, texts: Sequence[tuple[int, tuple[WordMap, ...]]]) -> Float[Tensor, "m i j"]:
    """What each cell adds to the score; both kinds of maps are of one feature map."""
    parts = [] if photo is None or photo.b is None else [photo.b]
    parts += [torch.stack([sign * one.joint.sum(0) for one in maps]) for sign, maps in texts]
    return torch.stack(parts).sum(0)


def _words(sign: int, first: WordMap, second: WordMap) -> tuple[tuple[str, float], ...]:
    values = sign * (first.joint.sum((1, 2)) - second.joint.sum((1, 2)))
    return tuple(zip(first.words, values.tolist(), strict=True))
