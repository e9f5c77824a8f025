"""The reader of TensorFlow's checkpoints against TensorFlow's own files, and against files that are not as they should be."""

import random
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from xaicl_lib import InputError
from xaicl_lib.checkpoints.tf_bundle import Bundle, _checksum, _unmasked, find_bundle

FIXTURES = Path(__file__).parent / "fixtures"
TINY = FIXTURES / "tiny" / "model.ckpt-250228.index"


def slow_crc(data: bytes) -> int:
    """Bit by bit, straight from the polynomial."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 63, 64, 65, 1023, 1024, 1025, 2048, 7000])
def test_checksum_equals_the_polynomial(size) -> None:
    data = random.Random(size).randbytes(size)
    assert _checksum(memoryview(data)) == _checksum(np.frombuffer(data, np.uint8)) == slow_crc(data)


def test_masked_checksum_as_in_the_format() -> None:
    crc = _checksum(memoryview(b"foo"))
    assert _unmasked(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF) == crc


def test_without_the_package_one_line_names_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    with pytest.raises(InputError, match=r"expected google-crc32c.*\[tensorflow\]"):
        Bundle(TINY)


def test_every_tensor_is_that_of_tensorflow() -> None:
    bundle, want = Bundle(FIXTURES / "kinds"), np.load(FIXTURES / "kinds.npz")
    assert set(bundle.entries) == {*want.files, "text"}
    for name in want.files:
        got = bundle.read(name)
        assert got.dtype == getattr(torch, {"scalar": "float32", "empty": "float32"}.get(name, name))
        assert np.array_equal(got.float().numpy() if name == "bfloat16" else got.numpy(), want[name]), name
        assert tuple(got.shape) == want[name].shape
    with pytest.raises(InputError, match="expected numbers in one piece in 'text', got type 7"):
        bundle.read("text")
    with pytest.raises(InputError, match="which has none of that name"):
        bundle.read("other")


def test_names_share_beginnings_over_many_restarts() -> None:
    names = list(Bundle(TINY).entries)
    assert len(names) == 119
    assert names == sorted(names)
    assert "ema_model/base_model/batch_normalization_19/moving_variance" in names
    assert Bundle(TINY).read("global_step").item() == 250228


def test_a_bundle_is_found_by_any_of_its_names() -> None:
    prefix = str(TINY).removesuffix(".index")
    for path in (TINY, prefix, prefix + ".data-00000-of-00001", prefix + ".meta", TINY.parent):
        assert find_bundle(path) == TINY
    with pytest.raises(InputError, match=r"one TensorFlow checkpoint, got .* with 0 \.index files"):
        find_bundle(FIXTURES.parent)


@pytest.fixture
def copy(tmp_path) -> Path:
    for path in TINY.parent.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path / TINY.name


def test_every_changed_byte_of_the_index_is_noticed(copy) -> None:
    """A byte at a time, everywhere but in the padding of the footer, which means nothing."""
    data, whole = copy.read_bytes(), Bundle(copy).entries
    for at in [*range(0, len(data), 61), *range(len(data) - 120, len(data), 5)]:
        changed = bytearray(data)
        changed[at] ^= 0x41
        copy.write_bytes(changed)
        if len(data) - 40 <= at < len(data) - 8:  # behind the two handles, which take eight bytes or less here
            assert Bundle(copy).entries == whole
        else:
            with pytest.raises(InputError, match="expected the index of a TensorFlow checkpoint"):
                Bundle(copy)


def test_every_truncation_of_the_index_is_noticed(copy) -> None:
    data = copy.read_bytes()
    for size in [*range(0, len(data), 97), len(data) - 1]:
        copy.write_bytes(data[:size])
        with pytest.raises(InputError, match="expected the index of a TensorFlow checkpoint"):
            Bundle(copy)


def test_changed_truncated_and_missing_shards(copy) -> None:
    shard = copy.with_suffix(".data-00000-of-00001")
    data = shard.read_bytes()
    bundle = Bundle(copy)
    name = max(bundle.entries, key=lambda n: bundle.entries[n].offset)
    shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(InputError, match=r"checksum of .* is wrong: the file was changed or damaged, not loaded"):
        bundle.read(name)
    shard.write_bytes(data[:-1])
    with pytest.raises(InputError, match=rf"expected {len(data)} bytes or more in .*, got {len(data) - 1} bytes"):
        bundle.read(name)
    shard.unlink()
    with pytest.raises(InputError, match="got no such file"):
        bundle.read(name)


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def pair(key: bytes, value: bytes, shared: int = 0) -> bytes:
    return varint(shared) + varint(len(key)) + varint(len(value)) + key + value


def mask(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def stored(body: bytes, how: int = 0) -> bytes:
    return body + bytes([how]) + struct.pack("<I", mask(slow_crc(body + bytes([how]))))


def plain(*pairs: bytes) -> bytes:
    return stored(b"".join(pairs) + struct.pack("<II", 0, 1))


def table(*blocks: bytes) -> bytes:
    """A table of these blocks, written here by the format's description."""
    out, handles = b"", b""
    for k, block in enumerate(blocks):
        handles += pair(bytes([k]), varint(len(out)) + varint(len(block) - 5))
        out += block
    index = stored(handles + struct.pack("<II", 0, 1))
    footer = (varint(len(out) + len(index)) + varint(8) + varint(len(out)) + varint(len(index) - 5)).ljust(40, b"\0") + struct.pack(
        "<Q", 0xDB4775248B80FB57
    )
    return out + index + plain() + footer


HEADER = pair(b"", field(1, 1))
DATA = np.arange(6, dtype="<f4").tobytes()


def entry(dtype: int = 1, sides: tuple[int, ...] = (2, 3), shard: int = 0, offset: int = 0, size: int = 24) -> bytes:
    shape = b"".join(field(2, field(1, side)) for side in sides)
    crc = varint(6 << 3 | 5) + struct.pack("<I", mask(slow_crc(DATA)))
    return field(1, dtype) + field(2, shape) + field(3, shard) + field(4, offset) + field(5, size) + crc


def bundle_of(tmp_path: Path, index: bytes) -> Bundle:
    (tmp_path / "made.index").write_bytes(index)
    (tmp_path / "made.data-00000-of-00001").write_bytes(DATA)
    return Bundle(tmp_path / "made")


def test_several_blocks_and_compressed_ones(tmp_path) -> None:
    value = entry()
    body = pair(b"b", value) + pair(b"c", value, shared=0) + struct.pack("<II", 0, 1)
    first, rest = body[:10], body[10:]
    snappy = varint(len(body)) + bytes([9 << 2]) + first  # a literal of ten bytes, its length in the tag
    snappy += bytes([60 << 2, len(rest) - 1]) + rest  # a literal whose length follows
    made = bundle_of(tmp_path, table(plain(HEADER, pair(b"a", value)), stored(snappy, 1), plain(pair(b"d", value))))
    assert list(made.entries) == ["a", "b", "c", "d"]
    for name in made.entries:
        assert torch.equal(made.read(name), torch.arange(6.0).view(2, 3))


def test_copies_in_compressed_blocks(tmp_path) -> None:
    """Each of the three kinds of copy, one of them running into what it writes."""
    from xaicl_lib.checkpoints.tf_bundle import _unsnap

    literal = bytes([3 << 2]) + b"abcd"
    near = bytes([1 | (11 - 4) << 2, 3])  # eleven bytes from three back
    far = bytes([2 | (5 - 1) << 2]) + struct.pack("<H", 15)
    farther = bytes([3 | (4 - 1) << 2]) + struct.pack("<I", 20)
    want = b"abcd" + b"bcdbcdbcdbc" + b"abcdb" + b"abcd"
    assert _unsnap(memoryview(varint(len(want)) + literal + near + far + farther)) == want


TRICKS = {
    "an entry far outside the shard": (table(plain(HEADER, pair(b"a", entry(offset=1 << 50)))), "bytes or more in"),
    "a negative offset": (table(plain(HEADER, pair(b"a", entry(offset=(1 << 64) - 8)))), "negative number"),
    "a shape of more than all memory": (table(plain(HEADER, pair(b"a", entry(sides=(1 << 40, 1 << 40))))), "the index says 24"),
    "a shard that does not exist": (table(plain(HEADER, pair(b"a", entry(shard=7)))), "names 7"),
    "no header": (table(plain(pair(b"a", entry()))), "it has 0 shards"),
    "numbers of the other order": (table(plain(pair(b"", field(1, 1) + field(2, 1)))), "big-endian"),
    "a key that shares what was not there": (table(plain(HEADER, pair(b"a", entry(), shared=9))), "outside its block"),
    "keys out of order": (table(plain(HEADER, pair(b"b", entry()), pair(b"a", entry()))), "not in order"),
    "an unknown compression": (table(stored(b"x" * 20, 7)), "unknown way"),
    "a bomb": (table(stored(varint(1 << 40) + b"\0a", 1)), "more than any index"),
    "a copy from before the beginning": (table(stored(varint(9) + bytes([1, 5]), 1)), "before its beginning"),
    "restarts without end": (table(stored(struct.pack("<I", 0xFFFFFFFF))), "more restarts than bytes"),
    "a value cut off in its middle": (table(plain(HEADER, pair(b"a", entry()[:-2]))), "cut off"),
    "a text for a number": (table(plain(HEADER, pair(b"a", field(4, b"12")))), "text"),
    "a name that is no text": (table(plain(HEADER, pair(b"\xff\xfe", entry()))), "decode"),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_files_made_to_deceive(trick, tmp_path) -> None:
    index, says = TRICKS[trick]
    with pytest.raises(InputError, match=says):
        bundle_of(tmp_path, index).read("a")


def test_what_is_no_index(tmp_path) -> None:
    for content in (b"", b"<!DOCTYPE html><html>" + b" " * 100, b"PK\3\4" * 40):
        (tmp_path / "made.index").write_bytes(content)
        with pytest.raises(InputError, match="its last bytes are not those of a table"):
            Bundle(tmp_path / "made")
    with pytest.raises(InputError, match="does not exist"):
        Bundle(tmp_path / "other")
