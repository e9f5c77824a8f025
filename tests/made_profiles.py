"""ICC profiles from their definitions, for files as phones, cameras and print shops write them."""

import struct
from itertools import product

import numpy as np

D65, D50 = (0.3127, 0.3290), (0.9642, 1.0, 0.8249)
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def _xyz(x: float, y: float) -> np.ndarray:
    return np.array([x / y, 1, (1 - x - y) / y])


def matrix(primaries: tuple[tuple[float, float], ...], white: tuple[float, float] = D65) -> np.ndarray:
    """Linear RGB to XYZ under D50, columns the primaries."""
    columns = np.stack([_xyz(*p) for p in primaries], 1)
    at_white = columns * np.linalg.solve(columns, _xyz(*white))
    scale = np.diag((BRADFORD @ D50) / (BRADFORD @ _xyz(*white)))
    return np.linalg.inv(BRADFORD) @ scale @ BRADFORD @ at_white


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(v * 65536) for v in values))


def _curve(gamma: float | None) -> bytes:
    """A power, or the curve of sRGB for None."""
    if gamma is not None:
        return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def profile(space: bytes, kind: bytes, pcs: bytes, tags: dict[bytes, bytes], name: str) -> bytes:
    """The file: a header of 128 bytes, the table of tags, the tags."""
    text = name.encode("utf-16-be")
    named = (
        b"mluc" + bytes(4) + struct.pack(">II2sHII", 1, 12, b"en", 0x5553, len(text), 28)[:-8] + struct.pack(">II", len(text), 28) + text
    )
    tags = {b"desc": named, b"cprt": named, b"wtpt": b"XYZ " + bytes(4) + _fixed(*D50), **tags}
    start, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for key, body in tags.items():
        table += key + struct.pack(">II", start + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(data), bytes(4), 0x04200000, kind, space, pcs) + struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    header += b"acsp" + bytes(28) + _fixed(*D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def rgb_profile(primaries: tuple[tuple[float, float], ...], gamma: float | None, name: str) -> bytes:
    columns = matrix(primaries).T
    tags = {b"%sXYZ" % c: b"XYZ " + bytes(4) + _fixed(*column) for c, column in zip((b"r", b"g", b"b"), columns, strict=True)}
    return profile(b"RGB ", b"mntr", b"XYZ ", tags | {b"%sTRC" % c: _curve(gamma) for c in (b"r", b"g", b"b")}, name)


def grey_profile(gamma: float, name: str) -> bytes:
    return profile(b"GRAY", b"mntr", b"XYZ ", {b"kTRC": _curve(gamma)}, name)


def cmyk_profile(name: str, steps: int = 5) -> bytes:
    """Inks that darken and colour less than the plain formula has it, as a table of L*a*b*."""
    grid = np.array(list(product(np.linspace(0, 1, steps), repeat=4)))
    c, m, y, k = grid.T
    light = (1 - 0.45 * c) * (1 - 0.5 * m) * (1 - 0.1 * y) * (1 - 0.85 * k)
    a, b = (60 * m - 35 * c) * (1 - k), (75 * y - 40 * c - 10 * m) * (1 - k)
    lab = np.stack([255 * light, a + 128, b + 128], 1).clip(0, 255).round().astype(np.uint8)
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, steps, 0]) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + ramp * 4 + lab.tobytes() + ramp * 3
    return profile(b"CMYK", b"prtr", b"Lab ", {b"A2B0": table}, name)


DISPLAY_P3 = rgb_profile(P3, None, "Display P3")
ADOBE_RGB = rgb_profile(ADOBE, 563 / 256, "Adobe RGB (1998)")
PRINT = cmyk_profile("coated paper")
GREY_18 = grey_profile(1.8, "grey gamma 1.8")
