"""Losses against slow formulas and known limits; training that resumes to the very same weights."""

import json
import math
from dataclasses import replace

import pytest
import torch

from tests.conftest import close
from xaicl_lib import InputError, load_model
from xaicl_lib.training.finish import finish, knn_accuracy, spread
from xaicl_lib.training.losses import nt_xent
from xaicl_lib.training.train import RECIPES, Trainer
from xaicl_lib.training.views import Views, random_boxes, random_view

TINY = replace(RECIPES["simclr"], epochs=3, batch=8, photo_size=32, views=Views(size=16), widths=(4, 6, 8, 8), hidden=8, embedding=4)
PHOTOS = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_nt_xent_equals_two_loops() -> None:
    g = torch.Generator().manual_seed(0)
    za, zb = (torch.randn(5, 4, generator=g) for _ in "ab")
    z = torch.cat([za, zb])
    z = z / z.norm(dim=1, keepdim=True)
    total = 0.0
    for i in range(10):
        others = sum(math.exp(z[i] @ z[k] / 0.3) for k in range(10) if k != i)
        total -= math.log(math.exp(z[i] @ z[(i + 5) % 10] / 0.3) / others)
    assert nt_xent(za, zb, 0.3).item() == pytest.approx(total / 10, rel=1e-5)


def test_nt_xent_at_its_limits() -> None:
    g = torch.Generator().manual_seed(0)
    n, d = 64, 4096
    za, zb = (torch.randn(n, d, generator=g) for _ in "ab")
    assert nt_xent(za, zb, 0.5).item() == pytest.approx(math.log(2 * n - 1), abs=0.01)  # random: nearly orthogonal
    assert nt_xent(torch.ones(n, d), torch.ones(n, d)).item() == pytest.approx(math.log(2 * n - 1), abs=1e-4)
    assert nt_xent(torch.eye(n), torch.eye(n), 0.05).item() < 1e-5  # perfect


def test_boxes_lie_inside_and_mirror_half_the_time() -> None:
    views = Views()
    left, top, width, height = random_boxes(4000, views, torch.Generator().manual_seed(0)).unbind(1)
    assert (left >= 0).all()
    assert (left + width.abs() <= 1 + 1e-6).all()
    assert (top + height <= 1 + 1e-6).all()
    area = width.abs() * height
    assert views.scale[0] * 0.7 < area.min() < 0.25
    assert area.max() > 0.9
    assert 0.45 < (width < 0).float().mean() < 0.55


def test_views_differ_from_each_other_and_follow_the_seed() -> None:
    photos = PHOTOS.float() / 255

    def view(seed: int) -> torch.Tensor:
        return random_view(photos, Views(size=16), torch.Generator().manual_seed(seed))

    assert torch.equal(view(0), view(0))
    assert not torch.allclose(view(0), view(1))
    assert view(0).min() >= 0
    assert view(0).max() <= 1
    assert view(0).shape == (20, 3, 16, 16)


def stopped_after(steps: int, out) -> None:
    """A training that dies in the middle of a step, as a killed process would."""
    trainer = Trainer(TINY, PHOTOS, out)
    plain, left = trainer._loss, steps

    def loss(photos):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return plain(photos)

    trainer._loss = loss
    with pytest.raises(KeyboardInterrupt):
        trainer.run()


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_a_killed_training_ends_in_the_same_weights(tmp_path, steps) -> None:
    whole = Trainer(TINY, PHOTOS, tmp_path / "whole")
    whole.run()
    stopped_after(steps, tmp_path / "killed")
    resumed = Trainer(TINY, PHOTOS, tmp_path / "killed")
    assert resumed.epoch == steps // 2  # two steps an epoch; the broken epoch is done again
    resumed.run()
    for (name, a), b in zip(whole.network.state_dict().items(), resumed.network.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert [row["loss"] for row in whole.history] == [row["loss"] for row in resumed.history]


def test_training_leaves_the_global_random_state_alone(tmp_path) -> None:
    state = torch.get_rng_state()
    Trainer(replace(TINY, epochs=1), PHOTOS, tmp_path).run()
    assert torch.equal(state, torch.get_rng_state())


def test_another_recipes_checkpoint_is_refused(tmp_path) -> None:
    Trainer(replace(TINY, epochs=1), PHOTOS, tmp_path).run()
    with pytest.raises(InputError, match="got one of another"):
        Trainer(replace(TINY, epochs=2), PHOTOS, tmp_path)
    with pytest.raises(InputError, match="at least one batch of 8 photos, got 3"):
        Trainer(TINY, PHOTOS[:3], tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(InputError, match=r"checkpoint\.pt"):
        Trainer(TINY, PHOTOS, tmp_path)


def test_what_is_finished_can_be_loaded(tmp_path) -> None:
    trainer = Trainer(replace(TINY, epochs=1), PHOTOS, tmp_path / "run")
    trainer.run()
    labels = torch.arange(20) % 2
    finish(trainer, (PHOTOS.repeat(2, 1, 1, 1), labels.repeat(2)), (PHOTOS, labels), tmp_path / "zoo")
    card = json.loads((tmp_path / "zoo" / "simclr.json").read_text())
    assert card["epochs"] == len(card["history"]) == 1
    assert card["knn_accuracy"] <= 1
    model = load_model("simclr", "cpu", folder=tmp_path / "zoo")
    want = {k: v.half().float() if v.is_floating_point() else v for k, v in trainer.network.state_dict().items()}
    got = torch.nn.ModuleDict({"features": model.features_a, "head": model.head_a}).state_dict()
    assert all(torch.equal(got[k], want[k]) for k in want)


def test_knn_of_separated_classes_is_one() -> None:
    labels = torch.arange(60) % 3
    features = torch.eye(3)[labels] + 0.01 * torch.rand(60, 3, generator=torch.Generator().manual_seed(0))
    assert knn_accuracy(features, labels, features, labels) == 1
    assert knn_accuracy(features, labels, features, (labels + 1) % 3) == 0


def test_spread_tells_collapse() -> None:
    sphere = torch.randn(2000, 16, generator=torch.Generator().manual_seed(0))
    assert spread(sphere)["std"] == pytest.approx(1, abs=0.02)
    assert spread(sphere)["effective_rank"] == pytest.approx(16, abs=0.1)
    line = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0)) * torch.ones(16)
    assert spread(line)["effective_rank"] == pytest.approx(1, abs=0.01)
    point = torch.ones(2000, 16) + 1e-6 * sphere
    assert spread(point)["std"] < 1e-4
    close(torch.tensor(spread(sphere)["std"]), torch.tensor(spread(3 * sphere)["std"]))
