"""The element `<xaicl-pair>` in headless Chromium: every chapter's against torch on a page that is not the book's, and what goes wrong.

Needs the built book's lab, so `make check-book` runs it and `make test` does not.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from playwright.sync_api import Browser, Locator, Page, expect

from tests.check_pages import ROOT, served, watch
from tests.lab_page import BOOK, PATIENCE, browser, encoded, off
from xaicl_lib import Pair, explain, load_model, measure
from xaicl_lib.cli import main
from xaicl_lib.data.photos import open_photo
from xaicl_lib.lab.gallery import PICTURES, seen
from xaicl_lib.pair import Explanation
from xaicl_lib.views import LivePair

LAB = BOOK / "_static" / "lab"
HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><title>A page</title><script type="module" src="xaicl/page/pair.js"></script>'
COMPUTE = "Compute it in this browser"
DONE = "Computed in this browser"

browser = browser  # fixture
pytestmark = pytest.mark.skipif(not (LAB / "page" / "pair.js").is_file(), reason=f"no lab in {BOOK}; `make book` builds it")


@pytest.fixture
def foreign(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Opens a page of somebody else's, deep below its host; nothing may fail on it but what is expected, and no other host be asked."""
    problems: list[str] = []
    expected: list[str] = ["^$"]
    folder = tmp_path / "blog" / "2026"
    folder.mkdir(parents=True)
    context = browser.new_context(viewport={"width": 360, "height": 800})
    context.set_default_timeout(PATIENCE)
    with served(tmp_path) as address:

        def opened(html: str, *, before: str = "", fails: str = "^$") -> Page:
            if not (folder / "xaicl").exists():
                (folder / "xaicl").symlink_to(LAB, target_is_directory=True)
            name = f"page_{len(expected)}.html"  # a browser may keep a page that is written anew within the same second
            (folder / name).write_text(html, encoding="utf-8")
            page = context.new_page()
            watch(page, address, problems)
            expected.append(fails)
            if before:
                page.add_init_script(before)
            page.goto(f"{address}blog/2026/{name}")
            return page

        yield opened
        context.close()
    assert [line for line in problems if not re.search("|".join(expected), line)] == []


def chapters_pairs() -> dict[str, LivePair]:
    """Every live pair that a chapter shows, by the chapter's name."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code" and cell.source.startswith("LivePair("):
                call = compile(ast.parse(cell.source, mode="eval"), path.name, "eval")
                found[path.stem] = eval(call, {"LivePair": LivePair})
    return found


def results(page: Page, k: int) -> list[dict[str, Any]]:
    plain = "r => ({score: r.score, a: Array.from(r.a.data), b: r.b && Array.from(r.b.data)})"
    found: list[dict[str, Any]] = page.evaluate(f"k => document.querySelectorAll('xaicl-pair')[k].results.map({plain})", k)
    return found


def done(page: Page, k: int, text: str = DONE) -> None:
    expect(page.locator("xaicl-pair").nth(k).locator(".xl-status-text")).to_contain_text(text, timeout=PATIENCE)


def test_ten_chapters_have_a_pair_that_agrees_with_torch(foreign: Callable[..., Page]) -> None:
    pairs = chapters_pairs()
    assert len(pairs) >= 10
    page = foreign(HEAD + "".join(f'<h2 style="overflow-wrap: anywhere">{name}</h2>{pair._repr_html_()}' for name, pair in pairs.items()))
    engine = "() => performance.getEntriesByType('resource').map(e => e.name).filter(n => /gz$|onnx$|bin$|worker/.test(n))"
    for k, pair in enumerate(pairs.values()):
        element = page.locator("xaicl-pair").nth(k)
        element.scroll_into_view_if_needed()
        element.get_by_role("button", name=COMPUTE).wait_for()
        assert k or not page.evaluate(engine), "nothing computes before it is asked"
        element.get_by_role("button", name=COMPUTE).click()
        done(page, k)
        models = [pair.model, *([pair.beside] if pair.beside else [])]
        for model, got in zip(models, results(page, k), strict=True):
            agrees(got, pair.explanation(model))
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("document.querySelectorAll('xaicl-pair.xl-ready').length") <= 12
    deletion(page, list(pairs), pairs["02_metrics"])
    covering(page, list(pairs))
    corpus_and_foil(page, list(pairs), pairs["08_corpus_attributions"])


def agrees(got: dict[str, Any], want: Explanation, within: float = 1e-3) -> None:
    """The browser's result is torch's."""
    assert got["score"] == pytest.approx(want.score.item(), abs=1e-4)
    for side, theirs in (("a", want.a), ("b", want.b)):
        if theirs is not None:
            assert off(got[side], theirs[0].flatten()) < within


def deletion(page: Page, names: list[str], shown: LivePair) -> None:
    """Chapter 2: the area under the curve is the library's CD."""
    element = page.locator("xaicl-pair").nth(names.index("02_metrics"))
    element.scroll_into_view_if_needed()
    element.get_by_role("button", name="Take pixels away").click()
    box = element.locator(".xl-curve-box")
    expect(box).to_contain_text("the metric CD", timeout=PATIENCE)
    model, pair = load_model("simclr", "cpu"), shown.pair()
    want = measure(model, pair, shown.explanation(), ["CD"], step=model.size**2 // 16)["CD"].item()
    assert float(re.findall(r": (0\.\d+)\.", box.inner_text())[0]) == pytest.approx(want, abs=2e-3)
    assert "50 % gone" in (box.locator("svg").get_attribute("aria-label") or "")


def covering(page: Page, names: list[str]) -> None:
    """Chapter A2: with the keyboard, a covered place is one that torch sees covered."""
    k = names.index("A2_ground_truth")
    element = page.locator("xaicl-pair").nth(k)
    element.scroll_into_view_if_needed()
    canvas = element.locator("canvas.xl-canvas").first
    canvas.focus()
    for key in ("ArrowLeft", "ArrowLeft", "Enter"):  # to the middle, one cell of eight to the left
        canvas.press(key)
    expect(element).to_contain_text("1 covered", timeout=PATIENCE)
    model = load_model("scenes_simclr", "cpu")
    mean = json.loads((LAB / "models" / "scenes_simclr" / "model.json").read_text())["mean"]
    a, edges = seen("object_a", model.size).clone(), [n * model.size // 6 for n in range(7)]
    a[0, :, edges[3] : edges[4], edges[2] : edges[3]] = torch.tensor(mean).view(3, 1, 1)
    want, got = explain(model, Pair(a, seen("object_b", model.size)), "interaction_cam"), results(page, k)[0]
    assert got["score"] == pytest.approx(want.score.item(), abs=1e-4)
    assert off(got["a"], want.a[0].flatten()) < 1e-3


def corpus_and_foil(page: Page, names: list[str], shown: LivePair) -> None:
    """Chapter 8: what is chosen by key and by click is what torch says of that corpus and foil; a corpus of nothing is said to be one."""
    k = names.index("08_corpus_attributions")
    element = page.locator("xaicl-pair").nth(k)
    element.scroll_into_view_if_needed()

    def key(name: str, chosen: str) -> Locator:
        return element.get_by_role("button", name=f"{PICTURES[name].title}: {chosen}", exact=True)

    for name in shown.foil:
        key(name, "foil").press("Enter")  # out of it
    key("two_b", "foil").press("Space")  # from the corpus into the foil
    expect(key("two_b", "corpus")).to_have_attribute("aria-pressed", "false")
    done(page, k, "The choice has changed")
    element.get_by_role("button", name=COMPUTE).click()
    done(page, k, "The corpus is empty: choose at least one picture")
    for clicks, title in ((1, PICTURES["shape_a"].title), (2, PICTURES["ground_b"].title)):
        for _ in range(clicks):
            element.locator(f'img[title="{title}"]').click()
    expect(element).to_contain_text("In the corpus: 1; in the foil: 2.")
    element.get_by_label("Method").select_option("grad_cam")
    element.get_by_role("button", name=COMPUTE).click()
    done(page, k)
    want = LivePair(shown.model, "grad_cam", shown.sides[0], corpus=["shape_a"], foil=["two_b", "ground_b"])
    agrees(results(page, k)[0], want.explanation(), 1e-4)
    expect(element).to_contain_text("similar to the corpus than to the foil")


def test_the_documented_page_works_anywhere(foreign: Callable[..., Page], tmp_path: Path) -> None:
    html = re.findall(r"```html\n(.*?)```", (ROOT / "book" / "lab.md").read_text(encoding="utf-8"), re.DOTALL)[0]
    assert len(html.splitlines()) <= 10
    folder = tmp_path / "blog" / "2026"
    assert main(["element", "-o", str(folder / "xaicl"), "--out", str(ROOT / "_build")]) == 0
    (folder / "photos").mkdir()
    for name, photo in {"mine": "rocket", "yours": "coffee"}.items():
        (folder / "photos" / f"{name}.png").write_bytes(encoded(open_photo(photo, 96), "PNG"))
    page = foreign(html)
    done(page, 0, "beforehand, with torch")
    second = page.locator("xaicl-pair").nth(1)
    second.scroll_into_view_if_needed()
    done(page, 1, "Nothing is stored")
    second.get_by_role("button", name=COMPUTE).click()
    done(page, 1)
    model = load_model("simclr", "cpu")
    pair = Pair(*(open_photo(folder / "photos" / f"{name}.png", model.size) for name in ("mine", "yours")))
    assert results(page, 1)[0]["score"] == pytest.approx(explain(model, pair, "deep_similarity").score.item(), abs=1e-4)


@pytest.mark.parametrize("attributes", ['change="brightness 0.2"', "cover"])
def test_pixels_go_from_the_pictures_that_the_maps_are_of(attributes: str, foreign: Callable[..., Page]) -> None:
    page = foreign(HEAD + f'<xaicl-pair method="deep_similarity" a="cat" b="cat_view" {attributes} curve>still</xaicl-pair>')
    page.get_by_role("button", name="Take pixels away").wait_for()
    if attributes == "cover":
        page.locator("canvas.xl-canvas").last.focus()
        for key in ("ArrowLeft", "Enter"):  # to the middle
            page.locator("canvas.xl-canvas").last.press(key)
        done(page, 0)
    page.get_by_role("button", name="Take pixels away").click()
    done(page, 0, "All pixels have gone")
    score, *curves = page.evaluate(
        "(({ results, curves }) => [results[0].score, curves.a[0], curves.b[0]])(document.querySelector('xaicl-pair'))"
    )
    assert curves == pytest.approx([score, score], abs=1e-6)


def test_what_is_stopped_leaves_what_was_there_and_is_told(foreign: Callable[..., Page]) -> None:
    page = foreign(HEAD + '<xaicl-pair when="seen" method="grad_cam" a="cat" b="cat_view" choose="method" curve>still</xaicl-pair>')
    done(page, 0)
    title, sentence = page.locator(".xl-row-title"), page.locator(".xl-sentence")
    said, pixels = sentence.inner_text(), "document.querySelector('canvas.xl-canvas').toDataURL()"
    before = page.evaluate(pixels)
    page.get_by_label("Method").select_option("smooth_grad")
    page.get_by_role("button", name="Cancel").click()
    done(page, 0, "Stopped. What was there before is still shown.")
    expect(title).to_have_text(re.compile("Grad-CAM"))
    assert sentence.inner_text() == said
    page.get_by_label("Method").select_option("grad_cam")
    done(page, 0)
    page.get_by_role("button", name="Take pixels away").click()
    expect(page.locator(".xl-status-text")).to_contain_text("loses its pixels", timeout=PATIENCE)
    page.get_by_role("button", name="Cancel").click()
    done(page, 0, "Stopped")
    assert page.evaluate(pixels) == before


def test_methods_to_choose_from_are_those_of_the_model(foreign: Callable[..., Page]) -> None:
    asks = '<xaicl-pair model="moco_v3" method="legrad" a="cat" b="flower" choose="{}">still</xaicl-pair>'
    page = foreign(HEAD + asks.format("model method") + asks.format("model"))
    pair, rigid = page.locator("xaicl-pair").all()
    pair.get_by_label("Model").select_option("simclr")
    done(page, 0)
    methods = pair.get_by_label("Method").locator("option")
    assert "LeGrad" not in methods.all_inner_texts()
    expect(pair.get_by_label("Method")).to_have_value("interaction_cam")
    pair.get_by_label("Method").select_option("deep_similarity")
    pair.get_by_label("Model").select_option("moco_v3")
    expect(pair.locator(".xl-row-title")).to_have_text(re.compile("^Deep Similarity · MoCo"), timeout=PATIENCE)
    assert "LeGrad" in methods.all_inner_texts()
    assert rigid.get_by_label("Model").locator("option").all_inner_texts() == ["MoCo v3, photos", "DINO student, photos"]


BAD = {
    '<xaicl-pair modle="simclr">still</xaicl-pair>': 'got "modle"',
    '<xaicl-pair model="resnet">still</xaicl-pair>': 'no model "resnet" here, but simclr',
    '<xaicl-pair method="grad_cam" stride="3">still</xaicl-pair>': 'got "stride"',
    '<xaicl-pair method="interaction_cam" reduction="sum">still</xaicl-pair>': 'reduction cannot be "sum"',
    '<xaicl-pair a="dog">still</xaicl-pair>': 'no picture "dog" here, but cat',
    '<xaicl-pair a="https://example.org/dog.png">still</xaicl-pair>': "on another host",
    '<xaicl-pair a="nothing.png">still</xaicl-pair>': "nothing.png is not there",
    '<xaicl-pair change="sepia 1">still</xaicl-pair>': 'no change "sepia"',
    '<xaicl-pair a="cat" method="grad_cam" corpus="cat">still</xaicl-pair>': 'picture "cat" is the one that is explained',
    '<xaicl-pair model="scenes_simclr" a="two_a" corpus="dog">still</xaicl-pair>': 'no picture "dog" here',
    '<xaicl-pair choose="change">still</xaicl-pair>': "needs an attribute change",
}


def test_what_cannot_be_is_said_in_its_place_and_a_hundred_go_on(foreign: Callable[..., Page]) -> None:
    many = '<div style="min-height: 60vh"><xaicl-pair a="cat" b="coffee">still</xaicl-pair></div>' * 100
    page = foreign(HEAD + "".join(BAD) + many, fails="nothing.png|404")
    for k, says in enumerate(BAD.values()):
        page.locator("xaicl-pair").nth(k).scroll_into_view_if_needed()
        expect(page.locator("xaicl-pair").nth(k)).to_contain_text(says, timeout=PATIENCE)
        expect(page.locator("xaicl-pair").nth(k)).to_contain_text("still")
    for k in range(len(BAD), len(BAD) + 100, 9):
        page.locator("xaicl-pair").nth(k).scroll_into_view_if_needed()
        done(page, k, "Nothing is stored")
    assert 1 <= page.evaluate("document.querySelectorAll('xaicl-pair.xl-ready').length") <= 12
    page.locator("xaicl-pair").nth(len(BAD)).scroll_into_view_if_needed()
    done(page, len(BAD), "Nothing is stored")  # it had rested, and came alive again


def test_no_engine_a_damaged_bundle_and_a_run_without_end(foreign: Callable[..., Page]) -> None:
    asks = '<xaicl-pair when="seen" a="cat" b="cat_view">still</xaicl-pair>'
    page = foreign(HEAD + asks, before="delete globalThis.WebAssembly")
    done(page, 0, "no WebAssembly")
    page = foreign(HEAD + "<p>Wait.</p>")
    page.route("**/weights.bin", lambda route: route.fulfill(status=200, body="no weights"))
    page.evaluate("asks => document.body.insertAdjacentHTML('beforeend', asks)", asks)
    done(page, 0, "is not the file that was exported")
    page = foreign(HEAD + '<xaicl-pair when="seen" method="smooth_grad" samples="100" seconds="0.05">still</xaicl-pair>')
    done(page, 0, "was given up")
    page.evaluate("asks => document.body.insertAdjacentHTML('beforeend', asks)", asks)
    done(page, 1)
