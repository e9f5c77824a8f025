"""The pairs of `mosaics-v1`: two times four photos, of which one is on both sides, or one class, and other photos put in their places.

All cells of a mosaic are photos, so that a map that finds things, edges or the middle, whoever asks, is right in a quarter of the cases.
Photos are nobody's to give away: they come from a folder of the reader.
"""

import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from torch import Generator, Tensor

from xaicl_lib.data.photos import Mosaics, list_images, open_photo, other_photos
from xaicl_lib.errors import InputError
from xaicl_lib.evaluation.fingerprint import model_key
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair
from xaicl_lib.scores import cosine

NAME = "mosaics-v1"  # never changes; a correction makes a version of its own
KINDS = {"one_photo": "photo", "one_class": "class"}  # and what is shared
MODELS = ("simclr", "supervised", "moco_v3")
COUNT = 200  # confirmed pairs of a kind
DRAWN = 5  # pairs that are drawn for each that is wanted
PHOTOS = 1000  # of the validation part, spread evenly over its classes
SEEDS = {kind: 170_201 + k for k, kind in enumerate(KINDS)}  # of the public half
ADDRESS = "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz"
_AT_ONCE = 100  # pairs
_answers: dict[tuple[object, ...], Tensor] = {}  # of models in this process: a next method asks the same, which takes minutes

Chosen = tuple[Pair, tuple[Tensor, Tensor], list[Tensor]]  # with truth; others (n, k, h, w); codes (n, ...)
Drawn = tuple[Float[Tensor, "2 n 1+k"], Callable[[Int[Tensor, " m"]], Chosen]]


def drawn(model: PairModel, kind: str, count: int, seed: int) -> Drawn:
    """What a model makes of mosaics.

    Args:
        kind: one of `KINDS`.
        count: pairs that are wanted; `DRAWN` times as many are drawn.
        seed: 0 for the public half.

    Returns:
        By how much the score falls with another photo, of a class that neither side shows, in the place of the shared one, and of each
        other one; and what gives some of the pairs, with the masks of the other photos, and in whole numbers what tells pairs apart.

    Raises:
        InputError: no folder of photos, or one of fewer than eight classes.
    """
    folder = os.environ.get("XAICL_IMAGENETTE")
    if not folder:
        raise InputError(f"expected a folder of photos for {NAME}, got none: unpack {ADDRESS} and name its folder by XAICL_IMAGENETTE")
    photos, labels, names = _photos(folder, model.size // 2)
    if (classes := len(labels.unique())) < 8:
        raise InputError(f"expected photos of at least 8 classes in {folder!r}, got {classes}")
    made = Mosaics.draw(DRAWN * count, labels, KINDS[kind], Generator().manual_seed(SEEDS[kind] + 1_000_003 * seed))

    def chosen(rows: Tensor) -> Chosen:
        some = Mosaics(made.cells[:, rows], made.shared[:, rows], made.spare[rows])
        pair = some.tile(photos, model.size)
        assert pair.truth is not None  # mosaics know theirs
        others = [masks.movedim(0, 1) for masks in other_photos(pair.truth)]
        return pair, (others[0], others[1]), [*names[some.cells], names[some.spare[:, 0]], some.shared.T.to(torch.uint8)]

    asked = (folder, model_key(model), kind, count, seed)
    if asked not in _answers:
        portions = torch.arange(DRAWN * count).split(_AT_ONCE)
        _answers[asked] = torch.cat([_effects(model, *chosen(rows)[:2], photos[made.spare[rows, 0]]) for rows in portions], 1)
    return _answers[asked], chosen


@lru_cache(maxsize=2)
def _photos(folder: str, size: int) -> tuple[Float[Tensor, "m 3 s s"], Int[Tensor, " m"], UInt8[Tensor, "m 8"]]:
    """Middle squares of photos, their classes, and numbers that stand for their names, whatever the format."""
    paths = list_images(Path(folder) / "val", recursive=True)  # sorted by class
    chosen = [paths[k] for k in torch.linspace(0, len(paths) - 1, min(PHOTOS, len(paths))).round().long().tolist()]
    classes = sorted({path.parent.name for path in chosen})
    names = [list(hashlib.sha256(path.stem.encode()).digest()[:8]) for path in chosen]
    labels = torch.tensor([classes.index(path.parent.name) for path in chosen])
    return open_photo(chosen, size), labels, torch.tensor(names, dtype=torch.uint8)


def _effects(model: PairModel, pair: Pair, others: tuple[Tensor, Tensor], instead: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "2 n 4"]:
    whole = [model.encode(pixels, side) for side, pixels in zip("ab", pair.sides, strict=True)]
    score, new = cosine(*whole), instead.repeat(1, 1, 2, 2)  # wherever it is put
    assert pair.truth is not None
    found = []
    for k, (pixels, mask) in enumerate(zip(pair.sides, (pair.truth.a, pair.truth.b), strict=True)):
        masks = torch.cat([mask.unsqueeze(1), others[k]], 1).unsqueeze(2)  # (n, 4, 1, h, w)
        z = [model.encode(torch.where(one, new, pixels), "ab"[k]) for one in masks.unbind(1)]
        found.append(torch.stack([score - cosine(x, whole[1 - k]) for x in z], 1))
    return torch.stack(found).cpu()
