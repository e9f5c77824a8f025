"""What files say of their colours without a profile, made into one: codes of primaries and curve, or the gamma of a PNG (gAMA, cHRM).

As browsers do: a PNG's codes (cICP) come before a profile, those of AVIF and HEIC only without one; a gamma counts only without a profile
and without a word of sRGB, primaries only beside a gamma. Chromium shows television's curves by a power of 2.4 in a PNG and by the curve of
sRGB in an AVIF, and so do we, that the same file be the same pixels.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

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


def coded_profile(codes: bytes, *, grey: bool = False) -> bytes | None:
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
    return _profile((*WHITE, *x_y), to_light, f"{name}, by the codes in its file", grey)


def gamma_profile(gamma: float, x_y: Sequence[float] | None = None, *, grey: bool = False) -> bytes:
    """An ICC profile of pixels that are powers of light: x and y of white, red, green and blue, as a PNG states them, or those of sRGB.

    Raises:
        ValueError, LinAlgError: no such colours.
    """
    if not 0.1 < gamma < 10:
        raise ValueError(f"a gamma of {gamma:.3g}")
    return _profile(x_y or (*WHITE, *SRGB), lambda v: v**gamma, f"the gamma of its PNG, {gamma:.2f}", grey)


def _srgb_light(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def _profile(x_y: Sequence[float], to_light: Callable[[np.ndarray], np.ndarray], name: str, grey: bool) -> bytes:
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
