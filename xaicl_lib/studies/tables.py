"""The rows and summaries of the paper's Tables I to V and Fig. 14."""

from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from xaicl_lib.pair import Pair
from xaicl_lib.training.views import Views, random_view

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
VIEWS = Views(scale=(0.35, 1.0))  # milder crops than in training, so that most views still show what the photo is of


def view_pairs(photos: Float[Tensor, "n 3 h w"], generator: Generator | None = None) -> Pair:
    """Photos and a random view of each, made by the augmentations of SimCLR's recipe: the pairs that such models are trained on.

    Args:
        photos: squares of the model's input size.
        generator: of the views; None is seed 0.
    """
    views = Views(**{**vars(VIEWS), "size": photos.shape[-1]})
    return Pair(photos, random_view(photos, views, generator or Generator().manual_seed(0)).clamp(0, 1))


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
