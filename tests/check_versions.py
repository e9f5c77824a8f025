"""Versions of the book side by side, in headless Chromium below a sub-path: needs the built book, as `check_lab` does."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.check_pages import axe, serious, served, watch
from tests.lab_page import BOOK, PATIENCE, browser
from xaicl_lib.publishing.site import make_version

browser = browser  # fixture
pytestmark = pytest.mark.skipif(not (BOOK / "_static" / "versions.js").is_file(), reason=f"no book in {BOOK}; `make book` builds it")


@pytest.mark.parametrize("width", [1280, 360])
def test_a_reader_comes_to_the_same_page_of_another_version_or_to_its_first(browser: Browser, tmp_path: Path, width: int) -> None:
    book = tmp_path / "book"
    for part in ("_static", "book"):  # but not what is heavy
        (book / part).parent.mkdir(parents=True, exist_ok=True)
        (book / part).symlink_to(BOOK / part)
    (book / "index.html").write_bytes((BOOK / "index.html").read_bytes())
    small = tmp_path / "small"
    (small / "book").mkdir(parents=True)
    for name in ("index.html", "book/intro.html"):
        (small / name).write_bytes((BOOK / name).read_bytes())
    (small / "_static").symlink_to(BOOK / "_static")
    site = tmp_path / "site"
    make_version(small, site, "v0.1")
    make_version(book, site, "v0.2")
    problems: list[str] = []
    with served(site) as address:
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.set_default_timeout(PATIENCE)
        watch(page, address, problems)
        page.goto(f"{address}v0.2/book/intro.html#run")
        page.locator(".xaicl-versions summary", has_text="v0.2").press("Enter")
        expect(page.locator(".xaicl-versions [aria-current]")).to_have_text("v0.2")
        assert serious(page, axe(), within=".xaicl-versions", rules={}) == []
        page.get_by_role("link", name="v0.1").press("Enter")
        page.wait_for_url(f"{address}v0.1/book/intro.html#run")
        expect(page.locator(".xaicl-versions summary")).to_have_text("v0.1, older")
        page.goto(f"{address}v0.2/book/faq.html")
        page.locator(".xaicl-versions summary").press("Enter")
        page.get_by_role("link", name="v0.1").press("Enter")
        page.wait_for_url(f"{address}v0.1/book/intro.html")
        page.goto(address)
        page.wait_for_url(f"{address}v0.2/book/intro.html")
        page.context.close()
    assert [one for one in problems if not one.startswith(("404 for", "console: Failed to load", "failed request"))] == []
