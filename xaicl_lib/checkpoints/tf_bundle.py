"""TensorFlow's checkpoint files ("bundles") without TensorFlow: an index table and shards of raw tensors.

The index, `PREFIX.index`, is a sorted table as LevelDB has it: blocks of keys and values, each with a checksum, an index block
that says where they are, and a footer of 48 bytes. Its values are protocol buffers that say where in `PREFIX.data-...` a tensor
lies, of which type and shape, with the checksum of its bytes. Files come from anywhere: every offset, size and count is checked
against the file before it is used, and nothing in them is ever run.
"""

import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from xaicl_lib.errors import InputError, needing

FOOTER = 48  # bytes: two handles of a block, padded, and the magic number
MAGIC = 0xDB4775248B80FB57
PLAIN, SNAPPY = 0, 1  # how a block is stored
MAX_INDEX = 1 << 27  # bytes; the index of a network of a billion weights has less than 1 MB
# Types by their number in TensorFlow; the others (text, resources, quantised numbers) hold no weights.
TYPES = {
    1: torch.float32, 2: torch.float64, 3: torch.int32, 4: torch.uint8, 5: torch.int16, 6: torch.int8, 9: torch.int64,
    10: torch.bool, 14: torch.bfloat16, 19: torch.float16,
}  # fmt: skip


@dataclass(frozen=True)
class _Entry:
    """Where a tensor is: the fields of TensorFlow's BundleEntryProto."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc32c: int
    sliced: bool


class Bundle:
    """The tensors of a checkpoint, read one by one when asked for.

    Args:
        path: the index file, or its name without `.index`.

    Raises:
        InputError: missing, truncated or changed files, or a format that is not a bundle's.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.prefix = Path(str(path).removesuffix(".index"))
        index = self.prefix.with_name(self.prefix.name + ".index")
        try:
            entries = dict(_entries(_read_index(index)))
            self.shards = _header(entries.pop(b"", b""))
            self.entries = {key.decode(): _entry(value) for key, value in entries.items()}
        except (_DamagedError, UnicodeDecodeError, struct.error) as error:
            raise InputError(f"expected the index of a TensorFlow checkpoint, got {index.name!r}: {error}") from error

    def read(self, name: str) -> torch.Tensor:
        """A tensor, its checksum found right.

        Raises:
            InputError: no such tensor, a type that holds no weights, a missing or truncated shard, or another checksum.
        """
        if name not in self.entries:
            raise InputError(f"expected a tensor {name!r} in {self.prefix.name!r}, which has none of that name")
        entry, shard = self.entries[name], self._shard(self.entries[name].shard)
        dtype = TYPES.get(entry.dtype)
        if dtype is None or entry.sliced:
            raise InputError(f"expected numbers in one piece in {name!r}, got {'slices' if entry.sliced else f'type {entry.dtype}'}")
        count = 1
        for side in entry.shape:
            count *= side
        if entry.size != count * dtype.itemsize:
            raise InputError(f"expected {count * dtype.itemsize} bytes of {name!r}, {entry.shape}, the index says {entry.size}")
        there = shard.stat().st_size if shard.is_file() else -1
        if entry.offset + entry.size > there:
            got = "no such file" if there < 0 else f"{there} bytes"
            raise InputError(f"expected {entry.offset + entry.size} bytes or more in {shard.name!r}, got {got}; copy or download it again")
        data = np.fromfile(shard, np.uint8, entry.size, offset=entry.offset)
        if _checksum(data) != entry.crc32c:
            raise InputError(f"the checksum of {name!r} in {shard.name!r} is wrong: the file was changed or damaged, not loaded")
        return torch.from_numpy(data).view(dtype).reshape(entry.shape) if entry.size else torch.empty(entry.shape, dtype=dtype)

    def _shard(self, k: int) -> Path:
        if k >= self.shards:
            raise InputError(f"expected shards below {self.shards} in {self.prefix.name!r}, its index names {k}")
        return self.prefix.with_name(f"{self.prefix.name}.data-{k:05d}-of-{self.shards:05d}")


class _DamagedError(Exception):
    """What is wrong with the bytes of an index."""


def _read_index(path: Path) -> memoryview:
    if not path.is_file():
        raise InputError(f"expected the index of a TensorFlow checkpoint, got {str(path)!r}, which does not exist")
    if path.stat().st_size > MAX_INDEX:
        raise _DamagedError(f"it has {path.stat().st_size} bytes, more than any index")
    return memoryview(path.read_bytes())


def _entries(table: memoryview) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a table, in order."""
    if len(table) < FOOTER or struct.unpack("<Q", table[-8:])[0] != MAGIC:
        raise _DamagedError("its last bytes are not those of a table (truncated, or another kind of file)")
    footer = table[-FOOTER:]
    meta, at = _handle(footer, 0)
    _block(table, *meta)  # about blocks; it says nothing that is needed, but it is part of the whole
    (offset, size), _ = _handle(footer, at)
    last = b""
    for _, value in _pairs(_block(table, offset, size)):
        handle, _ = _handle(memoryview(value), 0)
        for key, entry in _pairs(_block(table, *handle)):
            if key <= last and last:
                raise _DamagedError("its keys are not in order")
            last = key
            yield key, entry


def _block(table: memoryview, offset: int, size: int) -> memoryview:
    """The contents of a block, whose checksum covers them and the byte that says how they are stored."""
    if offset + size + 5 > len(table):
        raise _DamagedError("a block lies outside the file")
    stored, how = table[offset : offset + size], table[offset + size]
    if _checksum(table[offset : offset + size + 1]) != _unmasked(*struct.unpack("<I", table[offset + size + 1 : offset + size + 5])):
        raise _DamagedError("the checksum of a block is wrong (changed or damaged)")
    if how not in (PLAIN, SNAPPY):
        raise _DamagedError(f"a block is compressed in an unknown way ({how})")
    return stored if how == PLAIN else memoryview(_unsnap(stored))


def _checksum(data: np.ndarray | memoryview) -> int:
    """CRC-32C (Castagnoli)."""
    with needing("expected google-crc32c, to check TensorFlow's files; pip install 'xaicl_lib[tensorflow]'"):
        import google_crc32c
    return google_crc32c.value(data if isinstance(data, np.ndarray) else bytes(data))


def _unmasked(stored: int) -> int:
    """The checksum that was stored masked, as TensorFlow does because checksums of checksums are weak."""
    rotated = (stored - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def _pairs(block: memoryview) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; a key says how many bytes it shares with the one before."""
    if len(block) < 4:
        raise _DamagedError("a block is too short")
    end = len(block) - 4 - 4 * struct.unpack("<I", block[-4:])[0]  # before the list of restarts, which a reader in order does not need
    if end < 0:
        raise _DamagedError("a block has more restarts than bytes")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        size, at = _varint(block, at)
        if shared > len(key) or at + own + size > end:
            raise _DamagedError("a key or value lies outside its block")
        key = key[:shared] + bytes(block[at : at + own])
        yield key, bytes(block[at + own : at + own + size])
        at += own + size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where it ends."""
    value = 0
    for k in range(10):
        if at + k >= len(data):
            raise _DamagedError("a number is cut off")
        value |= (data[at + k] & 0x7F) << 7 * k
        if data[at + k] < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + k + 1
    raise _DamagedError("a number is longer than 64 bits")


def _handle(data: memoryview, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _unsnap(data: memoryview) -> bytes:
    """Snappy's raw format: its length, then literals and copies of what came before."""
    size, at = _varint(data, 0)
    if size > MAX_INDEX:
        raise _DamagedError("a block unpacks to more than any index has")
    out = bytearray()
    while at < len(data) and len(out) <= size:
        kind, more = data[at] & 3, data[at] >> 2
        width = (max(0, more - 59), 1, 2, 4)[kind]  # bytes that follow the tag
        number = int.from_bytes(data[at + 1 : at + 1 + width], "little")
        at += 1 + width
        if at > len(data):
            raise _DamagedError("a compressed block is cut off")
        if kind == 0:
            count = (number if width else more) + 1
            if at + count > len(data):
                raise _DamagedError("a compressed block is cut off")
            out += data[at : at + count]
            at += count
            continue
        back, count = (number | (more >> 3) << 8, (more & 7) + 4) if kind == 1 else (number, more + 1)
        if not 0 < back <= len(out):
            raise _DamagedError("a compressed block copies from before its beginning")
        piece = bytes(out[-back:][:count])
        out += (piece * (count // len(piece) + 1))[:count]  # a copy may run into what it writes
    if len(out) != size:
        raise _DamagedError("a compressed block has another length than it says")
    return bytes(out)


def _fields(message: bytes) -> Iterable[tuple[int, int | bytes]]:
    """Numbers and contents of a protocol buffer's fields."""
    data, at = memoryview(message), 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        size, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}.get(kind, -1), at)
        if size < 0 or at + size > len(data):
            raise _DamagedError("a description of a tensor is cut off or of another format")
        yield tag >> 3, bytes(data[at : at + size])
        at += size


def _number(value: int | bytes) -> int:
    """A field that is a number, below 2**63."""
    number = value if isinstance(value, int) else -1
    if not 0 <= number < 1 << 63:
        raise _DamagedError("a description of a tensor has a text, or a negative number, for a size")
    return number


def _header(message: bytes) -> int:
    """How many shards there are, of little-endian numbers."""
    fields = dict(_fields(message))
    shards = _number(fields.get(1, 0))
    if fields.get(2, 0) != 0:
        raise _DamagedError("its numbers are big-endian, which is not supported")
    if not 1 <= shards < 100_000:
        raise _DamagedError(f"it has {shards} shards")
    return shards


def _entry(message: bytes) -> _Entry:
    numbers, crc, sliced = {1: 0, 3: 0, 4: 0, 5: 0}, 0, False
    shape: tuple[int, ...] = ()
    for field, value in _fields(message):
        if field in numbers:
            numbers[field] = _number(value)
        elif field == 2 and isinstance(value, bytes):
            shape = _shape(value)
        elif field == 6 and isinstance(value, bytes) and len(value) == 4:
            crc = _unmasked(*struct.unpack("<I", value))
        sliced |= field == 7
    return _Entry(numbers[1], shape, numbers[3], numbers[4], numbers[5], crc, sliced)


def _shape(message: bytes) -> tuple[int, ...]:
    """Sides of a tensor, each a message of its own."""
    sides = [dict(_fields(value)) for field, value in _fields(message) if field == 2 and isinstance(value, bytes)]
    return tuple(_number(side.get(1, 0)) for side in sides)


def find_bundle(path: str | os.PathLike[str]) -> Path:
    """The index file that a path means: itself, a name without `.index`, one of its shards, or a folder with one index in it."""
    path = Path(path)
    if path.is_dir():
        found = sorted(path.glob("*.index"))
        if len(found) != 1:
            raise InputError(f"expected a folder with one TensorFlow checkpoint, got {str(path)!r} with {len(found)} .index files")
        return found[0]
    prefix = re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", str(path))
    return Path(prefix + ".index")
