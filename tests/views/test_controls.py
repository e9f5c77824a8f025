"""Controls: the first choice on a printed page, every choice in a live notebook."""

import json
import re

import plotly.graph_objects as go
import plotly.io
import pytest

from xaicl_lib import InputError
from xaicl_lib.views.controls import Controls
from xaicl_lib.views.render import described


def draw(model: str, strength: int, guided: bool) -> go.Figure:
    if strength == 4:
        raise InputError("expected a strength below 4, got 4")
    figure = go.Figure(go.Scatter(y=[strength, 2], name=model))
    return described(figure, f"{model} at {strength}{', guided' if guided else ''}")


def controls() -> Controls:
    return Controls(draw, model=["a <b>", "c"], strength=range(1, 6), guided=False)


def test_a_printed_page_holds_the_first_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAICL_BOOK", "1")
    made = controls()._repr_mimebundle_()
    assert made["text/plain"] == "a <b> at 1"
    assert '<p class="xaicl-chosen">model <b>a &lt;b&gt;</b> · strength <b>1</b> · guided <b>False</b></p>' in made["text/html"]
    spec = json.loads(re.search(r'<script type="application/json">(.*?)</script>', made["text/html"])[1])
    assert spec["data"][0]["y"] == [1, 2]


def test_live_it_draws_what_is_chosen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    monkeypatch.delenv("XAICL_BOOK", raising=False)
    seen: list[dict] = []

    def noted(**chosen: object) -> go.Figure:
        seen.append(chosen)
        return draw(**chosen)

    widget = Controls(noted, model=["a", "c"], strength=range(1, 6), guided=True).widget
    menu, slider, tick = widget.children[:3]
    assert [one.description for one in widget.children[:3]] == ["model", "strength", "guided"]
    assert seen == [{"model": "a", "strength": 1, "guided": True}]
    menu.value, slider.value, tick.value = "c", 3, False
    assert seen[-1] == {"model": "c", "strength": 3, "guided": False}
    assert (slider.min, slider.max, slider.continuous_update) == (1, 5, False)
    capsys.readouterr()
    slider.value = 4
    assert capsys.readouterr().out.endswith("expected a strength below 4, got 4\n")


def test_the_first_figure_is_there_before_anybody_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    monkeypatch.setattr(plotly.io.renderers, "default", "plotly_mimetype")  # as in a notebook
    (first,) = controls().widget.children[-1].outputs
    assert first["output_type"] == "display_data"
    assert first["data"]["application/vnd.plotly.v1+json"]["data"][0]["y"] == [1, 2]


def test_live_output_is_a_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    monkeypatch.delenv("XAICL_BOOK", raising=False)
    assert "application/vnd.jupyter.widget-view+json" in controls()._repr_mimebundle_()


def test_a_start_of_its_own() -> None:
    pytest.importorskip("ipywidgets")
    made = Controls(draw, start={"strength": 3}, model=["a"], strength=range(1, 6), guided=False)
    assert made.first == {"model": "a", "strength": 3, "guided": False}
    assert made.widget.children[1].value == 3
    with pytest.raises(InputError, match=r"got strength=9"):
        Controls(draw, start={"strength": 9}, strength=range(1, 6))


@pytest.mark.parametrize(("choices", "message"), [({}, "got nothing"), ({"seed": range(0)}, "for 'seed', got none")])
def test_nothing_to_choose(choices: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Controls(draw, **choices)
