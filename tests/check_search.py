"""The search page in headless Chromium, against `xaicl_lib.retrieval`: needs the built book, so `make check-book` runs it.

python -m pytest tests/check_search.py          # XAICL_BOOK_HTML names another folder than _build/html
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page, expect
from torch import Tensor

from tests.check_pages import axe, serious, watch
from tests.lab_page import BOOK, PATIENCE, address, browser, encoded
from xaicl_lib import PairModel, load_model
from xaicl_lib.data.photos import open_photo
from xaicl_lib.data.scenes import BACKGROUNDS, SIZES
from xaicl_lib.lab.search import _searched_scenes
from xaicl_lib.retrieval import Gallery, Why, explain_results, retrieve

DATA = BOOK / "_static" / "lab" / "search"
BUDGET = 1_500_000  # bytes of the page's own data
ORDER = ("green star", "teal ring")
FOUND = """() => {
  const { results, next, chosen, contrast } = document.getElementById("xl-search").found;
  return JSON.parse(JSON.stringify({ results, next, chosen, contrast }, (_, v) => (ArrayBuffer.isView(v) ? Array.from(v) : v)));
}"""

address = address
browser = browser  # fixtures
pytestmark = pytest.mark.skipif(not (DATA / "index.json").is_file(), reason=f"no search page in {BOOK}; `make book` builds it")


class Search:
    """The page as a reader uses it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address, self.problems, self.expected = page, address, list[str](), "^$"
        watch(page, address, self.problems)

    def open(self, state: str = "") -> "Search":
        self.page.goto("about:blank")
        self.page.goto(f"{self.address}book/search_lab.html{state}")
        return self

    def status(self, state: str, text: str = "") -> "Search":
        expect(self.page.locator(".xl-status")).to_have_attribute("data-state", state, timeout=PATIENCE)
        expect(self.page.locator(".xl-status-text")).to_contain_text(text, timeout=PATIENCE)
        return self

    def explained(self) -> dict[str, Any]:
        """What the page shows, in numbers."""
        self.status("done", "Computed in this browser")
        found: dict[str, Any] = self.page.evaluate(FOUND)
        return found


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Search]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    made = Search(context.new_page(), address)
    yield made
    context.close()
    assert [line for line in made.problems if not re.search(made.expected, line)] == []


@pytest.fixture(scope="module")
def scenes() -> Tensor:
    return _searched_scenes()[0]


def agree(got: dict[str, Any], why: Why, places: list[int], rank: int) -> None:
    """Scores, maps and the difference to the runner-up, within 0.0001; `places` are those in the whole gallery."""
    results = [*got["results"], got["next"]]
    assert [one["k"] for one in results] == [places[k] for k in (*why.results.indices, why.results.runner_up)]
    assert [one["score"] for one in results[:-1]] == pytest.approx(list(why.results.scores), abs=1e-4)
    want, chosen = why.instead(rank), got["chosen"]
    assert chosen["score"] == pytest.approx(why.score(rank), abs=1e-4)
    assert chosen["map"]["data"] == pytest.approx(why.maps[rank].flatten().tolist(), abs=1e-4)
    assert chosen["border"] == pytest.approx(float(why.border[rank]), abs=1e-3)
    assert got["contrast"]["difference"] == pytest.approx(want.difference, abs=1e-4)
    assert got["contrast"]["residual"] == pytest.approx(want.residual, abs=1e-4)


@pytest.mark.parametrize("name", ["scenes_clip", "scenes_simclr"])
def test_a_scene_is_searched_and_explained_as_the_library_does(opened: Search, scenes: Tensor, name: str) -> None:
    opened.open().status("done", "Choose a result")
    opened.page.get_by_label("Model", exact=True).select_option(name)
    opened.page.locator("button.xl-tile").nth(25).click()
    model, others = load_model(name, "cpu"), [k for k in range(len(scenes)) if k != 25]
    why = explain_results(model, retrieve(model, scenes[25:26], Gallery.of_images(model, scenes[others])))
    agree(opened.explained(), why, others, 0)
    opened.page.locator("button.xl-found").nth(2).click()
    expect(opened.page.locator(".xl-why-title").first).to_have_text("Why result 3?", timeout=PATIENCE)
    got = opened.explained()
    agree(got, why, others, 2)
    assert why.photo is not None
    assert why.photo.joint is not None
    assert got["chosen"]["joint"]["data"] == pytest.approx(why.photo.joint[2].flatten().tolist(), abs=1e-4)
    query = why.instead(2).query
    assert query is not None
    assert got["contrast"]["query"]["data"] == pytest.approx(query.flatten().tolist(), abs=1e-4)
    assert opened.page.locator(".xl-links line").count() == 10
    assert opened.page.url.endswith(f"#model={name}&scene=25&result=3")


def test_words_are_searched_and_explained_as_the_library_does(opened: Search, scenes: Tensor) -> None:
    opened.open().status("done")
    opened.page.get_by_label("Search for words").fill("A pink heart, on sky")
    opened.page.keyboard.press("Enter")
    got = opened.explained()
    model = load_model("scenes_clip", "cpu")
    why = explain_results(model, retrieve(model, None, scenes, text="a pink heart on sky"))
    agree(got, why, list(range(len(scenes))), 0)
    assert got["chosen"]["words"] == ["a", "pink", "heart", "on", "sky"]
    assert got["chosen"]["joint"]["data"] == pytest.approx(why.texts[0][1][0].joint.flatten().tolist(), abs=1e-4)
    assert dict(got["contrast"]["words"]) == pytest.approx(dict(why.instead(0).words[0]), abs=1e-4)
    opened.page.get_by_role("button", name=re.compile("^heart")).click()
    expect(opened.page.get_by_role("img", name=re.compile("where “heart” adds"))).to_be_visible()
    link = opened.page.url
    opened.open().status("done", "Choose a result")
    assert opened.open(link.removeprefix(f"{opened.address}book/search_lab.html")).explained() == got


def test_a_scene_without_what_words_say_is_searched_and_explained_as_the_library_does(opened: Search, scenes: Tensor) -> None:
    opened.open("#model=scenes_simclr&scene=40").status("done")
    opened.page.get_by_label("Without").fill("sand")
    opened.page.keyboard.press("Enter")  # with the model that reads
    got, model = opened.explained(), load_model("scenes_clip", "cpu")
    others = [k for k in range(len(scenes)) if k != 40]
    why = explain_results(model, retrieve(model, scenes[40:41], Gallery.of_images(model, scenes[others]), minus="sand"))
    agree(got, why, others, 0)
    assert why.photo is not None
    assert got["chosen"]["own"]["joint"]["data"] == pytest.approx(why.photo.joint[0].flatten().tolist(), abs=1e-4)
    taken = why.texts[0][1][0]
    assert got["chosen"]["minus"]["joint"]["data"] == pytest.approx((-taken.joint).flatten().tolist(), abs=1e-4)
    assert dict(got["contrast"]["minus"]) == pytest.approx(dict(why.instead(0).words[0]), abs=1e-4)
    assert opened.page.url.endswith("#model=scenes_clip&scene=40&minus=sand&result=1")
    expect(opened.page.locator(".xl-asked")).to_contain_text("without sand")
    link = opened.page.url.removeprefix(f"{opened.address}book/search_lab.html")
    opened.page.get_by_label("Model", exact=True).select_option("scenes_simclr")  # reads no words
    opened.explained()
    assert opened.page.url.endswith("#model=scenes_simclr&scene=40&result=1")
    again = opened.open(link).explained()
    assert (again["results"], again["contrast"]) == (got["results"], got["contrast"])


def test_words_without_others_are_searched_and_explained_as_the_library_does(opened: Search, scenes: Tensor) -> None:
    got, model = opened.open("#words=a+ring&minus=a+purple+ring").explained(), load_model("scenes_clip", "cpu")
    why = explain_results(model, retrieve(model, None, scenes, text="a ring", minus="a purple ring"))
    agree(got, why, list(range(len(scenes))), 0)
    assert dict(got["contrast"]["minus"]) == pytest.approx(dict(why.instead(0).words[1]), abs=1e-4)


def test_a_near_duplicate_of_the_query_is_flagged(opened: Search, scenes: Tensor, tmp_path: Any) -> None:
    file = tmp_path / "mirrored.jpg"
    file.write_bytes(encoded(scenes[25:26].flip(3), "JPEG", quality=90))
    opened.open().status("done")
    opened.page.locator("#xl-file").set_input_files(file)
    opened.explained()
    model = load_model("scenes_clip", "cpu")
    results = retrieve(model, open_photo(file, 64), scenes)
    notes = [one["note"] for one in opened.explained()["results"]]
    assert notes == list(results.notes)
    assert notes[results.indices.index(25)] == "a near-duplicate of the query"
    expect(opened.page.locator(".xl-found .xl-note")).to_have_text([note for note in notes if note])


def test_a_photo_of_ones_own_is_searched_with(opened: Search, scenes: Tensor, tmp_path: Any) -> None:
    file = tmp_path / "mine.png"
    file.write_bytes(encoded(open_photo("coffee", 200), "PNG"))
    opened.open().status("done")
    opened.page.locator("#xl-file").set_input_files(file)
    model = load_model("scenes_clip", "cpu")
    why = explain_results(model, retrieve(model, open_photo(file, 64), scenes))
    agree(opened.explained(), why, list(range(len(scenes))), 0)


def test_a_picture_that_takes_long_never_overtakes_what_is_asked_later(opened: Search) -> None:
    page = opened.open("#scene=3").page
    opened.status("done")
    page.evaluate(
        """async bytes => {
          const decode = window.createImageBitmap.bind(window);
          let go;
          window.createImageBitmap = async (...how) => {
            await new Promise((resolve) => { go = resolve; });
            return window.decoded = decode(...how);
          };
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "slow.png", { type: "image/png" }));
          document.getElementById("xl-search").dispatchEvent(new DragEvent("drop", { dataTransfer: transfer }));
          while (!go) await new Promise((resolve) => setTimeout(resolve, 10));
          window.go = go;
        }""",
        list(encoded(open_photo("rocket", 64), "PNG")),
    )
    page.get_by_role("button", name="a striped ring").click()
    page.evaluate(
        "async () => { go(); while (!window.decoded) await null; await decoded; await new Promise((resolve) => setTimeout(resolve)); }"
    )
    opened.explained()
    expect(page.locator("#xl-words")).to_have_value("a striped ring")
    assert "striped" in page.url


def test_what_the_page_answers_is_so() -> None:
    """How many results have the frame, how many are the same object elsewhere, and two sentences of the same words."""
    text = " ".join((BOOK / "book" / "search_lab.html").read_text(encoding="utf-8").split())
    images, titles = _searched_scenes()
    framed = torch.tensor(["frame" in title for title in titles])
    objects = [" ".join(title.split()[1:5]) if title.split()[1] in SIZES else "" for title in titles]  # of scenes of one object
    frames, twins = {}, {}
    for name in ("scenes_clip", "scenes_simclr"):
        z = torch.from_numpy(Gallery.of_images(load_model(name, "cpu"), images).embeddings.copy())
        nearest = (z @ z.T).fill_diagonal_(-1).topk(5).indices
        frames[name] = [float(framed[nearest[which]].double().sum(1).mean()) for which in (framed, ~framed)]
        twins[name] = sum(bool(own) and own in [objects[k] for k in row] for own, row in zip(objects, nearest.tolist(), strict=True))
    assert frames["scenes_clip"] == [5, 0]
    assert f"brings {frames['scenes_simclr'][0]:.1f} framed ones of five" in text
    assert f"for {twins['scenes_clip']} and {twins['scenes_simclr']} of {sum(map(bool, objects))}" in text
    one, other = (retrieve(load_model("scenes_clip", "cpu"), None, images, text=f"a {a} left of a {b}") for a, b in (ORDER, ORDER[::-1]))
    assert one.indices == other.indices
    assert max(abs(x - y) for x, y in zip(one.scores, other.scores, strict=True)) < 0.0015
    counts = on_the_same_ground(load_model("scenes_clip", "cpu"), images, titles)
    assert f"{counts[0]:.1f} of the first five are on the same ground, and without it {counts[1]:.1f}" in text


def on_the_same_ground(model: PairModel, images: Tensor, titles: list[str]) -> list[float]:
    """How many of five results are on the ground of what was asked with, over all scenes: as they are, and minus the word for it."""
    grounds = [next(word for word in BACKGROUNDS if re.search(rf"\bon {word}", title)) for title in titles]
    z = torch.from_numpy(Gallery.of_images(model, images).embeddings.copy())
    words = torch.nn.functional.normalize(model.embed_text(grounds))
    found = [(q @ z.T).fill_diagonal_(-torch.inf).topk(5).indices.tolist() for q in (z, z - words)]
    return [sum(grounds[k] == own for own, row in zip(grounds, rows, strict=True) for k in row) / len(rows) for rows in found]


def test_nothing_is_loaded_for_nothing_and_the_data_stay_within_their_budget(opened: Search) -> None:
    asked: list[str] = []
    opened.page.on("request", lambda request: asked.append(request.url))
    opened.open().status("done", "Choose a result")
    assert not any(re.search(r"gz$|onnx$|weights\.bin$", url) for url in asked)
    assert 200_000 < sum(file.stat().st_size for file in DATA.iterdir()) < BUDGET


def test_what_cannot_be_is_said(opened: Search) -> None:
    opened.open("#words=a+dog+on+grass").status("failed", "This model has never read “dog”; it knows 49 words.")
    expect(opened.page.locator(".xl-results")).to_be_hidden()
    opened.page.locator("#xl-file").set_input_files({"name": "x.png", "mimeType": "", "buffer": b"no picture"})
    opened.status("failed", "This file is not a picture")
    opened.open("#words=%3Cscript%3E&model=constructor&scene=1e9&result=-4").status("failed", "“<script>”")
    opened.page.add_init_script("delete globalThis.WebAssembly")
    opened.open("#scene=3&result=1").status("failed", "This browser has no WebAssembly")
    expect(opened.page.locator("button.xl-found").first).to_be_visible()


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("sheet.webp", "The search could not be opened: the file sheet.webp is not"),
        ("scenes_clip.bin", "The file scenes_clip.bin is not the one that was made for this page"),
    ],
)
def test_damaged_data_are_refused(opened: Search, file: str, says: str) -> None:
    size = (DATA / file).stat().st_size
    opened.page.route(f"**/search/{file}", lambda route: route.fulfill(status=200, body=b"\0" * size))
    opened.open()
    expect(opened.page.locator("#xl-search")).to_contain_text(says, timeout=PATIENCE)
    expect(opened.page.locator("button.xl-found:visible")).to_have_count(0)


def test_embeddings_of_another_model_are_refused(opened: Search) -> None:
    index = (DATA / "index.json").read_text(encoding="utf-8")
    other = re.sub(r'"weights":"[0-9a-f]{64}"', f'"weights":"{"0" * 64}"', index)
    opened.page.route("**/search/index.json", lambda route: route.fulfill(status=200, body=other))
    opened.open("#scene=3&result=1").status("failed", "embedded by another version of this model")


def test_the_keyboard_is_enough_and_a_phone_shows_all_of_it(opened: Search) -> None:
    page = opened.page
    page.set_viewport_size({"width": 360, "height": 800})
    opened.open().status("done")
    page.locator("button.xl-tile[tabindex='0']").focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    across = page.evaluate("getComputedStyle(document.querySelector('.xl-tiles')).gridTemplateColumns.split(' ').length")
    opened.explained()
    assert page.url.endswith(f"scene={10 + 2 * across}&result=1")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".xl-why-title").first).to_have_text("Why result 2?", timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened: Search, theme: str) -> None:
    for state in ("#scene=25&minus=stone&result=1", "#words=a+striped+ring&minus=red&result=2"):
        opened.open(state).explained()
        opened.page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        assert serious(opened.page, axe(), within=".xl-lab", rules={}) == []
