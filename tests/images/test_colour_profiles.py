"""Embedded colours become sRGB, as their definitions say; what cannot be used is ignored, and each is said."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests import made_profiles as made
from xaicl_lib import InputError, Pair
from xaicl_lib.images import open_photo
from xaicl_lib.images.colour_profiles import MAX_PROFILE

RGB = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)


def bytes_of(image: Image.Image, **options) -> io.BytesIO:
    buffer = io.BytesIO()
    image.save(buffer, options.pop("kind", "PNG"), **options)
    return buffer


def opened(image: Image.Image, **options) -> np.ndarray:
    return open_photo(Image.open(bytes_of(image, **options)))[0].permute(1, 2, 0).numpy() * 255


def light(encoded: np.ndarray, gamma: float | None) -> np.ndarray:
    v = encoded / 255
    return v**gamma if gamma else np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def encoded(linear: np.ndarray) -> np.ndarray:
    v = linear.clip(0, 1)
    return 255 * np.where(v <= 0.0031308, v * 12.92, 1.055 * v ** (1 / 2.4) - 0.055)


def by_definition(rgb: np.ndarray, primaries, gamma: float | None) -> np.ndarray:
    return encoded(light(rgb, gamma) @ (np.linalg.inv(made.matrix(made.SRGB)) @ made.matrix(primaries)).T)


@pytest.mark.parametrize(
    ("profile", "name", "primaries", "gamma"),
    [(made.DISPLAY_P3, "Display P3", made.P3, None), (made.ADOBE_RGB, "Adobe RGB (1998)", made.ADOBE, 563 / 256)],
)
def test_wide_colours_become_srgb(profile, name, primaries, gamma) -> None:
    with pytest.warns(UserWarning, match="^colours were converted to sRGB from '" + name.replace("(", r"\(").replace(")", r"\)")) as told:
        got = opened(Image.fromarray(RGB), icc_profile=profile)
    assert np.abs(got - by_definition(RGB, primaries, gamma)).max() < 1.5
    assert len(told) == 1
    assert told[0].filename == __file__, "the note is at the caller's line"


def test_grey_follows_its_curve_with_either_kind_of_profile() -> None:
    want = np.stack([encoded(light(RGB[..., 0], 1.8))] * 3, 2)
    alpha = Image.fromarray(RGB[..., 1] // 128 * 255)
    grey = Image.fromarray(RGB[..., 0])
    with pytest.warns(UserWarning, match="'grey gamma 1.8'"):
        assert np.abs(opened(grey, icc_profile=made.GREY_18) - want).max() < 1.5
    with pytest.warns(UserWarning, match="'grey gamma 1.8'"):
        got = opened(Image.merge("LA", (grey, alpha)), icc_profile=made.GREY_18)
    assert np.abs(got - np.where(np.asarray(alpha)[..., None] > 0, want, 255)).max() < 1.5
    with pytest.warns(UserWarning, match="'Adobe RGB"):
        got = opened(grey, icc_profile=made.ADOBE_RGB)
    assert np.abs(got - by_definition(np.stack([RGB[..., 0]] * 3, 2), made.ADOBE, 563 / 256)).max() < 1.5
    with pytest.warns(UserWarning, match="'grey gamma 1.8'"):
        deep = opened(Image.fromarray(RGB[..., 0].astype(np.uint16) * 257), icc_profile=made.GREY_18)
    assert np.abs(deep - want).max() < 1.5


def test_inks_follow_their_profile() -> None:
    black = Image.new("CMYK", (9, 9), (0, 0, 0, 255))
    with pytest.warns(UserWarning, match="'coated paper'"):
        got = opened(black, kind="JPEG", quality=100, icc_profile=made.PRINT)
    lightness = 15.0  # what the table says of black ink alone, without a hue
    assert np.abs(got - encoded(np.array(((lightness + 16) / 116) ** 3))).max() < 1.5


def test_transparency_and_palettes_keep_what_they_are() -> None:
    alpha = np.where(RGB[..., 0] > 128, 255, 0).astype(np.uint8)
    with pytest.warns(UserWarning, match="Display P3"):
        got = opened(Image.fromarray(np.dstack([RGB, alpha])), icc_profile=made.DISPLAY_P3)
    assert np.abs(got - np.where(alpha[..., None] > 0, by_definition(RGB, made.P3, None), 255)).max() < 1.5
    few = Image.fromarray(RGB).quantize(32)
    with pytest.warns(UserWarning, match="Display P3"):
        got = opened(few, icc_profile=made.DISPLAY_P3)
    assert np.abs(got - by_definition(np.asarray(few.convert("RGB")), made.P3, None)).max() < 1.5


def test_the_photo_is_turned_and_converted() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with pytest.warns(UserWarning, match="Display P3"):
        got = opened(Image.fromarray(RGB), icc_profile=made.DISPLAY_P3, exif=exif)
    assert np.abs(got - by_definition(np.rot90(RGB, -1), made.P3, None)).max() < 1.5


ROUNDED = ((0.6402, 0.33), (0.3, 0.5998), (0.15, 0.0601))


@pytest.mark.parametrize(
    "profile",
    [
        made.rgb_profile(made.SRGB, None, "mine"),
        made.rgb_profile(ROUNDED, None, "rounded"),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    ],
)
def test_srgb_under_any_name_is_left_alone(profile) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (opened(Image.fromarray(RGB), icc_profile=profile) == RGB).all()


def link() -> bytes:
    return made.DISPLAY_P3[:12] + b"link" + made.DISPLAY_P3[16:]


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        (b"\0", "it is no profile of grey, RGB or CMYK"),
        (made.DISPLAY_P3[:140], "cannot be used and is ignored"),
        (made.DISPLAY_P3[:300] + bytes(len(made.DISPLAY_P3) - 300), "cannot be used and is ignored"),
        (made.DISPLAY_P3.ljust(MAX_PROFILE + 10**5, b"\0"), "it has 4.3 MB, more than 4.2"),
        (link(), "it is no profile of grey"),
        (made.GREY_18, "it is one of L, the picture is RGB"),
        (made.PRINT, "it is one of CMYK, the picture is RGB"),
    ],
)
def test_profiles_that_cannot_be_used_are_ignored_with_one_note(profile, says) -> None:
    picture = Image.fromarray(RGB)
    picture.info["icc_profile"] = profile
    with pytest.warns(UserWarning, match=says) as told:
        got = open_photo(picture)[0].permute(1, 2, 0).numpy() * 255
    assert (got == RGB).all()
    assert len(told) == 1


def test_no_bytes_of_a_profile_bring_more_than_a_note() -> None:
    rng = np.random.default_rng(0)
    for whole in (made.DISPLAY_P3, made.PRINT, made.GREY_18):
        mode = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}[whole[16:20]]
        for _ in range(15):
            spoilt = bytearray(whole)
            for place in rng.integers(128, min(len(spoilt), 700), 12):
                spoilt[place] = rng.integers(256)
            picture = Image.fromarray(RGB).convert(mode)
            picture.info["icc_profile"] = bytes(spoilt)
            with warnings.catch_warnings(record=True):
                assert open_photo(picture).shape == (1, 3, 16, 24)


def test_names_of_profiles_are_shown_as_text_of_one_line() -> None:
    profile = made.rgb_profile(made.P3, None, "a\n\x1b[31mname " + "x" * 200)
    with pytest.warns(UserWarning, match="from 'a ") as told:
        opened(Image.fromarray(RGB), icc_profile=profile)
    text = str(told[0].message)
    assert text.isprintable()
    assert len(text) < 120


def test_a_gamma_without_a_profile_is_not_followed() -> None:
    png = bytes_of(Image.fromarray(RGB)).getvalue()
    gamma = b"gAMA" + struct.pack(">I", round(1e5 / 1.8))
    said = io.BytesIO(png[:33] + struct.pack(">I", 4) + gamma + struct.pack(">I", zlib.crc32(gamma)) + png[33:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (open_photo(Image.open(said))[0].permute(1, 2, 0).numpy() * 255 == RGB).all()


def test_a_pair_tells_each_note_once(tmp_path) -> None:
    for name in "ab":
        Image.fromarray(RGB).save(tmp_path / f"{name}.png", icc_profile=made.DISPLAY_P3)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        Pair.open(tmp_path / "a.png", tmp_path / "b.png", 12)
    assert [str(w.message) for w in told] == ["colours were converted to sRGB from 'Display P3'"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="colours were converted"):
            open_photo(tmp_path / "a.png")
    with pytest.raises(InputError):
        open_photo(tmp_path / "c.png")
