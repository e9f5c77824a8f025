"""Figures of texture bias hold the numbers of their tables and the pictures of their pairs."""

import base64
import io

import pandas as pd
import pytest
import torch
from PIL import Image

from xaicl_lib import Explanation, InputError, Pair
from xaicl_lib.studies.texture import Trials
from xaicl_lib.views.gallery import CELL
from xaicl_lib.views.render import alt_of
from xaicl_lib.views.texture import choice_figure, partners_figure, scores_figure, shares_figure

TABLE = pd.DataFrame({"model": ["a", "b"], "data": ["photos", "photos"], "mean": [0.7, 0.4], "low": [0.6, 0.3], "high": [0.8, 0.5]})
TRIALS = pd.DataFrame(
    {
        "model": ["a", "a", "b"], "name": ["x", "y", "z"], "partner": ["p", "q", "r"], "shape_partner": ["s", "t", "u"],
        "score": [0.9, 0.1, 0.3], "shape_score": [0.2, 0.5, 0.1], "wins": pd.array([True, False, True], dtype="boolean"),
    }
)  # fmt: skip


def test_shares_stand_beside_the_papers_and_a_coin() -> None:
    figure = shares_figure(TABLE)
    dots, paper, coin = figure.data
    assert list(dots.x) == [0.7, 0.4]
    assert (paper.name, paper.x) == ("the paper's 64 %", (0.64, 0.64))
    assert coin.x == (0.5, 0.5)
    assert paper.offsetgroup == coin.offsetgroup, "both lines stand where their values are"


def test_points_lie_above_the_diagonal_where_the_cue_wins() -> None:
    figure = scores_figure(TRIALS)
    diagonal, *points = figure.data
    assert diagonal.x == diagonal.y
    assert [(list(t.x), list(t.y)) for t in points] == [([0.2], [0.9]), ([0.5], [0.1]), ([0.1], [0.3]), ([], [])]
    assert [t.visible for t in points] == [True, True, False, False]
    assert figure.layout.updatemenus[0].buttons[1].args[0]["visible"] == [True, False, False, True, True]
    assert alt_of(figure).endswith("a: 1 of 2; b: 1 of 1.")


def rows(n: int = 3) -> dict[str, tuple[Pair, Explanation]]:
    """Black and white pairs, with maps whose largest value is in the second row."""
    pair = Pair(torch.zeros(n, 3, 16, 16), torch.ones(n, 3, 16, 16))
    maps = torch.zeros(n, 4, 4)
    maps[:, 0, 0] = 1
    scores = torch.tensor([0.1, 0.5, 0.9])
    return {
        "shape": (pair, Explanation(maps, maps, scores, method="edges")),
        "texture": (pair, Explanation(10 * maps, 10 * maps, scores.flip(0), method="edges")),
    }


NAMES = [[f"{k}", "cat & dog", "dog"] for k in range(3)]


def picture(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


def test_a_slider_chooses_the_trial_and_the_winner_is_marked() -> None:
    figure = choice_figure(rows(), NAMES, start=2)
    steps = figure.layout.sliders[0].steps
    assert [step.label for step in steps] == ["0", "1", "2"]
    assert figure.layout.sliders[0].active == 2
    assert figure.layout.annotations[0].text == "<b>same shape: 0.90 · cat &amp; dog</b>"
    assert figure.layout.annotations[1].text == "same texture: 0.10 · dog"
    change = steps[0].args[0]
    assert change["annotations[0].text"] == "same shape: 0.10 · cat &amp; dog"
    assert change["annotations[1].text"].startswith("<b>same texture: 0.90")
    assert steps[2].args[0]["images[0].source"] == figure.layout.images[0].source
    assert "same shape 0.90, same texture 0.10" in alt_of(figure)


def test_all_maps_of_a_trial_share_one_scale() -> None:
    strips = [picture(image.source) for image in choice_figure(rows(), NAMES).layout.images]
    assert [strip.size for strip in strips] == [(4 * CELL, CELL)] * 2

    def brightness(row: int, column: int, x: int, y: int) -> int:
        return sum(strips[row].getpixel((column * CELL + x, y)))

    assert brightness(0, 0, 60, 60) < 60, "side a is black"
    assert brightness(0, 1, 60, 60) > 700, "side b is white"
    weak, strong = (brightness(row, 2, 12, 12) for row in (0, 1))
    assert strong > weak + 150, "a tenth of the largest value is dark"


def test_names_must_fit() -> None:
    with pytest.raises(InputError, match=r"as many names as trials in each row, got \[2, 3\]"):
        choice_figure(rows(), NAMES[:2])
    one_sided = {"shape": (Pair(torch.zeros(1, 3, 16, 16)), Explanation(torch.ones(1, 4, 4), None, torch.ones(1)))}
    with pytest.raises(InputError, match="without side b"):
        choice_figure(one_sided, [["0", "x"]])


def test_each_image_stands_beside_its_partners() -> None:
    cues = {"shape": torch.tensor([1, 2]), "texture": torch.tensor([2, 0]), "nothing": torch.tensor([3, 3])}
    trials = Trials("photos", torch.rand(4, 3, 8, 8), list("abcd"), torch.tensor([0, 1]), cues)
    figure = partners_figure([trials, trials])
    assert [t.text for t in figure.layout.annotations] == ["the image", "same shape", "same texture", "nothing shared"] * 4
    sources = [image.source for image in figure.layout.images]
    assert sources[1] == sources[4], "the image of the second trial is the shape partner of the first"
