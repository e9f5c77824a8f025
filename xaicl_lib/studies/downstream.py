"""Do explanations score better on models that are better at something else? Over finished models and their way there."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy import special
from torch import Tensor, nn

from xaicl_lib.data.paper import paper_tables
from xaicl_lib.errors import InputError
from xaicl_lib.evaluation.evaluate import evaluate
from xaicl_lib.evaluation.fingerprint import digest, model_key
from xaicl_lib.evaluation.method_spec import Method, Methods
from xaicl_lib.evaluation.store import COLUMNS, Store, code_version
from xaicl_lib.methods import methods as registry
from xaicl_lib.metrics import PAPER
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair
from xaicl_lib.probes import PROBE_C, knn_accuracy, probe_accuracy
from xaicl_lib.scores import cosine
from xaicl_lib.statistics.correlation import corrected as corrected
from xaicl_lib.statistics.correlation import correlate, fisher_interval
from xaicl_lib.statistics.correlation import leave_out as leave_out
from xaicl_lib.studies.organization import layer_features
from xaicl_lib.studies.tables import GROUPS
from xaicl_lib.training.data import Data
from xaicl_lib.zoo.bundled import WEIGHTS, load_model

_UNTRAINED = "untrained"  # the recipe of networks that were trained by none yet
FACTS = ["model", "recipe", "run", "epoch", "linear_accuracy", "knn_accuracy"]
# Methods of the paper's three families and a control, at a cost that allows many models.
METHODS: dict[str, Method] = {
    "conditional_occlusion": ("conditional_occlusion", {"stride": 12, "grid": "published"}),  # as the stored run was made
    **{name: name for name in ("grad_cam", "interaction_cam", "averaged_transforms", "random_map")},
}


@dataclass(frozen=True, eq=False)
class _Checkpoint:
    """A network at one point of its training."""

    model: PairModel
    recipe: str  # what it is trained by; "untrained" at epoch 0
    run: str  # the training, in words: recipe and length
    epoch: int  # after which this is the network
    accuracies: Mapping[str, float]  # what its card says of linear_accuracy and knn_accuracy, if it does


def checkpoints(folder: str | Path = WEIGHTS, device: str = "auto", names: Sequence[str] | None = None) -> list[_Checkpoint]:
    """The models of photos in a folder, in the order of recipe and epoch: the bundled ones, or the snapshots of a training.

    The folder is of weights and cards; `python -m xaicl_lib train NAME --keep 1,2,4` puts some into `runs/NAME/snapshots`.

    Raises:
        InputError: no cards of such models there.
    """
    cards = [json.loads(path.read_text()) for path in Path(folder).glob("*.json")]
    cards = [c for c in cards if c["recipe"].get("data", "photos") == "photos" and (names is None or c["name"] in names)]
    if not cards:
        raise InputError(f"expected models of photos with their cards in {str(folder)!r}, got none")
    found = []
    for card in sorted(cards, key=lambda c: (c["recipe"]["name"], c["epochs"])):
        recipe, epoch = card["recipe"], card["epochs"]
        accuracies = {key: card[key] for key in ("linear_accuracy", "knn_accuracy") if key in card}
        model = load_model(card["name"], device, folder=Path(folder))
        run = f"{recipe['name']}, {recipe['epochs']} epochs"
        found.append(_Checkpoint(model, recipe["name"] if epoch else _UNTRAINED, run, epoch, accuracies))
    return found


def downstream(
    checkpoints: Sequence[_Checkpoint],
    pair: Pair,
    data: tuple[Data, Data] | None = None,
    methods: Methods = METHODS,
    metrics: Sequence[str] = PAPER,
    *,
    store: str | None = None,
    seed: int = 0,
    **options: Any,
) -> pd.DataFrame:
    """Scores of explanations of the same pairs on many networks, beside how good their features are.

    Measures what Fig. 15 of :cite:t:`sammani2023visualizing` plots: explanation scores against linear-probe accuracy.

    Differs: networks on the way of a training are points, too; accuracies are those of the same small probes for all.

    Args:
        checkpoints: networks; of networks that are equal, such as the untrained ones of runs that start alike, only the first counts.
        pair: n pairs with two sides, of the size of the models.
        data: photos with labels to fit the probes on and to measure them on; without them the accuracies are those of the cards.

    Returns:
        One row per network, method, pair and metric: model, recipe, run, epoch, linear_accuracy, knn_accuracy, score (the similarity of
        the pair), method, pair, metric, value.

    Raises:
        InputError: pairs of one side; without `data` a network whose card tells no accuracy.
    """
    if pair.b is None:
        raise InputError("expected pairs of two sides, got no side b")
    kept = list({model_key(checkpoint.model): checkpoint for checkpoint in reversed(checkpoints)}.values())[::-1]
    facts = pd.DataFrame([_facts(checkpoint, data, store) for checkpoint in kept])
    scores = pd.concat([_similarities(checkpoint.model, pair) for checkpoint in kept])
    values = evaluate([checkpoint.model for checkpoint in kept], pair, methods, metrics, store=store, seed=seed, **options)
    table = values.merge(facts, on="model", sort=False).merge(scores, on=["model", "pair"], sort=False)
    return table[[*FACTS, "score", "method", "pair", "metric", "value"]]


def _facts(checkpoint: _Checkpoint, data: tuple[Data, Data] | None, store: str | None) -> dict[str, Any]:
    if data is None and len(checkpoint.accuracies) < 2:
        raise InputError(f"expected photos to measure {checkpoint.model.name!r} on, whose card tells no accuracy, got none")
    found = dict(checkpoint.accuracies) if data is None else _accuracies(checkpoint.model, *data, store=store)
    return {"model": checkpoint.model.name, "recipe": checkpoint.recipe, "run": checkpoint.run, "epoch": checkpoint.epoch, **found}


@torch.no_grad()
def _similarities(model: PairModel, pair: Pair) -> pd.DataFrame:
    assert pair.b is not None  # checked before
    z_a, z_b = model.encode(pair.a), model.encode(pair.b, "b")
    return pd.DataFrame({"model": model.name, "pair": range(len(pair)), "score": cosine(z_a, z_b).cpu().double().numpy()})


def _accuracies(model: PairModel, train: Data, test: Data, *, store: str | None = None) -> dict[str, float]:
    """Accuracy of a linear probe and of nearest neighbours on a model's features, measured as for the cards.

    Both parts are photos (uint8), labels and names of the classes.

    Returns:
        linear_accuracy and knn_accuracy.
    """
    place = None if store is None else Store(store).prepare()
    key = {"model_key": model_key(model), "method_key": digest("probes", PROBE_C), "pair_key": digest(*train[:2], *test[:2])}
    if place is not None:
        rows = place.read(key["model_key"], key["method_key"])
        rows = rows[rows["pair_key"] == key["pair_key"]]
        if len(rows):
            return dict(zip(rows["metric"], rows["value"].astype(float), strict=True))
    features = [layer_features(model, part[0])["features"] for part in (train, test)]  # mean-pooled, as for the cards
    given = features[0], train[1], features[1], test[1]
    found = {"linear_accuracy": probe_accuracy(*given), "knn_accuracy": knn_accuracy(*given)}
    if place is not None:
        names = {"model": model.name, "method": "probes", "seconds": np.nan, "seed": 0, "version": code_version()}
        rows = pd.DataFrame([{**key, **names, "metric_key": digest(name), "metric": name, "value": value} for name, value in found.items()])
        place.write(rows[COLUMNS])
    return found


def pair_scores(table: pd.DataFrame) -> pd.DataFrame:
    """Scores by groups of metrics, pair by pair, higher is better: the numbers of Fig. 14 before they are averaged over pairs.

    Implements Sec. V-D of :cite:t:`sammani2023visualizing`: the mean of SI and CI, of 1 - SD and 1 - CD, and of 1 - SAD and 1 - CAD.

    Returns:
        One row per network, method, pair and group: the facts of the network, score, method, pair, group, value; NaN where a metric of
        the group is undefined. Groups without their metrics are left out.
    """
    known = [*FACTS, "score", "method", "pair"]
    table = table.astype(dict.fromkeys(table.select_dtypes("category"), object))  # as stored tables have texts
    wide = table.set_index([*known, "metric"])["value"].unstack("metric")
    frames = []
    for group, names in GROUPS.items():
        if set(names) <= set(wide):
            mean = wide[list(names)].mean(axis=1, skipna=False)
            value = mean if group == "insertion" else 1 - mean
            frames.append(value.rename("value").reset_index().assign(group=group))
    order = {"method": list(table["method"].unique()), "model": list(table["model"].unique())}
    rows = pd.concat(frames, ignore_index=True)
    return rows.sort_values(["method", "model"], key=lambda c: c.map(order[c.name].index), kind="stable", ignore_index=True)


def family_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores of `pair_scores` averaged over the methods of a family, as Fig. 15 has them; a column family instead of method."""
    families = scores["method"].map(lambda label: registry[label.split("(")[0]].facts["family"])
    order = list(families.unique())
    same = [*FACTS, "score", "pair", "group"]
    rows = scores.assign(family=families).groupby(["family", *same], sort=False, as_index=False)["value"].mean()
    return rows.sort_values("family", key=lambda c: c.map(order.index), kind="stable", ignore_index=True)


def model_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per network, method and group: mean over pairs, how far its interval reaches (95 %, Student's), mean similarity of pairs."""
    groups = scores.groupby(["method", "group", *FACTS], sort=False)
    found = groups.agg(mean=("value", "mean"), error=("value", "sem"), similarity=("score", "mean"), pairs=("value", "count")).reset_index()
    return found.assign(error=found["error"] * special.stdtrit(found["pairs"] - 1, 0.975))


def model_table(scores: pd.DataFrame, across: str = "method") -> pd.DataFrame:
    """What is known of each network in a row: linear_accuracy, similarity of the pairs, and its mean score for each of `across`."""
    facts = scores.groupby("model")[["linear_accuracy", "score"]].mean().rename(columns={"score": "similarity"})
    return facts.join(scores.groupby(["model", across])["value"].mean().unstack())


def widths(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """How wide the intervals of Pearson's r are, by group and method; a column for each of several tables of `correlate`."""
    columns = {}
    for name, table in found.items():
        rows = table[table["statistic"] == "pearson"].sort_values("group", key=lambda c: c.map(list(GROUPS).index), kind="stable")
        rows = rows.set_index(["group", "method"])
        columns[name] = rows["high"] - rows["low"]
    return pd.DataFrame(columns)


def without_each(scores: pd.DataFrame, statistic: str = "above control") -> pd.DataFrame:
    """One recipe left out at a time: the range of a statistic of `correlate`, and without which recipes its interval holds zero.

    The scores are of one group.

    Returns:
        A row per method: min r, max r, interval holds zero without (names of recipes).
    """
    rest = {name: correlate(scores[scores["recipe"] != name]) for name in scores["recipe"].unique()}
    each = pd.concat([found.assign(left_out=name) for name, found in rest.items()])
    some = each[each["statistic"] == statistic]
    ends = some.groupby("method", sort=False)["r"].agg(["min", "max"]).add_suffix(" r")
    zero = some.query("low <= 0 <= high").groupby("method")["left_out"].agg(", ".join).reindex(ends.index).fillna("none of them")
    return ends.assign(**{"interval holds zero without": zero})


class _Shifted(nn.Module):
    """A head whose embeddings of length 1 are all moved by the same vector."""

    def __init__(self, head: nn.Module, by: float) -> None:
        super().__init__()
        self.head, self.by = head, by

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(self.head(features)) + self.by


def shifted(checkpoint: _Checkpoint, by: float = 3.0) -> _Checkpoint:
    """The same network with `by` added to each coordinate of its embeddings, of length 1, so that it finds everything alike."""
    model = checkpoint.model
    mean, std = (v.flatten().tolist() for v in (model._mean, model._std))
    head = _Shifted(model.head_a, by)
    moved = PairModel(model.features_a, head, size=model.size, mean=mean, std=std, name="shifted")
    return replace(checkpoint, model=moved, recipe="shifted", run="shifted", epoch=1)


# What Sec. V-E prints of Fig. 15, for the perturbation family over five models; the others are in the picture only.
_PRINTED = {"insertion": 0.75, "average drop": 0.65}
# Linear-probe accuracy on ImageNet in percent as the publishers of the weights state it: Table 1 of :cite:t:`chen2020big`, and the
# repositories of Barlow Twins, SimSiam (100 epochs) and MoCo v3 (ViT-B).
PUBLISHED = {"SimCLRv2 1x": 71.7, "SimCLRv2 2x": 75.6, "Barlow Twins": 73.3, "SimSiam": 68.1, "MoCo v3": 76.7}


def least_models(r: float) -> int:
    """The fewest models with which Fisher's interval of a correlation r leaves out zero."""
    return next(n for n in itertools.count(4) if fisher_interval(abs(r), n)[0] > 0)


def paper_points() -> pd.DataFrame:
    """The five models of the paper as points of its Fig. 15, made of its Tables I to IV and the published accuracies.

    Differs: the paper does not say which accuracies it took; these are the publishers' own. Its averages over a family are taken here
    over all methods and variants of the family that Tables I to IV have.

    Returns:
        A row per family, group and model, as `model_scores`: mean is the score, higher for better explanations; error is not known.
    """
    table = paper_tables("I", "II", "III", "IV")
    table["family"] = table["method"].map(lambda label: registry[label.split("(")[0]].facts["family"])
    table["group"] = table["metric"].map({metric: group for group, names in GROUPS.items() for metric in names})
    rows = table.dropna(subset=["group"]).groupby(["family", "group", "model"], sort=False)["value"].mean().rename("mean").reset_index()
    rows["mean"] = rows["mean"].where(rows["group"] == "insertion", 1 - rows["mean"])
    facts = {"recipe": rows["model"], "run": rows["model"], "linear_accuracy": rows["model"].map(PUBLISHED) / 100}
    return rows.assign(**facts, knn_accuracy=np.nan, epoch="last", error=np.nan)


def paper_correlations(*, printed: bool = False) -> pd.DataFrame:
    """Pearson's r over `paper_points` by family and group, or as the paper prints it.

    Returns:
        family, group, statistic, r, low, high (the interval that five models allow, Fisher's), models.
    """
    found = {("perturbation", group): r for group, r in _PRINTED.items()}
    if not printed:
        groups = paper_points().groupby(["family", "group"], sort=False)
        found = {key: float(np.corrcoef(part["mean"], part["linear_accuracy"])[0, 1]) for key, part in groups}
    rows = [(*key, "pearson", r, *fisher_interval(r, len(PUBLISHED)), len(PUBLISHED)) for key, r in found.items()]
    return pd.DataFrame(rows, columns=["family", "group", "statistic", "r", "low", "high", "models"])
