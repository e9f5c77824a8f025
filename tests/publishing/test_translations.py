"""The book in other languages: catalogues fit the book and keep what must be kept, and their pages find their place in it."""

import re
import shutil

import pytest
import yaml
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import write_po

from tests.publishing.catalogues import COMMAND, COMPLETE, ROOT, catalogues, changed, kept, messages, path_of, read, state
from xaicl_lib.errors import InputError, NotebookError
from xaicl_lib.publishing import translations
from xaicl_lib.publishing.links import _check_links
from xaicl_lib.publishing.translations import BUTTONS, _build, _joined, _languages, _placed, _tagged, add_translations

ALL = catalogues()
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of Jupyter Book's parts


@pytest.fixture(scope="module")
def there():
    return messages(sorted({page for _, page in ALL}))


# The catalogues


@pytest.mark.parametrize(("language", "page"), ALL)
def test_a_catalogue_that_calls_itself_complete_has_no_gaps(language, page, there):
    catalogue = read(language, page)
    counts = state(catalogue, there[page])
    said = f"{path_of(language, page).relative_to(ROOT)}: {', '.join(f'{count} {what}' for what, count in counts.items())}"
    print(said)
    if COMPLETE in catalogue.header_comment and any(counts.values()):
        pytest.fail(f"{said}. `{COMMAND} {language}` brings it up to date; then translate what is empty or fuzzy", pytrace=False)


@pytest.mark.parametrize(("language", "page"), ALL)
def test_a_translation_keeps_numbers_formulas_roles_links_and_code(language, page):
    found = {str(one.id)[:60]: changed(one) for one in read(language, page) if one.id and one.string}
    assert {text: said for text, said in found.items() if said} == {}


def test_german_has_the_first_three_pages_and_chapter_1():
    first = [entry["file"] for part in yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"] for entry in part["chapters"]][:2]
    assert {page for language, page in ALL if language == "de"} >= {"book/intro", *first, "notebooks/01_methods"}


@pytest.mark.parametrize(
    ("translated", "said"),
    [
        ("Seite 0.9: {cite:p}`he2016deep`, [hier](a.md), `x`, $z_a$", ""),
        ("Seite 0,9: {cite:p}`he2016deep`, [hier](a.md), `x`, $z_a$", "lacks 0.9; has besides 0, 9"),
        ("Seite 0.9: {cite:t}`he2016deep`, [hier](a.md), `x`, $z_a$", "lacks {cite:p}`he2016deep`; has besides {cite:t}`he2016deep`"),
        ("Seite 0.9: {cite:p}`he2016deep`, [hier](b.md), `x`, $z_a$", "lacks a.md; has besides b.md"),
        ("Seite 0.9: {cite:p}`he2016deep`, [hier](a.md), `x`, $z_b$", "lacks $z_a$; has besides $z_b$"),
        ("Seite 0.9: {cite:p}`he2016deep`, [hier](a.md), `x`, $z_a$, `x`", "has besides `x`"),
    ],
)
def test_what_a_translation_loses_or_adds_is_said(translated, said):
    assert changed(Message("Page 0.9: {cite:p}`he2016deep`, [here](a.md), `x`, $z_a$", translated)) == said


def test_numbers_in_words_names_and_signs():
    assert kept("-1, 12 by 12, s2, v0.2, 100 %, 3.11 to 3.13") == {"-1": 1, "12": 2, "100": 1, "3.11": 1, "3.13": 1}


def test_gaps_are_counted():
    book, catalogue = Catalog(), Catalog()
    for text in ("kept", "new", "empty", "changed"):
        book.add(text)
    catalogue.add("kept", "behalten")
    catalogue.add("empty", "")
    catalogue.add("changed", "verändert", flags={"fuzzy"})
    catalogue.add("gone", "weg")
    assert state(catalogue, book) == {"untranslated": 2, "fuzzy": 1, "obsolete": 1}


# A small book

PAGE = "# Title\n\nOne of 2 pages, [the other](other.md), is short.\n\nIt is old.\n\nNew."


@pytest.fixture
def book(tmp_path, monkeypatch):
    """Sources of a book of two pages, the first in German but for a paragraph that changed and one that is new; and its pages."""
    source, html = tmp_path / "src", tmp_path / "html"
    (source / "book" / "_static").mkdir(parents=True)
    (source / "book" / "intro.md").write_text(PAGE)
    (source / "book" / "other.md").write_text("# The other\n\nWith what is not needed: [nowhere](nowhere.md).")
    for name in ("references.bib", "_static/logo.svg", "_static/favicon.svg"):
        shutil.copy(ROOT / "book" / name, source / "book" / name)
    toc = {"format": "jb-book", "root": "book/intro", "parts": [{"caption": "Part", "chapters": [{"file": "book/other"}]}]}
    (source / "_toc.yml").write_text(yaml.safe_dump(toc))
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    config["title"] = "Title (student's edition)"
    (source / "_config.yml").write_text(yaml.safe_dump(config))
    catalogue = Catalog(locale="de")
    catalogue.add("Title", "Titel")
    catalogue.add("Part", "Teil")
    catalogue.add("One of 2 pages, [the other](other.md), is short.", "Eine von 2 Seiten, [die andere](other.md), ist kurz.")
    catalogue.add("It is old.", "Es ist neu.", flags={"fuzzy"})
    write_catalogue(source, catalogue)
    (html / "book").mkdir(parents=True)
    for name in ("intro", "other"):
        (html / "book" / f"{name}.html").write_text(f'<html lang="en"><head></head><body>{BUTTONS}</div></body></html>')
    (html / "index.html").write_text('<meta http-equiv="Refresh" content="0; url=book/intro.html" />')
    monkeypatch.setattr("sphinx.locale.translators", {})  # else what it read of another catalogue in this process would stay
    monkeypatch.setattr(translations, "guarded", lambda told, _: (_build(told[1], told[2], told[3:]), "WARNING: said above"))
    return source, html


def write_catalogue(source, catalogue, language="de", page="book/intro"):
    path = path_of(language, page, source)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, catalogue)


def test_a_page_is_translated_and_what_its_catalogue_lacks_stays_english(book, tmp_path):
    source, html = book
    add_translations(source, html, tmp_path / "work")
    text = (html / "de" / "book" / "intro.html").read_text()
    assert '<html lang="de" data-content_root="../../"' in text
    assert "<title>Titel &#8212; Titel (student&#39;s edition)</title>" in text
    assert re.search(r'<span class="caption-text">Teil</span>', text)
    assert re.search(r'<p>Eine von 2 Seiten, <a [^>]*href="\.\./\.\./book/other\.html"[^>]* hreflang="en">.*die andere', text)
    assert '<p lang="en">It is old.</p>' in text
    assert '<p lang="en">New.</p>' in text
    assert 'name="description" content="Eine von 2 Seiten, die andere' in text
    assert not (html / "de" / "book" / "other.html").exists()
    assert not (tmp_path / "work").exists()
    assert [line for line in _check_links(html) if re.search(r": \S*(intro|other)\.html", line)] == []


def test_a_translation_that_loses_a_link_fails_the_build(book, tmp_path, capfd):
    source, html = book
    catalogue = Catalog(locale="de")
    catalogue.add("One of 2 pages, [the other](other.md), is short.", "Eine von 2 Seiten.")
    write_catalogue(source, catalogue)
    with pytest.raises(NotebookError, match="Deutsch could not be built"):
        add_translations(source, html, tmp_path / "work")
    assert "inconsistent term references" in capfd.readouterr().err


def test_a_book_without_catalogues_stays_as_it_is(book, tmp_path):
    source, html = book
    shutil.rmtree(source / "book" / "locale")
    before = (html / "book" / "intro.html").read_text()
    add_translations(source, html, tmp_path / "work")
    assert (html / "book" / "intro.html").read_text() == before


@pytest.mark.parametrize(
    ("language", "page", "said"), [("xx", "book/intro", "languages such as de, got 'xx'"), ("de", "book/x", "got 'book/x'")]
)
def test_catalogues_of_no_language_or_no_page_are_refused(book, language, page, said):
    source, _ = book
    write_catalogue(source, Catalog(), language, page)
    with pytest.raises(InputError, match=re.escape(said)):
        _languages(source)


# Places in the book


@pytest.mark.parametrize(
    ("there", "want"),
    [
        ('<a class="x" href="lab.html#place">', '<a class="x" href="lab.html#place">'),
        ('<a href="reading.html#x">', '<a href="../../book/reading.html#x" hreflang="en">'),
        ('<a href="../notebooks/01_methods.html">', '<a href="../notebooks/01_methods.html">'),
        ('<a href="../notebooks/02_metrics.html">', '<a href="../../notebooks/02_metrics.html" hreflang="en">'),
        ('<a href="../_sources/book/intro.md">', '<a href="../../_sources/book/intro.md">'),
        ('<a href="#here"><a href="https://example.org/a.html">', '<a href="#here"><a href="https://example.org/a.html">'),
        ('<form action="../search.html">', '<form action="../../search.html">'),
        ('<link href="../_static/xaicl.css">', '<link href="../../_static/xaicl.css?v=1">'),
        ('<link href="../_static/theme.css?digest=2">', '<link href="../../_static/theme.css?digest=2">'),
        ('<script src="../_static/translations.js?v=3">', '<script src="../_static/translations.js?v=3">'),
        ('import { mount } from "../_static/lab/page/lab.js";', 'import { mount } from "../../_static/lab/page/lab.js";'),
        ('<html lang="de" data-content_root="../">', '<html lang="de" data-content_root="../../">'),
        ('<div class="xaicl-quiz">', '<div lang="en" class="xaicl-quiz">'),
        ('<p class="untranslated">', '<p lang="en">'),
        ('<div class="xaicl-lead untranslated">', '<div lang="en" class="xaicl-lead ">'),
        ('<div class="untranslated math notranslate">', '<div class="math notranslate">'),
        ('<li class="toctree-l1"><a href="faq.html">', '<li class="toctree-l1"><a href="../../book/faq.html" hreflang="en" lang="en">'),
    ],
)
def test_links_of_a_translated_page(there, want):
    pages = ["book/intro", "book/lab", "notebooks/01_methods"]
    assert _tagged(_placed(there, '<link href="../_static/xaicl.css?v=1">', "book/intro", "de", pages)) == want


def test_links_between_languages():
    page = f"<head></head>{BUTTONS}"
    english = _joined(page, "book/intro", "", ["", "de/", "fr/"], "")
    german = _joined(page, "book/intro", "de/", ["", "de/", "fr/"], "")
    assert re.findall(r'<a [^>]*href="(\S+)" hreflang="(\w+)" lang="\2">(\w+)', english) == [
        ("../de/book/intro.html", "de", "Deutsch"),
        ("../fr/book/intro.html", "fr", "Français"),
    ]
    assert re.findall(r'<a [^>]*href="(\S+)"[^>]*>(\w+)', german) == [
        ("../../book/intro.html", "English"),
        ("../../fr/book/intro.html", "Français"),
    ]
    told = {
        language: re.findall(r'<link rel="alternate" hreflang="(\w+)" href="(\S+)" />', text)
        for language, text in (("en", english), ("de", german))
    }
    assert told["en"] == [("en", "intro.html"), ("de", "../de/book/intro.html"), ("fr", "../fr/book/intro.html")]
    assert told["de"] == [("en", "../../book/intro.html"), ("de", "intro.html"), ("fr", "../../fr/book/intro.html")]
    assert 'hreflang="de" href="https://example.org/x/de/book/intro.html"' in _joined(
        page, "book/intro", "", ["", "de/"], "https://example.org/x/"
    )
