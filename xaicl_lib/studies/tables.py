"""Methods by models by metrics, as in the paper's Tables I to V and Fig. 14: the rows, the pairs, and what is asked of the tables."""

import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from xaicl_lib.augment.views import Views, random_view
from xaicl_lib.data.scenes import KINDS, scene_pairs, scenes, words
from xaicl_lib.errors import InputError, require
from xaicl_lib.evaluation.evaluate import evaluate
from xaicl_lib.evaluation.method_spec import Methods, MethodSpec, method_specs, possible, require_distinct, short
from xaicl_lib.images import SAMPLES, list_images, open_photo
from xaicl_lib.methods import methods as registry
from xaicl_lib.metrics import PAPER, measure
from xaicl_lib.metrics.randomisation import Cascade, randomisation
from xaicl_lib.metrics.registry import Curves
from xaicl_lib.model import PairModel
from xaicl_lib.notes import note
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.statistics.bootstrap import with_interval
from xaicl_lib.statistics.paired import holm, interval, rank_agreements, signed_ranks, verdicts
from xaicl_lib.statistics.paired import summarise as summarise

# The seventeen rows of Tables I to IV, labelled as `paper_tables` labels them.
PAPER_METHODS = (
    "conditional_occlusion",
    "pairwise_occlusion",
    "deep_similarity",
    "grad_cam",
    "interaction_cam(gradient_interaction=False)",
    "interaction_cam",
    "interaction_cam(reduction=max, gradient_interaction=False)",
    "interaction_cam(reduction=max)",
    "interaction_cam(reduction=attention, gradient_interaction=False)",
    "interaction_cam(reduction=attention)",
    "input_x_gradient",
    "input_x_gradient(guided=True)",
    "smooth_grad",
    "smooth_grad(guided=True)",
    "averaged_transforms",
    "averaged_transforms(guided=True)",
    "averaged_transforms(level=0.15)",
)
PUBLISHED = "conditional_occlusion(grid=published)"  # as the paper's program lays it over the photo; a row beside that of the paper's text
OWN_METHODS = ("integrated_jacobians", "edges", "random_map")
_CONTROLS = ("random_map", "edges")  # methods of ours that never see the model
METHODS = (*PAPER_METHODS, *OWN_METHODS)
_GENTLE = (
    "grad_cam", "interaction_cam", "deep_similarity", "input_x_gradient", "input_x_gradient(guided=True)", "averaged_transforms",
    "averaged_transforms(guided=True)", "edges", "random_map",
)  # fmt: skip
_SOME = (
    "conditional_occlusion", "grad_cam", "interaction_cam", "deep_similarity", "input_x_gradient", "averaged_transforms(guided=True)",
    "edges", "random_map",
)  # fmt: skip
_CHOICES = {"paper": METHODS, "some": _SOME, "gentle": _GENTLE}
GROUPS = {"insertion": ("SI", "CI"), "deletion": ("SD", "CD"), "average drop": ("SAD", "CAD")}
FILLS = ("zero", "blur", "shuffle")
_VIEWS = Views(scale=(0.35, 1.0))  # milder crops than in training, so that most views still show what the photo is of


def choose_methods(choice: str = "paper", *, stride: int | None = None) -> dict[str, MethodSpec]:
    """The methods of a choice by their labels: "paper" (all of its rows, and ours), "some", or "gentle" (quick, without occlusion).

    Args:
        choice: one of these.
        stride: pixels by which the windows of conditional occlusion are moved; None is its default.

    Raises:
        InputError: no such choice.
    """
    require("choice of methods", _CHOICES, choice)
    coarse = MethodSpec("conditional_occlusion", {"stride": stride}, "conditional_occlusion")
    return {label: coarse if stride and label == coarse.label else spec for label, spec in method_specs(_CHOICES[choice]).items()}


def evaluated(models: Sequence[PairModel], pairs: Pair, methods: Methods, metrics: Sequence[str] = PAPER, **options: Any) -> pd.DataFrame:
    """The table of `evaluate`, of each model with those of the methods that it allows."""
    require_distinct("model", [model.name for model in models])
    found = [evaluate(model, pairs, possible(methods, model), metrics, **options) for model in models]
    return pd.concat(found, ignore_index=True)


def means(table: pd.DataFrame, *by: str, value: str = "value", unit: str | None = None) -> pd.DataFrame:
    """`summarise` of a column by others, methods by their short names; rows of one `unit`, such as those of several models, are one value.

    Of no rows there are no means.
    """
    if table.empty:
        return pd.DataFrame(columns=[*by, "mean", "low", "high"])
    table = table.assign(value=table[value])
    if unit:
        table = table.groupby([*by, unit], sort=False, observed=True)["value"].mean().reset_index()
    found = summarise(table, by)
    return found.assign(method=found["method"].map(short)) if "method" in found else found


def pixel_curves(model: PairModel, pair: Pair, methods: Methods, **options: Any) -> dict[str, Curves]:
    """The curves of insertion and deletion behind SI, SD, CI and CD by the labels of the methods; options are those of `measure`."""
    asked: dict[str, Any] = {"metrics": ["SI", "SD", "CI", "CD"], "curves": True, **options}
    return {label: measure(model, pair, spec.explain(model, pair), **asked)[1] for label, spec in method_specs(methods).items()}


def cascades(model: PairModel, pair: Pair, methods: Methods, **options: Any) -> dict[str, tuple[Explanation, Cascade]]:
    """Maps of the intact model and of one that forgets layer by layer, by the labels of the methods; options as of `randomisation`."""
    made = {label: spec.explain(model, pair) for label, spec in method_specs(methods).items()}
    return {label: (one, randomisation(model, pair, one, **options)) for label, one in made.items()}


def against_controls(table: pd.DataFrame) -> pd.DataFrame:
    """How many methods are better, and how many worse, than each control, by the six areas and drops on each model."""
    return verdicts(table[table["metric"].isin(PAPER)], _CONTROLS)


def agreement_with_truth(table: pd.DataFrame, truth: str = "relevance_rank") -> pd.DataFrame:
    """How far each of the six metrics orders methods as known evidence does: all methods, those that see the model, and each family.

    Args:
        table: as from `evaluate`, of pairs with truth.
        truth: a metric of localisation.

    Returns:
        One row per metric and group of methods: methods (the group), count, mean, low, high (Spearman's correlation over methods of each
        pair, averaged over models; bootstrap over pairs), n (pairs), p (Wilcoxon's signed-rank test against 0, corrected by Holm's
        procedure for all rows), least and most (means of single models), above 0 (on how many models the mean is).
    """
    known = table.astype(dict.fromkeys(["model", "method", "metric"], str))
    found = [
        {"metric": metric, "methods": name, "count": len(labels), **_agreement(known[known["method"].isin(labels)], metric, truth)}
        for name, labels in _groups_of(list(known["method"].unique())).items()
        for metric in PAPER
    ]
    return pd.DataFrame(found).assign(p=holm([one["p"] for one in found]))


def _agreement(table: pd.DataFrame, metric: str, truth: str) -> dict[str, Any]:
    values = rank_agreements(table, metric, truth).pivot(index="pair", columns="model", values="value")
    each, by_model = values.mean(axis=1).to_numpy(), values.mean()
    low, high = interval(each)
    ends = {"least": by_model.min(), "most": by_model.max(), "above 0": f"{(by_model > 0).sum()} of {len(by_model)}"}
    return {"mean": each.mean(), "low": low, "high": high, "n": len(each), "p": signed_ranks(each), **ends}


def _groups_of(labels: Sequence[str]) -> dict[str, list[str]]:
    """Labels of methods in all, without controls, and by families; groups of at least three, since two have no order to speak of."""
    families: dict[str, list[str]] = {}
    for label, spec in method_specs(labels).items():
        families.setdefault(str(registry[spec.name].facts["family"]), []).append(label)
    own = [label for label in labels if label not in _CONTROLS]
    groups = {"all": list(labels), "without controls": own, **{f"{name} methods": some for name, some in families.items()}}
    return {name: some for name, some in groups.items() if len(some) > 2}


def by_fill(
    model: PairModel,
    pair: Pair,
    methods: Methods,
    *,
    fills: Sequence[str] = FILLS,
    metric: str = "CD",
    known: pd.DataFrame | None = None,
    **options: Any,
) -> pd.DataFrame:
    """A deletion metric of the same maps when missing pixels are zeros, a blur, or the photo's own pixels in random places.

    Args:
        model: that is explained.
        pair: n pairs.
        methods: as for `evaluate`.
        fills: names of what takes the place of deleted pixels.
        metric: SD or CD.
        known: what `evaluate` gave for these pairs and options with zeros, its default, which then are not measured again.
        options: of `evaluate`.

    Returns:
        Its rows with `fill`; value is the area under the deletion curve, lower is better.
    """
    specs = method_specs(methods)

    def rows(fill: str) -> pd.DataFrame:
        if known is None or fill != "zero":
            return evaluate(model, pair, specs, [metric], deletion=fill, **options)
        return known[(known["model"] == model.name) & (known["metric"] == metric) & known["method"].isin(specs)]

    return pd.concat([rows(fill).assign(fill=fill) for fill in fills], ignore_index=True)


def mean_by(table: pd.DataFrame, columns: str, *, index: str = "method", value: str = "value") -> pd.DataFrame:
    """Means of `value`: a row for each `index`, a column for each of `columns`, in the order of the table; methods by their short names."""
    wide = table.groupby([index, columns], sort=False, observed=True)[value].mean().unstack(columns, sort=False)
    wide = wide.rename(index=short) if index == "method" else wide
    return wide.rename(columns=short) if columns == "method" else wide


def told_by(table: pd.DataFrame, columns: str, *, index: str = "method", form: str = "+.2f") -> pd.DataFrame:
    """Means with their intervals as a table to read, "+0.12 (+0.10 to +0.15)": rows and columns as of `mean_by`."""
    wide = table.assign(told=with_interval(table, form)).pivot_table("told", index, columns, "first", sort=False, observed=True)
    return wide.rename_axis(columns=None)


def drawn_scenes(n: int, size: int, seed: int = 0) -> tuple[Float[Tensor, "n 3 s s"], list[str]]:
    """Scenes of one object each, and what they show."""
    images, _, labels = scenes(n, size, Generator().manual_seed(seed))
    return images, words(labels)


def view_pairs(photos: Float[Tensor, "n 3 h w"], generator: Generator | None = None) -> Pair:
    """Photos and a random view of each, made by the augmentations of SimCLR's recipe: the pairs that such models are trained on.

    Photos are squares of the model's input size.
    """
    views = Views(**{**vars(_VIEWS), "size": photos.shape[-1]})
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
        if count > len(names):
            note(f"there are {len(names)} sample photos, so that {count} pairs are other views of the same: their intervals are too narrow")
        return view_pairs(open_photo([names[k % len(names)] for k in range(count)], size, fit), generator)
    if not Path(source).is_dir():
        raise InputError(f"expected pairs from `samples`, a folder of photos, or a kind of scenes ({', '.join(KINDS)}), got {source!r}")
    paths = list_images(source, recursive=True)
    if len(paths) < count:
        raise InputError(f"expected at least {count} photos in {source!r}, got {len(paths)}")
    chosen = torch.randperm(len(paths), generator=generator)[:count].tolist()
    return view_pairs(open_photo([paths[k] for k in chosen], size, fit), generator)


def with_provenance(table: pd.DataFrame, model: PairModel, pairs: str) -> pd.DataFrame:
    """A table of results with what made it: device, engine, versions, date, and the kind of pairs (a folder's name without its place)."""
    device = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else f"{platform.machine()} CPU"
    made = {
        "device": device,
        "engine": model.engine,
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "size": model.size,
        "pairs": Path(pairs).name,
    }
    return table.assign(**made)


def grouped(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary of Fig. 14, from that of `summarise`: one number per model, method and group of metrics, higher is better.

    Implements Sec. V-D of :cite:t:`sammani2023visualizing`: the mean of SI and CI, of 1 - SD and 1 - CD, and of 1 - SAD and 1 - CAD.

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
