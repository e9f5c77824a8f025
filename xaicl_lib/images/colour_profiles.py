"""Colours of files as sRGB, which is what models were trained on and what browsers hand to the lab.

Phones write Display P3, cameras Adobe RGB, print shops inks: an embedded ICC profile says which. Files come from anywhere, so a profile
that is too large or that cannot be used is ignored, and that is said. Browsers follow a file's other words, too, where it has no profile:
the gamma of a PNG, the codes of a PNG or AVIF. Such files are rare, and their pixels are taken as they are here.
"""

from functools import lru_cache
from io import BytesIO

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
BROKEN = (ImageCms.PyCMSError, OSError, ValueError, TypeError)


def to_srgb(image: Image.Image) -> Image.Image:
    """A picture with its colours in sRGB (relative colorimetric), its transparency as it was; a note says what was converted.

    A profile that moves no colour by more than 1/255 is sRGB under another name: the picture is then returned as it is, without a note.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    try:
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
