"""Formats that need help are known by their first bytes; without the help one line says what brings it."""

import sys

import numpy as np
import pytest
from PIL import Image, features

from tests import made_profiles as made
from xaicl_lib import InputError
from xaicl_lib.images import open_photo
from xaicl_lib.images.formats import readable, stated_size

SMOOTH = np.add.outer(np.arange(40) * 3, np.arange(64) * 2)[..., None].repeat(3, 2).astype(np.uint8)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
JXL_BOX = b"\0\0\0\x0cJXL \r\n\x87\n"


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
def test_avif_is_read_whatever_it_is_called(tmp_path) -> None:
    Image.fromarray(SMOOTH).save(tmp_path / "a.avif", quality=95, subsampling="4:4:4")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.avif").read_bytes())
    for name in ("a.avif", "a.jpg"):
        assert (open_photo(tmp_path / name) - open_photo(SMOOTH)).abs().max() <= 4 / 255


@pytest.mark.parametrize(
    ("head", "module", "says"),
    [
        (HEIC, "pillow_heif", r"expected a reader of HEIF for 'x.jpg', got none; it takes pillow-heif: pip install 'xaicl_lib\[heic\]'"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "PIL.AvifImagePlugin", "reader of AVIF .* takes Pillow 11.3 or newer"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0miaf", "pillow_heif", "reader of HEIF"),
        (b"\xff\x0a\x7f\0\0\0\0\0", "pillow_jxl", "reader of JXL .* takes pillow-jxl-plugin"),
        (JXL_BOX + b"\0\0\0\x10jxlc\xff\x0a\x7f\0\0\0\0\0", "pillow_jxl", "reader of JXL"),
    ],
)
def test_a_missing_reader_is_named(tmp_path, monkeypatch, head, module, says) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    (tmp_path / "x.jpg").write_bytes(head)
    with pytest.raises(InputError, match=says) as error:
        open_photo(tmp_path / "x.jpg")
    assert "\n" not in str(error.value)


def bits(*fields: tuple[int, int]) -> bytes:
    """Values of so many bits each, the lowest first, as JPEG XL packs them."""
    value = shift = 0
    for number, count in fields:
        value, shift = value | number << shift, shift + count
    return b"\xff\x0a" + value.to_bytes(14, "little")


@pytest.mark.parametrize(
    ("stream", "size"),
    [
        (bits((1, 1), (4, 5), (1, 3)), (40, 40)),  # in eights, a square
        (bits((1, 1), (4, 5), (0, 3), (7, 5)), (64, 40)),
        (bits((0, 1), (0, 2), (299, 9), (5, 3)), (533, 300)),  # 16 to 9
        (bits((0, 1), (1, 2), (4999, 13), (0, 3), (3, 2), (999_999_999, 30)), (1_000_000_000, 5000)),
    ],
)
def test_a_jpeg_xl_says_its_size_before_it_is_decoded(tmp_path, stream, size) -> None:
    file = tmp_path / "a.jxl"
    jpeg = b"\0\0\0\x0cExifFF\xff\x0a"  # a box before that holds what begins like a stream
    for whole in (stream, JXL_BOX + jpeg + b"\0\0\0\x18jxlc" + stream, JXL_BOX + b"\0\0\0\x1cjxlp\0\0\0\0" + stream):
        file.write_bytes(whole)
        assert stated_size(file) == size
    if size[0] > 10**6:
        with pytest.raises(InputError, match=r"at most 64 megapixels, got 'a.jxl'"):
            open_photo(file)


@pytest.mark.parametrize("whole", [JXL_BOX, JXL_BOX + b"\0\0\0\x03jxll", JXL_BOX + b"\0\0\0\x10jxlcnot a str"])
def test_a_jpeg_xl_without_a_size_is_refused(tmp_path, whole) -> None:
    (tmp_path / "a.jxl").write_bytes(whole)
    with pytest.raises(InputError, match=r"'a\.jxl', which cannot be decoded: it does not say how large it is"):
        open_photo(tmp_path / "a.jxl")


def test_a_heic_is_read_with_its_colours(tmp_path) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    Image.fromarray(SMOOTH).save(tmp_path / "a.heic", quality=95, chroma=444, icc_profile=made.DISPLAY_P3)
    assert readable(tmp_path / "a.heic") == ("HEIF",)
    with pytest.warns(UserWarning, match="Display P3"):
        assert (open_photo(tmp_path / "a.heic") - open_photo(SMOOTH)).abs().max() <= 6 / 255  # greys are the same greys


def test_a_jpeg_xl_is_read_by_its_plugin(tmp_path) -> None:
    pytest.importorskip("pillow_jxl")
    Image.fromarray(SMOOTH).save(tmp_path / "a.jxl", lossless=True)
    assert stated_size(tmp_path / "a.jxl") == (64, 40)
    assert (open_photo(tmp_path / "a.jxl") - open_photo(SMOOTH)).abs().max() < 1e-6
