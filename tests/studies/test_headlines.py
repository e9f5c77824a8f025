"""Claims of the paper against tables whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.variants import labels_of
from xaicl_lib.evaluation.method_spec import method_specs
from xaicl_lib.metrics import PAPER, metrics
from xaicl_lib.studies.headlines import (
    HEADLINES,
    SENSITIVITY,
    VARIANTS,
    _printed,
    _told,
    across_models,
    counted,
    headlines,
    variants,
)
from xaicl_lib.studies.tables import METHODS, PUBLISHED


def made(gain: float, models: int = 2, pairs: int = 12) -> pd.DataFrame:
    """Every claim's better method is better by `gain` on every pair, plus a little that differs from pair to pair."""
    rows = []
    for one in HEADLINES + SENSITIVITY:
        for metric in one.columns:
            sign = 1 if metrics[metric].facts["higher_is_better"] else -1
            for m in range(models):
                rows += [(f"m{m}", f"{one.says}/{way}", k, metric, v) for k in range(pairs) for way, v in
                         ((one.better, sign * (gain + (k + m) / 100)), (one.worse, 0.0))]  # fmt: skip
    return pd.DataFrame(rows, columns=["model", "method", "pair", "metric", "value"])


def of_one(table: pd.DataFrame, says: str) -> pd.DataFrame:
    part = table[table["method"].str.startswith(f"{says}/")]
    return part.assign(method=part["method"].str.removeprefix(f"{says}/"))


def test_claims_name_rows_of_the_table() -> None:
    assert {name for one in HEADLINES + SENSITIVITY for name in (one.better, one.worse)} <= {*METHODS, PUBLISHED}
    assert len({one.says for one in HEADLINES + SENSITIVITY}) == len(HEADLINES + SENSITIVITY)


@pytest.mark.parametrize(("gain", "cell"), [(1.0, "2 · 0 of 2"), (-1.0, "0 · 2 of 2")])
def test_what_is_better_holds(gain, cell) -> None:
    one = HEADLINES[3]
    got = headlines(of_one(made(gain), one.says))
    assert set(got["claim"]) == {one.says}, "claims about methods that are not there are left out"
    assert (np.sign(got["difference"]) == gain).all()
    cells = counted(got).loc[one.says].str.split("; paper ")
    assert set(cells.str[0]) == {cell}
    assert cells.str[1].tolist() == _printed((one,)).loc[one.says].tolist()
    said = _told(got[got["model"] == "m0"]).loc[one.says]
    assert list(said.index) == list(PAPER)
    assert said["SI"].startswith(f"{gain + 0.055:+.3f} (")
    assert said["SD"].endswith({1.0: "holds", -1.0: "contrary"}[gain])


def test_four_pairs_decide_nothing_but_seven_models_may() -> None:
    one = SENSITIVITY[1]
    got = headlines(of_one(made(1.0, models=7, pairs=4), one.says), SENSITIVITY)
    assert set(got["verdict"]) == {"undecided"}
    row = across_models(got).iloc[0]
    assert (row["in_favour"], row["models"]) == (7, 7)
    assert row["p"] == pytest.approx(2 / 2**7)
    assert row["difference"] == pytest.approx(1.045)
    assert row["low"] < 1.045 < row["high"]
    assert headlines(of_one(made(1.0), one.says), HEADLINES[:1]).empty


def test_what_the_paper_prints() -> None:
    """Read off Tables I to IV by eye: with gradient interaction SD is higher, so worse, on all five models."""
    got = _printed(HEADLINES)
    assert got.loc["Gradient interaction helps (mean)", "SD"] == "0 of 5"
    assert [got.loc[one.says, ["SI", "SD"]].tolist() for one in HEADLINES[:2]] == [["5 of 5", "2 of 5"]] * 2
    assert list(got.columns) == list(PAPER)


def test_labels_of_claims_are_calls() -> None:
    """Those of the paper's rows are the rows; those of variants are labelled by what they set."""
    found = labels_of(HEADLINES)
    assert set(found) <= {*METHODS, PUBLISHED}
    assert len(found) == 13
    made = method_specs(labels_of(VARIANTS["simclr"] + VARIANTS["scenes_simclr"]))
    noisy = made["averaged_transforms(level=0.15, sigma=published)"]
    assert (noisy.name, noisy.params) == ("averaged_transforms", {"level": 0.15, "sigma": "published"})
    cold = made["pairwise_occlusion(temperature=0.5)"]
    assert (cold.name, cold.params) == ("pairwise_occlusion", {"temperature": 0.5})


def test_variants_are_asked_model_by_model_and_the_blur_apart() -> None:
    claim = VARIANTS["moco_v3"][0]
    better = [("moco_v3", name, k, metric, "blur", v + k / 100) for metric in PAPER for k in range(12)
              for name, v in ((claim.better, 1.0), (claim.worse, 0.0))]  # fmt: skip
    blurred = [("simclr", name, k, "SI", blur, v) for k in range(2) for name, v in (("edges", 0.5), ("smooth_grad", 0.25))
               for blur in ("blur", "scaled_blur")]  # fmt: skip
    table = pd.DataFrame(better + blurred, columns=["model", "method", "pair", "metric", "insertion", "value"])
    found = variants(table)
    assert list(found) == list(VARIANTS)
    assert found["simclr"].empty
    assert found["moco_v3"].loc[claim.says, "SI"].startswith("+1.000")
