"""Invariance inversion: pictures whose features at a stage are those of a target, found from noise; what they lack, the stage ignores."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from xaicl_lib import augment
from xaicl_lib.errors import InputError, require
from xaicl_lib.images import SAMPLES as SAMPLES
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair
from xaicl_lib.progress import progress
from xaicl_lib.stages import stages, up_to
from xaicl_lib.statistics.paired import decided, holm, paired_difference, summarise
from xaicl_lib.studies.colour import colour_measures, colourless

Images = Float[Tensor, "n 3 h w"]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet: the space that is searched, the same for every model
POWER = 12  # iterations for the largest curvature
BLANK = ("saturation", "colour_kept", "hue_error")  # measures that are not zero for a picture without anything in it
CONTRAST = ["stage", "mean", "low", "high", "n", "p"]  # columns of a difference
SLOPE = "slope"  # stands in the column `stage` for the change from stage to stage


@dataclass(frozen=True)
class Inversion:
    """What `invert` finds."""

    pixels: Images  #: the reconstructions, in [0, 1]
    #: relative feature error of these very pixels: squared distance to the target's features over their squared length
    error: Float[Tensor, " n"]
    grey: Float[Tensor, " n"]  #: the same of the target's grey copy, to compare with: below it an error says that colour is there
    curve: Float[Tensor, "k n"]  #: relative feature error before each step, and after the last one
    at: tuple[int, ...]  #: steps at which frames were kept
    frames: Float[Tensor, "f n 3 h w"]  #: the pictures at these steps
    seconds: float  #: of the processor, for each target


@dataclass(frozen=True)
class Settings:
    """How to search."""

    steps: int = 300  #: of gradient descent
    #: in units of one over the largest curvature of the loss, so that no model and no stage needs another one; it falls to zero along half
    #: a cosine
    step_size: float = 2.0
    momentum: float = 0.95
    #: weight of the prior at the first and at the last step, geometric in between: first the coarse, then the fine
    total_variation: tuple[float, float] = (1.0, 0.01)
    alpha_norm: float = 1e-5  #: weight of the other prior
    alpha: float = 6.0  #: its exponent
    noise: float = 0.1  #: standard deviation of the start

    def __post_init__(self) -> None:
        first, last = self.total_variation
        if self.steps < 1 or self.step_size <= 0 or not 0 <= self.momentum < 1 or min(first, self.alpha_norm, self.noise) < 0 or last < 0:
            raise InputError(f"expected steps >= 1, step_size > 0, momentum in [0, 1) and weights >= 0, got {self}")

    def smoothness(self, share: float) -> float:
        """Weight of total variation when a share of the steps is done."""
        first, last = self.total_variation
        return first * (last / first) ** share if first > 0 and last > 0 else first + (last - first) * share


def _total_variation(z: Images) -> Float[Tensor, " n"]:
    """Squared differences of neighbouring pixels, below and to the right, summed over channels, per pixel of the image.

    Implements the prior of :cite:t:`mahendran2015understanding`, Sec. 2, with its beta = 2.
    """
    down, right = z[:, :, 1:] - z[:, :, :-1], z[..., 1:] - z[..., :-1]
    return (down.square().sum((1, 2, 3)) + right.square().sum((1, 2, 3))) / z[0, 0].numel()


def _alpha_norm(z: Images, alpha: float = 6.0) -> Float[Tensor, " n"]:
    """The sum of |z|^alpha over channels, per pixel: hardly anything near the mean colour, much for extreme values.

    Implements the prior of :cite:t:`mahendran2015understanding`, Sec. 2.
    """
    return z.abs().pow(alpha).sum((1, 2, 3)) / z[0, 0].numel()


def invert(
    model: PairModel,
    targets: Images,
    stage: str,
    *,
    settings: Settings = Settings(),
    generator: Generator | None = None,
    frames: int = 0,
) -> Inversion:
    r"""Pictures whose features at a stage match those of the targets.

    Implements the invariance inversion of :cite:t:`sammani2023visualizing` (appendix) after :cite:t:`mahendran2015understanding`: from
    noise, gradient descent with momentum on

    .. math:: \|\Phi(z) - \Phi_0\|^2 / \|\Phi_0\|^2 + \lambda_{TV} TV(z) + \lambda_\alpha \|z\|_\alpha^\alpha .

    The first term is the squared error over the squared length of the target's features, so that their scale decides nothing.

    Differs: the paper's weights and step sizes are not known; here the step is measured in units of the loss's own curvature at the
    target (power iteration), target by target, and the weight of total variation falls during the search. After each step values
    outside [0, 1] are set to its ends, so that the error is that of a picture that can be shown. Priors are per pixel, which makes
    them the same for every size. Images are searched as (pixels - mean) / std of ImageNet, whatever space the model takes.

    Args:
        targets: in [0, 1]; each is inverted by itself, together only for speed.
        stage: one of `xaicl_lib.stages.stages(model)`, or the name of a layer of the features.
        generator: of the start, which is the same for every target; None is seed 0.
        frames: how many pictures of the way to keep, evenly over the logarithm of the steps, the first and the last among them.

    Raises:
        InputError: images out of range, an unknown stage.
    """
    images = Pair(targets, None).a
    h, w = images.shape[2:]
    with torch.inference_mode(False), torch.enable_grad():
        network = up_to(model, stage)
        start = settings.noise * torch.randn(3, h, w, generator=generator or Generator().manual_seed(0))
        at = _frame_steps(settings.steps, frames)
        parts = [_search(model, network, part, start, settings, at, stage) for part in images.split(model.chunk(h * w))]
    pixels, error, grey, curve, kept, seconds = zip(*parts, strict=True)
    joined = (torch.cat(pixels), torch.cat(error), torch.cat(grey), torch.cat(curve, 1), at, torch.cat(kept, 1))
    return Inversion(*joined, seconds=sum(seconds) / len(images))


def _frame_steps(steps: int, frames: int) -> tuple[int, ...]:
    """Which steps to keep: 0 and the last, and between them evenly over the logarithm, because most happens early."""
    if frames < 1:
        return ()
    marks = [round(math.exp(math.log(steps + 1) * k / max(frames - 1, 1))) - 1 for k in range(frames)]
    return tuple(sorted({0, steps, *marks}))


Found = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, float]


def _search(
    model: PairModel,
    network: nn.Module,
    targets: Tensor,
    start: Tensor,
    settings: Settings,
    at: Sequence[int],
    stage: str,
) -> Found:
    """Pixels, error, error of the grey copy, curve, frames, seconds of one batch."""
    begin = time.process_time()
    mean, std = (torch.tensor(v, device=model.device, dtype=model.dtype).view(1, 3, 1, 1) for v in (MEAN, STD))
    low, high = -mean / std, (1 - mean) / std

    fast = model.fast  # asked once: each time it is asked it looks whether a weight has changed

    def features(z: Tensor) -> Tensor:
        return network(fast.normalize(z * std + mean))

    goal_z = (targets.to(std) - mean) / std
    goal = features(goal_z).detach()
    energy = goal.square().flatten(1).sum(1).clamp_min(torch.finfo(goal.dtype).tiny)

    def loss(z: Tensor) -> Tensor:
        return (features(z) - goal).square().flatten(1).sum(1) / energy

    curvature = _largest_curvature(loss, goal_z)
    z = start.to(std).expand_as(goal_z).clone().clamp(low, high)
    velocity, curve, kept = torch.zeros_like(z), [], [z]
    for step in progress(range(settings.steps), f"{model.name}, {stage}"):
        error, velocity = _step(loss, z, velocity, curvature, settings, step)
        z = (z + velocity).clamp(low, high)
        curve.append(error)
        if step + 1 in at:
            kept.append(z)
    with torch.no_grad():
        error = loss(z)
        grey = loss((augment.grayscale(targets.to(std)) - mean) / std)
        pixels, way = (((v * std + mean).clamp(0, 1)).cpu() for v in (z, torch.stack(kept)))
    seconds = time.process_time() - begin
    return pixels, error.cpu(), grey.cpu(), torch.stack([*curve, error]).cpu(), way[: len(at)], seconds


def _step(
    loss: Callable[[Tensor], Tensor], z: Tensor, velocity: Tensor, curvature: Tensor, settings: Settings, step: int
) -> tuple[Tensor, Tensor]:
    """Relative feature error before a step, and the step to take."""
    share = step / settings.steps
    smoothness = settings.smoothness(share)
    z = z.detach().requires_grad_()
    error = loss(z)
    prior = smoothness * _total_variation(z) + settings.alpha_norm * _alpha_norm(z, settings.alpha)
    (slope,) = torch.autograd.grad((error + prior).sum(), z)
    bend = curvature + (16 * smoothness + _bend_of_alpha_norm(settings)) / z[0, 0].numel()  # 16: largest curvature of total variation
    rate = settings.step_size * (1 + math.cos(math.pi * share)) / 2 / bend
    return error.detach(), settings.momentum * velocity - rate.view(-1, 1, 1, 1) * slope


def _bend_of_alpha_norm(settings: Settings) -> float:
    """Largest curvature of the alpha norm's term, at the largest value that a pixel can have."""
    largest = max(max(m, 1 - m) / s for m, s in zip(MEAN, STD, strict=True))
    return settings.alpha_norm * settings.alpha * (settings.alpha - 1) * largest ** (settings.alpha - 2)


def _largest_curvature(loss: Callable[[Tensor], Tensor], z: Images, iterations: int = POWER) -> Float[Tensor, " n"]:
    """Largest eigenvalue of the second derivative of each image's loss, by power iteration from a fixed start."""
    z = z.detach().requires_grad_()
    (slope,) = torch.autograd.grad(loss(z).sum(), z, create_graph=True)
    v = torch.randn(z.shape[1:], generator=Generator().manual_seed(1)).to(z).expand_as(z)
    found = z.new_zeros(len(z))
    for _ in range(iterations):
        v = v / v.flatten(1).norm(dim=1).clamp_min(1e-30).view(-1, 1, 1, 1)
        (v,) = torch.autograd.grad(slope, z, v, retain_graph=True)
        found = v.flatten(1).norm(dim=1)
    return found.detach().clamp_min(1e-12)


Inversions = dict[tuple[str, str], Inversion]  # by model and stage


def invert_stages(
    models: Sequence[PairModel], targets: Images, *, chosen: Sequence[str] | None = None, seed: int = 0, **options: object
) -> Inversions:
    """Inversions of the same targets at the stages of several models.

    Stages are `chosen` by name, those of `stages(model)` if left out; the tokens and blocks of a transformer count as stem and stages.

    Raises:
        InputError: a chosen stage that a model does not have.
    """
    out = {}
    for model in models:
        names = stages(model)
        for name in names if chosen is None else chosen:
            require(f"stage of {model.name!r}", names, name)
            out[model.name, name] = invert(model, targets, name, generator=Generator().manual_seed(seed), **options)  # type: ignore[arg-type]
    return out


def colour_table(inversions: Mapping[tuple[str, str], Inversion], targets: Images, names: Sequence[str] | None = None) -> pd.DataFrame:
    """What is left of the targets' colour, stage by stage. The inversions are of `invert_stages`.

    Returns:
        One row per model, stage and target: depth (0 for a model's first stage here), feature_error, grey_error, the columns of
        `xaicl_lib.studies.colour.colour_measures`, those of `BLANK` for a flat picture of the mean colour, where the search starts
        (blank_saturation and so on), and cpu_seconds.
    """
    wanted = targets.detach().cpu().double()
    flat = torch.tensor(MEAN).double().view(1, 3, 1, 1).expand_as(wanted)
    blank = {f"blank_{name}": value for name, value in colour_measures(flat, wanted).items() if name in BLANK}
    depths: dict[str, int] = {}
    frames = []
    for (model, stage), found in inversions.items():
        depth = depths[model] = depths.get(model, -1) + 1
        facts = {"model": model, "stage": stage, "depth": depth, "target": [str(name) for name in names or range(len(targets))]}
        errors = {"feature_error": found.error.double(), "grey_error": found.grey.double()}
        measured = colour_measures(found.pixels.double(), wanted)
        frames.append(pd.DataFrame({**facts, **errors, **measured, **blank, "cpu_seconds": found.seconds}))
    return pd.concat(frames, ignore_index=True)


def grey_table(models: Sequence[PairModel], targets: Images) -> pd.DataFrame:
    """How far the features of each stage move when targets lose their colour: the question of the inversion, without a search.

    Returns:
        One row per model, stage and target: depth, grey_error (relative feature error of the grey copy; NaN for targets without colour).
    """
    nothing = colourless(targets.cpu())
    frames = []
    for model in models:
        pixels = Pair(targets, None).a
        for depth, stage in enumerate(stages(model)):
            with torch.inference_mode():
                network = up_to(model, stage)
                goal, grey = (network(model.fast.normalize(x)).flatten(1) for x in (pixels, augment.grayscale(pixels)))
                moved = (grey - goal).square().sum(1) / goal.square().sum(1)
            facts = {"model": model.name, "stage": stage, "depth": depth, "target": range(len(pixels))}
            frames.append(pd.DataFrame({**facts, "grey_error": moved.cpu().double().masked_fill(nothing, torch.nan)}))
    return pd.concat(frames, ignore_index=True)


def _slopes(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """Change of a column from stage to stage, for each model and target: the least-squares slope over depth.

    Returns:
        Columns model, stage ("slope"), target, and the value's own.
    """
    rows = []
    for (model, target), part in table.groupby(["model", "target"], sort=False, observed=True):
        depth = part["depth"] - part["depth"].mean()
        rows.append((model, SLOPE, target, (depth * part[value]).sum(skipna=False) / depth.pow(2).sum()))
    return pd.DataFrame(rows, columns=["model", "stage", "target", value])


def last_over_first(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """How much of a column is left at the last stage of each model, relative to the first: the geometric mean over targets.

    Returns:
        Columns model, mean, low, high (95 % bootstrap over targets), n, undefined (targets whose ratio has no logarithm).
    """
    stages = table.sort_values("depth", kind="stable").groupby(["model", "target"], sort=False)[value]
    ends = stages.agg(first=lambda v: v.iloc[0], last=lambda v: v.iloc[-1])  # pandas' own first and last pass over NaN to another stage
    rows = np.log((ends["last"] / ends["first"]).where(lambda ratio: ratio > 0)).rename("value").reset_index()
    found = summarise(rows.assign(place=rows["model"].map(list(dict.fromkeys(table["model"])).index)).sort_values("place"), ["model"])
    return found.assign(**{column: np.exp(found[column]) for column in ("mean", "low", "high")})


def contrasts(table: pd.DataFrame, pairs: Sequence[tuple[str, str]], *values: str) -> pd.DataFrame:
    """Differences between two models at each stage, and in the slope over the stages, target against the same target.

    Wilcoxon's signed-rank test for each, corrected for their number by Holm's procedure over all rows of a value together.

    Of each pair of models the first minus the second; both have the same stages and targets.

    Returns:
        Columns measure (the value, in words), first, second, stage, mean, low, high (95 % bootstrap over targets), n, p (corrected) and
        significant.

    Raises:
        InputError: a model that is not in the table.
    """
    found = [_contrasts(table, pairs, value).assign(measure=value.replace("_", " ")) for value in values]
    return pd.concat(found, ignore_index=True).assign(significant=decided)


def _contrasts(table: pd.DataFrame, pairs: Sequence[tuple[str, str]], value: str) -> pd.DataFrame:
    change = [_slopes(table, value)] if table["depth"].nunique() > 1 else []
    both = pd.concat([table[["model", "stage", "target", value]], *change], ignore_index=True)
    rows = [pd.DataFrame(columns=["model", "against", *CONTRAST])]
    for first, second in pairs:  # each p by itself, for the correction is over all rows
        rows.append(paired_difference(both, "model", "target", ["stage"], against=second, names=[first], value=value, within=["stage"]))
    found = pd.concat(rows[1:] or rows).rename(columns={"model": "first", "against": "second"})
    return found[["first", "second", *CONTRAST]].assign(p=holm(found["p"].tolist()))


def stages_told_apart(found: pd.DataFrame) -> pd.DataFrame:
    """The stages of `contrasts` at which two models are told apart: a row for each two, a column for each measure."""
    groups = found[found["stage"] != SLOPE].groupby(["first", "second", "measure"], sort=False)
    told = groups.apply(lambda part: ", ".join(part["stage"][part["significant"]]) or "none")
    return told.unstack("measure").reset_index("second").rename_axis(columns=None)


def mean_errors(table: pd.DataFrame) -> pd.DataFrame:
    """Means over targets of `colour_table`'s errors, of the search and of grey copies, by model and stage."""
    return table.groupby(["model", "stage"], sort=False)[["feature_error", "grey_error"]].mean().reset_index("stage")


def averaging_model(size: int) -> PairModel:
    """A model whose one layer, "0", averages the three channels, so that colour does not pass."""
    average = nn.Conv2d(3, 1, 1, bias=False)
    nn.init.constant_(average.weight, 1 / 3)
    return PairModel(nn.Sequential(average), size=size, name="average")
