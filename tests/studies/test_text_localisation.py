"""Zero-shot localisation on a model that really reads colours: its maps find the object that the text names."""

import pytest
import torch
from torch import nn

from tests.conftest import assert_close
from xaicl_lib import InputError, Pair, PairModel, explain
from xaicl_lib.data.captions import phrase
from xaicl_lib.data.drawing import PALETTE
from xaicl_lib.data.scenes import COLOURS
from xaicl_lib.metrics.localisation import SHARES
from xaicl_lib.pair import resize_map
from xaicl_lib.scores import corpus_similarity
from xaicl_lib.studies.text_localisation import (
    _explain_text,
    _other_texts,
    card_and_factors,
    explain_either,
    locate_texts,
    shares_on_objects,
    two_object_scenes,
)


class Colours(nn.Module):
    """How near each pixel is to each colour of the palette: (n, 3, h, w) to (n, 8, h, w)."""

    def forward(self, x):
        hue = x / x.norm(dim=1, keepdim=True).clamp_min(1e-6)
        palette = PALETTE / PALETTE.norm(dim=1, keepdim=True)
        return (torch.einsum("kc,nchw->nkhw", palette.to(x), hue) - 0.97).clamp_min(0)


class ColourWords(nn.Module):
    """A text is the colours that it names."""

    def forward(self, texts):
        return torch.stack([torch.tensor([float(colour in text.split()) for colour in COLOURS]) for text in texts]) + 1e-3


@pytest.fixture
def reader() -> PairModel:
    return PairModel(Colours(), size=48, text=ColourWords(), name="colours")


def test_scenes_hold_two_objects_that_differ() -> None:
    images, masks, facts = two_object_scenes(6, 48)
    assert images.shape == (6, 3, 48, 48)
    assert masks.flatten(2).any(2).all()
    assert not (masks[:, 0] & masks[:, 1]).any()
    assert (facts[:, 0, :3] != facts[:, 1, :3]).all()


def test_a_model_of_colours_finds_them(reader) -> None:
    table = locate_texts(
        reader, 8, methods={"Grad-CAM": "grad_cam", "random map": "random_map"}, foils=["other object"], factors=("colour",)
    )
    mass = table[table["metric"] == "relevance_mass"].groupby("way")[["value", "other", "chance"]].mean()
    assert mass.loc["Grad-CAM", "value"] > 3 * mass.loc["Grad-CAM", "other"]
    assert mass.loc["Grad-CAM", "value"] > 3 * mass.loc["Grad-CAM", "chance"]
    assert mass.loc["random map", "value"] == pytest.approx(mass.loc["random map", "chance"], abs=0.05)


def test_rows_are_those_of_one_scene(reader) -> None:
    images, masks, facts = two_object_scenes(3, 48)
    table = locate_texts(reader, 3, methods={"Grad-CAM": "grad_cam"})
    first, second = facts[1].tolist()
    texts = [phrase(thing, ("colour", "shape")) for thing in (first, second)]
    foils = {"none": None, "other object": texts[1:], "other texts": _other_texts(texts[0], ("colour", "shape"))}
    for foil, against in foils.items():
        score = corpus_similarity(reader.embed_text(texts[:1]), None if against is None else reader.embed_text(against))
        made = explain(reader, Pair(images[1:2]), "grad_cam", score=score)
        rows = table[(table["foil"] == foil) & (table["pair"] == 1)].set_index("metric")
        map_ = resize_map(made.a, (48, 48))
        for metric, share in SHARES.items():
            assert rows.loc[metric, "value"] == pytest.approx(float(share(map_, masks[1:2, 0])), rel=1e-5)
            assert rows.loc[metric, "other"] == pytest.approx(float(share(map_, masks[1:2, 1])), rel=1e-5)
        assert rows.loc["pointing_game", "chance"] == pytest.approx(float(masks[1, 0].double().mean()))


def test_either_object_is_explained_against_the_other(reader) -> None:
    images, _, facts = two_object_scenes(2, 48, seed=1)
    either = explain_either(reader, images, facts, "grad_cam")
    (text, _), (other, map_) = either[1]
    assert [text, other] == [phrase(thing, ("colour", "shape")) for thing in facts[1].tolist()]
    score = corpus_similarity(reader.embed_text([other]), reader.embed_text([text]))
    assert_close(map_, explain(reader, Pair(images[1:]), "grad_cam", score=score).a[0])


def test_tables_of_objects_and_foils(reader) -> None:
    table = locate_texts(reader, 3, methods={"Grad-CAM": "grad_cam"}, factors=("colour",))
    on = shares_on_objects(table).set_index("object")["mean"]
    mass = table[(table["metric"] == "relevance_mass") & (table["foil"] == "other object")]
    assert (on["named"], on["not named"]) == pytest.approx((mass["value"].mean(), mass["other"].mean()))
    card, knows = card_and_factors("scenes_clip")
    assert knows.loc["colour", "zero-shot"] == card["zero_shot"]["colour"]
    assert knows.loc["place", "chance"] == pytest.approx(1 / 9)


def test_other_texts_are_all_but_one() -> None:
    assert len(_other_texts("a red disc", ("colour", "shape"))) == 63
    assert len(_other_texts("a red thing", ("colour",))) == 7
    assert "a red disc" not in _other_texts("a red disc", ("colour", "shape"))


def test_questions_without_an_answer(reader) -> None:
    images, _, facts = two_object_scenes(2, 48)
    with pytest.raises(InputError, match="unknown foil 'sky'; there are: none"):
        _explain_text(reader, images, facts, "grad_cam", foil="sky")
    with pytest.raises(InputError, match="tell both objects apart, got 'a thing' for either"):
        _explain_text(reader, images, facts, "grad_cam", factors=())
    mute = PairModel(Colours(), size=48)
    with pytest.raises(InputError, match="a text side"):
        _explain_text(mute, images, facts, "grad_cam")
    assert_close(_explain_text(reader, images, facts, "grad_cam").a[1:], _explain_text(reader, images[1:], facts[1:], "grad_cam").a)
