"""The page of families: which methods explain which networks that readers bring, from a stored run."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from xaicl_lib.evaluation.method_spec import short
from xaicl_lib.publishing import markdown

TEXT = """# Families of networks

What `PairModel.from_module(network, layer, size=...)` makes of the networks that readers bring, and which methods explain a pair with it.
Each row is a small network of random weights, built by the package's own classes under a published name where that takes sizes; `layer` is
where it is cut. Its embedding is the network's own, and of a transformer all that class and register tokens give stays in the residual.

Methods with the same answers share a column. *yes*: two finite maps that are not constant. A number stands for the sentence, below the
table, with which the method refuses the family.
"""


def families_page(path: Path) -> str:
    """Markdown of the page; without a stored run it says how to make one."""
    if not path.is_file():
        return TEXT + "\nNo run is stored yet; `python -m tests.zoo.families -o results/families.parquet` makes it.\n"
    table = pd.read_parquet(path)
    reasons = list(dict.fromkeys(why for why in table["answer"] if why != "yes"))
    wide = table.pivot(index=["family", "layer"], columns="method", values="answer").reindex(table["family"].unique(), level=0)
    alike = _alike(wide[table["method"].unique()])
    rows = [[f"{family}<br>`{layer}`", *(_cell(row[group[0]], reasons) for group in alike)] for (family, layer), row in wide.iterrows()]
    named = [", ".join(map(short, group)) for group in alike]
    most = max(range(len(alike)), key=lambda k: len(alike[k]))
    heads = ["family, layer", *("all others" if k == most else name for k, name in enumerate(named))]
    first = table.iloc[0]
    made = f"\nMade with torch {first['torch']}, {first['packages']}, on {first['device']}, {first['date']}.\n"
    said = [f"{k}. {why}." for k, why in enumerate(reasons, 1)]
    return "\n".join([TEXT, f"All others: {named[most]}.\n", *markdown.table(heads, rows), "", *said, made])


def _alike(wide: pd.DataFrame) -> list[list[str]]:
    """Methods in groups that have the same answers for all families, for a table that fits a phone."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for method in wide:
        groups.setdefault(tuple(wide[method]), []).append(str(method))
    return list(groups.values())


def _cell(answer: str, reasons: Sequence[str]) -> str:
    return answer if answer == "yes" else str(1 + reasons.index(answer))
