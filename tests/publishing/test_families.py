"""The page of families says what the stored table says."""

import pandas as pd

from xaicl_lib.publishing.families import families_page
from xaicl_lib.publishing.reference import RESULTS

ROWS = [
    *(("x ViT", "blocks", method, "yes") for method in ("grad_cam", "legrad", "rise")),
    *(("x CNN", "layer4", method, "yes") for method in ("grad_cam", "rise")),
]
MADE = {"torch": "2.0", "packages": "x 1.2", "device": "a CPU", "date": "2026-01-02"}


def test_refusals_are_numbers_that_a_sentence_explains(tmp_path) -> None:
    table = pd.DataFrame([*ROWS, ("x CNN", "layer4", "legrad", "it has no attention")], columns=["family", "layer", "method", "answer"])
    table.assign(**MADE).to_parquet(tmp_path / "x.parquet")
    lines = families_page(tmp_path / "x.parquet").splitlines()
    assert "| family, layer | all others | LeGrad |" in lines
    assert "All others: Grad-CAM, RISE." in lines
    assert "| x ViT<br>`blocks` | yes | yes |" in lines
    assert "| x CNN<br>`layer4` | yes | 1 |" in lines
    assert "1. it has no attention." in lines
    assert "Made with torch 2.0, x 1.2, on a CPU, 2026-01-02." in lines
    assert "No run is stored yet" in families_page(tmp_path / "none.parquet")


def test_twelve_families_are_stored_and_each_method_explains_most() -> None:
    table = pd.read_parquet(RESULTS / "families.parquet")
    assert table["family"].nunique() >= 12
    assert (table.assign(yes=table["answer"] == "yes").groupby("method")["yes"].mean() > 0.5).all()
