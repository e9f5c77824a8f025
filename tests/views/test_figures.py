"""The figure shows what was computed, on one scale a row, and its text is text."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import build, random_pair
from xaicl_lib import Explanation, InputError, Pair, explain
from xaicl_lib.views.figures import COLUMN_NAMES, WIDE, _fitting, _rows, alt_text, pair_figure, save_png


def made(a, b, method="grad_cam") -> Explanation:
    return Explanation(torch.tensor([a]), torch.tensor([b]), torch.tensor([0.5]), method=method, params={"seed": 0})


FAINT = made([[0.0, 0.1], [0.0, 0.0]], [[0.0, 0.0], [0.0, 2.0]])
SIGNED = made([[0.0, -3.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 2.0]])


def test_both_maps_of_a_row_share_one_scale() -> None:
    figure = pair_figure(random_pair(1), [FAINT, SIGNED])
    heat = [trace for trace in figure.data if trace.type == "heatmap"]
    assert [(t.zmin, t.zmax) for t in heat] == [(0, 2), (0, 2), (-3, 3), (-3, 3)]
    np.testing.assert_allclose(heat[0].z, FAINT.a[0])
    np.testing.assert_allclose(heat[3].z, SIGNED.b[0])
    assert heat[0].colorscale != heat[2].colorscale
    texts = [a.text for a in figure.layout.annotations]
    assert "grad_cam · score 0.500 · scale up to 2" in texts
    assert "grad_cam · score 0.500 · scale up to 3" in texts


def test_a_map_of_zeros_is_drawn_as_zeros() -> None:
    nothing = made([[0.0, 0.0]], [[0.0, 0.0]])
    heat = [trace for trace in pair_figure(random_pair(1), nothing).data if trace.type == "heatmap"]
    assert heat[0].zmax > 0
    assert "scale up to 0" in _rows([nothing])[0].title


def test_parameters_that_were_set_are_in_the_title() -> None:
    one = explain(build("projected"), random_pair(), reduction="max")
    assert _rows([one])[0].title.startswith("interaction_cam(reduction=max) ")


def test_names_are_escaped() -> None:
    figure = pair_figure(random_pair(1), FAINT, names=("<b>x</b>", "y"))
    assert "&lt;b&gt;x&lt;/b&gt;" in [a.text for a in figure.layout.annotations]


def test_alt_text_says_where_maps_are_strongest() -> None:
    assert "strongest at the top right of cat and bottom right of dog" in alt_text([FAINT], ("cat", "dog"))


def test_pictures_are_square_at_the_width_meant() -> None:
    layout = pair_figure(random_pair(1), [FAINT] * 3).layout
    wide = layout.xaxis.domain[1] * (740 - layout.margin.r)
    tall = (layout.yaxis.domain[1] - layout.yaxis.domain[0]) * (layout.height - layout.margin.t - layout.margin.b)
    assert wide == pytest.approx(tall, rel=1e-6)
    assert layout.meta["fixed"] + layout.meta["share"] * 740 == pytest.approx(WIDE.height(740, 3))


def test_on_a_phone_the_maps_take_the_whole_width() -> None:
    narrow = pair_figure(random_pair(1), [FAINT, SIGNED], names=("<a>", "b")).layout.meta["narrow"]
    updates = narrow["layout"]
    wide = (updates["xaxis7.domain"][1] - updates["xaxis7.domain"][0]) * (360 - 58)
    tall = (updates["yaxis7.domain"][1] - updates["yaxis7.domain"][0]) * (narrow["fixed"] + narrow["share"] * 360 - 28 - 84)
    assert wide == pytest.approx(tall, rel=1e-6)
    assert [updates[f"images[{k}].visible"] for k in range(8)] == [False, False, True, True] * 2
    assert narrow["traces"] == [3, 7]


def test_the_index_chooses_the_pair() -> None:
    model, pair = build("projected"), random_pair(3)
    all_three = explain(model, pair)
    assert _rows([all_three], 2)[0].limit == _rows([explain(model, pair[2])])[0].limit


def test_still_picture(tmp_path) -> None:
    save_png(tmp_path / "x.png", random_pair(1), [FAINT, SIGNED], names=("$cat", "dog$"))
    with Image.open(tmp_path / "x.png") as image:
        assert image.width > image.height / 1.2


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(InputError, match="at least one explanation"):
        pair_figure(random_pair(1), [])
    one_sided = Explanation(torch.zeros(1, 2, 2), None, torch.zeros(1), method="grad_cam")
    with pytest.raises(InputError, match="without side b"):
        pair_figure(random_pair(1), one_sided)
    with pytest.raises(InputError, match="without side b"):
        pair_figure(Pair(random_pair(1).a), FAINT)


@pytest.mark.parametrize(
    "name", ["a" * 80 + ".jpg", "W" * 60, "写真" * 30, "IMG 2026-11-28 at 22.15.31 (edited copy of the holiday by the sea).jpeg"]
)
def test_titles_of_long_names_stay_within_their_pictures(name) -> None:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    room = 18.9
    for title in COLUMN_NAMES:
        short = _fitting(title, (name, name), room)
        assert short.startswith("map of " if "map" in title else name[0])
        assert short[-4:] == name[-4:]
        assert "…" in short
        assert TextPath((0, 0), short, prop=FontProperties(size=1)).get_extents().width <= room
        assert _fitting(title, ("cat.png", "dog.png"), room) == title.format("cat.png", "dog.png")
    assert len({a.text for a in pair_figure(random_pair(1), FAINT, names=(name, "b")).layout.annotations if "…" in a.text}) == 2
