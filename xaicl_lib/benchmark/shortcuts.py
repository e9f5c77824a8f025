"""The suite of planted shortcuts: does a method show the sticker on the model that rests on it, and not on one that does not?

Pairs are two pictures of one object that wear the same sticker. Whether a model rests on it is asked: the sticker of side b is exchanged
for another one, and the score falls or it does not. A model that learned to rest on it, and one that does because it never saw any, are
set beside a twin that saw the same stickers where they said nothing. A method that lights up whatever is bright and in a corner does so on
both.
"""

import time
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from xaicl_lib.benchmark.guard import Method, Watch, explained
from xaicl_lib.benchmark.suite import SURE, USED, _digest
from xaicl_lib.data.stickers import Stickered, stickered_pairs
from xaicl_lib.evaluation.fingerprint import model_key
from xaicl_lib.metrics.localisation import mass_inside
from xaicl_lib.model import PairModel
from xaicl_lib.scores import cosine
from xaicl_lib.zoo import load_model

NAME = "shortcuts-v1"  # never changes; a correction makes a version of its own
KINDS = ("same_sticker",)
TWINS = {"stickers_95": "stickers_0", "stickers_none": "stickers_0"}  # that rest on stickers, and that do not
COUNT = 40
DRAWN = 2  # pairs that are drawn for each that is wanted
SEED = 170_101  # of the public half
METRICS = {
    "told_apart": "more of the map lies on the sticker on the model that rests on it than on its twin, which does not",
    "sticker_mass": "share of the positive values that lies on the sticker, on the model that rests on it",
}
DIGITS = 5


class _Shortcut(NamedTuple):
    """Pairs that were found to be a shortcut for a model and none for its twin: pairs, and (n, 2) by how much their scores fall."""

    made: Stickered
    rows: list[int]
    effects: Float[Tensor, "n 2"]
    digest: str


def _shortcut(model: PairModel, twin: PairModel, count: int = COUNT, seed: int = 0) -> _Shortcut | None:
    """The first `count` pairs whose score falls by `SURE` more on the model than on its twin when the sticker of side b is exchanged.

    None if on average over all that are drawn it falls by less than `USED` more, or there is no such pair.
    """
    drawn = SEED + 1_000_003 * seed
    same, another = (stickered_pairs(DRAWN * count, carried, size=model.size, seed=drawn) for carried in ("same", "another"))
    effects = torch.stack([_fall(one, same, another) for one in (model, twin)], 1)  # (n, 2)
    more = effects[:, 0] - effects[:, 1]
    rows = (more > SURE).nonzero()[:count, 0]
    if more.mean() < USED or not len(rows):
        return None
    codes = [same.codes[:, rows].to(torch.uint8), another.codes[1:, rows].to(torch.uint8), rows.to(torch.int32)]
    return _Shortcut(same, rows.tolist(), effects[rows], _digest(codes))


def _fall(model: PairModel, same: Stickered, another: Stickered) -> Float[Tensor, " n"]:
    a, b, changed = (model.encode(x, side) for x, side in zip((*same.pair.sides, another.pair.sides[1]), "abb", strict=True))
    return (cosine(a, b) - cosine(a, changed)).cpu()


def measured(run: Method, model: PairModel, kind: str, count: int, seed: int, limit: float) -> dict[str, Any] | None:
    """What the pairs say of a method, in plain values; None for a model that has no twin, or does not rest on stickers."""
    if model.name not in TWINS:
        return None
    twin = load_model(TWINS[model.name], model.device)
    found = _shortcut(model, twin, count, seed)
    if found is None:
        return None
    truth = found.made.pair.truth
    assert truth is not None  # where the stickers are
    masks = truth.a, truth.b
    watches, seconds, shares = [Watch(one) for one in (model, twin)], 0.0, []
    try:
        for number, k in enumerate(found.rows):
            began = time.process_time()
            made = [explained(run, one, found.made.pair[k], number, limit) for one in (model, twin)]
            seconds += time.process_time() - began
            shares.append([float(mass_inside(one.to("cpu"), [mask[k : k + 1] for mask in masks])) for one in made])
    finally:
        for watch in watches:
            watch.close()
    twice = 2 * len(shares)
    forwards, backwards = (sum(watch.count[name] for watch in watches) / twice for name in ("forwards", "backwards"))
    area = round(sum(float(mask.double().mean()) for mask in masks) / 2, DIGITS)
    told = [0.5 if abs(x - y) < 1e-6 else float(x > y) for x, y in shares]
    return {
        "model": model.name, "weights": model_key(model)[:16], "kind": kind, "pairs": found.digest, "drawn": found.rows,
        "effects": [[round(v, DIGITS) for v in row] for row in found.effects.tolist()],
        "values": {"told_apart": told, "sticker_mass": [round(x, DIGITS) for x, _ in shares]},
        "chances": {"told_apart": [0.5] * len(told), "sticker_mass": [area] * len(told)},
        "cost": {"seconds": round(seconds / twice, 6), "forwards": round(forwards, 3), "backwards": round(backwards, 3)},
    }  # fmt: skip
