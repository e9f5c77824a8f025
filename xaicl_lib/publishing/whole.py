"""The built book as one document: its pages in the order of its contents, with ids of their own and links that stay within."""

import hashlib
import html
import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from bs4 import BeautifulSoup

from xaicl_lib.errors import InputError

HEADINGS = {f"h{level}" for level in range(1, 7)}
MATH = "http://www.w3.org/1998/Math/MathML"
FIRST = "book/intro.html"
OF = "of.txt"  # beside the book's files: of which pages they were made
TEX = "data-tex"  # of a formula, beside its MathML
OFFERS = "data-offers"  # of a figure: what its menus and sliders offer, and which of it is drawn
LISTED = 8  # names that are all said


@dataclass(frozen=True)
class Entry:
    """A page in the book's contents."""

    address: str  # relative to the book's folder
    title: str  # as the contents have it
    part: str = ""  # of the part that it begins; empty on all but a part's first page
    depth: int = 0  # 1 for a page below another

    @property
    def slug(self) -> str:
        """A name without folders, for a file or an id."""
        return self.address.removesuffix(".html").removeprefix("notebooks/").removeprefix("book/").replace("/", "-")


def facts(page: str) -> dict[str, str]:
    """What a book's first page, its HTML, says for a title page: title and author, `stamp` (version and date), `lead` (first sentences)."""
    soup = BeautifulSoup(page, "html.parser")
    for mark in soup.select("a.headerlink"):
        mark.decompose()
    places = {"title": "article h1", "author": ".component-author", "stamp": ".xaicl-stamp", "lead": ".xaicl-lead p"}
    said = {name: " ".join(found.get_text().split()) if (found := soup.select_one(place)) else "" for name, place in places.items()}
    return {**said, "author": said["author"].removeprefix("By ")}


def contents(book: Path) -> list[Entry]:
    """The pages of a built book in the order of its contents, from the list beside its first page.

    Raises:
        InputError: no book.
    """
    page = book / FIRST
    if not page.is_file():
        raise InputError(f"expected a book in {book}, found none; `make book` builds it")
    entries, part = [], ""
    listed = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").select_one("nav.bd-docs-nav")
    for one in listed.select(".caption-text, [class*=toctree-l]") if listed else ():
        if (leads := one.a) is None:
            part = one.get_text().strip()
            continue
        depth = next(int(name[-1]) - 1 for name in one["class"] if name.startswith("toctree-l"))
        address = FIRST if leads["href"] == "#" else _resolved(str(leads["href"]), FIRST)
        entries.append(Entry(address, " ".join(leads.get_text().split()), part, depth))
        part = ""
    return entries


def digest(book: Path) -> str:
    """A name for what a built book's pages say, the same whenever they are built anew without a change."""
    texts = (re.findall(r"<article.*</article>", (book / one.address).read_text(encoding="utf-8"), re.DOTALL) for one in contents(book))
    return hashlib.sha256("\n".join(text for found in texts for text in found).encode()).hexdigest()


def _resolved(link: str, page: str) -> str:
    """A relative link of a page as an address within the book.

    >>> _resolved("../book/a.html#x", "notebooks/b.html")
    'book/a.html#x'
    """
    target, fragment = urldefrag(link)
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(target))) if target else page
    return f"{path}#{fragment}" if fragment else path


def article(text: str, entry: Entry, names: Mapping[str, str]) -> Element:
    """A page's article from its XML: with ids and links of the whole, headings a level or two deeper, and answers at its end.

    `names` are the files of its pictures by their names in the text. XML that is none raises an `xml.etree.ElementTree.ParseError`.
    """
    root = ElementTree.fromstring(re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", text))
    seen: set[str] = set()
    for element in root.iter():
        _plain(element)
        _own_id(element, entry, seen)
        if element.tag == "img":
            element.set("src", names.get(element.get("src", ""), element.get("src", "")))
        if element.tag in HEADINGS:
            element.tag = f"h{min(6, int(element.tag[1]) + 1 + entry.depth)}"
        if offered := element.attrib.pop(OFFERS, ""):
            element.extend(_states(json.loads(offered)))
        if element.tag == "dl" and len(element) and element[0].tag.endswith("dd"):
            _lines(element)
    root.set("id", entry.slug)
    _answers_last(root, entry)
    return root


def _states(offered: Sequence[Mapping[str, Any]]) -> list[Element]:
    """Which state of a figure is drawn, and what its page has beside it: a caption for each menu or slider.

    >>> [one.text for one in _states([{"shown": "photos", "others": ["<b>all</b>", "scenes"]}])]
    ['Shown: photos. The page has 2 more: all; scenes.']
    """
    made = []
    for one in offered:
        shown, *others = (" ".join(html.unescape(re.sub(r"<[^>]*>", " ", name)).split()) for name in (one["shown"], *one["others"]))
        listed = [*others[: LISTED - 2], "…", others[-1]] if len(others) > LISTED else others
        caption = ElementTree.Element("figcaption", {"class": "xaicl-state"})
        caption.text = f"Shown: {shown}. The page has {len(others)} more: {'; '.join(listed)}."
        made.append(caption)
    return made


def _plain(element: Element) -> None:
    """The element without its namespace; what is no HTML says its own."""
    space, _, name = element.tag.rpartition("}")
    element.tag = name
    if name == "math":
        element.set("xmlns", space.removeprefix("{") or MATH)
    for key in [key for key in element.attrib if key.startswith("{")]:
        del element.attrib[key]


def _own_id(element: Element, entry: Entry, seen: set[str]) -> None:
    """An id that no other page has, nor another element: pages made of several docstrings number the notes of each."""
    if name := element.attrib.pop("id", ""):
        if name not in seen:
            element.set("id", f"{entry.slug}--{name}")
        seen.add(name)


def _lines(element: Element) -> None:
    """A list of definitions without terms, as Sphinx writes long signatures, becomes what it is: lines."""
    for one in (element, *element):
        one.tag = "div"
        one.attrib.clear()
        one.set("class", "xaicl-line")


def _answers_last(root: Element, entry: Entry) -> None:
    """Move solutions to the page's end, as printed books have them; open what else was folded."""
    parents = {child: parent for parent in root.iter() for child in parent}
    asked, moved = "", []
    for element in list(root.iter()):
        if number := _number(element):
            asked = number
        if element.tag != "details":
            continue
        summary, *rest = list(element)
        said = " ".join("".join(summary.itertext()).split())
        if not said.lower().startswith(("answer", "solution")):
            element.tag, summary.tag, summary.attrib = "div", "p", {"class": "xaicl-folded"}
            continue
        moved.append((f"{said} {asked}" if said in ("Answer", "Solution") else said, rest))
        parent = parents[element]
        place = list(parent).index(element)
        _tail_to(parent, place, element.tail)
        parent.remove(element)
    if moved:
        root.append(_answers(moved, entry))


def _tail_to(parent: Element, place: int, tail: str | None) -> None:
    """Keep the text that follows an element which goes."""
    if place == 0:
        parent.text = (parent.text or "") + (tail or "")
    else:
        before = parent[place - 1]
        before.tail = (before.tail or "") + (tail or "")


def _number(element: Element) -> str:
    """Of an exercise or a question, by which its answer is found again; empty for other elements.

    >>> _number(ElementTree.fromstring("<p><strong>2. Write it.</strong> Write</p>"))
    'to exercise 2'
    """
    first = element[0] if len(element) and not (element.text or "").strip() else None
    found = re.match(r"(\d+)\.", first.text or "") if first is not None and first.tag in ("strong", "b") else None
    if found is None or element.tag not in ("p", "div"):
        return ""
    return f"to {'exercise' if element.tag == 'p' else 'question'} {found[1]}"


def _answers(moved: Sequence[tuple[str, list[Element]]], entry: Entry) -> Element:
    made = ElementTree.Element("section", {"id": f"{entry.slug}--answers", "class": "xaicl-answers"})
    ElementTree.SubElement(made, f"h{3 + entry.depth}").text = "Answers"
    for said, rest in moved:
        one = ElementTree.SubElement(made, "div", {"class": "xaicl-answer"})
        ElementTree.SubElement(one, "p", {"class": "xaicl-folded"}).text = said
        one.extend(rest)
    return made


def link(articles: Mapping[str, Element], entries: Sequence[Entry]) -> None:
    """Point every link in the articles (by slug) to its file and id, `slug.xhtml#id`; what leads to no page stays as text. In place."""
    slugs = {entry.address: entry.slug for entry in entries}
    ids = {element.get("id") for root in articles.values() for element in root.iter()}
    for entry in entries:
        for element in articles[entry.slug].iter("a"):
            _lead(element, entry, slugs, ids)


def _lead(element: Element, entry: Entry, slugs: Mapping[str, str], ids: set[str | None]) -> None:
    target = element.attrib.pop("href", "")
    for name in ("target", "rel", "download", "title"):
        element.attrib.pop(name, None)
    if urlsplit(target).scheme in ("http", "https", "mailto"):
        element.set("href", target)
        return
    address, _, fragment = _resolved(target, entry.address).partition("#")
    slug = slugs.get(address)
    if not target or slug is None:
        element.tag = "span"
        return
    place = f"{slug}--{fragment}"
    element.set("href", f"{slug}.xhtml#{place if place in ids else slug}")
