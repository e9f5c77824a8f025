"""What the paper says of its methods in a sentence each, tested on a table of ours: holds, contrary, or undecided."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from xaicl_lib.data.paper import paper_tables
from xaicl_lib.metrics import PAPER, metrics
from xaicl_lib.statistics.paired import claimed, holm, interval, signed_ranks
from xaicl_lib.studies.tables import PUBLISHED


@dataclass(frozen=True)
class _Headline:
    """A claim that one method is better than another.

    Attributes:
        says: the claim in our words.
        better: the method that it prefers.
        worse: the other one.
        columns: by which metrics.
        where: its place in :cite:t:`sammani2023visualizing`.
    """

    says: str
    better: str
    worse: str
    columns: tuple[str, ...] = PAPER
    where: str = "Sec. V-C"


_INTERACTION = {"mean": "", "max": "reduction=max", "attention": "reduction=attention"}
HEADLINES = (
    _Headline("Conditional before pairwise occlusion, as published", PUBLISHED, "pairwise_occlusion"),
    _Headline("Conditional before pairwise occlusion, drops in their places", "conditional_occlusion", "pairwise_occlusion"),
    _Headline("Averaged Transforms before Input x Gradient", "averaged_transforms", "input_x_gradient"),
    _Headline("Averaged Transforms before Smooth-Grad", "averaged_transforms", "smooth_grad"),
    _Headline("Interaction-CAM before Grad-CAM", "interaction_cam", "grad_cam"),
    *(
        _Headline(
            f"Gradient interaction helps ({name})",
            f"interaction_cam({option})" if option else "interaction_cam",
            f"interaction_cam({', '.join(filter(None, (option, 'gradient_interaction=False')))})",
        )
        for name, option in _INTERACTION.items()
    ),
)
SENSITIVITY = (
    _Headline("Averaged Transforms less sensitive than Input x Gradient", "averaged_transforms", "input_x_gradient", ("max_sensitivity",)),
    _Headline("Averaged Transforms less sensitive than Smooth-Grad", "averaged_transforms", "smooth_grad", ("max_sensitivity",)),
)
LOCALISED = ("pointing_game", "relevance_mass", "relevance_rank")
_GRID = "Conditional occlusion: drops where their windows were before stretched over the image"
# Variants that the paper leaves open, by the model that they are tried on: the first before the second, of which neither is claimed.
VARIANTS = {
    "simclr": (
        _Headline("Smooth-Grad: the published noise before SmoothGrad's", "smooth_grad(sigma=published)", "smooth_grad"),
        _Headline(
            "Averaged Transforms (N): the published noise before SmoothGrad's",
            "averaged_transforms(level=0.15, sigma=published)",
            "averaged_transforms(level=0.15)",
        ),
        _Headline(_GRID, "conditional_occlusion", PUBLISHED),
    ),
    "moco_v3": tuple(
        _Headline(f"{says}: guided in the head before plain", f"{method}(guided=True)", method)
        for says, method in {
            "Input x Gradient": "input_x_gradient",
            "Smooth-Grad": "smooth_grad",
            "Averaged Transforms": "averaged_transforms",
        }.items()
    ),
    "scenes_simclr": (
        _Headline(_GRID, "conditional_occlusion", PUBLISHED, LOCALISED),
        *(
            _Headline(
                f"Pairwise occlusion: temperature {t} before none", f"pairwise_occlusion(temperature={t})", "pairwise_occlusion", LOCALISED
            )
            for t in (1.0, 0.5, 0.25)
        ),
    ),
}


def headlines(table: pd.DataFrame, claims: tuple[_Headline, ...] = HEADLINES, *, level: float = 0.05) -> pd.DataFrame:
    """Every claim on every model by every metric.

    Asks of our models what Sec. V-C of :cite:t:`sammani2023visualizing` says of its own.

    Args:
        table: as from `evaluate`; claims about methods that are not in it are left out.
        claims: what is tested.
        level: of the tests, corrected for all metrics and models of one claim.

    Returns:
        The rows of `xaicl_lib.statistics.paired.claimed` with the column claim before them.
    """
    there = [one for one in claims if {one.better, one.worse} <= set(table["method"]) and set(one.columns) <= set(table["metric"])]
    rows = [claimed(table, one.better, one.worse, one.columns, level=level).assign(claim=one.says) for one in there]
    columns = ["claim", "metric", "model", "difference", "low", "high", "n", "p", "verdict"]
    return pd.concat(rows, ignore_index=True)[columns] if rows else pd.DataFrame(columns=columns)


def counted(found: pd.DataFrame, claims: tuple[_Headline, ...] = HEADLINES) -> pd.DataFrame:
    """On how many models each claim holds, and on how many its contrary, beside how many of the paper's own its printed means favour.

    Returns:
        A row for each claim, a column for each metric, as "2 · 0 of 7; paper 5 of 5".
    """

    def cell(verdict: pd.Series) -> str:
        return f"{(verdict == 'holds').sum()} · {(verdict == 'contrary').sum()} of {len(verdict)}"

    counts = found.groupby(["claim", "metric"], sort=False)["verdict"].agg(cell)
    wide = counts.unstack()[list(dict.fromkeys(found["metric"]))].loc[list(dict.fromkeys(found["claim"]))]
    return wide + "; paper " + _printed(claims).loc[wide.index, wide.columns]


def _printed(claims: tuple[_Headline, ...]) -> pd.DataFrame:
    """On how many of the paper's models its own Tables I to IV favour each claim, as "5 of 5": rows and columns as in `counted`."""
    values = paper_tables("I", "II", "III", "IV").pivot(index=["model", "method"], columns="metric", values="value")
    rows = {}
    for one in claims:
        better, worse = (values.xs(name.replace(PUBLISHED, "conditional_occlusion"), level="method") for name in (one.better, one.worse))
        gain = (better - worse)[list(one.columns)] * [1 if metrics[name].facts["higher_is_better"] else -1 for name in one.columns]
        rows[one.says] = {name: f"{(gain[name] > 0).sum()} of {gain[name].count()}" for name in one.columns}
    return pd.DataFrame(rows).T.rename_axis("claim")


def _told(found: pd.DataFrame) -> pd.DataFrame:
    """By how much each claim of one model holds, as "+0.12 (+0.10 to +0.15) holds": a row for each claim, a column for each metric."""
    text = [f"{row.difference:+.3f} ({row.low:+.2f} to {row.high:+.2f}) {row.verdict}" for row in found.itertuples()]
    wide = found.assign(text=text).pivot(index="claim", columns="metric", values="text")
    return wide.loc[list(dict.fromkeys(found["claim"])), list(dict.fromkeys(found["metric"]))]


def variants(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """By how much the second of each choice that the papers leave open is better, as of `_told`, by the model that it was tried on."""
    by_claim = table[table["insertion"] != "scaled_blur"]
    return {name: _told(headlines(by_claim[by_claim["model"] == name], claims)) for name, claims in VARIANTS.items()}


def across_models(found: pd.DataFrame, *, level: float = 0.05) -> pd.DataFrame:
    """The same claims with the model as what was drawn, for metrics of too few pairs to decide on any one model.

    Returns:
        A row for each claim and metric: claim, metric, in_favour (models whose mean difference is positive), models, difference (mean
        over models), low and high (bootstrap over models), p (Wilcoxon over models, corrected by Holm's procedure for all rows).
    """
    groups = [(key, part["difference"].to_numpy(float)) for key, part in found.groupby(["claim", "metric"], sort=False)]
    corrected = holm([signed_ranks(d) for _, d in groups])
    rows = [
        (*key, int((d > 0).sum()), len(d), float(np.mean(d)), *interval(d, confidence=1 - level), p)
        for (key, d), p in zip(groups, corrected, strict=True)
    ]
    return pd.DataFrame(rows, columns=["claim", "metric", "in_favour", "models", "difference", "low", "high", "p"])
