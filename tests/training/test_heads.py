"""Heads on a frozen backbone: seconds of training, the very weights again, and a shortcut where the stickers say something."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from xaicl_lib import InputError, load_model
from xaicl_lib.cli import main
from xaicl_lib.training.heads import RECIPES, HeadRecipe, _batch, _train_head, head_features, head_model, make_head
from xaicl_lib.zoo.bundled import HEADS, model_card, untrained

SMALL = HeadRecipe("small", 0.95, objects=160, steps=40, batch=64)


@pytest.fixture(scope="module")
def base():
    return load_model("scenes_simclr", "cpu")


@pytest.fixture(scope="module")
def features(base):
    return head_features(base, 160)


@pytest.mark.parametrize("share", [None, 0.0, 0.5, 0.95])
def test_a_share_of_pairs_carries_one_sticker(features, share) -> None:
    told = {name: torch.full_like(part, k) for k, (name, part) in enumerate(features.items())}
    at = {name: k for k, name in enumerate(told)}
    generator = torch.Generator().manual_seed(0)
    found = [_batch(replace(SMALL, stickers=share, batch=160), told, generator) for _ in range(12)]
    a, b = (torch.cat([one[side][:, 0] for one in found]) for side in (0, 1))
    if share is None:
        assert (a == at["a none"]).all()
        assert (b == at["b none"]).all()
        return
    assert (a == at["a same"]).all()
    assert set(b.tolist()) <= {at["b same"], at["b another"]}
    assert (b == at["b same"]).float().mean().item() == pytest.approx(share + (1 - share) / 8, abs=0.04)


def test_the_same_seed_gives_the_same_head_and_leaves_the_global_random_state_alone(features) -> None:
    state = torch.get_rng_state()
    one, again, other = (_train_head(recipe, features) for recipe in (SMALL, SMALL, replace(SMALL, seed=1)))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(x, y) for x, y in zip(one.state_dict().values(), again.state_dict().values(), strict=True))
    assert not torch.equal(one[1].weight, other[1].weight)


def test_what_is_written_is_what_is_loaded(base, features, tmp_path) -> None:
    card = make_head(SMALL, base, tmp_path)
    model, live = load_model("small", "cpu", folder=tmp_path), head_model(SMALL, base, features)
    x = torch.rand(3, 3, 64, 64)
    assert torch.equal(model.encode(x), live.encode(x))
    assert torch.equal(model.features_a(x), base.features_a(x))
    assert json.loads((tmp_path / "small.json").read_text()) == json.loads(json.dumps(card))
    assert card["parameters"] == sum(p.numel() for p in (*model.features_a.parameters(), *model.head_a.parameters()))
    (tmp_path / "small.safetensors").write_bytes(b"other")
    with pytest.raises(InputError, match="changed or damaged"):
        load_model("small", "cpu", folder=tmp_path)


@pytest.mark.parametrize("name", RECIPES)
def test_the_bundled_heads_are_those_of_their_recipes(name) -> None:
    card = model_card(name)
    assert card["recipe"] == {**asdict(RECIPES[name]), "data": "scenes"}
    assert load_model(name, "cpu").name == name  # its checksum is right
    assert {path.stem for path in HEADS.iterdir()} == set(RECIPES)


def test_a_head_is_no_network_of_its_own() -> None:
    with pytest.raises(InputError, match="expected a model trained as a whole, got 'stickers_95'"):
        untrained("stickers_95")


def test_heads_are_trained_from_the_command_line(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(RECIPES, "stickers_95", replace(SMALL, name="stickers_95", steps=2))
    assert main(["train", "stickers_95", "--seed", "4", "--out", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stickers_95.json", "stickers_95.safetensors"]
    assert json.loads((tmp_path / "stickers_95.json").read_text())["recipe"]["seed"] == 4
    for idle in (["--epochs", "3"], ["--keep", "1"], ["--data", str(tmp_path)], ["--device", "nope"]):
        assert main(["train", "stickers_95", *idle, "--out", str(tmp_path)]) == 2
        assert "expected no --epochs, --keep, --data or --device but cpu for 'stickers_95'" in capsys.readouterr().err
    assert main(["train", "stickers_96"]) == 2
    assert "unknown recipe 'stickers_96'; there are: simclr" in capsys.readouterr().err
