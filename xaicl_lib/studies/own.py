"""Models of the reader's own: whether a wrapped network is still itself, and what is said of those that do not fit."""

import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from xaicl_lib.errors import InputError
from xaicl_lib.methods import explain
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair
from xaicl_lib.zoo import load_model

DINOV2: dict[str, Any] = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 56, "patch_size": 14}


@torch.no_grad()
def agreement(model: PairModel, network: Callable[[Tensor], Tensor], pair: Pair, method: str = "deep_similarity") -> pd.DataFrame:
    """Whether a model is the network that it was made of, and how much of the score the cells of its map add up to.

    Args:
        network: from the model's input space to embeddings; it runs on the model's device.
        method: one that promises completeness.

    Returns:
        The largest difference of embeddings as a share of their largest number, the score, what the cells add up to, and what none of them
        is credited with.
    """
    x = [model.normalize(side) for side in pair.sides]
    pairs = [(network(side).flatten(1), embedding) for side, embedding in zip(x, model.embed(x), strict=True)]
    apart = max(float((want - got).abs().max() / want.abs().max()) for want, got in pairs)
    made = explain(model, pair, method)
    assert made.residual is not None
    said = {
        "embeddings differ by (share)": f"{apart:.0e}" if apart else "none",
        "score": f"{made.score.item():.3f}",
        "of it by cells": f"{(made.score - made.residual).item():.3f}",
        "of it residual": f"{made.residual.item():z.3f}",
    }
    return pd.DataFrame({"found": said}).rename_axis("asked")


def random_dinov2(device: str = "cpu") -> PairModel:
    """A DINOv2 of transformers with two blocks and random weights, written to a folder as `save_pretrained` does and opened from there.

    Raises:
        InputError: transformers is not installed.
    """
    try:
        from transformers import Dinov2Config, Dinov2Model
        from transformers.utils import logging
    except ImportError as error:
        raise InputError("expected transformers for a model of the hub, got none; pip install 'xaicl_lib[hf]'") from error
    shown = logging.is_progress_bar_enabled()
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        logging.disable_progress_bar()
        torch.manual_seed(0)
        Dinov2Model(Dinov2Config(**DINOV2)).save_pretrained(folder)
        seen = {"size": {"height": 56, "width": 56}, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3}
        (Path(folder) / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "BitImageProcessor", **seen}))
        model = load_model("hf/random/dinov2", device, file=folder)
    if shown:
        logging.enable_progress_bar()
    return model


class _Small(nn.Module):
    """A network that gives a vector, or what does not fit: past a layer that it jumps over, by name, or without a gradient."""

    def __init__(self, gives: str = "vector") -> None:
        super().__init__()
        self.first, self.second, self.gives = nn.Conv2d(3, 8, 7, 4, 3), nn.Conv2d(8, 8, 3, 1, 1), gives

    def forward(self, x: Tensor) -> Any:
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.gives != "no gradient"):
            f = self.first(x).relu()
            made = self.second(f)
        named = {"map": f, "logits": f.mean((2, 3))}
        return {"vector": made.mean((2, 3)), "jump": (made + f).mean((2, 3)), "names": named, "no gradient": f}[self.gives]


def mistakes(size: int = 96) -> pd.DataFrame:
    """What is said of networks that do not fit: each a mistake, run, and the line or the warning that it ends in."""
    pair = Pair(*torch.rand(2, 1, 3, size, size, generator=torch.Generator().manual_seed(0)))
    conv = nn.Conv2d(3, 8, 7, 4, 3)
    batch = nn.Sequential(conv, nn.BatchNorm2d(8, track_running_stats=False))
    runs: dict[str, Callable[[], object]] = {
        "no output chosen": lambda: explain(PairModel(_Small("names"), size=size), pair, "grad_cam"),
        "a layer that is bypassed": lambda: PairModel.from_module(_Small("jump"), "second", size=size),
        "no such layer": lambda: PairModel.from_module(_Small(), "layer4", size=size),
        "other channels": lambda: explain(PairModel(nn.Conv2d(5, 8, 7, 4, 3), size=size), pair, "grad_cam"),
        "a size that is not square": lambda: PairModel(conv, size=(size, 2 * size)),
        "no gradient": lambda: explain(PairModel(_Small("no gradient"), size=size), pair, "input_x_gradient"),
        "a batch norm over the batch": lambda: explain(PairModel(batch, size=size), pair, "grad_cam"),
    }
    return pd.DataFrame({"what is said": {what: _said(run) for what, run in runs.items()}}).rename_axis("mistake")


def _said(run: Callable[[], object]) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            run()
        except InputError as error:
            return str(error)
    return "; ".join(f"warning: {w.message}" for w in caught) or "nothing"


def families(table: pd.DataFrame) -> pd.DataFrame:
    """The stored table of families in a few rows: for each package how many there are, and which methods explain how many of them."""
    told = table.assign(package=table["family"].str.split().str[0], yes=table["answer"] == "yes")
    whole = told.groupby(["package", "method"], sort=False)["yes"].sum().unstack("method")
    count = told.groupby("package", sort=False)["family"].nunique()
    everywhere = whole.eq(count, axis=0).sum(axis=1)
    rest = [", ".join(f"{m} {n} of {count[p]}" for m, n in row.items() if n < count[p]) or "none" for p, row in whole.iterrows()]
    return pd.DataFrame({"families": count, "methods that explain all of them": everywhere, "the others": rest})
