"""Grey of more than eight bits is scaled by what its file says, and else a note says what was taken for black and white."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from tests.conftest import assert_close
from xaicl_lib.images import open_photo

BYTES = np.linspace(0, 255, 12 * 16).round().astype(np.uint8).reshape(12, 16)
WHITE_IS_ZERO, SMALLEST, LARGEST = 262, 280, 281


def opened(values: np.ndarray, kind: str = "TIFF", tags: dict[int, int] | None = None, **options):
    buffer = io.BytesIO()
    stated = ImageFileDirectory_v2()
    for tag, value in (tags or {}).items():
        stated.tagtype[tag] = 4
        stated[tag] = value
    Image.fromarray(values).save(buffer, kind, **({"tiffinfo": stated} if tags else {}), **options)
    return open_photo(Image.open(buffer))


def quiet(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return opened(*arguments, **options)


WANT = open_photo(Image.fromarray(BYTES))


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "PPM"])
def test_sixteen_bits_are_taken_whole(kind) -> None:
    assert_close(quiet(BYTES.astype(np.uint16) * 257, kind), WANT)


def test_a_stated_range_is_followed() -> None:
    for dtype in (np.uint16, np.int32):
        assert_close(quiet((BYTES * (4095 / 255)).round().astype(dtype), tags={LARGEST: 4095}), WANT, atol=0.51 / 255)
    shifted = BYTES.astype(np.uint16) * 4 + 100
    assert_close(quiet(shifted, tags={SMALLEST: 100, LARGEST: 1120}), WANT)
    with pytest.warns(UserWarning, match="has no value above 1120"):
        opened(shifted, tags={LARGEST: 0})


def test_what_is_white_at_zero_is_turned_round() -> None:
    deep = BYTES.astype(np.uint16) * 257
    assert_close(quiet(65535 - deep, tags={WHITE_IS_ZERO: 0}), WANT)


def test_twelve_bits_in_sixteen_without_a_word_are_noted() -> None:
    with pytest.warns(UserWarning, match="no value above 4080 of 65535, so it is nearly black"):
        got = opened(BYTES.astype(np.uint16) * 16)
    assert_close(got, WANT / 16, atol=0.51 / 255)


@pytest.mark.parametrize(("factor", "says"), [(1, "0 and 255"), (257, "0 and 65535"), (100_000, "0 and 25500000")])
def test_thirty_two_bits_are_scaled_to_the_smallest_range_that_holds_them(factor, says) -> None:
    with pytest.warns(UserWarning, match=f"32 bits does not say what is black and white: {says} are taken"):
        assert_close(opened(BYTES.astype(np.int32) * factor), WANT, atol=0.51 / 255)
    with pytest.warns(UserWarning, match="-1000 and 1550 are taken"):
        assert_close(opened(BYTES.astype(np.int32) * 10 - 1000), WANT, atol=0.51 / 255)
    with pytest.warns(UserWarning, match=says):
        assert_close(open_photo(Image.fromarray(BYTES.astype(np.int32) * factor)), WANT, atol=0.51 / 255)


def test_one_value_of_deep_grey_may_be_clear() -> None:
    got = quiet(BYTES.astype(np.uint16) * 257, "PNG", transparency=0)
    assert_close(got, WANT.masked_fill(WANT == 0, 1))


def test_dark_colour_of_sixteen_bits_is_noted(tmp_path) -> None:
    rows = np.stack([BYTES.astype(np.uint16) * 16] * 3, 2)
    tags = [(256, 16), (257, 12), (258, (16, 16, 16)), (259, 1), (262, 2), (273, 8), (277, 3), (278, 12), (279, rows.nbytes)]
    at = 8 + rows.nbytes
    directory, more = len(tags).to_bytes(2, "little"), b""
    for tag, value in tags:
        if isinstance(value, tuple):
            offset = at + 2 + 12 * len(tags) + 4
            directory += b"".join(n.to_bytes(k, "little") for n, k in ((tag, 2), (3, 2), (3, 4), (offset, 4)))
            more = b"".join(v.to_bytes(2, "little") for v in value)
        else:
            directory += b"".join(n.to_bytes(k, "little") for n, k in ((tag, 2), (4, 2), (1, 4), (value, 4)))
    file = tmp_path / "deep.tif"
    file.write_bytes(b"II*\0" + at.to_bytes(4, "little") + rows.tobytes() + directory + bytes(4) + more)
    with pytest.warns(UserWarning, match="a file of 16 bits uses at most 12 of them and is nearly black"):
        assert open_photo(file).max() == 15 / 255
