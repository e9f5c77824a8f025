"""What a browser would find broken in the built pages, found without one: links, anchors, pictures, and the basics of a page."""

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup

from xaicl_lib.errors import NotebookError

NOT_PAGES = {"_static", "_sources", "_images", "_downloads", "_sphinx_design_static"}
MADE_BY_SPHINX = {"genindex.html", "search.html", "py-modindex.html"}
LIMIT = 2_000_000  # bytes of a page
LINKS = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "src", "iframe": "src", "object": "data"}


def _pages_of(book: Path) -> list[Path]:
    """Every page of the book."""
    return [path for path in sorted(book.rglob("*.html")) if not NOT_PAGES & set(path.relative_to(book).parts)]


def check_site(book: Path) -> None:
    """Refuse a built book with a link that leads nowhere or a page that lacks its basics.

    Raises:
        NotebookError: names the first of them.
    """
    if found := [f"broken link in {line}" for line in _check_links(book)] + _check_basics(book):
        more = f" and {len(found) - 8} more" if len(found) > 8 else ""
        raise NotebookError(f"the built pages are not fit to publish: {'; '.join(found[:8])}{more}")


def _check_links(book: Path) -> list[str]:
    """A line for each reference that leads nowhere within the folder or out of it: `page: reference`. Other hosts are not asked."""
    return [
        f"{page.relative_to(book)}: {reference}"
        for page in _pages_of(book)
        for reference in dict.fromkeys(_read(page).references)
        if not _leads_somewhere(page, reference, book)
    ]


def _check_basics(book: Path) -> list[str]:
    """A line for each page without language, title, description or heading, with an undescribed picture or figure, or too heavy."""
    found = []
    for page in _pages_of(book):
        name, facts = page.relative_to(book).as_posix(), _read(page)
        found += [f"{name}: no {what}" for what in facts.missing if what != "description" or name not in MADE_BY_SPHINX]
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


@dataclass(frozen=True)
class _Page:
    """What a page refers to, what can be referred to in it, what it lacks of the basics, and pictures and figures that say nothing."""

    references: list[str]
    anchors: set[str]
    missing: list[str]
    undescribed: list[str]


@functools.cache
def _parsed(page: Path, changed: int) -> _Page:
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    redirects = soup.select('meta[http-equiv="refresh" i]')
    references = [str(one[key]) for one in soup.find_all(list(LINKS)) if one.get(key := LINKS[one.name])]
    references += [found for one in redirects for found in re.findall(r"url=['\"]?([^'\";]+)", str(one.get("content", "")), re.IGNORECASE)]
    there = {
        "language": soup.select("html[lang]:not([lang=''])"),
        "title": soup.title and soup.title.get_text(strip=True),
        "heading": soup.h1,
        "description": any(str(one.get("content", "")).strip() for one in soup.select('meta[name="description"]')),
    }
    silent = [f"picture {str(one.get('src', ''))[:80]}" for one in soup.select("img:not([alt])")]
    silent += ["figure" for one in soup.select(".xaicl-plot") if not str(one.get("aria-label", "")).strip()]
    anchors = {str(one[key]) for key in ("id", "name") for one in soup.select(f"[{key}]")}
    return _Page(references, anchors, [] if redirects else [what for what, found in there.items() if not found], silent)
