"""Shortcuts that were planted: does a model rest on a sticker, does an explanation show it, and what does it cost where there is none?"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from xaicl_lib.data.stickers import CARRIED, stickered_pairs
from xaicl_lib.evaluation.method_spec import Methods, MethodSpec, method_specs
from xaicl_lib.metrics.localisation import mass_inside
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.scores import cosine
from xaicl_lib.statistics.paired import holm, interval
from xaicl_lib.studies.tables import means
from xaicl_lib.training.heads import RECIPES, head_features, head_model
from xaicl_lib.zoo import load_model

MODELS = ("stickers_none", "stickers_0", "stickers_50", "stickers_95")  # by the share of pairs with one sticker in training
KINDS = {"same object": "same_object", "different objects": "nothing_shared"}
METHODS: dict[str, MethodSpec] = {  # windows of occlusion move by a tenth of the picture, which takes a sixteenth of the time
    "conditional_occlusion": MethodSpec("conditional_occlusion", {"stride": 8}, "conditional_occlusion"),
    **method_specs([
        "grad_cam", "interaction_cam", "deep_similarity", "integrated_jacobians", "input_x_gradient", "averaged_transforms", "edges",
        "random_map",
    ]),
}  # fmt: skip
SIZE = 64
Row = tuple[tuple[str, ...], Pair, Explanation]


@torch.no_grad()
def _scores(models: Sequence[PairModel], n: int, seed: int = 0) -> pd.DataFrame:
    """Scores of pairs of the same and of different objects, by what side b carries: model, objects, carried, pair, value."""
    frames = []
    for objects, kind in KINDS.items():
        for carried in CARRIED:
            pair = stickered_pairs(n, carried, kind, SIZE, seed).pair
            facts = {"objects": objects, "carried": carried}
            frames += [_rows(model, cosine(*_embedded(model, pair)), **facts) for model in models]
    return pd.concat(frames, ignore_index=True)


@torch.no_grad()
def _retrieved(models: Sequence[PairModel], n: int, seed: int = 0) -> pd.DataFrame:
    """Whether the side b nearest to a side a, of all n, is its partner, 1 or 0, by what it carries: model, carried, pair, value."""
    frames = []
    for carried in CARRIED:
        pair = stickered_pairs(n, carried, size=SIZE, seed=seed).pair
        for model in models:
            a, b = (torch.nn.functional.normalize(z) for z in _embedded(model, pair))
            frames.append(_rows(model, ((a @ b.T).argmax(1) == torch.arange(n, device=a.device)).double(), carried=carried))
    return pd.concat(frames, ignore_index=True)


def located(models: Sequence[PairModel], methods: Methods, n: int, seed: int = 0) -> pd.DataFrame:
    """How much of each map lies on the stickers of pairs of one object that carry the same one, as a mean over the sides.

    Returns:
        One row per model, method and pair: sticker and object (shares of the map's positive values; 0 for a map without any), area (share
        of the picture that the sticker covers: what a map gets that knows nothing), value (sticker over area: 1 by chance).
    """
    made = stickered_pairs(n, size=SIZE, seed=seed)
    assert made.pair.truth is not None  # where the stickers are
    stickers = made.pair.truth.a, made.pair.truth.b
    area = torch.stack([mask.double().mean((1, 2)) for mask in stickers]).mean(0)
    frames = []
    for model in models:
        for label, spec in method_specs(methods).items():
            explained = [spec.explain(model, made.pair[k]) for k in range(n)]  # a pair at a time, which keeps memory small
            on = [
                torch.cat([mass_inside(one, [m[k : k + 1] for m in masks]) for k, one in enumerate(explained)]).double()
                for masks in (stickers, made.objects)
            ]
            frames.append(_rows(model, on[0] / area, method=label, sticker=on[0], object=on[1], area=area))
    return pd.concat(frames, ignore_index=True)


def measured(models: Sequence[PairModel], n: int, maps: int, methods: Methods, seed: int = 5) -> pd.DataFrame:
    """`_scores` and `_retrieved` of n pairs and `located` of `maps` of them, one below the other: `table` says which is which."""
    tables = {"score": _scores(models, n, seed), "retrieval": _retrieved(models, n, seed), "map": located(models, methods, maps, seed)}
    return pd.concat([table.assign(table=name, seed=0) for name, table in tables.items()], ignore_index=True)


def _embedded(model: PairModel, pair: Pair) -> tuple[Tensor, Tensor]:
    a, b = pair.sides
    return model.encode(a, "a"), model.encode(b, "b")


def _rows(model: PairModel, value: Float[Tensor, " n"], **facts: object) -> pd.DataFrame:
    columns = {name: fact.numpy() if isinstance(fact, Tensor) else fact for name, fact in facts.items()}
    return pd.DataFrame({"model": model.name, **columns, "pair": range(len(value)), "value": value.cpu().double().numpy()})


def trained_again(seeds: int, names: Sequence[str] = MODELS) -> list[tuple[int, PairModel]]:
    """Heads of these names with so many seeds each, trained now: seed and model; those of seed 0 are the bundled ones."""
    base = load_model(RECIPES[names[0]].backbone, "cpu")
    features = head_features(base)
    recipes = [replace(RECIPES[name], seed=seed) for seed in range(seeds) for name in names]
    return [(recipe.seed, head_model(recipe, base, features)) for recipe in recipes]


def reliance_of_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """How far exchanging the sticker lowers the score, with intervals over trainings: model, objects, mean, low, high, n."""
    wide = table.pivot_table("value", ["model", "seed", "objects", "pair"], "carried", sort=False, observed=True)
    each = (wide["same"] - wide["another"]).rename("value").reset_index()
    return means(each, "model", "objects", unit="seed")


def told_apart(table: pd.DataFrame, planted: str = "stickers_95", repaired: str = "stickers_0") -> pd.DataFrame:
    """Whether more of a map lies on the sticker where the model rests on it, with the training as the unit.

    Args:
        table: of `located`, with seeds; maps of all models are of the same pairs.
        planted, repaired: the models that rest on the sticker, and those that do not.

    Returns:
        By method: planted and repaired (means of sticker over area), mean, low, high (of the difference between a planted and a repaired
        training of one seed, see `interval`), p (Student's paired test over seeds, corrected by Holm's procedure for all methods; 1 where
        nothing differs), ordered (of all planted with all repaired trainings the share in which the planted one shows more; 0.5 by
        chance), seeds.
    """
    from scipy import stats

    each = table.groupby(["method", "model", "seed"], sort=False, observed=True)["value"].mean().unstack("model")
    rows = []
    for method, part in each.groupby(level="method", sort=False):
        more = [float(x > y) + 0.5 * float(x == y) for x, y in product(part[planted], part[repaired])]
        gain = (part[planted] - part[repaired]).to_numpy()
        p = float(stats.ttest_1samp(gain, 0).pvalue) if len(gain) > 1 and gain.any() else 1.0
        rows.append(
            (method, part[planted].mean(), part[repaired].mean(), gain.mean(), *interval(gain), p, sum(more) / len(more), len(gain))
        )
    names = ["method", "planted", "repaired", "mean", "low", "high", "p", "ordered", "seeds"]
    return pd.DataFrame(rows, columns=names).set_index("method").assign(p=lambda t: holm(t["p"].tolist()))


def shown_in_training(n: int, size: int = SIZE, seed: int = 0) -> list[tuple[str, list[Tensor]]]:
    """Titles and sides of pairs of one object with the same sticker, and of the same with another one."""
    found = []
    for carried in ("same", "another"):
        pair = stickered_pairs(n, carried, size=size, seed=seed).pair
        found += [(f"{carried} sticker", [a, b]) for a, b in zip(*pair.sides, strict=True)]
    return found


def explained_beside(models: Sequence[PairModel], method: str, k: int = 0, seed: int = 0) -> list[Row]:
    """Pair k with the same sticker on both sides, explained on each model: titles, pair and maps for a gallery."""
    rows: list[Row] = []
    for model in models:
        pair = replace(stickered_pairs(k + 1, size=model.size, seed=seed).pair[k], truth=None)
        made = METHODS.get(method, MethodSpec(method)).explain(model, pair)
        rows.append(((model.name, f"score {made.score.item():.2f}", method.replace("_", " "), ""), pair, made))
    return rows


def exchanged(models: Sequence[PairModel], k: int = 0, seed: int = 0) -> list[tuple[str, list[Tensor]]]:
    """Pair k with the same sticker, with another on side b, and with none, under how alike each model finds its sides."""
    found = []
    for carried in CARRIED:
        pair = stickered_pairs(k + 1, carried, size=SIZE, seed=seed).pair[k]
        said = ", ".join(f"{cosine(*_embedded(model, pair)).item():.2f}" for model in models)
        found.append((f"{carried}: {said}", [side[0] for side in pair.sides]))
    return found
