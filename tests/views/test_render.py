"""What a figure becomes in a live notebook and in the book, whose form holds each photo once and loses nothing."""

import json
import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from tests.conftest import build, random_pair
from xaicl_lib import explain, show
from xaicl_lib.views import render
from xaicl_lib.views.figures import pair_figure
from xaicl_lib.views.render import BookFigure, _figure_json


def unshare(node, shared):
    """What the book's script does."""
    if isinstance(node, dict):
        return shared[node["shared"]] if isinstance(node.get("shared"), int) else {k: unshare(v, shared) for k, v in node.items()}
    return [unshare(v, shared) for v in node] if isinstance(node, list) else node


def test_photos_are_written_once() -> None:
    model, pair = build("projected"), random_pair(1)
    figure = pair_figure(pair, [explain(model, pair, name) for name in ("grad_cam", "interaction_cam", "conditional_occlusion")])
    plain = json.loads(figure.to_json())
    plain["layout"].pop("template", None)
    assert plain["layout"]["meta"].pop("alt")  # it stands beside the figure
    text = _figure_json(figure)
    assert text.count("data:image/jpeg") == 2  # of twelve places
    spec = json.loads(text)
    shared = spec.pop("shared")
    assert unshare(spec, shared) == plain


def test_maps_travel_as_numbers() -> None:
    model, pair = build("projected"), random_pair(1)
    made = explain(model, pair)
    spec = json.loads(_figure_json(pair_figure(pair, made)))
    heat = next(trace for trace in spec["data"] if trace["type"] == "heatmap")
    import base64

    got = np.frombuffer(base64.b64decode(heat["z"]["bdata"]), heat["z"]["dtype"])
    np.testing.assert_allclose(got, made.a[0].flatten(), rtol=1e-6)


def test_a_live_notebook_gets_the_figure_itself(monkeypatch):
    monkeypatch.delenv("XAICL_BOOK", raising=False)
    figure = render.described(go.Figure(), "nothing")
    assert render.show(figure) is figure


def test_the_book_gets_compact_html_that_text_cannot_break(monkeypatch):
    monkeypatch.setenv("XAICL_BOOK", "1")
    figure = go.Figure(go.Scatter(y=[1, 2], name="</script><!-- é"), layout={"height": 300})
    shown = render.show(render.described(figure, 'a "line"\n <b>rising</b>'))
    assert isinstance(shown, BookFigure)
    page = shown._repr_mimebundle_()["text/html"]
    assert page.count("</script") == 1
    assert "<!--" not in page
    assert 'aria-label="a &quot;line&quot; &lt;b&gt;rising&lt;/b&gt;"' in page
    assert "min-height:300px" in page
    spec = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)[1])
    assert spec["data"][0]["name"] == "</script><!-- é"
    assert "template" not in spec["layout"]


def test_a_figure_weighs_little():
    assert len(_figure_json(go.Figure(go.Scatter(y=[1, 2])))) < 200  # plotly's default template alone takes 6.5 kB


def test_a_figure_says_what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = go.Figure()
    with pytest.raises(ValueError, match="says what is to be seen"):
        render.show(figure)
    with pytest.raises(ValueError, match="got no text"):
        render.described(figure, " ")
    said = render.described(go.Figure(layout={"meta": {"share": 1.0}}), "two \n lines")
    assert render.show(said) is said
    assert said.layout.meta == {"share": 1.0, "alt": "two lines"}
    monkeypatch.setenv("XAICL_BOOK", "1")
    assert 'aria-label="two lines"' in render.show(said)._repr_html_()


def test_shown_tables_and_figures_are_what_show_takes() -> None:
    assert "0.123" in show(pd.DataFrame({"x": [0.1234]}), digits=3)._repr_html_()
    assert isinstance(show(render.described(go.Figure(), "nothing")), go.Figure)
