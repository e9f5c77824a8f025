"""Explanation scores beside accuracies: what the table says is what the parts of the library say."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from tests.conftest import assert_close, build, random_pair
from xaicl_lib import InputError, Pair, explain
from xaicl_lib.data.paper import paper_tables
from xaicl_lib.evaluation.evaluate import evaluate
from xaicl_lib.statistics.paired import summarise
from xaicl_lib.studies import downstream as study
from xaicl_lib.studies.downstream import (
    PUBLISHED,
    _Checkpoint,
    checkpoints,
    correlate,
    downstream,
    family_scores,
    least_models,
    model_scores,
    model_table,
    pair_scores,
    paper_correlations,
    paper_points,
    shifted,
    widths,
    without_each,
)
from xaicl_lib.studies.tables import grouped
from xaicl_lib.training.finish import encode, keeper
from xaicl_lib.training.recipes import RECIPES
from xaicl_lib.training.train import Trainer

METHODS = {name: name for name in ("grad_cam", "interaction_cam", "random_map")}
KNOWN = {"linear_accuracy": 0.7, "knn_accuracy": 0.6}


def checkpoint(kind: str, accuracy: float = 0.7, epoch: int = 3) -> _Checkpoint:
    return _Checkpoint(build(kind), kind, f"{kind}, 3 epochs", epoch, {**KNOWN, "linear_accuracy": accuracy})


@pytest.fixture(scope="module")
def measured() -> tuple[list[_Checkpoint], Pair, pd.DataFrame]:
    found = [checkpoint("projected"), checkpoint("headless", 0.5), checkpoint("two branches", 0.4)]
    pair = random_pair(3)
    return found, pair, downstream(found, pair, methods=METHODS)


def test_values_are_those_of_evaluate(measured) -> None:
    found, pair, table = measured
    want = evaluate([s.model for s in found], pair, METHODS)
    both = table.merge(want, on=["model", "method", "pair", "metric"], suffixes=("", "_want"))
    assert len(both) == len(table) == len(want)
    assert np.allclose(both["value"], both["value_want"], equal_nan=True)
    scores = explain(found[2].model, pair, "grad_cam").score
    mine = table[(table["model"] == "two branches") & (table["metric"] == "SI") & (table["method"] == "grad_cam")]
    assert np.allclose(mine["score"], scores)
    assert (mine["linear_accuracy"] == 0.4).all()


def test_equal_networks_count_once() -> None:
    first, again = checkpoint("projected"), checkpoint("projected", 0.1)
    again.model.name = "again"
    table = downstream([first, again], random_pair(2), methods="grad_cam", metrics=["SAD"])
    assert list(table["model"].unique()) == ["projected"]
    assert (table["linear_accuracy"] == 0.7).all()


def test_groups_are_those_of_the_summary(measured) -> None:
    _, _, table = measured
    table = table[table["model"] != "headless"]
    mine = pair_scores(table).groupby(["model", "method", "group"])["value"].mean()
    want = grouped(summarise(table)).set_index(["model", "method", "group"])["value"]
    assert len(mine) == len(want) == 2 * 3 * 3
    assert np.allclose(mine.reindex(want.index), want, atol=1e-6, equal_nan=True)
    only = pair_scores(table[table["metric"].isin(["SI", "CI", "SD"])])
    assert set(only["group"]) == {"insertion"}, "a group without its metrics is left out"


def test_families_average_their_methods(measured) -> None:
    scores = pair_scores(measured[2])
    families = family_scores(scores)
    assert list(families["family"].unique()) == ["activation", "control"]
    one = {"model": "projected", "pair": 1, "group": "deletion"}

    def at(rows: pd.DataFrame, **more: str) -> float:
        for key, value in {**one, **more}.items():
            rows = rows[rows[key] == value]
        assert len(rows) == 1
        return float(rows["value"].iloc[0])

    two = [at(scores, method=name) for name in ("grad_cam", "interaction_cam")]
    assert at(families, family="activation") == pytest.approx(sum(two) / 2)

    means = model_scores(scores)
    row = means[(means["model"] == "projected") & (means["method"] == "grad_cam") & (means["group"] == "insertion")].iloc[0]
    values = scores.query("model == 'projected' and method == 'grad_cam' and group == 'insertion'")
    assert row["mean"] == pytest.approx(values["value"].mean())
    low, high = stats.t.interval(0.95, 2, values["value"].mean(), values["value"].std() / 3**0.5)
    assert (row["mean"] - row["error"], row["mean"] + row["error"]) == pytest.approx((low, high))
    assert row["similarity"] == pytest.approx(values["score"].mean())


def test_tables_of_networks_hold_their_means(measured) -> None:
    scores = pair_scores(measured[2])
    inserted = scores[scores["group"] == "insertion"]
    table, groups = model_table(inserted), model_table(scores[scores["method"] == "grad_cam"], "group")
    one = inserted.query("model == 'two branches' and method == 'grad_cam'")
    assert table.loc["two branches", "grad_cam"] == pytest.approx(one["value"].mean())
    assert table.loc["two branches", "similarity"] == pytest.approx(one["score"].mean())
    assert table["linear_accuracy"].to_dict() == {"headless": 0.5, "projected": 0.7, "two branches": 0.4}
    assert groups["insertion"].to_dict() == pytest.approx(table["grad_cam"].to_dict())


def test_one_recipe_at_a_time_is_left_out() -> None:
    g = np.random.default_rng(0)
    rows = [
        {"model": f"m{k}", "recipe": f"r{k // 2}", "linear_accuracy": k / 10, "score": 0.5, "method": method, "pair": pair,
         "group": "insertion", "value": g.normal() + (k if method == "grad_cam" and k < 6 else 0)}
        for k in range(8) for method in ("grad_cam", "random_map") for pair in range(3)
    ]  # fmt: skip
    scores = pd.DataFrame(rows)
    rest = [correlate(scores[scores["recipe"] != f"r{k}"]) for k in range(4)]
    rest = [t[(t["statistic"] == "above control") & (t["method"] == "grad_cam")].iloc[0] for t in rest]
    found = without_each(scores).loc["grad_cam"]
    assert (found["min r"], found["max r"]) == (min(r["r"] for r in rest), max(r["r"] for r in rest))
    assert found["interval holds zero without"] == (
        ", ".join(f"r{k}" for k, r in enumerate(rest) if r["low"] <= 0 <= r["high"]) or "none of them"
    )
    both = {"whole": correlate(scores), "single": correlate(scores, cluster=None)}
    row = both["single"].query("statistic == 'pearson' and method == 'random_map'").iloc[0]
    assert widths(both).loc[("insertion", "random_map"), "single"] == row["high"] - row["low"]


def test_an_interval_below_zero_does_not_hold_it() -> None:
    """The better the network, the lower the score, whichever recipe is left out."""
    rows = [
        {"model": f"m{k}", "recipe": f"r{k // 2}", "linear_accuracy": k / 10, "score": 0.5, "method": method, "pair": pair,
         "group": "deletion", "value": 0.01 * ((pair + k) % 3) - (k if method == "grad_cam" else 0)}
        for k in range(8) for method in ("grad_cam", "random_map") for pair in range(3)
    ]  # fmt: skip
    found = without_each(pd.DataFrame(rows)).loc["grad_cam"]
    assert found["max r"] < -0.9
    assert found["interval holds zero without"] == "none of them"


def test_a_shifted_network_finds_everything_alike() -> None:
    one = checkpoint("projected")
    model, pair = shifted(one).model, random_pair(2)
    z = torch.nn.functional.normalize(one.model.embed_a(one.model.normalize(pair.a)), dim=1)
    assert_close(model.embed_a(model.normalize(pair.a)), z + 3)
    assert (shifted(one).accuracies, shifted(one).recipe) == (one.accuracies, "shifted")


PHOTOS = torch.randint(0, 256, (40, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(40) % 2
DATA = (PHOTOS, LABELS, ["p", "q"])


def test_features_are_those_that_the_cards_are_made_of() -> None:
    network = RECIPES["simclr"].network()
    model = study.PairModel(network["features"], network["head"], size=24, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    assert_close(study.layer_features(model, PHOTOS)["features"], encode(network["features"], PHOTOS), rtol=1e-4, atol=1e-5)


def test_accuracies_come_from_the_store_the_second_time(tmp_path, monkeypatch) -> None:
    brighter = (PHOTOS // 4 + (LABELS * 180).view(-1, 1, 1, 1)).to(torch.uint8)
    easy = (brighter, LABELS, ["p", "q"])
    model = build("projected")
    model.to(torch.float32)
    found = study._accuracies(model, easy, easy, store=str(tmp_path))
    assert found["linear_accuracy"] == 1
    monkeypatch.setattr(study, "layer_features", None)
    assert study._accuracies(model, easy, easy, store=str(tmp_path)) == found
    with pytest.raises(TypeError):
        study._accuracies(model, easy, DATA, store=str(tmp_path))  # other photos


def test_accuracies_have_to_come_from_somewhere() -> None:
    bare = replace(checkpoint("projected"), accuracies={})
    with pytest.raises(InputError, match="expected photos to measure 'projected' on"):
        downstream([bare], random_pair(2))
    with pytest.raises(InputError, match="pairs of two sides, got no side b"):
        downstream([bare], Pair(torch.rand(2, 3, 24, 24), None))


@pytest.mark.filterwarnings("ignore:score 1")  # of two epochs nothing is asked but that their numbers are told
def test_stages_of_a_training(tmp_path) -> None:
    recipe = replace(RECIPES["supcon"], epochs=2, batch=20, photo_size=24, widths=(4, 6, 8, 8), hidden=8, embedding=4)
    Trainer(recipe, PHOTOS, tmp_path, labels=LABELS).run(keeper((0, 1, 2), tmp_path / "snapshots"))
    found = checkpoints(tmp_path / "snapshots", "cpu")
    assert [(s.model.name, s.recipe, s.run, s.epoch) for s in found] == [
        ("supcon_epoch0", "untrained", "supcon, 2 epochs", 0),
        ("supcon_epoch1", "supcon", "supcon, 2 epochs", 1),
        ("supcon_epoch2", "supcon", "supcon, 2 epochs", 2),
    ]
    table = downstream(found, random_pair(2), (DATA, DATA), "grad_cam", ["SAD"])
    assert table["linear_accuracy"].nunique() > 1
    with pytest.raises(InputError, match="expected models of photos with their cards in"):
        checkpoints(tmp_path / "nowhere")


def test_bundled_stages_are_the_models_of_photos() -> None:
    found = checkpoints(device="cpu", names=["simclr", "scenes_simclr"])
    assert [s.model.name for s in found] == ["simclr"]
    assert found[0].accuracies["linear_accuracy"] > 0.7


def test_the_papers_correlations() -> None:
    printed = paper_correlations(printed=True).set_index("group")
    assert printed["r"].to_dict() == {"insertion": 0.75, "average drop": 0.65}
    assert printed.loc["insertion", "low"] == pytest.approx(np.tanh(np.arctanh(0.75) - 1.96 / 2**0.5), abs=1e-4)
    assert least_models(0.75) == least_models(-0.75) == 8, "tanh(artanh 0.75 - 1.96 / sqrt 5) = 0.097, with 7 models -0.007"
    again = paper_correlations().set_index(["family", "group"])
    # SI and CI of the two occlusions, Tables I to IV
    means = {
        "SimCLRv2 1x": (0.781 + 0.611 + 0.757 + 0.602) / 4,
        "SimCLRv2 2x": (0.801 + 0.647 + 0.773 + 0.643) / 4,
        "Barlow Twins": (0.655 + 0.540 + 0.652 + 0.537) / 4,
        "SimSiam": (0.809 + 0.640 + 0.723 + 0.600) / 4,
        "MoCo v3": (0.809 + 0.714 + 0.807 + 0.706) / 4,
    }
    want = np.corrcoef(list(means.values()), [PUBLISHED[name] for name in means])[0, 1]
    assert again.loc[("perturbation", "insertion"), "r"] == pytest.approx(want, abs=2e-3)
    points = paper_points().set_index(["family", "group", "model"]).sort_index()
    assert points.loc[("perturbation", "insertion")]["mean"].to_dict() == pytest.approx(means, abs=1e-3)
    assert points.loc[("perturbation", "insertion", "SimSiam"), "linear_accuracy"] == pytest.approx(0.681)
    similar = paper_tables("I", "II", "III", "IV")
    similar = similar[similar["method"].str.startswith("deep_similarity") & similar["metric"].isin(["SD", "CD"])]
    assert points.loc[("similarity", "deletion", "MoCo v3"), "mean"] == pytest.approx(
        1 - similar[similar["model"] == "MoCo v3"]["value"].mean()
    )
