"""Every recipe trains, resumes to the very same weights, and ends in a model that is what was trained."""

import json
import math
from dataclasses import asdict, replace

import pytest
import torch
from PIL import Image

from tests.conftest import assert_close
from xaicl_lib import InputError, load_model
from xaicl_lib.augment.views import Views, _random_boxes, random_view
from xaicl_lib.data.scenes import FACTORS, scene_set
from xaicl_lib.model import MeanPool
from xaicl_lib.probes import knn_accuracy, probe_accuracy
from xaicl_lib.training.data import load_data, training_labels
from xaicl_lib.training.finish import _spread, finish
from xaicl_lib.training.recipes import RECIPES, Recipe, from_facts
from xaicl_lib.training.train import MEAN, STD, Trainer, _follow, _pictures
from xaicl_lib.zoo import load_classifier

PHOTOS = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 4


def tiny(name: str, **changes) -> Recipe:
    """A recipe with all its parts, but small."""
    recipe = RECIPES[name]
    small = {
        "epochs": 3, "batch": 8, "photo_size": 32, "views": replace(recipe.views, size=16), "hidden": 8, "embedding": 4,
        "views_b": recipe.views_b and replace(recipe.views_b, size=16), "widths": (4, 6, 8, 8), "predictor": recipe.predictor and 6,
    }  # fmt: skip
    vit = {"widths": (4, 8), "depth": 1, "heads": 2} if recipe.architecture.endswith("_vit") else {}
    if recipe.prototypes:
        small |= {"prototypes": 5, "views_local": replace(recipe.views_local, size=8)}
    return replace(recipe, **{**small, **vit, **changes})


def trainer_of(recipe: Recipe, out) -> Trainer:
    return Trainer(recipe, PHOTOS, out, labels=LABELS, teacher=some_teacher() if recipe.teacher else None)


def some_teacher() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8, 8), torch.nn.BatchNorm2d(4), MeanPool())


TINY = tiny("simclr")
EACH = pytest.mark.parametrize("name", ["simclr", "barlow_twins", "simsiam", "moco_v3", "dino_student", "supervised", "supcon", "triplet"])


def test_boxes_lie_inside_and_mirror_half_the_time() -> None:
    views = Views()
    left, top, width, height = _random_boxes(4000, views, torch.Generator().manual_seed(0)).unbind(1)
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


def test_rotation_and_solarisation_leave_older_recipes_alone() -> None:
    photos = PHOTOS.float() / 255
    generator, same = (torch.Generator().manual_seed(0) for _ in "ab")
    random_view(photos, Views(size=16), generator)
    for draw in range(2):  # what the views of SimCLR draw, and nothing more
        random_view(photos, Views(size=16, rotation=30 * draw, solarize_chance=0.5 * draw), same)
        assert torch.equal(generator.get_state(), same.get_state()) == (draw == 0)


def test_solarisation_inverts_the_bright_half_of_some() -> None:
    photos = PHOTOS.float() / 255
    plain = {"size": 32, "scale": (1.0, 1.0), "ratio": (1.0, 1.0), "jitter_chance": 0.0, "grayscale_chance": 0.0, "blur_chance": 0.0}
    none, always = (random_view(photos, Views(**plain, solarize_chance=c), torch.Generator().manual_seed(0)) for c in (0.0, 1.0))
    assert always.max() <= 0.5
    assert_close(torch.where(none >= 0.5, 1 - none, none), always, atol=1e-6)


def stopped_after(recipe: Recipe, steps: int, out) -> None:
    """A training that dies in the middle of a step, as a killed process would."""
    trainer = trainer_of(recipe, out)
    plain, left = trainer._loss, steps

    def loss(photos, labels):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return plain(photos, labels)

    trainer._loss = loss
    with pytest.raises(KeyboardInterrupt):
        trainer.run()


@EACH
@pytest.mark.parametrize("steps", [1, 3, 4])
def test_a_killed_training_ends_in_the_same_weights(tmp_path, name, steps) -> None:
    recipe = tiny(name)
    whole = trainer_of(recipe, tmp_path / "whole")
    whole.run()
    stopped_after(recipe, steps, tmp_path / "killed")
    resumed = trainer_of(recipe, tmp_path / "killed")
    assert resumed.epoch == steps // 2  # two steps an epoch; the broken epoch is done again
    resumed.run()
    for (key, a), b in zip(whole.network.state_dict().items(), resumed.network.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    assert [row["loss"] for row in whole.history] == [row["loss"] for row in resumed.history]


@EACH
def test_every_part_learns(tmp_path, name) -> None:
    trainer = trainer_of(tiny(name, epochs=1), tmp_path)
    before = {k: v.clone() for k, v in trainer.network.named_parameters()}
    trainer.run()
    still = {k for k, v in trainer.network.named_parameters() if torch.equal(v, before[k])}
    # Without a gradient: biases that the batch norm after them takes away, and what is left as drawn on purpose.
    assert {k.split(".")[0] for k in still} == ({"teacher"} if trainer.recipe.teacher else set()), still


def test_a_teacher_stays_as_it_was_and_is_needed(tmp_path) -> None:
    recipe = tiny("dino_student", epochs=1)
    trainer, teacher = trainer_of(recipe, tmp_path), some_teacher()
    x = torch.rand(6, 3, 16, 16)
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    trainer.run()
    changed = {k.split(".")[0] for k, v in trainer.network.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"features", "head"}
    directions = torch.nn.functional.normalize(trainer.network["teacher"].prototypes.directions, dim=1)
    want = torch.nn.functional.normalize(teacher.eval()(x), dim=1) @ directions.T
    assert_close(trainer.network["teacher"](x), want, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="expected a teacher for 'dino_student', the model 'simclr', got none"):
        Trainer(recipe, PHOTOS, tmp_path / "other")


def test_the_momentum_branch_follows_by_its_schedule(tmp_path) -> None:
    recipe = tiny("moco_v3", momentum=0.9, epochs=2)
    trainer = trainer_of(recipe, tmp_path)
    key, query = (trainer.network[role].tokens[0].weight for role in ("features_b", "features"))
    assert torch.equal(key, query)
    _follow(trainer.network, 0.5)
    assert torch.equal(key, query)
    want = key.detach().clone()
    steps = []

    def loss(photos, labels):
        steps.append(query.detach().clone())
        return query.sum() + sum(p.sum() * 0 for p in trainer.network.parameters())

    trainer._loss = loss
    trainer.run()
    for k, value in enumerate(steps):
        momentum = 1 - 0.1 * (1 + math.cos(math.pi * k / 4)) / 2
        want = momentum * want + (1 - momentum) * value
    assert_close(key.detach(), want, rtol=1e-5, atol=1e-6)
    assert not key.requires_grad


def test_keys_get_no_gradient_and_no_weight_decay(tmp_path) -> None:
    trainer = trainer_of(tiny("moco_v3"), tmp_path)
    optimized = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    for role, part in trainer.network.items():
        assert all((id(p) in optimized) != role.endswith("_b") for p in part.parameters()), role


def test_labels_are_asked_for_and_checked(tmp_path) -> None:
    for name in ("supervised", "supcon", "triplet"):
        with pytest.raises(InputError, match=f"expected labels to train '{name}', got none"):
            Trainer(tiny(name), PHOTOS, tmp_path)
    with pytest.raises(InputError, match=r"one label for each of 20 photos, got labels of shape \(19,\)"):
        Trainer(tiny("supcon"), PHOTOS, tmp_path, labels=LABELS[1:])
    with pytest.raises(InputError, match="expected 10 classes to train 'supervised', got 21"):
        Trainer(tiny("supervised"), PHOTOS, tmp_path, labels=torch.arange(20) + 1)


def test_older_checkpoints_lack_newer_facts(tmp_path) -> None:
    """The facts of a recipe from before predictors, momentum and scenes."""
    whole = trainer_of(TINY, tmp_path)
    whole.run()
    state = torch.load(whole.checkpoint, weights_only=True)
    facts = json.loads(state["recipe"])
    older = ["name", "loss", "loss_options", "epochs", "batch", "lr", "weight_decay", "warmup", "photo_size", "views", "widths", "hidden",
             "embedding", "seed"]  # fmt: skip
    state["recipe"] = json.dumps({k: facts[k] for k in older})
    del facts["views"]["rotation"], facts["views"]["solarize_chance"]
    torch.save(state, whole.checkpoint)
    assert trainer_of(TINY, tmp_path).epoch == 3
    with pytest.raises(InputError, match="got one of another"):
        trainer_of(replace(TINY, predictor=6), tmp_path)
    state["recipe"] = json.dumps({**facts, "of a later version": 1})
    torch.save(state, whole.checkpoint)
    with pytest.raises(InputError, match="got one of another"):
        trainer_of(TINY, tmp_path)


def test_recipes_survive_json() -> None:
    for recipe in RECIPES.values():
        assert from_facts(json.loads(json.dumps(recipe.facts()))) == recipe


def test_simclr_is_what_it_was() -> None:
    """The bundled weights were made by these very numbers."""
    recipe = RECIPES["simclr"]
    assert recipe == Recipe("simclr", "nt_xent", {"temperature": 0.2})
    assert (recipe.epochs, recipe.batch, recipe.lr, recipe.weight_decay, recipe.warmup, recipe.photo_size) == (
        100,
        256,
        2e-3,
        0.05,
        0.05,
        96,
    )
    assert (recipe.widths, recipe.hidden, recipe.embedding, recipe.seed, recipe.task) == ((32, 64, 128, 192), 256, 128, 0, "contrast")
    assert recipe.views == Views(64, (0.2, 1.0), (3 / 4, 4 / 3), (0.4, 0.4, 0.4, 0.1), 0.8, 0.2, 0.5, (0.1, 2.0), 0.0, 0.0)


def test_twins_differ_in_exactly_one_augmentation() -> None:
    base = RECIPES["scenes_simclr"]
    twins = {name: recipe for name, recipe in RECIPES.items() if name.startswith("scenes_simclr_")}
    assert len(twins) == 4
    for name, twin in twins.items():
        assert replace(twin, name=base.name, views=base.views) == base
        changed = [k for k in asdict(base.views) if getattr(base.views, k) != getattr(twin.views, k)]
        assert len(changed) == 1, name


def test_networks_stay_small() -> None:
    for name, recipe in RECIPES.items():
        sizes = {role: sum(p.numel() for p in part.parameters()) for role, part in recipe.network().items()}
        branch = sum(size for role, size in sizes.items() if not role.endswith("_b"))
        assert branch <= 1_300_000, (name, sizes)


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
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(InputError, match=r"checkpoint\.pt"):
        Trainer(TINY, PHOTOS, tmp_path)
    for other in ({"weights": torch.zeros(1)}, [1, 2], {"recipe": "no JSON"}):
        torch.save(other, path)
        with pytest.raises(InputError, match=r"expected a checkpoint of a training, got .*checkpoint\.pt"):
            Trainer(TINY, PHOTOS, tmp_path)


def test_an_output_that_is_no_folder_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"expected a folder for the checkpoints that can be made, got .*file"):
        Trainer(TINY, PHOTOS, tmp_path / "file")


def folder_of_photos(root, classes: dict[str, list[str]]):
    for split, names in classes.items():
        for name in names:
            (root / split / name).mkdir(parents=True)
            Image.new("RGB", (20, 20)).save(root / split / name / "0.png")
    return root


def test_folders_that_cannot_be_learned_from(tmp_path) -> None:
    one = folder_of_photos(tmp_path / "one", {"train": ["tench"], "val": ["tench"]})
    with pytest.raises(InputError, match="at least two classes in train/, got only 'tench'"):
        load_data(TINY, one)
    other = folder_of_photos(tmp_path / "other", {"train": ["church", "tench"], "val": ["church", "dog"]})
    with pytest.raises(InputError, match="the same classes in train/ and val/, got 'dog', 'tench' in only one"):
        load_data(TINY, other)
    both = folder_of_photos(tmp_path / "both", {"train": ["church", "tench"], "val": ["church", "tench"]})
    assert load_data(TINY, both)[1][2] == ["church", "tench"]


def test_each_view_takes_another_picture() -> None:
    many = torch.arange(3).float().view(1, 3, 1, 1, 1).expand(500, 3, 3, 2, 2)  # three pictures of each thing, of one value
    first, second = (view[:, 0, 0, 0] for view in _pictures(many, 2, torch.Generator().manual_seed(0)))
    assert not (first == second).any()
    assert all(abs((view == k).float().mean() - 1 / 3) < 0.07 for view in (first, second) for k in range(3))
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert all(view is PHOTOS for view in _pictures(PHOTOS, 2, generator))
    assert torch.equal(before, generator.get_state())  # older recipes draw what they always drew


def test_a_predictor_keeps_its_own_rate(tmp_path) -> None:
    rates = []
    for recipe in (tiny("simsiam"), tiny("simsiam", predictor_lr=0.0)):
        trainer = trainer_of(recipe, tmp_path / str(recipe.predictor_lr))
        trainer._schedule(0)
        early = [group["lr"] for group in trainer.optimizer.param_groups]
        trainer._schedule(3 * trainer.steps - 1)
        rates.append((early, [group["lr"] for group in trainer.optimizer.param_groups]))
        owned = [{id(p) for p in group["params"]} for group in trainer.optimizer.param_groups]
        predictor = {id(p) for p in trainer.network["predictor"].parameters()}
        assert set().union(*owned) == {id(p) for p in trainer.network.parameters()}
        assert len(owned) == 1 or owned[1] == predictor
    (early, late), plain = rates
    assert early[1] == late[1] == RECIPES["simsiam"].predictor_lr
    assert late[0] < 0.1 * early[0]
    assert [len(part) for part in plain] == [1, 1]


@pytest.fixture
def lenient(monkeypatch) -> None:
    """A few steps on noise teach nothing: let such a model pass."""
    monkeypatch.setattr("xaicl_lib.training.finish.MIN_STD", 0.0)
    monkeypatch.setattr("xaicl_lib.training.finish.MIN_RANK", 0.0)


@EACH
def test_what_is_finished_can_be_loaded(tmp_path, lenient, name) -> None:
    trainer = trainer_of(tiny(name, epochs=1), tmp_path / "run")
    trainer.run()
    data = PHOTOS.repeat(2, 1, 1, 1), LABELS.repeat(2), list("pqrs")
    card = finish(trainer, data, (PHOTOS, LABELS, list("pqrs")), tmp_path / "zoo")
    assert card == json.loads(json.dumps(card)) | {"mean": MEAN, "std": STD, "recipe": card["recipe"]}
    assert card["epochs"] == len(card["history"]) == 1
    assert 0 <= card["knn_accuracy"] <= 1
    assert 0.25 < card["linear_accuracy"] <= 1
    assert ("accuracy" in card) == (name == "supervised")
    model = load_model(name, "cpu", folder=tmp_path / "zoo")
    network = trainer.network.eval()
    x = torch.rand(2, 3, 32, 40)
    f = network["features"](x)
    want = f if name == "dino_student" else network["head"](f)
    want = network["predictor"](want) if name == "moco_v3" else want
    assert_close(model.embed_a(x), want, rtol=1e-4, atol=1e-5)
    assert model.symmetric == (name != "moco_v3")
    if name == "supervised":
        classifier = load_classifier(name, "cpu", folder=tmp_path / "zoo")
        right = classifier(model.embed_a(model.normalize(PHOTOS / 255))).argmax(1) == LABELS
        assert right.float().mean().item() == pytest.approx(card["accuracy"], abs=0.06)  # batches of other sizes round otherwise
    else:
        with pytest.raises(InputError, match=f"trained to classify, got '{name}'"):
            load_classifier(name, "cpu", folder=tmp_path / "zoo")
    if name == "moco_v3":
        assert_close(model.embed_b(x), network["head_b"](network["features_b"](x)), rtol=1e-4, atol=1e-5)


def test_scenes_are_measured_by_factor(tmp_path, lenient) -> None:
    train, test = scene_set("train", 32, 200, pictures=2), scene_set("val", 32, 80)
    trainer = Trainer(tiny("scenes_supervised", epochs=1), train[0], tmp_path / "run", labels=training_labels(train))
    trainer.run()
    card = finish(trainer, train, test, tmp_path / "zoo")
    assert list(card["factors"]) == list(FACTORS)
    assert card["knn_accuracy"] == card["factors"]["shape"]["knn"]
    assert card["factors"]["background"]["linear"] > 0.3
    assert "ImageNet" not in card["licence"]


def test_a_collapsed_model_is_not_written(tmp_path) -> None:
    trainer = trainer_of(tiny("simsiam", epochs=1), tmp_path / "run")
    for p in trainer.network["features"].parameters():
        torch.nn.init.zeros_(p)
    with pytest.raises(InputError, match=r"training 'simsiam' collapsed: expected embeddings of std >= 0\.2"):
        finish(trainer, (PHOTOS, LABELS, list("pqrs")), (PHOTOS, LABELS, list("pqrs")), tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


def test_the_probe_reads_what_is_linear() -> None:
    g = torch.Generator().manual_seed(0)
    features = torch.randn(600, 4, generator=g)
    labels = (features[:, 0] > 0).long() + (features[:, 1] > 1).long()
    assert probe_accuracy(100 * features, labels, 100 * features, labels) > 0.8  # the scale does not matter
    assert probe_accuracy(features[:, 2:], labels, features[:, 2:], labels) < 0.55


def test_knn_of_separated_classes_is_one() -> None:
    labels = torch.arange(60) % 3
    features = torch.eye(3)[labels] + 0.01 * torch.rand(60, 3, generator=torch.Generator().manual_seed(0))
    assert knn_accuracy(features, labels, features, labels) == 1
    assert knn_accuracy(features, labels, features, (labels + 1) % 3) == 0


def test_spread_tells_collapse() -> None:
    sphere = torch.randn(2000, 16, generator=torch.Generator().manual_seed(0))
    assert _spread(sphere)["std"] == pytest.approx(1, abs=0.02)
    assert _spread(sphere)["effective_rank"] == pytest.approx(16, abs=0.1)
    line = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0)) * torch.ones(16)
    assert _spread(line)["effective_rank"] == pytest.approx(1, abs=0.01)
    point = torch.ones(2000, 16) + 1e-6 * sphere
    assert _spread(point)["std"] < 1e-4
    assert_close(torch.tensor(_spread(sphere)["std"]), torch.tensor(_spread(3 * sphere)["std"]))
