"""Formats that Pillow reads with some help: AVIF since version 11.3, HEIC and JPEG XL by plugins. Known by their first bytes."""

import importlib
from pathlib import Path
from typing import BinaryIO

from xaicl_lib.errors import InputError

ALWAYS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # not PostScript and its like, which are programs
HELP = {
    "AVIF": ("PIL.AvifImagePlugin", "Pillow 11.3 or newer: pip install -U pillow"),
    "HEIF": ("pillow_heif", "pillow-heif: pip install 'xaicl_lib[heic]'"),
    "JXL": ("pillow_jxl", "pillow-jxl-plugin: pip install pillow-jxl-plugin"),
}
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".avif", ".heic", ".heif", ".jxl"}
BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIF"),
}
JXL_BOX, JXL_STREAM = b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a"
JXL_RATIOS = ((0, 1), (1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # of width to height; the first is none


def readable(path: Path) -> tuple[str, ...]:
    """The formats that a file may have, with what reads them made ready.

    Raises:
        InputError: the file is of a kind whose reader is missing.
    """
    with path.open("rb") as file:
        kind = _kind(file.read(32))
    if kind is None:
        return ALWAYS
    module, needs = HELP[kind]
    try:
        helper = importlib.import_module(module)
        if kind == "HEIF":
            helper.register_heif_opener()
    except ImportError as error:
        raise InputError(f"expected a reader of {kind} for {path.name!r}, got none; it takes {needs}") from error
    if kind == "AVIF" and not helper.SUPPORTED:
        raise InputError(f"expected a Pillow that was built with AVIF for {path.name!r}, got one without it")
    return (kind,)


def _kind(head: bytes) -> str | None:
    if head.startswith((JXL_BOX, JXL_STREAM)):
        return "JXL"
    if head[4:8] != b"ftyp":
        return None
    # The first brand is the major one; mif1 and msf1 say only that it is some still picture, and what follows says which.
    brands = [head[8:12], *(head[k : k + 4] for k in range(16, len(head), 4))]
    found = [BRANDS[brand] for brand in brands if brand in BRANDS]
    return "AVIF" if "AVIF" in found else next(iter(found), None)


def stated_size(path: Path) -> tuple[int, int] | None:
    """Width and height that a JPEG XL file states, whose plugin would decode it before it could be asked; None for other files.

    Raises:
        ValueError: a file that does not say.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if _kind(head) != "JXL":
            return None
        file.seek(0 if head.startswith(JXL_STREAM) else len(JXL_BOX))
        return _jxl_size(file.read(16) if head.startswith(JXL_STREAM) else _codestream(file))


def _codestream(file: BinaryIO) -> bytes:
    """The first bytes of the pictures in a file of boxes."""
    while len(head := file.read(8)) == 8:
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind in (b"jxlc", b"jxlp"):
            return file.read(16) if kind == b"jxlc" else file.read(20)[4:]
        size = int.from_bytes(file.read(8), "big") - 8 if size == 1 else size
        if size < 8:
            break
        file.seek(size - 8, 1)
    raise ValueError("it does not say how large it is")


def _jxl_size(stream: bytes) -> tuple[int, int]:
    if not stream.startswith(JXL_STREAM):
        raise ValueError("it does not say how large it is")
    bits = int.from_bytes(stream[2:], "little")

    def take(count: int) -> int:
        nonlocal bits
        taken, bits = bits & ((1 << count) - 1), bits >> count
        return taken

    def side() -> int:
        return 8 * (take(5) + 1) if eights else take((9, 13, 18, 30)[take(2)]) + 1

    eights = take(1)
    height, ratio = side(), take(3)
    return (height * JXL_RATIOS[ratio][0] // JXL_RATIOS[ratio][1] if ratio else side()), height
