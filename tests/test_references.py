"""Every work that the library cites stands in the book's bibliography."""

import re
from pathlib import Path

from xaicl_lib.methods import methods
from xaicl_lib.metrics import metrics
from xaicl_lib.scores import scores

ROOT = Path(__file__).parents[1]
KEYS = set(re.findall(r"^@\w+\{([^,]+),", (ROOT / "book" / "references.bib").read_text(), re.MULTILINE))


def test_cited_keys_exist() -> None:
    cited = {one.facts["paper"] for registry in (methods, metrics, scores) for one in registry}
    for path in ROOT.joinpath("xaicl_lib").rglob("*.py"):
        for keys in re.findall(r":cite:[tp]:`([^`]+)`", path.read_text()):
            cited.update(key.strip() for key in keys.split(","))
    assert "sammani2023visualizing" in cited
    assert cited <= KEYS, f"not in book/references.bib: {cited - KEYS}"
