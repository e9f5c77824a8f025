"""Planted shortcuts: what exchanging a sticker costs, what is retrieved, what maps show, and what can be said of trainings."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from xaicl_lib import PairModel, load_model
from xaicl_lib.data.stickers import stickered_pairs
from xaicl_lib.scores import cosine
from xaicl_lib.statistics.paired import paired_difference
from xaicl_lib.studies import shortcuts


@pytest.fixture(scope="module")
def both():
    return [load_model(name, "cpu") for name in ("stickers_95", "stickers_0")]


def test_the_planted_model_rests_on_the_sticker_and_the_repaired_one_does_not(both) -> None:
    table = shortcuts._scores(both, 16, seed=3)
    assert len(table) == 2 * 2 * 3 * 16
    pair = stickered_pairs(16, "another", seed=3).pair
    by_hand = cosine(both[0].encode(pair.a), both[0].encode(pair.b, "b"))
    asked = table[(table["model"] == "stickers_95") & (table["objects"] == "same object") & (table["carried"] == "another")]
    assert asked["value"].to_numpy() == pytest.approx(by_hand.numpy(), abs=1e-5)
    rests = paired_difference(table, "carried", "pair", ["model", "objects"], names=["same"], against="another").set_index(
        ["objects", "model"]
    )
    planted, repaired = (rests.loc[("same object", name)] for name in ("stickers_95", "stickers_0"))
    assert planted["low"] > repaired["high"] + 0.05
    wide = table.pivot_table("value", ["model", "objects", "pair"], "carried")
    falls = (wide["same"] - wide["another"]).groupby(["objects", "model"]).mean()
    assert rests["mean"].to_dict() == pytest.approx(falls.to_dict())


def test_a_sticker_that_misleads_costs_the_planted_model_its_partners(both) -> None:
    found = shortcuts._retrieved(both, 40, seed=3).groupby(["model", "carried"])["value"].mean()
    assert set(found.index.get_level_values("carried")) == {"same", "another", "none"}
    assert found["stickers_95", "same"] > found["stickers_95", "another"] + 0.2
    assert found["stickers_95", "another"] < found["stickers_0", "another"]


class Sees(nn.Module):
    """Brightness of each cell."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(x, 4)


def test_the_share_on_the_sticker_is_counted_by_the_masks() -> None:
    model = PairModel(Sees(), nn.Flatten(), size=64, name="sees")
    table = shortcuts.located([model], ["random_map", "edges"], 3, seed=2)
    made = stickered_pairs(3, seed=2)
    truth, edges = made.pair.truth, table[table["method"] == "edges"]
    area = (truth.a.double().mean((1, 2)) + truth.b.double().mean((1, 2))) / 2
    assert edges["area"].to_numpy() == pytest.approx(area.numpy())
    assert edges["value"].to_numpy() == pytest.approx((edges["sticker"] / edges["area"]).to_numpy())
    one = shortcuts.METHODS["edges"].explain(model, made.pair[1])
    by_hand = [(m.clamp_min(0)[0][mask[1]].sum() / m.clamp_min(0).sum()).item() for m, mask in ((one.a, truth.a), (one.b, truth.b))]
    if one.a.shape[1:] == truth.a.shape[1:]:
        assert edges["sticker"].iloc[1] == pytest.approx(np.mean(by_hand), abs=1e-5)
    assert ((table["sticker"] + table["object"]) <= 1 + 1e-6).all()


def of_seeds(values: dict[str, list[float]]) -> pd.DataFrame:
    """Two pairs a training, around its value."""
    rows = [
        {"method": "m", "model": model, "seed": seed, "pair": pair, "value": value + (pair - 0.5) / 10}
        for model, of_model in values.items()
        for seed, value in enumerate(of_model)
        for pair in (0, 1)
    ]
    return pd.DataFrame(rows)


def test_the_training_is_the_unit() -> None:
    values = {"stickers_95": [1.0, 2.0, 3.0], "stickers_0": [0.5, 1.5, 1.5]}
    table = of_seeds(values)
    told = shortcuts.told_apart(table).loc["m"]
    assert told["seeds"] == 3
    assert told["mean"] == pytest.approx((0.5 + 0.5 + 1.5) / 3)
    assert told["ordered"] == pytest.approx((1 + 2 * 3) / 9)
    assert told["p"] == pytest.approx(stats.ttest_rel(*values.values()).pvalue)
    three = pd.concat([table.assign(method=name) for name in "mno"])
    assert shortcuts.told_apart(three)["p"].tolist() == pytest.approx([3 * told["p"]] * 3), "corrected for the methods"
    same = shortcuts.told_apart(of_seeds({"stickers_95": [1.0, 1.0], "stickers_0": [1.0, 1.0]})).loc["m"]
    assert (same["mean"], same["ordered"], same["p"]) == (0, 0.5, 1)
    assert shortcuts.told_apart(of_seeds({"stickers_95": [2.0], "stickers_0": [1.0]})).loc["m", "p"] == 1, "one training decides nothing"


def test_reliance_of_seeds_is_the_mean_fall() -> None:
    rows = [
        {"model": "m", "objects": "same object", "seed": seed, "pair": pair, "carried": carried, "value": value}
        for seed, fall in enumerate((0.1, 0.3))
        for pair in (0, 1)
        for carried, value in (("same", 0.9), ("another", 0.9 - fall), ("none", 0.0))
    ]
    found = shortcuts.reliance_of_seeds(pd.DataFrame(rows)).iloc[0]
    assert (found["n"], found["mean"]) == (2, pytest.approx(0.2))


def test_what_is_looked_at_is_the_pair_that_was_named(both) -> None:
    pair = stickered_pairs(3, seed=1).pair
    (titles, shown, made), _ = shortcuts.explained_beside(both, "grad_cam", 2, 1)
    assert torch.equal(shown.b, pair.b[2:])
    assert titles[:2] == ("stickers_95", f"score {made.score.item():.2f}")
    items = shortcuts.exchanged(both, 2, 1)
    assert items[0][0].startswith(f"same: {made.score.item():.2f}, ")
    assert torch.equal(items[0][1][1], pair.b[2])
    assert [title for title, _ in shortcuts.shown_in_training(2)] == ["same sticker"] * 2 + ["another sticker"] * 2


def test_trainings_begin_anew_with_each_seed(monkeypatch) -> None:
    features = {name: torch.rand(200, 128) for name in ("a none", "b none", "a same", "b same", "b another")}
    monkeypatch.setattr(shortcuts, "head_features", lambda base: features)
    short = {"stickers_0": shortcuts.replace(shortcuts.RECIPES["stickers_0"], steps=2)}
    monkeypatch.setattr(shortcuts, "RECIPES", short)
    (first, one), (second, two) = shortcuts.trained_again(2, ["stickers_0"])
    assert (first, second) == (0, 1)
    assert not torch.equal(one.head_a[1].weight, two.head_a[1].weight)
