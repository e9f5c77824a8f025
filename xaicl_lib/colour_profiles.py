"""Colours of files as sRGB, which is what models were trained on and what browsers hand to the lab.

Phones write Display P3, cameras Adobe RGB, print shops inks: an embedded ICC profile says which, and a PNG may state a gamma instead.
Files come from anywhere, so a profile that is too large or that cannot be used is ignored, and that is said.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from xaicl_lib.notes import note

MAX_PROFILE = 4 << 20  # bytes; profiles of presses have up to 3 MB
KINDS = (b"scnr", b"mntr", b"prtr", b"spac")  # of devices; links, effects and names of single colours do not say what pixels mean
# The colour space of a profile: the mode it reads, and what may be brought to that mode. Others than these do not belong together.
SPACES = {
    b"RGB ": ("RGB", {"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "L", "LA", "1"}),
    b"GRAY": ("L", {"L", "LA", "1"}),
    b"CMYK": ("CMYK", {"CMYK"}),
}
BROKEN = (ImageCms.PyCMSError, OSError, ValueError, TypeError, ArithmeticError, np.linalg.LinAlgError, struct.error)
WHITE, SRGB = (0.3127, 0.3290), (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # x, y under daylight of 6500 K; of red, green, blue
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D50 = np.array([0.9642, 1.0, 0.8249])  # X, Y, Z of the white of profiles


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
    """What says which colours are meant: an embedded profile, or the gamma of a PNG, which browsers obey, too."""
    if embedded := image.info.get("icc_profile"):
        return embedded
    if (gamma := image.info.get("gamma")) and "srgb" not in image.info:
        x_y = image.info.get("chromaticity") or (*WHITE, *SRGB)
        return gamma_profile(1 / gamma, x_y, grey=image.mode in SPACES[b"GRAY"][1])
    return None


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


def gamma_profile(gamma: float, x_y: Sequence[float], *, grey: bool = False) -> bytes:
    """An ICC profile of pixels that are powers of light: x and y of white, red, green and blue, as a PNG states them.

    Raises:
        ValueError, LinAlgError: no such colours.
    """
    if not 0.1 < gamma < 10:
        raise ValueError(f"a gamma of {gamma:.3g}")
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256))
    if grey:
        return _file(b"GRAY", {b"kTRC": curve}, gamma)
    columns = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), _primaries(np.array(x_y, float).reshape(4, 2)), strict=True))
    return _file(b"RGB ", {**{tag: _xyz(value) for tag, value in columns.items()}, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}, gamma)


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


def _file(space: bytes, tags: dict[bytes, bytes], gamma: float) -> bytes:
    """A profile's header of 128 bytes, its table of tags, and the tags."""
    text = f"the gamma of its PNG, {gamma:.2f}\0".encode()
    tags = {b"desc": b"desc" + struct.pack(">II", 0, len(text)) + text + bytes(78), b"wtpt": _xyz(D50), **tags}
    table, data, start = b"", b"", 132 + 12 * len(tags)
    for tag, value in tags.items():
        table += tag + struct.pack(">II", start + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    head = struct.pack(">I4xI4s4s4s12x4s28x", start + len(data), 0x02100000, b"mntr", space, b"XYZ ", b"acsp")
    return (head + _xyz(D50)[8:]).ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data
