"""Checks of claims on tables made by hand; every claim has a check that runs and a verdict."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from xaicl_lib import InputError
from xaicl_lib.publishing.run import ROOT
from xaicl_lib.statistics.paired import signed_ranks
from xaicl_lib.statistics.power import _least_pairs, pairs_needed
from xaicl_lib.studies import claims as study
from xaicl_lib.studies.claims import (
    FAILS,
    HOLDS,
    NOT_HERE,
    UNDECIDED,
    _claims,
    _conditions,
    _Evidence,
    _evidence,
    _part,
    _verdict,
    answers,
    counts,
)

BLANK = dict.fromkeys(_claims().columns, "")
GAIN = np.random.default_rng(0).uniform(0.4, 0.6, 40)


def row(check: str, **told: str) -> SimpleNamespace:
    return SimpleNamespace(**{**BLANK, "id": "x", "check": check, "table": "t", "value": "value", "item": "pair", **told})


def long(values: dict[str, np.ndarray], model: str = "m", metric: str = "SI") -> pd.DataFrame:
    made = [pd.DataFrame({"model": model, "method": k, "metric": metric, "pair": range(len(v)), "value": v}) for k, v in values.items()]
    return pd.concat(made, ignore_index=True)


def check(told: SimpleNamespace, table: pd.DataFrame) -> _Evidence:
    found = _evidence(told, {"t": table})
    assert found is not None
    return found


def test_a_verdict_needs_a_test_and_an_interval_on_one_side() -> None:
    better, worse = _Evidence(0.2, 0.1, 0.3, 9, "pairs", 0.001), _Evidence(-0.2, -0.3, -0.1, 9, "pairs", 0.001)
    assert (_verdict(better, 0.04), _verdict(worse, 0.04)) == (HOLDS, FAILS)
    assert _verdict(better, 0.05) == UNDECIDED, "the corrected p counts"
    assert _verdict(_Evidence(0.2, -0.1, 0.5, 9, "pairs", 0.001), 0.04) == UNDECIDED
    assert _verdict(None, np.nan) == NOT_HERE
    exact = [_Evidence(x, np.nan, np.nan, 9, "cells", np.nan) for x in (0.5, -0.5)]
    assert [_verdict(one, np.nan) for one in exact] == [HOLDS, FAILS]
    assert _verdict(_Evidence(0.05, -0.05, 0.15, 9, "measured", np.nan), np.nan) == UNDECIDED, "within what is measured again"


def test_conditions_keep_rows() -> None:
    assert _conditions("a=x(k=1)|y & b=2") == {"a": ["x(k=1)", "y"], "b": ["2"]}
    table = pd.DataFrame({"a": ["x", "y", "x"], "b": [1, 1, 2]})
    assert list(_part(table, "a=x & b=2").index) == [2]
    assert _part(table, "") is table
    with pytest.raises(InputError, match="unknown a 'z'"):
        _part(table, "a=z")
    with pytest.raises(InputError, match="column"):
        _part(table, "c=1")


def test_a_difference_is_that_of_the_same_pairs_in_the_metrics_direction() -> None:
    table = long({"p": GAIN + 1, "q": np.ones(40)})
    found = check(row("difference", where="metric=SI", between="method", first="p", second="q"), table)
    assert found.estimate == pytest.approx(GAIN.mean())
    assert found.low < GAIN.mean() < found.high
    assert (found.n, found.p) == (40, signed_ranks(GAIN))
    lower = check(row("difference", where="metric=SD", between="method", first="p", second="q"), table.assign(metric="SD"))
    assert lower.estimate == pytest.approx(-GAIN.mean())


def test_models_are_averaged_pair_by_pair_and_those_without_a_method_left_out() -> None:
    table = pd.concat(
        [
            long({"p": GAIN, "q": np.zeros(40)}, "m"),
            long({"p": 3 * GAIN, "q": 4 * GAIN}, "k"),
            long({"q": np.full(40, 9.0)}, "unguided"),
        ]
    )
    found = check(row("difference", where="metric=SI", between="method", first="p", second="q"), table)
    assert (found.n, found.estimate) == (40, pytest.approx(0, abs=1e-12))
    assert "1 of 2 models" in found.note


def test_a_level_is_above_a_number_or_a_null_of_its_own() -> None:
    table = pd.DataFrame({"model": "m", "pair": [0, 0, 1, 2], "value": [1.0, 0.0, 1.0, 1.0], "null": [0.0, 0.0, 0.5, 0.5]})
    assert check(row("level", second="0.5"), table).estimate == pytest.approx((0 + 0.5 + 0.5) / 3)
    found = check(row("level", second="null", better="lower"), table)
    assert (found.estimate, found.n) == (pytest.approx(-0.5), 3)


def test_the_best_beats_each_and_falls_to_one() -> None:
    told = row("best", where="metric=SI", between="method", first="p")
    table = long({"p": GAIN + 1, "q": np.zeros(40), "r": np.ones(40), "edges": np.full(40, 9.0)})
    won = check(told, table)
    assert won.estimate == pytest.approx(GAIN.mean())
    assert won.note.startswith("beaten in the mean by 0 of 2"), "controls of our own are no rivals"
    assert won.p == signed_ranks(GAIN), "the hardest comparison, uncorrected"
    lost = check(told, pd.concat([table, long({"s": 2 * GAIN + 1})]))
    assert lost.estimate == pytest.approx(-GAIN.mean())
    assert lost.p == pytest.approx(3 * signed_ranks(GAIN)), "Holm over the three rivals"


def test_sides_of_which_one_was_asked_more_are_not_compared() -> None:
    told = row("difference", where="metric=SI", between="method", first="p", second="q", better="higher")
    twice = pd.concat([long({"p": GAIN, "q": GAIN}), long({"q": GAIN + 1})])
    with pytest.raises(InputError, match="as many values on either side of claim 'x'"):
        check(told, twice)
    assert check(told, pd.concat([twice, long({"p": GAIN})])).estimate == pytest.approx(-0.5)


def test_what_depth_does_is_beyond_what_it_does_to_a_null() -> None:
    depths = pd.concat([long({"4": GAIN + 1, "0": GAIN}, "m"), long({"4": GAIN / 2, "0": np.zeros(40)}, "null")])
    told = row("beyond", where="model=m|null", between="method", first="4", second="0", better="higher")
    found = check(told, depths)
    assert found.estimate == pytest.approx(1 - GAIN.mean() / 2)
    assert (found.n, found.p) == (40, signed_ranks(1 - GAIN / 2))
    assert found.note == f"beyond null, where it is {GAIN.mean() / 2:+.3f}"


def test_halves_are_not_taken_for_draws_of_their_own() -> None:
    """The jackknife: a difference with the spread of its halves about it, not their spread over a root of their number."""
    rng = np.random.default_rng(0)
    near, far = (pd.DataFrame({"draw": range(13), "n": [100, *[50] * 12], "value": rng.normal(x, 0.02, 13)}) for x in (0.5, 0.3))
    table = pd.concat([near.assign(model="simclr"), far.assign(model="supcon")])
    found = check(row("halves", between="model", first="simclr", second="supcon", item="draw"), table)
    gap = (near["value"] - far["value"]).to_numpy()
    se = gap[1:].std(ddof=1)
    assert found.estimate == gap[0]
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 11, gap[0], se))
    assert (found.n, found.unit) == (12, "halves")
    assert found.p == pytest.approx(2 * stats.t.sf(gap[0] / se, 11))
    back = check(row("halves", between="model", first="simclr", second="supcon", item="draw", better="lower"), table)
    assert back.estimate == -found.estimate


def test_a_texture_is_drawn_and_not_the_photos_made_of_it() -> None:
    names = ["knife9-elephant2", "dog1-elephant2", "large cross, marble, on sky"]
    table = pd.DataFrame({"data": ["photos", "photos", "scenes"], "name": names, "stimulus": [0, 1, 7]})
    assert list(study._source(table)) == ["elephant2", "elephant2", "7"]


def test_costs_are_compared_at_their_worst() -> None:
    table = pd.DataFrame({"name": ["a", "b", "c"], "seconds": [1.0, 2.0, 4.0]})
    told = {"between": "name", "value": "seconds"}
    assert check(row("cost", first="a|b", second="c", **told), table).estimate == 0.5
    assert check(row("cost", first="a|c", second="b", **told), table).estimate < 0
    near = check(row("cost", first="b", second="c", **told), table.assign(seconds=[1.0, 3.9, 4.0]))
    assert _verdict(near, np.nan) == UNDECIDED
    counted = row("cost", first="b", second="c", between="name", value="images")
    assert _verdict(check(counted, table.assign(images=[1, 39, 40])), np.nan) == HOLDS


def test_printed_cells_are_counted() -> None:
    told = {"where": "table=V", "first": "smooth_grad", "second": "input_x_gradient"}
    found = _evidence(row("printed", **{**told, "value": "2"}), {})
    assert found is not None
    assert (found.note, found.estimate) == ("2 of 4 cells, 2 needed", 0.5)  # both SimCLRv2: 1.208 < 1.386, 1.257 < 1.799
    each = _evidence(row("printed_each", **{**told, "value": "3"}), {})
    assert each is not None
    assert each.estimate < 0
    best = _evidence(row("printed_best", where="table=VI", first="interaction_cam"), {})
    assert best is not None
    assert best.note.startswith("place 1 of 8")


def test_corrected_p_and_needs_are_those_of_all_tests_together() -> None:
    rows = (
        _claims()
        .head(3)
        .assign(**{**BLANK, "check": "difference", "table": "t", "where": "metric=SI", "between": "method", "value": "value"})
    )
    rows = rows.assign(item="pair", id=["a", "b", "c"], first=["p", "noise", "p"], second="q", check=["difference", "difference", "none"])
    noise = np.random.default_rng(1).normal(0.1, 1, 40)
    table = long({"p": GAIN, "q": np.zeros(40), "noise": noise})
    found = answers({"t": table}, rows).set_index("id")
    assert list(found["verdict"]) == [HOLDS, UNDECIDED, NOT_HERE]
    assert found.loc["a", "p"] == pytest.approx(2 * signed_ranks(GAIN))
    assert found.loc["b", "needed"] > found.loc["b", "at_least"] >= _least_pairs(0.025)
    assert found.loc["b", "needed"] == pairs_needed(noise.mean(), noise.std(ddof=1), level=0.025), "at the level of one of two tests"
    assert found.loc[["a", "c"], "needed"].isna().all()
    assert found.loc["a", "used"] == "t.parquet"
    assert counts(found.reset_index().assign(source="s")).loc["s"].to_dict() == {HOLDS: 1, FAILS: 0, UNDECIDED: 1, NOT_HERE: 1, "claims": 3}


def test_the_papers_own_difference_is_computed_from_its_tables() -> None:
    told = row(
        "difference", table="metrics", where="metric=CD & model=simsiam", between="method", first="grad_cam", second="pairwise_occlusion"
    )
    assert study._printed_difference(told) == "+0.078 (mean of its tables)"  # 0.357 - 0.279: lower is better
    assert study._printed_difference(row("level")) == ""


@pytest.fixture(scope="module")
def every() -> pd.DataFrame:
    return answers(study.tables(ROOT / "results"))


def test_every_claim_has_a_check_that_runs_and_a_verdict(every: pd.DataFrame) -> None:
    table = _claims()
    assert (len(table) > 100, table["id"].is_unique) == (True, True)
    assert set(table["check"]) == {*study.CHECKS, "none"}, "no check without a claim"
    assert list(every["id"]) == list(table["id"])
    assert set(every["verdict"]) <= set(study.VERDICTS)
    untested = table["check"].eq("none")
    assert (every["verdict"].eq(NOT_HERE) == untested).all()
    assert table.loc[untested, "reason"].ne("").all(), "why nothing can be tested is said"
    drawn = every[every["p"].notna()]
    assert drawn[["ours", "low", "high"]].notna().all(axis=None)
    assert drawn.loc[drawn["verdict"] == UNDECIDED, "needed"].notna().all()


def test_numbers_quoted_from_the_paper_are_the_papers() -> None:
    paper = _claims().set_index("id")["paper"]
    assert paper["texture-photos"] == "64 %"
    assert paper["lost-photos"] == "94 %"
    assert (paper["perturbation-insertion"], paper["perturbation-drop"]) == ("0.75", "0.65")
    assert (paper["transforms-printed-1x"], paper["transforms-printed-2x"], paper["interaction-printed-1x"]) == (
        "5 of 7",
        "6 of 7",
        "4 of 6",
    )


def test_the_page_names_every_table_it_reads() -> None:
    """What decides whether a page is made anew are the results that its source names."""
    source = (ROOT / "notebooks" / "A5_what_holds.ipynb").read_text()
    assert set(re.findall(r"results/(\w+)\.parquet", source)) == set(_claims()["table"]) - {"", "paper"}


def test_without_stored_results_the_printed_tables_can_be_asked() -> None:
    found, rows = answers({}), _claims()
    assert list(found["id"]) == list(rows[rows["table"].isin(["", "paper"])]["id"])
    assert set(found["verdict"]) == set(study.VERDICTS)


def test_missing_results_are_named(tmp_path) -> None:
    assert study.tables(tmp_path / "nowhere") == {}, "a notebook without its checkout"
    with pytest.raises(InputError, match="got no contrastivity, copies, corpus, cost, cost_metrics"):
        study.tables(tmp_path)
