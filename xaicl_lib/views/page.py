"""Explanations shown: in a notebook, on a page of the book, in a file of their own."""

import html
import os
from collections.abc import Mapping, Sequence
from string import Template
from types import MappingProxyType

import pandas as pd
import plotly.graph_objects as go

from xaicl_lib.annotations import require
from xaicl_lib.errors import InputError
from xaicl_lib.files import output_file, written_whole
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.views import figures, render
from xaicl_lib.views.tables import Table

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; font-weight: 600; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; font-weight: 600; margin-bottom: 0; }
table { border-collapse: collapse; margin-top: 1rem; } td { padding: .2rem 1.2rem .2rem 0; vertical-align: top; }
td:first-child { color: #666; } .scroll { overflow-x: auto; } .note { border-left: 3px solid #c77700; padding-left: .8rem; }
</style>
</head>
<body>
<h1>$title</h1>
$notes
$figures
<table>$facts</table>
</body>
</html>
""")


def show(
    what: Pair | go.Figure | pd.DataFrame,
    explanations: Explanation | Sequence[Explanation] = (),
    out: str | os.PathLike[str] | None = None,
    *,
    names: tuple[str, str] = ("A", "B"),
    index: int = 0,
    photos: Pair | None = None,
    channels: figures.Channels = None,
    title: str | None = None,
    facts: Mapping[str, object] | None = None,
    notes: Sequence[str] = (),
    digits: int = 2,
) -> go.Figure | render.BookFigure | Table | None:
    """A pair beside its maps: a figure to be the last line of a cell, or a file. Also a figure of this library, or a table to read.

    Args:
        what: a pair that was explained (of one without side b the image and its maps are shown); or a figure or table, without anything
            else.
        explanations: one, or several for a row each.
        out: FILE.html, which needs nothing else, or FILE.png.
        names: of both sides.
        index: which pair of the batch.
        photos: the same pair in more pixels, for the eye.
        channels: of the images that are seen, one as grey or three as red, green and blue; None is all of grey and RGB images, and of
            others the first three.
        title, facts, notes: of an HTML page.
        digits: of a table's numbers, after the point.

    Returns:
        The figure, while the book is built with what it says to those who do not see it; None where a file was written.

    Raises:
        InputError: nothing to show, explanations of other pairs, or a file that cannot be written.
    """
    if isinstance(what, go.Figure):
        return render.show(what)
    if isinstance(what, pd.DataFrame):
        return Table(what, digits)
    pair = what
    require(pair, Pair, "what is shown")
    made = [explanations] if isinstance(explanations, Explanation) else list(explanations)
    _check(pair, made)
    if out is None:
        return render.show(_figure(pair, made, names, index, photos, channels))
    path = output_file(out, (".html", ".png"))
    with written_whole(path) as part:
        if path.suffix.lower() == ".png":
            figures.save_png(part, pair, made, index=index, names=names, photos=photos, channels=channels)
        else:
            alike = f"{names[0]}" if pair.b is None else f"{names[0]} and {names[1]}"
            text = page_of(
                [("", figures.alt_text(made, names, index), _figure(pair, made, names, index, photos, channels))],
                title=title or f"{alike}: {', '.join(map(figures.label, made))}",
                facts={
                    **(facts or {}),
                    **({"shown": told} if (told := figures.said_channels(pair, channels)) else {}),
                    **_facts(made, index),
                },
                notes=notes,
            )
            part.write_text(text, encoding="utf-8")
    return None


def _check(pair: Pair, made: list[Explanation]) -> None:
    if not made:
        raise InputError("expected at least one explanation to show, got none")
    for one in made:
        if len(one) != len(pair) or (one.b is None) != (pair.b is None):
            raise InputError(f"expected explanations of the pairs to show, {pair!r}, got {one!r} of {len(one)}")


def _figure(
    pair: Pair, made: list[Explanation], names: tuple[str, str], index: int, photos: Pair | None, channels: figures.Channels
) -> go.Figure:
    if pair.b is not None:
        return figures.pair_figure(pair, made, index=index, names=names, photos=photos, channels=channels)
    from xaicl_lib.views.corpus import maps_figure

    return maps_figure(figures.coloured((photos or pair).a[index], channels), {figures.label(one): one for one in made}, index=index)


def _facts(made: list[Explanation], index: int) -> dict[str, object]:
    """What a page says of each explanation: with several, each under its method."""
    told: dict[str, object] = {}
    for one in made:
        own = {name: value for name, value in one.params.items() if value is not None}
        facts = {"method": one.method, "parameters": own, "score": f"{one.score[index].item():.4f}"}
        told |= facts if len(made) == 1 else {f"{figures.label(one)}, {name}": value for name, value in facts.items() if name != "method"}
    return told


def page_of(
    parts: Sequence[tuple[str, str, go.Figure]],
    *,
    title: str,
    facts: Mapping[str, object] = MappingProxyType({}),
    notes: Sequence[str] = (),
) -> str:
    """HTML text that shows figures, facts and notes with nothing loaded from anywhere.

    All text is escaped: titles carry file names, which come from outside.

    Args:
        parts: heading (empty for none), what is to be seen, and the figure.
        title, facts, notes: of the page.
    """
    rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(str(v))}</td></tr>" for k, v in facts.items())
    return _PAGE.substitute(
        title=html.escape(title),
        notes="".join(f'<p class="note">{html.escape(note)}</p>' for note in notes),
        facts=rows,
        figures="".join(_part(*part, with_program=k == 0) for k, part in enumerate(parts)),
    )


def _part(heading: str, alt: str, figure: go.Figure, *, with_program: bool) -> str:
    config = {"displayModeBar": False, "displaylogo": False}
    drawn = figure.to_html(full_html=False, include_plotlyjs=with_program, config=config)
    above = f"<h2>{html.escape(heading)}</h2>" if heading else ""
    return f'{above}<div class="scroll" role="img" aria-label="{html.escape(alt)}">{drawn}</div>'
