"""A pair that a page of the book computes itself: the element `<xaicl-pair>`, and the figure that stands in it where no script runs."""

import functools
import html
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from xaicl_lib import augment
from xaicl_lib.errors import InputError, unknown
from xaicl_lib.lab.gallery import MODELS, PICTURES, menu, seen
from xaicl_lib.methods import explain
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.views.figures import Row, alt_text, as_image, data_uri
from xaicl_lib.views.gallery import overlaid
from xaicl_lib.zoo import load_model

SIDE, GAP = 224, 8  # pixels of a picture, and between both
CHOICES = ("model", "method", "change")
TOWARDS = ("grad_cam", "conditional_occlusion", "input_x_gradient")  # methods for one picture, as `lab/static/engine/corpus.js` has them
CHANGES: dict[str, Callable[[Tensor, float], Tensor]] = {  # as `lab/static/engine/augment.js` has them
    "blur": lambda x, sigma: augment.gaussian_blur(x, sigma, 2 * math.ceil(3 * sigma) + 1) if sigma > 0 else x,
    "brightness": augment.brightness,
    "grayscale": augment.grayscale,
    "hue": augment.hue,
    "rotation": augment.rotate,
}


class LivePair:
    """A pair of the lab's gallery that a page of the book computes anew in its reader's browser; elsewhere it is a figure.

    Args:
        model: of the lab; its network is on the page's host.
        method: that the lab knows.
        a, b: pictures of the gallery; b is another view of the cat if it is not told, and there is none with a corpus.
        corpus: pictures that a may be like; a alone is explained then, and the reader may choose others.
        foil: pictures that a may be unlike.
        beside: a second model, in a row below.
        change: name and strength of what side b undergoes before it is seen.
        choose: what the reader may choose: "model", "method", "change".
        curve: lets the reader take pixels away in the order of the maps.
        cover: lets the reader cover places.
        options: of the method.

    Raises:
        InputError: a name that the lab does not know, or one picture explained and something asked of two.
    """

    def __init__(
        self,
        model: str = "simclr",
        method: str = "interaction_cam",
        a: str = "cat",
        b: str | None = None,
        *,
        corpus: Sequence[str] = (),
        foil: Sequence[str] = (),
        beside: str | None = None,
        change: tuple[str, float] | None = None,
        choose: Sequence[str] = (),
        curve: bool = False,
        cover: bool = False,
        **options: Any,
    ) -> None:
        if foil and not corpus:
            raise InputError("expected a corpus beside the foil, got none")
        if corpus and (b or beside or change or curve or cover):
            raise InputError("expected one picture to explain towards a corpus, got a question about two")
        if len({a, *corpus, *foil}) <= len(corpus) + len(foil) and corpus:
            raise InputError(f"expected {a!r} and each picture of corpus and foil once, got one twice")
        sides = (a,) if corpus else (a, b or "cat_view")
        asked = {"model": [model, *([beside] if beside else [])], "method": [method], "choice": choose, "picture": [*sides, *corpus, *foil]}
        there = {"model": MODELS, "method": TOWARDS if corpus else menu(), "picture": PICTURES, "choice": CHOICES}
        for what, names in asked.items():
            for name in names:
                if name not in there[what]:
                    raise unknown(what, name, there[what])
        if change and change[0] not in CHANGES:
            raise unknown("change", change[0], CHANGES)
        if "change" in choose and not change:
            raise InputError("expected a change whose strength the reader may choose, got none")
        self.model, self.method, self.sides, self.beside, self.change, self.options = model, method, sides, beside, change, options
        self.corpus, self.foil = tuple(corpus), tuple(foil)
        told = {"model": model, "method": method, **dict(zip("ab", sides, strict=False)), "beside": beside, **options}
        told |= {"corpus": " ".join(corpus) or None, "foil": " ".join(foil) or None}
        told |= {"change": f"{change[0]} {change[1]:g}" if change else None, "choose": " ".join(choose) or None}
        self._attributes = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in told.items() if v is not None}
        self._flags = [name for name, on in (("curve", curve), ("cover", cover)) if on]

    def pair(self, model: str | None = None) -> Pair:
        """What a model sees: both sides, b changed, or the one that is held against a corpus."""
        size = load_model(model or self.model, "cpu").size
        a, *others = (seen(name, size) for name in self.sides)
        if not others:
            return Pair(a)
        (b,) = others
        return Pair(a, CHANGES[self.change[0]](b, self.change[1]) if self.change else b)

    def explanation(self, model: str | None = None) -> Explanation:
        """What torch says of it; the browser's numbers are held against these."""
        net = load_model(model or self.model, "cpu")
        options: dict[str, Any] = {"generator": torch.Generator().manual_seed(0), **self.options}
        if self.corpus:
            sets = [torch.cat([seen(name, net.size) for name in names]) for names in (self.corpus, self.foil) if names]
            options["score"] = net.like(*sets)
        return explain(net, self.pair(model), self.method, **options)

    def picture(self, side: str) -> Image.Image:
        """Side `a` or `b` under its map, of 224 pixels; both sides share a scale."""
        k = "ab".index(side)
        row = Row.of(self.explanation())
        return _under_map(self.sides[k], torch.from_numpy(row.maps[k]), row)

    def _repr_html_(self) -> str:
        attributes = "".join(f' {k}="{html.escape(v, quote=True)}"' for k, v in self._attributes.items())
        attributes += "".join(f" {flag}" for flag in self._flags)
        models = [self.model, *([self.beside] if self.beside else [])]
        return f"<xaicl-pair{attributes}>{''.join(map(self._still, models))}</xaicl-pair>"

    def _still(self, model: str) -> str:
        """The figure of one row: the sides under their maps, with what is to be seen for those who do not see it."""
        made = self.explanation(model)
        row, sheet = Row.of(made), _sheet(self.sides, Row.of(made))
        titles = PICTURES[self.sides[0]].title, PICTURES[self.sides[-1]].title
        alt = html.escape(f"{model}. {alt_text([made], titles)}", quote=True)
        picture = f'<img src="{data_uri(sheet)}" alt="{alt}" width="{sheet.width}" height="{sheet.height}" loading="lazy">'
        return (
            f'<figure class="xaicl-still">{picture}<figcaption>{html.escape(f"{model}: {row.title}{self._sets()}")}</figcaption></figure>'
        )

    def _sets(self) -> str:
        """Corpus and foil in words, for a caption."""
        said = ((name, [PICTURES[one].title for one in names]) for name, names in (("corpus", self.corpus), ("foil", self.foil)))
        return "".join(f" · {name}: {', '.join(titles)}" for name, titles in said if titles)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": self._alt}

    @functools.cached_property
    def _alt(self) -> str:
        return f"{self.method} of {' and '.join(PICTURES[name].title for name in self.sides)}, asked of {self.model}{self._sets()}"


def _sheet(names: Sequence[str], row: Row) -> Image.Image:
    """The pictures of these names side by side, each under its map."""
    sheet = Image.new("RGB", (len(names) * (SIDE + GAP) - GAP, SIDE), "white")
    for k, (name, values) in enumerate(zip(names, row.maps, strict=True)):
        sheet.paste(_under_map(name, torch.from_numpy(values), row), (k * (SIDE + GAP), 0))
    return sheet


def _under_map(name: str, values: Tensor, row: Row) -> Image.Image:
    return as_image(overlaid(PICTURES[name].draw(SIDE)[0], values, row.range[1], signed=row.diverging))
