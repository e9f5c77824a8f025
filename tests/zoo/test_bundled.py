"""The bundled models load, are the ones their cards describe, and do what the cards say."""

import functools
import hashlib
import json
import shutil
import sys

import pytest
import torch

from tests.conftest import DATA, assert_close
from xaicl_lib import InputError, augment, list_models, load_model
from xaicl_lib.data.photos import SAMPLES, imagenette, open_photo
from xaicl_lib.data.scenes import scene_set, scenes
from xaicl_lib.networks.small import build_network, kept
from xaicl_lib.probes import knn_accuracy, probe_accuracy
from xaicl_lib.scores import cosine
from xaicl_lib.studies.models import twin_table
from xaicl_lib.training.finish import MIN_RANK, MIN_STD, _spread, encode
from xaicl_lib.training.recipes import RECIPES, from_facts
from xaicl_lib.training.train import normalize
from xaicl_lib.zoo.bundled import HEADS, WEIGHTS, model_card

NAMES = pytest.mark.parametrize("name", list_models())


def test_simclr_is_there() -> None:
    assert "simclr" in list_models()


def test_the_package_stays_small() -> None:
    files = [*WEIGHTS.iterdir(), *HEADS.iterdir()]
    assert sum(path.stat().st_size for path in files) <= 24 * 2**20
    assert {path.suffix for path in files} == {".json", ".safetensors"}


@NAMES
def test_card_tells_the_truth_about_the_file(name) -> None:
    card = model_card(name)
    data = (WEIGHTS / f"{name}.safetensors").read_bytes()
    assert hashlib.sha256(data).hexdigest() == card["sha256"]
    sizes = {role: sum(p.numel() for p in part.parameters()) for role, part in kept(build_network(card["recipe"])).items()}
    assert sum(sizes.values()) == card["parameters"]
    assert sum(size for role, size in sizes.items() if not role.endswith("_b")) <= 1_300_000
    assert len(card["history"]) == card["epochs"] == card["recipe"]["epochs"]
    said = {"data", "recipe", "hardware", "versions", "licence", "seconds", "knn_accuracy", "linear_accuracy", "head", "spread", "date"}
    assert said <= set(card)


@NAMES
def test_the_recipe_of_the_package_is_that_of_the_card(name) -> None:
    assert from_facts(model_card(name)["recipe"]) == RECIPES[name]


@NAMES
def test_training_helped(name) -> None:
    card = model_card(name)
    assert card["knn_accuracy"] > card["knn_accuracy_untrained"]
    assert card["history"][-1]["loss"] < card["history"][0]["loss"]


@NAMES
def test_maps_are_fine_enough_to_read(name) -> None:
    model = load_model(name, "cpu")
    x = torch.rand(1, 3, model.size, model.size)
    assert min(model.features_a(x).shape[2:]) >= 6


@NAMES
def test_input_space_is_that_of_the_training(name) -> None:
    pixels = torch.rand(2, 3, 96, 96)
    assert_close(load_model(name, "cpu").normalize(pixels), normalize(pixels), rtol=1e-6, atol=1e-6)


@functools.cache
def some_scenes(size: int) -> torch.Tensor:
    return scenes(120, size, torch.Generator().manual_seed(9))[0]


@NAMES
def test_models_are_not_collapsed(name) -> None:
    """As stored, on pictures that none of them was measured on."""
    model = load_model(name, "cpu")
    pictures = some_scenes(model.size)
    assert _spread(model.embed_a(model.normalize(pictures)))["std"] > MIN_STD
    assert model_card(name)["spread"]["std"] > MIN_STD
    assert model_card(name)["spread"]["effective_rank"] > MIN_RANK


@NAMES
def test_embeddings_tell_views_of_one_picture_from_others(name) -> None:
    model = load_model(name, "cpu")
    if "factors" in model_card(name):
        pictures = scenes(12, model.size)[0]
    else:
        pictures = torch.cat([open_photo(sample, model.size) for sample in SAMPLES])
    box = torch.tensor([[0.1, 0.05, -0.85, 0.9]]).expand(len(pictures), 4)  # a crop and mirroring: no training leaves these out
    views = augment.resized_crop(pictures, box, model.size)
    a, b = model.embed_a(model.normalize(pictures)), model.embed_b(model.normalize(views))
    scores = cosine(a.unsqueeze(1).expand(-1, len(b), -1).flatten(0, 1), b.repeat(len(a), 1)).view(len(a), -1)
    others = (scores.sum() - scores.trace()) / (scores.numel() - len(scores))
    assert scores.diag().mean() > others + 0.2


def test_moco_v3_has_two_different_branches() -> None:
    if "moco_v3" not in list_models():
        pytest.skip("moco_v3 is not bundled")
    model = load_model("moco_v3", "cpu")
    assert not model.symmetric
    x = torch.randn(1, 3, 64, 96)
    assert model.features_a(x).shape[2:] == (8, 12)
    assert not torch.allclose(model.features_a(x), model.features_b(x))
    assert not torch.allclose(model.embed_a(x), model.embed_b(x))


@pytest.fixture(scope="module")
def some_photos() -> list:
    folder = DATA / "imagenette2-128"
    if not folder.is_dir():
        pytest.skip("no Imagenette photos here")
    return [imagenette(split, 96, folder, limit=limit)[:2] for split, limit in (("train", 600), ("val", 200))]


@pytest.mark.parametrize("name", [n for n in list_models() if not n.startswith("scenes")])
def test_photo_models_reach_their_accuracy(some_photos, name) -> None:
    """On a few of the photos, so that the test takes a second; fewer neighbours to ask cost a few points."""
    model, (train, test) = load_model(name, "cpu"), some_photos
    card = model_card(name)
    fast = model.fast
    measured = torch.nn.Sequential(fast.features_a, fast.head_a) if "class token" in card["knn"] else fast.features_a
    features = [encode(measured, part[0]) for part in (train, test)]
    assert knn_accuracy(features[0], train[1], features[1], test[1]) > max(0.3, card["knn_accuracy"] - 0.16)


drawn = functools.cache(scene_set)  # models of one size are asked about the same scenes


@pytest.mark.parametrize("name", [n for n in list_models() if n.startswith("scenes")])
def test_scene_models_reach_their_accuracies(name) -> None:
    model, card = load_model(name, "cpu"), model_card(name)
    train, test = drawn("train", model.size, 1200), drawn("val", model.size, 400)
    features = [encode(model.fast.features_a, part[0]) for part in (train, test)]
    for k, factor in ((0, "shape"), (2, "colour"), (3, "background")):
        got = probe_accuracy(features[0], train[1][:, k], features[1], test[1][:, k])
        assert abs(got - card["factors"][factor]["linear"]) < 0.15, factor


def test_the_twin_without_jitter_keeps_more_colour() -> None:
    cards = [model_card(name) for name in ("scenes_simclr", "scenes_simclr_no_jitter")]
    assert twin_table(cards).set_index("factor").loc["colour", "low"] > 0


@pytest.fixture
def copied(tmp_path):
    for path in WEIGHTS.glob("simclr.*"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_tampered_weights_are_not_loaded(copied) -> None:
    path = copied / "simclr.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"sha256 .*changed or damaged, not loaded"):
        load_model("simclr", "cpu", folder=copied)
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        load_model("simclr", "cpu", folder=copied)


def test_weights_of_another_network_are_named(copied) -> None:
    card = json.loads((copied / "simclr.json").read_text())
    card["recipe"]["widths"] = [8, 8, 8, 8]
    (copied / "simclr.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="do not fit"):
        load_model("simclr", "cpu", folder=copied)


@pytest.mark.parametrize("name", ["resnet", "", "../weights/simclr", "SIMCLR"])
def test_unknown_models_are_named(name) -> None:
    with pytest.raises(InputError, match=r"unknown model .*there are: .*simclr"):
        load_model(name)


def test_loading_draws_no_random_numbers() -> None:
    state = torch.get_rng_state()
    load_model("simclr", "cpu")
    assert torch.equal(state, torch.get_rng_state())


def constants_after_loading() -> None:
    for name in [name for name in sys.modules if name.startswith(("xaicl_lib.data", "xaicl_lib.networks.text"))]:
        del sys.modules[name]
    load_model("scenes_clip", "cpu")
    constants = [sys.modules["xaicl_lib.data.scenes"].RING, sys.modules["xaicl_lib.data.drawing"].PALETTE]
    assert not any(constant.is_meta for constant in constants)


def test_loading_a_model_leaves_constants_of_modules_as_they_are(forks) -> None:
    """Weights are read into a network without values; modules that are first imported meanwhile have theirs all the same.

    In a process of its own: modules that are imported a second time would be others than those that other tests hold.
    """
    process = forks.Process(target=constants_after_loading)
    process.start()
    process.join(600)
    assert process.exitcode == 0
