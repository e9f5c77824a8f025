"""The same photo is the same pixels in the library and in the lab: files as Chromium decodes them for the lab's own code."""

import base64
import io
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from warnings import catch_warnings, simplefilter

import numpy as np
import pytest
import torch
from PIL import Image, features

from tests import made_profiles as made
from tests.check_pages import FLAGS, _find_chromium
from xaicl_lib import load_model
from xaicl_lib.images import SAMPLES, open_photo

STATIC = Path(__file__).parents[2] / "xaicl_lib" / "lab" / "static"
SIZE = 96
READ = """async ([given, size]) => {
  const { fromFile } = await import("/page/pictures.js");
  const answers = [];
  for (const one of given) {
    const bytes = Uint8Array.from(atob(one), (letter) => letter.charCodeAt(0));
    const picture = await fromFile(new File([bytes], "photo", { type: bytes[4] === 102 ? "image/avif" : "" }));
    const bytes_ = new Uint8Array((await picture.input(size)).map((value) => Math.round(255 * value)));
    answers.push({ pixels: btoa(String.fromCharCode(...bytes_)), notes: picture.notes });
  }
  return answers;
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def in_chromium() -> Iterator[Callable[[list[bytes]], list[dict]]]:
    """What the lab makes of files: pixels (3, SIZE, SIZE) and notes of each."""
    playwright = pytest.importorskip("playwright.sync_api")
    try:
        chromium = _find_chromium()
    except SystemExit as missing:
        pytest.skip(str(missing))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=STATIC)) as server, playwright.sync_playwright() as driver:
        Thread(target=server.serve_forever, daemon=True).start()
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/page/lab.css")
        yield lambda files: page.evaluate(READ, [[base64.b64encode(file).decode() for file in files], SIZE])
        browser.close()
        server.shutdown()


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def segments(jpeg: bytes, count: int) -> bytes:
    """A JPEG with as many full segments before its frame, in which phones keep depth maps and films."""
    return jpeg[:2] + (b"\xff\xe1\xff\xff" + bytes(65533)) * count + jpeg[2:]


def files() -> dict[str, bytes]:
    """A photo as phones, cameras, browsers and editors write it."""
    photo = Image.fromarray(np.asarray(SAMPLES["coffee"]())[:220, :300])
    grey = photo.convert("L")
    clear = photo.copy()
    clear.putalpha(Image.linear_gradient("L").resize(photo.size))
    turned = Image.Exif()
    turned[0x0112] = 8
    camera = Image.Exif()  # says Adobe RGB in its own way, without a profile; no browser looks at that
    camera.get_ifd(0x8769)[0xA001] = 0xFFFF
    camera.get_ifd(0xA005)[1] = "R03"
    kinds = {"PNG": {}, "JPEG": {"quality": 92}, "WEBP": {"quality": 90}, "AVIF": {"quality": 90}}
    profiles = {"none": None, "Display P3": made.DISPLAY_P3, "Adobe RGB": made.ADOBE_RGB, "of inks": made.PRINT}
    made_ = {
        f"{kind}, {name}": encoded(photo, kind, icc_profile=profile, **options)
        for kind, options in kinds.items()
        for name, profile in profiles.items()
        if kind != "AVIF" or (features.check("avif") and name != "of inks")  # Chromium refuses that AVIF
    }
    return made_ | {
        "P3, a quarter turned": encoded(photo, "JPEG", icc_profile=made.DISPLAY_P3, exif=turned),
        "said in EXIF alone": encoded(photo, "JPEG", exif=camera),
        "a damaged profile": encoded(photo, "JPEG", icc_profile=made.DISPLAY_P3[:200]),
        "P3, transparent": encoded(clear, "PNG", icc_profile=made.DISPLAY_P3),
        "P3, transparent WebP": encoded(clear, "WEBP", lossless=True, icc_profile=made.DISPLAY_P3),
        "P3, palette": encoded(photo.quantize(64), "PNG", icc_profile=made.DISPLAY_P3),
        "grey": encoded(grey, "JPEG", icc_profile=made.GREY_18),
        "grey, Adobe RGB": encoded(grey, "PNG", icc_profile=made.ADOBE_RGB),
        "grey, transparent": encoded(Image.merge("LA", (grey, clear.getchannel("A"))), "PNG", icc_profile=made.GREY_18),
        "grey of 16 bits": encoded(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG", icc_profile=made.GREY_18),
        "5 MB before its frame": segments(encoded(photo, "JPEG", quality=92), 80),
        "inks without a profile": encoded(photo.convert("CMYK"), "JPEG", quality=92),
        "wider than what is worked on": encoded(noise(4501, 200), "PNG"),
        "higher than what is worked on": encoded(noise(120, 4400), "PNG"),
    }


def pixels(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8).view(3, SIZE, SIZE) / 255


def test_a_file_gives_the_same_pixels_and_scores(in_chromium) -> None:
    given = files()
    with catch_warnings():
        simplefilter("ignore", UserWarning)
        ours = torch.cat([open_photo(Image.open(io.BytesIO(file)), SIZE) for file in given.values()])
    theirs = torch.stack([pixels(one["pixels"]) for one in in_chromium(list(given.values()))])
    off = {name: round(float(255 * (a - b).abs().max()), 2) for name, a, b in zip(given, ours, theirs, strict=True)}
    assert max(off.values()) <= 2, off
    model, other = load_model("simclr", "cpu"), open_photo("cat", SIZE)
    z, facing = [model.encode(side) for side in (ours, theirs)], model.encode(other)
    scores = [torch.cosine_similarity(one, facing) for one in z]
    assert (scores[0] - scores[1]).abs().max() < 1e-3
    plain = ours[list(given).index("PNG, none")]
    assert (ours[list(given).index("PNG, Adobe RGB")] - plain).abs().max() > 20 / 255, "had it been ignored, that would show"


def test_inks_are_told_for_chromium_takes_them_otherwise(in_chromium) -> None:
    photo = Image.fromarray(np.asarray(SAMPLES["coffee"]())[:64, :64])
    inks, bare = (encoded(photo.convert("CMYK"), "JPEG", icc_profile=profile) for profile in (made.PRINT, None))
    notes = [one["notes"] for one in in_chromium([inks, bare, encoded(photo, "JPEG", icc_profile=made.DISPLAY_P3)])]
    assert ["inks" in " ".join(said) for said in notes] == [True, False, False]


def test_what_is_made_smaller_first_is_told(in_chromium) -> None:
    sides = [(4200, 4200), (9000, 1800)]  # the middle of the second is within bounds
    notes = [one["notes"] for one in in_chromium([encoded(Image.new("L", side, 99), "PNG") for side in sides])]
    assert ["makes it smaller" in " ".join(said) for said in notes] == [True, False]
