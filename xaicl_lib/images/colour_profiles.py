"""Colours of files as sRGB, which is what models were trained on and what browsers hand to the lab.

Phones write Display P3, cameras Adobe RGB, print shops inks: an embedded ICC profile says which; a PNG may say it in other ways.
Files come from anywhere, so a profile that is too large or that cannot be used is ignored, and that is said. What files say without a
profile is made into one: codes of primaries and curve, or the gamma of a PNG (gAMA, cHRM).

As browsers do: a PNG's codes (cICP) come before a profile, those of AVIF and HEIC only without one; a gamma counts only without a profile
and without a word of sRGB, primaries only beside a gamma. Chromium shows television's curves by a power of 2.4 in a PNG and by the curve of
sRGB in an AVIF, and so do we, that the same file be the same pixels.
"""

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from xaicl_lib.images.notes import note

MAX_PROFILE = 4 << 20  # bytes; profiles of presses have up to 3 MB
KINDS = (b"scnr", b"mntr", b"prtr", b"spac")  # of devices; links, effects and names of single colours do not say what pixels mean
# The colour space of a profile: the mode it reads, and what may be brought to that mode. Others than these do not belong together.
SPACES = {
    b"RGB ": ("RGB", {"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "L", "LA", "1"}),
    b"GRAY": ("L", {"L", "LA", "1"}),
    b"CMYK": ("CMYK", {"CMYK"}),
}
BROKEN = (ImageCms.PyCMSError, OSError, ValueError, TypeError, ArithmeticError, np.linalg.LinAlgError, struct.error)


def to_srgb(image: Image.Image) -> Image.Image:
    """A picture with its colours in sRGB (relative colorimetric), its transparency as it was; a note says what was converted.

    A profile that moves no colour by more than 1/255 is sRGB under another name: the picture is then returned as it is, without a note.
    """
    try:
        profile = _profile(image)
        if profile is None:
            return image
        mode = _mode(profile, image.mode)
        transform, name = _transform(profile, mode)
        if transform is None:
            return image
        converted = _converted(image, transform, mode)
    except BROKEN as error:
        note(f"an embedded colour profile cannot be used and is ignored: {' '.join(str(error).split())[:120]}")
        return image
    note(f"colours were converted to sRGB from {name}")
    return converted


def _profile(image: Image.Image) -> bytes | None:
    """What says which colours are meant: first the codes in the file, then an embedded profile, then the gamma of a PNG."""
    grey, codes = image.mode in SPACES[b"GRAY"][1], image.info.get("cicp")
    if codes and (coded := _coded_profile(codes, grey=grey)):
        return coded
    if embedded := image.info.get("icc_profile"):
        return embedded
    gamma = image.info.get("gamma")
    return _gamma_profile(1 / gamma, image.info.get("chromaticity"), grey=grey) if gamma and "srgb" not in image.info else None


def _mode(profile: bytes, mode: str) -> str:
    """The mode that the profile reads."""
    if len(profile) > MAX_PROFILE:
        raise ValueError(f"it has {len(profile) / 1e6:.1f} MB, more than {MAX_PROFILE / 1e6:.1f}")
    if len(profile) < 132 or profile[36:40] != b"acsp" or profile[12:16] not in KINDS or profile[16:20] not in SPACES:
        raise ValueError("it is no profile of grey, RGB or CMYK")
    reads, fits = SPACES[profile[16:20]]
    if mode not in fits:
        raise ValueError(f"it is one of {reads}, the picture is {mode}")
    return reads


@lru_cache(maxsize=8)  # the photos of a folder share a few
def _transform(profile: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """What brings pixels to sRGB, None where they are there, and the profile's name."""
    source, intent = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.Intent.RELATIVE_COLORIMETRIC
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", intent)
    return None if _changes_nothing(transform, mode) else transform, _name(source)


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    if mode == "CMYK":
        return False
    steps = (
        np.arange(256, dtype=np.uint8) if mode == "L" else np.array(np.meshgrid(*[np.linspace(0, 255, 9)] * 3), np.uint8).reshape(3, -1).T
    )
    colours = Image.fromarray(steps[None])
    moved = np.abs(np.asarray(ImageCms.applyTransform(colours, transform)).astype(int) - np.asarray(colours.convert("RGB")))
    return bool(moved.max() <= 1)


def _converted(image: Image.Image, transform: ImageCms.ImageCmsTransform, mode: str) -> Image.Image:
    clear = image.convert("LA" if mode == "L" else "RGBA") if image.has_transparency_data else None
    colours = (clear or image).convert(mode)
    rgb = ImageCms.applyTransform(colours, transform)
    if rgb is None:
        raise ValueError("it gives no colours")
    if clear:
        rgb.putalpha(clear.getchannel("A"))
    return rgb


def _name(profile: ImageCms.ImageCmsProfile) -> str:
    """What the profile calls itself, as a word or two that can be shown."""
    text = "".join(letter if letter.isprintable() else " " for letter in ImageCms.getProfileDescription(profile))
    return repr(" ".join(text.split())[:60]) if text.strip() else "a profile without a name"


WHITE, SRGB = (0.3127, 0.3290), (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # x, y under daylight of 6500 K; of red, green, blue
# Codes of ITU-T H.273: primaries as x, y; and the powers of curves.
PRIMARIES = {
    1: ("BT.709", SRGB), 5: ("BT.601 of 625 lines", (0.64, 0.33, 0.29, 0.60, 0.15, 0.06)),
    6: ("BT.601", (0.630, 0.340, 0.310, 0.595, 0.155, 0.070)), 9: ("BT.2020", (0.708, 0.292, 0.170, 0.797, 0.131, 0.046)),
    12: ("Display P3", (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)),
}  # fmt: skip
POWERS = {1: 2.4, 4: 2.2, 5: 2.8, 6: 2.4, 8: 1.0, 14: 2.4, 15: 2.4}
SRGB_CURVE, UNSPECIFIED, TELEVISION = 13, 2, {1, 6, 14, 15}
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D50 = np.array([0.9642, 1.0, 0.8249])  # X, Y, Z of the white of profiles


def codes_of(image: Image.Image) -> bytes | None:
    """Four codes of an opened file that is not decoded yet, where Pillow passes over them: primaries, curve, matrix, range."""
    file = getattr(image, "fp", None)
    if image.format == "HEIF":
        nclx = image.info.get("nclx_profile") or {}
        return _as_shown(image, nclx.get("color_primaries", 0), nclx.get("transfer_characteristics", 0))
    if image.format not in ("PNG", "AVIF") or file is None or file.closed:
        return None
    place = file.tell()
    try:
        file.seek(0)
        return _of_png(file) if image.format == "PNG" else _of_avif(image, file.read(65536))
    finally:
        file.seek(place)


def _of_png(file: Any) -> bytes | None:
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
        if head == b"\0\0\0\4cICP":
            return file.read(4)
        file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return None


def _of_avif(image: Image.Image, head: bytes) -> bytes | None:
    """Those of its first box of colours."""
    _, found, codes = head.partition(b"colrnclx")
    return _as_shown(image, *struct.unpack(">HH", codes[:4])) if found and len(codes) >= 4 else None


def _as_shown(image: Image.Image, primaries: int, curve: int) -> bytes | None:
    if image.info.get("icc_profile") or not 0 < primaries < 256 or not 0 < curve < 256:
        return None
    return bytes([1 if primaries == UNSPECIFIED else primaries, SRGB_CURVE if curve in {UNSPECIFIED, *TELEVISION} else curve, 0, 1])


def _coded_profile(codes: bytes, *, grey: bool = False) -> bytes | None:
    """An ICC profile of four codes: primaries, curve, matrix (0, as pixels are RGB) and range (1, the whole); None where they say nothing.

    Raises:
        ValueError: codes that are not known here, such as those of high dynamic range.
    """
    primaries, curve, matrix, full = codes
    if UNSPECIFIED in (primaries, curve):
        return None
    if primaries not in PRIMARIES or curve not in {*POWERS, SRGB_CURVE} or matrix or full != 1:
        raise ValueError(f"the codes {primaries}, {curve}, {matrix}, {full} for its colours")
    name, x_y = PRIMARIES[primaries]
    to_light = _srgb_light if curve == SRGB_CURVE else lambda v: v ** POWERS[curve]
    return _new_profile((*WHITE, *x_y), to_light, f"{name}, by the codes in its file", grey)


def _gamma_profile(gamma: float, x_y: Sequence[float] | None = None, *, grey: bool = False) -> bytes:
    """An ICC profile of pixels that are powers of light: x and y of white, red, green and blue, as a PNG states them, or those of sRGB.

    Raises:
        ValueError, LinAlgError: no such colours.
    """
    if not 0.1 < gamma < 10:
        raise ValueError(f"a gamma of {gamma:.3g}")
    return _new_profile(x_y or (*WHITE, *SRGB), lambda v: v**gamma, f"the gamma of its PNG, {gamma:.2f}", grey)


def _srgb_light(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def _new_profile(x_y: Sequence[float], to_light: Callable[[np.ndarray], np.ndarray], name: str, grey: bool) -> bytes:
    steps = (to_light(np.linspace(0, 1, 4096)) * 65535).round().astype(">u2")
    curve = b"curv" + struct.pack(">II", 0, len(steps)) + steps.tobytes()
    if grey:
        return _file(b"GRAY", {b"kTRC": curve}, name)
    columns = zip((b"rXYZ", b"gXYZ", b"bXYZ"), _primaries(np.array(x_y, float).reshape(4, 2)), strict=True)
    return _file(b"RGB ", {**{tag: _xyz(value) for tag, value in columns}, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}, name)


def _primaries(x_y: np.ndarray) -> np.ndarray:
    """(3, 3) X, Y, Z of red, green and blue, a row each, adapted from white to D50 by Bradford's cones."""
    if not (x_y > 0).all():
        raise ValueError("primaries that are no colours")
    white, *primaries = np.stack([x_y[:, 0] / x_y[:, 1], np.ones(4), (1 - x_y.sum(1)) / x_y[:, 1]], 1)
    rows = np.stack(primaries)
    rows = rows * np.linalg.solve(rows.T, white)[:, None]
    adapted = np.linalg.solve(BRADFORD, np.diag((BRADFORD @ D50) / (BRADFORD @ white)) @ BRADFORD)
    return rows @ adapted.T


def _xyz(values: Any) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))


def _file(space: bytes, tags: dict[bytes, bytes], name: str) -> bytes:
    """A profile's header of 128 bytes, its table of tags, and the tags."""
    text = f"{name}\0".encode()
    tags = {b"desc": b"desc" + struct.pack(">II", 0, len(text)) + text + bytes(78), b"wtpt": _xyz(D50), **tags}
    table, data, start = b"", b"", 132 + 12 * len(tags)
    for tag, value in tags.items():
        table += tag + struct.pack(">II", start + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    head = struct.pack(">I4xI4s4s4s12x4s28x", start + len(data), 0x02100000, b"mntr", space, b"XYZ ", b"acsp")
    return (head + _xyz(D50)[8:]).ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data
