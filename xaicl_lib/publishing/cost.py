"""The page of what explanations cost: beside an earlier build and other libraries, by engine and precision, and how far maps are away."""

from pathlib import Path
from typing import Any

from xaicl_lib.publishing.markdown import table

WAYS = {
    "floor": "the bare network",
    "base": "build {base}",
    "eager": "eager",
    "onnxruntime": "`onnxruntime`",
    "openvino": "`openvino`",
    "compile": "`compile`",
    "draft, eager": "draft, eager",
    "draft, openvino": "draft, `openvino`",
    "captum": "captum",
}


def cost_page(results: Path) -> str:
    """The page in Markdown, from the tables in a folder: `cost_engines.parquet`, `cost_before.parquet`, `cost.parquet`."""
    import pandas as pd

    found, before, others = (pd.read_parquet(results / f"{name}.parquet") for name in ("cost_engines", "cost_before", "cost"))
    others = others[others["asks_like"].notna()]
    facts = found.iloc[0]
    ways = [way for way in WAYS if way in set(found["way"])]
    near = found[found["away"].notna() & (found["way"] != "base")]
    jacobians = [
        (f"`{r.model}`", f"{r.base_seconds:.2f} s", f"{r.seconds:.3f} s", f"{r.ratio:.0f}", f"{r.away:.0e}") for r in before.itertuples()
    ]
    return "\n".join(
        [
            "# What explanations cost\n",
            f"Processor seconds of one thread for two pairs (one of the ResNet-50), the least of {_rounds(facts)}, and in brackets how",
            "many times as fast as build",
            f"`{facts['base']}`, the last one without engines, on {facts['device']} with torch {facts['torch']}, {facts['date']}.",
            _versions(facts),
            "The bare network is what the same images take by eager PyTorch at its best batch size. A ResNet-50 has random weights here,",
            "and coarser grids. A draft that takes longer than its engine decided too little: all was computed exactly after it.",
            "How to ask for an engine or a draft, and what was tried beside them: [evaluations](../evaluations.md).\n",
            *table(("", *_tasks(found)), _cells(found, ways)),
            "\n## How far away\n",
            "The largest difference from that build's maps (or areas), the least rank correlation of a map with its own, and the largest",
            "difference of a map's extremes, in units of the score.\n",
            *table(("", "by", "largest difference", "rank correlation", "of extremes"), map(_near, near.to_dict("records"))),
            "\n## Other libraries\n",
            f"On the plain form of `{others.iloc[0]['model']}`, as their users have it, beside ours by eager PyTorch, in one run with",
            f"torch {others.iloc[0]['torch']}.\n",
            *table(("library", "asks like", "takes, times ours"), [_peer(row) for row in others.to_dict("records")]),
            "\n## Integrated Jacobians\n",
            f"Four pairs; build `{before.iloc[0]['base']}`, before they were made faster, beside `{before.iloc[0]['code']}`.\n",
            *table(("model", "before", "after", "times as fast", "maps away, relative"), jacobians),
        ]
    )


def _rounds(facts: Any) -> str:
    return "one round" if facts["rounds"] == 1 else f"{facts['rounds']} rounds"


def _versions(facts: Any) -> str:
    there = [f"{name} {facts[name]}" for name in ("onnxruntime", "openvino") if facts[name]]
    return f"Engines: {', '.join(there)}." if there else ""


def _tasks(found: Any) -> list[str]:
    """In words: names of functions would be broken in the middle by so narrow columns."""
    return [
        f"{'four areas' if method == 'areas' else method.replace('_', ' ')}, {model}"
        for model, method in found.groupby(["model", "method"], sort=False).groups
    ]


def _cells(found: Any, ways: list[str]) -> list[list[str]]:
    """A row a way, a column a task: names of engines are long, and there are more of them."""
    tasks = [{row["way"]: row for row in part.to_dict("records")} for _, part in found.groupby(["model", "method"], sort=False)]
    return [[WAYS[way].format(**found.iloc[0]), *(_cell(by.get(way)) for by in tasks)] for way in ways]


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return f"{row['seconds']:.2f} s" + ("" if row["way"] in ("base", "floor") else f" ({row['ratio']:.2f})")


def _near(row: dict[str, Any]) -> tuple[str, ...]:
    ranked = [f"{row['rank']:.4f}", f"{row['extreme_away']:.0e}"] if row["rank"] == row["rank"] else ["", ""]
    return f"{_said(row['method'])}, `{row['model']}`", WAYS[row["way"]], f"{row['away']:.0e}", *ranked


def _peer(row: dict[str, Any]) -> tuple[str, ...]:
    return row["name"], f"`{row['asks_like']}`", f"{row['times_ours']:.1f}"


def _said(method: str) -> str:
    return "four areas" if method == "areas" else f"`{method}`"
