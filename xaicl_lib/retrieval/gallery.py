"""Embeddings of many images in one file that is looked at where it lies, and the run that makes it, which may be killed and goes on.

The file is of safetensors: `embeddings` (n, d), unit vectors of side b in single precision; `keys` (n, 16), a digest of each image file's
bytes; `names`, the paths below the folder one after the other, which end at `ends`; and in its metadata the model's fingerprint. Whoever
searches maps it into memory, so that a gallery of 100,000 takes no more of it than the rows that are being looked at.
"""

import hashlib
import json
import os
import struct
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.files import output_file, written_whole
from xaicl_lib.images import list_images
from xaicl_lib.model import PairModel
from xaicl_lib.notes import note
from xaicl_lib.pair import Pair
from xaicl_lib.progress import progress

KEY = 16  # bytes of the digest of a file
TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "U8": np.dtype("u1"), "I64": np.dtype("<i8")}  # of safetensors
PARTS = {"embeddings": "F32", "ends": "I64", "keys": "U8", "names": "U8"}  # of a gallery's file
AT_ONCE = 4096  # rows that are copied at a time


@dataclass(frozen=True, eq=False, repr=False)
class Gallery:
    """Images to search, by the unit vectors of their embeddings."""

    embeddings: np.ndarray  #: (n, d), of side b, in memory or in a file
    of: str  #: what the fingerprint of the model is that embedded them
    folder: Path | None = None  #: where the images are; None for images in memory
    fit: str = "crop"
    interpolation: str | None = None  #: by which images of a folder were resized
    images: Tensor | None = None  #: (n, c, h, w) in memory
    skipped: dict[str, str] = field(default_factory=dict)  #: what could not be read, and why, by name
    _names: tuple[np.ndarray, np.ndarray] = (np.empty(0, np.uint8), np.empty(0, np.int64))  # bytes one after the other, and where each ends
    _keys: np.ndarray | None = None

    @staticmethod
    def open(file: str | os.PathLike[str]) -> "Gallery":
        """The gallery in a file that `embed_gallery` wrote.

        Raises:
            InputError: no such file, or another one.
        """
        held, facts = _mapped(Path(file))
        folder = Path(os.path.normpath(Path(file).absolute().parent / facts["folder"]))
        return Gallery(
            held["embeddings"], facts["model"], folder, facts["fit"], facts.get("interpolation"),
            _names=(held["names"], held["ends"]), _keys=held["keys"],
        )  # fmt: skip

    @staticmethod
    def of_images(model: PairModel, images: Float[Tensor, "n c h w"], names: Sequence[str] | None = None) -> "Gallery":
        """A gallery of images in memory, which have their numbers for names if none are given.

        Raises:
            InputError: not images, another number of names, or embeddings that are not finite.
        """
        pixels = Pair(images).a
        if names is not None and len(names) != len(pixels):
            raise InputError(f"expected a name for each of {len(pixels)} images, got {len(names)}")
        texts = [os.fsencode(name) for name in (names or map(str, range(len(pixels))))]
        told = np.frombuffer(b"".join(texts), np.uint8), np.cumsum([len(text) for text in texts])
        z = _unit(model.encode(pixels, "b"))
        if not np.isfinite(z).all():
            bad = int((~np.isfinite(z)).any(1).argmax())
            raise InputError(f"expected finite embeddings of all images, got NaN or infinity by {model.name!r} for image {bad}")
        return Gallery(z, fingerprint(model), images=pixels, _names=told)

    def __len__(self) -> int:
        return len(self.embeddings)

    def __repr__(self) -> str:
        skipped = f", {len(self.skipped)} files skipped" if self.skipped else ""
        return f"Gallery({len(self)} images, embeddings of {self.embeddings.shape[1]} numbers{skipped})"

    def name(self, index: int) -> str:
        """The path of an image below the gallery's folder, or its name in memory."""
        text, ends = self._names
        return bytes(text[int(ends[index - 1]) if index else 0 : int(ends[index])]).decode("utf-8", "surrogateescape")

    def pixels(self, indices: Sequence[int], model: PairModel) -> Float[Tensor, "m c s s"]:
        """Some of the images as a model takes them.

        Raises:
            InputError: a file that is there no more, or changed since it was embedded.
        """
        if self.images is not None:
            chosen = self.images[list(indices)]
            return chosen if chosen.shape[2:] == (model.size, model.size) else Pair.open(chosen, None, model, self.fit).a
        return Pair.open([self._unchanged(index) for index in indices], None, model, self.fit).a

    def _unchanged(self, index: int) -> Path:
        assert self.folder is not None  # a gallery has its images here or there
        path = self.folder / self.name(index)
        if not path.is_file() or (self._keys is not None and _key(path.read_bytes()) != bytes(self._keys[index])):
            raise InputError(
                f"expected the images that were embedded, got {str(path)!r}, which is gone or changed; embed the gallery again"
            )
        return path


def embed_gallery(
    model: PairModel, folder: str | os.PathLike[str], file: str | os.PathLike[str], *, fit: str = "crop", chunk: int | None = None
) -> Gallery:
    """Embed the images of a folder and its subfolders into a file.

    What is in the file already, or in what a killed run left beside it, is not embedded again: images are known by their content, so
    they may have been moved and renamed. A file that is no image is named, counted and left out.

    Args:
        model: whose side b embeds them.
        folder: of image files.
        file: NAME.safetensors.
        fit: how photos that are no squares become such, as for `xaicl_lib.images.open_photo`.

    Raises:
        InputError: no image that can be read, or a file with embeddings of another model, fit or interpolation.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 4), torch.nn.ReLU())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in "ab":
        ...         Image.effect_noise((32, 32), 90).save(f"{folder}/{name}.png")
        ...     embed_gallery(PairModel(net, size=32), folder, f"{folder}/found.safetensors")
        Gallery(2 images, embeddings of 8 numbers)
    """
    paths = list_images(folder, recursive=True)
    target = output_file(file, (".safetensors",))
    place = os.path.relpath(Path(folder).absolute(), target.absolute().parent)
    facts = {"model": fingerprint(model), "fit": fit, "interpolation": model.interpolation, "folder": place}
    model = model.fast  # once: to look whether it is as it was, all its weights are compared with a copy
    rows = _Rows(target, facts)
    skipped: dict[str, str] = {}
    keys: list[tuple[Path, bytes]] = []
    step = model.chunk(model.size**2, chunk)
    for portion in _portions(paths, rows, model, fit, step):
        keys += portion.keys.items()
        skipped |= {str(path.relative_to(folder)): why for path, why in portion.unread.items()}
        if portion.pixels is not None:
            rows.add(model, portion.new, portion.pixels)
    told = ", ".join(f"such as {name!r}: {why}" for name, why in list(skipped.items())[:1])
    if not keys:
        raise InputError(f"expected at least one image that can be read in {str(folder)!r}, got none of {len(skipped)}, {told}")
    if skipped:
        note(f"{len(skipped)} of {len(paths)} files cannot be read and are left out, {told}")
    rows.finish([str(path.relative_to(folder)) for path, _ in keys], [key for _, key in keys])
    found = Gallery.open(target)
    object.__setattr__(found, "skipped", skipped)
    return found


_FINGERPRINTS: "weakref.WeakKeyDictionary[PairModel, tuple[weakref.ref[PairModel], str]]" = weakref.WeakKeyDictionary()


def fingerprint(model: PairModel) -> str:
    """What tells embeddings of this model from those of others, once for each state of its weights, each with a fast form of its own."""
    fast, (known, key) = model.fast, _FINGERPRINTS.get(model, (None, ""))
    if known is None or known() is not fast:
        from xaicl_lib.evaluation.fingerprint import model_key  # which brings tables, that nobody else here waits for

        key = model_key(model)
        _FINGERPRINTS[model] = weakref.ref(fast), key
    return key


def _key(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=KEY).digest()


def _unit(z: Float[Tensor, "n d"]) -> np.ndarray:
    """Unit vectors in single precision; zeros stay zeros, and are like nothing."""
    return (z / z.norm(dim=1, keepdim=True).clamp_min(1e-12)).float().cpu().numpy()


@dataclass
class _Portion:
    """Some of the files: the digest of each that could be read and why others could not; digests and pixels of those to embed."""

    keys: dict[Path, bytes] = field(default_factory=dict)
    unread: dict[Path, str] = field(default_factory=dict)
    new: list[bytes] = field(default_factory=list)
    pixels: Tensor | None = None


def _portions(paths: Sequence[Path], rows: "_Rows", model: PairModel, fit: str, step: int) -> Iterator[_Portion]:
    """The files in portions, opened.

    A thread of its own reads ahead while the model computes; one, since warnings, by which photos are told about, are those of all threads.
    """
    waiting: deque[Future[_Portion]] = deque()
    with ThreadPoolExecutor(1) as pool:
        try:
            for k in progress(range(len(paths)), "images"):
                if k % step == 0:
                    waiting.append(pool.submit(_portion, paths[k : k + step], rows, model, fit))
                    if len(waiting) > 2:
                        yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for rest in waiting:
                rest.cancel()


def _portion(paths: Sequence[Path], rows: "_Rows", model: PairModel, fit: str) -> _Portion:
    made = _Portion()
    for path in paths:
        try:
            made.keys[path] = _key(path.read_bytes())
        except OSError as error:
            made.unread[path] = f"{path.name!r} cannot be read: {error.strerror}"
    wanted = [path for path, key in made.keys.items() if not rows.knows(key)]
    try:
        pixels = _pixels(wanted, model, fit)
    except InputError:  # one by one, to find out which
        pixels = [part for path in wanted for part in _tried(path, made, model, fit)]
    made.new = [made.keys[path] for path in wanted if path in made.keys]
    made.pixels = torch.cat(pixels) if pixels else None
    return made


def _pixels(paths: Sequence[Path], model: PairModel, fit: str) -> list[Tensor]:
    """In one go, for to check and to tell costs as much for one photo as for many."""
    try:
        return [Pair.open(list(paths), None, model, fit).a] if paths else []
    except OSError as error:
        raise InputError(f"{Path(error.filename or '').name!r} cannot be read: {error.strerror}") from error


def _tried(path: Path, made: _Portion, model: PairModel, fit: str) -> list[Tensor]:
    try:
        return _pixels([path], model, fit)
    except InputError as error:
        made.unread[path] = str(error)
        del made.keys[path]
        return []


class _Rows:
    """Embeddings by the content of what was embedded: those of the file, and beside it what a run has made so far, record by record.

    A record is a digest and an embedding; one that a killed process left half-written is cut off.
    """

    def __init__(self, target: Path, facts: dict[str, str]) -> None:
        self.target, self.facts, self.part = target, facts, target.with_name(target.name + ".rows")
        self.known: dict[bytes, tuple[np.ndarray, int]] = {}
        if target.exists():
            held, before = _mapped(target)
            self._check(before, target)
            self.known = {bytes(key): (held["embeddings"], k) for k, key in enumerate(held["keys"])}
        self.width = 0
        if self.part.exists():
            self._take_up()

    def knows(self, key: bytes) -> bool:
        return key in self.known

    def _check(self, before: dict[str, str], path: Path) -> None:
        for name in ("model", "fit", "interpolation"):
            if before.get(name) != self.facts[name]:
                raise InputError(
                    f"expected embeddings of this {name} ({self.facts[name]}) in {str(path)!r}, got those of {before.get(name)}; "
                    "name another file or remove it"
                )

    def _take_up(self) -> None:
        """Go on with what a killed run has left."""
        data = self.part.read_bytes()
        head, _, body = data.partition(b"\n")
        before: dict[str, Any] = {}
        with suppress(ValueError, TypeError, KeyError, OverflowError, RecursionError):
            before = dict(json.loads(head))
            self.width = int(before["width"])
        if self.width > 0:
            self._check(before, self.part)
        else:  # killed in its first moment
            self.part.unlink()
            return
        size = KEY + 4 * self.width
        whole = len(body) // size
        os.truncate(self.part, len(head) + 1 + whole * size)
        self._learn(np.frombuffer(body, np.uint8, whole * size).reshape(whole, size))

    def _learn(self, records: np.ndarray) -> None:
        z = np.ascontiguousarray(records[:, KEY:]).view("<f4")
        self.known |= {bytes(record[:KEY]): (z, k) for k, record in enumerate(records)}

    def add(self, model: PairModel, keys: Sequence[bytes], pixels: Float[Tensor, "n c s s"]) -> None:
        """Embed images and keep what comes out."""
        z = _unit(model.encode(pixels, "b", len(pixels)))
        if not np.isfinite(z).all():
            raise InputError(f"expected finite embeddings, got NaN or infinity from {model.name!r}")
        digests = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY)
        records = np.concatenate([digests, z.astype("<f4").view(np.uint8).reshape(len(z), -1)], 1)
        try:
            with self.part.open("ab") as out:
                if not out.tell():
                    out.write(json.dumps({**self.facts, "width": z.shape[1]}).encode() + b"\n")
                out.write(records.tobytes())
        except OSError as error:
            raise InputError(f"expected room for embeddings in {str(self.part)!r}, got: {error.strerror}") from error
        self._learn(records)

    def finish(self, names: Sequence[str], keys: Sequence[bytes]) -> None:
        """Write the file, and remove what led to it."""
        texts = [os.fsencode(name) for name in names]
        first, _ = self.known[keys[0]]
        parts: dict[str, tuple[tuple[int, ...], Iterator[bytes]]] = {
            "embeddings": ((len(keys), first.shape[1]), self._embeddings(keys)),
            "ends": ((len(keys),), iter([np.cumsum([len(text) for text in texts], dtype="<i8").tobytes()])),
            "keys": ((len(keys), KEY), iter([b"".join(keys)])),
            "names": ((sum(map(len, texts)),), iter(texts)),
        }
        with written_whole(self.target) as path, path.open("wb") as out:
            out.write(_header(parts, self.facts))
            for _, pieces in parts.values():
                out.writelines(pieces)
        self.part.unlink(missing_ok=True)

    def _embeddings(self, keys: Sequence[bytes]) -> Iterator[bytes]:
        for start in range(0, len(keys), AT_ONCE):
            found = (self.known[key] for key in keys[start : start + AT_ONCE])
            yield np.stack([rows[k] for rows, k in found]).tobytes()


def _header(parts: dict[str, Any], facts: dict[str, str]) -> bytes:
    """What stands before the numbers of a safetensors file."""
    head: dict[str, Any] = {"__metadata__": {"xaicl": "gallery", **facts}}
    end = 0
    for name, (shape, _) in parts.items():
        start, end = end, end + TYPES[PARTS[name]].itemsize * int(np.prod(shape))
        head[name] = {"dtype": PARTS[name], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)  # numbers begin at a multiple of eight
    return struct.pack("<Q", len(text)) + text


def _mapped(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors of a gallery's file, none of which is read yet, and what it says of itself."""
    if not path.is_file():
        raise InputError(f"expected a gallery's file, got {str(path)!r}, which {'is a folder' if path.is_dir() else 'does not exist'}")
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            head = json.loads(file.read(min(length, 10_000_000)))
        facts = head.pop("__metadata__")
        held = {name: _part(path, 8 + length, name, head[name]) for name in PARTS}
        if facts["xaicl"] != "gallery" or not _is_whole(held, facts):
            raise ValueError
        return held, facts
    except (OSError, ValueError, KeyError, TypeError, struct.error, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"expected a gallery's file, as embed_gallery writes, got {path.name!r}, which is not one or not whole") from error


def _part(path: Path, begin: int, name: str, told: dict[str, Any]) -> np.ndarray:
    """A tensor where it lies."""
    start, end = told["data_offsets"]
    part = np.memmap(path, TYPES[PARTS[name]], "r", begin + start, tuple(told["shape"]))
    if told["dtype"] != PARTS[name] or part.nbytes != end - start:
        raise ValueError
    return part


def _is_whole(held: dict[str, np.ndarray], facts: dict[str, Any]) -> bool:
    """Whether there is a row, a key and a name for each image, and all that a gallery says of itself."""
    z, ends, names = held["embeddings"], held["ends"], held["names"]
    shaped = z.ndim == 2 and len(z) > 0 and ends.shape == z.shape[:1] and held["keys"].shape == (len(z), KEY) and names.ndim == 1
    named = shaped and ends[0] > 0 and bool((ends[1:] > ends[:-1]).all()) and ends[-1] == len(names)
    return named and all(isinstance(facts[fact], str) for fact in ("model", "fit", "folder"))
