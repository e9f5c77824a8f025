"""What a PDF that Chromium printed says of itself: its pages and the places that are linked to."""

import re

_NUMBER = rb"(\d+) 0 R"


def page_numbers(pdf: bytes) -> dict[str, int]:
    """For every place in a PDF that a link leads to, by its id: its page, counted from 1."""
    pages = {page: number for number, page in enumerate(_pages(pdf), start=1)}
    places = _object(pdf, _named(pdf, b"Dests"))
    return {_name(name): pages[int(page)] for name, page in re.findall(rb"/([^\s/\[]+) \[" + _NUMBER, places)}


def _pages(pdf: bytes) -> list[int]:
    """The numbers of the pages' objects, in order."""
    nodes = {int(number): kids for number, kids in re.findall(rb"\n(\d+) 0 obj\n<</Type /Pages\n.*?/Kids \[(.*?)\]", pdf, re.DOTALL)}

    def below(node: int) -> list[int]:
        return [page for kid in re.findall(_NUMBER, nodes[node]) for page in below(int(kid))] if node in nodes else [node]

    return below(_named(pdf, b"Pages"))


def _named(pdf: bytes, what: bytes) -> int:
    """The number of an object that the catalogue names; -1 if it names none."""
    catalogue = pdf[pdf.rindex(b"/Type /Catalog") :]
    found = re.search(rb"/" + what + rb" " + _NUMBER, catalogue)
    return int(found[1]) if found else -1


def _object(pdf: bytes, number: int) -> bytes:
    start = pdf.find(b"\n%d 0 obj\n" % number)
    return pdf[start : pdf.index(b"endobj", start)] if start >= 0 else b""


def _name(text: bytes) -> str:
    """A name, in which some characters are written by number.

    >>> _name(b"a#20b")
    'a b'
    """
    return re.sub(rb"#([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), text).decode("utf-8", "replace")
