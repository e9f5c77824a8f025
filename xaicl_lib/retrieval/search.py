"""What a gallery has that is most like a picture, words, or a picture without what words say."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from xaicl_lib.annotations import is_a, plain
from xaicl_lib.errors import InputError
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair
from xaicl_lib.retrieval.gallery import Gallery, embed_gallery, fingerprint

FOUND = 5  # results, if nobody says how many
ROWS = 8192  # of the gallery that are looked at at a time
SIDE = 16  # pixels of the pictures by which near-duplicates are known
NEAR, FAR = 0.03, 0.25  # mean and largest difference of their values, in [0, 1]


@dataclass(frozen=True, eq=False, repr=False)
class Results:
    """What came back, the most alike first, and the runner-up."""

    query: Float[Tensor, "1 c s s"] | None  #: the picture that was asked with; None where words alone were
    texts: tuple[tuple[str, int], ...]  #: what else was asked for, each with its sign: 1 to be like, -1 to be unlike
    gallery: Gallery  #: where it was looked for
    indices: tuple[int, ...]  #: of the results in the gallery
    scores: tuple[float, ...]  #: the sum of `terms`
    terms: Float[Tensor, "k t"]  #: cosines with the picture (if there is one) and with each text, times its sign
    runner_up: int | None  #: index of the image that would be next; None if there is none
    notes: tuple[str, ...]  #: for each result what should be known of it, such as whose near-duplicate it is

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        lines = [f"{k + 1}. {self.name(k)}  {self.scores[k]:.3f}" + (f"  ({n})" if (n := self.notes[k]) else "") for k in range(len(self))]
        return "\n".join([f"Results for {self.asked}:", *lines])

    @property
    def asked(self) -> str:
        """The query in words."""
        parts = ["a picture"] if self.query is not None else []
        for text, sign in self.texts:
            parts.append(f"{'' if not parts else 'minus ' if sign < 0 else 'plus '}{text!r}")
        return " ".join(parts)

    def name(self, k: int) -> str:
        """Of result k."""
        return self.gallery.name(self.indices[k])


def retrieve(
    model: PairModel,
    query: Any,
    gallery: Gallery | str | os.PathLike[str] | Tensor,
    k: int | None = None,
    *,
    text: str | None = None,
    minus: str | None = None,
    fit: str | None = None,
) -> Results:
    r"""The k images of a gallery that are most like a query.

    The score of an image is :math:`\cos(q, b) + \cos(t, b) - \cos(m, b)` with picture q, text t and text m to be without, of those that
    are given: a sum, so that each result says what it owes to which.

    Args:
        model: that embedded the gallery.
        query: whatever `xaicl_lib.images.open_photo` takes, one photo; None to ask with words alone.
        gallery: from `embed_gallery`, its file, or images (n, 3, h, w) in memory.
        k: how many; None is five, or all of a smaller gallery.
        text: words to be like.
        minus: words to be unlike.
        fit: how a photo that is no square becomes one; None is as the gallery's did.

    Raises:
        InputError: nothing asked, more results than images, words for a model without a text side, or embeddings of another model.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 4), torch.nn.ReLU())
        >>> images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> retrieve(PairModel(net, size=32), images[2], images, 1)
        Results for a picture:
        1. 2  1.000  (a near-duplicate of the query)
    """
    if query is None and text is None:
        raise InputError("expected a picture or a text to search with, got neither")
    held = _opened(model, gallery)
    k = min(FOUND, len(held)) if k is None else plain(k)
    if not is_a(k, int) or not 1 <= k <= len(held):
        raise InputError(f"expected 1 to {len(held)} results, as many as the gallery has images, got {k!r}")
    pixels = None if query is None else Pair.open(query, None, model, held.fit if fit is None else fit).a
    if pixels is not None and len(pixels) != 1:
        raise InputError(f"expected one picture to search with, got {len(pixels)}")
    texts = tuple((words, sign) for words, sign in ((text, 1), (minus, -1)) if words is not None)
    asked = _unit_rows(model, pixels, texts)  # (t, d)
    found = nearest(held.embeddings, asked.sum(0), min(k + 1, len(held)))
    indices = found[:k]
    terms = torch.from_numpy(np.stack([held.embeddings[i] for i in indices]) @ asked.T)
    shown = held.pixels(indices, model)
    return Results(
        pixels,
        texts,
        held,
        tuple(indices),
        tuple(terms.sum(1).tolist()),
        terms,
        found[k] if len(found) > k else None,
        _notes(pixels, shown),
    )


def _opened(model: PairModel, gallery: Any) -> Gallery:
    """The gallery, if its embeddings are of this model."""
    if isinstance(gallery, Tensor):
        return Gallery.of_images(model, gallery)
    if isinstance(gallery, str | os.PathLike) and Path(gallery).is_dir():
        raise InputError(f"expected a gallery's file, got the folder {str(gallery)!r}; make one with {embed_gallery.__name__}")
    held = gallery if isinstance(gallery, Gallery) else Gallery.open(gallery)
    if held.of != (own := fingerprint(model)):
        raise InputError(f"expected embeddings of {model.name!r} ({own}), got those of another model ({held.of}); embed the gallery again")
    if held.interpolation not in (None, model.interpolation):
        own = model.interpolation
        raise InputError(f"expected images resized {own}, as {model.name!r} has them, got a gallery of {held.interpolation}; embed again")
    return held


def _unit_rows(model: PairModel, pixels: Tensor | None, texts: Sequence[tuple[str, int]]) -> np.ndarray:
    """Unit vectors of what is asked, times their signs."""
    rows = [] if pixels is None else [F.normalize(model.encode(pixels).float())]
    rows += [sign * F.normalize(model.embed_text([words]).float()) for words, sign in texts]
    asked = torch.cat(rows).cpu().numpy()
    if not np.isfinite(asked).all():
        raise InputError(f"expected finite embeddings of what is asked, got NaN or infinity by {model.name!r}")
    return asked


def nearest(embeddings: np.ndarray, q: np.ndarray, k: int) -> list[int]:
    """The k rows with the largest products with q, the largest first; of equal ones the first row.

    Rows are looked at portion by portion, so of a file that is mapped into memory never more than one is held.
    """
    rows, values = np.empty(0, np.int64), np.empty(0, np.float32)
    for start in range(0, len(embeddings), ROWS):
        more, products = _best(embeddings[start : start + ROWS], q, k)
        rows, values = np.concatenate([rows, start + more]), np.concatenate([values, products])
        order = np.lexsort((rows, -values))[:k]
        rows, values = rows[order], values[order]
    return rows.tolist()


def _best(portion: np.ndarray, q: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows among which are the k largest, and their products."""
    products = np.asarray(portion) @ q
    if len(products) <= k:
        return np.arange(len(products)), products
    edge = np.partition(products, len(products) - k)[len(products) - k]
    rows = np.flatnonzero(products >= edge)  # with all that are equal to the last
    return rows, products[rows]


def _notes(query: Tensor | None, shown: Float[Tensor, "k c s s"]) -> tuple[str, ...]:
    """Which results show the same as the query, or as a result before them."""
    small = F.adaptive_avg_pool2d(shown.float(), SIDE)
    own = None if query is None else F.adaptive_avg_pool2d(query.float(), SIDE)
    notes = []
    for k, one in enumerate(small):
        before = [j for j in range(k) if _alike(one, small[j])]
        if own is not None and _alike(one, own[0]):
            notes.append("a near-duplicate of the query")
        else:
            notes.append(f"a near-duplicate of result {before[0] + 1}" if before else "")
    return tuple(notes)


def _alike(one: Float[Tensor, "c s s"], other: Float[Tensor, "c s s"]) -> bool:
    """Whether two pictures are the same but for scale, compression, or a mirror."""
    apart = [(one - turned).abs() for turned in (other, other.flip(2))]
    return any(float(each.mean()) < NEAR and float(each.max()) < FAR for each in apart)
