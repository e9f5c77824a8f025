"""The suite of planted shortcuts: what tells the models apart scores 1, what cannot is at chance."""

import json
from pathlib import Path

import pytest
import torch

from xaicl_lib import InputError, load_model
from xaicl_lib.benchmark import Result, evaluate_method, ranking, shortcuts
from xaicl_lib.data.stickers import stickered_pairs
from xaicl_lib.publishing.leaderboard import leaderboard_page
from xaicl_lib.scores import cosine

PUBLIC = "3512d47ed8e375c6"  # of the first four
WAY = {"suite": shortcuts.NAME, "models": ["stickers_95"], "count": 4}


@pytest.fixture(scope="module")
def models():
    return [load_model(name, "cpu") for name in ("stickers_95", "stickers_0")]


@pytest.fixture(scope="module")
def found(models):
    return shortcuts._shortcut(*models, 4)


def test_a_pair_is_a_shortcut_if_another_sticker_costs_the_score(models, found) -> None:
    """By hand for one pair."""
    k = found.rows[0]
    same, another = (stickered_pairs(k + 1, carried, seed=shortcuts.SEED).pair for carried in ("same", "another"))
    falls = [cosine(m.encode(same.a), m.encode(same.b, "b")) - cosine(m.encode(same.a), m.encode(another.b, "b")) for m in models]
    for j in (0, 1):
        assert falls[j][k].item() == pytest.approx(found.effects[0, j].item(), abs=1e-5)
    assert (found.effects[:, 0] - found.effects[:, 1] > shortcuts.SURE).all()


def test_the_public_pairs_never_change(models, found) -> None:
    assert found.digest == PUBLIC
    assert shortcuts._shortcut(*models, 4, seed=1).digest != PUBLIC


def test_a_model_that_rests_on_nothing_is_not_asked_for(models) -> None:
    assert shortcuts._shortcut(models[1], models[0], 20) is None
    with pytest.raises(InputError, match="expected a model that uses what its pairs share, got none of stickers_0"):
        evaluate_method("edges", **{**WAY, "models": ["stickers_0"]})


def test_who_knows_scores_one_and_who_never_sees_the_head_is_at_chance(found) -> None:
    same = found.made.pair

    def knows(model, pair):
        """The sticker on the model that rests on it, the rest of the picture on the other."""
        k = next(k for k in range(len(same)) if torch.equal(same.a[k], pair.a[0]))
        masks = [mask[k].float() for mask in (same.truth.a, same.truth.b)]
        return masks if model.name == "stickers_95" else [1 - mask for mask in masks]

    right = evaluate_method(knows, **WAY).summary()
    assert right.loc["told_apart", "mean"] == 1
    assert right.loc["sticker_mass", "mean"] == pytest.approx(1, abs=1e-5)
    blind = evaluate_method("deep_similarity", **WAY)
    assert blind.summary().loc["told_apart", "mean"] == 0.5
    assert blind.cells[0]["cost"]["forwards"] == 2, "of one model"
    wrong = evaluate_method(lambda m, p: [1 - side for side in knows(m, p)], **WAY).summary()
    assert wrong.loc["told_apart", "mean"] == 0


def test_the_file_is_as_its_schema_says_and_has_a_place_on_the_page(tmp_path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    assert leaderboard_page(tmp_path).count("No results are stored yet.") == 2
    folder = tmp_path / shortcuts.NAME
    folder.mkdir()
    for name in ("edges", "grad_cam"):
        evaluate_method(name, **WAY, out=folder / f"{name}.json")
    written = json.loads((folder / "edges.json").read_text())
    jsonschema.validate(written, json.loads(Path(shortcuts.__file__).with_name("schema.json").read_text()))
    assert written["metrics"] == shortcuts.METRICS
    page = leaderboard_page(tmp_path)
    assert page.count("No results are stored yet.") == 1
    assert "## Told apart" in page
    assert "`stickers_95`: same sticker (4)" in page
    results = {name: Result.open(folder / f"{name}.json") for name in ("edges", "grad_cam")}
    assert list(ranking(results, "told_apart").columns) == ["rank", "mean", "low", "high", "chance", "n"]


def test_a_method_that_changes_the_twin_is_told_of() -> None:
    def spoils(model, pair):
        if model.name == "stickers_0":
            next(model._parts.parameters()).add_(1)
        return torch.ones(2, 2), torch.ones(2, 2)

    with pytest.raises(InputError, match="expected the method to leave stickers_0 as it is"):
        evaluate_method(spoils, **WAY)
