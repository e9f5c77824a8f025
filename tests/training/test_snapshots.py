"""Snapshots are the network as it was, and taking them changes nothing."""

import json
from dataclasses import replace

import pytest
import torch

from tests.conftest import assert_close
from tests.training.test_training import LABELS, PHOTOS, tiny, trainer_of
from xaicl_lib import InputError, load_model
from xaicl_lib.cli import main
from xaicl_lib.training.finish import _snapshot_name, check_epochs, keeper
from xaicl_lib.training.train import Trainer
from xaicl_lib.zoo.bundled import _read_weights, model_card


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


@pytest.mark.parametrize("name", ["simclr", "moco_v3", "supervised"])
def test_a_snapshot_is_the_network_after_its_epoch(tmp_path, name) -> None:
    recipe = tiny(name)
    seen = {}
    keep = keeper((0, 2), tmp_path / "snapshots")

    def watch(trainer: Trainer) -> None:
        seen[trainer.epoch] = {k: v.clone() for k, v in trainer.network.state_dict().items()}
        keep(trainer)

    trainer = trainer_of(recipe, tmp_path / "watched")
    trainer.run(watch)
    assert list(seen) == [0, 1, 2, 3]
    assert sorted(files(tmp_path / "snapshots")) == [f"{name}_epoch0.safetensors", f"{name}_epoch2.safetensors"]
    for epoch in (0, 2):
        card = model_card(_snapshot_name(name, epoch), tmp_path / "snapshots")
        assert (card["epochs"], len(card["history"])) == (epoch, epoch)
        weights = _read_weights(tmp_path / "snapshots" / f"{card['name']}.safetensors", card["sha256"])
        for key, value in seen[epoch].items():
            want = value.half().float() if value.is_floating_point() else value
            assert torch.equal(weights[key], want), key
    model = load_model(_snapshot_name(name, 2), "cpu", folder=tmp_path / "snapshots")
    network = recipe.network()
    network.load_state_dict(seen[2])
    x = torch.rand(2, 3, 32, 32)
    assert_close(model.features_a(x), network.eval()["features"](x), rtol=2e-2, atol=2e-2)
    plain = trainer_of(recipe, tmp_path / "plain")
    plain.run()
    for (key, a), b in zip(plain.network.state_dict().items(), trainer.network.state_dict().values(), strict=True):
        assert torch.equal(a, b), key


def test_a_killed_training_leaves_the_same_snapshots(tmp_path) -> None:
    whole, killed = (trainer_of(tiny("simclr"), tmp_path / name) for name in ("whole", "killed"))
    whole.run(keeper((0, 1, 2, 3), tmp_path / "a"))
    keep = keeper((0, 1, 2, 3), tmp_path / "b")

    def dies(trainer: Trainer) -> None:
        keep(trainer)
        if trainer.epoch == 2:
            raise KeyboardInterrupt  # after the snapshot, before the checkpoint

    with pytest.raises(KeyboardInterrupt):
        killed.run(dies)
    resumed = trainer_of(tiny("simclr"), tmp_path / "killed")
    assert resumed.epoch == 1
    check_epochs((0, 1, 2, 3), resumed, tmp_path / "b")
    resumed.run(keep)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert len(files(tmp_path / "a")) == 4


def test_epochs_that_cannot_be_kept(tmp_path) -> None:
    fresh = trainer_of(tiny("simclr"), tmp_path / "run")
    check_epochs((0, 3), fresh, tmp_path / "run" / "snapshots")
    with pytest.raises(InputError, match=r"expected epochs to keep from 0 \(untrained\) to 3, the last one, got 4"):
        check_epochs((0, 4), fresh, tmp_path / "run" / "snapshots")
    fresh.run()
    done = trainer_of(tiny("simclr"), tmp_path / "run")
    with pytest.raises(InputError, match=r"still to come, got 1: the training in .* is at epoch 3 already"):
        check_epochs((1,), done, tmp_path / "run" / "snapshots")


def test_keeping_from_the_command_line(tmp_path, capsys, monkeypatch) -> None:
    small = replace(tiny("supcon"), epochs=2)
    data = PHOTOS, LABELS, list("pqrs")
    monkeypatch.setitem(__import__("xaicl_lib.training.train", fromlist=["RECIPES"]).RECIPES, "supcon", small)
    monkeypatch.setattr("xaicl_lib.training.data.load_data", lambda recipe, root: (data, data))
    monkeypatch.setattr("xaicl_lib.training.finish.finish", lambda trainer, train, test, out: json.loads(CARD))
    arguments = ["train", "supcon", "--device", "cpu", "--out", str(tmp_path / "run")]
    assert main([*arguments, "--keep", "0,2"]) == 0
    assert sorted(files(tmp_path / "run" / "snapshots")) == ["supcon_epoch0.safetensors", "supcon_epoch2.safetensors"]
    assert main([*arguments, "--keep", "9"]) == 2
    assert "to 2, the last one, got 9" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*arguments, "--keep", "1;2"])
    assert "such as 0,1,2,4, got '1;2'" in capsys.readouterr().err


CARD = '{"knn_accuracy_untrained": 0.1, "knn_accuracy": 0.2, "linear_accuracy": 0.3}'
