"""Corpus attributions: which part of an image makes it like a corpus, and is that part what counts?

Maps of one-sided questions are measured by insertion and deletion, as in :cite:t:`lin2023contrastive`, of what they did not see: the
similarity to *another* sample of the corpus, and the probability that a linear classifier gives the corpus's class.
"""

import importlib.util
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn

from xaicl_lib.data.corpora import scenes_of
from xaicl_lib.data.scenes import SHAPES, scene_set
from xaicl_lib.errors import InputError, require, unknown
from xaicl_lib.evaluation.method_spec import Method, Methods, MethodSpec, method_specs
from xaicl_lib.methods import methods as registry
from xaicl_lib.metrics import measure
from xaicl_lib.metrics.randomisation import randomised, rank_correlation
from xaicl_lib.model import PairModel, embed_corpus
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.probes import linear_probe
from xaicl_lib.scores import Score, class_evidence, corpus_similarity, cosine
from xaicl_lib.statistics.paired import paired_difference

TARGETS = ("contrastive", "corpus", "label-free", "contrastive label-free")  # what a method explains
_ITSELF = TARGETS[2:]  # those that ask what makes an image like itself, and know of no corpus
CAPTUM = {"integrated_gradients": "IntegratedGradients", "gradient_shap": "GradientShap"}


RISE = {"masks": 500, "centred": True}
METHODS: dict[str, Method] = {
    **{f"RISE, {target}": ("rise", {**RISE, "target": target}) for target in TARGETS},
    **{f"IG, {target}": ("integrated_gradients", {"n_steps": 20, "target": target}) for target in TARGETS},
    "SHAP, contrastive": ("gradient_shap", {"n_samples": 20}),
    "occlusion, contrastive": "conditional_occlusion",
    "Grad-CAM, contrastive": "grad_cam",
    "random map": "random_map",
}


def installed() -> dict[str, MethodSpec]:
    """The methods whose packages are installed: those of captum need captum."""
    there = importlib.util.find_spec("captum") is not None
    return {label: spec for label, spec in method_specs(METHODS).items() if there or spec.name not in CAPTUM}


def shape_corpus(shape: str, size: int = 64, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Scenes with a shape, scenes with the other ones, and one more scene with it: a corpus, its foil, and an explicand."""
    generator = Generator().manual_seed(seed)
    corpus = scenes_of("shape", shape, 50, size, generator=generator)
    foil = torch.cat([scenes_of("shape", other, 20, size, generator=generator) for other in SHAPES if other != shape])
    return corpus, foil, scenes_of("shape", shape, 5, size, generator=generator)[4:]


def likeness(model: PairModel, shape: str, *, seed: int = 0) -> tuple[Tensor, Score]:
    """A scene with a shape, and the score of being more like others with it than like validation scenes of any shape."""
    own = scenes_of("shape", shape, 50, model.size, generator=Generator().manual_seed(seed))
    rest = scene_set("val", model.size, 200)[0].float() / 255
    return own[-1:], model.like(own[:-1], rest)


@torch.no_grad()
def over_all_pairs(model: PairModel, explicand: Float[Tensor, "1 3 h w"], corpus: Tensor, foil: Tensor) -> float:
    """The contrastive corpus similarity as it is written: a mean of cosines over the corpus minus one over the foil, image by image."""
    z = model.encode(explicand)
    own, other = (torch.stack([cosine(z, one[None]) for one in embed_corpus(model, side)]).mean() for side in (corpus, foil))
    return float(own - other)


@dataclass(frozen=True)
class Setting:
    """One question about a class: why are these images like it?"""

    name: str  #: of the class
    index: int  #: of the class, for the classifier
    explicands: Float[Tensor, "n 3 h w"]  #: images to explain
    same: Bool[Tensor, " n"]  #: whether an explicand is of the class itself
    corpus: Float[Tensor, "m 3 h w"]  #: images to explain with
    foil: Float[Tensor, "k 3 h w"]  #: likewise
    held_out: Score  #: a score of side a to measure by: the similarity to other samples of corpus and foil

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
    seed: int = 0,
) -> list[Setting]:
    """A question about each class, from one pool of labelled images whose parts do not overlap.

    Args:
        images, labels, names: the pool, its classes 0, 1, ..., and their names.
        classes: to ask about; None is all.
        explicands: of the class and, as many, of other classes.
        corpus: images of the class; as many others to measure by.
        foil: images of other classes; as many others to measure by.

    Raises:
        InputError: one class only, labels of another number, or a class with too few images.
    """
    if len(labels) != len(images) or len(labels.unique()) < 2:
        raise InputError(f"expected a label of at least two classes for each image, got {len(labels.unique())} classes for {len(images)}")
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


def shape_settings(
    model: PairModel, count: int, *, classes: Sequence[int] | None = None, explicands: int = 4, seed: int = 0
) -> tuple[list[Setting], nn.Module]:
    """Questions about the shapes of so many validation scenes, and a linear classifier that learned them from as many others."""
    images, labels, _ = scene_set("val", model.size, count)
    learned, known, _ = scene_set("train", model.size, count)
    probe = linear_probe(embed_corpus(model, learned.float() / 255), known[:, 0])
    sizes = {"explicands": explicands, "corpus": 30, "foil": 100, "seed": seed}
    return settings(model, images.float() / 255, labels[:, 0], SHAPES, classes=classes, **sizes), probe


def explain_corpus(
    model: PairModel, images: Float[Tensor, "n 3 h w"], method: Method, corpus: Tensor, foil: Tensor, target: str = ""
) -> Explanation:
    """A one-sided explanation of what makes each image like a corpus rather than like its foil.

    Args:
        model: whose space corpus and foil are in.
        method: of the registry, or of captum by a name of `CAPTUM`, with its parameters; among these `target`, one of `TARGETS`:
            similarity to the corpus minus that to the foil (contrastive, if none is given), to the corpus alone, to the image itself
            (label-free), or to the image itself minus that to the foil (contrastive label-free).
        target: instead of the method's own.

    Label-free ones explain the dot product with the image's own embedding, held fixed; contrastive label-free ones the cosine with it,
    minus the mean cosine with the foil, both as in the program that :cite:t:`lin2023contrastive` published: the contrastive corpus
    similarity whose corpus is the image itself.

    Raises:
        InputError: an unknown target or method.
    """
    (given,) = method_specs([method]).values()
    target = target or str(given.params.get("target", TARGETS[0]))
    spec = MethodSpec(given.name, {name: value for name, value in given.params.items() if name != "target"})
    require("target", TARGETS, target)
    if spec.name not in CAPTUM and spec.name not in registry:
        raise unknown("method", spec.name, [*(m.name for m in registry), *CAPTUM])
    if target in _ITSELF:
        against = None if target == "label-free" else foil
        own = [corpus_similarity(embed_corpus(model, image), against, normalize=against is not None) for image in images.split(1)]
        return Explanation.concat([_explain(model, Pair(x), spec, score) for x, score in zip(images.split(1), own, strict=True)])
    return _explain(model, Pair(images), spec, corpus_similarity(corpus, foil if target == TARGETS[0] else None))


def _explain(model: PairModel, pair: Pair, spec: MethodSpec, score: Score) -> Explanation:
    if spec.name not in CAPTUM:
        return spec.explain(model, pair, score=score)
    import captum.attr

    from xaicl_lib.adapters import captum_explain

    attribution, params = getattr(captum.attr, CAPTUM[spec.name]), dict(spec.params)
    made = []
    for k in range(len(pair)):  # one at a time, so that the random numbers of one image do not depend on the others
        if spec.name == "gradient_shap":
            params["baselines"] = tuple(torch.zeros_like(model.normalize(side[:1])) for side in pair.sides)
        made.append(captum_explain(model, pair[k], attribution, score=score, generator=Generator().manual_seed(0), **params))
    return Explanation.concat(made)


def _measured(
    model: PairModel, setting: Setting, first: int, made: Explanation, classifier: nn.Module, step: int | None, whole: Explanation | None
) -> pd.DataFrame:
    """Insertion and deletion of the held-out corpus similarity and of the probability of the corpus's class, image by image.

    Returns:
        One row per explicand and metric: model, pair (the explicand, counted from `first`), scenario (same class, other class), metric
        (such as "insertion, similarity"), value: the area under the curve, in units of the score. With `whole` also `agreement`, the rank
        correlation of the maps with those.
    """
    scores = {"similarity": setting.held_out, "class probability": class_evidence(classifier, setting.index, probability=True)}
    values: dict[str, Tensor] = {}
    for what, score in scores.items():
        areas = measure(model, Pair(setting.explicands), made, ["SI", "SD"], step, score=score)
        values |= {f"{name}, {what}": area for name, area in zip(("insertion", "deletion"), areas.values(), strict=True)}
    values |= {} if whole is None else {"agreement": rank_correlation(made.a, whole.a)}
    facts = {"pair": range(first, first + len(made)), "scenario": np.where(setting.same.numpy(), "same class", "other class")}
    wide = pd.DataFrame({**facts, **{name: value.cpu().double().numpy() for name, value in values.items()}})
    return wide.melt(list(facts), var_name="metric").assign(model=model.name)


def _numbered(asked: Sequence[Setting]) -> Iterator[tuple[int, Setting]]:
    """Each question with the number of its first explicand among those of all."""
    return zip(itertools.accumulate([len(one.explicands) for one in asked], initial=0), asked, strict=False)


def evaluate_corpora(
    model: PairModel,
    asked: Sequence[Setting],
    classifier: nn.Module,
    methods: Methods = METHODS,
    *,
    step: int | None = None,
    shuffled: bool = False,
) -> pd.DataFrame:
    """The evaluation of :cite:t:`lin2023contrastive`: every method's maps, measured by insertion and deletion.

    Differs: maps are measured by other samples of corpus and foil than they were made with, so that a method cannot win by fitting a
    sample.

    Args:
        classifier: from embeddings to class scores.
        methods: as for `explain_corpus`, with labels such as "RISE, label-free": a method's own and, if there is one, its target.
        step: pixels at a time; None is a row's.
        shuffled: explain a model whose weights are in a random order, which embeds corpus and foil anew, and measure its maps on the intact
            one; after :cite:t:`adebayo2018sanity`. A method whose maps come from what was learned must lose what it gained; one that keeps
            it draws edges.

    Returns:
        One row per model, method and its target (in the column way), corpus (the class asked about), pair (the explicand, counted over
        all classes), scenario (same class, other class) and metric ("insertion, similarity" and so on): value, the area under the curve.
        With `shuffled` `agreement` is among the metrics: the rank correlation with the map of the intact model.
    """
    one = asked[0].explicands[:1]
    explained = randomised(model, Pair(one, one)) if shuffled else model
    frames = []
    for first, setting in _numbered(asked):
        z, z_intact = setting.embedded(explained), setting.embedded(model) if shuffled else None
        for label, method in method_specs(methods).items():
            made = explain_corpus(explained, setting.explicands, method, *z)
            intact = None if z_intact is None else explain_corpus(model, setting.explicands, method, *z_intact)
            rows = _measured(model, setting, first, made, classifier, step, intact)
            frames.append(rows.assign(way=label, corpus=setting.name))
    return pd.concat(frames, ignore_index=True)[["model", "way", "corpus", "pair", "scenario", "metric", "value"]]


def against(table: pd.DataFrame, control: str = "random map") -> pd.DataFrame:
    """Every way against one control: the mean difference over the same explicands, its interval, and a paired test.

    Wilcoxon's signed-rank test, corrected by Holm's procedure over the ways of a model, metric and scenario.

    Returns:
        One row per model, metric, scenario and way: target, mean, low, high (of the difference, signed so that more is better: way minus
        control for insertion, control minus way for deletion), effect, n, p (corrected), better, worse, undefined (explicands left out,
        for which the way or the control has no value).

    Raises:
        InputError: no such control in the table.
    """
    by = ["model", "metric", "scenario"]
    found = paired_difference(_more_is_better(table), "way", "pair", by, against=control, within=by)
    return _decided(found.assign(target=found["way"].str.split(", ").str[1]).drop(columns="against"))


def between_targets(table: pd.DataFrame, one: str = "contrastive") -> pd.DataFrame:
    """What explaining one target rather than another gains: the same method, explicand by explicand.

    Counts of tests against a control do not answer this: two ways may both beat it, and one of them the other. Wilcoxon's signed-rank
    test over explicands, corrected by Holm's procedure for all rows that come back.

    The target `one` is compared with all others of the table; methods that have not both are left out.

    Returns:
        One row per other target, model, metric, scenario and method: mean, low, high (of the difference, signed so that more is better for
        `one`; bootstrap over explicands), effect (the mean in standard deviations of the difference), n, p, better, worse; way, the method
        and the model.

    Raises:
        InputError: a target that no way of the table has.
    """
    by = ["model", "metric", "scenario", "method"]
    split = table["way"].astype(str).str.split(", ", n=1)
    table = _more_is_better(table).assign(method=split.str[0], target=split.str[1]).dropna(subset=["target"])
    others = [target for target in TARGETS if target in set(table["target"]) and target != one]
    found = paired_difference(table, "target", "pair", by, against=others, names=[one]).rename(columns={"against": "other"})
    return _decided(found.assign(way=found["method"] + ", " + found["model"]))


def _more_is_better(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(value=table["value"].where(table["metric"].str.startswith("insertion"), -table["value"]))


def _decided(found: pd.DataFrame) -> pd.DataFrame:
    sure = found["significant"]
    return found.assign(better=sure & (found["mean"] > 0), worse=sure & (found["mean"] < 0))


def tally(found: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Of how many questions of `against` or `between_targets` a test says better, and worse: effect (the median), better, worse,
    questions."""
    asked = found.groupby(list(by), sort=False)
    counts = asked.agg(effect=("effect", "median"), better=("better", "sum"), worse=("worse", "sum"), questions=("n", "size"))
    return counts.reset_index()


def vary_sizes(
    model: PairModel,
    asked: Sequence[Setting],
    classifier: nn.Module,
    *,
    corpus_sizes: Sequence[int] = (1, 3, 10),
    foil_sizes: Sequence[int] = (0, 1, 3, 10, 30),
    repeats: int = 2,
    method: Method = "conditional_occlusion",
    step: int | None = None,
) -> pd.DataFrame:
    """How small a corpus, and how small a foil, still gives the map of the whole one.

    Corpus and foil vary one at a time, the other staying whole; each size is drawn `repeats` times. Foil size 0 is the corpus alone.

    Returns:
        One row per varied set ("corpus", "foil"), size, draw, explicand and metric; metrics are those of `evaluate_corpora` and
        `agreement`: the rank correlation with the map of the whole corpus and foil.

    Raises:
        InputError: a size that is larger than the set, or an empty corpus.
    """
    generator, frames = Generator().manual_seed(0), []
    for first, setting in _numbered(asked):
        z = setting.embedded(model)
        whole = explain_corpus(model, setting.explicands, method, *z)
        for varied, sizes in (("corpus", corpus_sizes), ("foil", foil_sizes)):
            for size in sizes:
                for draw in range(repeats):
                    target = "corpus" if varied == "foil" and not size else ""
                    made = explain_corpus(model, setting.explicands, method, *_cut(*z, varied, size, generator), target)
                    rows = _measured(model, setting, first, made, classifier, step, whole)
                    frames.append(rows.assign(varied=varied, size=size, draw=draw))
    return pd.concat(frames, ignore_index=True)[["model", "varied", "size", "draw", "pair", "metric", "value"]]


def _cut(corpus: Tensor, foil: Tensor, varied: str, size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Corpus and foil, one of them cut to a random part of that size."""
    given = corpus if varied == "corpus" else foil
    if not (0 if varied == "foil" else 1) <= size <= len(given):
        raise InputError(f"expected a {varied} of at most {len(given)}, and of at least one for a corpus, got {size}")
    part = given[torch.randperm(len(given), generator=generator)[: max(size, 1)].to(given.device)]
    return (part, foil) if varied == "corpus" else (corpus, part)


def gains_without_learning(table: pd.DataFrame, checked: pd.DataFrame, metric: str = "insertion, class probability") -> pd.DataFrame:
    """What is gained over random maps with learned weights, and with weights in a random order.

    The tables are of `evaluate_corpora` on one model, the second with its weights `shuffled`.

    Returns:
        One row per weights ("learned", "random order") and way: mean, low, high (of the difference to the control on the same explicand).
    """
    both = pd.concat([table.assign(weights="learned"), checked.assign(weights="random order")])
    both = both[(both["metric"] == metric) & both["way"].isin(checked["way"].unique())]
    return paired_difference(both, "way", "pair", ["weights"], against="random map")
