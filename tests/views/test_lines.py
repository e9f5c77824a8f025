"""Lines hold the numbers of their tables."""

import numpy as np
import pandas as pd

from xaicl_lib.views.lines import lines_figure
from xaicl_lib.views.render import alt_of
from xaicl_lib.views.zoo import COLOURS, OTHER

TABLE = pd.DataFrame(
    {
        "model": ["simclr"] * 3 + ["supervised"] * 3,
        "temperature": [0.1, 0.01, 1.0] * 2,
        "mean": [0.6, 0.5, 0.1, 0.8, 0.7, 0.4],
        "low": [0.5, 0.4, 0.0, 0.7, 0.6, 0.3],
        "high": [0.7, 0.6, 0.2, 0.9, 0.8, 0.5],
    }
)


def test_lines_and_their_bands_stand_where_the_table_says() -> None:
    figure = lines_figure(TABLE, x="temperature", series="model", x_title="T", y_title="RLD", reference=0.0)
    band, line = figure.data[:2]
    assert list(line.x) == [0.01, 0.1, 1.0]
    assert list(line.y) == [0.5, 0.6, 0.1]
    assert list(band.y) == [0.6, 0.7, 0.2, 0.0, 0.5, 0.4]
    assert line.line.color != figure.data[3].line.color
    assert figure.layout.xaxis.type == "log"
    said = alt_of(figure)
    assert said.startswith("RLD. First")
    assert "simclr: 0.50 at 0.01, 0.60 at 0.1, 0.10 at 1;" in said


def test_panels_share_a_legend() -> None:
    both = pd.concat([TABLE.assign(layer="first"), TABLE.assign(layer="last")])
    figure = lines_figure(both, x="temperature", series="model", x_title="T", y_title="RLD", panel="layer")
    assert [t.showlegend for t in figure.data if t.name] == [True, True, False, False]
    assert [a.text for a in figure.layout.annotations] == ["first", "last"]
    assert figure.layout.xaxis2.title.text == "T"
    assert "last supervised:" in alt_of(figure)


def test_steps_stand_at_equal_distances_under_their_names() -> None:
    rows = [("simclr", "stem", 0, 0.5, 0.4, 0.7), ("simclr", "stage 1", 5, 0.2, 0.1, 0.3), ("supervised", "stem", 0, 0.6, 0.5, 0.8)]
    table = pd.DataFrame(rows, columns=["model", "stage", "depth", "mean", "low", "high"])
    view = {"x": "depth", "names": "stage", "series": "model", "x_title": "depth", "y_title": "saturation"}
    figure = lines_figure(table, **view, reference=0.4, reference_name="targets")
    first, second, line = figure.data
    assert list(first.y) == [0.5, 0.2]
    assert np.allclose(first.error_y.array, [0.2, 0.1])
    assert np.allclose(first.error_y.arrayminus, [0.1, 0.1])
    assert np.abs(np.subtract(first.x, [0, 1])).max() < 0.2
    assert first.x[0] < second.x[0], "side by side"
    assert list(figure.layout.xaxis.ticktext) == ["stem", "stage 1"]
    assert (line.name, figure.layout.shapes[0].y0) == ("targets", 0.4)
    grey = lines_figure(table.replace("simclr", "untrained simclr"), **view).data
    assert [t.line.color for t in grey] == [OTHER, COLOURS["supervised"]]
    assert "simclr: 0.50 (0.40 to 0.70) at stem, 0.50 (0.40 to 0.70) at stem, 0.20 (0.10 to 0.30) at stage 1" in alt_of(figure)
    assert alt_of(figure).endswith("targets: 0.40.")


def test_panels_may_have_other_steps() -> None:
    rows = [("corpus", 30, 0.3), ("corpus", 1.0, 0.01), ("foil", 0, 0.2), ("foil", 1, 0.4), ("foil", 300, 0.1)]
    table = pd.DataFrame(rows, columns=["varied", "size", "mean"]).assign(metric="agreement", low=0.0, high=1.0)
    figure = lines_figure(table, x="size", names="size", series="metric", panel="varied", x_title="items", y_title="mean")
    assert [list(t.x) for t in figure.data] == [[0, 1], [0, 1, 2]]
    assert [list(t.y) for t in figure.data] == [[0.01, 0.3], [0.2, 0.4, 0.1]]
    assert figure.layout.xaxis2.ticktext == ("0", "1", "300")


def test_a_menu_shows_one_choice_at_a_time() -> None:
    rows = [(m, a, k, k / 4 + i / 8) for i, m in enumerate(("simclr", "supcon")) for a in ("blur", "crop") for k in range(3)]
    table = pd.DataFrame(rows, columns=["model", "augmentation", "level", "mean"]).assign(low=0.0, high=1.0)
    figure = lines_figure(table, x="level", names="level", series="model", choice="augmentation", x_title="level", y_title="share")
    assert [t.visible for t in figure.data] == [True, True, False, False]
    button = figure.layout.updatemenus[0].buttons[1]
    assert button.label == "crop"
    assert button.args[0]["visible"][:4] == [False, False, True, True]
    assert list(figure.data[3].y) == [0.125, 0.375, 0.625]
    assert "Last value of each line: blur simclr: 0.50 (0.00 to 1.00) at 2; crop simclr: 0.50" in alt_of(figure)
    assert "crop supcon: 0.62" in alt_of(figure)
