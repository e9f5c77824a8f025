"""The built lab page as a reader uses it: what `check_lab` opens, presses and reads."""

import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.check_pages import ROOT, chromium, served, watch

BOOK = Path(os.environ.get("XAICL_BOOK_HTML") or ROOT / "_build" / "html")
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # a green picture that beeps
PATIENCE = 240_000  # milliseconds: a slow machine is no error
expect.set_options(timeout=PATIENCE)
GALLERY = "#a=cat&b=cat_view&model=simclr&method="


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(BOOK) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(*CAMERA) as made:
        yield made


class Lab:
    """The page as a reader uses it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, f"{address}book/lab.html"
        self.files: set[Path] = set()  # of the book that the browser has asked for
        page.on("requestfinished", lambda request: self.files.add(BOOK / urlsplit(request.url.removeprefix(address)).path))

    def open(self, state: str = "") -> "Lab":
        self.page.goto("about:blank")
        self.page.goto(self.address + state)
        return self.done()

    def status(self, state: str, text: str | re.Pattern[str] = "") -> "Lab":
        expect(self.page.locator(".xl-status")).to_have_attribute("data-state", state, timeout=PATIENCE)
        expect(self.page.locator(".xl-status-text")).to_contain_text(text)
        return self

    def done(self, text: str | re.Pattern[str] = "") -> "Lab":
        return self.status("done", text)

    def live(self) -> "Lab":
        return self.done("Computed in this browser")

    def offer(self, side: str, name: str, data: bytes) -> None:
        """Hand over a file, whatever it is."""
        if not self.page.locator("dialog[open]").count():
            self.page.get_by_role("button", name=f"Choose picture {side}").first.click()
        self.page.locator("#xl-file").set_input_files({"name": name, "mimeType": "", "buffer": data})

    def own(self, side: str, name: str, data: bytes) -> None:
        """Hand over a picture and wait until it is shown; what is told after that is about it."""
        self.offer(side, name, data)
        expect(self.page.locator(".xl-caption-text").nth("AB".index(side))).to_have_text(name, timeout=PATIENCE)

    def numbers(self) -> dict[str, Any]:
        """What the page offers as JSON: its first explanation."""
        with self.page.expect_download() as found:
            self.page.get_by_role("button", name="Download as JSON").click()
        return json.loads(found.value.path().read_text())["explanations"][0]

    def pixels(self, side: str) -> str:
        return self.page.locator("canvas.xl-canvas").nth("ab".index(side)).evaluate("canvas => canvas.toDataURL()")

    @property
    def sentence(self) -> str:
        return self.page.locator(".xl-sentence").first.inner_text()

    @property
    def readout(self) -> str:
        return self.page.locator(".xl-readout").first.inner_text()


def page_of(browser: Browser, address: str, **options: Any) -> Iterator[Lab]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    problems: list[str] = []
    watch(page, address, problems)
    yield Lab(page, address)
    context.close()
    assert not problems


def encoded(pixels: torch.Tensor, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray((pixels[0] * 255).round().byte().permute(1, 2, 0).numpy()).save(buffer, kind, **options)
    return buffer.getvalue()


def seen(name: str) -> torch.Tensor:
    """A picture of the gallery as the photo models see it."""
    pixels = np.array(Image.open(BOOK / "_static" / "lab" / "gallery" / "pictures" / f"{name}-96.png"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255


def off(got: Any, want: torch.Tensor) -> float:
    return float((torch.tensor(got) - want).norm() / want.norm())
