"""The image-text model: its loss by hand, a training that can be killed, what comes out of it, and what it is asked."""

import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.conftest import assert_close
from xaicl_lib import InputError, PairModel, explain, load_model
from xaicl_lib.data.captions import captioned_set, phrase, prompts, tokenize
from xaicl_lib.data.scenes import FACTORS
from xaicl_lib.pair import Pair
from xaicl_lib.scores import corpus_similarity
from xaicl_lib.training.finish import finish
from xaicl_lib.training.losses import clip
from xaicl_lib.training.recipes import RECIPES
from xaicl_lib.training.train import Trainer
from xaicl_lib.training.zero_shot import relation_accuracy, zero_shot

RECIPE = replace(
    RECIPES["scenes_clip"], epochs=2, batch=8, photo_size=32, views=replace(RECIPES["scenes_clip"].views, size=16), widths=(4, 6, 8, 8),
    hidden=8, embedding=4, text=8, text_depth=1,
)  # fmt: skip
IMAGES, FACTS, NAMES = captioned_set("val", 32, 8)


def test_loss_is_the_mean_of_two_softmaxes() -> None:
    g = torch.Generator().manual_seed(0)
    za, zb, log_scale = torch.randn(5, 3, generator=g), torch.randn(5, 3, generator=g), torch.tensor(1.3)
    total = 0.0
    for k in range(5):
        for one, others in ((za[k], zb), (zb[k], za)):
            logits = [math.exp(1.3) * F.cosine_similarity(one, other, dim=0).item() for other in others]
            total -= logits[k] - math.log(sum(math.exp(v) for v in logits))
    assert clip(za, zb, log_scale).item() == pytest.approx(total / 10, rel=1e-5)
    assert clip(torch.ones(6, 3), torch.ones(6, 3), log_scale).item() == pytest.approx(math.log(6), rel=1e-6)
    assert clip(za, zb, torch.tensor(9.0)).item() == pytest.approx(clip(za, zb, torch.tensor(math.log(100.0))).item())


def test_false_texts_stand_among_those_that_pictures_choose_from() -> None:
    za, zb, hard, log_scale = torch.randn(4, 3), torch.randn(4, 3), torch.randn(2, 3), torch.tensor(0.7)
    logits = math.exp(0.7) * F.cosine_similarity(za[:, None], torch.cat([zb, hard])[None], dim=2)
    want = (F.cross_entropy(logits, torch.arange(4)) + F.cross_entropy(logits[:, :4].T, torch.arange(4))) / 2
    assert clip(za, zb, log_scale, hard).item() == pytest.approx(want.item(), rel=1e-5)


def test_a_killed_training_ends_in_the_same_weights(tmp_path) -> None:
    whole = Trainer(RECIPE, IMAGES, tmp_path / "whole", labels=FACTS)
    whole.run()
    half = Trainer(RECIPE, IMAGES, tmp_path / "half", labels=FACTS)
    half._one_epoch(_Bar())
    half.epoch = 1
    half.history.append({"epoch": 1, "loss": whole.history[0]["loss"]})
    half._save()
    resumed = Trainer(RECIPE, IMAGES, tmp_path / "half", labels=FACTS)
    resumed.run()
    for (key, a), b in zip(whole.network.state_dict().items(), resumed.network.state_dict().values(), strict=True):
        assert torch.equal(a, b), key


class _Bar:
    def update(self) -> None: ...

    def set_postfix(self, **_) -> None: ...


def test_every_part_learns_and_the_temperature_does_not_decay(tmp_path) -> None:
    trainer = Trainer(replace(RECIPE, epochs=1), IMAGES, tmp_path, labels=FACTS)
    before = {name: p.clone() for name, p in trainer.network.named_parameters()}
    trainer.run()
    still = [name for name, p in trainer.network.named_parameters() if torch.equal(p, before[name])]
    assert not still
    group = next(g for g in trainer.optimizer.param_groups if any(p is trainer.network["temperature"].log_scale for p in g["params"]))
    assert group["weight_decay"] == 0
    assert len(group["params"]) == 1


def test_facts_are_asked_for(tmp_path) -> None:
    with pytest.raises(InputError, match="expected labels to train 'scenes_clip', got none"):
        Trainer(RECIPE, IMAGES, tmp_path)
    with pytest.raises(InputError, match=r"expected facts \(32, 2, 6\) of as many captioned scenes, got \(32,\)"):
        Trainer(RECIPE, IMAGES, tmp_path, labels=FACTS[:, 0, 0])


def test_what_is_finished_reads_texts(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("xaicl_lib.training.finish.MIN_STD", 0.0)
    monkeypatch.setattr("xaicl_lib.training.finish.MIN_RANK", 0.0)
    trainer = Trainer(replace(RECIPE, epochs=1), IMAGES, tmp_path / "run", labels=FACTS)
    trainer.run()
    data = captioned_set("train", 32, 60)
    card = finish(trainer, data, captioned_set("val", 32, 40), tmp_path / "zoo")
    assert list(card["zero_shot"]) == list(FACTORS) == list(card["factors"])
    assert 0 <= card["zero_shot_relation"] <= 1
    assert card == json.loads(json.dumps(card)) | {k: card[k] for k in ("mean", "std", "recipe")}
    model = load_model("scenes_clip", "cpu", folder=tmp_path / "zoo")
    texts = ["a red disc", "a thing on grass"]
    assert_close(model.embed_text(texts), trainer.network["text"](tokenize(texts)), rtol=1e-4, atol=1e-5)
    assert_close(model.fast.embed_text(texts), model.embed_text(texts))
    assert_close(model.copy().embed_text(texts), model.embed_text(texts))
    assert model.symmetric
    score = corpus_similarity(model.embed_text(texts[:1]), model.embed_text(texts[1:]))
    made = explain(model, Pair(torch.rand(2, 3, 32, 32)), "grad_cam", score=score)
    assert made.b is None
    for wrong in ("a red disc", [], [""], ["a", 3]):
        with pytest.raises(InputError, match="expected a list of texts"):
            model.embed_text(wrong)


def test_models_without_texts_say_so() -> None:
    with pytest.raises(InputError, match="expected a model with a text side, such as scenes_clip, got 'custom'"):
        PairModel(nn.Conv2d(3, 4, 3), size=8).embed_text(["a disc"])


def test_zero_shot_answers_are_the_nearest_texts() -> None:
    """A reader whose embeddings are one-hot, and images that are the embedding of the right answer or of the next one."""
    known = {text: k for factor in FACTORS for k, text in enumerate(prompts(factor))}
    labels = FACTS[:16, 0]

    def read(texts: list[str]) -> torch.Tensor:
        return torch.eye(9)[[known[text] for text in texts]]

    z = torch.eye(9)[labels[:, 2]]
    assert zero_shot(z, labels, read)["colour"] == 1
    right = (labels[:, 0] == labels[:, 2]).float().mean().item()
    assert zero_shot(z, labels, read)["shape"] == pytest.approx(right, abs=1e-4)


def test_relations_are_told_by_the_nearer_text() -> None:
    def read(texts: list[str]) -> torch.Tensor:
        return torch.tensor([[1.0, 0.0] if (" left of " in t or " above " in t) else [0.0, 1.0] for t in texts])

    from xaicl_lib.data.captions import relations

    two = FACTS[16:]
    right = [relations(*pair)[0] in ("left of", "above") for pair in two.tolist()]
    z = torch.tensor([[1.0, 0.0] if hit else [0.0, 1.0] for hit in right])
    assert relation_accuracy(z, two, read) == 1
    assert relation_accuracy(1 - z, two, read) == 0
    assert relation_accuracy(z, two, read, exchanged=True) == 0, "this reader does not see which object is named first"
    with pytest.raises(InputError, match="scenes of two objects"):
        relation_accuracy(z, FACTS[:16], read)


def test_orders_are_told_by_the_nearer_text() -> None:
    two = FACTS[16:]
    first = [phrase(one, ("colour", "shape")) for one, _ in two.tolist()]

    def read(texts: list[str]) -> torch.Tensor:
        return torch.tensor([[1.0, 0.0] if any(text.startswith(name) for name in first) else [0.0, 1.0] for text in texts])

    assert relation_accuracy(torch.tensor([[1.0, 0.0]]).expand(len(two), 2), two, read, exchanged=True) > 0.8
