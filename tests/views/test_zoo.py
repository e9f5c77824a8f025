"""The figures of the models' page show what the cards and tables say."""

import base64
import io

import torch
from PIL import Image

from tests.studies.test_models import card
from xaicl_lib import list_models
from xaicl_lib.studies.models import Gallery, factor_table
from xaicl_lib.training.recipes import RECIPES
from xaicl_lib.views import zoo
from xaicl_lib.views.gallery import CELL
from xaicl_lib.views.render import alt_of


def test_every_model_has_its_own_colour_within_its_family() -> None:
    assert set(RECIPES) | set(list_models()) <= set(zoo.COLOURS)
    for scenes in (False, True):
        own = [zoo.colour(name) for name in zoo.COLOURS if name.startswith("scenes") == scenes]
        assert len(set(own)) == len(own)


def test_curves_have_a_panel_for_each_loss() -> None:
    cards = [{**card(name), "history": [{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 1.25}]} for name in ("simclr", "b", "c")]
    cards[2]["recipe"] = {"loss": "simsiam"}
    figure = zoo.curves_figure(cards)
    assert [a.text for a in figure.layout.annotations] == ["nt_xent", "simsiam"]
    assert [trace.xaxis for trace in figure.data] == ["x", "x", "x2"]
    assert figure.data[0].y == (3.0, 1.25)
    assert figure.data[0].line.color == zoo.colour("simclr")
    assert "simclr from 3.00 to 1.25" in alt_of(figure)


def test_retrievals_show_the_pictures_that_were_found() -> None:
    gallery = torch.stack([torch.full((3, 8, 8), v) for v in (0.0, 0.5, 1.0)])
    found = {"simclr": (torch.tensor([[2, 1]]), torch.tensor([[0.9, 0.1]])), "other": (torch.tensor([[1, 2]]), torch.tensor([[0.8, 0.2]]))}
    figure = zoo.retrieval_figure(Gallery(gallery[:1], ["A scene"], gallery, ["black", "grey", "<white>"]), found)
    strips = [Image.open(io.BytesIO(base64.b64decode(image.source.split(",")[1]))).convert("L") for image in figure.layout.images]
    middles = [[strip.getpixel((CELL * (c + 0.5), CELL / 2)) for c in range(3)] for strip in strips]
    assert [[round(value / 255, 1) for value in row] for row in middles] == [[0, 1, 0.5], [0, 0.5, 1]]
    assert figure.data[0].hovertext[1] == "simclr: 0.90, &lt;white&gt;"
    assert alt_of(figure).startswith("A scene and its nearest neighbours")
    assert alt_of(figure).endswith("by simclr: <white>; by other: grey.")


def test_the_figure_of_factors_draws_its_table() -> None:
    factors = factor_table([card("scenes_simclr", colour=0.6), card("scenes_simclr_no_jitter", colour=0.8)])
    bars = zoo.factors_figure(factors).data[1]
    assert dict(zip(bars.x, bars.y, strict=True))["colour"] == 0.8
    assert "colour 0.60 to 0.80" in alt_of(zoo.factors_figure(factors))
