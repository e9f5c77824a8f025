"""What the extension does to pages: the first use of a term becomes a link, descriptions are cut at words."""

from types import SimpleNamespace

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from sphinx import addnodes
from sphinx.ext.napoleon import Config, GoogleDocstring

from xaicl_lib.publishing.extension import ENOUGH, _citation, _description, _glossary_terms, _link_terms, _readable, _untyped
from xaicl_lib.publishing.run import ROOT


def linked(text, page="notebooks/x", terms=("pair", "feature map", "map", "loss")):
    doctree = publish_doctree(text)
    _link_terms(SimpleNamespace(env=SimpleNamespace(docname=page, xaicl_terms={t: t for t in terms})), doctree)
    return doctree, [(x["reftarget"], x.astext()) for x in doctree.findall(addnodes.pending_xref)]


def test_the_first_use_of_each_term_is_linked_with_its_plural():
    doctree, found = linked("Pairs of a pair. *Feature maps* and maps, losses.\n\n* a map in a list")
    assert found == [("pair", "Pairs"), ("feature map", "Feature maps"), ("map", "maps"), ("loss", "losses")]
    assert doctree.astext() == publish_doctree("Pairs of a pair. *Feature maps* and maps, losses.\n\n* a map in a list").astext()


@pytest.mark.parametrize(
    "text",
    [
        "Pair\n====\n\nTitle alone, and nothing else in this text",
        "``pair`` in code, and `pair <https://example.org>`_ in a link",
        "repairs, paired, pair-wise, a-pair, mapping",
        "::\n\n   pair",
        "The loss-free method Barlow Pairs has a name",
    ],
)
def test_titles_code_links_and_other_words_are_left_alone(text):
    assert linked(text)[1] == []


@pytest.mark.parametrize("page", ["book/glossary", "book/reference/methods", "book/references"])
def test_pages_of_reference_are_left_alone(page):
    assert linked("a pair", page)[1] == []


def test_the_books_own_glossary_is_read():
    terms = _glossary_terms((ROOT / "book" / "glossary.md").read_text())
    assert {"pair", "Grad-CAM", "feature map", "fill"} <= set(terms)
    assert len(terms) == len({term.lower() for term in terms}) >= 30


def test_a_description_is_the_first_paragraph_that_says_something():
    assert _description(publish_doctree("T\n=\n\nShort.\n\n" + "word " * 60)).startswith("word word")
    said = _description(publish_doctree("word " * 60))
    assert len(said) <= ENOUGH + 2
    assert said.endswith("word …")
    assert _description(publish_doctree("Short.")) == ""
    assert isinstance(publish_doctree("x"), nodes.document)


def test_docstrings_with_bars_and_stars_can_be_read():
    lines = [":ivar f: (model, *, x) of |z|", ">>> a | b", "**Example**", "(x, **kwargs)"]
    _readable(None, "function", "f", None, None, lines)
    assert lines == [r":ivar f: (model, \*, x) of \|z\|", ">>> a | b", "**Example**", r"(x, \*\*kwargs)"]


@pytest.mark.parametrize("what", ["attribute", "property"])
def test_what_stands_before_a_colon_is_no_type(what):
    lines = ["A row for each pair: its value.", "", "Raises:", "    InputError: none."]
    _untyped(None, what, "table", None, None, lines)
    made = "\n".join(GoogleDocstring(lines, Config(), what=what, name="table").lines())
    assert made.startswith("A row for each pair: its value.")
    assert ":raises InputError: none." in made
    assert ":type:" not in made


def test_a_page_says_how_to_cite_it(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    config = SimpleNamespace(author="A & B", html_title="The book", html_baseurl="https://example.org/x/")
    text = _citation("notebooks/01_a", "Q &amp; <em>A</em>_1", config)
    assert "<pre>@incollection{xaicl-01_a,\n  title = {Q \\&amp; A\\_1},\n  author = {{A &amp; B}},\n" in text
    assert '<span class="xaicl-url">\n  url = {https://example.org/x/notebooks/01_a.html},</span>\n}</pre>' in text
    assert '<span class="xaicl-url"></span>' in _citation("a", "T", SimpleNamespace(author="A", html_title="B", html_baseurl=""))
