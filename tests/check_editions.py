"""Checks the whole book as a PDF and as an ePub against the built pages, and fails where a reader would miss something.

    python tests/check_editions.py [HTML] [EDITIONS]

Every page of the contents is in the PDF's outline and in the ePub, every figure of the pages is a picture in both with what is to be seen
in it and says which of its states that is, questions about pictures have them, every text of the ePub is XML whose links and pictures are
there, and both files stay below 30 MB.
"""

import html
import json
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from pypdf import PdfReader

from xaicl_lib.publishing.whole import Entry, contents

ROOT = Path(__file__).resolve().parent.parent
HEAVIEST = 30e6  # bytes


def check_pdf(pdf: PdfReader, entries: Sequence[Entry], figures: Mapping[str, list[str]]) -> Iterator[str]:
    """What the PDF lacks: pages, entries of its outline, figures."""
    if not len(entries) < len(pdf.pages) < 1000:
        yield f"the PDF has {len(pdf.pages)} pages for {len(entries)} of the book"
    named = {_squeezed(title) for title in titles(pdf.outline)}
    yield from (f"the PDF's outline lacks {one.title}" for one in entries if _squeezed(one.title) not in named)
    there = Counter(map(_squeezed, pictures(pdf)))
    for slug, told in figures.items():
        yield from (f"the PDF lacks a figure of {slug}: {one[:80]}" for one in told if not _take(there, _squeezed(one)))


def _take(there: Counter[str], one: str) -> bool:
    there[one] -= 1
    return there[one] >= 0


def _squeezed(text: str) -> str:
    """Without spaces, some of which get lost where a PDF's line ends."""
    return re.sub(r"\s", "", text)


def figures_of(book: Path, entries: Sequence[Entry]) -> dict[str, list[str]]:
    """What is said of each figure of the built pages, by the page's slug."""
    texts = {one.slug: (book / one.address).read_text(encoding="utf-8") for one in entries}
    return {
        slug: [html.unescape(told) for told in re.findall(r'class="xaicl-plot"[^>]*aria-label="([^"]*)"', text)]
        for slug, text in texts.items()
    }


def titles(outline: Sequence[Any]) -> Iterator[str]:
    """The titles of a PDF's outline."""
    for one in outline:
        yield from titles(one) if isinstance(one, list) else [one.title]


def pictures(pdf: PdfReader) -> Iterator[str]:
    """What is said of each figure that says something, for readers who cannot see it."""
    waiting = [pdf.root_object.get("/StructTreeRoot")]
    while waiting:
        one = waiting.pop()
        one = one.get_object() if hasattr(one, "get_object") else one
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            if one.get("/S") == "/Figure" and "/Alt" in one:
                yield one["/Alt"]
            waiting.append(one.get("/K"))


def check_epub(path: Path) -> Iterator[str]:
    """What is wrong with an ePub: texts that are no XML, files that are named and not there or there and not named, links to nowhere."""
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
        first = file.infolist()[0]
        if first.filename != "mimetype" or first.compress_type != zipfile.ZIP_STORED or file.read("mimetype") != b"application/epub+zip":
            yield "the first file is not an uncompressed mimetype"
        texts = {name: file.read(name) for name in names if name.endswith((".xhtml", ".opf", ".svg", ".xml"))}
    roots: dict[str, Element] = {}
    for name, data in texts.items():
        try:
            roots[name] = ElementTree.fromstring(data)
        except ElementTree.ParseError as error:
            yield f"{name} is no XML: {error}"
    listed = {f"book/{one.get('href')}" for one in roots["book/package.opf"].iter("{http://www.idpf.org/2007/opf}item")}
    there = {name for name in names if name.startswith("book/") and name != "book/package.opf"}
    yield from (f"{name} is named and not there" for name in sorted(listed - there))
    yield from (f"{name} is there and not named" for name in sorted(there - listed))
    yield from _astray({name.removeprefix("book/"): root for name, root in roots.items() if name.endswith(".xhtml")}, there)


def _astray(pages: Mapping[str, Element], there: set[str]) -> Iterator[str]:
    """Links and pictures of pages that lead to nothing in the file."""
    ids = {name: {element.get("id") for element in root.iter()} for name, root in pages.items()}
    for name, root in pages.items():
        for element in root.iter():
            target = element.get("href") or element.get("src") or ""
            address, _, fragment = target.partition("#")
            if re.match(r"[a-z]+:", target) or not target:
                continue
            if (address and f"book/{address}" not in there) or (fragment and fragment not in ids.get(address or name, {fragment})):
                yield f"{name} leads to {target}, which is not there"


def check_pictures(path: Path, figures: Mapping[str, list[str]]) -> Iterator[str]:
    """Figures of the pages that the ePub's have not, or not in their order."""
    with zipfile.ZipFile(path) as file:
        for slug, told in figures.items():
            root = ElementTree.fromstring(file.read(f"book/{slug}.xhtml"))
            found = [one.get("alt", "") for one in root.iter("{http://www.w3.org/1999/xhtml}img") if one.get("class") == "xaicl-plot"]
            if [alt for alt in found if alt] != told:
                yield f"the ePub's {slug} has other figures than the page: {len(found)} pictures of {len(told)} figures"


def check_states(path: Path, book: Path, entries: Sequence[Entry]) -> Iterator[str]:
    """Figures of several states of which the ePub does not say which it shows, and questions about pictures without them."""
    with zipfile.ZipFile(path) as file:
        for one in entries:
            page, text = (book / one.address).read_text(encoding="utf-8"), file.read(f"book/{one.slug}.xhtml").decode()
            held = [json.loads(found) for found in re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)]
            wanted = {
                'class="xaicl-state"': sum(map(states, held)),
                'class="xaicl-photos"': sum(question.get("kind") in ("place", "control") for question in held),
            }
            yield from (f"the ePub's {one.slug} has {text.count(k)} of {n} {k}" for k, n in wanted.items() if text.count(k) != n)


def states(figure: Mapping[str, Any]) -> int:
    """Menus and sliders of a figure by which a page shows more of it; how far maps cover photos is no more.

    >>> menus = [{"buttons": [{}, {}]}, {"buttons": [{}]}]
    >>> states({"layout": {"updatemenus": menus, "sliders": [{"steps": [{"args": [{"opacity": 1}]}] * 2}]}})
    1
    """
    layout = figure.get("layout", {})
    menus = [menu["buttons"] for menu in layout.get("updatemenus", ())]
    rails = [slider["steps"] for slider in layout.get("sliders", ())]
    rails = [steps for steps in rails if any(list(step["args"][0]) != ["opacity"] for step in steps)]
    return sum(len(all_) > 1 for all_ in menus + rails)


def main() -> int:
    book, folder = (Path(given) for given in [*sys.argv[1:], ROOT / "_build" / "html", ROOT / "_build" / "editions"][:2])
    entries = contents(book)
    figures = figures_of(book, entries)
    files = [folder / "xaicl.pdf", folder / "xaicl.epub"]
    if lacking := [path.name for path in files if not path.is_file()]:
        sys.exit(f"expected {', '.join(lacking)} in {folder}, found none; `make editions` makes them")
    pdf = PdfReader(files[0])
    problems = [f"{path.name} has {path.stat().st_size / 1e6:.0f} MB" for path in files if path.stat().st_size > HEAVIEST]
    problems += [*check_pdf(pdf, entries, figures), *check_epub(files[1]), *check_pictures(files[1], figures)]
    problems += check_states(files[1], book, entries)
    told = f"{len(entries)} pages and {sum(map(len, figures.values()))} figures of the book"
    print("\n".join(problems) if problems else f"ok: {told} in {len(pdf.pages)} pages of PDF and in the ePub")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
