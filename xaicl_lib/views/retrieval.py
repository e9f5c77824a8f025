"""Figures of a search: what came back, the regions and the words that match, and why not the next one."""

import os
from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go
import torch
from jaxtyping import Float
from torch import Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.files import output_file, written_whole
from xaicl_lib.methods.words import WordMap
from xaicl_lib.retrieval import Contrast, Why
from xaicl_lib.studies.retrieval import Orders
from xaicl_lib.views.gallery import gallery_figure, overlaid, under_maps
from xaicl_lib.views.matches import match_figure
from xaicl_lib.views.page import page_of
from xaicl_lib.views.render import alt_of, described
from xaicl_lib.views.studies import PALETTE
from xaicl_lib.views.style import GRID, PLAIN

WIDTH = 720  # pixels of a figure on a page of its own, for which its height is made


def _names(why: Why) -> list[str]:
    return [f"{k + 1}. {why.score(k):.2f}" if k < len(why.results) else f"next: {why.score(k):.2f}" for k in range(len(why.shown))]


def results_figure(why: Why) -> go.Figure:
    """The query, what came back and the runner-up, beside each what speaks for it (red) and against it (blue), on one scale."""
    limit, query, names = float(why.maps.abs().max()), why.results.query, _names(why)
    items = [] if query is None else [("query", [query[0], torch.ones_like(query[0])])]
    for name, image, map_ in zip(names, why.shown, why.maps, strict=True):
        items.append((name, [image, overlaid(image, map_, limit, signed=True)]))
    told = "; ".join(f"{name} {why.names[k]}" + (f", {why.notes[k]}" if why.notes[k] else "") for k, name in enumerate(names))
    return described(gallery_figure(items), f"Results for {why.results.asked}, with their maps: {told}.")


def links_figure(why: Why, k: int = 0) -> go.Figure:
    """The picture asked with beside result k, with lines between the cells that go together most.

    Raises:
        InputError: a search with words alone.
    """
    if why.pairs is None or why.photo is None:
        raise InputError("expected results of a picture to draw links from it, got those of words alone")
    return match_figure(why.pairs, why.photo, index=k, names=("query", why.names[k]))


def contrast_figure(why: Why, contrast: Contrast) -> go.Figure:
    """Why one result lies before another: on the query what speaks for the first (red) or for the second (blue), and on both what speaks
    for each; one scale.
    """
    images = dict(zip(why.names, why.shown, strict=True))
    query = why.results.query
    parts = [] if query is None or contrast.query is None else [("for the first, on the query", query[0], contrast.query)]
    parts += [
        (contrast.names[0], images[contrast.names[0]], contrast.first),
        (contrast.names[1], images[contrast.names[1]], contrast.second),
    ]
    words = "; ".join(", ".join(f"{word} {value:+.3f}" for word, value in one) for one in contrast.words)
    what = f"Why {contrast.names[0]} lies {contrast.difference:+.3f} before {contrast.names[1]}" + (f": {words}" if words else "")
    return gallery_figure(under_maps(parts, signed=True), columns=3, what=what)


def words_figure(image: Float[Tensor, "3 h w"], made: WordMap, phrases: Sequence[str]) -> go.Figure:
    """A picture, and for each phrase where it is: red what it adds together with the phrase, blue what it takes; one scale."""
    maps = {phrase: made.where(phrase) for phrase in phrases}
    items = under_maps([(f"score {made.score:.2f}", image, None), *((name, image, map_) for name, map_ in maps.items())], signed=True)
    told = ", ".join(f"{phrase} {float(map_.sum()):+.2f}" for phrase, map_ in maps.items())
    return gallery_figure(items, columns=4, what=f"Where the words of {' '.join(made.words)!r} are, and what they add: {told}")


def orders_figure(scenes: Sequence[Orders]) -> go.Figure:
    """Scenes, and for the parts of their true sentence, and of the same words the other way round, where they are; one scale."""
    items, told = list[tuple[str, Tensor, Tensor | None]](), list[str]()
    for one in scenes:
        for title, made in (("true", one.right), ("exchanged", one.wrong)):
            maps = {part: made.where(part) for part in one.phrases}
            items.append((f"{title}: {made.score:.3f}", one.image, None))
            items += [(part.removeprefix("a ").removeprefix("an "), one.image, map_) for part, map_ in maps.items()]
            told += [f"{title}, {part} {float(map_.sum()):+.3f}" for part, map_ in maps.items()]
    what = f"Where the parts of a sentence are, in true sentences and with their objects exchanged, and what they add: {'; '.join(told)}"
    return gallery_figure(under_maps(items, signed=True), columns=4, what=what)


def taught_figure(answers: pd.DataFrame) -> go.Figure:
    """Shares of right answers after each epoch of training on (rows), a line for each question (columns)."""
    names = {"opposite": "relation turned", "order": "words exchanged", "colour": "colour", "shape": "shape"}
    figure, colours = go.Figure(), dict(zip(answers, PALETTE, strict=False))
    for name in answers:
        line = {"color": colours[name], "width": 2}
        figure.add_trace(go.Scatter(x=answers.index, y=answers[name], name=names.get(name, name), mode="lines+markers", line=line))
    figure.add_hline(0.5, line={"color": "rgba(128,128,128,0.9)", "width": 1.5, "dash": "dot"})
    figure.update_xaxes(**GRID, title="epochs with exchanged captions", dtick=1)
    figure.update_yaxes(**GRID, title="right", range=[0, 1.02])
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    figure.update_layout(**PLAIN, height=320, margin={"l": 50, "r": 12, "t": 50, "b": 46}, legend=legend)
    last = ", ".join(f"{names.get(name, name)} {answers[name].iloc[-1]:.2f}" for name in answers)
    return described(figure, f"Right answers by epochs of training on; at the end {last}; the dotted line is a coin's 0.5.")


def write_results(
    why: Why, out: str | os.PathLike[str], *, title: str | None = None, facts: Mapping[str, object], notes: Sequence[str] = ()
) -> None:
    """A page of the results, their links, and why the last of them came back rather than the runner-up.

    Raises:
        InputError: a file that cannot be written.
    """
    parts = [("What came back", results_figure(why))]
    if why.photo is not None:
        parts += [(f"Which regions match: {why.names[k]}", links_figure(why, k)) for k in range(len(why.results))]
    for sign, maps in why.texts:
        for k, one in enumerate(maps[: len(why.results)]):
            head = f"{'Without' if sign < 0 else 'Which words'}: {why.names[k]}"
            parts.append((head, words_figure(why.shown[k], one, list(dict.fromkeys(one.words)))))
    if len(why.shown) > 1:
        contrast = why.instead(min(len(why.results), len(why.shown) - 1) - 1)
        parts.append((f"Why {contrast.names[0]} and not {contrast.names[1]}", contrast_figure(why, contrast)))
    said = [f"{why.names[k]}: {note}" for k, note in enumerate(why.notes) if note]
    drawn = [(head, alt_of(figure), figure.update_layout(width=figure.layout.width or WIDTH)) for head, figure in parts]
    page = page_of(drawn, title=title or f"Why these for {why.results.asked}?", facts=facts, notes=[*notes, *said])
    with written_whole(output_file(out, (".html",))) as part:
        part.write_text(page, encoding="utf-8")
