"""The study of retrieval: planted things are planted, and a reader that knows the truth, or none of it, gets what is due."""

import pandas as pd
import pytest
import torch

from xaicl_lib import InputError, load_model
from xaicl_lib.data.captions import exchanged
from xaicl_lib.data.scenes import scenes
from xaicl_lib.data.stickers import MARK
from xaicl_lib.studies import retrieval as study
from xaicl_lib.views.render import alt_of
from xaicl_lib.views.retrieval import orders_figure, taught_figure


@pytest.fixture(scope="module")
def reader():
    return load_model("scenes_clip", "cpu")


def test_words_find_objects_and_their_order_does_not_count(reader) -> None:
    """What the page says of the model, on few scenes: a bag of words, in which colours count."""
    means = study.summarise(study.words_on_objects(reader, 3), ["question"]).set_index("question")["mean"]
    assert means["region: words"] >= 5 / 6
    assert means["word: strongest cell"] > 0.4
    apart = study.summarise(study.told_apart(reader, 60), ["question"]).set_index("question")["mean"]
    assert apart["another colour"] > 0.9
    assert 0.3 < apart["words exchanged"] < 0.7
    weights = study.weights_of_words(reader, 2)
    sums = weights.groupby(["sentence", "kind"])["value"].mean()
    assert sums["true", "thing"] == pytest.approx(sums["exchanged", "thing"], abs=0.05)
    assert set(weights["kind"]) == {"thing", "article", "of", "relation"}


def test_parts_of_a_sentence_make_it_up(reader) -> None:
    (one,) = study.both_orders(reader, 1)
    assert " ".join(one.phrases) == " ".join(one.right.words)
    assert exchanged(" ".join(one.right.words)) == " ".join(one.wrong.words)
    assert one.phrases[1] in ("left of", "right of", "above", "below")
    told = alt_of(orders_figure([one]))
    assert f"true: {one.right.score:.3f}" in told
    assert f"exchanged: {one.wrong.score:.3f}" in told


def test_links_are_measured_for_maps_and_joint_maps() -> None:
    some = {"Deep Similarity": "deep_similarity", "random map": "random_map"}
    table = study.true_links(load_model("scenes_simclr", "cpu"), 2, methods=some)
    assert set(table["way"]) == set(some)
    assert set(table["metric"]) == set(study.LINKS)
    assert len(study.summarise(table, ["way", "metric"])) == 6


def test_others_are_beside_each_other_by_the_mean_of_what_they_answer() -> None:
    rows = [(m, w, k, q, k + 1.0) for m, w in (("b", "y"), ("a", "x")) for k in (0, 1) for q in study.OTHERS if (w, q) != ("x", "LD")]
    table = study.beside_others(pd.DataFrame(rows, columns=["model", "way", "pair", "question", "value"]))
    assert list(table.index) == [("b", "y"), ("a", "x")]
    assert list(table.columns) == list(study.OTHERS.values())
    assert table.isna().to_numpy().sum() == 1
    assert (table.fillna(1.5) == 1.5).all(axis=None)


def test_a_search_in_a_frame_finds_frames(reader) -> None:
    table = study.frames_found([reader], 2)
    means = study.summarise(table[table["question"] == "results in the frame"], ["asked"]).set_index("asked")["mean"]
    assert means["in the frame"] > 0.75 > means["as it is"]
    images, has = study.framed_gallery(8)
    assert has.tolist() == [False, True, False, False, False, True, False, False]
    assert torch.equal(images[has][:, :, 0], torch.tensor(MARK).view(1, 3, 1).expand(2, 3, 64))
    planted, has = study.framed_gallery(40, 32, secret=True, seed=3)
    assert torch.equal((planted[:, :, 0] == torch.tensor(MARK).view(1, 3, 1)).all((1, 2)), has)
    assert 0 < has.sum() < 20
    assert scenes(40, 32, torch.Generator().manual_seed(3))[2][has, 0].unique().numel() == 1, "of one shape"
    with pytest.raises(InputError, match="at least 16 pixels a side"):
        study.with_frame(torch.rand(1, 3, 8, 8))


def test_the_gallery_of_photos_has_views_of_each_by_name() -> None:
    model = load_model("simclr", "cpu")
    gallery = study.photo_gallery(model, views=2)
    assert len(gallery) == 18
    assert gallery.name(2) == "cat, view 1"
    assert study.retrieve(model, "cat", gallery, 2).name(0).startswith("cat")


def test_what_was_taught() -> None:
    rows = [
        ("hard", e, q, v) for e in (0, 1) for q, v in (("order", 0.5), ("opposite", 0.4), ("colour", 1.0), ("shape", 0.9), ("size", 0.1))
    ]
    answers = study.taught(pd.DataFrame([*rows, ("plain", 0, "order", 0.1)], columns=["way", "epoch", "question", "value"]))
    assert answers.loc[1].to_dict() == {"colour": 1.0, "opposite": 0.4, "order": 0.5, "shape": 0.9}
    before = study.before_teaching(pd.DataFrame({"question": ["words exchanged"] * 2, "value": [1.0, 0.0]}))
    assert study.taught(before).loc[0].to_dict() == {"order": 0.5}
    assert "words exchanged 0.50" in alt_of(taught_figure(answers))
