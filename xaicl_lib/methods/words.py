"""Words and regions: which word of a text goes with which cell of a picture, by integrated Jacobians through both sides of a model."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.methods.cells import cell_vectors, vectors_along
from xaicl_lib.model import PairModel
from xaicl_lib.notes import note
from xaicl_lib.pair import Pair
from xaicl_lib.tokens.texts import OpenText, open_text

STEPS = (4, 8, 16, 32, 64, 128, 256, 512, 1024)  # points of the quadrature, of which the first that suffices is taken
MOST_OF_TEXTS = 128  # points that a text side is differentiated at; a head of pictures is asked for next to nothing
TOLERANCE = 1e-3  # of the cosine
ALMOST_NOTHING = 1e-6  # of a map; not nothing, for it is of the kind that the head takes


@dataclass(frozen=True, eq=False, repr=False)
class WordMap:
    r"""How each word and each cell, and each with each, add to the cosine of a picture and a text.

    :math:`\mathrm{score} = \sum_{w,p} J[w, p] + \sum_p P[p] + \sum_w T[w] + \mathrm{constant} + \mathrm{error}`.

    Attributes:
        words: of the text.
        joint: (w, i, j) what a word and a cell add together, signed, in units of the cosine.
        picture: (i, j) what a cell adds whatever the words: to the text's frame, what is left of it with its words blank.
        text: (w,) what a word adds whatever the picture, likewise.
        constant: what frame and empty picture add.
        score: the cosine.
        steps: points of the quadrature on either side, picture and text.
    """

    words: tuple[str, ...]
    joint: Float[Tensor, "w i j"]
    picture: Float[Tensor, "i j"]
    text: Float[Tensor, " w"]
    constant: float
    score: float
    steps: tuple[int, int]

    def __repr__(self) -> str:
        return f"WordMap({' '.join(self.words)!r}, score {self.score:.3f}, {len(self.words)} words x {self.joint[0].numel()} cells)"

    @property
    def residual(self) -> float:
        """What no word and no cell add together: that of either alone, of what is neither, and the quadrature's error."""
        return self.score - float(self.joint.sum())

    @property
    def error(self) -> float:
        """Of the quadrature."""
        return self.score - float(self.joint.sum() + self.picture.sum() + self.text.sum()) - self.constant

    def where(self, phrase: str) -> Float[Tensor, "i j"]:
        """Where a word is, or several that follow each other: what the cells add together with them.

        Raises:
            InputError: words that the text does not have in this order.
        """
        return self.joint[self.places(phrase)].sum(0)

    def what(self, region: Bool[Tensor, "h w"] | Float[Tensor, "h w"]) -> Float[Tensor, " w"]:
        """Which words a region, a mask of any size, is about: what each adds together with its cells, by how much of these is covered."""
        cover = F.adaptive_avg_pool2d(region.to(self.joint)[None], (self.joint.shape[1], self.joint.shape[2]))[0]
        return (self.joint * cover).sum((1, 2))

    def places(self, phrase: str) -> slice:
        """Which of the words a phrase is, where it is first."""
        wanted = tuple(phrase.split())
        for k in range(len(self.words) - len(wanted) + 1):
            if wanted and self.words[k : k + len(wanted)] == wanted:
                return slice(k, k + len(wanted))
        raise InputError(f"expected words of {' '.join(self.words)!r} that follow each other, got {phrase!r}")


@torch.no_grad()
def explain_words(model: PairModel, images: Float[Tensor, "n 3 h w"], texts: Sequence[str], *, steps: int | None = None) -> list[WordMap]:
    r"""Which word goes with which region, for n pictures and their texts.

    Implements the integrated Jacobians of :cite:t:`moeller2023attribution`, as :cite:t:`moeller2025explaining` have them between pictures
    and texts: with the image head h on feature maps f and the text side g on word vectors e,
    :math:`J[w, p] = \langle u_w, v_p \rangle / (\|h(f)\| \|g(e)\|)`, where :math:`v_p` adds up to :math:`h(f) - h(f_0)` over cells and
    :math:`u_w` to :math:`g(e) - g(e_0)` over words. The way of the picture begins at an empty map, that of the text at itself with the
    tokenizer's padding in the place of every word, so tokens that belong to no word move nothing: all that they give is in the residual.

    Differs: a word is a direction of its own, all of its tokens at once, so a text of w words takes w derivatives and not one for each
    token and channel; and words are cut where they come in, not behind layers that have mixed them.

    Args:
        images: (n, 3, h, w) in [0, 1].
        texts: n of them, each for its image.
        steps: points of the quadrature on either side; None takes more until all adds up to the cosine within 0.001, and warns if it does
            not.

    Raises:
        InputError: a model without a text side, as many texts as images, a text without words, or no steps.
    """
    if "text" not in model._parts:
        raise InputError(f"expected a model with a text side, such as scenes_clip, got {model.name!r}")
    if isinstance(texts, str) or len(texts) != len(images):
        raise InputError(f"expected a text for each of {len(images)} images, got {texts!r}")
    if steps is not None and steps < 1:
        raise InputError(f"expected at least one step, got {steps}")
    fast, opened = model.fast, {text: open_text(model._parts["text"], text) for text in dict.fromkeys(texts)}
    maps = fast.features_a(fast.normalize(Pair(images).a))  # (n, c, i, j)
    with torch.inference_mode(False):
        vectors = {text: functools.cache(functools.partial(_word_vectors, one)) for text, one in opened.items()}  # for all its images
        return [_explained(fast, f[None], opened[text], vectors[text], steps) for f, text in zip(maps, texts, strict=True)]


def _explained(
    model: PairModel, f: Float[Tensor, "1 c i j"], text: OpenText, vectors: Callable[[int], Tensor], steps: int | None
) -> WordMap:
    start = ALMOST_NOTHING * f
    h, h_0 = model.head_a(f.clone()), model.head_a(start.clone())  # (1, d)
    g, g_0 = text.embed(torch.stack([text.vectors, text.blank])).to(h).split(1)
    norm = h.norm().clamp_min(1e-8) * g.norm().clamp_min(1e-8)
    among = STEPS if steps is None else (steps,)
    v, of_picture = _within(lambda s: cell_vectors(model.head_a, f, start[0], s)[0], h - h_0, torch.cat([g, g_0]) / norm, among)
    few = [s for s in among if s <= MOST_OF_TEXTS] or [steps or 1]
    u, of_text = _within(lambda s: vectors(s).to(h), g - g_0, torch.cat([h, h_0]) / norm, few)
    joint = (u @ v.mT / norm).unflatten(1, f.shape[2:])
    made = WordMap(
        text.words, joint, (v @ g_0[0] / norm).view(f.shape[2:]), u @ h_0[0] / norm, float(h_0[0] @ g_0[0] / norm),
        float(h[0] @ g[0] / norm), (of_picture, of_text),
    )  # fmt: skip
    if steps is None and abs(made.error) > TOLERANCE:
        note(f"words and regions add up to the cosine within {abs(made.error):.1g}, not {TOLERANCE:g}")
    return made


def _within(
    vectors: Callable[[int], Tensor], whole: Float[Tensor, "1 d"], seen_by: Float[Tensor, "2 d"], among: Sequence[int]
) -> tuple[Tensor, int]:
    """Vectors that add up to the whole, as what they are multiplied with sees it, and by how many points."""
    for steps in among:
        made = vectors(steps)  # (k, d)
        if bool(((made.sum(0) - whole) @ seen_by.mT).abs().max() <= TOLERANCE / 4):
            break
    return made, steps


def _word_vectors(text: OpenText, steps: int) -> Float[Tensor, "w d"]:
    """What each word adds to the text's embedding."""
    away = (text.vectors - text.blank)[None]  # (1, t, c)
    return vectors_along(text.embed, text.blank, away, away.unsqueeze(1) * text.places.unsqueeze(2), steps)[0]
