"""What a browser would find broken in the built pages, found without one: links, anchors, pictures, and the basics of a page."""

import functools
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

NOT_PAGES = {"_static", "_sources", "_images", "_downloads", "_sphinx_design_static"}
MADE_BY_SPHINX = {"genindex.html", "search.html", "py-modindex.html"}
LIMIT = 2_000_000  # bytes of a page
LINKS = {
    "a": ("href",),
    "link": ("href",),
    "img": ("src",),
    "script": ("src",),
    "source": ("src",),
    "iframe": ("src",),
    "object": ("data",),
}


def _pages_of(book: Path) -> list[Path]:
    """Every page of the book."""
    return [path for path in sorted(book.rglob("*.html")) if not NOT_PAGES & set(path.relative_to(book).parts)]


def check_links(book: Path) -> list[str]:
    """A line for each reference that leads nowhere within the folder or out of it: `page: reference`. Other hosts are not asked."""
    return [
        f"{page.relative_to(book)}: {reference}"
        for page in _pages_of(book)
        for reference in dict.fromkeys(_read(page).references)
        if not _leads_somewhere(page, reference, book)
    ]


def check_basics(book: Path) -> list[str]:
    """A line for each page without language, title, description or heading, with an undescribed picture or figure, or too heavy."""
    found = []
    for page in _pages_of(book):
        name, facts = page.relative_to(book).as_posix(), _read(page)
        if facts.redirect:
            continue
        wanted = {"language": facts.language, "title": facts.title.strip(), "heading": facts.headings}
        if name not in MADE_BY_SPHINX:
            wanted["description"] = facts.description.strip()
        found += [f"{name}: no {what}" for what, there in wanted.items() if not there]
        found += [f"{name}: without a description: {what}" for what in facts.undescribed]
        if (size := page.stat().st_size) > LIMIT:
            found.append(f"{name}: {size / 1e6:.1f} MB, more than {LIMIT / 1e6:g} MB")
    return found


def _leads_somewhere(page: Path, reference: str, book: Path) -> bool:
    parts = urlsplit(reference)
    if parts.scheme or parts.netloc:
        return True
    if parts.path.startswith("/"):
        return False  # the book may stand below a sub-path
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.is_dir():
        target = target / "index.html"
    if not target.is_relative_to(book.resolve()) or not target.is_file():
        return False
    anchor = unquote(parts.fragment)
    return not anchor or anchor == "top" or "=" in anchor or target.suffix != ".html" or anchor in _read(target).anchors


def _read(page: Path) -> "_Page":
    return _parsed(page, page.stat().st_mtime_ns)


@functools.cache
def _parsed(page: Path, changed: int) -> "_Page":
    parser = _Page()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


class _Page(HTMLParser):
    """What a page refers to, what can be referred to in it, and its basics."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.anchors: set[str] = set()
        self.undescribed: list[str] = []
        self.language = self.title = self.description = ""
        self.headings, self.redirect = 0, False
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.references += [given[key] for key in LINKS.get(tag, ()) if given.get(key)]
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        self.headings += tag == "h1"
        if tag == "html":
            self.language = given.get("lang", "")
        elif tag == "title":
            self._in_title = not self.title
        elif tag == "meta" and given.get("name") == "description":
            self.description = given.get("content", "")
        elif tag == "meta" and given.get("http-equiv", "").lower() == "refresh":
            self.redirect = True
            self.references += re.findall(r"url=['\"]?([^'\";]+)", given.get("content", ""), re.IGNORECASE)
        elif tag == "img" and "alt" not in given:
            self.undescribed.append(f"picture {given.get('src', '')[:80]}")
        elif "xaicl-plot" in given.get("class", "").split() and not given.get("aria-label", "").strip():
            self.undescribed.append("figure")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
