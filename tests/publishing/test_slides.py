"""The deck: slides, notes, formulas and figures from Markdown."""

from xaicl_lib.publishing.slides import deck

TEXT = """# Why <these>?

A line that is long enough to be the description of it all.

Notes:
Say **hello**.
---
## A figure & a formula

<!-- figure 01_a c-2 -->

$a < b$ and

$$ |x| $$
---
no heading here
"""


def test_a_deck_has_its_slides_notes_figures_and_formulas():
    page = deck(TEXT, lambda name, cell: f"<figure>{name} {cell}</figure>", "version <1>")
    assert page.count('<section id="s') == 3
    assert "1 / 3" in page
    assert "<title>Why &lt;these&gt;?</title>" in page
    assert 'content="A line that is long enough' in page
    assert '<section id="s1" class="slide title"' in page
    assert '<aside class="notes" aria-label="Notes"><p>Say <strong>hello</strong>.</p>' in page
    assert "Notes:" not in page
    assert "<figure>01_a c-2</figure>" in page
    assert r'<span class="math">\(a &lt; b\)</span>' in page
    assert r"\[" in page
    assert "|x|" in page
    assert 'aria-label="A figure &amp; a formula"' in page
    assert 'aria-label="Slide 3"' in page
    assert "version &lt;1&gt;" in page
    assert page.count('class="notes"') == 1
