"""Photos in numbers: mosaics of sample photos that share exactly one, and Imagenette.

How a photo becomes a tensor is in `xaicl_lib.images`, whose functions can be had from here, too.
"""

import os
import shutil
import tarfile
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Generator, Tensor

from xaicl_lib.errors import InputError, require
from xaicl_lib.images import MORE_SAMPLES, SAMPLES, open_photo
from xaicl_lib.images import list_images as list_images
from xaicl_lib.notes import each_once
from xaicl_lib.pair import Pair, Truth


def photo_mosaics(
    n: int,
    size: int = 96,
    *,
    photos: Tensor | None = None,
    labels: Int[Tensor, " m"] | None = None,
    share: str = "photo",
    generator: Generator | None = None,
) -> Pair:
    """Pairs of 2 x 2 mosaics that share exactly one photo (or class), at different places; the shared cell is the truth.

    The other three cells of either side show photos of six more classes, so that nothing else is shared. A pair is decided by one row
    of random numbers: the first ten of a thousand are the same as ten.

    Args:
        size: side of a mosaic in pixels, even; its photos are half as large.
        photos: (m, 3, s, s), bytes or float in [0, 1]; without them nine sample photos of scikit-image and scikit-learn.
        labels: the photos' classes; without them each photo is a class of its own.
        share: "photo": the very same photo; "class": another photo of the same class.
        generator: None is seed 0.

    Raises:
        InputError: an odd size, fewer than seven classes, or `share="class"` where a class has one photo only.
    """
    if n < 1 or size < 16 or size % 2:
        raise InputError(f"expected at least one pair of an even size of at least 16 pixels, got {n} of {size}")
    pool = open_photo([make() for make in {**SAMPLES, **MORE_SAMPLES}.values()], size) if photos is None else photos
    return Mosaics.draw(n, torch.arange(len(pool)) if labels is None else torch.as_tensor(labels), share, generator).tile(pool, size)


class Mosaics(NamedTuple):
    """What is to be seen on either side of n pairs of mosaics, not yet tiled."""

    cells: Int[Tensor, "2 n 4"]  #: numbers of photos, row by row
    shared: Int[Tensor, "2 n"]  #: which cell is shared
    spare: Int[Tensor, "n k"]  #: a photo of each class that is on neither side

    @classmethod
    def draw(cls, n: int, labels: Int[Tensor, " m"], share: str = "photo", generator: Generator | None = None) -> "Mosaics":
        """As for `photo_mosaics`, of photos of these classes."""
        require("thing to share", ["photo", "class"], share)
        members = [(labels == label).nonzero()[:, 0] for label in labels.unique()]
        if len(members) < 7:
            raise InputError(f"expected photos of at least 7 classes for mosaics that share one of them, got {len(members)}")
        if share == "class" and min(len(m) for m in members) < 2:
            raise InputError("expected at least two photos of each class to share a class, got one")
        u = torch.rand(n, len(members) + 8 + 5, generator=generator or Generator().manual_seed(0))
        cells, shared, spare = (torch.stack(rows) for rows in zip(*(_mosaic(row, members, share) for row in u), strict=True))
        return cls(cells.movedim(0, 1), shared.T, spare)

    def tile(self, photos: Tensor, size: int) -> Pair:
        """The pairs in pixels, with the shared cell as truth; arguments as for `photo_mosaics`."""
        sides = [_tile(photos[side], size) for side in self.cells]
        masks = [_cell_mask(places, size) for places in self.shared]
        return Pair(sides[0], sides[1], Truth(masks[0], masks[1]))


def _mosaic(u: Tensor, members: list[Tensor], share: str) -> tuple[Tensor, Tensor, Tensor]:
    """Photos of the four cells of either side, which cell is shared, and photos of classes left over, from one row of random numbers."""
    order, pick, place = u.split([len(members), 8, 5])
    by_chance = [members[k] for k in order.argsort().tolist()]
    chosen = by_chance[:7]  # the shared class, three of side a, three of side b
    photo = [m[int(p * len(m))] for m, p in zip(chosen, pick, strict=False)]
    first, shift = int(pick[0] * len(chosen[0])), 1 + int(pick[7] * (len(chosen[0]) - 1))
    twin = photo[0] if share == "photo" else chosen[0][(first + shift) % len(chosen[0])]
    at_a = place[:4].argsort()[0]
    at_b = (at_a + 1 + (3 * place[4]).long()) % 4  # another place
    a, b = photo[1:4], photo[4:7]
    a.insert(int(at_a), photo[0])
    b.insert(int(at_b), twin)
    spare = [int(m[int(pick[7] * len(m))]) for m in by_chance[7:]]
    return torch.stack([torch.stack(a), torch.stack(b)]), torch.stack([at_a, at_b]), torch.tensor(spare, dtype=torch.long)


def other_photos(truth: Truth) -> tuple[Bool[Tensor, "3 n h w"], Bool[Tensor, "3 n h w"]]:
    """Masks of the three photos that are not shared, on either side of 2 x 2 mosaics: the shared cell moved by half an image."""
    half = [[size // 2 for size in mask.shape[1:]] for mask in (truth.a, truth.b)]
    sides = [
        torch.stack([mask.roll((h, 0), (1, 2)), mask.roll((0, w), (1, 2)), mask.roll((h, w), (1, 2))])
        for mask, (h, w) in zip((truth.a, truth.b), half, strict=True)
    ]
    return sides[0], sides[1]


def _tile(cells: Tensor, size: int) -> Float[Tensor, "n 3 s s"]:
    """(n, 4, 3, s, s) photos as mosaics, row by row."""
    n = len(cells)
    pixels = cells.float() / 255 if cells.dtype == torch.uint8 else cells.float()
    small = F.interpolate(pixels.flatten(0, 1), (size // 2, size // 2), mode="bilinear", antialias=True).clamp(0, 1)
    grid = small.view(n, 2, 2, 3, size // 2, size // 2)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(n, 3, size, size)


def _cell_mask(places: Int[Tensor, " n"], size: int) -> Tensor:
    cells = F.one_hot(places, 4).view(-1, 2, 2).bool()
    return cells.repeat_interleave(size // 2, 1).repeat_interleave(size // 2, 2)


def imagenette(
    split: str, size: int, root: str | os.PathLike[str] | None = None, *, limit: int | None = None
) -> tuple[UInt8[Tensor, "n 3 s s"], Int[Tensor, " n"], list[str]]:
    """Imagenette (ten classes of ImageNet, :cite:t:`howard2019imagenette`) in memory: middle squares, labels, class names.

    Args:
        split: "train" (9,469 photos) or "val" (3,925).
        size: side in pixels; 96 makes the training part 262 MB.
        root: a folder with `train/<class>/` and `val/<class>/`, such as an unpacked Imagenette. Without it the folder
            named by XAICL_IMAGENETTE is taken, or else torchvision downloads the photos into the user's cache.
        limit: at most this many photos, spread evenly over the classes.

    Raises:
        InputError: no such folder, or no photos in it.
    """
    from tqdm.auto import tqdm

    folder = Path(root or os.environ.get("XAICL_IMAGENETTE") or _download_imagenette()) / split
    if not folder.is_dir():
        raise InputError(f"expected a folder with train/ and val/ of photos by class, got {str(folder.parent)!r} without {split}/")
    paths, every, classes = _by_class(folder)
    count = min(limit or len(paths), len(paths))
    chosen = torch.linspace(0, len(paths) - 1, count).round().long()  # files are sorted by class
    images = torch.empty(count, 3, size, size, dtype=torch.uint8)
    with each_once():
        for k, i in enumerate(tqdm(chosen.tolist(), desc=f"reading {split} photos", leave=False)):
            images[k] = (open_photo(paths[i], size)[0] * 255).round()
    return images, torch.tensor(every)[chosen], classes


def _by_class(folder: Path) -> tuple[list[Path], list[int], list[str]]:
    """The photos of a folder with one folder per class, the class of each, and the names of the classes; nothing hidden."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    photos = list_images(folder, recursive=True) if classes else []
    own = [(path, path.relative_to(folder).parts) for path in photos]
    paths = [path for path, parts in own if len(parts) > 1]
    labels = [classes.index(parts[0]) for _, parts in own if len(parts) > 1]
    if empty := [name for k, name in enumerate(classes) if k not in set(labels)] or not classes:
        raise InputError(f"expected one folder of photos per class in {str(folder)!r}, got none for {empty if classes else 'any class'}")
    return paths, labels, classes


def _download_imagenette() -> Path:
    """Imagenette in the user's cache, put there whole or not at all."""
    from torchvision.datasets import Imagenette

    from xaicl_lib.data.fetch import cache_folder, locked

    cache = cache_folder()
    whole, part = cache / "imagenette2-160", cache / "imagenette.part"
    if not whole.is_dir():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with locked(whole):
                if not whole.is_dir():  # else another process was faster
                    shutil.rmtree(part / whole.name, ignore_errors=True)  # half unpacked; a half archive torchvision finds by its checksum
                    Imagenette(str(part), split="train", size="160px", download=True)
                    os.replace(part / whole.name, whole)
                shutil.rmtree(part, ignore_errors=True)
        except (OSError, RuntimeError, EOFError, tarfile.TarError) as error:
            raise InputError(
                f"expected Imagenette, which could not be downloaded ({error}); try again, or name its folder by --data or XAICL_IMAGENETTE"
            ) from error
    return whole
