"""The rows and summaries of the paper's Tables I to V and Fig. 14."""

import platform
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from xaicl_lib.augment.views import Views, random_view
from xaicl_lib.data.paper import paper_tables
from xaicl_lib.data.scenes import KINDS, scene_pairs
from xaicl_lib.errors import InputError, unknown
from xaicl_lib.images import SAMPLES, list_images, open_photo
from xaicl_lib.methods import methods
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair
from xaicl_lib.statistics.correlation import chance_within, concordance, resampled, weighted_means
from xaicl_lib.statistics.paired import holm

GUIDED = {"guided": True}
# The seventeen rows of Tables I to IV, labelled as `paper_tables` labels them.
PAPER_WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "conditional_occlusion": ("conditional_occlusion", {}),
    "pairwise_occlusion": ("pairwise_occlusion", {}),
    "deep_similarity": ("deep_similarity", {}),
    "grad_cam": ("grad_cam", {}),
    "interaction_cam(gradient_interaction=False)": ("interaction_cam", {"gradient_interaction": False}),
    "interaction_cam": ("interaction_cam", {}),
    "interaction_cam(reduction=max, gradient_interaction=False)": ("interaction_cam", {"reduction": "max", "gradient_interaction": False}),
    "interaction_cam(reduction=max)": ("interaction_cam", {"reduction": "max"}),
    "interaction_cam(reduction=attention, gradient_interaction=False)": (
        "interaction_cam",
        {"reduction": "attention", "gradient_interaction": False},
    ),
    "interaction_cam(reduction=attention)": ("interaction_cam", {"reduction": "attention"}),
    "input_x_gradient": ("input_x_gradient", {}),
    "input_x_gradient(guided=True)": ("input_x_gradient", GUIDED),
    "smooth_grad": ("smooth_grad", {}),
    "smooth_grad(guided=True)": ("smooth_grad", GUIDED),
    "averaged_transforms": ("averaged_transforms", {}),
    "averaged_transforms(guided=True)": ("averaged_transforms", GUIDED),
    "averaged_transforms(level=0.15)": ("averaged_transforms", {"level": 0.15}),
}
OWN_WAYS: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in ("integrated_jacobians", "edges", "random_map")}
WAYS = {**PAPER_WAYS, **OWN_WAYS}
GROUPS = {"insertion": ("SI", "CI"), "deletion": ("SD", "CD"), "average drop": ("SAD", "CAD")}
GROUPED = tuple(name for names in GROUPS.values() for name in names)
VIEWS = Views(scale=(0.35, 1.0))  # milder crops than in training, so that most views still show what the photo is of


def view_pairs(photos: Float[Tensor, "n 3 h w"], generator: Generator | None = None) -> Pair:
    """Photos and a random view of each, made by the augmentations of SimCLR's recipe: the pairs that such models are trained on.

    Args:
        photos: squares of the model's input size.
        generator: of the views; None is seed 0.
    """
    views = Views(**{**vars(VIEWS), "size": photos.shape[-1]})
    return Pair(photos, random_view(photos, views, generator or Generator().manual_seed(0)).clamp(0, 1))


def pairs_from(source: str, count: int, size: int, seed: int = 0, fit: str = "crop") -> Pair:
    """Pairs by the name of where they come from.

    Args:
        source: "samples" (the bundled sample photos, each beside views of itself), a folder of photos (likewise), or a kind of
            `xaicl_lib.data.scenes.scene_pairs`.
        count: pairs.
        size: side in pixels.
        seed: of the choice of photos, of views and scenes.
        fit: how photos become squares, see `xaicl_lib.images.open_photo`.

    Raises:
        InputError: an unknown fit, neither a folder nor a kind of scenes, no pairs, or fewer photos than pairs.
    """
    generator = Generator().manual_seed(seed)
    if count < 1:
        raise InputError(f"expected at least one pair, got {count}")
    if source in KINDS:
        return scene_pairs(count, source, size, generator)
    if source == "samples":
        names = list(SAMPLES)
        return view_pairs(open_photo([names[k % len(names)] for k in range(count)], size, fit), generator)
    if not Path(source).is_dir():
        raise InputError(f"expected pairs from `samples`, a folder of photos, or a kind of scenes ({', '.join(KINDS)}), got {source!r}")
    paths = list_images(source, recursive=True)
    if len(paths) < count:
        raise InputError(f"expected at least {count} photos in {source!r}, got {len(paths)}")
    chosen = torch.randperm(len(paths), generator=generator)[:count].tolist()
    return view_pairs(open_photo([paths[k] for k in chosen], size, fit), generator)


def with_provenance(table: pd.DataFrame, model: PairModel, pairs: str) -> pd.DataFrame:
    """A table of results with what made it: device, versions, date, and the kind of pairs (a folder's name without its place)."""
    device = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else f"{platform.machine()} CPU"
    made = {"device": device, "torch": torch.__version__, "date": date.today().isoformat(), "size": model.size, "pairs": Path(pairs).name}
    return table.assign(**made)


def beside_paper(summary: pd.DataFrame, model: str, paper_model: str) -> pd.DataFrame:
    """Our means with the paper's numbers for the same method and metric, and whether these lie within our intervals.

    Args:
        summary: from `xaicl_lib.statistics.paired.summarise`.
        model: of ours.
        paper_model: the paper's name of the model, as in `paper_tables`.

    Returns:
        Columns table, method, metric, mean, low, high, n, paper, inside; in the order of the paper's tables.

    Raises:
        InputError: the paper has no numbers for the model, or none that we measured.
    """
    paper = paper_tables("I", "II", "III", "IV", "V").rename(columns={"value": "paper"})
    if paper_model not in set(paper["model"]):
        raise unknown("model of the paper", paper_model, paper["model"].unique())
    ours = summary[summary["model"] == model].drop(columns="model")
    both = paper[paper["model"] == paper_model].merge(ours, on=["method", "metric"])
    if both.empty:
        raise InputError(f"expected methods and metrics that the paper has for {paper_model}, got none for {model!r}")
    both["inside"] = (both["low"] <= both["paper"]) & (both["paper"] <= both["high"])
    return both[["table", "method", "metric", "mean", "low", "high", "n", "paper", "inside"]]


def grouped(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary of Fig. 14: one number per model, method and group of metrics, higher is better.

    Implements Sec. V-D of :cite:t:`sammani2023visualizing`: the mean of SI and CI, of 1 - SD and 1 - CD, and of 1 - SAD and 1 - CAD.

    Args:
        summary: with columns model, method, metric, mean.

    Returns:
        Columns model, method, group, value; NaN where a metric of the group is missing or undefined.
    """
    rows = []
    for (model, method), part in summary.groupby(["model", "method"], sort=False):
        means = part.set_index("metric")["mean"]
        for group, names in GROUPS.items():
            mean = float(torch.tensor([means.get(name, torch.nan) for name in names]).mean())
            rows.append((model, method, group, mean if group == "insertion" else 1 - mean))
    return pd.DataFrame(rows, columns=["model", "method", "group", "value"])


def orders(table: pd.DataFrame, models: Mapping[str, str], *, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """How far our order of the methods is the paper's: over all of them, within families and across.

    Methods of different families differ so much that a correlation over all of them says little of the methods within one. So pairs
    of methods are counted (see `xaicl_lib.statistics.correlation.concordance`): those of one family, and those of two. As in the
    paper, deep similarity is one of the activation methods.

    Args:
        table: as from `evaluate`.
        models: by the name of ours, the paper's name of the model to put beside it.
        draws: of the bootstrap over pairs of photos, and of orders by chance.
        seed: of both.

    Returns:
        A row for each model and metric of Tables I to IV: model, metric, methods, pooled (Spearman's over all), activation and gradient
        (Spearman's within), across and within (concordance), low and high (95 % interval of within over pairs of photos), p (of within,
        against orders that are random within families, corrected by Holm's procedure for all rows).
    """
    paper = paper_tables("I", "II", "III", "IV")
    rows = [
        {"model": f"{ours} and {other}", "metric": metric, **_order(part, known[known["metric"] == metric], draws, seed)}
        for ours, other in models.items()
        for known in [paper[paper["model"] == other]]
        for metric in GROUPED
        for part in [table[(table["model"] == ours) & (table["metric"] == metric)]]
        if len(part)
    ]
    found = pd.DataFrame(rows)
    return found.assign(p=holm(found["p"].tolist()))


def _order(ours: pd.DataFrame, paper: pd.DataFrame, draws: int, seed: int) -> dict[str, float]:
    """A row of `orders`, with p as it is before the correction."""
    wide = ours.pivot(index="method", columns="pair", values="value")
    both = paper.set_index("method")["value"].reindex(wide.index).dropna()
    values = wide.loc[both.index].to_numpy(float)
    families = np.array(["activation" if f == "similarity" else f for f in map(_family, both.index)])
    sampled = weighted_means(values, resampled(range(values.shape[1]), draws, seed))  # row 0 is the sample itself
    within, across = concordance(sampled, both.to_numpy(float), families.tolist())
    mean = pd.Series(sampled[0], both.index)
    each = {one: mean[families == one].corr(both[families == one], "spearman") for one in ("activation", "gradient")}
    low, high = np.nanpercentile(within[1:], [2.5, 97.5])
    p = chance_within(sampled[0], both.to_numpy(float), families.tolist(), draws=draws, seed=seed)
    pooled = mean.corr(both, "spearman")
    return {"methods": len(both), "pooled": pooled, **each, "across": across[0], "within": within[0], "low": low, "high": high, "p": p}


def _family(label: str) -> str:
    return str(methods[label.split("(")[0]].facts["family"])
