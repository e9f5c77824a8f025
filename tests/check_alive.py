"""The page on which an encoder is trained, in headless Chromium: needs the built book, as `check_lab` does."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.check_pages import axe, serious, served, watch
from tests.lab.alive import PAGE, STEPS, presets
from tests.lab_page import BOOK, PATIENCE, browser

TEXT = " ".join(PAGE.read_text(encoding="utf-8").split())
browser = browser  # fixture
pytestmark = pytest.mark.skipif(not (BOOK / "book" / "alive.html").is_file(), reason=f"no such page in {BOOK}; `make book` builds it")


@contextmanager
def opened(browser: Browser, width: int, *, motion: str = "no-preference", lost: str = "", fails: str = "^$") -> Iterator[Page]:
    """The page, below a sub-path; a file that `lost` names is not there."""
    problems: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 800}, reduced_motion=motion)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE)
    with served(BOOK) as address:
        page = context.new_page()
        watch(page, address, problems)
        if lost:
            page.route(lost, lambda route: route.fulfill(status=404))
        page.goto(f"{address}book/alive.html")
        rests(page, "failed" if lost else "rests")
        yield page
        context.close()
    assert [line for line in problems if not re.search(fails, line)] == []


def rests(page: Page, state: str = "rests") -> None:
    expect(page.locator("#xl-alive")).to_have_attribute("data-state", state, timeout=PATIENCE)


def said(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.locator(".xl-said")).to_contain_text(text, timeout=PATIENCE)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).press("Enter")


def measured(page: Page) -> list[float]:
    """Loss, alignment and uniformity, as they stand over the curves."""
    return [float(text.replace("\N{MINUS SIGN}", "-")) for text in page.locator(".xl-number").all_inner_texts()]


def steps(page: Page) -> int:
    return int(page.locator(".xl-count").inner_text().split()[1])


def test_it_trains_pauses_and_collapses_by_keyboard(browser: Browser) -> None:
    with opened(browser, 1280) as page:
        said(page, "Not trained yet")
        before = measured(page)
        press(page, "Start")
        page.wait_for_function("Number(document.querySelector('.xl-count').textContent.split(' ')[1]) > 5")
        press(page, "Pause")
        rests(page)
        halted = steps(page)
        assert 5 < halted < STEPS
        press(page, "Go on")
        said(page, f"After {STEPS} steps")
        loss, alignment, uniformity = measured(page)
        assert f"the loss from {before[0]:.2f} to {loss:.2f}" in TEXT  # to the last digit, halted or not, in another engine than the text's
        assert f"{before[1]:.3f} before, {alignment:.3f} after" in TEXT
        assert uniformity < -1.4 < before[2]
        expect(page.get_by_role("img", name=re.compile("^Loss from .* at step 600$"))).to_be_visible()
        expect(page.get_by_role("img", name=re.compile("^Embeddings on the circle: .* o.clock"))).to_be_visible()
        press(page, "No negatives")
        assert page.evaluate("document.activeElement.textContent") == "Pause"
        said(page, "Collapsed")
        assert measured(page)[1:] == [0, 0]
        assert not page.get_by_label("Negatives: other points push away").is_checked()


def test_what_is_set_is_seen_and_what_cannot_be_is_said(browser: Browser) -> None:
    with opened(browser, 1280) as page:
        plane, alignment = page.locator(".xl-picture").first, measured(page)[1]
        fans = plane.locator(".xl-spray").get_attribute("d") or ""
        page.get_by_label("Strength of the augmentation").press("End")
        expect(plane.locator(".xl-spray")).not_to_have_attribute("d", fans)
        assert measured(page)[1] > alignment
        seed = page.get_by_label("Seed: points and first weights")
        marks = plane.locator(".xl-mark path").first.get_attribute("d") or ""
        for given, says in (("seven", 'Seed cannot be "seven", but a whole number from 0'), ("1e99", 'Seed cannot be "1e99"')):
            seed.fill(given)
            seed.press("Tab")
            said(page, says)
            press(page, "Start")
            rests(page, "failed")
            said(page, says)
        seed.fill("1")
        seed.press("Tab")
        said(page, "Not trained yet")
        expect(plane.locator(".xl-mark path").first).not_to_have_attribute("d", marks)
        page.locator("button[data-alive]").first.evaluate('button => { button.dataset.alive = \'{"temperature": "hot"}\'; }')
        press(page, "No negatives")
        said(page, 'Temperature cannot be "hot", but a number from 0.02 to 20.')
        page.get_by_role("button", name="Left or right").click()
        said(page, f"After {STEPS} steps")
        assert page.locator("button[data-alive]:visible").count() == len(presets())


def test_a_point_is_followed_by_pointer_and_by_keyboard(browser: Browser) -> None:
    with opened(browser, 1280) as page:
        plane, circle = (page.locator(".xl-picture").nth(k) for k in (0, 1))
        plane.locator(".xl-mark path").first.hover(force=True)
        expect(circle.locator(".xl-followed")).to_have_count(1)
        pointed = circle.locator(".xl-followed").get_attribute("cy")
        page.mouse.move(1, 1)
        expect(circle.locator(".xl-followed")).to_have_count(0)
        choice = page.get_by_label("Follow a point")
        choice.press("ArrowRight")
        expect(choice).to_have_attribute("aria-valuetext", re.compile(r"^1, of the \w+, at \d+ o.clock$"))
        expect(plane.locator(".xl-followed")).to_have_count(1)
        choice.press("End")
        expect(choice).to_have_attribute("aria-valuetext", re.compile("^192, of the "))
        assert circle.locator(".xl-followed").get_attribute("cy") != pointed
        press(page, "Start")
        said(page, f"After {STEPS} steps")
        hour = (choice.get_attribute("aria-valuetext") or "").split(" at ")[1]  # where it is now, not where it was
        assert hour in page.locator(".xl-said").inner_text()
        page.get_by_label("Points", exact=True).select_option("rings")
        expect(circle.locator(".xl-followed")).to_have_count(0)  # three rings have no such point


def test_a_phone_that_asks_for_less_motion_sees_the_end(browser: Browser) -> None:
    with opened(browser, 360, motion="reduce") as page:
        page.evaluate("""() => {
          window.drawn = 0;
          new MutationObserver(() => { window.drawn += 1; }).observe(document.querySelectorAll('.xl-picture')[1], { childList: true });
        }""")
        press(page, "Start")
        said(page, f"After {STEPS} steps")
        assert page.evaluate("window.drawn") == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert serious(page, axe(), within="#xl-alive", rules={}) == []


def test_where_nothing_can_be_trained_the_still_picture_stays(browser: Browser) -> None:
    with opened(browser, 360, lost="**/alive/worker.js", fails="404|worker.js") as page:
        said(page, "The training could not be started in this browser")
        expect(page.get_by_role("img", name=re.compile("^Four pictures"))).to_be_visible()
        assert page.locator("button[data-alive]:visible").count() == 0
