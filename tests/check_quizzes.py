"""The questions at the end of the chapters in headless Chromium, with the keyboard alone: needs the built book, as `check_lab` does."""

import re
from collections.abc import Iterator

import pytest
import torch
from playwright.sync_api import Browser, Locator, Page, expect

from tests.check_pages import served, watch
from tests.lab_page import BOOK, PATIENCE, browser
from xaicl_lib import load_model, measure
from xaicl_lib.publishing.quizzes import FILE, read_quizzes
from xaicl_lib.publishing.run import ROOT
from xaicl_lib.views import LivePair

QUIZZES = read_quizzes(ROOT / "book" / FILE)
CHAPTER = "A2_ground_truth"  # has every kind but a number
browser = browser  # fixture
pytestmark = pytest.mark.skipif(not (BOOK / "book" / "questions.html").is_file(), reason=f"no questions in {BOOK}; `make book` builds them")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    problems: list[str] = []
    context = browser.new_context(viewport={"width": 360, "height": 800})
    context.set_default_timeout(PATIENCE)
    with served(BOOK) as address:
        made = context.new_page()
        watch(made, address, problems)
        opened(made, address, CHAPTER)
        yield made
        context.close()
    assert problems == []


def opened(page: Page, address: str, chapter: str) -> None:
    page.goto(f"{address}notebooks/{chapter}.html")
    page.locator(".xaicl-quiz[data-ready]").wait_for(state="attached")


def question(page: Page, name: str) -> Locator:
    box = page.locator(f"#quiz-{name}")
    box.scroll_into_view_if_needed()
    return box


def said(box: Locator, text: str) -> None:
    expect(box.locator(".xaicl-keys ~ .xaicl-said")).to_contain_text(text, timeout=PATIENCE)


def check(box: Locator) -> None:
    box.get_by_role("button", name="Check").press("Enter")


def test_questions_are_answered_by_keyboard_and_remembered(page: Page) -> None:
    by_id = {q["id"]: q for q in QUIZZES[CHAPTER]}
    answer_a_choice(question(page, "truth-twice"), by_id["truth-twice"])
    put_into_order(question(page, "truth-steps"), by_id["truth-steps"])
    find_the_control(question(page, "truth-control"), by_id["truth-control"])
    point_at_the_place(question(page, "truth-place"), by_id["truth-place"])
    expect(page.locator(".xaicl-count")).to_have_text("4 of 4 right.")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.reload()
    expect(page.locator(".xaicl-count")).to_contain_text("of 4 right.")
    question(page, "truth-place")
    expect(page.locator(".xaicl-count")).to_have_text("4 of 4 right.", timeout=PATIENCE)
    page.get_by_role("button", name="Forget my answers").press("Enter")
    expect(page.locator(".xaicl-count")).to_have_text("0 of 4 right.", timeout=PATIENCE)


def answer_a_choice(box: Locator, asked: dict) -> None:
    check(box)
    said(box, "Answer first")
    wrong = next(option for option in asked["options"] if not option["right"])
    box.get_by_label(wrong["text"]).press("Space")
    check(box)
    said(box, wrong["says"])
    box.get_by_role("button", name="Hint").press("Enter")
    expect(box.get_by_text(asked["hint"])).to_be_visible()
    right = next(option for option in asked["options"] if option["right"])
    box.get_by_label(right["text"]).press("Space")
    check(box)
    said(box, "Right. " + right["says"])


def put_into_order(box: Locator, asked: dict) -> None:
    check(box)
    said(box, "the first that stands wrong is number 1")
    for place, item in enumerate(asked["items"]):
        while box.locator("li span").all_inner_texts().index(item) > place:
            box.get_by_role("button", name=f"Move up: {item}").press("Enter")
    check(box)
    said(box, asked["says"])


def find_the_control(box: Locator, asked: dict) -> None:
    for k, method in enumerate(asked["maps"], start=1):
        expect(box.locator("canvas").nth(k - 1)).to_have_attribute("aria-label", re.compile(f"^Map {k}: .* most at"), timeout=PATIENCE)
        if method == asked["control"]:
            box.get_by_role("radio").nth(k - 1).press("Space")
    check(box)
    said(box, asked["says"])
    expect(box).to_contain_text(asked["control"].replace("_", " "))


def point_at_the_place(box: Locator, asked: dict) -> None:
    canvas = box.locator("canvas[tabindex]")
    canvas.press("ArrowUp")
    canvas.press("ArrowRight")
    check(box)
    said(box, "Not yet.")
    column, row = (int(12 * share) for share in asked["at"])
    for key, steps in (("ArrowLeft", 7 - column), ("ArrowDown", row - 6)):
        for _ in range(steps):
            canvas.press(key)
    assert f"row {row + 1} of 12 from the top, column {column + 1}" in (canvas.get_attribute("aria-label") or "")
    check(box)
    said(box, "Right. You were 0.0")


def test_a_number_is_taken_with_tolerance_and_without_storage(browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    with served(BOOK) as address:
        page = context.new_page()
        problems: list[str] = []
        watch(page, address, problems)
        page.add_init_script(
            "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('storage is forbidden', 'SecurityError'); } });"
        )
        opened(page, address, "01_methods")
        box = question(page, "methods-drop")
        for given, says in (
            ("two", "Answer first"),
            ("-0,25", "what speaks for the similarity is positive"),
            ("9", "Too high"),
            ("0.253", "Right."),
        ):
            box.get_by_label("A number:").fill(given)
            box.get_by_label("A number:").press("Enter")
            said(box, says)
        context.close()
        assert [
            line for line in problems if "storage is forbidden" not in line and "theme mode" not in line
        ] == []  # the theme minds; the questions do not


def test_a_few_lines_of_code_are_run_when_they_are_checked_and_no_longer_than_they_may(page: Page) -> None:
    page.goto(page.url.replace(CHAPTER, "01_methods"))
    page.locator(".xaicl-quiz[data-ready]").wait_for(state="attached")
    asked = next(q for q in QUIZZES["01_methods"] if q["kind"] == "code")
    box = question(page, asked["id"])
    lines = box.get_by_label("function (z_a, z_b) {")
    check(box)
    said(box, asked["wrong"][0]["says"])  # what stands there at first is a step on the way
    for written, says in (
        ("", "Answer first"),
        ("for (;;) {}", "It ran for more than 5 seconds and was ended"),
        ("retrun 1;", 'It stops with "Unexpected'),
        ("return z_a;", "instead of a number"),
        ("return 0.5;", "For example 1 of 4 it gives 0.5, where 0.879 is right."),
        ("1;" * 1001, "ten lines are enough"),
        (asked["solution"], "Right. " + asked["says"]),
    ):
        lines.fill(written)
        check(box)
        said(box, says)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.reload()
    box = question(page, asked["id"])
    expect(box.get_by_label("function (z_a, z_b) {")).to_have_value(asked["solution"])
    expect(box.locator(".xaicl-keys ~ .xaicl-said")).to_be_empty()  # what was written is shown again, and not run before it is asked for
    page.get_by_role("button", name="Forget my answers").press("Enter")
    expect(box.get_by_label("function (z_a, z_b) {")).to_have_value(asked["start"])


MAKES = """async ({ pair, names }) => {
  const { arraysOf } = await import(new URL("../_static/lab/page/arrays.js", location.href));
  return arraysOf({ ...pair, answer: "drop" }, names, { progress: () => {} });
}"""


def test_code_runs_on_what_the_engine_makes_of_a_pair_and_on_stored_numbers_without_it(page: Page) -> None:
    page.goto(page.url.replace(CHAPTER, "02_metrics"))
    page.locator(".xaicl-quiz[data-ready]").wait_for(state="attached")
    area, drop = (next(q for q in QUIZZES["02_metrics"] if q["id"] == name) for name in ("metrics-area-code", "metrics-drop-code"))
    page.route("**/weights.bin", lambda route: route.fulfill(status=200, body="no weights"))
    box = question(page, area["id"])
    box.get_by_label("function (scores) {").fill(area["solution"])
    check(box)
    said(box, "The first example is a stored one, for nothing can be computed here: ")
    said(box, "Right. ")
    page.unroute("**/weights.bin")
    for asked in (area, drop):
        box = question(page, asked["id"])
        box.get_by_label("function (").fill(asked["solution"])
        check(box)
        said(box, "Right. ")
        expect(box).not_to_contain_text("is a stored one")
    live = LivePair(**{key: value for key, value in drop["pair"].items() if key != "answer"})
    model, made = load_model(live.model, "cpu"), live.explanation()
    found, curves = measure(model, live.pair(), made, ["CD", "CAD"], step=model.size**2 // 16, curves=True)
    names = ["score", "map_a", "map_b", "z_a", "z_b", "scores", "dimmed"]
    got = page.evaluate(MAKES, {"pair": drop["pair"], "names": names})
    values = {name: torch.tensor(value) for name, value in zip(names, got["values"], strict=True)}
    assert values["score"].item() == pytest.approx(made.score.item(), abs=1e-4)
    assert got["answer"] == pytest.approx(found["CAD"].item(), abs=1e-4)
    for name, want in (("map_a", made.a[0]), ("map_b", made.b[0]), ("scores", curves.points["CD"][0, 0])):
        assert values[name].shape == want.shape
        assert (values[name] - want).norm() <= 1e-3 * want.norm(), name
    assert torch.cosine_similarity(values["z_a"], values["z_b"], dim=0).item() == pytest.approx(made.score.item(), abs=1e-4)
