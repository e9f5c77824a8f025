"""Opens every page of the built book in headless Chromium, as readers do, and fails where one of them would be let down.

    python tests/check_pages.py [FOLDER] [--screenshots DIR]

Each page is opened at the width of a desktop and of a phone, in a fresh profile, below a sub-path, and fails on: an error in the console
or the page, a request to another host, a response of 400 or more, a figure that is not drawn or has no description, a broken picture,
sideways scrolling on a phone or zoomed to 200 %, a link within the book that leads nowhere, a serious violation that axe-core finds. On
the desktop it also fails if a figure does not follow a switch between light and dark. In both, text must stand out from its background.
Before any of that, the files themselves are read: every page has a language, a title, a description and a heading, weighs at most 2 MB,
and what it refers to is there.
"""

import argparse
import functools
import http.server
import re
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

import psutil

from xaicl_lib.errors import InputError
from xaicl_lib.publishing import printing
from xaicl_lib.publishing.assets import _npm_parts
from xaicl_lib.publishing.links import _check_basics, _check_links

ROOT = Path(__file__).resolve().parent.parent
SUBPATH = "some/sub/path"
WIDTHS = {"desktop": (1280, 900), "phone": (360, 800)}
AXE = (
    "axe-core@4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    ("axe.min.js",),
)
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
FLAGS = ["--no-sandbox", "--disable-gpu", *QUIET]
PATIENCE = 120_000  # milliseconds for a page or a figure: a slow machine is no error
HANGS = 300  # seconds after which a page is given up, whatever it waits for; most take one
NOT_PAGES = {"_static", "_sources", "_images", "_downloads"}

PROBLEMS_JS = """() => {
  const found = [];
  for (const image of document.images) {
    if (image.complete && image.naturalWidth === 0) found.push(`broken picture ${image.src.slice(0, 120)}`);
    if (!image.closest('.xaicl-plot') && !image.hasAttribute('alt')) found.push(`picture without alt text ${image.src.slice(0, 120)}`);
  }
  for (const plot of document.querySelectorAll('.xaicl-plot')) {
    if (!(plot.getAttribute('aria-label') || '').trim()) found.push('figure without a description');
  }
  if (document.querySelector('.xl-explorer:not(.xl-ready)')) found.push('pair to point at is not drawn');
  return found;
}"""
# Text whose colour and background are too near each other (WCAG 2.1 AA: 4.5, or 3 for large text); figures draw their own.
CONTRAST_JS = """() => {
  const parse = text => {
    const n = (text.match(/[\\d.]+/g) || []).map(Number);
    return /^color\\(srgb/.test(text) ? [n[0] * 255, n[1] * 255, n[2] * 255, n[3] ?? 1] : [n[0], n[1], n[2], n[3] ?? 1];
  };
  const over = (top, under) => top.slice(0, 3).map((v, k) => v * top[3] + under[k] * (1 - top[3]));
  const light = rgb => {
    const [r, g, b] = rgb.map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const style = getComputedStyle(e), colour = parse(style.backgroundColor);
      if (style.backgroundImage !== 'none') return null;
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const found = new Map();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement, text = walk.currentNode.data.trim();
    if (!text || element.closest('.xaicl-plot, script, style, noscript, mjx-container, [hidden], [aria-hidden=true]')) continue;
    if (!element.checkVisibility({opacityProperty: true, visibilityProperty: true}) || element.getClientRects().length === 0) continue;
    const style = getComputedStyle(element), under = ground(element);
    if (under === null) continue;
    const a = light(over(parse(style.color), under)), b = light(under);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio >= (large ? 3 : 4.5) - 0.05) continue;
    found.set(`${style.color} on ${under.map(Math.round)}`, `${ratio.toFixed(1)}: ${text.slice(0, 40)}`);
  }
  return [...found].slice(0, 5).map(([colours, rest]) => `too little contrast, ${colours}, ${rest}`);
}"""
LINKS_JS = "() => [...document.querySelectorAll('a[href]')].map(a => a.href)"
OVERFLOW_JS = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
DRAWN_JS = (
    "plot => plot.hasAttribute('data-xaicl-drawn') && [...plot.querySelectorAll('svg.main-svg, canvas')].some(e => e.clientWidth > 50)"
)
TEXT_COLOURS_JS = "plot => [...plot.querySelectorAll('svg.main-svg text')].map(t => getComputedStyle(t).fill).join()"
THEME_JS = "theme => { document.documentElement.dataset.theme = theme; }"


STILL = "*, *::before, *::after { transition: none !important; }"  # colours are read as they end up, not on their way


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/favicon.ico":  # asked for by the browser itself, above the book
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up before it has its answer is no error."""


@contextmanager
def chromium(*flags: str) -> Iterator[Any]:
    """A headless browser of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_find_chromium(), args=[*FLAGS, *flags])
        yield browser
        with suppress(Exception):  # one that was ended is closed already
            browser.close()


@contextmanager
def ended_after(seconds: float) -> Iterator[threading.Event]:
    """Ends this process's browsers when what is within takes longer, for `evaluate` waits for ever for a page that does not answer.

    Whatever waits then raises; the event tells why.
    """
    over = threading.Event()

    def end() -> None:
        over.set()
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "chrom" in process.name():
                    process.kill()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()


@contextmanager
def served(book: Path) -> Iterator[str]:
    """Address of the book, served below a sub-path, as on a page of a project."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / SUBPATH
        place.parent.mkdir(parents=True)
        place.symlink_to(book.resolve(), target_is_directory=True)
        server = Server(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{SUBPATH}/"
        finally:
            server.shutdown()
            server.server_close()


def pages_of(book: Path) -> list[str]:
    """Every page of the book, as paths relative to it."""
    paths = (path.relative_to(book) for path in sorted(book.rglob("*.html")))
    return [path.as_posix() for path in paths if not NOT_PAGES & set(path.parts)]


def broken_links(page: str, links: list[str], address: str, book: Path) -> list[str]:
    """Links of a page to places within the book that do not exist."""
    host = urlsplit(address).netloc
    inside = [link for link in dict.fromkeys(links) if urlsplit(link).netloc == host]
    return [f"broken link to {link.removeprefix(address)}" for link in inside if not _leads_somewhere(link, address, book)]


def _leads_somewhere(link: str, address: str, book: Path) -> bool:
    target, fragment = urldefrag(link)
    if not target.startswith(address):
        return False  # above the book: another site for a reader
    path = book / unquote(urlsplit(target.removeprefix(address)).path)
    if path.is_dir():
        path = path / "index.html"
    if not path.is_file():
        return False
    told = path.name.endswith("lab.html") and "=" in fragment  # what the lab or the search is to show, not a place in the page
    return not fragment or told or path.suffix != ".html" or unquote(fragment) in _ids(path)


@functools.cache
def _ids(path: Path) -> frozenset[str]:
    return frozenset(re.findall(r"""\s(?:id|name)=["']([^"']+)["']""", path.read_text(encoding="utf-8")))


def check_page(browser: Any, address: str, name: str, device: str, book: Path, screenshots: Path | None) -> list[str]:
    """What is wrong with a page on a device; nothing if it is fine."""
    with ended_after(HANGS) as over:
        try:
            return _check_page(browser, address, name, device, book, screenshots)
        except Exception as error:  # a page that cannot even be opened is one more finding, not the end of the check
            return [f"TimeoutError: no answer for {HANGS} s" if over.is_set() else f"{type(error).__name__}: {str(error).splitlines()[0]}"]


def _check_page(browser: Any, address: str, name: str, device: str, book: Path, screenshots: Path | None) -> list[str]:
    width, height = WIDTHS[device]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
    try:
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        problems: list[str] = []
        watch(page, address, problems)
        page.goto(address + name, wait_until="load", timeout=PATIENCE)
        page.wait_for_load_state("networkidle", timeout=PATIENCE)
        page.add_style_tag(content=STILL)
        problems += draw_all(page)
        problems += page.evaluate(PROBLEMS_JS)
        problems += [f"{problem} (light)" for problem in page.evaluate(CONTRAST_JS)]
        problems += serious(page, axe(), rules={"color-contrast": {"enabled": False}})  # that is asked above, and faster
        problems += broken_links(name, page.evaluate(LINKS_JS), address, book)
        if device == "phone" and (beyond := page.evaluate(OVERFLOW_JS)) > 1:
            problems.append(f"scrolls sideways by {beyond} px")
        shoot(page, screenshots, name, device, "light")
        if device == "desktop":
            problems += dark(page)
            shoot(page, screenshots, name, device, "dark")
            problems += zoomed(page)
        return list(dict.fromkeys(problems))
    finally:
        with suppress(Exception):  # of a browser that was ended
            context.close()


@functools.cache
def axe() -> str:
    """The text of axe-core, fetched the first time."""
    return (_npm_parts(*AXE, ROOT / ".assets") / "axe.min.js").read_text(encoding="utf-8")


def serious(page: Any, script: str, *, within: str = "html", rules: dict[str, Any]) -> list[str]:
    """What axe-core calls serious or critical in a part of the page."""
    page.evaluate(f"{script};0")
    run = "async ([within, rules]) => (await axe.run(within, {resultTypes: ['violations'], rules})).violations"
    found = [one for one in page.evaluate(run, [within, rules]) if one["impact"] in ("serious", "critical")]
    return [f"axe: {one['id']}, {len(one['nodes'])} times, first {one['nodes'][0]['html'][:160]}" for one in found]


def zoomed(page: Any) -> list[str]:
    """At 200 % the desktop has half its pixels: nothing may need scrolling sideways."""
    width, height = WIDTHS["desktop"]
    page.set_viewport_size({"width": width // 2, "height": height})
    page.wait_for_timeout(300)
    beyond = page.evaluate(OVERFLOW_JS)
    return [f"scrolls sideways by {beyond} px at 200 %"] if beyond > 1 else []


def watch(page: Any, address: str, problems: list[str]) -> None:
    """Note errors, answers of 400 or more, and requests to any other host."""
    host = urlsplit(address).netloc
    page.on("console", lambda message: message.type == "error" and problems.append(f"console: {message.text[:200]}"))
    page.on("pageerror", lambda error: problems.append(f"error: {str(error)[:200]}"))
    page.on("response", lambda answer: answer.status >= 400 and problems.append(f"{answer.status} for {answer.url}"))
    page.on("requestfailed", lambda request: problems.append(f"failed request for {request.url[:200]}"))

    def asked(request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != host:
            problems.append(f"request to another host: {request.url[:200]}")

    page.on("request", asked)


def draw_all(page: Any) -> list[str]:
    """Scroll to each figure and wait until it is drawn."""
    problems = []
    for number, plot in enumerate(page.query_selector_all(".xaicl-plot"), start=1):
        plot.evaluate("plot => plot.scrollIntoView({ block: 'center' })")  # the driver's own way waits for two equal frames, once for ever
        for _ in range(PATIENCE // 100):
            if plot.evaluate(DRAWN_JS):
                break
            page.wait_for_timeout(100)
        else:
            problems.append(f"figure {number} is not drawn")
    return problems


def dark(page: Any) -> list[str]:
    """Switch to dark; every figure's text must change with the page's (text on coloured cells may keep its own)."""
    plots = page.query_selector_all(".xaicl-plot")
    before = [plot.evaluate(TEXT_COLOURS_JS) for plot in plots]
    page.evaluate(THEME_JS, "dark")
    page.wait_for_timeout(1000)
    faint = [f"{problem} (dark)" for problem in page.evaluate(CONTRAST_JS)]
    after = [plot.evaluate(TEXT_COLOURS_JS) for plot in plots]
    return faint + [
        f"figure {k} does not follow the theme" for k, (a, b) in enumerate(zip(before, after, strict=True), start=1) if a and a == b
    ]


def shoot(page: Any, folder: Path | None, name: str, device: str, theme: str) -> None:
    if folder is not None:
        width, height = WIDTHS[device]
        page.set_viewport_size({"width": width, "height": max(height, page.evaluate("document.documentElement.scrollHeight"))})
        page.evaluate("window.scrollTo(0, 0)")
        page.wait_for_timeout(500)
        page.screenshot(path=folder / f"{name.removesuffix('.html').replace('/', '_')}-{device}-{theme}.png")


def _find_chromium() -> str:
    try:
        return printing._find_chromium()
    except InputError as error:
        sys.exit(str(error))


def check_width(device: str, names: list[str], address: str, book: Path, screenshots: Path | None) -> int:
    """Every page at one width, each with a profile of its own: how many failed.

    A page that outlasts all patience is opened once more, last of all and in a new browser: one that hangs says nothing of a page.
    """
    failed, waiting, late = 0, deque(names), set[str]()
    while waiting:
        with chromium() as browser:
            while waiting:
                name = waiting.popleft()
                problems = check_page(browser, address, name, device, book, screenshots)
                hung = name not in late and any(problem.startswith("TimeoutError") for problem in problems)
                failed += bool(problems) and not hung
                verdict = "late  " if hung else "failed" if problems else "ok    "
                print("\n         ".join([f"{verdict} {name} ({device})", *problems]), flush=True)
                if hung:
                    late.add(name)
                    waiting.append(name)
                    break
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description="Check the pages of the built book in headless Chromium.")
    parser.add_argument("book", nargs="?", type=Path, default=ROOT / "_build" / "html", help="folder of the book (default: %(default)s)")
    parser.add_argument("--screenshots", type=Path, help="folder for a picture of every page")
    arguments = parser.parse_args()
    book = arguments.book.resolve()
    names = pages_of(book) if book.is_dir() else []
    if not names:
        sys.exit(f"expected a book in {book}, found no page; `make book` builds it")
    try:
        axe()
    except InputError as error:
        sys.exit(str(error))
    files = [*_check_links(book), *_check_basics(book)]
    print("failed the files" if files else "ok     the files", *files, sep="\n         ", flush=True)
    if arguments.screenshots:
        arguments.screenshots.mkdir(parents=True, exist_ok=True)
    with served(book) as address, ProcessPoolExecutor(len(WIDTHS), get_context("spawn")) as processes:
        failed = sum(processes.map(check_width, WIDTHS, *(repeat(given) for given in (names, address, book, arguments.screenshots))))
    print(f"{len(names) * len(WIDTHS) - failed} passed, {failed} failed")
    return 1 if failed or files else 0


if __name__ == "__main__":
    sys.exit(main())
