"""A pair without a value is left out and counted; it never decides, nor keeps others from deciding."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from tests.conftest import build, random_pair
from xaicl_lib.metrics.randomisation import rank_correlation
from xaicl_lib.statistics.paired import compare, interval, rank_agreements, signed_ranks, summarise
from xaicl_lib.studies import harmful, truth
from xaicl_lib.studies.combined import _each
from xaicl_lib.studies.corpus import against
from xaicl_lib.studies.inversion import contrasts, last_over_first
from xaicl_lib.studies.properties import differences
from xaicl_lib.studies.texture import _paired
from xaicl_lib.views.metrics import _rho

GAIN = np.random.default_rng(0).uniform(0.4, 0.6, 30)
ONE_LOST = np.append(GAIN[1:], np.nan)


def test_tests_and_intervals_are_those_of_the_other_pairs() -> None:
    assert signed_ranks(ONE_LOST) == signed_ranks(GAIN[1:]) == pytest.approx(2 / 2**29)
    assert signed_ranks(np.full(3, np.nan)) == 1
    assert interval(ONE_LOST) == interval(GAIN[1:])
    assert np.isnan(interval(np.array([1.0, np.nan]))).all()


def test_differences_of_one_size_have_the_exact_test_that_scipy_permutes_for() -> None:
    for plus, minus in ((5, 1), (3, 3), (8, 2), (2, 9)):
        moved = np.array([1.0] * plus + [-1.0] * minus)
        assert signed_ranks(moved) == pytest.approx(stats.wilcoxon(moved).pvalue)


def rows(values: dict[str, np.ndarray], of: str, **facts: object) -> pd.DataFrame:
    item = "pair" if of in ("way", "method") else "target" if of == "model" else "image"
    return pd.concat([pd.DataFrame({of: k, item: range(len(v)), "value": v, **facts}) for k, v in values.items()], ignore_index=True)


def test_ways_against_a_control() -> None:
    table = rows({"way": ONE_LOST, "random map": np.zeros(30)}, "way", model="m", metric="insertion, similarity", scenario="same class")
    found = against(table).iloc[0]
    assert (found["p"], found["better"], found["n"], found["undefined"]) == (pytest.approx(2 / 2**29), True, 29, 1)
    table.loc[30, "value"] = np.nan
    assert against(table).iloc[0][["n", "undefined"]].tolist() == [28, 2]


def test_methods_of_a_table() -> None:
    table = rows({"a": ONE_LOST, "b": np.zeros(30)}, "method", model="m", metric="SI")
    assert compare(table, "SI").iloc[0][["n", "p"]].tolist() == [29, pytest.approx(2 / 2**29)]
    assert summarise(table)[["n", "undefined"]].to_numpy().tolist() == [[29, 1], [30, 0]]
    both = pd.concat(
        [rows({k: ONE_LOST * c for k, c in (("a", 1), ("b", 2), ("c", 3))}, "method", model="m", metric=m) for m in ("SI", "CI")]
    )
    assert rank_agreements(both, "SI", "CI")["value"].tolist() == [1] * 29


def test_contrasts_of_inversions_and_what_is_left_at_the_last_stage() -> None:
    table = rows({"a": ONE_LOST, "b": np.zeros(30)}, "model", stage="s", depth=1.0)
    assert contrasts(table, [("a", "b")], "value").iloc[0][["n", "p"]].tolist() == [29, pytest.approx(2 / 2**29)]
    three = pd.concat([rows({"a": np.array([v, v])}, "model", depth=k) for k, v in enumerate((1.0, 0.5, 0.25))], ignore_index=True)
    three.loc[5, "value"] = np.nan  # at the last stage of target 1
    assert last_over_first(three, "value").iloc[0][["mean", "n", "undefined"]].tolist() == [0.25, 1, 1]


def test_models_decided_by_a_cue() -> None:
    wins = pd.DataFrame(
        {"model": ["a"] * 8 + ["b"] * 8, "data": "d", "cue": "c", "stimulus": [*range(8)] * 2, "wins": [1.0] * 8 + [0.0] * 8}
    )
    wins.loc[3, "wins"] = np.nan
    found = _paired(wins, "b").iloc[0]
    assert (found["n"], found["p"]) == (7, pytest.approx(2 / 2**7))


def test_an_image_without_a_value_counts_with_the_methods_that_have_one() -> None:
    frames = [rows({"m": np.zeros(4), "r": np.zeros(4)}, "judge", metric="entropy", method=k) for k in ("x", "y")]
    table = pd.concat(frames, ignore_index=True)
    table.loc[(table["judge"] == "m") & (table["method"] == "x"), "value"] = [np.nan, 1.0, 1.0, 1.0]
    found = differences(table, {"it": ("m", "r")}).set_index("method")
    assert found["mean"].to_dict() == {"x": -1, "y": 0}
    assert found["undefined"].to_dict() == {"x": 1, "y": 0}
    assert found["p"].to_dict() == {"x": 2 * 2 / 2**3, "y": 1}


def test_maps_that_are_no_numbers_correlate_with_nothing() -> None:
    x, y = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[1, 0, 0] = torch.nan
    inside = torch.ones(3, 4, 4, dtype=torch.bool)
    for found in (rank_correlation(x, y), harmful._rank_correlation(x, y, inside)):
        assert found.isnan().tolist() == [False, True, False]
        assert found[0].item() == pytest.approx(stats.spearmanr(x[0].flatten(), y[0].flatten())[0])


def test_a_map_that_cannot_be_judged_is_neither_lost_nor_kept() -> None:
    clean, after = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    after[1, 0, 0] = torch.nan
    assert harmful._judge(clean, after, None, None)["lost"].isnan().tolist() == [False, True, False]


def test_evidence_of_a_model_without_scores_is_not_flagged() -> None:
    model = build("projected")
    pair = random_pair(1)
    mask = torch.zeros(1, 24, 24, dtype=torch.bool)
    mask[:, :6, :6] = True
    from xaicl_lib import Pair
    from xaicl_lib.pair import Truth

    given = Pair(pair.a, pair.b, Truth(mask, mask))
    assert truth.intervene([model], {"k": given})["flagged"].notna().all()
    with torch.no_grad():
        model.head_a[-1].bias.fill_(torch.nan)
    assert truth.intervene([model], {"k": given})["flagged"].isna().all()


def test_lost_together_is_of_the_same_pairs_throughout() -> None:
    def lost(name: str, hits: list[float]) -> pd.DataFrame:
        return pd.DataFrame({"model": "m", "augmentation": name, "level": 1, "pair": range(len(hits)), "lost": hits})

    table = pd.concat([lost("a + b", [1, 1, 1, 0]), lost("a", [0, 0, np.nan, 0]), lost("b", [0, 1, 1, 0])])
    found = _each(table.assign(method="cam"))[["lost", "either", "value"]]
    assert found.isna().to_numpy().tolist() == [[False] * 3, [False] * 3, [True] * 3, [False] * 3]


def test_a_rank_correlation_in_a_title_is_over_what_is_known() -> None:
    table = pd.DataFrame({"paper": [1.0, 2.0, 3.0, np.nan], "mean": [1.0, 2.0, 3.0, 4.0]})
    assert _rho(table) == pytest.approx(1)
