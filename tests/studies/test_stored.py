"""The larger runs: read as texts and numbers, and stood in for where there are none."""

import pandas as pd

from xaicl_lib.studies import stored


def test_names_are_texts_and_other_tables_stand_in(tmp_path) -> None:
    own = pd.DataFrame({"model": pd.Categorical(["b", "a"]), "value": [1.0, 2.0]})
    assert stored("x", folder=tmp_path) is None
    both = stored("x", own, own, folder=tmp_path)
    assert both["model"].tolist() == ["b", "a"] * 2
    assert both.index.tolist() == [0, 1, 2, 3]
    own.assign(value=3.0).to_parquet(tmp_path / "x.parquet")
    kept = stored("x", own, folder=tmp_path)
    assert kept["value"].tolist() == [3, 3]
    assert kept["model"].dtype == "str", "a category would keep rows of groups that are not there"
