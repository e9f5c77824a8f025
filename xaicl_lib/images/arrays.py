"""Files that hold arrays of any number of channels: NumPy's own, and TIFF by the package tifffile."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from xaicl_lib.errors import InputError, needing

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of either order of bytes, and of files over 4 GB


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF does."""
    with path.open("rb") as file:
        return file.read(4) in TIFF


def stored_array(path: Path, channels: int, check: Callable[[tuple[int, int]], None]) -> np.ndarray:
    """The array (h, w, c) of a file that holds it with its channels last or first; where either could be, last.

    Args:
        path: a .npy file or a TIFF, whose pages may be the channels.
        channels: that are wanted.
        check: is given width and height before the file is decoded.

    Raises:
        InputError: other channels, or no tifffile for a TIFF.
    """
    if path.suffix.lower() == ".npy":
        held = np.load(path, mmap_mode="r", allow_pickle=False)
        return np.array(_last(held, _axis(held.shape, channels, path, check)))
    with needing(f"expected a reader of {channels} channels for {path.name!r}, got none; pip install tifffile"):
        import tifffile
    with tifffile.TiffFile(path) as file:
        axis = _axis(file.series[0].shape, channels, path, check)
        return _last(file.series[0].asarray(), axis)


def _axis(shape: Sequence[int], channels: int, path: Path, check: Callable[[tuple[int, int]], None]) -> int | None:
    """Which axis holds the channels, None where there is none because there is one."""
    if len(shape) == 2 and channels in (1, 3):
        axis = None
    elif len(shape) == 3 and channels in (shape[2], shape[0]):
        axis = 2 if shape[2] == channels else 0
    else:
        raise InputError(f"expected an array (h, w, {channels}) or ({channels}, h, w), got {tuple(shape)} in {path.name!r}")
    h, w = (side for k, side in enumerate(shape) if k != axis)
    check((w, h))
    return axis


def _last(pixels: np.ndarray, axis: int | None) -> np.ndarray:
    return pixels if axis is None else np.moveaxis(pixels, axis, 2)
