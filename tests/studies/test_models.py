"""The tables of the models' page."""

import pytest
import torch

from tests.conftest import assert_close, build
from xaicl_lib.data.photos import open_photo
from xaicl_lib.data.scenes import FACTORS
from xaicl_lib.scores import cosine
from xaicl_lib.studies.models import (
    SPREAD,
    Gallery,
    card_table,
    cards,
    factor_table,
    many_scenes,
    nearest_by,
    tiles,
    twin_table,
    validation_photos,
)


def card(name: str, **linear: float) -> dict:
    return {
        "name": name, "parameters": 5, "epochs": 3, "seconds": 90, "knn_accuracy": 0.5, "knn_accuracy_untrained": 0.2,
        "recipe": {"loss": "nt_xent", "embedding": 4}, "spread": {"std": 0.9, "effective_rank": 3.5},
        "factors": {factor: {"knn": 0.5, "linear": linear.get(factor, 0.5)} for factor in FACTORS},
    }  # fmt: skip


def test_card_table_reads_old_cards_too() -> None:
    table = card_table([card("old"), {**card("new"), "linear_accuracy": 0.7}])
    assert table.loc["old", "backbone"] == "slim_resnet"
    assert table.loc["old", "minutes"] == 1.5
    assert table["linear probe"].isna().tolist() == [True, False]
    assert table.loc["old", SPREAD].tolist() == [0.9, 3.5, 4]


def test_factor_table_knows_what_guessing_gives() -> None:
    table = factor_table([card("x", shape=0.8)]).set_index("factor")
    assert table.loc["shape", "linear"] == 0.8
    assert table.loc["place", "chance"] == pytest.approx(1 / 9)


def test_twin_table_is_the_difference_with_its_interval() -> None:
    table = twin_table([card("base", colour=0.6), card("base_twin", colour=0.8), card("other")], "base").set_index("factor")
    assert set(table["model"]) == {"base_twin"}
    row = table.loc["colour"]
    half = 1.96 * ((0.8 * 0.2 + 0.6 * 0.4) / 3000) ** 0.5
    assert row["difference"] == pytest.approx(0.2)
    assert (row["low"], row["high"]) == pytest.approx((0.2 - half, 0.2 + half))
    assert table.loc["shape", "low"] < 0 < table.loc["shape", "high"]


def test_tiles_are_parts_of_the_photos_that_are_named() -> None:
    gallery = tiles(["rocket", "cat"], 12)
    assert gallery.asked == ["A tile of rocket", "A tile of cat"]
    assert gallery.labels.count("cat") == 9
    at = [k for k, name in enumerate(gallery.labels) if name == "cat"][4]
    assert torch.equal(gallery.queries[1], gallery.pictures[at])
    middle = open_photo("cat", 240)[:, :, 72:168, 72:168].mean((2, 3))[0]
    assert_close(gallery.queries[1].mean((1, 2)), middle, rtol=0, atol=0.01)


def test_cards_and_pictures_by_what_they_are_of(monkeypatch) -> None:
    photos, scenes = cards("photos"), cards("scenes")
    assert {card["name"] for card in cards()} == {card["name"] for card in (*photos, *scenes)}
    assert all(card["name"].startswith("scenes_") == (card in scenes) for card in (*photos, *scenes))
    monkeypatch.delenv("XAICL_IMAGENETTE", raising=False)
    assert validation_photos(3) is None
    drawn = many_scenes(4, seed=2)
    assert torch.equal(drawn.queries, drawn.pictures[:1])
    assert drawn.asked == [f"A scene, {drawn.labels[0]},"]
    assert not torch.equal(many_scenes(4, seed=3).pictures, drawn.pictures)


def test_nearest_equals_sorting_by_the_score(monkeypatch) -> None:
    model = build("two branches").to(torch.float32)
    gallery = torch.rand(9, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    queries = gallery[[4, 7]]
    monkeypatch.setattr("xaicl_lib.studies.models.load_model", lambda name, device: model)
    indices, scores = nearest_by(["m"], Gallery(queries, ["", ""], gallery, [""] * 9), 3)["m"]
    for k, query in enumerate((4, 7)):
        others = [j for j in range(9) if j != query]
        z = model.embed_a(model.normalize(queries[k : k + 1]))
        every = {j: cosine(z, model.embed_b(model.normalize(gallery[j : j + 1]))).item() for j in others}
        want = sorted(others, key=lambda j: -every[j])[:3]
        assert indices[k].tolist() == want
        assert_close(scores[k], torch.tensor([every[j] for j in want]), rtol=1e-4, atol=1e-5)
