"""Showing plotly figures: live in a notebook, and as compact HTML in the book, where one script of its own draws them."""

import html
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a page of text should not wait for plotly
    from plotly.graph_objects import Figure

DEFAULT_HEIGHT = 450  # plotly's own, in pixels


def printed(package: str | None = None) -> bool:
    """Whether a page is made that nobody can ask anything: while the book is built, or without the package that a live form needs."""
    return bool(os.environ.get("XAICL_BOOK")) or (package is not None and find_spec(package) is None)


@dataclass(frozen=True)
class BookFigure:
    """A figure as a page of the book holds it: its JSON and a place to draw it; `xaicl.js` of the book does the rest."""

    figure: "Figure"  # what to draw
    alt: str  # what is to be seen, for readers who cannot see it

    def _repr_html_(self) -> str:
        height = self.figure.layout.height or DEFAULT_HEIGHT
        alt = html.escape(self.alt, quote=True)
        return (
            '<figure class="xaicl-figure" role="group">'
            f'<div class="xaicl-plot" role="img" aria-label="{alt}" style="min-height:{height:g}px"></div>'
            f'<script type="application/json">{_figure_json(self.figure)}</script>'
            f"<noscript><p>{alt}</p></noscript></figure>"
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": self.alt}


def described(figure: "Figure", alt: str) -> "Figure":
    """The figure with what is to be seen in it, in a sentence or two, which it carries wherever it is shown.

    Raises:
        ValueError: no text in `alt`.
    """
    if not alt.strip():
        raise ValueError("expected alt to say what the figure shows, got no text")
    meta = dict(figure.layout.meta or {})
    return figure.update_layout(meta={**meta, "alt": " ".join(alt.split())})


def alt_of(figure: "Figure") -> str:
    """What `described` said of a figure.

    Raises:
        ValueError: nothing was said of it.
    """
    alt = (figure.layout.meta or {}).get("alt")
    if not alt:
        raise ValueError("expected a figure that says what is to be seen in it, got one without; see xaicl_lib.views.render.described")
    return alt


def show(figure: "Figure") -> "Figure | BookFigure":
    """The figure, ready to be the last line of a cell: itself in a live notebook, compact HTML while the book is built.

    Args:
        figure: that says what is to be seen in it. Set colours only where they carry data; fonts, lines and backgrounds follow the
            reader's theme. A figure with both a width and a height keeps their proportion on narrow screens.

    Raises:
        ValueError: it does not say what is to be seen; `described` makes it so.
    """
    alt = alt_of(figure)
    return BookFigure(figure, alt) if printed() else figure


def _figure_json(figure: "Figure") -> str:
    """JSON of a figure without plotly's default template (6.5 kB), safe within a script element.

    A photo stands in every row of a figure; it is written once, into a list `shared`, and elsewhere as {"shared": its place}.
    """
    spec = json.loads(figure.to_json())
    spec.get("layout", {}).pop("template", None)
    spec.get("layout", {}).get("meta", {}).pop("alt", None)  # it stands beside the figure
    counts: Counter[str] = Counter()
    _visit(spec, lambda text: counts.update([text]))
    places = {text: k for k, text in enumerate(text for text, count in counts.items() if count > 1)}
    spec = _visit(spec, lambda text: {"shared": places[text]} if text in places else text)
    text = json.dumps({**spec, "shared": list(places)}, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c")  # neither </script nor <!-- can occur


def _visit(node: Any, on_long_text: Callable[[str], Any]) -> Any:
    """The tree of dicts and lists with each text of over a thousand characters replaced."""
    if isinstance(node, dict):
        return {key: _visit(value, on_long_text) for key, value in node.items()}
    if isinstance(node, list):
        return [_visit(value, on_long_text) for value in node]
    return on_long_text(node) if isinstance(node, str) and len(node) > 1000 else node
