"""Augmentation dissection: explanations of a photo and one transform of it, transform by transform; and what that says of training."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from xaicl_lib import augment
from xaicl_lib.data.paper import paper_tables
from xaicl_lib.evaluation.evaluate import evaluate
from xaicl_lib.evaluation.method_spec import possible
from xaicl_lib.images import SAMPLES as SAMPLES
from xaicl_lib.metrics import metrics as metric_registry
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair
from xaicl_lib.probes import probe_accuracy
from xaicl_lib.scores import cosine
from xaicl_lib.statistics.bootstrap import resampled_means
from xaicl_lib.statistics.paired import RESAMPLES, interval, summarise, tails
from xaicl_lib.studies.tables import means

Images = Float[Tensor, "n 3 h w"]
METRICS = ("SI", "SD", "SAD")
PLAIN, GUIDED = "plain", "guided"
PAPER_MODEL = "SimCLRv2 1x"
FOUND = ["twin", "metric", "variant", "n", "transform", "mean", "low", "high", "chosen", "identified", "right"]
PAIRS_AT_ONCE = 16  # of several transforms, where there are few photos: many small batches take longer than few
JITTER = (0.4, 0.4, 0.4, 0.1)  # brightness, contrast, saturation, hue, as the bundled models' recipe for photos has them


def _colour_jitter(images: Images, generator: Generator | None = None) -> Images:
    """Brightness, contrast, saturation and hue changed, each by a random strength per image, in this order."""
    u = 2 * torch.rand(len(images), 4, generator=generator or Generator().manual_seed(0)) - 1  # row by row
    for k, change in enumerate((augment.brightness, augment.contrast, augment.saturation)):
        images = change(images, 1 + JITTER[k] * u[:, k])
    return augment.hue(images, JITTER[3] * u[:, 3])


def _blur(images: Images) -> Images:
    """A Gaussian blur of 2 pixels at 96, as wide for other sizes."""
    sigma = images.shape[3] / 48
    return augment.gaussian_blur(images, sigma, 2 * round(3 * sigma) + 1)


def _rotation(degrees: float) -> Callable[[Images], Images]:
    """A turn by so many degrees."""

    def turn(images: Images) -> Images:
        return augment.rotate(images, degrees)

    return turn


TRANSFORMS: dict[str, Callable[[Images], Images]] = {  # the rows of Table VII
    "colour jitter": _colour_jitter,
    "blur": _blur,
    "grayscale": augment.grayscale,
    "solarisation": augment.solarize,
    **{f"rotation {degrees}": _rotation(degrees) for degrees in (30, 60, 90, 180)},
    "horizontal flip": augment.mirror,
}
LEFT_OUT = {  # of the twins: the transforms that are the one changed augmentation, and whether it was added or left out
    "scenes_simclr_no_jitter": (("colour jitter",), -1),
    "scenes_simclr_no_blur": (("blur",), -1),
    "scenes_simclr_no_grayscale": (("grayscale",), -1),
    "scenes_simclr_rotation": (tuple(name for name in TRANSFORMS if name.startswith("rotation")), 1),
}
JITTER_DOSES = {  # of trainings that differ in nothing but how strong their jitter is, in that of the base
    "scenes_simclr_no_jitter": 0.0,
    "scenes_simclr_half_jitter": 0.5,
    "scenes_simclr": 1.0,
    "scenes_simclr_double_jitter": 2.0,
}
DOSED = {name: (("colour jitter",), 1 if dose > 1 else -1) for name, dose in JITTER_DOSES.items() if dose not in (0, 1)}  # as LEFT_OUT
WHOLE = "whole"


def dissect(
    models: Sequence[str | PairModel],
    photos: Images,
    *,
    transforms: Mapping[str, Callable[[Images], Images]] = TRANSFORMS,
    variants: Sequence[str] = (PLAIN, GUIDED),
    metrics: Sequence[str] = METRICS,
    points: int | None = None,
    store: Any | None = None,
    device: str = "auto",
    **options: Any,
) -> pd.DataFrame:
    """How well Averaged Transforms explains why a model finds a photo and its transform alike, and how alike it finds them.

    Implements Table VII of :cite:t:`sammani2023visualizing`: the pair is a photo and its transform, explained by Averaged Transforms along
    the way from one to the other, measured by insertion, deletion and average drop.

    Differs: strengths are ours (the paper gives none): see `TRANSFORMS`. The score itself is a column of its own, because a metric
    of a pair is bounded by it.

    Args:
        models: names or models; guided gradients need ReLUs, so models without have the plain rows only.
        photos: n images in [0, 1].
        transforms: from images to images, by name.
        variants: "plain", "guided", both, or none for the score alone, which costs next to nothing.
        metrics: of the explanations.
        points: of each curve, evenly spaced; else as the options say.
        store, options: as for `evaluate`.
        device: where models given by name run.

    Returns:
        One row per model, transform, variant, pair and metric; of metric "score" and variant "none" the cosine of photo and transform.
        SAD is NaN for pairs whose score is not positive.
    """
    from xaicl_lib.zoo import load_model

    loaded = [load_model(model, device) if isinstance(model, str) else model for model in models]
    plain = {model.name: model.encode(photos, "a") for model in loaded}
    ways = {model.name: possible({v: ("averaged_transforms", {"guided": v == GUIDED}) for v in variants}, model) for model in loaded}
    frames = []
    for names in _portions(list(transforms), PAIRS_AT_ONCE // max(1, len(photos))):
        pair = Pair(photos.repeat(len(names), 1, 1, 1), torch.cat([transforms[name](photos) for name in names]))
        for model in loaded:
            scores = cosine(plain[model.name].repeat(len(names), 1), model.encode(pair.sides[1], "b")).cpu().double().numpy()
            alone = pd.DataFrame({"model": model.name, "variant": "none", "pair": range(len(pair)), "metric": "score", "value": scores})
            if ways[model.name]:
                even: dict[str, Any] = {} if points is None else {"step": max(1, model.size**2 // points)}
                found = evaluate(model, pair, ways[model.name], metrics, store=store, **even, **options)
                table = found.rename(columns={"method": "variant"})
                alone = pd.concat([table[list(alone.columns)], alone])
            transform, photo = np.divmod(alone["pair"], len(photos))
            frames.append(alone.assign(pair=photo, transform=np.array(names)[transform]))
    order = {name: k for k, name in enumerate(transforms)}
    return pd.concat(frames).sort_values("transform", key=lambda names: names.map(order), kind="stable", ignore_index=True)


@torch.no_grad()
def baselines(model: PairModel, photos: Images, *, folds: int = 4) -> pd.DataFrame:
    """How invariant a model is to each transform by two measures that explain nothing, to set beside `dissect`.

    Args:
        model: gives the embeddings, of side a.
        photos: n images in [0, 1], as many as folds or more.
        folds: of the probe; a photo and its transform are in the same one.

    Returns:
        One row per transform and metric, value: "variance", half the mean squared distance of the embeddings (of length 1) of a photo and
        its transform, over the variance between photos: 0 for a model that is invariant; "probe", the share of held-out embeddings that a
        linear probe puts on the right side, photo or transform: 0.5 for a model that is.
    """
    plain, rows = model.encode(photos, "a").cpu(), []
    unit = nn.functional.normalize(plain.double())
    fold = (torch.arange(len(photos)) % folds).repeat(2)
    label = torch.arange(2).repeat_interleave(len(photos))
    for name, transform in TRANSFORMS.items():
        changed = model.encode(transform(photos), "a").cpu()
        moved = (nn.functional.normalize(changed.double()) - unit).square().sum(1).mean() / 2
        both = torch.cat([plain, changed])
        told = [probe_accuracy(both[fold != k], label[fold != k], both[fold == k], label[fold == k]) for k in range(folds)]
        values = {"variance": float(moved / unit.var(0).sum()), "probe": float(np.mean(told))}
        rows += [{"transform": name, "metric": metric, "value": value} for metric, value in values.items()]
    return pd.DataFrame(rows)


def _sign(metric: str) -> int:
    """1 where a larger value says that a model is more invariant, else -1."""
    if metric in ("score", "variance", "probe"):
        return 1 if metric == "score" else -1
    return 1 if metric_registry[metric].facts["higher_is_better"] else -1


def _portions(names: list[str], size: int) -> list[list[str]]:
    """At least one name a portion."""
    return [names[k : k + max(1, size)] for k in range(0, len(names), max(1, size))]


def identify(
    table: pd.DataFrame, base: str, twins: Mapping[str, tuple[Sequence[str], int]] = LEFT_OUT, *, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Which augmentation a metric says was left out of, or added to, the training of each twin.

    The reading of :cite:t:`sammani2023visualizing` is that a model is the more invariant to a transform, the better its explanations of
    photo and transform score. So a twin that was trained without an augmentation should lose most, against the model it is a twin of, on
    that transform; a twin with one more should gain most.

    Args:
        table: of `dissect`, with the base and its twins on the same photos.
        base: the model that the twins differ from.
        twins: by name, some of which may have no rows: the transforms that count as right, and -1 for left out or 1 for added.
        resamples: bootstrap samples of photos.
        seed: of the bootstrap.

    Returns:
        One row per twin (named by what it has not in common with the base), metric, variant and transform: mean (change in invariance
        over photos, positive is more invariant), low and high (95 % bootstrap), chosen (share of bootstrap samples in which this transform
        is the one identified), identified (by the mean over all photos), right (whether this transform is the true one), n (photos).
    """
    frames, known = [], set(table["model"])
    for twin, (true, sign) in twins.items():
        if twin not in known:
            continue
        for (metric, variant), part in table[table["model"].isin([base, twin])].groupby(["metric", "variant"], sort=False):
            wide = part.pivot_table(index="pair", columns=["model", "transform"], values="value", sort=False)
            better = _sign(metric)
            change = (better * (wide[twin] - wide[base])).dropna()  # pairs whose score is not positive have no average drop
            if len(change) < 2:
                continue
            means = resampled_means(change.to_numpy(), resamples, seed)  # (resamples, transforms)
            chosen = np.bincount((sign * means).argmax(1), minlength=means.shape[1]) / resamples
            low, high = np.quantile(means, tails(len(change)), axis=0)
            best = change.columns[int((sign * change.mean()).to_numpy().argmax())]
            names, facts = (
                list(change.columns),
                {"twin": twin.removeprefix(f"{base}_"), "metric": metric, "variant": variant, "n": len(change)},
            )
            columns = {"transform": names, "mean": change.mean().to_numpy(), "low": low, "high": high, "chosen": chosen}
            told = {"identified": [name == best for name in names], "right": [name in true for name in names]}
            frames.append(pd.DataFrame({**facts, **columns, **told}))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=FOUND)


def answers(base: str, *tables: pd.DataFrame, twins: Mapping[str, tuple[Sequence[str], int]] = LEFT_OUT) -> pd.DataFrame:
    """What each metric says of each twin in the tables together, as `identify` finds it.

    Returns:
        One row per metric ("SI plain"; "score" alone) and twin: identified (the transform), right, sure (share of bootstrap samples in
        which the right one is), n (photos).
    """
    found, rows = identify(pd.concat(tables), base, twins), []
    for (metric, variant, twin), part in found.groupby(["metric", "variant", "twin"], sort=False):
        best, sure = part[part["identified"]].iloc[0], part.loc[part["right"], "chosen"].sum()
        facts = {"identified": best["transform"], "right": bool(best["right"]), "sure": sure, "n": best["n"]}
        rows.append({"metric": metric if variant == "none" else f"{metric} {variant}", "twin": twin, **facts})
    return pd.DataFrame(rows)


def answers_table(said: pd.DataFrame) -> pd.DataFrame:
    """The transforms identified: a row for each metric, a column for each twin; those that are right are ticked."""
    ticked = said.assign(said=said["identified"] + said["right"].map({True: " ✓", False: ""}))
    return ticked.pivot(index="metric", columns="twin", values="said").rename_axis(columns=None)


def right_answers(said: pd.DataFrame) -> pd.DataFrame:
    """How many of the twins each metric identifies: right, of."""
    return said.groupby("metric", sort=False)["right"].agg(["sum", "count"]).set_axis(["right", "of"], axis=1)


def beyond_seeds(
    table: pd.DataFrame, base: str = "scenes_simclr", twins: Mapping[str, tuple[Sequence[str], int]] = LEFT_OUT
) -> pd.DataFrame:
    """Whether twins differ from the recipe they are twins of by more than trainings of one recipe differ, with the training as the unit.

    Args:
        table: a row for each backbone (WHOLE where all of a network was trained), model (the recipe), seed, transform and metric: value, a
            mean over scenes.
        base, twins: as for `identify`.

    Returns:
        One row per twin, backbone and metric: twin (its name, and of heads whether the backbone saw what was left out or added), metric,
        mean, low, high (by how much more of its own transform the twin lost, or gained, than the base of the same seed, in standard
        deviations over the seeds of a recipe; interval over seeds), ordered (share of all pairs of a training of either in which it is
        more; 0.5 by chance), named (share of them in which the right transform changed most), null (that of pairs of one recipe), seeds.
    """
    rows = []
    for (backbone, metric), part in table.groupby(["backbone", "metric"], sort=False):
        better = _sign(metric)
        wide = better * part.pivot_table("value", ["model", "seed"], "transform", sort=False)
        known = set(wide.index.get_level_values("model"))
        for twin, (true, sign) in twins.items():
            if {base, twin} <= known:
                seen = "" if backbone == WHOLE else ", seen" if sign < 0 and backbone == base else ", unseen"
                facts = {"twin": twin.removeprefix(f"{base}_") + seen, "metric": metric}
                rows.append({**facts, **_beyond(sign * wide.loc[twin], sign * wide.loc[base], list(true))})
    columns = ["twin", "metric", "mean", "low", "high", "ordered", "named", "null", "seeds"]
    return pd.DataFrame(rows, columns=columns).sort_values("twin", kind="stable", ignore_index=True)


def dose_response(table: pd.DataFrame) -> pd.DataFrame:
    """What jitter does to whole networks that were trained with more and more of it: metric, dose, mean, low, high over seeds."""
    some = table[(table["transform"] == "colour jitter") & table["model"].isin(JITTER_DOSES) & (table["backbone"] == WHOLE)]
    dosed = some.assign(dose=some["model"].astype(str).map(JITTER_DOSES)).sort_values("dose", kind="stable")
    return means(dosed, "metric", "dose", unit="seed")


def _beyond(twin: pd.DataFrame, base: pd.DataFrame, true: Sequence[str]) -> dict[str, float]:
    """Of invariances by seed and transform, signed so that more of the true ones is expected of the twin."""
    own, theirs = twin[true].mean(axis=1), base[true].mean(axis=1)
    gain, spread = (own - theirs).dropna().to_numpy(), float(np.sqrt((own.var() + theirs.var()) / 2))
    low, high = interval(gain)
    equal = [change for one in (twin, base) for change in _changes(one, one, apart=True)]
    named, null = (np.mean([change.idxmax() in true for change in changes]) for changes in (_changes(twin, base), equal))
    ordered = (np.subtract.outer(own.to_numpy(), theirs.to_numpy()) > 0).mean()
    shares = {"ordered": ordered, "named": named, "null": null, "seeds": len(gain)}
    return {"mean": gain.mean() / spread, "low": low / spread, "high": high / spread, **shares}


def _changes(x: pd.DataFrame, y: pd.DataFrame, apart: bool = False) -> list[pd.Series]:
    """By transform, what every training of x has more than every one of y; `apart` leaves out those of one seed."""
    return [x.iloc[i] - y.iloc[j] for i in range(len(x)) for j in range(len(y)) if not apart or i != j]


def scenes_of(said: pd.DataFrame) -> dict[str, int]:
    """How many scenes the answers about each twin are from, at most."""
    return said.groupby("twin", sort=False)["n"].max().to_dict()


def table_vii(table: pd.DataFrame) -> pd.DataFrame:
    """Means over photos of `dissect`: a row for each transform, a column for each metric and variant."""
    means = summarise(table, ["transform", "variant", "metric"])
    names = means["metric"] + " " + means["variant"].replace("none", "")
    return means.assign(column=names.str.strip()).pivot_table("mean", "transform", "column", sort=False)


def beside_paper(table: pd.DataFrame) -> pd.DataFrame:
    """Means of models of photos, and those of the paper's Table VII: model, transform, variant, metric, value."""
    on_photos = table[~table["model"].str.startswith("scenes")]
    means = summarise(on_photos, ["model", "transform", "variant", "metric"]).rename(columns={"mean": "value"})
    return pd.concat([means, _paper()], ignore_index=True)


def _paper() -> pd.DataFrame:
    table = paper_tables("VII")
    halves = table["method"].str.split(" / ", n=1, expand=True)
    variant = halves[0].str.contains("guided").map({True: GUIDED, False: PLAIN})
    return table.assign(transform=halves[1], variant=variant)


def _by_model(table: pd.DataFrame, metric: str, variant: str = PLAIN) -> pd.DataFrame:
    """One metric of `beside_paper` ("score" has no variant): a row for each transform, a column for each model."""
    some = table[(table["metric"] == metric) & table["variant"].isin(["none"] if metric == "score" else [variant])]
    return some.pivot_table("value", "transform", "model", sort=False)


def agreement(table: pd.DataFrame, reference: str = PAPER_MODEL) -> pd.DataFrame:
    """Spearman's rank correlation over the transforms of each of our models with one of the paper's, by metric and variant.

    The null is in the columns "score, SI", ...: that of the model's plain score with the same numbers of the paper.
    """
    theirs, score = _paper()["model"].unique(), _by_model(table, "score")
    rows = {
        f"{metric}, {variant}": _by_model(table, metric, variant).corr("spearman")[reference].drop(theirs)
        for metric in METRICS
        for variant in (PLAIN, GUIDED)
    }
    nulls = {f"score, {metric}": score.corrwith(_by_model(table, metric)[reference], method="spearman") for metric in METRICS}
    found = pd.DataFrame({**rows, **nulls}).rename_axis("model")
    return found.reindex([name for name in table["model"].unique() if name not in theirs])


def score_agreement(table: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation over the transforms of each metric with the score, model by model, negated for those where less is better."""
    score, found = _by_model(table, "score"), {}
    for metric in METRICS:
        sign = _sign(metric)
        values = _by_model(table, metric)
        found[metric] = {name: sign * values[name].corr(score[name], "spearman") for name in score if name in values}
    return pd.DataFrame(found).rename_axis("model")


def of_a_blind_model(photos: Images) -> pd.DataFrame:
    """What the metrics are worth for a model that maps every image to one embedding."""
    blind = PairModel(_Constant(), size=photos.shape[-1], name="blind")
    with warnings.catch_warnings(action="ignore"):  # its maps are empty, which the library says
        return summarise(dissect([blind], photos, variants=(PLAIN,)), ["metric"]).set_index("metric")[["mean"]]


class _Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0 * x[:, :1, ::8, ::8] + 1
