"""Figures of inversions hold the pictures and numbers they are made of."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from xaicl_lib import InputError
from xaicl_lib.studies.inversion import Inversion
from xaicl_lib.views.gallery import CELL
from xaicl_lib.views.inversion import _rows_of, convergence_figure, grid_figure, search_figure
from xaicl_lib.views.render import _figure_json, alt_of


def flat(*rgb: float) -> torch.Tensor:
    return torch.tensor(rgb).view(3, 1, 1).expand(3, 16, 16)


RED, GREEN, BLUE = flat(0.9, 0.1, 0.1), flat(0.1, 0.9, 0.1), flat(0.1, 0.1, 0.9)


def picture(source: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))), float) / 255


def inversion(*frames: torch.Tensor, at: tuple[int, ...]) -> Inversion:
    way, none = torch.stack([torch.stack([frame, frame.flip(0)]) for frame in frames]), torch.zeros(2)
    return Inversion(way[-1], none, none, torch.zeros(3, 2), at, way, 0.0)


def test_each_picture_stands_in_its_cell() -> None:
    figure = grid_figure({("m", "stem"): inversion(GREEN, at=(0,))}, torch.stack([RED, BLUE]), {0: "<one>", 1: "two"})
    first, second = figure.layout.images
    assert (first.y < second.y, first.sizex, first.sizey) == (True, 2 * CELL, CELL)
    shown = picture(first.source)
    assert np.allclose(shown[CELL // 2, CELL // 2], [0.9, 0.1, 0.1], atol=0.05)
    assert np.allclose(shown[CELL // 2, CELL // 2 + CELL], [0.1, 0.9, 0.1], atol=0.05)
    assert [a.text for a in figure.layout.annotations] == ["&lt;one&gt;: m", "two: m"]
    assert list(figure.layout.xaxis.ticktext) == ["target", "stem"]
    whole = grid_figure({("m", "stem"): inversion(RED, at=(0,))}, torch.stack([RED, BLUE]), {0: "red"})
    assert "Left at stem: red, m 1.00 of the colour" in alt_of(whole)
    with pytest.raises(InputError, match="the same stages of each model, got none of m, top; o, stem"):
        grid_figure({("m", "stem"): inversion(RED, at=(0,)), ("o", "top"): inversion(RED, at=(0,))}, torch.stack([RED, BLUE]), {0: "red"})


def test_the_slider_goes_through_the_frames() -> None:
    found = {"stem": inversion(RED, GREEN, at=(0, 9)), "stage 1": inversion(BLUE, RED, at=(0, 9))}
    figure = search_figure(found, {0: "first", 1: "second"})
    assert [frame.name for frame in figure.frames] == ["0", "9"]
    assert [step.args[0] for step in figure.layout.sliders[0].steps] == [("0",), ("9",)]
    start, end = (picture(frame.layout.images[1].source)[32, [32, 96]] for frame in figure.frames)
    assert np.allclose(start, [[0.1, 0.1, 0.9], [0.9, 0.1, 0.1]], atol=0.05), "the second target has red and blue exchanged"
    assert np.allclose(end, [[0.1, 0.9, 0.1], [0.1, 0.1, 0.9]], atol=0.05)
    assert figure.layout.images[1].source == figure.frames[1].layout.images[1].source, "the result is seen first"
    assert len(json.loads(_figure_json(figure))["frames"]) == 2
    with pytest.raises(InputError, match="frames of the same steps"):
        search_figure({**found, "x": inversion(RED, at=(0,))}, {0: "first"})


def test_a_row_for_each_target_and_model() -> None:
    found = {("m", "stem"): inversion(RED, at=(0,)), ("m", "stage 1"): inversion(GREEN, at=(0,)), ("o", "stem"): inversion(BLUE, at=(0,))}
    found["o", "stage 1"] = found["m", "stem"]
    rows, columns = _rows_of(found, torch.stack([GREEN, BLUE]), {1: "second"})
    assert columns == ["target", "stem", "stage 1"]
    assert [name for name, _ in rows] == ["second: m", "second: o"]
    want = [[BLUE, RED.flip(0), GREEN.flip(0)], [BLUE, BLUE.flip(0), RED.flip(0)]]
    assert all(torch.equal(a, b) for (_, got), row in zip(rows, want, strict=True) for a, b in zip(got, row, strict=True))


def test_the_way_ends_at_the_last_error() -> None:
    curve = torch.linspace(1, 0.1, 301)[:, None].expand(301, 2)
    one = Inversion(torch.zeros(2, 3, 4, 4), curve[-1], torch.tensor([0.2, 0.4]), curve, (), torch.zeros(0, 2, 3, 4, 4), 0.0)
    line, grey = convergence_figure({"stem": one}).data
    assert (line.x[0], line.x[-1]) == (1, 301)
    assert (line.y[0], line.y[-1]) == pytest.approx((1, 0.1))
    assert grey.y == pytest.approx((0.3, 0.3))
    assert alt_of(convergence_figure({"stem": one})).endswith("stem ends at 0.1000, its grey copies are at 0.3000.")
