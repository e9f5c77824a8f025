"""Explanations of classes by networks that differ in their loss: do their maps tell two classes in one image apart?

A `Judge` is a network with a score for the evidence of each class: the logit of a classifier, or how much more alike an embedding is to
the photos of the class than to all others. Maps of one image for two classes then compare across losses, where the place of either
class is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from xaicl_lib.data.drawing import render
from xaicl_lib.data.scenes import draw_pairs
from xaicl_lib.errors import InputError, unknown
from xaicl_lib.methods import explain
from xaicl_lib.metrics.localisation import energy, pointing_game
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair, resize_map
from xaicl_lib.scores import Score, class_evidence, corpus_similarity
from xaicl_lib.statistics.paired import holm, signed_ranks, summarise
from xaicl_lib.zoo import load_classifier, load_model, model_card

Ways = Mapping[str, tuple[str, Mapping[str, Any]]]
TEMPERATURES = (1e-3, 1e2)  # between which the calibrated one is looked for


@dataclass(frozen=True, eq=False)
class Judge:
    """A network and what it has to say for each class.

    Attributes:
        name: in tables, such as "supervised, logit".
        model: whose embeddings the scores take.
        scores: one-sided, one for each class.
        temperature: that evidence is divided by before a softmax makes probabilities of it; see `calibrated`.
    """

    name: str
    model: PairModel
    scores: tuple[Score, ...]
    temperature: float = 1.0

    @torch.no_grad()
    def evidence(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n classes"]:
        """The score of every class for every image."""
        z = self.model.encode(images)
        return torch.stack([score(z, None) for score in self.scores], 1)


def by_classifier(name: str, device: str = "auto") -> Judge:
    """A bundled model that was trained to classify, with the logits of its classifier.

    Raises:
        InputError: a model without a classifier.
    """
    classifier, classes = load_classifier(name, device), model_card(name)["recipe"]["classes"]
    return Judge(f"{name}, logit", load_model(name, device), tuple(class_evidence(classifier, k) for k in range(classes)))


def by_corpus(model: PairModel, embeddings: Float[Tensor, "m d"], labels: Int[Tensor, " m"]) -> Judge:
    """Any model, with the similarity to the class's corpus minus that to all others' (`xaicl_lib.scores.corpus_similarity`).

    Args:
        model: which made the embeddings.
        embeddings: of labelled images.
        labels: 0, 1, ...; no class without an image.

    Raises:
        InputError: one class only, a class without images, or labels of another number than embeddings.
    """
    if labels.shape != embeddings.shape[:1]:
        raise InputError(f"expected one label for each of {len(embeddings)} embeddings, got {len(labels)}")
    classes = labels.unique().tolist()
    if len(classes) < 2 or classes != list(range(len(classes))):
        raise InputError(f"expected labels of at least two classes 0, 1, ..., got {classes[:5]}")
    scores = [corpus_similarity(embeddings[labels == k], embeddings[labels != k]) for k in classes]
    return Judge(f"{model.name}, corpus", model, tuple(scores))


def calibrated(judge: Judge, images: Float[Tensor, "n 3 h w"], labels: Int[Tensor, " n"]) -> Judge:
    """The judge with the temperature that makes its probabilities most likely on held-out images, so that judges can be compared.

    Implements temperature scaling, Sec. 4.2 of :cite:t:`guo2017calibration`: logits and similarities have scales of their own, the
    probabilities of the right class do not.
    """
    from scipy.optimize import minimize_scalar  # takes a while to import, which contrasts need not wait for

    evidence, target = judge.evidence(images).cpu().double(), labels.cpu()
    found = minimize_scalar(
        lambda log_t: F.cross_entropy(evidence / np.exp(log_t), target).item(), bounds=np.log(TEMPERATURES), method="bounded"
    )
    return replace(judge, temperature=float(np.exp(found.x)))


def recognised(judges: Sequence[Judge], images: Float[Tensor, "n 3 h w"], labels: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Which images every judge puts into their own class: a map of a class that a network does not see says nothing of its loss."""
    return torch.stack([judge.evidence(images).argmax(1).cpu() == labels.cpu() for judge in judges]).all(0)


def class_grids(
    n: int, photos: Float[Tensor, "m 3 s s"], labels: Int[Tensor, " m"], generator: Generator | None = None
) -> tuple[Float[Tensor, "n 3 2*s 2*s"], Int[Tensor, "n 4"], Bool[Tensor, "n 4 2*s 2*s"]]:
    """Grids of two by two photos of four classes at their full size, as in the grid pointing game of :cite:t:`bohle2021convolutional`.

    Returns:
        Images, the class of each cell (row by row), and the masks of the cells.

    Raises:
        InputError: fewer than four classes.
    """
    members = [(labels == k).nonzero()[:, 0] for k in labels.unique()]
    if len(members) < 4:
        raise InputError(f"expected photos of at least 4 classes for a grid, got {len(members)}")
    u = torch.rand(n, len(members) + 4, generator=generator or Generator().manual_seed(0))
    kinds, picks = u[:, :-4].argsort(1)[:, :4].tolist(), u[:, -4:].tolist()  # no class twice
    chosen = torch.tensor(
        [[members[k][int(p * len(members[k]))] for k, p in zip(*row, strict=True)] for row in zip(kinds, picks, strict=True)]
    )  # (n, 4)
    side = photos.shape[-1]
    images = photos[chosen].view(n, 2, 2, 3, side, side).permute(0, 3, 1, 4, 2, 5).reshape(n, 3, 2 * side, 2 * side)
    cells = torch.eye(4, dtype=torch.bool).view(4, 2, 2).repeat_interleave(side, 1).repeat_interleave(side, 2)
    return images, labels[chosen], cells.expand(n, 4, 2 * side, 2 * side)


def two_objects(
    n: int, size: int = 64, generator: Generator | None = None
) -> tuple[Float[Tensor, "n 3 s s"], Int[Tensor, "n 2"], Bool[Tensor, "n 2 s s"]]:
    """Scenes of two objects of different shapes: images, the shapes, and the exact masks of both objects."""
    drawn = draw_pairs(n, "one_shared", generator)[0]
    images, masks = render(drawn, size)
    return images, torch.stack([thing.shape for thing in drawn.things], 1), masks


def contrastivity(
    judges: Sequence[Judge],
    images: Float[Tensor, "n 3 h w"],
    classes: Int[Tensor, "n k"],
    masks: Bool[Tensor, "n k h w"],
    methods: Ways,
) -> pd.DataFrame:
    """How well maps of one image for the classes in it tell these apart.

    Args:
        judges: with names that differ.
        images: each of which shows k classes.
        classes: which.
        masks: where.
        methods: (name, parameters) by label; one-sided ones.

    Returns:
        One row per judge, method, image and class: `share`, of the map's positive values on the class's own place; `chance`, the part of
        the image that this place is; `contrast`, the same share of what lies on the places of all k classes (chance 1 / k); `pointing`,
        whether the largest value lies on its own place; `overlap` with the maps of the other classes in the image: the mean of
        sum(min(p, q)) over positive parts p, q that each sum to 1, from 0 (disjoint) to 1 (the same map, whatever the class). NaN where a
        map has no positive value.

    Raises:
        InputError: fewer than two classes an image, shapes that do not fit, a class without a score, or two judges of one name.
    """
    _check(judges, images, classes, masks)
    frames = []
    for judge in judges:
        for label, (name, params) in methods.items():
            maps = class_maps(judge, images, classes, name, params)
            found = {key: value.flatten().double().numpy() for key, value in measures(maps, masks.cpu()).items()}
            n, k = classes.shape
            where = {"image": np.repeat(np.arange(n), k), "place": np.tile(np.arange(k), n), "class": classes.flatten().numpy()}
            frames.append(pd.DataFrame({"judge": judge.name, "method": label, **where, **found}))
    return pd.concat(frames, ignore_index=True)


def class_maps(
    judge: Judge, images: Float[Tensor, "n 3 h w"], classes: Int[Tensor, "n k"], method: str, params: Mapping[str, Any]
) -> Float[Tensor, "n k h w"]:
    """Maps of each image for each of its classes, in units of the evidence, at the images' size, on the CPU."""
    n, k = classes.shape
    maps = torch.empty(n, k, *images.shape[2:])
    for kind in classes.unique().tolist():
        where = (classes == kind).nonzero()  # (m, 2): image and place
        pair = Pair(images[where[:, 0]].to(judge.model.device))
        made = explain(judge.model, pair, method, score=judge.scores[kind], **params)
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


def averaged(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Means of a column of `contrastivity` over the classes of an image, with intervals over images (see `summarise`)."""
    return summarise(_each(table, column), ["judge", "method"])


def gains(table: pd.DataFrame, column: str, judge: str, reference: str) -> pd.DataFrame:
    """How much more of a column one judge has than another on the same images, method by method, random maps left out.

    Returns:
        judge, against, method, mean, low, high (95 %, bootstrap over images), n, p (Wilcoxon's signed-rank test over images, corrected
        after Holm for the methods).

    Raises:
        InputError: a judge that is not in the table.
    """
    for name in (judge, reference):
        if name not in set(table["judge"]):
            raise unknown("judge of the table", name, table["judge"].unique())
    each = _each(table[table["method"] != "random_map"], column)
    wide = each.pivot_table(index=["method", "image"], columns="judge", values="value", sort=False, observed=True)
    value = (wide[judge] - wide[reference]).rename("value").reset_index()
    tests = value.groupby("method", sort=False, observed=True)["value"].agg(lambda v: signed_ranks(v.to_numpy()))
    found = summarise(value, ["method"]).assign(judge=judge, against=reference, p=holm(tests.tolist()))
    return found[["judge", "against", "method", "mean", "low", "high", "n", "p"]]


def _each(table: pd.DataFrame, column: str) -> pd.DataFrame:
    keys = ["judge", "method", "image"]
    return table.groupby(keys, sort=False, observed=True)[column].mean().rename("value").reset_index()


def _check(judges: Sequence[Judge], images: Tensor, classes: Tensor, masks: Tensor) -> None:
    names = [judge.name for judge in judges]
    if not names or len(set(names)) < len(names):
        raise InputError(f"expected judges with names that differ, got {names}")
    if classes.ndim != 2 or classes.shape[1] < 2:
        raise InputError(f"expected at least two classes an image (n, k), got {tuple(classes.shape)}")
    want = (*classes.shape, *images.shape[2:])
    if len(images) != len(classes) or tuple(masks.shape) != want:
        raise InputError(f"expected masks of shape {want} for {len(images)} images, got {tuple(masks.shape)}")
    known = min(len(judge.scores) for judge in judges)
    if not 0 <= int(classes.min()) <= int(classes.max()) < known:
        raise InputError(f"expected classes from 0 to {known - 1}, got {int(classes.min())} to {int(classes.max())}")
