"""Corpus attributions: which part of an image makes it like a corpus, and is that part what counts?

Maps of one-sided questions are judged by insertion and deletion, as in :cite:t:`lin2023contrastive`, of what they did not see: the
similarity to *another* sample of the corpus, and the probability that a linear classifier gives the corpus's class.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn

from xaicl_lib.errors import InputError, unknown
from xaicl_lib.methods import explain, methods
from xaicl_lib.metrics import measure
from xaicl_lib.metrics.randomisation import randomised, rank_correlation
from xaicl_lib.model import PairModel, embed_corpus
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.scores import Score, class_evidence, corpus_similarity
from xaicl_lib.statistics.paired import holm, interval, signed_ranks, summarise

TARGETS = ("contrastive", "corpus", "label-free", "contrastive label-free")  # what a way explains
ITSELF = TARGETS[2:]  # those that ask what makes an image like itself, and know of no corpus
CAPTUM = {"integrated_gradients": "IntegratedGradients", "gradient_shap": "GradientShap"}


@dataclass(frozen=True)
class Way:
    """How a map is made.

    Attributes:
        method: of the registry, or of captum by a name of `CAPTUM`.
        target: one of `TARGETS`: similarity to the corpus minus that to the foil (contrastive), to the corpus alone, to the explicand
            itself (label-free), or to the explicand itself minus that to the foil (contrastive label-free).
        params: of the method.
    """

    method: str
    target: str = "contrastive"
    params: Mapping[str, Any] | None = None


RISE = {"masks": 500, "centred": True}
WAYS: dict[str, Way] = {
    **{f"RISE, {target}": Way("rise", target, RISE) for target in TARGETS},
    **{f"IG, {target}": Way("integrated_gradients", target, {"n_steps": 20}) for target in TARGETS},
    "SHAP, contrastive": Way("gradient_shap", params={"n_samples": 20}),
    "occlusion, contrastive": Way("conditional_occlusion"),
    "Grad-CAM, contrastive": Way("grad_cam"),
    "random map": Way("random_map"),
}


def possible(ways: Mapping[str, Way] = WAYS) -> dict[str, Way]:
    """The ways whose packages are installed: those of captum need captum."""
    there = importlib.util.find_spec("captum") is not None
    return {label: way for label, way in ways.items() if there or way.method not in CAPTUM}


@dataclass(frozen=True)
class Setting:
    """One question about a class: why are these images like it?

    Attributes:
        name: of the class.
        index: of the class, for the classifier.
        explicands: (n, 3, h, w) images to explain.
        same: (n,) whether an explicand is of the class itself.
        corpus, foil: images to explain with.
        judge: a score of side a to judge by: the similarity to other samples of corpus and foil.
    """

    name: str
    index: int
    explicands: Float[Tensor, "n 3 h w"]
    same: Bool[Tensor, " n"]
    corpus: Float[Tensor, "m 3 h w"]
    foil: Float[Tensor, "k 3 h w"]
    judge: Score

    def embedded(self, model: PairModel) -> tuple[Float[Tensor, "m d"], Float[Tensor, "k d"]]:
        """Corpus and foil in the space of a model."""
        return embed_corpus(model, self.corpus), embed_corpus(model, self.foil)


def settings(
    model: PairModel,
    images: Float[Tensor, "n 3 h w"],
    labels: Int[Tensor, " n"],
    names: Sequence[str],
    *,
    classes: Sequence[int] | None = None,
    explicands: int = 4,
    corpus: int = 20,
    foil: int = 60,
    generator: Generator | None = None,
) -> list[Setting]:
    """A question about each class, from one pool of labelled images whose parts do not overlap.

    Args:
        model: that embeds the pool.
        images, labels, names: the pool, its classes 0, 1, ..., and their names.
        classes: to ask about; None is all.
        explicands: of the class and, as many, of other classes.
        corpus: images of the class; as many others to judge by.
        foil: images of other classes; as many others to judge by.
        generator: whose seed gives the choice for each class; None is seed 0.

    Raises:
        InputError: one class only, labels of another number, or a class with too few images.
    """
    if len(labels) != len(images) or len(labels.unique()) < 2:
        raise InputError(f"expected a label of at least two classes for each image, got {len(labels.unique())} classes for {len(images)}")
    seed = generator.initial_seed() if generator else 0
    made = []
    for k in range(len(names)) if classes is None else classes:
        generator = Generator().manual_seed(seed * len(names) + k)  # a class's own, whichever others are asked about
        own = _shuffled((labels == k).nonzero()[:, 0], generator)
        others = _shuffled((labels != k).nonzero()[:, 0], generator)
        if len(own) < explicands + 2 * corpus or len(others) < explicands + 2 * foil:
            raise InputError(
                f"expected at least {explicands + 2 * corpus} images of {names[k]!r} and {explicands + 2 * foil} others, "
                f"got {len(own)} and {len(others)}"
            )
        mine, inside, seen = own[: explicands + 2 * corpus].split([explicands, corpus, corpus])
        theirs, outside, unseen = others[: explicands + 2 * foil].split([explicands, foil, foil])
        same = torch.arange(2 * explicands) < explicands
        by = corpus_similarity(embed_corpus(model, images[seen]), embed_corpus(model, images[unseen]))
        made.append(Setting(names[k], int(k), images[torch.cat([mine, theirs])], same, images[inside], images[outside], by))
    return made


def _shuffled(items: Tensor, generator: Generator) -> Tensor:
    return items[torch.randperm(len(items), generator=generator)]


def explain_corpus(
    model: PairModel, images: Float[Tensor, "n 3 h w"], way: Way, corpus: Tensor, foil: Tensor, seed: int = 0
) -> Explanation:
    """A one-sided explanation made in this way.

    Label-free ones explain the dot product with the image's own embedding, held fixed; contrastive label-free ones the cosine with it,
    minus the mean cosine with the foil, both as in the program that :cite:t:`lin2023contrastive` published: the contrastive corpus
    similarity whose corpus is the image itself.

    Raises:
        InputError: an unknown target or method.
    """
    if way.target not in TARGETS:
        raise unknown("target", way.target, TARGETS)
    if way.method not in CAPTUM and way.method not in methods:
        raise unknown("method", way.method, [*(m.name for m in methods), *CAPTUM])
    if way.target in ITSELF:
        against = None if way.target == "label-free" else foil
        return Explanation.concat([_explain_itself(model, image, way, against, seed) for image in images.split(1)])
    return _explain(model, Pair(images), way, corpus_similarity(corpus, foil if way.target == TARGETS[0] else None), seed)


def _explain_itself(model: PairModel, image: Float[Tensor, "1 3 h w"], way: Way, foil: Tensor | None, seed: int) -> Explanation:
    own = embed_corpus(model, image)
    return _explain(model, Pair(image), way, corpus_similarity(own, foil, normalize=foil is not None), seed)


def _explain(model: PairModel, pair: Pair, way: Way, score: Score, seed: int) -> Explanation:
    generator, params = Generator().manual_seed(seed), dict(way.params or {})
    if way.method not in CAPTUM:
        return explain(model, pair, way.method, score=score, generator=generator, **params)
    import captum.attr

    from xaicl_lib.adapters import captum_explain

    attribution = getattr(captum.attr, CAPTUM[way.method])
    made = []
    for k in range(len(pair)):  # one at a time, so that the random numbers of one image do not depend on the others
        if way.method == "gradient_shap":
            params["baselines"] = tuple(torch.zeros_like(model.normalize(side[:1])) for side in pair.sides)
        made.append(captum_explain(model, pair[k], attribution, score=score, generator=Generator().manual_seed(seed), **params))
    return Explanation.concat(made)


def judge(
    model: PairModel,
    setting: Setting,
    explanation: Explanation,
    classifier: nn.Module,
    *,
    step: int | None = None,
    chunk: int | None = None,
) -> pd.DataFrame:
    """Insertion and deletion of the judging corpus similarity and of the probability of the corpus's class, image by image.

    Args:
        model: whose scores are watched.
        setting: the question.
        explanation: of its explicands.
        classifier: from embeddings to class scores.
        step: pixels at a time; None is a row's.
        chunk: images in flight.

    Returns:
        One row per explicand and metric: item, scenario (same class, other class), metric (such as "insertion, similarity"), value: the
        area under the curve, in units of the score.
    """
    scores = {"similarity": setting.judge, "class probability": class_evidence(classifier, setting.index, probability=True)}
    frames = []
    for what, score in scores.items():
        values = measure(model, Pair(setting.explicands), explanation, ["SI", "SD"], step, score=score, chunk=chunk)
        for name, area in zip(("insertion", "deletion"), values.values(), strict=True):
            frames.append(pd.DataFrame({"metric": f"{name}, {what}", "item": range(len(area)), "value": area.cpu().double().numpy()}))
    scenario = np.where(setting.same.numpy(), "same class", "other class")
    return pd.concat(frames, ignore_index=True).assign(scenario=lambda t: scenario[t["item"]])


def evaluate_corpora(
    model: PairModel,
    asked: Sequence[Setting],
    classifier: nn.Module,
    ways: Mapping[str, Way] = WAYS,
    *,
    step: int | None = None,
    seed: int = 0,
    chunk: int | None = None,
) -> pd.DataFrame:
    """The evaluation of :cite:t:`lin2023contrastive`: every way's maps, judged by insertion and deletion.

    Differs: maps are judged by other samples of corpus and foil than they were made with, so that a way cannot win by fitting a sample.

    Returns:
        The rows of `judge` with model, way, corpus (the class asked about) and pair (the explicand, counted over all classes).
    """
    frames, first = [], 0
    for setting in asked:
        z = setting.embedded(model)
        for label, way in ways.items():
            made = explain_corpus(model, setting.explicands, way, *z, seed)
            rows = judge(model, setting, made, classifier, step=step, chunk=chunk)
            frames.append(rows.assign(model=model.name, way=label, corpus=setting.name, pair=rows["item"] + first))
        first += len(setting.explicands)
    order = ["model", "way", "corpus", "pair", "scenario", "metric", "value"]
    return pd.concat(frames, ignore_index=True)[order]


def against(table: pd.DataFrame, control: str = "random map", level: float = 0.05) -> pd.DataFrame:
    """Every way against one control: the mean difference over the same explicands, its interval, and a paired test.

    Wilcoxon's signed-rank test, corrected by Holm's procedure over the ways of a metric and scenario.

    Returns:
        One row per metric, scenario and way: mean, low, high (of the difference, signed so that more is better: way minus control for
        insertion, control minus way for deletion), n, p (corrected), better, worse, undefined (explicands left out, for which the way or
        the control has no value).

    Raises:
        InputError: no such control in the table.
    """
    if control not in set(table["way"]):
        raise unknown("way of the table", control, table["way"].unique())
    frames = []
    for (metric, scenario), part in table.groupby(["metric", "scenario"], sort=False):
        wide = part.pivot(index=["model", "pair"], columns="way", values="value")[list(dict.fromkeys(part["way"]))]
        sign = 1 if metric.startswith("insertion") else -1
        gain = (sign * wide.sub(wide[control], axis=0)).drop(columns=control)
        means = summarise(gain.melt(var_name="way", value_name="value"), ["way"])
        p = holm([signed_ranks(gain[way].to_numpy()) for way in means["way"]])
        frames.append(means.assign(metric=metric, scenario=scenario, p=p))
    found = pd.concat(frames, ignore_index=True)
    found["better"], found["worse"] = (found["p"] < level) & (found["mean"] > 0), (found["p"] < level) & (found["mean"] < 0)
    return found[["metric", "scenario", "way", "mean", "low", "high", "n", "p", "better", "worse", "undefined"]]


def between_targets(
    table: pd.DataFrame, one: str = "contrastive", others: Sequence[str] = ("label-free",), level: float = 0.05
) -> pd.DataFrame:
    """What explaining one target rather than another gains: the same method, explicand by explicand.

    Counts of tests against a control do not answer this: two ways may both beat it, and one of them the other. Wilcoxon's signed-rank
    test over explicands, corrected by Holm's procedure for all rows that come back.

    Args:
        table: of `evaluate_corpora`.
        one, others: targets; methods that have not both are left out.
        level: of the corrected test.

    Returns:
        One row per other target, model, metric, scenario and method: mean, low, high (of the difference, signed so that more is better for
        `one`; bootstrap over explicands), effect (the mean in standard deviations of the difference), n, p, better, worse.

    Raises:
        InputError: a target that no way of the table has.
    """
    split = table["way"].astype(str).str.split(", ", n=1)
    table = table.assign(method=split.str[0], target=split.str[1])
    for target in (one, *others):
        if target not in set(table["target"]):
            raise unknown("target of the table", target, table["target"].dropna().unique())
    rows, differences = [], []
    for (model, metric, scenario, method), part in table.groupby(["model", "metric", "scenario", "method"], sort=False, observed=True):
        wide = part.dropna(subset=["target"]).pivot(index="pair", columns="target", values="value")
        sign = 1 if metric.startswith("insertion") else -1
        for other in others:
            if one in wide and other in wide:
                differences.append((sign * (wide[one] - wide[other])).dropna().to_numpy(float))
                rows.append((other, model, metric, scenario, method))
    found = pd.DataFrame(rows, columns=["other", "model", "metric", "scenario", "method"])
    found["mean"] = [d.mean() for d in differences]
    found[["low", "high"]] = [interval(d) for d in differences]
    found["effect"] = [d.mean() / d.std(ddof=1) for d in differences]
    found["n"], found["p"] = [len(d) for d in differences], holm([signed_ranks(d) for d in differences])
    sure = found["p"] < level
    return found.assign(better=sure & (found["mean"] > 0), worse=sure & (found["mean"] < 0))


def vary_sizes(
    model: PairModel,
    asked: Sequence[Setting],
    classifier: nn.Module,
    *,
    corpus_sizes: Sequence[int] = (1, 3, 10),
    foil_sizes: Sequence[int] = (0, 1, 3, 10, 30),
    draws: int = 2,
    way: Way = WAYS["occlusion, contrastive"],
    step: int | None = None,
    generator: Generator | None = None,
) -> pd.DataFrame:
    """How small a corpus, and how small a foil, still gives the map of the whole one.

    Corpus and foil vary one at a time, the other staying whole; each size is drawn `draws` times. Foil size 0 is the corpus alone.

    Returns:
        One row per varied set ("corpus", "foil"), size, draw, explicand and metric; metrics are those of `judge` and `agreement`: the rank
        correlation with the map of the whole corpus and foil.

    Raises:
        InputError: a size that is larger than the set, or an empty corpus.
    """
    generator, frames, first = generator or Generator().manual_seed(0), [], 0
    for setting in asked:
        z = setting.embedded(model)
        whole = explain_corpus(model, setting.explicands, way, *z)
        for varied, sizes in (("corpus", corpus_sizes), ("foil", foil_sizes)):
            for size in sizes:
                for draw in range(draws):
                    one = replace(way, target="corpus") if varied == "foil" and not size else way
                    made = explain_corpus(model, setting.explicands, one, *_cut(*z, varied, size, generator))
                    rows = judge(model, setting, made, classifier, step=step)
                    alike = pd.DataFrame(
                        {"metric": "agreement", "item": range(len(made)), "value": rank_correlation(made.a, whole.a).cpu()}
                    )
                    rows = pd.concat([rows, alike], ignore_index=True).drop(columns="scenario")
                    frames.append(rows.assign(model=model.name, varied=varied, size=size, draw=draw, pair=rows["item"] + first))
        first += len(setting.explicands)
    return pd.concat(frames, ignore_index=True)[["model", "varied", "size", "draw", "pair", "metric", "value"]]


def _cut(corpus: Tensor, foil: Tensor, varied: str, size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Corpus and foil, one of them cut to a random part of that size."""
    given = corpus if varied == "corpus" else foil
    if not (0 if varied == "foil" else 1) <= size <= len(given):
        raise InputError(f"expected a {varied} of at most {len(given)}, and of at least one for a corpus, got {size}")
    part = given[torch.randperm(len(given), generator=generator)[: max(size, 1)].to(given.device)]
    return (part, foil) if varied == "corpus" else (corpus, part)


def sanity(
    model: PairModel,
    asked: Sequence[Setting],
    classifier: nn.Module,
    ways: Mapping[str, Way],
    *,
    step: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """The same ways on a model whose weights are in a random order, judged on the intact one; after :cite:t:`adebayo2018sanity`.

    A way whose maps come from what was learned must lose what it gained; one that keeps it draws edges. The random model embeds corpus
    and foil anew.

    Returns:
        Rows as of `evaluate_corpora`, with `agreement` among the metrics: the rank correlation with the map of the intact model.
    """
    one = asked[0].explicands[:1]
    shuffled = randomised(model, Pair(one, one), Generator().manual_seed(seed))
    frames, first = [], 0
    for setting in asked:
        z, z_shuffled = setting.embedded(model), setting.embedded(shuffled)
        for label, way in ways.items():
            intact = explain_corpus(model, setting.explicands, way, *z, seed)
            made = explain_corpus(shuffled, setting.explicands, way, *z_shuffled, seed)
            alike = rank_correlation(made.a, intact.a).cpu().numpy()
            scenario = np.where(setting.same.numpy(), "same class", "other class")
            agreement = pd.DataFrame({"metric": "agreement", "item": range(len(alike)), "value": alike, "scenario": scenario})
            rows = pd.concat([judge(model, setting, made, classifier, step=step), agreement], ignore_index=True)
            frames.append(rows.assign(model=model.name, way=label, corpus=setting.name, pair=rows["item"] + first))
        first += len(setting.explicands)
    return pd.concat(frames, ignore_index=True)[["model", "way", "corpus", "pair", "scenario", "metric", "value"]]
