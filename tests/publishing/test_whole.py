"""The book as one document: its order, ids, links, answers; as an ePub, and what its PDF says of itself."""

import html
import json
import re
import zipfile
from xml.etree import ElementTree

import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, NullObject, NumberObject, TextStringObject

from tests.check_editions import check_epub, check_pdf, check_pictures, figures_of, pictures, titles
from xaicl_lib.errors import InputError
from xaicl_lib.publishing.epub import write_epub
from xaicl_lib.publishing.printing import _document, _page_numbers, _within
from xaicl_lib.publishing.whole import Entry, article, contents, facts, link

FIRST = """<html><nav class="bd-docs-nav"><ul><li class="toctree-l1"><a href="#"> The
book </a></li></ul><p><span class="caption-text">Part A</span></p>
<ul><li class="toctree-l1"><a href="../notebooks/01_a.html">One &amp; all</a>
<ul><li class="toctree-l2"><a href="reference/x.html">X</a></li></ul></li>
</ul></nav><nav><li class="toctree-l1"><a href="no.html">No</a></li></nav>
<article><h1>The <em>book</em><a class="headerlink">#</a></h1><div class="xaicl-lead docutils"><p>Why?</p></div></article>
<p class="component-author">By A &amp; B</p><p class="xaicl-stamp">v 1, built 2026-01-02</p></html>"""
PAGES = {
    "book/intro.html": '<article xmlns="http://www.w3.org/1999/xhtml"><section id="a"><h1>The book</h1>'
    '<p><a href="../notebooks/01_a.html#s">to s</a> <a href="../slides/index.html">slides</a> <a href="https://x.org/#a">x</a></p></section></article>',
    "notebooks/01_a.html": '<article xmlns="http://www.w3.org/1999/xhtml"><section id="s"><h1>One</h1><h2>Two</h2>'
    "<p><strong>3. Write it.</strong> Now.</p><details><summary>Solution</summary><p>forty-two</p></details> after"
    "<details><summary>The recipe</summary><p>stir</p></details>"
    '<img class="xaicl-plot" src="1.svg" alt="a &lt; b"/><img class="xaicl-plot" src="2.svg" alt=""/>'
    '<dl><dd role="presentation">x: int</dd></dl><p id="s">twice\x1b</p>'
    '<p><span class="xaicl-inline" data-tex="z_a"><math xmlns="http://www.w3.org/1998/Math/MathML"><mi>z</mi></math></span>, '
    '<a href="#nowhere">n</a></p></section></article>',
    "book/reference/x.html": '<article xmlns="http://www.w3.org/1999/xhtml"><h1>X</h1></article>',
}


@pytest.fixture
def book(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "intro.html").write_text(FIRST)
    return tmp_path


@pytest.fixture
def entries(book):
    return contents(book)


@pytest.fixture
def articles(entries):
    names = {"1.svg": "01_a-1.svg", "2.svg": "01_a-2.svg"}
    made = {one.slug: article(PAGES[one.address], one, names) for one in entries}
    link(made, entries)
    return made


def test_the_contents_are_read_from_the_built_first_page(book, entries, tmp_path):
    assert entries == [
        Entry("book/intro.html", "The book"),
        Entry("notebooks/01_a.html", "One & all", "Part A"),
        Entry("book/reference/x.html", "X", depth=1),
    ]
    assert [one.slug for one in entries] == ["intro", "01_a", "reference-x"]
    assert facts(FIRST) == {"title": "The book", "author": "A & B", "stamp": "v 1, built 2026-01-02", "lead": "Why?"}
    with pytest.raises(InputError, match="make book"):
        contents(tmp_path / "nothing")


def test_ids_links_and_headings_are_those_of_one_document(articles):
    first, one = (ElementTree.tostring(articles[slug], encoding="unicode") for slug in ("intro", "01_a"))
    assert '<a href="01_a.xhtml#01_a--s">to s</a> <span>slides</span> <a href="https://x.org/#a">x</a>' in first
    assert one.count('id="01_a--s"') == 1  # though the page has it twice
    assert '<a href="01_a.xhtml#01_a">n</a>' in one  # an id that is not there: the page
    assert "<h2>One</h2><h3>Two</h3>" in one
    assert "<h3>X</h3>" in ElementTree.tostring(articles["reference-x"], encoding="unicode")
    assert '<div class="xaicl-line"><div class="xaicl-line">x: int</div></div><p>twice</p>' in one


def test_answers_stand_at_the_end_and_other_folds_are_open(articles):
    one = ElementTree.tostring(articles["01_a"], encoding="unicode")
    assert "</p> after<div><p" in one
    assert '<p class="xaicl-folded">The recipe</p><p>stir</p></div>' in one
    assert re.search(r'id="01_a--answers".*<h3>Answers</h3>.*Solution to exercise 3</p><p>forty-two</p></div></section></article>$', one)


def test_a_figure_of_several_states_says_which_is_shown() -> None:
    offered = [{"shown": "<b>CD</b>", "others": ["CI &amp; SI"]}, {"shown": "level 9", "others": [*map(str, range(9))]}]
    told = html.escape(json.dumps(offered))
    text = f'<article><figure data-offers="{told}"><img src="1.svg"/></figure><figure data-offers="[]"/></article>'
    first, second = article(text, Entry("a.html", "A"), {}).iter("figure")
    assert [one.text for one in first.iter("figcaption")] == [
        "Shown: CD. The page has 1 more: CI & SI.",
        "Shown: level 9. The page has 9 more: 0; 1; 2; 3; 4; 5; …; 8.",
    ]
    assert "data-offers" not in first.attrib
    assert len(second) == 0


def test_one_file_has_links_to_places_and_formulas_for_mathjax(entries, articles):
    made = [_within(articles[one.slug]) for one in entries]
    page = _document(facts(FIRST), entries, made, {"01_a": 7})
    assert '<a href="#01_a--s">to s</a>' in page
    assert r'<span class="xaicl-inline">\(z_a\)</span>, ' in page
    assert '<a href="#01_a">One &amp; all<b>7</b></a>' in page
    assert '<h1 class="part">Part A</h1><article id="01_a">' in page
    assert 'content: "One \\26  all"' in page
    assert "data-tex" in ElementTree.tostring(articles["01_a"], encoding="unicode")  # what was given is as before


def test_an_epub_is_whole(tmp_path, entries, articles):
    for name in ("01_a-1.svg", "01_a-2.svg"):
        (tmp_path / name).write_text("<svg/>")
    path = tmp_path / "a.epub"
    write_epub(path, facts(FIRST), entries, articles, tmp_path, "p {} @media print { q {} }")
    assert list(check_epub(path)) == []
    assert list(check_pictures(path, {"01_a": ["a < b"]})) == []
    assert list(check_pictures(path, {"01_a": ["a < b", "c"]})) != []
    with zipfile.ZipFile(path) as file:
        nav, package = (file.read(f"book/{name}").decode() for name in ("nav.xhtml", "package.opf"))
        assert file.read("book/whole.css") == b"p {} "
    assert re.search(
        r'>Part A</a><ol><li><a href="01_a.xhtml">One &amp; all</a><ol><li><a href="reference-x.xhtml">X</a></li></ol></li></ol>', nav
    )
    assert 'href="01_a.xhtml" media-type="application/xhtml+xml" properties="mathml"' in package
    assert "2026-01-02T00:00:00Z" in package
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("book/left.xhtml", '<html><a href="01_a.xhtml#no"/><img src="no.svg"/></html>')
        file.writestr("book/bad.xhtml", "<p>")
    told = "\n".join(check_epub(path))
    for one in ("left.xhtml is there and not named", "leads to 01_a.xhtml#no", "leads to no.svg", "bad.xhtml is no XML"):
        assert one in told


@pytest.fixture
def pdf(tmp_path):
    """A PDF of two pages with a place on each, an outline of two levels, and a figure within a section."""
    writer = PdfWriter()
    for _ in range(2):
        writer.add_blank_page(100, 100)
    above = writer.add_outline_item(title="Äö", page_number=0)
    writer.add_outline_item(title="below", page_number=1, parent=above)
    corner = [NumberObject(0), NumberObject(9)]
    places = DictionaryObject()
    for name, page in zip(("intro", "01 a--s"), writer.pages, strict=True):
        places[NameObject(f"/{name}")] = ArrayObject([page.indirect_reference, NameObject("/XYZ"), *corner, NullObject()])
    writer.root_object[NameObject("/Dests")] = places
    figure = DictionaryObject({NameObject("/S"): NameObject("/Figure"), NameObject("/Alt"): TextStringObject("a < b (c)")})
    section = DictionaryObject(
        {NameObject("/S"): NameObject("/Sect"), NameObject("/K"): ArrayObject([NumberObject(3), writer._add_object(figure)])}
    )
    writer.root_object[NameObject("/StructTreeRoot")] = writer._add_object(
        DictionaryObject({NameObject("/K"): writer._add_object(section)})
    )
    writer.write(tmp_path / "a.pdf")
    return tmp_path / "a.pdf"


def test_a_pdf_says_where_its_places_are_and_what_it_shows(pdf, tmp_path):
    assert _page_numbers(pdf) == {"intro": 1, "01 a--s": 2}
    read = PdfReader(pdf)
    assert list(titles(read.outline)) == ["Äö", "below"]
    assert list(pictures(read)) == ["a < b (c)"]
    told = list(check_pdf(read, [Entry("a.html", "Ä ö"), Entry("b.html", "other")], {"a": ["a < b (c)"], "b": ["a < b (c)", "d"]}))
    few, *told = told
    assert few == "the PDF has 2 pages for 2 of the book"
    assert told == ["the PDF's outline lacks other", "the PDF lacks a figure of b: a < b (c)", "the PDF lacks a figure of b: d"]
    (tmp_path / "a.html").write_text('<div class="xaicl-plot" role="img" aria-label="a &lt; b" style=""></div>')
    assert figures_of(tmp_path, [Entry("a.html", "A")]) == {"a": ["a < b"]}
