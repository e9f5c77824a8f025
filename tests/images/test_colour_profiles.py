"""Embedded colours become sRGB, as their definitions say; what cannot be used is ignored, and each is said."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, features

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


def with_chunks(image: Image.Image, *chunks: tuple[bytes, bytes]) -> Image.Image:
    """A PNG with more chunks behind its header."""
    png = bytes_of(image, icc_profile=image.info.get("icc_profile")).getvalue()
    made_ = b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    return Image.open(io.BytesIO(png[:33] + made_ + png[33:]))


def gamma_chunk(gamma: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(1e5 / gamma))


def primaries_chunk(primaries) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(1e5 * v) for x_y in (made.D65, *primaries) for v in x_y))


def test_the_gamma_of_a_png_is_obeyed_as_by_browsers() -> None:
    photo = Image.fromarray(RGB)
    for chunks, primaries, gamma in (
        ([gamma_chunk(1.8)], made.SRGB, 1.8),
        ([gamma_chunk(2.2), primaries_chunk(made.P3)], made.P3, 2.2),
    ):
        with pytest.warns(UserWarning, match=f"'the gamma of its PNG, {gamma:.2f}'"):
            got = open_photo(with_chunks(photo, *chunks))[0].permute(1, 2, 0).numpy() * 255
        assert np.abs(got - by_definition(RGB, primaries, gamma)).max() < 1.5
    with pytest.warns(UserWarning, match="the gamma of its PNG"):
        got = open_photo(with_chunks(photo.convert("L"), gamma_chunk(1.8)))[0, 0].numpy() * 255
    assert np.abs(got - encoded(light(np.asarray(photo.convert("L")), 1.8))).max() < 1.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for chunks in ([(b"sRGB", b"\0"), gamma_chunk(1.8)], [primaries_chunk(made.P3)], [(*gamma_chunk(2.2)[:1], bytes(4))]):
            assert (open_photo(with_chunks(photo, *chunks))[0].permute(1, 2, 0).numpy() * 255 == RGB).all()
    with pytest.warns(UserWarning, match="ignored: a gamma of 1e"):
        open_photo(with_chunks(photo, (b"gAMA", struct.pack(">I", 1))))
    with pytest.warns(UserWarning, match="is ignored"):
        open_photo(with_chunks(photo, gamma_chunk(2.0), (b"cHRM", bytes(32))))


R2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))


@pytest.mark.parametrize(
    ("codes", "primaries", "gamma"),
    [((12, 13, 0, 1), made.P3, None), ((9, 14, 0, 1), R2020, 2.4), ((1, 8, 0, 1), made.SRGB, 1.0), ((1, 4, 0, 1), made.SRGB, 2.2)],
)
def test_the_codes_of_a_png_are_obeyed_before_its_profile(codes, primaries, gamma) -> None:
    photo = Image.fromarray(RGB)
    profiled = Image.open(bytes_of(photo, icc_profile=made.ADOBE_RGB))
    for given in (photo, profiled):
        with pytest.warns(UserWarning, match="by the codes in its file'"):
            got = open_photo(with_chunks(given, (b"cICP", bytes(codes))))[0].permute(1, 2, 0).numpy() * 255
        assert np.abs(got - by_definition(RGB, primaries, gamma)).max() < 1.5


def test_codes_that_say_nothing_or_are_not_known_here() -> None:
    photo = Image.fromarray(RGB)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for codes in ((1, 13, 0, 1), (2, 2, 0, 1)):
            assert (open_photo(with_chunks(photo, (b"cICP", bytes(codes))))[0].permute(1, 2, 0).numpy() * 255 == RGB).all()
    for codes in ((9, 16, 0, 1), (12, 13, 1, 1), (12, 13, 0, 0)):
        with pytest.warns(UserWarning, match="is ignored: the codes " + ", ".join(map(str, codes))):
            open_photo(with_chunks(photo, (b"cICP", bytes(codes))))
    with pytest.warns(UserWarning, match="'the gamma"):
        open_photo(with_chunks(photo, gamma_chunk(1.8), (b"cICP", bytes(5))))


def avif_with(primaries: int, curve: int, **options) -> Image.Image:
    smooth = np.add.outer(np.arange(40) * 3, np.arange(64) * 2)[..., None].repeat(3, 2).astype(np.uint8)
    smooth[..., 1] //= 2
    file = bytes_of(Image.fromarray(smooth), kind="AVIF", quality=95, subsampling="4:4:4", **options).getvalue()
    place = file.find(b"colrnclx") + 8
    return Image.open(io.BytesIO(file[:place] + struct.pack(">HH", primaries, curve) + file[place + 4 :]))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
def test_the_codes_of_an_avif_are_obeyed_where_it_has_no_profile() -> None:
    for codes, primaries, gamma in (((12, 13), made.P3, None), ((9, 1), R2020, None), ((12, 2), made.P3, None), ((1, 4), made.SRGB, 2.2)):
        plain = np.asarray(avif_with(*codes).convert("RGB"))
        with pytest.warns(UserWarning, match="by the codes in its file'"):
            got = open_photo(avif_with(*codes))[0].permute(1, 2, 0).numpy() * 255
        assert np.abs(got - by_definition(plain, primaries, gamma)).max() < 1.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for codes in ((1, 13), (1, 1), (2, 2)):
            open_photo(avif_with(*codes))


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
