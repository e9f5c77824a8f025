"""One trainer for the bundled models: epochs, checkpoints, resume, evaluation, export with a card.

The random numbers of training come from one CPU generator whose state is part of every checkpoint, and weights are
initialised from the seed; so on one CPU an interrupted run ends in the very weights of an uninterrupted one.
"""

import json
import math
import os
import pickle
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from tqdm.auto import tqdm

from xaicl_lib.errors import InputError
from xaicl_lib.training import losses
from xaicl_lib.training.views import Views, random_view
from xaicl_lib.zoo.networks import projection_head, slim_resnet

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training ends in."""

    name: str
    loss: str  # a function of `losses`
    loss_options: dict[str, float] = field(default_factory=dict)
    epochs: int = 100
    batch: int = 256
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.05  # share of the steps
    photo_size: int = 96  # side of the squares the views are cropped from, and of the finished model's input
    views: Views = field(default_factory=Views)
    widths: tuple[int, ...] = (32, 64, 128, 192)
    hidden: int = 256
    embedding: int = 128
    seed: int = 0

    def network(self) -> nn.ModuleDict:
        """Features and head, initialised from the seed without touching the global random state."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return nn.ModuleDict(
                {
                    "features": slim_resnet(self.widths),
                    "head": projection_head(self.widths[-1], self.hidden, self.embedding),
                }
            )

    def facts(self) -> dict[str, Any]:
        """The recipe as JSON can hold it."""
        return asdict(self)


RECIPES = {"simclr": Recipe("simclr", "nt_xent", {"temperature": 0.2})}


def normalize(pixels: Tensor) -> Tensor:
    """Pixels in [0, 1] in the input space of the bundled networks (ImageNet's mean and deviation)."""
    mean, std = (torch.tensor(v, device=pixels.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (pixels - mean) / std


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 faster than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


class Trainer:
    """A training that can be stopped after any epoch and taken up again.

    Args:
        recipe: what to train.
        photos: (n, 3, s, s) uint8.
        out: folder for the checkpoint; a checkpoint already there is taken up, if it is of the same recipe.
        device: "cpu", "cuda", ...; on CUDA and on CPUs with bfloat16 units the network runs in mixed precision.
    """

    def __init__(self, recipe: Recipe, photos: UInt8[Tensor, "n 3 s s"], out: Path, device: str | torch.device = "cpu") -> None:
        if len(photos) < recipe.batch:
            raise InputError(f"expected at least one batch of {recipe.batch} photos, got {len(photos)}")
        self.recipe, self.photos, self.out, self.device = recipe, photos, Path(out), torch.device(device)
        self.mixed = fast_bfloat16(self.device)
        self.network = recipe.network().to(self.device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.epoch, self.seconds = 0, 0.0
        self.history: list[dict[str, float]] = []
        self.out.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self._restore()

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    @property
    def steps(self) -> int:
        """Steps of one epoch; the rest of the photos sits out."""
        return len(self.photos) // self.recipe.batch

    def run(self) -> None:
        """Train to the recipe's last epoch, writing a checkpoint after each."""
        with tqdm(total=self.recipe.epochs * self.steps, initial=self.epoch * self.steps, desc=self.recipe.name) as bar:
            while self.epoch < self.recipe.epochs:
                began = time.perf_counter()
                loss = self._one_epoch(bar)
                self.epoch += 1
                self.seconds += time.perf_counter() - began
                self.history.append({"epoch": self.epoch, "loss": loss})
                self._save()

    def _one_epoch(self, bar: tqdm) -> float:
        self.network.train()
        order = torch.randperm(len(self.photos), generator=self.generator)
        total = 0.0
        for step in range(self.steps):
            photos = self.photos[order[step * self.recipe.batch : (step + 1) * self.recipe.batch]]
            self._set_lr(self.epoch * self.steps + step)
            loss = self._loss(photos.to(self.device).float() / 255)
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

    def _loss(self, photos: Float[Tensor, "n 3 s s"]) -> Tensor:
        views = [random_view(photos, self.recipe.views, self.generator) for _ in "ab"]
        x = normalize(torch.cat(views)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            z = self.network["head"](self.network["features"](x))
        za, zb = z.float().chunk(2)
        return getattr(losses, self.recipe.loss)(za, zb, **self.recipe.loss_options)

    def _set_lr(self, step: int) -> None:
        """Linear warm-up, then half a cosine down to zero."""
        total = self.recipe.epochs * self.steps
        warm = max(1, round(total * self.recipe.warmup))
        scale = (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr * scale

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
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.checkpoint)

    def _restore(self) -> None:
        try:
            state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise InputError(
                f"expected a checkpoint of a training, got {str(self.checkpoint)!r}, which cannot be read; remove it"
            ) from error
        if state["recipe"] != json.dumps(self.recipe.facts()):
            raise InputError(
                f"expected a checkpoint of this recipe in {str(self.out)!r}, got one of another; name another folder or remove it"
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        self.epoch, self.seconds, self.history = state["epoch"], state["seconds"], state["history"]
