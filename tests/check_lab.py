"""The lab page in headless Chromium, against torch: needs the built book, so `make check-book` runs it and `make test` does not.

python -m pytest tests/check_lab.py          # XAICL_BOOK_HTML names another folder than _build/html
"""

import gzip
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.check_pages import axe, serious
from tests.lab_page import BOOK, GALLERY, PATIENCE, Lab, address, browser, encoded, off, page_of, seen
from xaicl_lib import Pair, augment, explain, load_model
from xaicl_lib.data.photos import open_photo
from xaicl_lib.lab import gallery

BUDGET = 8_000_000  # bytes of a first visit

address = address
browser = browser  # fixtures
pytestmark = pytest.mark.skipif(not (BOOK / "book" / "lab.html").is_file(), reason=f"no lab in {BOOK}; `make book` builds it")


@pytest.fixture(scope="module")
def kept(browser: Browser, address: str) -> Iterator[Lab]:
    """One page for all tests that need no fresh one: wasm and weights load once."""
    yield from page_of(browser, address)


@pytest.fixture
def fresh(browser: Browser, address: str) -> Iterator[Lab]:
    yield from page_of(browser, address)


def test_the_first_result_is_there_before_anything_is_computed(fresh: Lab) -> None:
    fresh.open().done("beforehand")
    assert re.match(r"These two pictures are 0\.\d\d similar; the warm places carry it", fresh.sentence)
    assert not any(file.suffix in (".bin", ".gz", ".onnx") for file in fresh.files)


def test_a_first_visit_stays_within_its_budget(fresh: Lab) -> None:
    fresh.open()
    fresh.page.get_by_role("button", name="Compute it here").click()
    fresh.live()
    assert 4e6 < sum(map(on_the_wire, fresh.files)) < BUDGET


def on_the_wire(file: Path) -> int:
    """Bytes of a file as static hosts send it: text packed, all else as it is."""
    data = file.read_bytes() if file.is_file() else b""
    return len(gzip.compress(data) if file.suffix in (".html", ".css", ".js", ".mjs", ".json", ".svg") else data)


def test_what_was_stored_is_what_torch_says(kept: Lab) -> None:
    model = load_model("simclr", "cpu")
    kept.open(GALLERY + "conditional_occlusion")
    want, got = explain(model, Pair(seen("cat"), seen("cat_view")), "conditional_occlusion"), kept.numbers()
    assert got["score"] == pytest.approx(want.score.item(), abs=1e-6)
    assert np.abs(np.array(got["a"]) - want.a[0].numpy()).max() <= got["largest"] / 127 / 2 + 1e-6  # half a byte


@pytest.mark.parametrize(("method", "params"), [("interaction_cam", {}), ("conditional_occlusion", {"stride": 12})])
def test_an_uploaded_photo_is_explained_as_torch_does(kept: Lab, tmp_path: Path, method: str, params: dict[str, int]) -> None:
    file = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter when shown
    file.write_bytes(encoded(open_photo("coffee")[:, :, :, :500], "JPEG", quality=92, subsampling=0, exif=exif))
    state = "".join(f"&o.{k}={v}" for k, v in params.items())
    kept.open(f"#a=coffee&b=coffee&model=simclr&method={method}{state}")
    kept.own("A", file.name, file.read_bytes())
    kept.live()
    model = load_model("simclr", "cpu")
    pair = Pair(open_photo(file, model.size), seen("coffee"))
    want, got = explain(model, pair, method, **params), kept.numbers()
    assert got["score"] == pytest.approx(want.score.item(), abs=2e-3)  # decoders of JPEG differ by a step of 1/255 here and there
    assert off(got["a"], want.a[0]) < 2e-2
    assert off(got["b"], want.b[0]) < 2e-2
    if method == "conditional_occlusion":
        assert len(kept.page.workers) == min(4, kept.page.evaluate("navigator.hardwareConcurrency")), "they share the work"


def test_a_change_of_b_is_followed(kept: Lab) -> None:
    kept.open(GALLERY + "interaction_cam")
    before = kept.pixels("b")
    kept.page.get_by_label("Alter picture B", exact=True).select_option("rotation")
    kept.page.get_by_label("Strength of rotation").fill("40")
    expect(kept.page.locator(".xl-trail")).to_contain_text("unchanged", timeout=PATIENCE)
    kept.live()
    want = explain(load_model("simclr", "cpu"), Pair(seen("cat"), augment.rotate(seen("cat_view"), 40.0)), "interaction_cam")
    got = kept.numbers()
    assert got["score"] == pytest.approx(want.score.item(), abs=1e-4)
    assert off(got["b"], want.b[0]) < 1e-3
    assert kept.pixels("b") != before


def test_pointing_at_a_lights_up_b(kept: Lab) -> None:
    kept.open(GALLERY + "deep_similarity")
    before = kept.pixels("b")
    canvas = kept.page.locator("canvas.xl-canvas").first
    box = canvas.bounding_box()
    assert box is not None
    canvas.hover(position={"x": box["width"] * 4.5 / 12, "y": box["height"] * 6.5 / 12})
    joint = explain(load_model("simclr", "cpu"), Pair(seen("cat"), seen("cat_view")), "deep_similarity").joint
    assert joint is not None
    row, column = divmod(int(joint[0, 6, 4].argmax()), 12)
    assert kept.readout.startswith("A, row 7, column 5:")
    assert f"row {row + 1}, column {column + 1} of B" in kept.readout
    assert kept.pixels("b") != before
    canvas.click(position={"x": box["width"] * 4.5 / 12, "y": box["height"] * 6.5 / 12})
    kept.page.mouse.move(5, 5)
    assert "Pinned" in kept.readout
    kept.page.keyboard.press("Escape")
    assert kept.pixels("b") == before


def test_the_keyboard_is_enough(kept: Lab) -> None:
    kept.open(GALLERY + "integrated_jacobians")
    page = kept.page
    page.get_by_label("Method", exact=True).focus()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "CANVAS":
            break
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Picture A, a cat")
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    assert kept.readout.startswith("A, row 6, column 8:")
    assert "Pinned" in kept.readout


def test_a_link_brings_the_state_back(kept: Lab, fresh: Lab) -> None:
    kept.open()
    page = kept.page
    page.get_by_role("button", name="One photo in common").click()
    page.get_by_label("Method", exact=True).select_option("interaction_cam")
    page.get_by_text("Options of the method").click()
    page.get_by_label("Reduction over the map").select_option("max")
    page.get_by_label("Compare with").select_option("simclr grad_cam")
    kept.live()
    page.get_by_role("button", name="Copy link").click()
    link = page.get_by_label("Link to what you see").input_value()
    fresh.page.goto(link)
    fresh.live()
    assert fresh.sentence == kept.sentence
    assert fresh.page.locator(".xl-row:visible").count() == 2
    assert fresh.page.get_by_label("Reduction over the map").input_value() == "max"


def test_a_link_that_says_nonsense_is_forgiven(kept: Lab) -> None:
    kept.open("#a=%3Cscript%3E&b=constructor&model=nothing&method=x&o.stride=NaN&with=a+b&change=blur+1e999&opacity=7")
    assert kept.sentence.startswith("These two pictures are")


def test_a_link_that_is_followed_sets_every_control_and_a_place_in_the_page_none(kept: Lab) -> None:
    page = kept.page
    kept.open(GALLERY + "smooth_grad&o.samples=3&change=hue+0.3&colours=green&opacity=0.2")
    page.evaluate(
        "hash => { location.hash = hash; }", GALLERY + "smooth_grad&o.samples=2&change=hue+-0.4&colours=blue&opacity=0.9&style=even"
    )
    expect(page.get_by_label("Strength of hue")).to_have_value("-0.4")
    kept.live()
    page.get_by_text("Options of the method").click()
    wanted = {"Noisy copies": "2", "Colours": "blue", "Opacity": "0.9", "The map covers the picture": "even"}
    assert {name: page.get_by_label(name, exact=True).input_value() for name in wanted} == wanted
    assert kept.numbers()["options"] == {"samples": 2}
    page.evaluate("document.querySelector('#how-to-read-it .headerlink, section .headerlink').click()")
    page.wait_for_function("!location.hash.includes('=')")
    assert page.get_by_label("Noisy copies").input_value() == "2"
    assert kept.numbers()["options"] == {"samples": 2}


def test_a_long_run_is_seen_coarsely_at_once(fresh: Lab) -> None:
    said = "document.querySelector('.xl-status-text').textContent"
    fresh.page.goto("about:blank")
    fresh.page.add_init_script(
        "window.firstPicture = null;"
        "addEventListener('load', () => new MutationObserver(() => {"
        f"  if (document.querySelector('.xl-row .xl-sentence')?.textContent) window.firstPicture ??= {said};"
        "}).observe(document.body, {subtree: true, childList: true, characterData: true}));"
    )
    fresh.page.goto(fresh.address + GALLERY + "conditional_occlusion&o.stride=2")
    fresh.page.wait_for_function("window.firstPicture !== null", timeout=PATIENCE)
    done, total = map(int, re.findall(r"\d+", fresh.page.evaluate("window.firstPicture")))
    assert done / total <= 0.1
    coarse = fresh.pixels("a")
    fresh.page.wait_for_function(f"parseInt({said}.match(/\\d+ of/)?.[0]) > {total // 4}", timeout=PATIENCE)
    fresh.page.get_by_role("button", name="Cancel").click()
    fresh.done("as fine as they came")
    assert fresh.pixels("a") != coarse
    assert "so far" in fresh.numbers()["computed"]


def test_what_is_stopped_or_fails_leaves_all_as_it_was(fresh: Lab) -> None:
    """Pictures, captions, numbers and link are those of the maps that stay; while others are on their way there is nothing to keep."""
    page = fresh.page
    fresh.open(GALLERY + "smooth_grad&o.samples=1&change=hue+0.3")
    before, canvases = fresh.numbers(), [fresh.pixels(side) for side in "ab"]
    captions = page.locator(".xl-row:visible .xl-caption-text")
    page.get_by_role("button", name="Copy link").click()
    link = page.get_by_label("Link to what you see").input_value()
    page.get_by_text("Options of the method").click()
    page.get_by_label("Noisy copies").fill("100")
    page.get_by_role("button", name="Nothing in common").click()
    expect(captions).to_have_text(["a temple", "a cup of coffee, changed"])
    page.get_by_role("button", name="Download as JSON").click()  # which gives nothing yet
    page.get_by_role("button", name="Cancel").click()
    fresh.done("those of before")
    expect(captions).to_have_text(["a cat", "its face, mirrored and darkened, changed"])
    assert fresh.numbers() == before
    assert [fresh.pixels(side) for side in "ab"] == canvases
    page.get_by_role("button", name="Copy link").click()
    assert page.get_by_label("Link to what you see").input_value() == link
    page.route("**/rocket.jpg", lambda route: route.fulfill(status=200, body="no picture"))
    page.get_by_role("button", name="Two different photos").click()
    fresh.status("failed")
    assert fresh.numbers() == before


def test_stopping_leaves_the_worker_ready(fresh: Lab) -> None:
    fresh.page.goto(fresh.address + GALLERY + "conditional_occlusion&o.stride=1")
    fresh.page.get_by_role("progressbar").wait_for(timeout=PATIENCE)
    expect(fresh.page.locator(".xl-status-text")).to_contain_text(re.compile(r"\d+ of \d+$"), timeout=PATIENCE)
    fresh.page.get_by_role("button", name="Cancel").click()
    fresh.done("Stopped")
    fresh.page.get_by_label("Method", exact=True).select_option("grad_cam")
    fresh.page.get_by_role("button", name="Compute it here").click()
    fresh.live()


def test_the_check_agrees_with_torch(kept: Lab) -> None:
    kept.open()
    kept.page.get_by_role("button", name="Check against torch").click()
    kept.done("all agree")
    assert kept.page.locator(".xl-checked tbody tr").count() == 6
    assert kept.page.locator(".xl-checked").inner_text().count("✓ agrees") == 6


PNG_OF_900_MEGAPIXELS = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (30000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0" + b"\0" * 40
BAD = {
    "a text": ("letter.jpg", b"Dear reader, this is no picture.", "not a picture"),
    "nothing": ("empty.png", b"", "not a picture"),
    "too many pixels": ("huge.png", PNG_OF_900_MEGAPIXELS, "900 megapixels"),
    "half a photo": ("half.jpg", encoded(open_photo("cat", 96), "JPEG")[:200], "cannot be decoded|not a picture"),
    "too small": ("dot.png", encoded(torch.zeros(1, 3, 4, 4), "PNG"), "at least 8"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_picture_gets_a_friendly_answer(kept: Lab, name: str) -> None:
    if not kept.page.locator("#xl-chooser-title").is_visible():
        kept.open()
    file, data, says = BAD[name]
    kept.offer("A", file, data)
    expect(kept.page.locator("dialog[open] .xl-error")).to_have_text(re.compile(says))


def test_names_are_text_transparency_white_animations_still(kept: Lab) -> None:
    kept.open()
    clear = io.BytesIO()
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(clear, "PNG")
    kept.own("A", "<img src=x onerror=alert(1)>.png", clear.getvalue())
    kept.live()
    expect(kept.page.locator(".xl-notes")).to_contain_text("laid on white")
    moving = io.BytesIO()
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    kept.own("B", "moving.gif", moving.getvalue())
    expect(kept.page.locator(".xl-notes")).to_contain_text("first frame", timeout=PATIENCE)
    kept.live()


def test_two_identical_pictures_are_told(kept: Lab) -> None:
    kept.open("#a=cat&b=cat&model=simclr&method=grad_cam").live()
    expect(kept.page.locator(".xl-warning").first).to_contain_text("vanishes")


def test_pictures_come_by_dropping_and_pasting(kept: Lab) -> None:
    kept.open()
    give = """async ([selector, event, name, bytes]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
      const made = event === "paste" ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true })
        : new DragEvent(event, { dataTransfer: transfer, bubbles: true, cancelable: true });
      document.querySelectorAll(selector)[0].dispatchEvent(made);
    }"""
    photo = list(encoded(open_photo("rocket", 64), "PNG"))
    kept.page.evaluate(give, [".xl-canvas", "drop", "dropped.png", photo])
    expect(kept.page.locator(".xl-caption-text").nth(0)).to_have_text("dropped.png", timeout=PATIENCE)
    kept.page.evaluate(give, ["body", "paste", "pasted.png", photo])
    expect(kept.page.locator(".xl-caption-text").nth(1)).to_have_text("pasted.png", timeout=PATIENCE)
    kept.live()


def test_pictures_that_take_long_stay_on_their_sides_and_never_overtake_a_newer_choice(kept: Lab) -> None:
    page = kept.page
    kept.open("#a=cat&b=flower&model=simclr&method=deep_similarity")
    page.evaluate(
        """bytes => {
          const decode = window.createImageBitmap.bind(window);
          window.createImageBitmap = async (file, ...how) => {
            if (file.name.startsWith("slow")) await new Promise((resolve) => { window.go = resolve; });
            return decode(file, ...how);
          };
          window.drop = (side, name) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
            const made = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
            document.querySelectorAll(".xl-canvas")[side].dispatchEvent(made);
          };
          window.dropSlowly = async (side) => {
            window.go = null;
            drop(side, "slow.png");
            while (!window.go) await new Promise((resolve) => setTimeout(resolve, 10));
          };
        }""",
        list(encoded(open_photo("rocket", 64), "PNG")),
    )
    captions = page.locator(".xl-row:visible .xl-caption-text")
    page.evaluate("dropSlowly(0).then(() => drop(1, 'quick.png'))")
    expect(captions).to_have_text(["a cat", "quick.png"])
    page.evaluate("go()")
    expect(captions).to_have_text(["slow.png", "quick.png"])
    page.evaluate("dropSlowly(0).then(() => drop(0, 'newer.png'))")
    expect(captions).to_have_text(["newer.png", "quick.png"])
    page.evaluate("go(); drop(1, 'next.png')")  # which is decoded after the slow one
    expect(captions).to_have_text(["newer.png", "next.png"])
    page.evaluate("dropSlowly(0)")
    page.get_by_role("button", name="One photo in common").click()
    page.evaluate("go(); drop(1, 'last.png')")
    expect(captions.nth(1)).to_have_text("last.png")
    assert "slow" not in captions.nth(0).inner_text()


def test_the_camera_gives_a_picture_and_is_let_go(kept: Lab) -> None:
    kept.open()
    kept.page.get_by_role("button", name="Choose picture B").first.click()
    kept.page.get_by_role("button", name="Use the camera").click()
    kept.page.get_by_role("button", name="Take this picture").click()
    expect(kept.page.locator(".xl-caption-text").nth(1)).to_have_text("from your camera", timeout=PATIENCE)
    kept.live()
    kept.page.get_by_role("button", name="Choose picture B").first.click()
    expect(kept.page.get_by_role("button", name="Take this picture")).to_be_hidden()


def test_no_camera_stays_on_behind_a_closed_dialog(kept: Lab) -> None:
    kept.open()
    page, use = kept.page, kept.page.get_by_role("button", name="Use the camera")
    page.evaluate(
        """() => {
          window.streams = [];
          const media = navigator.mediaDevices;
          const open = media.getUserMedia.bind(media);
          media.getUserMedia = async (how) => {
            const stream = await open(how);
            await new Promise((resolve) => { window.go = resolve; });
            streams.push(stream);
            return stream;
          };
        }"""
    )
    states = "streams.flatMap((stream) => stream.getTracks()).map((track) => track.readyState)"
    page.get_by_role("button", name="Choose picture A").first.click()
    use.click()
    page.wait_for_function("Boolean(window.go)")
    page.keyboard.press("Escape")
    page.evaluate("go()")
    page.wait_for_function(f"{states}.join() === 'ended'")
    page.get_by_role("button", name="Choose picture A").first.click()
    for _ in range(2):
        page.evaluate("window.go = null")
        use.click()
        page.wait_for_function("Boolean(window.go)")
        page.evaluate("go()")
    page.wait_for_function(f"{states}.join() === 'ended,live,ended'")
    page.get_by_role("button", name="Close").first.click()
    assert page.evaluate(states) == ["ended"] * 3


def test_without_webassembly_the_gallery_still_shows(fresh: Lab) -> None:
    fresh.page.add_init_script("delete globalThis.WebAssembly")
    fresh.open().done("beforehand")
    fresh.page.get_by_role("button", name="Compute it here").click()
    fresh.status("failed", "no WebAssembly")


def test_a_model_of_ones_own_opens_from_files_and_by_address(kept: Lab) -> None:
    kept.open()
    bundle = BOOK / "_static" / "lab" / "models" / "scenes_simclr"
    kept.page.get_by_label("Model", exact=True).select_option("+")
    kept.page.locator("#xl-model-files").set_input_files([bundle / "weights.bin"])
    expect(kept.page.locator("dialog[open] .xl-error")).to_contain_text("no model.json")
    kept.page.locator("#xl-model-files").set_input_files(sorted(bundle.iterdir()))
    chosen = kept.page.get_by_label("Model", exact=True).locator("option:checked")
    expect(chosen).to_have_text("scenes_simclr", timeout=PATIENCE)
    kept.live()
    first = kept.sentence
    kept.page.get_by_label("Model", exact=True).select_option("+")
    kept.page.get_by_label("Address of a bundle").fill("../_static/lab/models/scenes_simclr")
    kept.page.get_by_role("button", name="Open", exact=True).click()
    expect(kept.page.locator("dialog[open]")).to_have_count(0, timeout=PATIENCE)
    kept.live()
    assert kept.sentence == first


def test_a_bundle_that_is_refused_leaves_the_page_ready_and_two_at_once_are_two(kept: Lab) -> None:
    kept.open("#a=cat&b=coffee&model=simclr&method=deep_similarity")
    model, models = kept.page.get_by_label("Model", exact=True), BOOK / "_static" / "lab" / "models"
    model.select_option("+")
    files = sorted((models / "scenes_simclr").iterdir())
    damaged = [{"name": f.name, "mimeType": "", "buffer": f.read_bytes()} for f in files]
    next(f for f in damaged if f["name"] == "weights.bin")["buffer"] += b"more"
    kept.page.locator("#xl-model-files").set_input_files(damaged)
    expect(kept.page.locator("dialog[open] .xl-error")).to_contain_text("weights.bin is too large", ignore_case=True)
    kept.status("failed", "too large")
    both = [[f"../_static/lab/models/{name}/{file.name}" for file in files] for name in ("scenes_simclr", "scenes_supervised")]
    kept.page.evaluate(
        """async (bundles) => {
          const read = async (url) => new File([await (await fetch(url)).blob()], url.split("/").pop());
          const given = await Promise.all(bundles.map((urls) => Promise.all(urls.map(read))));
          const input = document.querySelector("#xl-model-files");
          for (const files of given) {
            const transfer = new DataTransfer();
            for (const file of files) transfer.items.add(file);
            input.files = transfer.files;
            input.dispatchEvent(new Event("change"));
          }
        }""",
        both,
    )
    yours = model.locator("optgroup[label=yours] option")
    expect(yours).to_have_text(["scenes_simclr", "scenes_supervised"])
    for option in yours.all():
        model.select_option(option.get_attribute("value"))
        kept.live()
        numbers = kept.numbers()
        net = load_model(numbers["model"], "cpu")
        assert numbers["model"] == option.inner_text()
        pair = Pair(*(gallery.seen(picture, net.size) for picture in ("cat", "coffee")))
        assert numbers["score"] == pytest.approx(explain(net, pair, "deep_similarity").score.item(), abs=1e-4)


def test_the_picture_to_download_is_one(kept: Lab) -> None:
    kept.open()
    with kept.page.expect_download() as found:
        kept.page.get_by_role("button", name="Download as PNG").click()
    assert Image.open(found.value.path()).size[0] == 1008


def test_a_pinned_place_is_not_in_the_picture_to_download(kept: Lab) -> None:
    def downloaded() -> bytes:
        with kept.page.expect_download() as found:
            kept.page.get_by_role("button", name="Download as PNG").click()
        return found.value.path().read_bytes()

    kept.open(GALLERY + "deep_similarity")
    plain, before = downloaded(), kept.pixels("b")
    kept.page.locator("canvas.xl-canvas").first.click(position={"x": 40, "y": 40})
    pinned = kept.pixels("b")
    assert pinned != before
    assert downloaded() == plain
    assert kept.pixels("b") == pinned, "it is still there"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(kept: Lab, theme: str) -> None:
    kept.open(GALLERY + "interaction_cam&with=simclr+grad_cam&change=blur+0")
    kept.page.evaluate(
        "theme => { document.documentElement.dataset.theme = theme; document.querySelector('.xl-more').open = true; }", theme
    )
    assert serious(kept.page, axe(), within=".xl-lab", rules={}) == []


def test_a_pair_in_a_chapter_can_be_pointed_at(fresh: Lab) -> None:
    fresh.page.goto(fresh.address.replace("book/lab.html", "notebooks/01_methods.html"))
    explorer = fresh.page.locator(".xl-explorer.xl-ready")
    before = fresh.pixels("b")
    explorer.locator("canvas.xl-canvas").first.hover()
    assert "It goes best with" in fresh.readout
    assert fresh.pixels("b") != before
    explorer.get_by_label("Method", exact=True).select_option("interaction_cam")
    expect(explorer.locator(".xl-meaning")).to_contain_text("features that both pictures have")


def test_a_phone_shows_all_of_it(browser: Browser, address: str) -> None:
    pages = page_of(browser, address, has_touch=True)
    lab = next(pages)
    lab.page.set_viewport_size({"width": 390, "height": 844})
    lab.open(GALLERY + "deep_similarity&with=simclr+conditional_occlusion")
    assert lab.page.evaluate("document.documentElement.scrollWidth") <= 390
    box = lab.page.locator("canvas.xl-canvas").first.bounding_box()
    assert box is not None
    assert box["width"] > 150
    lab.page.locator("canvas.xl-canvas").first.tap(position={"x": 40, "y": 40})
    assert "goes best with" in lab.readout
    next(pages, None)
