"""The pairs of `mosaics-v1`: two times four photos, of which one is on both sides, or one class, and other photos put in their places.

All cells of a mosaic are photos, so that a map that finds things, edges or the middle, whoever asks, is right in a quarter of the cases.
Photos are nobody's to give away: they come from a folder of the reader.
"""

import hashlib
import os
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
_ADDRESS = "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz"
_answers: dict[tuple[str, str, int, int], Tensor] = {}  # of models in this process: the next method asks them the same, which takes minutes

Drawn = tuple[Pair, tuple[Tensor, Tensor], Tensor, list[Tensor]]  # with truth; others (n, k, h, w); effects (2, n, 1 + k); codes (n, ...)


def drawn(model: PairModel, kind: str, count: int, seed: int) -> Drawn:
    """Mosaics, not yet asked whether a model uses what they share.

    Args:
        model: that embeds them.
        kind: one of `KINDS`.
        count: pairs that are wanted; `DRAWN` times as many are made.
        seed: 0 for the public half.

    Returns:
        Pairs with truth; masks of the other photos; by how much the score falls with another photo in the place of the shared one, and of
        each other one, which is of a class that neither side shows; and what tells pairs apart, in whole numbers.

    Raises:
        InputError: no folder of photos, or one of fewer than eight classes.
    """
    folder = os.environ.get("XAICL_IMAGENETTE")
    if not folder:
        raise InputError(f"expected a folder of photos for {NAME}, got none: unpack {_ADDRESS} and name its folder by XAICL_IMAGENETTE")
    photos, labels, names = _photos(folder, model.size // 2)
    made = Mosaics.draw(DRAWN * count, labels, KINDS[kind], Generator().manual_seed(SEEDS[kind] + 1_000_003 * seed))
    if not made.spare.shape[1]:
        raise InputError(f"expected photos of at least 8 classes in {folder!r}, got {len(labels.unique())}")
    pair = made.tile(photos, model.size)
    assert pair.truth is not None  # mosaics know theirs
    others = [masks.movedim(0, 1) for masks in other_photos(pair.truth)]
    codes = [*names[made.cells], names[made.spare[:, 0]], made.shared.T.to(torch.uint8)]
    asked = (model_key(model), kind, count, seed)
    if asked not in _answers:
        _answers[asked] = _effects(model, made, photos, pair)
    return pair, (others[0], others[1]), _answers[asked], codes


@lru_cache(maxsize=2)
def _photos(folder: str, size: int) -> tuple[Float[Tensor, "m 3 s s"], Int[Tensor, " m"], UInt8[Tensor, "m 8"]]:
    """Middle squares of photos, their classes, and numbers that stand for their names, whatever the format."""
    paths = list_images(Path(folder) / "val", recursive=True)  # sorted by class
    chosen = [paths[k] for k in torch.linspace(0, len(paths) - 1, min(PHOTOS, len(paths))).round().long().tolist()]
    classes = sorted({path.parent.name for path in chosen})
    names = [list(hashlib.sha256(path.stem.encode()).digest()[:8]) for path in chosen]
    labels = torch.tensor([classes.index(path.parent.name) for path in chosen])
    return open_photo(chosen, size), labels, torch.tensor(names, dtype=torch.uint8)


def _effects(model: PairModel, made: Mosaics, photos: Tensor, pair: Pair) -> Float[Tensor, "2 n 4"]:
    """Of the shared cell, and of the three that follow it on its side."""
    whole = [model.encode(pixels, side) for side, pixels in zip("ab", pair.sides, strict=True)]
    score, found = cosine(*whole), torch.empty(2, len(pair), 4)
    for k in (0, 1):
        for step in range(4):
            place = (made.shared[k] + step).remainder(4).unsqueeze(1)
            cells = made.cells.clone()
            cells[k].scatter_(1, place, made.spare[:, :1])
            changed = made._replace(cells=cells).tile(photos, model.size).sides[k]
            found[k, :, step] = (score - cosine(model.encode(changed, "ab"[k]), whole[1 - k])).cpu()
    return found
