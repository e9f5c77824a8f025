"""Maps that find evidence, and pairs that do not share it any more."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from tests.studies.test_truth import drops_of, marked, window_model
from xaicl_lib import InputError
from xaicl_lib.studies.localisation import _mismatched, ahead, among_confirmed, localise, specific, used
from xaicl_lib.studies.tables import means


def found_of(shared: np.ndarray, mismatched: np.ndarray) -> pd.DataFrame:
    rows = [
        {"model": "m", "method": "x", "kind": "k", "metric": "relevance_rank", "pair": k, "shared": is_shared, "value": value}
        for is_shared, values in ((True, shared), (False, mismatched))
        for k, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_localise_knows_what_guessing_gives_and_what_sharing_adds() -> None:
    pair = marked(4)
    model = window_model(slice(16), slice(16), "all")
    table = localise([model], {"marked": pair}, ["random_map", "input_x_gradient"], metrics=["relevance_mass"])
    assert set(table["kind"]) == {"marked"}
    assert (table["chance"] == 0.25).all()
    assert table["shared"].value_counts().to_dict() == {True: 8, False: 8}
    added = specific(table).groupby("method")["value"].mean()
    assert added["random_map"] == pytest.approx(0, abs=1e-6), "the same random map on the same mask"
    assert added["input_x_gradient"] != 0
    with pytest.raises(InputError, match="at least two pairs"):
        _mismatched(pair[0])


def test_couples_of_pairs_exchange_images_and_are_one_observation() -> None:
    pair = marked(7)
    other = _mismatched(pair)
    assert torch.equal(other.b, pair.b[[1, 0, 3, 2, 6, 4, 5]])
    assert torch.equal(other.truth.b, pair.truth.b[[1, 0, 3, 2, 6, 4, 5]])
    g = np.random.default_rng(0)
    shared, exchanged = g.normal(size=7), g.normal(size=7)
    added = specific(found_of(shared, exchanged))
    want = [part.mean() for part in np.split(shared - exchanged, [2, 4])]
    assert added["value"].tolist() == pytest.approx(want)
    assert added["couple"].tolist() == [0, 1, 2]
    a, b = g.normal(size=7), g.normal(size=7)  # maps that look at one side alone share nothing, whatever the images
    alone = specific(found_of((a + b) / 2, (a + b[[1, 0, 3, 2, 6, 4, 5]]) / 2))["value"]
    assert alone.abs().max() < 1e-12, "in each couple, not only on average"
    exchanged[3] = np.nan
    assert specific(found_of(shared, exchanged))["value"].isna().tolist() == [False, True, False]
    both = pd.concat([found_of(shared, exchanged), found_of(a[:4], b[:4]).assign(kind="few", model="other")])
    assert specific(both.astype({"kind": "category", "model": "category"}))["couple"].tolist() == [0, 1, 2, 0, 1]


def test_only_pairs_that_a_model_uses_are_kept() -> None:
    found = found_of(np.arange(3.0), np.zeros(3))
    drops = drops_of({"k": [0.2, -0.2]}).assign(other=0.1)
    kept = among_confirmed(found, drops)
    wide = kept.pivot(index="pair", columns="shared", values="value")
    assert wide[True].isna().tolist() == wide[False].isna().tolist() == [False, True, True], "pair 2 is not in drops"
    assert specific(kept)["value"].isna().all(), "a couple counts where both of its pairs do"


def test_methods_are_compared_over_couples_of_images_not_over_models() -> None:
    g = np.random.default_rng(0)
    gain = 0.1 + 0.05 * g.normal(size=10)
    rows = [
        {"model": model, "method": method, "kind": "k", "metric": metric, "couple": c, "value": value}
        for metric in ("relevance_rank", "pointing_game")
        for model, part in (("m", 1.0), ("twin", 0.8), ("other", -0.6))
        for c in range(10)
        for method, value in (("one", part * gain[c]), ("zero", 0.0))
    ]
    added = pd.DataFrame(rows)
    table = ahead(added, "zero", ["one"])
    assert table["mean"].tolist() == pytest.approx([0.4 * gain.mean()] * 2)
    assert table["n"].tolist() == [10, 10], "ten couples, however many models look at them"
    assert table["p"].tolist() == pytest.approx([2 * stats.wilcoxon(gain).pvalue] * 2)
    assert table["ahead on"].tolist() == ["2 of 3 models"] * 2
    assert ahead(added, "zero")["p"].tolist() == table["p"].tolist(), "all others are asked"
    whole = means(added, "kind", "method", "metric", unit="couple").set_index(["metric", "method"])
    assert whole.loc[("relevance_rank", "one"), "mean"] == pytest.approx(0.4 * gain.mean())
    assert whole.loc[("relevance_rank", "one"), "n"] == 10
    added.loc[(added["couple"] == 3) & (added["metric"] == "relevance_rank"), "value"] = np.nan
    assert ahead(added, "zero", ["one"])["n"].tolist() == [9, 10]
    with pytest.raises(InputError, match="unknown method of the table 'none'"):
        ahead(added, "none", ["one"])


def test_pairs_that_are_used_are_counted_by_kind() -> None:
    found = pd.concat([found_of(np.array([0.6, 0.8]), np.array([0.2, 0.4])).assign(kind=kind) for kind in ("k", "other")])
    drops = drops_of({"k": [0.2, -0.2], "other": [0.2, 0.2]}).assign(other=0.1)
    assert used(found, drops).T.to_dict() == {"k": {"used": 1, "pairs": 2}, "other": {"used": 2, "pairs": 2}}
