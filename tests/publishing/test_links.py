"""Broken links, anchors and pictures in built pages are found, and so are pages without their basics."""

import pytest

from xaicl_lib.errors import NotebookError
from xaicl_lib.publishing.links import _check_basics, _check_links, check_site

GOOD = """<html lang="en"><head><title>A page</title><meta name="description" content="What it is about">
<link rel="stylesheet" href="_static/a.css"></head>
<body id="body"><h1 id="top-of-it">A page</h1><img src="_static/p.png" alt="a cat">
<div class="xaicl-plot" aria-label="a line"></div>
<a href="sub/b.html#there">b</a> <a href="#a=cat&amp;b=dog">what a script reads</a> <a href="#top-of-it">up</a> <a href="#">top</a> <a href="https://example.org/x">elsewhere</a>
<a href="mailto:a@b.c">m</a>
</body></html>"""


@pytest.fixture
def book(tmp_path):
    (tmp_path / "_static").mkdir()
    (tmp_path / "sub").mkdir()
    for name in ("a.css", "p.png"):
        (tmp_path / "_static" / name).write_text("")
    (tmp_path / "index.html").write_text(GOOD)
    other = GOOD.replace("sub/b.html#there", "../index.html").replace('"_static', '"../_static').replace("</h1>", '</h1><p id="there">')
    (tmp_path / "sub" / "b.html").write_text(other)
    return tmp_path


def test_a_book_that_is_whole(book):
    assert _check_links(book) == []
    assert _check_basics(book) == []
    check_site(book)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("sub/b.html#there", "sub/c.html", "index.html: sub/c.html"),
        ("sub/b.html#there", "sub/b.html#nowhere", "index.html: sub/b.html#nowhere"),
        ("#top-of-it", "#gone", "index.html: #gone"),
        ("_static/p.png", "_static/q.png", "index.html: _static/q.png"),
        ("_static/a.css", "_static/b.css", "index.html: _static/b.css"),
        ("sub/b.html#there", "/sub/b.html", "index.html: /sub/b.html"),  # not below a sub-path
        ("sub/b.html#there", "../outside.html", "index.html: ../outside.html"),
    ],
)
def test_what_leads_nowhere_is_named(book, old, new, found):
    (book.parent / "outside.html").write_text(GOOD)
    (book / "index.html").write_text(GOOD.replace(old, new, 1))
    assert found in _check_links(book)
    with pytest.raises(NotebookError, match=r"broken link in index\.html"):
        check_site(book)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (' lang="en"', "", "index.html: no language"),
        ("<title>A page</title>", "<title> </title>", "index.html: no title"),
        ('<meta name="description" content="What it is about">', "", "index.html: no description"),
        ("h1", "h2", "index.html: no heading"),
        (' alt="a cat"', "", "index.html: without a description: picture _static/p.png"),
        ('aria-label="a line"', 'aria-label=" "', "index.html: without a description: figure"),
        ("</body>", "x" * 2_000_001, "index.html: 2.0 MB, more than 2 MB"),
    ],
)
def test_what_a_page_lacks_is_named(book, old, new, found):
    (book / "index.html").write_text(GOOD.replace(old, new))
    assert _check_basics(book) == [found]


def test_a_redirect_needs_no_basics_but_leads_somewhere(book):
    (book / "index.html").write_text('<meta http-equiv="Refresh" content="0; url=sub/b.html" />')
    assert _check_basics(book) == []
    assert _check_links(book) == []
    (book / "index.html").write_text('<meta http-equiv="Refresh" content="0; url=sub/x.html" />')
    assert _check_links(book) == ["index.html: sub/x.html"]


def test_static_files_are_no_pages(book):
    (book / "_static" / "odd.html").write_text("<a href='nowhere'>")
    assert _check_links(book) == []
    assert _check_basics(book) == []
