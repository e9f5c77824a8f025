"""Grey of more than eight bits as eight: by the range that the file states, or else by the one that its values fit, which is then said."""

from typing import Any

import numpy as np
from PIL import Image

from xaicl_lib.notes import note

BITS, WHITE_IS_ZERO, LOWEST, HIGHEST = (
    258,
    262,
    (280, 340),
    (281, 341),
)  # TIFF's tags: bits a sample, what 0 means, smallest and largest value


def eight_bits(deep: Image.Image, file: Image.Image) -> Image.Image:
    """A picture of mode I or I;16 as bytes.

    Args:
        deep: the pixels.
        file: what they were opened as, which knows its format and tags.
    """
    tags = getattr(file, "tag_v2", {})
    values = np.asarray(deep).astype(np.float64)
    low, high = _stated(tags) or _usual(file, values)
    unit = ((values - low) / (high - low)).clip(0, 1)
    bytes_ = Image.fromarray(((1 - unit if tags.get(WHITE_IS_ZERO) == 0 else unit) * 255).round().astype(np.uint8))
    bytes_.info = {**deep.info}
    if (clear := bytes_.info.pop("transparency", None)) is not None:  # the one value that is to be seen through
        bytes_.putalpha(Image.fromarray((values != clear).astype(np.uint8) * 255))
    return bytes_


def note_dark_colour(pixels: Image.Image, file: Image.Image) -> None:
    """Say so where colour of 16 bits, of which the upper eight are read, is nearly black: then a file uses the lower ones."""
    bits = _number(getattr(file, "tag_v2", {}), BITS) or 8
    if bits > 8 and pixels.mode.startswith("RGB") and np.asarray(pixels)[..., :3].max() < 16:
        note("a file of 16 bits uses at most 12 of them and is nearly black; save it with its values scaled to the whole range")


def _stated(tags: Any) -> tuple[float, float] | None:
    """The range of values that a TIFF states, as its ends or as an odd number of bits."""
    lows, highs = ([v for tag in ends if (v := _number(tags, tag)) is not None] for ends in (LOWEST, HIGHEST))
    if highs and highs[0] > (low := lows[0] if lows else 0):
        return low, highs[0]
    bits = _number(tags, BITS) or 16
    return (0, 2**bits - 1) if 8 < bits < 16 else None


def _number(tags: Any, tag: int) -> float | None:
    value = tags.get(tag)
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, int | float) and np.isfinite(first) else None


def _usual(file: Image.Image, values: np.ndarray) -> tuple[float, float]:
    """The range of files that state none."""
    low, high = float(values.min()), float(values.max())
    if file.format not in ("TIFF", None) or file.mode.startswith("I;16"):
        if high <= 4095:
            note(f"a picture of 16 bits has no value above {high:.0f} of 65535, so it is nearly black; its file does not say what is white")
        return 0, 65535
    fits = (0.0, next((float(top) for top in (255, 65535) if high <= top), high)) if low >= 0 else (low, max(high, low + 1))
    note(f"a picture of 32 bits does not say what is black and white: {fits[0]:.0f} and {fits[1]:.0f} are taken for them")
    return fits
