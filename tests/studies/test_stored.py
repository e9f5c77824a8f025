"""The larger runs: read as texts and numbers, and stood in for where there are none."""

import numpy as np
import pandas as pd

from xaicl_lib.studies import parts_of, side_by_side, stored


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


def test_a_table_of_several_comes_apart_again() -> None:
    parts = parts_of(pd.DataFrame({"part": ["p", "p", "q"], "x": [1.0, 2.0, np.nan], "way": ["u", "v", "w"]}))
    assert parts["q"].to_dict("list") == {"part": ["q"], "way": ["w"]}
    assert parts["p"].to_dict("list") == {"part": ["p", "p"], "x": [1.0, 2.0], "way": ["u", "v"]}
    assert [part.index[0] for part in parts.values()] == [0, 0]
    assert parts_of(None) == {}


def test_tables_below_each_other_say_where_they_are_from() -> None:
    both = side_by_side({"one": pd.DataFrame({"x": [1, 2]}), "two": pd.DataFrame({"x": [3]})}, "source")
    assert both.to_dict("list") == {"x": [1, 2, 3], "source": ["one", "one", "two"]}
    assert both.index.is_unique
