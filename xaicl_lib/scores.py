"""Scores: how alike two embeddings are. A score is any differentiable function (za, zb) -> (n,).

One-sided questions are scores that ignore zb: how much more alike to a corpus than to a foil, how much evidence for a class. Every
method that does not need side b explains them unchanged, on pairs without side b.
"""

import math
from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from xaicl_lib.errors import InputError, telling_line
from xaicl_lib.registry import Entry, Registry

Score = Callable[..., Tensor]  # (za, zb); zb is None for one-sided questions, whose scores ignore it
scores: Registry[Entry] = Registry("score", Entry.of)  # facts: low and high, its bounds; symmetric; paper (bib key)
SAME = 1e-6  # relative length of the difference of two means under which corpus and foil are the same


def ask(score: Score, za: Float[Tensor, "n d"], zb: Float[Tensor, "n d"] | None = None) -> Float[Tensor, " n"]:
    """What a score says of the embeddings of one side or two; this is where all methods and metrics call it.

    Raises:
        InputError: it takes other arguments, or does not give one number a pair.
    """
    try:
        s = score(za, zb)
    except TypeError as error:
        raise InputError(f"expected a score of two embeddings, (za, zb) -> (n,), got one that fails: {telling_line(error)}") from error
    if not isinstance(s, Tensor) or s.shape != za.shape[:1]:
        got = f"shape {tuple(s.shape)}" if isinstance(s, Tensor) else f"{s!r:.60}"
        raise InputError(f"expected a score of one number a pair, ({len(za)},), got {got}")
    return s


@scores.add(low=-1.0, high=1.0, symmetric=True, paper="sammani2023visualizing")
def cosine(za: Float[Tensor, "n d"], zb: Float[Tensor, "n d"] | None) -> Float[Tensor, " n"]:
    """Cosine of the angle between embeddings, in [-1, 1]; the score of every model in the papers."""
    return F.cosine_similarity(za, _given(zb), dim=1)


@scores.add(low=-math.inf, high=math.inf, symmetric=True, paper="lin2023contrastive")
def dot(za: Float[Tensor, "n d"], zb: Float[Tensor, "n d"] | None) -> Float[Tensor, " n"]:
    """Inner product of embeddings, unbounded."""
    return (za * _given(zb)).sum(1)


def resolve_score(score: str | Score) -> Score:
    """The score of that name; a function is a score itself.

    Raises:
        InputError: no score of that name, or neither a name nor a function.
    """
    if isinstance(score, str):
        return scores[score].function
    if not callable(score):
        raise InputError(f"expected score to be a function of two embeddings or one of {', '.join(s.name for s in scores)}, got {score!r}")
    return score


def _given(zb: Tensor | None) -> Tensor:
    if zb is None:
        raise InputError("expected a pair with two sides for this score, got one without side b; give a score of side a alone")
    return zb


def corpus_similarity(
    corpus: Float[Tensor, "m d"], foil: Float[Tensor, "k d"] | None = None, normalize: bool = True
) -> Callable[[Tensor, Tensor | None], Tensor]:
    r"""A score: how much more alike an embedding is to a corpus than to a foil.

    Implements the contrastive corpus similarity of :cite:t:`lin2023contrastive`:
    :math:`\frac{1}{m} \sum_c \mathrm{sim}(z, c) - \frac{1}{k} \sum_r \mathrm{sim}(z, r)`, sim the cosine or the inner product. Both are
    linear in the corpus, so it takes two mean vectors (of unit embeddings for the cosine) however large corpus and foil are.

    Args:
        corpus: embeddings to be like, from `xaicl_lib.model.embed_corpus`.
        foil: embeddings to be unlike; None for the similarity to the corpus alone.
        normalize: the cosine, in [-2, 2] with a foil; else the inner product, unbounded.

    Returns:
        A score (za, zb) -> (n,) that ignores zb.

    Raises:
        InputError: no embeddings, NaN, embeddings of norm zero with the cosine, two widths, or a foil whose mean is that of the corpus,
            so that the score is zero whatever the image.
    """
    towards = _mean(corpus, "corpus", normalize)
    if foil is not None:
        away = _mean(foil, "foil", normalize)
        if away.shape != towards.shape:
            raise InputError(f"expected corpus and foil of one width, got {len(towards)} and {len(away)}")
        if (towards - away).norm() <= SAME * towards.norm():
            raise InputError("expected a foil other than the corpus, got the same embeddings: every image would score zero")
        towards = towards - away

    def score(za: Float[Tensor, "n d"], zb: Tensor | None = None) -> Float[Tensor, " n"]:
        if za.shape[-1] != len(towards):
            raise InputError(f"expected embeddings of the corpus's width {len(towards)}, got {za.shape[-1]}; embed it with the same model")
        z = za / za.norm(dim=1, keepdim=True).clamp_min(1e-8) if normalize else za
        return z @ towards.to(z)

    return score


def class_evidence(
    classifier: Callable[[Tensor], Tensor], index: int, *, probability: bool = False
) -> Callable[[Tensor, Tensor | None], Tensor]:
    """A score: the evidence for one class.

    Args:
        classifier: from embeddings (n, d) to class scores (n, classes): of `load_classifier`, of `probes.linear_probe`, your own.
        index: of the class.
        probability: the softmax, in [0, 1], instead of the class score (logit).

    Returns:
        A score (za, zb) -> (n,) that ignores zb.

    Raises:
        InputError: when it is called, a classifier without such a class.
    """

    def score(za: Float[Tensor, "n d"], zb: Tensor | None = None) -> Float[Tensor, " n"]:
        logits = classifier(za)  # (n, classes)
        if not 0 <= index < logits.shape[1]:
            raise InputError(f"expected a class from 0 to {logits.shape[1] - 1}, got {index}")
        return logits.softmax(1)[:, index] if probability else logits[:, index]

    return score


def _mean(embeddings: Tensor, name: str, normalize: bool) -> Float[Tensor, " d"]:
    """The mean of embeddings, in double precision, for two means may be close to each other."""
    if not isinstance(embeddings, Tensor) or embeddings.ndim != 2 or not embeddings.numel():
        got = tuple(embeddings.shape) if isinstance(embeddings, Tensor) else type(embeddings).__name__
        raise InputError(f"expected embeddings (m, d) of at least one item as {name}, got {got}")
    z = embeddings.detach().cpu().double()  # on the CPU, for not every device has double precision
    if not z.isfinite().all():
        raise InputError(f"expected finite embeddings as {name}, got NaN or infinity in row {int((~z.isfinite()).any(1).nonzero()[0])}")
    if normalize:
        norms = z.norm(dim=1, keepdim=True)
        if not (norms > 0).all():
            raise InputError(f"expected embeddings of norm > 0 as {name}, whose cosine exists, got zeros in row {int(norms.argmin())}")
        z = z / norms
    return z.mean(0)
