"""The page of families: which methods explain which networks that readers bring, from a stored run."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from xaicl_lib.evaluation.method_spec import short

TEXT = """# Families of networks

What `PairModel.from_module(network, layer, size=...)` makes of the networks that readers bring, and which methods explain a pair with it.
Each row is a small network of random weights, built by the package's own classes under a published name where that takes sizes; `layer` is
where it is cut. Its embedding is the network's own, and of a transformer all that class and register tokens give stays in the residual.

*yes*: two finite maps that are not constant. A number stands for the sentence, below the table, with which the method refuses the family.
"""


def families_page(path: Path) -> str:
    """Markdown of the page; without a stored run it says how to make one."""
    if not path.is_file():
        return TEXT + "\nNo run is stored yet; `python -m tests.zoo.families -o results/families.parquet` makes it.\n"
    table = pd.read_parquet(path)
    reasons = list(dict.fromkeys(why for why in table["answer"] if why != "yes"))
    methods = list(dict.fromkeys(table["method"]))
    rows = [
        [str(family), f"`{part['layer'].iloc[0]}`", *(_cell(why, reasons) for why in part.set_index("method")["answer"].reindex(methods))]
        for family, part in table.groupby("family", sort=False)
    ]
    first = table.iloc[0]
    made = f"\nMade with torch {first['torch']}, {first['packages']}, on {first['device']}, {first['date']}.\n"
    said = [f"{k}. {why}." for k, why in enumerate(reasons, 1)]
    return "\n".join([TEXT, *_markdown(["family", "layer", *map(short, methods)], rows), "", *said, made])


def _cell(answer: str, reasons: Sequence[str]) -> str:
    return answer if answer == "yes" else str(1 + reasons.index(answer))


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
