"""The whole book as files to keep: a PDF that Chromium prints, and an ePub; both of the built pages alone."""

import base64
import copy
import html
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from xaicl_lib.errors import InputError, NotebookError, needing
from xaicl_lib.publishing.epub import write_epub
from xaicl_lib.publishing.whole import FIRST, OF, TEX, Entry, article, contents, digest, facts, link

HOST = "http://book.invalid/"  # answered from the folder; no other is ever asked
LIVE = ("pair.js", "quiz.js", "lab.js", "alive.js", "search.js")  # what would put something that moves in the place of what stands there
PAPER, MARGINS = 658, 32  # pixels: how wide the text is on A4, and what a page of the book has beside it
TALLEST = 560  # pixels of a piece of a figure that is taller than a page
FONT = "body { font-family: 'Liberation Sans', Helvetica, Arial, sans-serif !important; }"  # which figures take, too
PATIENCE = 600_000  # milliseconds for a page: a slow machine is no error
READY = """() => [...document.querySelectorAll(".xaicl-plot")].every((box) => box.hasAttribute("data-xaicl-drawn"))
  && !document.querySelector(".xl-explorer:not(.xl-ready)")"""
FIT = """() => {
  for (const table of document.querySelectorAll("table")) {
    const room = table.parentElement.clientWidth;
    if (table.scrollWidth > room + 1) table.style.zoom = Math.max(0.5, room / table.scrollWidth);
  }
  const wide = [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth + 1);
  return wide.filter((one) => !one.closest("mjx-assistive-mml")).map((one) => one.closest("[id]").id);
}"""


def make_editions(book: Path, folder: Path) -> list[Path]:
    """Write `xaicl.pdf` and `xaicl.epub` of a built book.

    Raises:
        InputError: no book, or nothing to print it with.
        NotebookError: something does not fit on the paper.
    """
    entries = contents(book)
    told = facts((book / FIRST).read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pictures-", dir=folder) as scratch, _browsing({"": book, "made/": Path(scratch)}) as page:
        pictures = Path(scratch)
        articles = {entry.slug: _still(page, entry, pictures) for entry in entries}
        link(articles, entries)
        made = [folder / "xaicl.pdf", folder / "xaicl.epub"]
        style = _style(book)
        (pictures / "whole.css").write_text(style, encoding="utf-8")
        _print(page, told, entries, [_within(articles[entry.slug]) for entry in entries], pictures, made[0])
        write_epub(made[1], told, entries, articles, pictures, style)
    (folder / OF).write_text(digest(book) + "\n")
    return made


def _style(book: Path) -> str:
    """The style sheet of both files, with the book's colours of code."""
    code = (book / "_static" / "pygments.css").read_text(encoding="utf-8")
    lit = re.findall(r'html\[data-theme="light"\] (\.highlight (?:span)?\.[^{]*\{[^}]*\})', code)
    own = (files("xaicl_lib.publishing") / "static" / "whole.css").read_text(encoding="utf-8")
    return "\n".join([*lit, own])


@contextmanager
def _browsing(folders: Mapping[str, Path]) -> Iterator[Any]:
    """A page of a headless Chromium that is given files of folders, by the beginnings of their addresses, and nothing else."""
    with needing("expected the packages playwright and pypdf, found not both; `pip install playwright pypdf`"):
        import pypdf  # noqa: F401  which is missed before the printing, not after it
        from playwright.sync_api import sync_playwright

    def answer(route: Any) -> None:
        path = unquote(urlsplit(route.request.url).path).lstrip("/")
        start = max((start for start in folders if path.startswith(start)), key=len)
        file = folders[start] / path.removeprefix(start)
        if route.request.url.startswith(HOST) and file.is_file() and file.name not in LIVE:
            route.fulfill(path=str(file))
        else:
            route.abort()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_find_chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": PAPER + MARGINS, "height": 1000}, color_scheme="light")
        page.set_default_timeout(PATIENCE)
        page.route("**/*", answer)
        yield page
        browser.close()


def _find_chromium() -> str:
    """Path of a Chromium: XAICL_CHROMIUM, or one that is installed.

    Raises:
        InputError: there is none.
    """
    named = os.environ.get("XAICL_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found or not shutil.which(found):
        raise InputError(f"expected Chromium, found {found or 'none'}; install it, or set XAICL_CHROMIUM to its path")
    return found


def _still(page: Any, entry: Entry, pictures: Path) -> Element:
    """A page's article with nothing live in it; its pictures are put into the folder."""
    page.goto(HOST + entry.address, wait_until="load")
    page.add_style_tag(content=FONT)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")  # which has all figures drawn
    page.wait_for_function(READY)
    page.add_script_tag(content=(files("xaicl_lib.publishing") / "static" / "still.js").read_text(encoding="utf-8"))
    made = page.evaluate("still", TALLEST)
    names = {file["name"]: f"{entry.slug}-{file['name']}" for file in made["files"]}
    for file in made["files"]:
        data = file["data"].encode() if file["text"] else base64.b64decode(file["data"])
        (pictures / names[file["name"]]).write_bytes(data)
    return article(made["text"], entry, names)


def _print(page: Any, told: Mapping[str, str], entries: Sequence[Entry], articles: Sequence[Element], folder: Path, target: Path) -> None:
    """Print all articles into one PDF; twice, as the first print says on which pages the chapters begin."""
    numbers: dict[str, int] = {}
    page.set_viewport_size({"width": PAPER, "height": 1000})
    for _ in range(2):
        (folder / "whole.html").write_text(_document(told, entries, articles, numbers), encoding="utf-8")
        page.goto(f"{HOST}made/whole.html", wait_until="load")
        page.evaluate("() => window.MathJax?.startup?.promise")
        page.emulate_media(media="print")
        if wide := page.evaluate(FIT):
            raise NotebookError(f"the printed book is wider than its paper in {', '.join(dict.fromkeys(wide))}")
        page.pdf(path=target, prefer_css_page_size=True, print_background=True, outline=True, tagged=True)
        page.emulate_media(media="screen")
        numbers = _page_numbers(target)


def _within(root: Element) -> Element:
    """A copy of an article for one file with all others: its links are to ids, its formulas TeX."""
    made = copy.deepcopy(root)
    for element in made.iter():
        if element.tag == "a" and not urlsplit(element.get("href", "")).scheme:
            element.set("href", f"#{urldefrag(element.get('href', '')).fragment}")
        if tex := element.attrib.pop(TEX, ""):
            ends = (r"\[", r"\]") if element.get("class") == "xaicl-display" else (r"\(", r"\)")
            element[:] = []
            element.text = f"{ends[0]}{tex}{ends[1]}"
    return made


def _document(told: Mapping[str, str], entries: Sequence[Entry], articles: Sequence[Element], numbers: Mapping[str, int]) -> str:
    """HTML of the whole book: title page, contents with the pages where chapters begin, chapters."""
    heads = "\n".join(
        f"@page p-{one.slug} {{ @top-right {{ content: {_quoted(one.title)}; {HEAD} }} }}" for one in entries if not one.depth
    )
    chapters = "\n".join(_chapter(entry, root) for entry, root in zip(entries, articles, strict=True))
    return _PAGE.format(
        **{name: html.escape(said) for name, said in told.items()}, heads=heads, contents=_listed(entries, numbers), chapters=chapters,
        host=HOST,
    )  # fmt: skip


HEAD = 'font: 8.5pt "Liberation Sans", sans-serif; color: #4a5260'
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><meta name="author" content="{author}">
<link rel="stylesheet" href="whole.css">
<style>{heads}</style>
<script>window.MathJax = {{options: {{ignoreHtmlClass: "whole", processHtmlClass: "xaicl-inline|xaicl-display"}}}};</script>
<script defer src="{host}_static/mathjax/es5/tex-chtml-full.js"></script>
</head><body class="whole">
<section class="title-page"><h1>{title}</h1><p class="lead">{lead}</p><p>{author}</p><p>{stamp}</p></section>
<nav class="contents"><h2>Contents</h2>{contents}</nav>
{chapters}
</body></html>
"""


def _quoted(text: str) -> str:
    """Text as a string of CSS within HTML."""
    return '"' + re.sub(r'["\\<&\n]', lambda match: f"\\{ord(match[0]):x} ", text) + '"'


def _listed(entries: Sequence[Entry], numbers: Mapping[str, int]) -> str:
    """The contents: parts, pages, and where each begins."""
    lines = []
    for entry in entries:
        if entry.part:
            lines.append(f'<li class="named">{html.escape(entry.part)}</li>')
        kind = ' class="below"' if entry.depth else ""
        lines.append(f'<li{kind}><a href="#{entry.slug}">{html.escape(entry.title)}<b>{numbers.get(entry.slug, 0) or "000"}</b></a></li>')
    return f"<ol>{''.join(lines)}</ol>"


def _chapter(entry: Entry, root: Element) -> str:
    text = ElementTree.tostring(root, encoding="unicode", method="html")
    if entry.depth:
        return f'<section class="below">{text}</section>'
    part = f'<h1 class="part">{html.escape(entry.part)}</h1>' if entry.part else ""
    return f'<section class="chapter" style="page: p-{entry.slug}">{part}{text}</section>'


def _page_numbers(pdf: Path) -> dict[str, int]:
    """For every place in a PDF that a link leads to, by its id: its page, counted from 1."""
    from pypdf import PdfReader

    reader = PdfReader(pdf)
    found = {name: reader.get_destination_page_number(place) for name, place in reader.named_destinations.items()}
    return {name.removeprefix("/"): page + 1 for name, page in found.items() if page is not None}
