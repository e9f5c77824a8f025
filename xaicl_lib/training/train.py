"""One trainer for the bundled models: epochs, checkpoints, resume, evaluation, export with a card.

The random numbers of training come from one CPU generator whose state is part of every checkpoint, and weights are
initialised from the seed; so on one CPU an interrupted run ends in the very weights of an uninterrupted one.
"""

import json
import math
import pickle
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from tqdm.auto import tqdm

from xaicl_lib.augment.views import Views, random_view
from xaicl_lib.data.captions import captions, tokenize
from xaicl_lib.errors import InputError
from xaicl_lib.files import written_whole
from xaicl_lib.networks.small import Prototypes
from xaicl_lib.training import losses
from xaicl_lib.training.recipes import RECIPES, Recipe, from_facts
from xaicl_lib.training.tasks import TASKS

__all__ = ["MEAN", "RECIPES", "STD", "Recipe", "Trainer", "normalize"]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalize(pixels: Tensor) -> Tensor:
    """Pixels in [0, 1] in the input space of the bundled networks (ImageNet's mean and deviation)."""
    mean, std = (torch.tensor(v, device=pixels.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (pixels - mean) / std


def _fast_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 faster than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


class Trainer:
    """A training that can be stopped after any epoch and taken up again.

    Args:
        recipe: what to train.
        photos: (n, 3, s, s) uint8, or (n, v, 3, s, s): v pictures of each thing, of which each view takes another.
        out: folder for the checkpoint; a checkpoint already there is taken up, if it is of the same recipe.
        device: "cpu", "cuda", ...; on CUDA and on CPUs with bfloat16 units the network runs in mixed precision.
        labels: (n,) classes of the photos, or (n, 2, 6) facts of captioned scenes, for recipes that learn from them.
        teacher: embeddings of normalised images, for recipes that learn from a `teacher`: that model's features and head.

    Raises:
        InputError: fewer photos than a batch, labels missing, not as many as photos or not of the recipe's classes, no teacher,
            or a checkpoint of something else.
    """

    def __init__(
        self,
        recipe: Recipe,
        photos: UInt8[Tensor, "n 3 s s"] | UInt8[Tensor, "n v 3 s s"],
        out: Path,
        device: str | torch.device = "cpu",
        labels: Int[Tensor, " n"] | Int[Tensor, "n 2 6"] | None = None,
        teacher: nn.Module | None = None,
    ) -> None:
        if len(photos) < recipe.batch:
            raise InputError(f"expected at least one batch of {recipe.batch} photos, got {len(photos)}")
        self.recipe, self.photos, self.out, self.device = recipe, photos, Path(out), torch.device(device)
        self.labels = _checked_labels(recipe, labels, len(photos))
        self.mixed = _fast_bfloat16(self.device)
        self.network = _taught(recipe, teacher).to(self.device).to(memory_format=torch.channels_last)
        self.optimizer = _make_optimizer(recipe, self.network)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.epoch, self.seconds = 0, 0.0
        self.history: list[dict[str, float]] = []
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"expected a folder for the checkpoints that can be made, got {str(self.out)!r}: {error.strerror}") from error
        if self.checkpoint.exists():
            self._restore()

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    @property
    def steps(self) -> int:
        """Steps of one epoch; the rest of the photos sits out."""
        return len(self.photos) // self.recipe.batch

    def run(self, watch: "Callable[[Trainer], None] | None" = None) -> None:
        """Train to the recipe's last epoch, writing a checkpoint after each.

        Args:
            watch: called with the trainer before the first epoch of all, and after each epoch before its checkpoint is written, so
                that an epoch of which the checkpoint tells has been watched to the end. It must leave the training as it is.
        """
        if watch and not self.epoch:
            watch(self)
        with tqdm(total=self.recipe.epochs * self.steps, initial=self.epoch * self.steps, desc=self.recipe.name) as bar:
            while self.epoch < self.recipe.epochs:
                began = time.perf_counter()
                loss = self._one_epoch(bar)
                self.epoch += 1
                self.seconds += time.perf_counter() - began
                self.history.append({"epoch": self.epoch, "loss": loss})
                if watch:
                    watch(self)
                self._save()

    def _one_epoch(self, bar: tqdm) -> float:
        self.network.train()
        order = torch.randperm(len(self.photos), generator=self.generator)
        total = 0.0
        for step in range(self.steps):
            batch = order[step * self.recipe.batch : (step + 1) * self.recipe.batch]
            self._schedule(self.epoch * self.steps + step)
            loss = self._loss(self.photos[batch].to(self.device).float() / 255, self.labels[batch].to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
            bar.update()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        if not math.isfinite(total):
            raise InputError(
                f"training {self.recipe.name!r} diverged in epoch {self.epoch + 1}: lower its learning rate ({self.recipe.lr})"
            )
        return total / self.steps

    def _loss(self, photos: Tensor, labels: Int[Tensor, "n ..."]) -> Tensor:
        recipe = self.recipe
        if recipe.task == "describe":
            labels = tokenize(captions(labels, self.generator)).to(self.device)
        kinds = [recipe.views, recipe.views_b or recipe.views][: recipe.view_count]
        given = [self._views(photos, kinds), labels]
        if recipe.views_local:
            given.append(self._views(photos, [recipe.views_local] * recipe.local_count))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            out = TASKS[recipe.task](self.network, *given)
        wide = (t.float() if t.is_floating_point() else t for t in out)
        return getattr(losses, recipe.loss)(*wide, **recipe.loss_options)

    def _views(self, photos: Tensor, kinds: Sequence[Views]) -> Float[Tensor, "vn 3 s s"]:
        """Random views in the network's input space, all of the first kind first."""
        sources = _pictures(photos, len(kinds), self.generator)
        views = [random_view(source, kind, self.generator) for source, kind in zip(sources, kinds, strict=True)]
        return normalize(torch.cat(views)).contiguous(memory_format=torch.channels_last)

    def _schedule(self, step: int) -> None:
        """Learning rate by linear warm-up, then half a cosine down to zero; a momentum branch follows ever more slowly."""
        recipe = self.recipe
        total = recipe.epochs * self.steps
        warm = max(1, round(total * recipe.warmup))
        scale = (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))
        self.optimizer.param_groups[0]["lr"] = recipe.lr * scale  # a second group keeps its own
        if recipe.momentum:
            _follow(self.network, 1 - (1 - recipe.momentum) * 0.5 * (1 + math.cos(math.pi * step / total)))

    def _save(self) -> None:
        state = {
            "recipe": json.dumps(self.recipe.facts()),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "epoch": self.epoch,
            "seconds": self.seconds,
            "history": self.history,
        }
        with written_whole(self.checkpoint) as part:
            torch.save(state, part)

    def _restore(self) -> None:
        try:
            state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            same = _same_recipe(state["recipe"], self.recipe)
        except (RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"expected a checkpoint of a training, got {str(self.checkpoint)!r}, which cannot be read; remove it"
            ) from error
        if not same:
            raise InputError(
                f"expected a checkpoint of this recipe in {str(self.out)!r}, got one of another; name another folder or remove it"
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        self.epoch, self.seconds, self.history = state["epoch"], state["seconds"], state["history"]


@torch.no_grad()
def _follow(network: nn.ModuleDict, momentum: float) -> None:
    """Move the momentum branch towards the learning one: b = momentum * b + (1 - momentum) * a.

    As in :cite:t:`chen2021empirical`, Sec. 3; batch-norm statistics are the branch's own.
    """
    for role in ("features", "head"):
        for a, b in zip(network[role].parameters(), network[role + "_b"].parameters(), strict=True):
            b.lerp_(a, 1 - momentum)


def _taught(recipe: Recipe, teacher: nn.Module | None) -> nn.ModuleDict:
    """The network to train; where it learns from a teacher, that is in it: frozen, its embeddings by their cosines to random directions."""
    network = recipe.network()
    if recipe.teacher:
        if teacher is None:
            raise InputError(f"expected a teacher for {recipe.name!r}, the model {recipe.teacher!r}, got none")
        network["teacher"] = _Frozen(teacher, recipe).requires_grad_(False)
    return network


class _Frozen(nn.Module):
    """What a teacher says of images, (n, 3, h, w) to (n, k), always in evaluation mode."""

    def __init__(self, teacher: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.embed, self.prototypes = teacher, Prototypes(recipe.embedding, recipe.prototypes)

    def train(self, mode: bool = True) -> "_Frozen":
        return super().train(False)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        return self.prototypes(self.embed(x))


def _make_optimizer(recipe: Recipe, network: nn.ModuleDict) -> torch.optim.Optimizer:
    """The recipe's optimiser; a predictor whose rate is constant is a second group, a temperature one without decay."""
    learning = {name: p for name, p in network.named_parameters() if p.requires_grad}
    apart = [p for name, p in learning.items() if name.startswith("predictor.") and recipe.predictor_lr]
    free = [p for name, p in learning.items() if name.startswith("temperature.")]
    rest = [p for p in learning.values() if not any(p is other for other in (*apart, *free))]
    groups: list[dict[str, Any]] = [{"params": rest}, *([{"params": apart, "lr": recipe.predictor_lr}] if apart else [])]
    groups += [{"params": free, "weight_decay": 0.0}] if free else []
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)
    return torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)


def _pictures(photos: Tensor, count: int, generator: torch.Generator) -> list[Float[Tensor, "n 3 s s"]]:
    """What `count` views are made of: a photo itself, of several pictures (n, v, 3, s, s) a different one for each view."""
    if photos.ndim == 4:
        return [photos] * count
    order = torch.rand(photos.shape[:2], generator=generator).argsort(1).to(photos.device)  # (n, v)
    rows = torch.arange(len(photos), device=photos.device)
    return [photos[rows, order[:, k]] for k in range(count)]


def _checked_labels(recipe: Recipe, labels: Tensor | None, count: int) -> Tensor:
    """The labels, or zeros for a task without any."""
    if labels is None:
        if recipe.task in ("classify", "group", "describe"):
            raise InputError(f"expected labels to train {recipe.name!r}, got none")
        return torch.zeros(count, dtype=torch.long)
    if recipe.task == "describe":
        if labels.shape != (count, 2, 6):
            raise InputError(f"expected facts ({count}, 2, 6) of as many captioned scenes, got {tuple(labels.shape)}")
        return labels
    if labels.shape != (count,):
        raise InputError(f"expected one label for each of {count} photos, got labels of shape {tuple(labels.shape)}")
    if recipe.classes and int(labels.max()) >= recipe.classes:
        raise InputError(f"expected {recipe.classes} classes to train {recipe.name!r}, got {int(labels.max()) + 1}")
    return labels


def _same_recipe(facts: str, recipe: Recipe) -> bool:
    try:
        return from_facts(json.loads(facts)) == recipe
    except TypeError:  # of a later version, with facts this one does not know
        return False
