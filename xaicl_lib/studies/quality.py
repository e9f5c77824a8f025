"""Explanations of classes by networks that differ in their loss: do their maps tell two classes in one image apart?

A `Classifier` is a network with a score for the evidence of each class: the logit, or how much more alike an embedding is to the photos
of the class than to all others. Maps of one image for two classes then compare across losses, where the place of either class is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xaicl_lib.data.scenes import scene_set
from xaicl_lib.errors import InputError
from xaicl_lib.evaluation.method_spec import Method, Methods, method_specs
from xaicl_lib.metrics.localisation import energy, pointing_game
from xaicl_lib.model import PairModel, embed_corpus
from xaicl_lib.pair import Pair, resize_map
from xaicl_lib.scores import Score, class_evidence, corpus_similarity
from xaicl_lib.statistics.paired import paired_difference
from xaicl_lib.studies.text_localisation import two_object_scenes as two_object_scenes
from xaicl_lib.zoo import load_classifier, load_model, model_card

TEMPERATURES = (1e-3, 1e2)  # between which the calibrated one is looked for


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network and its score for each class."""

    name: str  #: in tables, such as "supervised, logit"
    model: PairModel  #: whose embeddings the scores take
    scores: tuple[Score, ...]  #: one-sided, one for each class
    temperature: float = 1.0  #: that evidence is divided by before a softmax makes probabilities of it; see `calibrated`

    @torch.no_grad()
    def evidence(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n classes"]:
        """The score of every class for every image."""
        z = self.model.encode(images)
        return torch.stack([score(z, None) for score in self.scores], 1)


def by_logits(name: str, device: str = "auto") -> Classifier:
    """A bundled model that was trained to classify, with its own logits.

    Raises:
        InputError: a model without a classifier.
    """
    head, classes = load_classifier(name, device), model_card(name)["recipe"]["classes"]
    return Classifier(f"{name}, logit", load_model(name, device), tuple(class_evidence(head, k) for k in range(classes)))


def by_corpus(model: PairModel, embeddings: Float[Tensor, "m d"], labels: Int[Tensor, " m"]) -> Classifier:
    """Any model, with the similarity to the class's corpus minus that to all others' (`xaicl_lib.scores.corpus_similarity`).

    Labels are 0, 1, ...; no class is without an image.

    Raises:
        InputError: one class only, a class without images, or labels of another number than embeddings.
    """
    if labels.shape != embeddings.shape[:1]:
        raise InputError(f"expected one label for each of {len(embeddings)} embeddings, got {len(labels)}")
    classes = labels.unique().tolist()
    if len(classes) < 2 or classes != list(range(len(classes))):
        raise InputError(f"expected labels of at least two classes 0, 1, ..., got {classes[:5]}")
    scores = [corpus_similarity(embeddings[labels == k], embeddings[labels != k]) for k in classes]
    return Classifier(f"{model.name}, corpus", model, tuple(scores))


def scene_classifiers(count: int, device: str = "auto") -> list[Classifier]:
    """Three that name the shape of a scene, two of them by corpora of so many scenes: a network by its logits, the same by corpora, and
    one that was trained without labels."""
    images, labels, _ = scene_set("train", 64, count)
    models = [load_model(name, device) for name in ("scenes_supervised", "scenes_simclr")]
    corpora = [by_corpus(model, embed_corpus(model, images.float() / 255), labels[:, 0]) for model in models]
    return [by_logits("scenes_supervised", device), *corpora]


def calibrated(classifier: Classifier, images: Float[Tensor, "n 3 h w"], labels: Int[Tensor, " n"]) -> Classifier:
    """The classifier with the temperature that makes its probabilities most likely on held-out images, so that several can be compared.

    Implements temperature scaling, Sec. 4.2 of :cite:t:`guo2017calibration`: logits and similarities have scales of their own, the
    probabilities of the right class do not.
    """
    from scipy.optimize import minimize_scalar  # takes a while to import, which contrasts need not wait for

    evidence, target = classifier.evidence(images).cpu().double(), labels.cpu()
    found = minimize_scalar(
        lambda log_t: F.cross_entropy(evidence / np.exp(log_t), target).item(), bounds=np.log(TEMPERATURES), method="bounded"
    )
    return replace(classifier, temperature=float(np.exp(found.x)))


def contrastivity(
    classifiers: Sequence[Classifier],
    images: Float[Tensor, "n 3 h w"],
    classes: Int[Tensor, "n k"],
    masks: Bool[Tensor, "n k h w"],
    methods: Methods,
) -> pd.DataFrame:
    """How well maps of one image for the classes in it tell these apart.

    Args:
        images: each of which shows k classes.
        methods: one-sided ones.

    Returns:
        One row per classifier (in the column judge), method, image and class: `share`, of the map's positive values on the class's own
        place; `chance`, the part of the image that this place is; `contrast`, the same share of what lies on the places of all k classes
        (chance 1 / k); `pointing`, whether the largest value lies on its own place; `overlap` with the maps of the other classes in the
        image: the mean of sum(min(p, q)) over positive parts p, q that each sum to 1, from 0 (disjoint) to 1 (the same map, whatever the
        class). NaN where a map has no positive value.

    Raises:
        InputError: fewer than two classes an image, shapes that do not fit, a class without a score, or two classifiers of one name.
    """
    _check(classifiers, images, classes, masks)
    n, k = classes.shape
    where = {"image": np.repeat(np.arange(n), k), "place": np.tile(np.arange(k), n), "class": classes.flatten().numpy()}
    frames = []
    for classifier in classifiers:
        for label, method in method_specs(methods).items():
            maps = class_maps(classifier, images, classes, method)
            found = {key: value.flatten().double().numpy() for key, value in measures(maps, masks.cpu()).items()}
            frames.append(pd.DataFrame({"judge": classifier.name, "method": label, **where, **found}))
    return pd.concat(frames, ignore_index=True)


def class_maps(
    classifier: Classifier, images: Float[Tensor, "n 3 h w"], classes: Int[Tensor, "n k"], method: Method
) -> Float[Tensor, "n k h w"]:
    """Maps of each image for each of its classes, in units of the evidence, at the images' size, on the CPU."""
    (spec,) = method_specs([method]).values()
    maps = torch.empty(*classes.shape, *images.shape[2:])
    for kind in classes.unique().tolist():
        where = (classes == kind).nonzero()  # (m, 2): image and place
        pair = Pair(images[where[:, 0]].to(classifier.model.device))
        made = spec.explain(classifier.model, pair, score=classifier.scores[kind])
        maps[where[:, 0], where[:, 1]] = resize_map(made.a, images.shape[2:]).float().cpu()  # type: ignore[arg-type]
    return maps


def measures(maps: Float[Tensor, "n k h w"], masks: Bool[Tensor, "n k h w"]) -> dict[str, Float[Tensor, "n k"]]:
    """The columns of `contrastivity` for maps of k classes in each of n images, and the places of the classes."""
    k = maps.shape[1]
    p = energy(maps.flatten(0, 1).double()).unflatten(0, maps.shape[:2])  # (n, k, pixels), summing to 1
    on = torch.einsum("nkp,njp->nkj", p, masks.flatten(2).double())  # of the map of class k, on the place of class j
    own = on.diagonal(dim1=1, dim2=2)
    shared = torch.stack([torch.minimum(p, q.unsqueeze(1)).sum(2) for q in p.unbind(1)], 2)  # (n, k, k)
    pointing = pointing_game(maps.flatten(0, 1), masks.flatten(0, 1)).view(maps.shape[:2])
    return {
        "share": own,
        "chance": masks.flatten(2).double().mean(2),
        "contrast": own / torch.where(on.sum(2) > 0, on.sum(2), torch.nan),
        "pointing": pointing.double().masked_fill(p.isnan().any(2), torch.nan),
        "overlap": (shared.sum(2) - shared.diagonal(dim1=1, dim2=2)) / (k - 1),
    }


def gains(table: pd.DataFrame, column: str, compared: Sequence[tuple[str, str, str]]) -> pd.DataFrame:
    """How much more of a column one classifier has than another on the same images, method by method, random maps left out.

    Args:
        table: of `contrastivity`, with a column family.
        compared: family, classifier, and the one to compare with; those of a family that is not in the table are left out.

    Returns:
        judge, against, method, mean, low, high (95 %, bootstrap over images), n, p (Wilcoxon's signed-rank test over images, corrected
        after Holm for the methods of one comparison).

    Raises:
        InputError: a classifier that is not in the table.
    """
    real = table[table["method"] != "random_map"]
    each = real.groupby(["family", "judge", "method", "image"], sort=False, observed=True)[column].mean().rename("value").reset_index()
    found = [
        paired_difference(each[each["family"] == family], "judge", "image", ["method"], names=[one], against=other)
        for family, one, other in compared
        if family in set(each["family"])
    ]
    return pd.concat(found, ignore_index=True)[["judge", "against", "method", "mean", "low", "high", "n", "p"]]


def _check(classifiers: Sequence[Classifier], images: Tensor, classes: Tensor, masks: Tensor) -> None:
    names = [one.name for one in classifiers]
    if not names or len(set(names)) < len(names):
        raise InputError(f"expected classifiers with names that differ, got {names}")
    if classes.ndim != 2 or classes.shape[1] < 2:
        raise InputError(f"expected at least two classes an image (n, k), got {tuple(classes.shape)}")
    want = (*classes.shape, *images.shape[2:])
    if len(images) != len(classes) or tuple(masks.shape) != want:
        raise InputError(f"expected masks of shape {want} for {len(images)} images, got {tuple(masks.shape)}")
    known = min(len(one.scores) for one in classifiers)
    if not 0 <= int(classes.min()) <= int(classes.max()) < known:
        raise InputError(f"expected classes from 0 to {known - 1}, got {int(classes.min())} to {int(classes.max())}")
