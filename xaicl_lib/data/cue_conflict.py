"""Cue-conflict images: the shape of one thing painted with the texture of another, by style transfer.

Of :cite:t:`geirhos2019imagenet`: 1,280 images of 224 pixels, 80 for each of 16 shapes, CC BY 4.0. The folder of an image is its
shape; its name says which photo gave the shape and which the texture: `cat/cat7-elephant1.png`.
"""

import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xaicl_lib.data import fetch as download
from xaicl_lib.errors import InputError
from xaicl_lib.images import list_images, open_photo

VARIABLE = "XAICL_CUE_CONFLICT"
# The authors' repository at one commit, so that it cannot become another set of images; the images are a part of it.
COMMIT = "ef10e3ed6e41da1af0f0f8e0dfcea40ed838ee25"
ADDRESS = f"https://codeload.github.com/rgeirhos/texture-vs-shape/zip/{COMMIT}"
COUNT = 1280
MAX_FILE = 4_000_000  # bytes of an image of 224 pixels; nothing honest is near
NAME = re.compile(r"([a-z]+)([0-9]{1,4})-([a-z]+)([0-9]{1,4})")
MEMBER = re.compile(r"[^/]+/stimuli/style-transfer-preprocessed-512/([a-z]+)/(\1[0-9]{1,4}-[a-z]+[0-9]{1,4}\.png)")
RECORD = "cue-conflict.sha256"  # of the first images that came, beside their folder


@dataclass(frozen=True, eq=False)
class Stimuli:
    """Images and the cues in them."""

    images: Float[Tensor, "n 3 s s"]  #: in [0, 1]
    names: list[str]  #: as "cat7-elephant1": shape of the photo cat7, texture of the photo elephant1
    classes: list[str]  #: names of the classes, sorted
    shape: Int[Tensor, " n"]  #: index of the class that this cue is of
    texture: Int[Tensor, " n"]  #: likewise
    shape_photo: Int[Tensor, " n"]  #: number of the photo that this cue was taken from, different for every photo
    texture_photo: Int[Tensor, " n"]  #: likewise

    def __len__(self) -> int:
        return len(self.names)

    @property
    def conflict(self) -> Bool[Tensor, " n"]:
        """Whether the two cues are of different classes, as they are in all but 80 of the 1,280 images."""
        return self.shape != self.texture


def cue_conflict(size: int, root: str | os.PathLike[str] | None = None, *, limit: int | None = None) -> Stimuli:
    """The cue-conflict images of :cite:t:`geirhos2019imagenet` in memory.

    Args:
        size: side in pixels.
        root: a folder with `<shape>/<shape>N-<texture>M.png` (or .jpg). Without it the folder named by XAICL_CUE_CONFLICT is taken,
            else the copy in the user's cache, which is downloaded at its first use.
        limit: at most this many images, spread evenly over the shapes.

    Raises:
        InputError: no such folder, no such images in it, one in the folder of another shape, files that cannot be read, or no network.
    """
    folder = cue_conflict_folder(root) or _download()
    found = _names(folder, list_images(folder, recursive=True))
    chosen = torch.linspace(0, len(found) - 1, min(limit or len(found), len(found))).round().long().tolist()  # sorted by shape
    names = [list(found)[k] for k in chosen]
    images = torch.cat([open_photo(found[name], size) for name in names])
    parts = [_cues(name) for name in names]
    classes = sorted({part[k] for part in parts for k in (0, 2)})
    shape, texture = (torch.tensor([classes.index(part[k]) for part in parts]) for k in (0, 2))
    shape_photo, texture_photo = (10_000 * kind + torch.tensor([int(part[k]) for part in parts]) for kind, k in ((shape, 1), (texture, 3)))
    return Stimuli(images, names, classes, shape, texture, shape_photo, texture_photo)


def cue_conflict_folder(root: str | os.PathLike[str] | None = None) -> Path | None:
    """The folder of the images: the one given, else that of XAICL_CUE_CONFLICT, else that in the cache; None if there is none of these.

    Raises:
        InputError: the one given or named does not exist.
    """
    named = root or os.environ.get(VARIABLE)
    if named:
        if not Path(named).is_dir():
            raise InputError(f"expected a folder of cue-conflict images (as {VARIABLE} or root), got {str(named)!r}, which is not a folder")
        return Path(named)
    cached = download.cache_folder() / "cue-conflict"
    return cached if cached.is_dir() else None


def _names(folder: Path, paths: Iterable[Path]) -> dict[str, Path]:
    """Image files by their names without suffix; other images that may lie there do not count."""
    found: dict[str, Path] = {}
    for path in paths:
        if (cues := NAME.fullmatch(path.stem)) is None:
            continue
        if path.parent.name != cues[1]:
            raise InputError(f"expected {path.name!r} in a folder {cues[1]!r}, which its name says is its shape, got {path.parent.name!r}")
        found.setdefault(path.stem, path)
    if not found:
        raise InputError(f"expected cue-conflict images such as cat/cat7-elephant1.png in {str(folder)!r}, found none of such a name")
    return found


def _cues(name: str) -> tuple[str, ...]:
    """Class and number of the photo of the shape, then of the texture."""
    found = NAME.fullmatch(name)
    assert found is not None  # other names have been left out
    return found.groups()


def _download() -> Path:
    """The images in the user's cache, put there whole or not at all."""
    cache = download.cache_folder()
    final, archive, part = cache / "cue-conflict", cache / "texture-vs-shape.zip", cache / "cue-conflict.part"
    try:
        download.fetch(ADDRESS, archive)
    except InputError as error:
        help_ = f"name a folder of theirs by {VARIABLE}, or put the archive at {str(archive)!r}"
        raise InputError(f"{error}; the cue-conflict images can come from elsewhere: {help_}") from error
    with download.locked(final):
        if not final.is_dir():  # else another process was faster
            try:
                _pin(_unpack(archive, part), cache / RECORD)
                os.replace(part, final)
            except (OSError, zipfile.BadZipFile, InputError) as error:
                archive.unlink(missing_ok=True)  # a damaged archive would fail again
                raise InputError(f"the cue-conflict images could not be unpacked ({error}); try again") from error
            finally:
                shutil.rmtree(part, ignore_errors=True)
    archive.unlink(missing_ok=True)
    return final


def _unpack(archive: Path, folder: Path) -> str:
    """Write the images of the archive into a folder, by names of ours; the checksum of them all."""
    shutil.rmtree(folder, ignore_errors=True)
    digest = hashlib.sha256()
    with zipfile.ZipFile(archive) as opened:
        members = sorted((found[1], found[2], name) for name in set(opened.namelist()) if (found := MEMBER.fullmatch(name)))
        if len(members) != COUNT:
            raise InputError(f"expected {COUNT:,} images in {archive.name!r}, got {len(members):,}")
        for shape, name, member in members:
            with opened.open(member) as file:
                data = file.read(MAX_FILE + 1)
            if len(data) > MAX_FILE:
                raise InputError(f"expected images of at most {MAX_FILE:,} bytes in {archive.name!r}, got {name!r} of more")
            (folder / shape).mkdir(parents=True, exist_ok=True)
            (folder / shape / name).write_bytes(data)
            digest.update(name.encode() + hashlib.sha256(data).digest())
    return digest.hexdigest()


def _pin(digest: str, record: Path) -> None:
    """Keep the checksum of the first images that came; the authors publish none."""
    if record.is_file() and (first := record.read_text().strip()) != digest:
        raise InputError(
            f"expected images of sha256 {first[:12]}..., as noted in {str(record)!r}, got {digest[:12]}...: changed, not taken"
        )
    record.write_text(digest + "\n")
