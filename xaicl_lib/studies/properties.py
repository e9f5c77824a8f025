"""Faithfulness, complexity and continuity of explanations of classes, by Quantus' metrics, classifier by classifier and image by image."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from torch import Tensor

from xaicl_lib.adapters import Evidence, quantus_explain_func, seeded_globally
from xaicl_lib.errors import InputError
from xaicl_lib.evaluation.method_spec import Methods, method_specs
from xaicl_lib.methods import methods as registry
from xaicl_lib.statistics.paired import paired_difference
from xaicl_lib.studies.quality import Classifier

STEPS = 8  # of a perturbation curve for each of three channels; Quantus wants them to divide the number of pixels
PROPERTIES = {  # metric: the property it stands for, and whether more is better
    "perturbation_gap": ("faithfulness", True),
    "correlation": ("faithfulness", True),
    "sparseness": ("complexity", True),
    "entropy": ("complexity", False),
    "max_sensitivity": ("continuity", False),
}
CLAIMS = ("faithfulness", "complexity", "continuity")  # in which supervised contrastive training is said to be better
QUIET: dict[str, Any] = {"disable_warnings": True, "display_progressbar": False, "return_aggregate": False}
_ZEROED: dict[str, Any] = {"perturb_baseline": 0.0, "normalise": False, **QUIET}


def properties(
    classifiers: Sequence[Classifier],
    images: Float[Tensor, "n 3 h w"],
    labels: Int[Tensor, " n"],
    methods: Methods,
    *,
    samples: int = 5,
) -> pd.DataFrame:
    """Metrics of Quantus (:cite:t:`hedstrom2023quantus`) for maps of the evidence for each image's own class.

    Args:
        classifiers: `calibrated`, for the perturbation curves are of probabilities.
        images: that all of them put into their own class.
        methods: one-sided ones.

    Returns:
        One row per classifier (in the column judge), method, image and metric: `perturbation_gap`, the mean probability of the class
        while pixels are zeroed (in the model's input space) from the least important on, minus the same from the most important on, in
        [-1, 1]; `correlation` of what random sets of pixels are worth to the evidence with the sum of the map over them (faithfulness
        correlation, :cite:t:`bhatt2020evaluating`), in [-1, 1]; `sparseness`, the Gini index of absolute values
        (:cite:t:`chalasani2020concise`); `entropy` of their shares (:cite:t:`bhatt2020evaluating`), in nats; `max_sensitivity`
        (:cite:t:`yeh2019fidelity`), relative.

    Raises:
        InputError: Quantus is not installed.
    """
    suite = _suite(images[0].numel(), samples)
    frames = []
    for one in classifiers:
        x, y = one.model.normalize(images.to(one.model.device)).cpu().numpy(), labels.cpu().numpy()
        given = {"model": Evidence(one.model, one.scores, one.temperature), "x_batch": x, "y_batch": y}
        for label, method in method_specs(methods).items():
            func = quantus_explain_func(one.model, one.scores, registry[method.name], **method.params)
            maps = {"a_batch": func(None, x, y), "explain_func": func, "device": str(one.model.device)}
            with seeded_globally(0):
                found = {key: np.array(metric({**given, **maps}), float) for key, metric in suite.items()}
            rows = {"judge": one.name, "method": label, "image": np.arange(len(x))}
            frames += [pd.DataFrame({**rows, "metric": key, "value": values}) for key, values in found.items()]
    return pd.concat(frames, ignore_index=True)


def _suite(values: int, samples: int) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """Metrics by name, as functions of what Quantus calls a metric with; an image is so many values to it, three a pixel."""
    try:
        import quantus
    except ImportError as error:
        raise InputError("expected quantus for these metrics, found none: pip install quantus") from error
    flipping = quantus.PixelFlipping(features_in_step=values // 3 // STEPS, **_ZEROED)
    # Sets of an eighth of the image: single values hardly move a network.
    correlation = quantus.FaithfulnessCorrelation(nr_runs=50, subset_size=values // 8, **_ZEROED)
    sparseness, entropy = quantus.Sparseness(**QUIET), quantus.Complexity(**QUIET)
    shaken = quantus.MaxSensitivity(nr_samples=samples, lower_bound=0.2, **QUIET)

    def gap(given: dict[str, Any]) -> np.ndarray:
        maps = given["a_batch"]
        least_first = flipping(**{**given, "a_batch": maps.max((1, 2, 3), keepdims=True) - maps}, softmax=True)
        return np.mean(least_first, 1) - np.mean(flipping(**given, softmax=True), 1)

    return {
        "perturbation_gap": gap,
        "correlation": lambda given: correlation(**given, softmax=False),
        "sparseness": lambda given: sparseness(**given),
        "entropy": lambda given: entropy(**given),
        "max_sensitivity": lambda given: shaken(**given),
    }


def differences(table: pd.DataFrame, compared: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """How much better one classifier's explanations are than another's on the same images, metric by metric and method by method.

    Nothing is averaged over methods: max sensitivity is relative to each map's own size, so that one method's ratios outweigh another's.

    Args:
        table: from `properties`, or rows of any metric of `PROPERTIES` in its form.
        compared: by what it is called in the column judge, a classifier and the one to compare with.

    Returns:
        A row per comparison (judge), metric and method: property, mean of the difference in the direction that is better, low, high (95 %,
        bootstrap over images), n, undefined (images that one of both has no value for), p of Wilcoxon's signed-rank test over images,
        corrected after Holm for all rows of a comparison, and said: "better", "worse" or "undecided".

    Raises:
        InputError: a classifier that is not in the table.
    """
    signs = table["metric"].map({name: 1.0 if better else -1.0 for name, (_, better) in PROPERTIES.items()}).astype(float)
    signed = table.assign(value=table["value"] * signs)
    found = pd.concat(
        paired_difference(signed, "judge", "image", ["metric", "method"], names=[one], against=other).assign(judge=name)
        for name, (one, other) in compared.items()
    )
    side = (found["mean"] > 0).map({True: "better", False: "worse"})
    named = found.assign(property=found["metric"].map(lambda name: PROPERTIES[name][0]), said=side.where(found["significant"], "undecided"))
    return named[["judge", "property", "metric", "method", "mean", "low", "high", "n", "undefined", "p", "said"]].reset_index(drop=True)


def claims_seen(found: pd.DataFrame) -> pd.DataFrame:
    """Claim by claim, whether the better explanations are seen, with every metric and method that stands for it.

    Of the rows of `differences` those of `random_map`, which nothing can make better, are left out.

    Returns:
        A row per comparison (judge) and property of `CLAIMS`: judge, property, verdict ("seen": better in all rows; "seen in part": in
        some, and worse in none; "both ways"; "the opposite is seen", "the opposite in part"; "undecided"), better, worse (metrics and
        methods), undecided (how many).
    """
    real = found[found["method"] != "random_map"]
    rows = []
    for judge, of_judge in real.groupby("judge", sort=False):
        for claim in CLAIMS:
            part = of_judge[of_judge["property"] == claim]
            better, worse = (part[part["said"] == side] for side in ("better", "worse"))
            verdict = _verdict(len(better), len(worse), len(part))
            rows.append((judge, claim, verdict, _named(better), _named(worse), (part["said"] == "undecided").sum()))
    return pd.DataFrame(rows, columns=["judge", "property", "verdict", "better", "worse", "undecided"])


def _verdict(better: int, worse: int, of: int) -> str:
    if better and worse:
        return "both ways"
    if not better + worse:
        return "undecided"
    whole = better + worse == of
    if better:
        return "seen" if whole else "seen in part"
    return "the opposite is seen" if whole else "the opposite in part"


def _named(rows: pd.DataFrame) -> str:
    """Metrics, each with its methods: "entropy (grad_cam, smooth_grad)"."""
    groups = rows.groupby("metric", sort=False, observed=True)["method"]
    return "; ".join(f"{metric} ({', '.join(methods)})" for metric, methods in groups)
