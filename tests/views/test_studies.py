"""Figures of the studies hold the numbers of their tables."""

import numpy as np
import pandas as pd
import pytest

from xaicl_lib.views.lines import lines_figure
from xaicl_lib.views.render import alt_of
from xaicl_lib.views.studies import NULLS, PALETTE, _dots_alt, dots_figure, matrix_figure, series_colours
from xaicl_lib.views.zoo import COLOURS

TABLE = pd.DataFrame(
    {
        "kind": ["x", "y", "x"],
        "model": ["simclr", "simclr", "supcon"],
        "mean": [0.5, 0.2, 0.4],
        "low": [0.4, 0.1, 0.1],
        "high": [0.7, 0.3, 0.9],
    }
)


def test_dots_stand_where_the_table_says() -> None:
    figure = dots_figure(TABLE, rows="kind", series="model", title="share", reference=0.25)
    first, second, chance = figure.data
    assert list(first.x) == [0.5, 0.2]
    assert list(first.y) == ["x", "y"]
    assert np.allclose(first.error_x.array, [0.2, 0.1])
    assert np.allclose(second.error_x.arrayminus, [0.3])
    assert (first.marker.color, second.marker.color) == (COLOURS["simclr"], COLOURS["supcon"])
    assert chance.x == (0.25, 0.25)
    low, high = figure.layout.xaxis.range
    assert -0.1 < low < 0.1, "room for the lowest end of an interval, and little more"
    assert 0.9 < high < 1
    assert "y, simclr: 0.20 (0.10 to 0.30)" in _dots_alt(TABLE, rows="kind", series="model", what="Shares.")
    doses = dots_figure(TABLE.assign(kind=[0.5, 2.0, 0.5]), rows="kind", series="model", title="share")
    assert (doses.layout.yaxis.type, doses.layout.yaxis.categoryarray) == ("category", ("2.0", "0.5")), "a line for each number"


def test_a_menu_shows_one_choice_at_a_time() -> None:
    rows = [
        {"metric": metric, "scenario": "same class", "way": way, "mean": k + j, "low": k + j - 0.5, "high": k + j + 0.5, "n": 9, "p": 0.01}
        for k, metric in enumerate(("insertion, similarity", "deletion, similarity"))
        for j, way in enumerate(("RISE, corpus", "Grad-CAM, corpus"))
    ]
    found = pd.DataFrame(rows)
    figure = dots_figure(found, rows="way", series="scenario", title="gain", choice="metric", reference=0.0)
    means = [list(t.x) for t in figure.data if t.error_x.array is not None]
    assert means == [[0, 1]]
    buttons = figure.layout.updatemenus[0].buttons
    assert [b.label for b in buttons] == list(found["metric"].unique())
    assert [b.args[0]["x"] for b in buttons] == [[[0, 1]], [[1, 2]]]
    assert [b.args[0]["error_x.array"] for b in buttons] == [[[0.5, 0.5]]] * 2
    assert list(buttons[0].args[1]["xaxis.range"]) == list(figure.layout.xaxis.range) != buttons[1].args[1]["xaxis.range"]
    assert "deletion, similarity, RISE, corpus, same class: 1.000 (0.500 to 1.500)" in alt_of(figure)


def test_colours_are_a_models_own_unless_two_would_be_alike() -> None:
    assert series_colours(["simclr", "supervised"]) == {"simclr": COLOURS["simclr"], "supervised": COLOURS["supervised"]}
    assert len(set(series_colours(["simclr", "scenes_simclr"]).values())) == 2
    assert len(set(series_colours(["plain", "guided"]).values())) == 2
    assert series_colours(["simclr", "new"])["simclr"] == COLOURS["simclr"], "one that has no colour takes none its own"
    assert series_colours(["new"]) == {"new": PALETTE[0]}


def test_controls_look_like_no_model() -> None:
    names = ["simclr", "random_map, photos", "random_map, scenes", "supervised", "edges"]
    colours = series_colours(names)
    assert colours["simclr"] == COLOURS["simclr"], "a control takes no model its colour"
    assert colours["random_map, photos"] == colours["random_map, scenes"] == NULLS["random_map"][0]
    table = pd.concat([TABLE.assign(kind="x", model=name, augmentation="blur", level=0) for name in names])
    dots = dots_figure(table, rows="kind", series="model", title="share")
    curves = lines_figure(table, x="level", names="level", series="model", x_title="level", y_title="share")
    assert [t.marker.symbol for t in dots.data] == ["circle", "x", "x-open", "circle", "diamond"]
    assert [t.line.dash for t in curves.data] == ["solid", "dot", "dot", "solid", "dot"]
    assert [t.line.color for t in curves.data] == [colours[name] for name in names]


def test_matrix_shows_its_numbers_and_centre() -> None:
    table = pd.DataFrame({"p": [-0.001, np.nan], "q": [-0.3, 0.2]}, index=["a", "b"])
    figure = matrix_figure(table, centre=0)
    assert figure.layout.meta["least"] >= 30 * len(table.columns) + figure.layout.margin.l, "numbers side by side on a phone"
    heat = figure.data[0]
    assert heat.zmin == pytest.approx(-0.3)
    assert heat.zmax == pytest.approx(0.3)
    assert [list(row) for row in heat.text] == [[".00", "-.30"], ["", ".20"]]
    plain = matrix_figure(table).data[0]
    assert (plain.zmin, plain.zmax) == (-0.3, 0.2)
    named = matrix_figure(table.rename(index={"a": "<a>"}), title="a view of")
    assert named.data[0].y == ("&lt;a&gt;", "b"), "names are text"
    assert "q: highest b 0.20, lowest <a> -0.30" in alt_of(named)
