"""A book as an ePub 3: one XHTML file a page, a list of contents, the pictures, a style sheet."""

import copy
import html
import re
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from xaicl_lib.publishing.whole import TEX, Entry

KINDS = {"svg": "image/svg+xml", "jpg": "image/jpeg", "png": "image/png", "gif": "image/gif", "webp": "image/webp"}
_CONTAINER = """<?xml version="1.0" encoding="UTF-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="book/package.opf" media-type="application/oebps-package+xml"/></rootfiles>
</container>
"""
_FILE = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="en" xml:lang="en">
<head><meta charset="utf-8"/><title>{title}</title><link rel="stylesheet" href="whole.css"/></head>
<body>{body}</body>
</html>
"""
_PACKAGE = """<?xml version="1.0" encoding="UTF-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="en">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">urn:uuid:{name}</dc:identifier>
<dc:title>{title}</dc:title><dc:creator>{author}</dc:creator><dc:language>en</dc:language><dc:description>{lead}</dc:description>
<meta property="dcterms:modified">{date}T00:00:00Z</meta>
<meta property="schema:accessMode">textual</meta><meta property="schema:accessMode">visual</meta>
<meta property="schema:accessibilityFeature">alternativeText</meta><meta property="schema:accessibilityFeature">MathML</meta>
<meta property="schema:accessibilityFeature">tableOfContents</meta><meta property="schema:accessibilityHazard">none</meta>
</metadata>
<manifest>
{manifest}
</manifest>
<spine>
{spine}
</spine>
</package>
"""


def write_epub(
    target: Path, facts: Mapping[str, str], entries: Sequence[Entry], articles: Mapping[str, Element], pictures: Path, style: str
) -> None:
    """Write pages in their order, their linked articles by slug, and those files of the folder `pictures` that they name."""
    pages = {f"{entry.slug}.xhtml": _page(entry, articles[entry.slug]) for entry in entries}
    texts = {"title.xhtml": _title(facts), "nav.xhtml": _nav(facts, entries), **pages}
    shown = list(dict.fromkeys(one.get("src", "") for entry in entries for one in articles[entry.slug].iter("img")))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo("mimetype"), "application/epub+zip")  # the first, and not compressed, by which readers know it
        file.writestr("META-INF/container.xml", _CONTAINER)
        file.writestr("book/package.opf", _package(facts, texts, shown))
        file.writestr("book/whole.css", style.split("@media print")[0])
        for name, text in texts.items():
            file.writestr(f"book/{name}", text)
        for name in shown:
            file.write(pictures / name, f"book/{name}")


def _page(entry: Entry, root: Element) -> str:
    part = f'<p class="part">{html.escape(entry.part)}</p>' if entry.part else ""
    return _FILE.format(title=html.escape(entry.title), body=part + ElementTree.tostring(_with_mathml(root), encoding="unicode"))


def _with_mathml(root: Element) -> Element:
    """A copy whose formulas are MathML alone."""
    made = copy.deepcopy(root)
    for element in made.iter():
        element.attrib.pop(TEX, None)
    return made


def _title(facts: Mapping[str, str]) -> str:
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in (facts["lead"], facts["author"], facts["stamp"]))
    return _FILE.format(
        title=html.escape(facts["title"]), body=f'<section class="title-page"><h1>{html.escape(facts["title"])}</h1>{lines}</section>'
    )


def _nav(facts: Mapping[str, str], entries: Sequence[Entry]) -> str:
    """The contents as a nested list: parts, pages, pages below others."""
    return _FILE.format(title="Contents", body=f'<nav epub:type="toc" id="toc"><h1>Contents</h1>{_list(_nested(entries))}</nav>')


Node = tuple[str, str, list["Node"]]  # a link's text, what it leads to, and what is below it


def _nested(entries: Sequence[Entry]) -> list[Node]:
    made: list[Node] = []
    within = made
    for entry in entries:
        address = f"{entry.slug}.xhtml"
        if entry.part:
            made.append((entry.part, address, within := []))
        (within[-1][2] if entry.depth else within).append((entry.title, address, []))
    return made


def _list(nodes: Sequence[Node]) -> str:
    lines = (f'<li><a href="{at}">{html.escape(text)}</a>{_list(below) if below else ""}</li>' for text, at, below in nodes)
    return f"<ol>{''.join(lines)}</ol>"


def _package(facts: Mapping[str, str], texts: Mapping[str, str], pictures: Sequence[str]) -> str:
    date = re.search(r"\d{4}-\d\d-\d\d", facts["stamp"])
    names = {name: f"f{number}" for number, name in enumerate([*texts, *pictures])}
    items = [_item(names[name], name, "application/xhtml+xml", _properties(name, text)) for name, text in texts.items()]
    items += [_item(names[name], name, KINDS[name.rpartition(".")[2]], "") for name in pictures]
    return _PACKAGE.format(
        name=uuid.uuid5(uuid.NAMESPACE_URL, f"{facts['title']} {facts['stamp']}"),
        date=date[0] if date else "1970-01-01",
        manifest="\n".join([*items, _item("style", "whole.css", "text/css", "")]),
        spine="\n".join(f'<itemref idref="{names[name]}"/>' for name in texts),
        **{key: html.escape(value) for key, value in facts.items() if key != "stamp"},
    )


def _properties(name: str, text: str) -> str:
    return "nav" if name == "nav.xhtml" else "mathml" if "<math" in text else ""


def _item(key: str, name: str, kind: str, properties: str) -> str:
    told = f' properties="{properties}"' if properties else ""
    return f'<item id="{key}" href="{name}" media-type="{kind}"{told}/>'
