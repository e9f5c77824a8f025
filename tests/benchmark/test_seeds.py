"""Twins that are trained whole: they differ in nothing but what is said, and a training that was stopped ends as one that was not."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator

from tests.conftest import assert_close
from xaicl_lib.data.scenes import scene_set

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import marks
import seeds
import twins

SMALL = {"widths": (4, 4, 4, 4), "hidden": 4, "embedding": 4, "photo_size": 16, "epochs": 2, "batch": 8, "seed": 5}


def small(name: str = "scenes_simclr_rotation"):
    recipe = seeds.recipes()[name]
    return replace(recipe, views=replace(recipe.views, size=12), **SMALL)


def test_a_turn_changes_nothing_else(monkeypatch) -> None:
    images, views = torch.rand(6, 3, 16, 16), small().views
    monkeypatch.setattr(twins.augment, "rotate", lambda images, angle: images)
    drawn = []
    for rotation in (0.0, 180.0):
        generator, turns = Generator().manual_seed(1), Generator().manual_seed(2)
        drawn.append((twins.viewed(images, replace(views, rotation=rotation), generator, turns), generator.get_state()))
    (plain, after), (turned, after_turned) = drawn
    assert_close(plain, turned)
    assert torch.equal(after, after_turned)


def test_recipes_differ_in_one_thing() -> None:
    made = seeds.recipes()
    base = made[twins.BASE].facts()
    for name, recipe in made.items():
        facts = recipe.facts()
        assert [key for key in facts if facts[key] != base[key]] == ([] if name == twins.BASE else ["name", "views"])
        changed = [key for key in facts["views"] if facts["views"][key] != base["views"][key]]
        assert len(changed) == (name != twins.BASE)
    hue = [made[f"scenes_simclr{name}"].views.jitter[3] for name in ("_half_jitter", "", "_double_jitter")]
    assert hue == pytest.approx([0.1, 0.2, 0.4])


def test_a_stopped_training_ends_as_one_that_was_not(tmp_path) -> None:
    photos = torch.randint(0, 256, (16, 2, 3, 16, 16), dtype=torch.uint8)
    whole = seeds.Apart(small(), photos, tmp_path / "whole")
    whole.run()
    stopped = seeds.Apart(small(), photos, tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        stopped.run(lambda trainer: trainer.epoch == 2 and (_ for _ in ()).throw(KeyboardInterrupt))
    again = seeds.Apart(small(), photos, tmp_path / "stopped")
    assert again.epoch == 1
    again.run()
    for one, other in zip(whole.network.state_dict().values(), again.network.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_stickers_go_with_the_object_as_often_as_is_said() -> None:
    bare, stickered = scene_set("train", 64, 400, pictures=2)[0], marks.pictures(0.5, 1, 400)
    assert stickered.shape == (400, 2, 3, 64, 64)
    assert stickered.dtype == torch.uint8
    assert ((stickered != bare).any(2).float().mean((2, 3)) > 0.005).all()  # both pictures of every object have one
    nothing, much = (marks.pictures(share, 1, 400) for share in (0.0, 0.95))
    differs = (much != nothing).flatten(2).any(2).float().mean(0)
    assert differs[0] == 0  # the first picture is the same
    assert 0.75 < differs[1] < 0.95  # the others shared one by chance, or do not share one with 95 %
    assert ((stickered == nothing) | (stickered == much)).flatten(1).all()
