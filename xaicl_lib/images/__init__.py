"""Photos as tensors: files, sample pictures of installed packages, pictures and arrays in memory.

Files come from anywhere, so their size is checked before they are decoded. Everything leaves here as float RGB in [0, 1].
"""

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import torch
from jaxtyping import Float
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from xaicl_lib.augment import luma
from xaicl_lib.errors import InputError, require
from xaicl_lib.images.arrays import is_tiff, stored_array
from xaicl_lib.images.bit_depth import eight_bits, note_dark_colour
from xaicl_lib.images.colour_profiles import to_srgb
from xaicl_lib.images.formats import SUFFIXES, readable, stated_size
from xaicl_lib.notes import each_once, note, quiet
from xaicl_lib.squares import FITS, square
from xaicl_lib.wrapping import interpolation_of

MAX_PIXELS = 64_000_000  # a decoded photo of this size takes 192 MB; larger ones are refused before decoding
MIN_SIDE = 8  # pixels
TURNED_GREY = "colours were turned to grey by their luma (ITU-R 601), for one channel"
KINDS = (
    "a sample's name, a file, a file:// address, a PIL image, an array (h, w, 3) or (h, w), a tensor (3, h, w) or (n, 3, h, w), "
    "or a list of these"
)
TURNS = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")  # by EXIF, from 2 on
PICTURES = (1, 3)  # channels that files of pictures are brought to; others are taken as they are


@dataclass(frozen=True)
class _Form:
    """What photos are brought to, as `open_photo` takes it."""

    size: int | None
    fit: str
    channels: int
    interpolation: str


def open_photo(
    source: Any, size: int | None = None, fit: str = "crop", channels: int = 3, interpolation: str = "bilinear"
) -> Float[Tensor, "n c h w"]:
    """Photos as float RGB in [0, 1], or of other channels, from wherever they are.

    Of a file colours become sRGB by its profile, as in a browser, and a note says so; it is turned upright. Grey, palette, CMYK and 16-bit
    images become RGB, transparency is laid on white, of an animation the first frame is taken.

    Args:
        source: the name of a sample photo (see `SAMPLES`), an image file, its file:// address, a PIL image, an array (h, w, 3) or (h, w),
            bytes or float in [0, 1], a tensor (3, h, w) or (n, 3, h, w) likewise; or a list of these, which makes a batch.
        size: side in pixels that photos are resized to, with an antialiased filter; None leaves photos as they are.
        fit: how a photo that is no square becomes one: "crop" takes the middle square; "pad" keeps all of it between bars of middle grey,
            which are pixels like any other to models, methods and metrics; "stretch" pulls both sides to one length.
        channels: 3 for RGB; 1 for grey, which colours are turned to by their luma, and a note says so; of others the source must have as
            many: an array (h, w, c), a tensor, a .npy file, a TIFF (by the package tifffile), a picture with that many bands.
        interpolation: the filter that resizes, as `PairModel` takes it.

    Raises:
        InputError: none of these, other channels, an unknown fit, no such file, not an image, one whose reader is missing or that is
            truncated, values out of range, under 8 pixels a side, over 64 megapixels, or a list without or of several sizes.
    """
    require("fit", FITS, fit)
    return _opened(source, _Form(size, fit, channels, interpolation_of(interpolation)))


def _opened(source: Any, form: _Form) -> Tensor:
    if isinstance(source, list | tuple):
        with each_once():
            return _batch([_opened(one, form) for one in source])
    if isinstance(source, Tensor):
        return _of_tensor(source, form)
    if isinstance(source, np.ndarray):
        return _of_array(source, form)
    if isinstance(source, Image.Image):
        with _decoding(what := f"a picture of mode {source.mode}"):
            return _of_picture(source, what, form)
    if isinstance(source, str | os.PathLike):
        known = SAMPLES.get(str(source))
        return _of_file(_path(source), form) if known is None else _of_array(np.asarray(known()), form)
    raise InputError(f"expected {KINDS}, got {type(source).__name__}")


def _batch(photos: list[Tensor]) -> Tensor:
    if len({photo.shape[1:] for photo in photos}) != 1:
        sizes = ", ".join(f"{photo.shape[2]} x {photo.shape[3]}" for photo in photos)
        raise InputError(f"expected at least one photo, all of one size or resized to one, got {sizes or 'none'}")
    return torch.cat(photos)


def _path(source: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """The file of a file:// address; a path as it is."""
    if not isinstance(source, str) or "://" not in source:
        return source
    if not source.startswith(("file:///", "file://localhost/")):
        advice = "one of a file begins with file:///" if source.startswith("file://") else "download it first"
        raise InputError(f"expected a file, got the address {source!r}; {advice}")
    return url2pathname(urlsplit(source).path)


def _of_tensor(pixels: Tensor, form: _Form) -> Tensor:
    channels = form.channels
    if pixels.ndim not in (3, 4) or pixels.shape[-3] != channels:
        raise InputError(f"expected a tensor ({channels}, h, w) or (n, {channels}, h, w), got {tuple(pixels.shape)}")
    pixels = pixels if pixels.ndim == 4 else pixels.unsqueeze(0)
    if not len(pixels) or min(pixels.shape[2:]) < MIN_SIDE:
        raise InputError(f"expected images of at least {MIN_SIDE} x {MIN_SIDE} pixels, got {tuple(pixels.shape)}")
    return _unit(pixels) if form.size is None else square(_unit(pixels), form.size, form.fit, form.interpolation)


def _unit(pixels: Tensor) -> Tensor:
    """Bytes, or floats in [0, 1], as floats in [0, 1]."""
    if pixels.dtype == torch.uint8:
        return pixels.float() / 255
    if not pixels.is_floating_point():
        raise InputError(f"expected bytes (uint8) or floats in [0, 1], got {str(pixels.dtype).removeprefix('torch.')}")
    low, high = (v.item() for v in torch.aminmax(pixels.detach()))
    if not (low >= 0 and high <= 1):  # also true of NaN
        raise InputError(f"expected floats in [0, 1], got [{low:.8g}, {high:.8g}]")
    return pixels


def _of_array(pixels: np.ndarray, form: _Form) -> Tensor:
    channels = form.channels
    bands = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.ndim not in (2, 3) or not (bands == channels or (bands in PICTURES and channels in PICTURES)):
        flat = " or (h, w)" if channels in PICTURES else ""
        raise InputError(f"expected an array (h, w, {channels}){flat}, got {pixels.shape}")
    if pixels.dtype == np.uint8 and channels in PICTURES:
        picture = Image.fromarray(np.ascontiguousarray(pixels if bands == 3 else pixels.reshape(pixels.shape[:2])))
        return _opened(picture, form)
    own = torch.from_numpy(_floats(pixels)).view(*pixels.shape[:2], bands).permute(2, 0, 1)
    if bands > channels:
        note(TURNED_GREY)
    fitting = own if bands == channels else luma(own.unsqueeze(0))[0] if channels == 1 else own.expand(3, -1, -1)
    return _of_tensor(fitting, form)


def _floats(pixels: np.ndarray) -> np.ndarray:
    """Numbers of an array in [0, 1]: bytes and 16-bit ones by their whole range, floats as they are."""
    kind = pixels.dtype.newbyteorder("=")
    if kind not in (np.uint8, np.uint16) and kind.kind != "f":
        raise InputError(f"expected an array of bytes (uint8), uint16 or floats in [0, 1], got {kind}")
    if kind == np.uint16 and pixels.size and pixels.max() <= 4095:
        note(f"an array of 16 bits has no value above {pixels.max()} of 65535, so it is nearly black; divide it by what is white in it")
    whole = 1 if kind.kind == "f" else np.iinfo(kind).max
    return np.ascontiguousarray(pixels, dtype=np.float32) / np.float32(whole)


def _of_file(given: str | os.PathLike[str], form: _Form) -> Tensor:
    path, channels = Path(given), form.channels
    if not path.is_file():
        missing = "does not exist" + ("" if path.suffix else f"; sample photos are {', '.join(SAMPLES)}")
        why = "is a folder" if path.is_dir() else "is no file" if path.exists() else missing
        raise InputError(f"expected an image file, got {str(given)!r}, which {why}")
    if path.suffix.lower() == ".npy" or (channels not in PICTURES and is_tiff(path)):
        with _decoding(what := repr(path.name)):
            pixels = stored_array(path, channels, lambda sides: _check_size(sides, what))
        return _of_array(pixels, form)
    with _decoding(what := repr(path.name)):
        _check_size(stated_size(path), what)
        with quiet(Image.DecompressionBombWarning):
            opened = Image.open(path, formats=readable(path))
        with opened as image:
            return _of_picture(image, what, form)


def _of_picture(image: Image.Image, what: str, form: _Form) -> Tensor:
    """Pixels of a picture of Pillow's, brought to RGB or grey, or with its own bands."""
    channels = form.channels
    if channels not in PICTURES:
        _check_size(image.size, what)
        if len(image.getbands()) != channels:
            raise InputError(
                f"expected {channels} channels, got {what} of {len(image.getbands())} ({image.mode}); an array (h, w, {channels}), a .npy "
                "file or a TIFF holds any number"
            )
        return _of_array(np.asarray(_turned(image)), form)
    rgb = _upright(image, what)
    if channels == 1 and any((np.asarray(band) != np.asarray(rgb.getchannel(0))).any() for band in rgb.split()[1:]):
        note(TURNED_GREY)
    return _of_image(rgb if channels == 3 else rgb.convert("L"), form)


@contextmanager
def _decoding(what: str) -> Iterator[None]:
    """Pillow's own errors as one line about what is decoded."""
    try:
        yield
    except (InputError, Warning):  # the latter where warnings are errors
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"expected an image (JPEG, PNG, WebP, ...), got {what}, which is not one") from error
    except Image.DecompressionBombError as error:
        raise _too_large(what) from error
    except Exception as error:  # whatever readers raise of damaged files
        raise InputError(f"expected a whole image, got {what}, which cannot be decoded: {str(error) or type(error).__name__}") from error


def _too_large(what: str) -> InputError:
    return InputError(f"expected an image of at most {MAX_PIXELS // 10**6} megapixels, got {what}, which says it has more")


def _check_size(size: tuple[int, int] | None, what: str) -> None:
    if size is None:
        return
    if size[0] * size[1] > MAX_PIXELS:
        raise _too_large(what)
    if min(size) < MIN_SIDE:
        raise InputError(f"expected an image of at least {MIN_SIDE} x {MIN_SIDE} pixels, got {what} of {size[0]} x {size[1]}")


def _upright(image: Image.Image, what: str) -> Image.Image:
    """A picture of a size that can be, as RGB."""
    _check_size(image.size, what)
    if image.mode == "F":
        raise ValueError("32-bit float pixels have no agreed range")
    pixels = _turned(image)
    if image.mode.startswith("I"):  # deep grey, which Pillow would clip rather than scale
        pixels = eight_bits(pixels, image)
    note_dark_colour(pixels, image)
    return _on_white(to_srgb(pixels))


def _turned(image: Image.Image) -> Image.Image:
    """Upright by one tag alone; Pillow's own function writes all others anew, of which some files have odd ones."""
    image.load()  # which turns a TIFF
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return image.transpose(Image.Transpose[TURNS[value - 2]]) if value in range(2, 9) else image


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _of_image(picture: Image.Image, form: _Form) -> Float[Tensor, "1 c h w"]:
    made = picture if form.size is None else square(picture, form.size, form.fit, form.interpolation)
    return torch.from_numpy(np.array(made)).view(made.height, made.width, -1).permute(2, 0, 1).unsqueeze(0).float() / 255


def list_images(folder: str | os.PathLike[str], *, recursive: bool = False) -> list[Path]:
    """The image files of a folder, sorted by name; with `recursive` those of its subfolders, too.

    Hidden files and those in hidden folders, which editors and archives leave behind, are skipped, and a note counts them.

    Raises:
        InputError: no such folder, or no image in it.
    """
    if not Path(folder).is_dir():
        raise InputError(f"expected a folder of images, got {str(folder)!r}, which is not a folder")
    every = sorted(path for path in Path(folder).glob("**/*" if recursive else "*") if path.suffix.lower() in SUFFIXES and path.is_file())
    hidden = [path for path in every if any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if hidden:
        note(f"hidden files of {str(folder)!r} are skipped: {len(hidden)}, such as {str(hidden[0].relative_to(folder))!r}")
    found = [path for path in every if path not in set(hidden)]
    if not found:
        raise InputError(f"expected a folder of images, got {str(folder)!r} without any of {', '.join(sorted(SUFFIXES))}")
    return found


def _skimage(name: str) -> Callable[[], np.ndarray]:
    def load() -> np.ndarray:
        import skimage.data

        return getattr(skimage.data, name)()

    return load


def _sklearn(name: str) -> Callable[[], np.ndarray]:
    def load() -> np.ndarray:
        package = importlib.util.find_spec("sklearn")
        if package is None or not package.submodule_search_locations:
            raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
        # The file as it lies there: importing its loader takes half a second.
        with Image.open(Path(package.submodule_search_locations[0]) / "datasets" / "images" / name) as image:
            return np.asarray(image)

    return load


# Pictures that come with scikit-image and scikit-learn themselves: real photos without a network.
SAMPLES: dict[str, Callable[[], np.ndarray]] = {
    "astronaut": _skimage("astronaut"),
    "cat": _skimage("chelsea"),
    "coffee": _skimage("coffee"),
    "rocket": _skimage("rocket"),
    "temple": _sklearn("china.jpg"),
    "flower": _sklearn("flower.jpg"),
}
# More of them, less like what models are trained on; enough for mosaics of seven different photos.
MORE_SAMPLES: dict[str, Callable[[], np.ndarray]] = {
    "galaxies": _skimage("hubble_deep_field"),
    "tissue": _skimage("immunohistochemistry"),
    "retina": _skimage("retina"),
}
