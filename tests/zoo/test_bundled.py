"""The bundled models load, are the ones their cards describe, and do what the cards say."""

import hashlib
import json
import shutil

import pytest
import torch

from tests.conftest import close
from xaicl_lib import InputError, list_models, load_model
from xaicl_lib.data.photos import imagenette
from xaicl_lib.training.finish import encode, knn_accuracy
from xaicl_lib.training.train import normalize
from xaicl_lib.zoo.bundled import WEIGHTS, model_card

NAMES = pytest.mark.parametrize("name", list_models())


def test_simclr_is_there() -> None:
    assert "simclr" in list_models()


@NAMES
def test_card_tells_the_truth_about_the_file(name) -> None:
    card = model_card(name)
    assert hashlib.sha256((WEIGHTS / f"{name}.safetensors").read_bytes()).hexdigest() == card["sha256"]
    model = load_model(name, "cpu")
    parameters = {p for role in ("features", "head") for p in model._parts[role].parameters()}
    assert sum(p.numel() for p in parameters) == card["parameters"] <= 1_300_000
    assert len(card["history"]) == card["epochs"] == card["recipe"]["epochs"]
    assert {"data", "recipe", "hardware", "versions", "licence", "seconds", "knn_accuracy"} <= set(card)


@NAMES
def test_maps_are_fine_enough_to_read(name) -> None:
    model = load_model(name, "cpu")
    x = torch.rand(1, 3, model.size, model.size)
    assert min(model.features_a(x).shape[2:]) >= 6


@NAMES
def test_input_space_is_that_of_the_training(name) -> None:
    pixels = torch.rand(2, 3, 96, 96)
    close(load_model(name, "cpu").normalize(pixels), normalize(pixels), rtol=1e-6, atol=1e-6)


@NAMES
def test_models_are_not_collapsed(name) -> None:
    spread = model_card(name)["spread"]
    assert spread["std"] > 0.3
    assert spread["effective_rank"] > 10


def test_simclr_reaches_its_accuracy(imagenette_folder) -> None:
    """On a tenth of the photos, so that the test takes seconds; fewer neighbours to ask cost a few points."""
    model = load_model("simclr", "cpu")
    train, test = (imagenette(split, model.size, imagenette_folder, limit=limit) for split, limit in (("train", 1500), ("val", 600)))
    features = [encode(model.fast.features_a, part[0]) for part in (train, test)]
    assert knn_accuracy(features[0], train[1], features[1], test[1]) > model_card("simclr")["knn_accuracy"] - 0.1


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
