"""Dissection: the table against the method and metric by themselves, and twins of which the answer is known."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tests.conftest import build, random_pair
from xaicl_lib import Pair, PairModel, augment, explain, measure
from xaicl_lib.data.paper import paper_tables
from xaicl_lib.studies import dissection
from xaicl_lib.studies.dissection import TRANSFORMS, answers, dissect, identify

FEW = {"grayscale": augment.grayscale, "horizontal flip": augment.mirror}


def photos(n: int = 3) -> torch.Tensor:
    return random_pair(n).a.float()


def test_values_are_those_of_the_method_with_its_transform() -> None:
    model = build("projected").to(torch.float32)
    table = dissect([model], photos(), transforms=FEW, metrics=["SI", "SD"])
    assert len(table) == 2 * 3 * (2 * 2 + 1)  # transforms, photos, metrics of two variants and the score
    explanation = explain(model, Pair(photos()), "averaged_transforms", transform=augment.mirror, guided=True)
    want = measure(model, Pair(photos(), photos().flip(3)), explanation, ["SD"])["SD"]
    got = table.query("transform == 'horizontal flip' and variant == 'guided' and metric == 'SD'")["value"]
    assert got.tolist() == pytest.approx(want.tolist(), rel=1e-5)
    score = table.query("transform == 'horizontal flip' and metric == 'score'")["value"]
    assert score.tolist() == pytest.approx(explanation.score.tolist(), rel=1e-4)
    alone = dissect([model], photos(), transforms=FEW, variants=())
    assert alone["metric"].unique().tolist() == ["score"]
    assert alone.loc[alone["transform"] == "horizontal flip", "value"].tolist() == pytest.approx(score.tolist(), rel=1e-6)


def test_many_transforms_at_once_are_those_of_one_at_a_time() -> None:
    """Seven photos: two transforms to a portion, then one; every row is where it was."""
    models = [build("projected").to(torch.float32), PairModel(nn.Conv2d(3, 4, 3, 2), size=24, name="other")]
    few = {**FEW, "rotation": TRANSFORMS["rotation 90"]}
    together = dissect(models, photos(7), transforms=few, metrics=["SD"])
    alone = pd.concat([dissect(models, photos(7), transforms={name: t}, metrics=["SD"]) for name, t in few.items()], ignore_index=True)
    labels = [column for column in together if column != "value"]
    pd.testing.assert_frame_equal(together[labels], alone[labels])
    assert together["value"].tolist() == pytest.approx(alone["value"].tolist(), rel=1e-4, abs=1e-6)


def test_models_without_relu_have_plain_rows_only() -> None:
    model = PairModel(nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU()), size=24, name="no relu")
    table = dissect([model], photos(1), transforms=FEW, metrics=["SD"])
    assert set(table["variant"]) == {"plain", "none"}


def test_transforms_do_what_their_names_say() -> None:
    x = photos(4)
    assert len(TRANSFORMS) == 9
    assert torch.equal(TRANSFORMS["colour jitter"](x)[:2], TRANSFORMS["colour jitter"](x[:2])), "a photo's strengths are its own"
    assert torch.allclose(TRANSFORMS["rotation 180"](x), x.flip(2, 3), atol=1e-4)
    for name, transform in TRANSFORMS.items():
        assert (transform(x) - x).abs().mean() > 0.01, name


def known(metric: str, change: dict[str, float]) -> pd.DataFrame:
    """Twelve photos on which the twin differs from its base by these means, with a little noise."""
    rng = np.random.default_rng(0)
    rows = []
    for pair in range(12):
        for transform, difference in change.items():
            base = rng.random()
            rows += [
                {"model": "base", "variant": "plain", "pair": pair, "metric": metric, "value": base, "transform": transform},
                {
                    "model": "twin", "variant": "plain", "pair": pair, "metric": metric, "transform": transform,
                    "value": base + difference + 0.01 * rng.standard_normal(),
                },
            ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("metric", ["SI", "SD"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_what_was_left_out_or_added_is_identified(metric, sign) -> None:
    better = 1 if metric == "SI" else -1  # of deletion less is better
    table = known(metric, {"blur": 0.1 * sign * better, "grayscale": -0.2 * sign * better, "horizontal flip": 0.0})
    found = identify(table, "base", {"twin": (("blur",), sign)})
    verdict = answers("base", table, twins={"twin": (("blur",), sign)}).iloc[0]
    assert verdict["metric"] == f"{metric} plain"
    assert verdict["identified"] == "blur"
    assert verdict["right"]
    assert verdict["sure"] == 1
    row = found.set_index("transform").loc["blur"]
    assert row["mean"] == pytest.approx(0.1 * sign, abs=0.02)
    assert row["low"] < row["mean"] < row["high"]
    wrong = answers("base", table, twins={"twin": (("grayscale",), sign), "absent": (("blur",), 1)}).iloc[0]
    assert not wrong["right"]
    assert wrong["sure"] == 0


def test_photos_without_a_value_do_not_count() -> None:
    table = known("SAD", {"blur": 0.1, "grayscale": 0.0})
    table.loc[(table["pair"] < 4) & (table["model"] == "base"), "value"] = np.nan
    assert set(identify(table, "base", {"twin": (("blur",), -1)})["n"]) == {8}


def test_points_of_a_curve_are_even_whatever_the_size() -> None:
    model = build("projected").to(torch.float32)
    few = {"transforms": FEW, "variants": ("plain",), "metrics": ["SD"]}
    got, want = dissect([model], photos(1), points=4, **few), dissect([model], photos(1), step=24 * 24 // 4, **few)
    assert got["value"].tolist() == want["value"].tolist() != dissect([model], photos(1), **few)["value"].tolist()


def test_answers_of_several_tables_are_told_and_counted() -> None:
    score = known("score", {"blur": 0.3, "grayscale": 0.0}).assign(variant="none")
    twins = {"twin": (("blur",), 1)}
    said = answers("base", score, known("SI", {"blur": 0.0, "grayscale": 0.2}).query("pair < 5"), twins=twins)
    assert said["metric"].tolist() == ["score", "SI plain"]
    assert dissection.answers_table(said)["twin"].to_dict() == {"SI plain": "grayscale", "score": "blur ✓"}
    assert dissection.right_answers(said).to_dict("index") == {"score": {"right": 1, "of": 1}, "SI plain": {"right": 0, "of": 1}}
    assert dissection.scenes_of(said) == {"twin": 12}
    named = identify(score.replace({"model": {"twin": "base_no_blur"}}), "base", {"base_no_blur": (("blur",), 1)})
    assert named["twin"].unique().tolist() == ["no_blur"], "what the twin is called beside its base"
    assert answers("base", score, twins={}).empty


def trainings(metric: str, change: dict[str, float]) -> pd.DataFrame:
    """Five of each recipe on one backbone, which differ by 0.01 from seed to seed, and the twin's by these means."""
    rng = np.random.default_rng(0)
    facts = [(model, seed, transform) for model in ("base", "base_no_blur") for seed in range(5) for transform in change]
    values = [0.5 + 0.01 * rng.standard_normal() + change[transform] * (model != "base") for model, _, transform in facts]
    table = pd.DataFrame(facts, columns=["model", "seed", "transform"])
    return table.assign(backbone="base", metric=metric, value=values)


@pytest.mark.parametrize("metric", ["SI", "SD"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_twins_of_several_seeds_are_set_beside_what_seeds_do(metric, sign) -> None:
    better = 1 if metric == "SI" else -1
    own = trainings(metric, {"blur": 0.1 * sign * better, "grayscale": -0.2 * sign * better, "horizontal flip": 0.0})
    twins = {"base_no_blur": (("blur",), sign), "absent": (("blur",), -1)}
    row = dissection.beyond_seeds(own, "base", twins).iloc[0]
    wide = own.query("transform == 'blur'").pivot_table("value", "seed", "model")
    spread = np.sqrt(wide.var().mean())
    assert row["mean"] == pytest.approx(sign * better * (wide["base_no_blur"] - wide["base"]).mean() / spread)
    assert 0 < row["low"] < row["mean"] < row["high"]
    assert (row["ordered"], row["named"], row["seeds"]) == (1, 1, 5)
    assert row["twin"] == f"no_blur, {'seen' if sign < 0 else 'unseen'}"
    of_seeds = sign * better * own.pivot_table("value", ["model", "seed"], "transform").to_numpy().reshape(2, 5, 3)  # blur comes first
    equal = [(one[i] - one[j]).argmax() == 0 for one in of_seeds for i in range(5) for j in range(5) if i != j]
    assert row["null"] == pytest.approx(np.mean(equal))
    other = dissection.beyond_seeds(own.assign(backbone="other"), "base", {"base_no_blur": (("grayscale",), sign)}).iloc[0]
    assert (other["twin"], other["ordered"], other["named"]) == ("no_blur, unseen", 0, 0)
    whole = dissection.beyond_seeds(own.assign(backbone=dissection.WHOLE), "base", twins).iloc[0]
    assert (whole["twin"], whole["mean"]) == ("no_blur", row["mean"])
    assert dissection.beyond_seeds(own, "base", {"absent": (("blur",), -1)}).empty


def test_baselines_are_those_of_a_model_that_knows_the_mean_colour() -> None:
    given, model = photos(8), PairModel(nn.Identity(), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), size=24)
    found = dissection.baselines(model, given, folds=4).set_index(["metric", "transform"])["value"]
    assert set(found.index.get_level_values("transform")) == set(TRANSFORMS)
    assert found["variance", "horizontal flip"] == pytest.approx(0, abs=1e-9), "no mean colour changes"
    assert found["probe", "horizontal flip"] == 0.5, "two equal embeddings with different labels"
    units = [[torch.nn.functional.normalize(x.mean((1, 2)), dim=0).double() for x in of(given)] for of in (lambda x: x, augment.solarize)]
    moved = np.mean([float((a - b).square().sum()) / 2 for a, b in zip(*units, strict=True)])
    between = np.mean([float((a - b).square().sum()) / 2 for a, b in combinations(units[0], 2)])
    assert found["variance", "solarisation"] == pytest.approx(moved / between)
    assert found["probe", "solarisation"] > 0.5


def test_doses_come_in_their_order_with_the_training_as_the_unit() -> None:
    order = list(dissection.JITTER_DOSES)[::-1]
    rows = [(name, seed, "colour jitter", dissection.JITTER_DOSES[name] + seed) for name in order for seed in range(3)]
    table = pd.DataFrame([*rows, (order[0], 0, "blur", 9.0)], columns=["model", "seed", "transform", "value"]).assign(metric="SI")
    found = dissection.dose_response(pd.concat([table.assign(backbone="whole"), table.assign(backbone="scenes_simclr", value=7.0)]))
    assert found["dose"].tolist() == [0, 0.5, 1, 2]
    assert found["mean"].tolist() == [1, 1.5, 2, 3]
    assert found["n"].tolist() == [3] * 4
    assert {name: sign for name, (_, sign) in dissection.DOSED.items()} == {order[2]: -1, order[0]: 1}


@pytest.mark.parametrize(("metric", "sign"), [("score", 1), ("SI", 1), ("SD", -1), ("SAD", -1), ("variance", -1), ("probe", -1)])
def test_a_twin_that_became_more_invariant_gained(metric: str, sign: int) -> None:
    own = trainings(metric, {"blur": 0.1 * sign, "grayscale": 0.0})
    assert dissection.beyond_seeds(own, "base", {"base_no_blur": (("blur",), 1)})["ordered"].tolist() == [1]


def ours(model: str, metric: str, variant: str, values: list[float]) -> pd.DataFrame:
    names = list(TRANSFORMS)[: len(values)]
    return pd.DataFrame({"model": model, "transform": names, "variant": variant, "metric": metric, "pair": 0, "value": values})


def test_models_are_ordered_beside_the_paper() -> None:
    paper = paper_tables("VII")
    theirs = paper[(paper["model"] == "SimCLRv2 1x") & paper["method"].str.startswith("averaged_transforms /")]
    si = theirs[theirs["metric"] == "SI"].assign(transform=lambda t: t["method"].str.split(" / ").str[1]).set_index("transform")["value"]
    order = si[list(TRANSFORMS)].tolist()
    rows = [ours(m, metric, v, values) for m, values in (("m", order), ("w", [-x for x in order])) for metric, v in (
        ("SI", "plain"), ("SI", "guided"), ("SD", "plain"), ("SAD", "plain"))]  # fmt: skip
    scores = [ours(m, "score", "none", order) for m in "mw"]
    both = dissection.beside_paper(pd.concat([*rows, *scores, ours("scenes_x", "SI", "plain", order)]))
    found = dissection.agreement(both)
    assert found.index.tolist() == ["m", "w"]
    assert found["SI, plain"].tolist() == pytest.approx([1, -1])
    assert found["score, SI"].tolist() == pytest.approx([1, 1]), "the plain score, which explains nothing"
    paper_sd = (
        theirs[theirs["metric"] == "SD"].assign(transform=lambda t: t["method"].str.split(" / ").str[1]).set_index("transform")["value"]
    )
    assert found["score, SD"].tolist() == pytest.approx(
        [pd.Series(order).corr(paper_sd[list(TRANSFORMS)].reset_index(drop=True), "spearman")] * 2
    )
    assert found["SD, guided"].isna().all(), "what was not measured agrees with nothing"
    assert dissection._by_model(both, "SI")["SimCLRv2 1x"].tolist() == order
    rho = dissection.score_agreement(both)
    assert rho.loc["m"].tolist() == pytest.approx([1, -1, -1]), "of deletion and drop less is better"
    table = dissection.table_vii(pd.concat([rows[0], scores[0]]))
    assert table[["SI plain", "score"]].to_numpy().T.tolist() == [order, order]


def test_a_blind_model_has_the_best_insertion() -> None:
    means = dissection.of_a_blind_model(photos(2))["mean"]
    assert means.to_dict() == pytest.approx({"SI": 1, "SD": 1, "SAD": 0, "score": 1}, abs=1e-5)
