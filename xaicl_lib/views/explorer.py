"""A pair to point at: hover over one photo and the other shows what goes with it, with any method.

In a live notebook it is a widget whose kernel computes what is chosen; in the book the same script shows what was computed.
"""

import base64
import functools
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xaicl_lib.errors import InputError, needing
from xaicl_lib.lab.gallery import STATIC, method_entry, packed
from xaicl_lib.methods import explain, methods
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.views.figures import alt_text, data_uri, photos_of
from xaicl_lib.views.render import printed

METHODS = ("interaction_cam", "deep_similarity", "conditional_occlusion", "averaged_transforms")


class PairExplorer:
    """One pair under the maps of a method that its reader chooses.

    Args:
        model: explains the pair.
        pair: the first of its pairs is shown.
        chosen: methods to compute now, or explanations of the pair, which is all that a printed page has; a live notebook computes
            other methods when they are chosen.
        names: titles of both sides; shown as text, whatever is in them.
        photos: the same pair in more pixels, for the eye.

    Raises:
        InputError: no methods, an unknown one, or a pair without side b.

    Attributes:
        results: what was computed, by the methods' names: maps in bytes (see `xaicl_lib.lab.gallery.packed`).
    """

    def __init__(
        self,
        model: PairModel,
        pair: Pair,
        chosen: Sequence[str | Explanation] = METHODS,
        *,
        names: tuple[str, str] = ("A", "B"),
        photos: Pair | None = None,
    ) -> None:
        if not chosen:
            raise InputError("expected at least one method to show, got none")
        if pair.b is None:
            raise InputError("expected a pair with two sides to show, got one without side b")
        self._model, self._pair = model, pair[0]
        made = [explain(model, self._pair, one) if isinstance(one, str) else one[0] for one in chosen]
        self.results = {one.method: self._packed(one) for one in made}
        shown = [data_uri(photo) for photo in photos_of(photos or pair, 0)]
        sides = {side: {"source": source, "title": name} for side, source, name in zip("ab", shown, names, strict=True)}
        self._facts: dict[str, Any] = {"photos": sides, "network": {"title": model.name}, "methods": [method_entry(m) for m in methods]}
        self._method, self._alt = made[0].method, alt_text([made[0]], names)

    def _packed(self, explanation: Explanation) -> dict[str, Any]:
        made = packed(explanation)
        if explanation.method == "conditional_occlusion" and explanation.params.get("grid") != "published":
            made["window"] = _window_share(explanation, self._pair)
        return made

    def compute(self, name: str) -> dict[str, Any]:
        """The result of one method, computed if it is not there yet; an error is a result that says so."""
        if name not in self.results:
            try:
                self.results[name] = self._packed(explain(self._model, self._pair, name))
            except InputError as error:
                return {"error": str(error)}
        return self.results[name]

    def _repr_html_(self) -> str:
        """What a page of the book holds: its data, and for readers without scripts both photos and a text."""
        data = {"facts": self._facts, "results": self.results, "method": self._method, "live": False}
        text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
        alt = html.escape(self._alt, quote=True)
        images = "".join(
            f'<img src="{side["source"]}" alt="{html.escape(side["title"], quote=True)}" width="224" height="224">'
            for side in self._facts["photos"].values()
        )
        script = f'<script type="application/json">{text}</script>'
        return f'<div class="xl-explorer" role="group" aria-label="{alt}">{script}{images}<p>{alt}</p></div>'

    def _repr_mimebundle_(self, **options: Any) -> Any:
        if printed("anywidget"):  # without it: both photos, and what is to be seen
            return {"text/html": self._repr_html_(), "text/plain": self._alt}
        return self.widget._repr_mimebundle_(**options)

    @functools.cached_property
    def widget(self) -> Any:
        """The live form, an anywidget.

        Raises:
            InputError: anywidget is not installed.
        """
        with needing("expected anywidget to be installed; pip install 'xaicl_lib[views]'"):
            import anywidget
            import traitlets

        class _Widget(anywidget.AnyWidget):
            _esm = _one_module(STATIC / "page" / "explorer.js")
            _css = (STATIC / "page" / "lab.css").read_text(encoding="utf-8")
            facts = traitlets.Dict().tag(sync=True)
            results = traitlets.Dict().tag(sync=True)
            method = traitlets.Unicode().tag(sync=True)
            live = traitlets.Bool(True).tag(sync=True)

        widget = _Widget(facts=self._facts, results=dict(self.results), method=self._method)

        def answer(change: dict[str, Any]) -> None:
            widget.results = {**widget.results, change["new"]: self.compute(change["new"])}

        widget.observe(answer, names="method")
        return widget


def _window_share(explanation: Explanation, pair: Pair) -> float:
    """Side of the occlusion's window as a share of the image's shorter side."""
    from xaicl_lib.methods.occlusion import PAPER_SIDE, PAPER_WINDOW

    side = min(pair.a.shape[2:])
    window = explanation.params.get("window") or max(1, round(side * PAPER_WINDOW / PAPER_SIDE))
    return window / side


def _one_module(path: Path) -> str:
    """An ES module with everything it imports inside, each import an address that holds the imported module whole."""
    text = path.read_text(encoding="utf-8")
    return re.sub(r'from "(\.[\w./]+)"', lambda found: f'from "{_address((path.parent / found[1]).resolve())}"', text)


@functools.cache
def _address(path: Path) -> str:
    return "data:text/javascript;base64," + base64.b64encode(_one_module(path).encode()).decode()
