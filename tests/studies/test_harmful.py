"""Sweeps over strengths, on a model that looks at brightness and on maps that are known."""

import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr, wilcoxon

from tests.conftest import build, random_pair
from xaicl_lib import InputError, Pair, PairModel, augment, explain
from xaicl_lib.augment.families import AUGMENTATIONS, Family, _blur, _middle
from xaicl_lib.pair import Truth
from xaicl_lib.statistics.bootstrap import share
from xaicl_lib.studies import harmful
from xaicl_lib.studies.harmful import _lines, _moved, _rank_correlation, _ranked, against, lost_shares, ranked_beside, sweep
from xaicl_lib.studies.tables import told_by

FEW = {"darkening": AUGMENTATIONS["darkening"], "rotation": AUGMENTATIONS["rotation"]}


def pairs(n: int = 4, truth: bool = False) -> Pair:
    pair = random_pair(n)
    mask = torch.zeros(n, 24, 24, dtype=torch.bool)
    mask[:, 2:10, 4:20] = True
    return Pair(pair.a.float(), pair.b.float(), Truth(mask, mask) if truth else None)


def test_rows_are_those_of_the_method() -> None:
    model, pair = build("projected").to(torch.float32), pairs()
    table = sweep([model], pair, augmentations=FEW, method="grad_cam")
    assert len(table) == 2 * 6 * 4
    row = table[(table["augmentation"] == "darkening") & (table["level"] == 3)]
    want = explain(model, Pair(pair.a, pair.b * 0.4), "grad_cam")
    clean = explain(model, pair, "grad_cam")
    assert row["strength"].tolist() == [0.4] * 4
    assert row["score"].tolist() == pytest.approx(want.score.tolist(), rel=1e-5)
    agreement = [pd.Series(c.flatten()).corr(pd.Series(a.flatten()), "spearman") for c, a in zip(clean.b, want.b, strict=True)]
    assert row["agreement"].tolist() == pytest.approx(agreement, abs=1e-6)
    start = table[table["level"] == 0]
    assert start["agreement"].to_numpy() == pytest.approx(1)
    assert not start["lost"].any(), "every clean map agrees with itself most"


def test_levels_get_stronger_and_stay_images() -> None:
    x = torch.nn.functional.interpolate(pairs(2).b, (96, 96), mode="bicubic").clamp(0, 1)  # as smooth as photos
    for name, family in AUGMENTATIONS.items():
        change = [(family.apply(x, s) - x).abs().mean().item() for s in family.strengths]
        assert change[0] < change[-1], name
        assert change[0] > 0, name
        made = family.apply(x, family.strengths[-1])
        assert made.shape == x.shape
        assert made.min() >= 0, name
        assert made.max() <= 1, name


def test_maps_and_truth_move_with_the_pixels() -> None:
    mask = pairs(truth=True).truth.b
    turned = _moved(mask, lambda x: augment.rotation_grid(x, 90.0))
    assert torch.equal(turned, mask.rot90(1, (1, 2)))
    whole = torch.ones(1, 24, 24, dtype=torch.bool)
    assert _moved(whole, lambda x: augment.rotation_grid(x, 45.0)).float().mean() < 0.9, "corners come from outside"
    assert _moved(mask, lambda x: _middle(x, 0.25))[0, 0, 12], "what the crop leaves is enlarged"
    assert _moved(whole, lambda x: _middle(x, 0.25)).all()


def test_a_map_that_turns_with_the_image_is_not_lost() -> None:
    model, pair = build("projected").to(torch.float32), pairs(truth=True)
    turn = {"rotation": Family("degrees", (180.0,), augment.rotate, augment.rotation_grid)}
    table = sweep([model], pair, augmentations=turn, method="edges")
    last = table[table["level"] == 1]
    assert (last["agreement"] > 0.95).all(), "edges turn with the image"
    assert (last["null"] < 0.5).all()
    assert last["chance"].to_numpy() == pytest.approx(8 * 16 / 24**2)
    assert (last["lost"] == (last["rank"] <= last["chance"])).all()


def test_what_a_crop_leaves_out_cannot_be_found() -> None:
    model, pair = build("projected").to(torch.float32), pairs(truth=True)
    pair.truth.b[0] = False
    pair.truth.b[0, :2, :2] = True  # a corner
    table = sweep([model], pair, augmentations={"crop": AUGMENTATIONS["crop"]}, levels=[5])
    hard = table[table["level"] == 5].set_index("pair")
    assert hard["lost"].isna().tolist() == [True, False, False, False], "neither lost nor found"
    assert _ranked(table)["mean"].item() == hard["lost"].mean()


def test_rank_correlation_by_hand() -> None:
    x = torch.tensor([[[1.0, 2.0], [3.0, 9.0]]])
    inside = torch.tensor([[[True, True], [True, False]]])
    assert _rank_correlation(x, x**3, inside).item() == pytest.approx(1)
    assert _rank_correlation(x, -x, inside).item() == pytest.approx(-1)
    assert _rank_correlation(x, torch.zeros_like(x), inside).item() == 0


def test_rank_correlation_is_scipys_map_by_map() -> None:
    """With equal values, and with another mask for each map; two cells inside are too few to say anything."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randint(0, 5, (6, 4, 5), generator=generator).float() for _ in range(2))
    inside = torch.rand(6, 4, 5, generator=generator) > 0.4
    inside[1], inside[2] = inside[0], False
    inside[2, 0, :2] = True
    slowly = [spearmanr(a[there], b[there])[0] if there.sum() > 2 else 0.0 for a, b, there in zip(x, y, inside, strict=True)]
    assert _rank_correlation(x, y, inside).tolist() == pytest.approx(slowly, abs=1e-9)


def test_the_most_harmful_comes_first() -> None:
    rows = [
        {"model": "m", "augmentation": name, "level": level, "pair": pair, "score": 1 - 0.1 * level, "lost": bool(level and pair < hits)}
        for name, hits in (("mild", 1), ("harmful", 3))
        for level in range(3)
        for pair in range(4)
    ]
    table = _ranked(pd.DataFrame(rows))
    assert table["augmentation"].tolist() == ["harmful", "mild"]
    assert table["mean"].tolist() == [0.75, 0.25]
    assert table["clean"].tolist() == [0, 0]
    assert table["worst"].tolist() == [0.75, 0.25]
    assert table["drop"].to_numpy() == pytest.approx(0.15)


def test_augmentations_of_different_numbers_of_levels() -> None:
    rows = [
        {"model": "m", "augmentation": name, "level": level, "pair": pair, "score": 1 - 0.1 * level, "lost": bool(level and pair < level)}
        for name, levels in (("short", 3), ("long", 5))
        for level in range(levels)
        for pair in range(4)
    ]
    table = _ranked(pd.DataFrame(rows)).set_index("augmentation")
    assert table["worst"].to_dict() == {"long": 1.0, "short": 0.5}
    assert table["mean"].to_dict() == {"long": 0.625, "short": 0.375}
    assert not table.isna().any().any()


def test_a_wide_blur_needs_no_more_than_the_image() -> None:
    assert _blur(pairs().b, 8.0).std() < pairs().b.std() / 2
    with pytest.raises(InputError, match="at least two pairs"):
        sweep([build("projected")], pairs(1))


def swept(hits: dict[str, list[list[int]]], model: str = "m", augmentation: str = "blur") -> pd.DataFrame:
    """Lost (1) or not, by method: a list for each pair, its levels from 1."""
    return pd.DataFrame(
        [
            {"model": model, "augmentation": augmentation, "method": method, "pair": pair, "level": level, "lost": float(lost)}
            for method, pairs_ in hits.items()
            for pair, levels in enumerate(pairs_)
            for level, lost in enumerate(levels, 1)
        ]
    )


def test_against_a_control_by_hand() -> None:
    """Ten pairs of two levels: noise loses all of the first and half of the second, the method nothing; edges the same as the method."""
    table = swept({"cam": [[0, 0]] * 10, "random_map": [[1, k % 2] for k in range(10)], "edges": [[0, 0]] * 10})
    found = against(table).set_index("control")
    noise, same = found.loc["random_map"], found.loc["edges"]
    assert (noise["lost"], noise["by_control"], noise["mean"], noise["n"]) == (0, 0.75, -0.75, 10)
    assert noise["p"] == pytest.approx(2 * wilcoxon([0.5] * 5 + [1.0] * 5).pvalue), "two questions"
    assert noise["verdict"] == "fewer"
    assert (same["mean"], same["p"], same["verdict"]) == (0, 1, "undecided")
    turned = against(swept({"cam": [[1, 1]] * 10, "random_map": [[0, 0]] * 10, "edges": [[0, 0]] * 10}))
    assert turned["verdict"].tolist() == ["more", "more"]
    assert against(table, controls=["random_map"])["method"].tolist() == ["cam"], "a control is no method that is asked about"
    with pytest.raises(InputError, match="unknown method of the table 'edges'; there are: cam, random_map"):
        against(table[table["method"] != "edges"])


def test_against_counts_questions_and_leaves_out_what_is_undefined() -> None:
    cells = {"cam": [[0, 0]] * 8, "random_map": [[1, 1]] * 8}
    one, four = (
        against(pd.concat([swept(cells, augmentation=f"a{k}") for k in range(count)]), controls=["random_map"]) for count in (1, 4)
    )
    assert four["p"].to_numpy() == pytest.approx(4 * one["p"].item())
    holes = swept({"cam": [[0, float("nan")]] * 8, "random_map": [[1, 0]] * 8})
    assert against(holes, controls=["random_map"])["by_control"].item() == 1, "of the levels that both know"
    two = pd.concat([swept(cells, model=m) for m in ("m", "w")])
    assert against(two, controls=["random_map"])["p"].tolist() == [one["p"].item()] * 2, "corrected within a model"


def test_a_random_map_is_lost_in_half_of_all_pairs() -> None:
    model, many = build("projected").to(torch.float32), pairs(200)
    table = sweep([model], many, augmentations={"darkening": FEW["darkening"]}, method="random_map")
    after = table[table["level"] > 0]
    assert after["lost"].mean() == pytest.approx(0.5, abs=0.06), "1000 tosses of a coin"


def test_lines_keep_one_copy_of_a_control() -> None:
    both = pd.concat([swept({"cam": [[0]], "edges": [[1]]}, model=m) for m in ("scenes_x", "scenes_y", "z")])
    got = _lines(both)
    assert got["line"].tolist() == ["scenes_x", "edges, scenes", "scenes_y", "z", "edges, photos"]


def test_a_ranking_says_what_controls_lose() -> None:
    cells = {"cam": [[0], [0], [1], [0]], "random_map": [[1], [0], [1], [0]], "edges": [[1]] * 4}
    table = pd.concat([swept(cells), swept({**cells, "cam": [[1]] * 4}, augmentation="crop")])
    clean = table.assign(level=0, lost=0.0)
    got = ranked_beside(pd.concat([clean, table]).assign(score=1.0)).set_index("augmentation")
    assert got.index.tolist() == ["crop", "blur"]
    assert got.loc["blur", ["mean", "random_map", "edges"]].tolist() == [0.25, 0.5, 1]
    assert got.loc["crop", ["p, edges", "than edges"]].tolist() == [1, "undecided"]


def test_shares_of_lines_count_draws_of_noise() -> None:
    noise = swept({"random_map": [[0.5], [0.7], [float("nan")], [0.3]]})
    table = pd.concat([swept({"cam": [[1], [0], [1], [1]]}), noise, noise.assign(model="w")])
    got = lost_shares(table, ["level"]).set_index("model")
    assert got["n"].to_dict() == {"m": 4, "random_map, photos": 3}
    assert got["mean"].tolist() == pytest.approx([0.75, 0.5])
    assert got.loc["m", ["low", "high"]].tolist() == pytest.approx(share(3, 4)[1:])


def test_controls_stand_beside_the_method_once_for_all_models() -> None:
    models = [PairModel(torch.nn.Conv2d(3, 4, 3, 2), size=24, name=name) for name in "xy"]
    table = harmful.sweep_with_controls((models, pairs()), (models[1:], pairs(2)), method="grad_cam", augmentations=FEW, levels=[1])
    counted = table.groupby(["model", "method"]).size().to_dict()
    each = 2 * 2 * 4  # augmentations, levels, pairs
    methods = ("grad_cam", *harmful.CONTROLS)
    assert counted == {**dict.fromkeys([("x", m) for m in methods], each), **dict.fromkeys([("y", m) for m in methods], each + each // 2)}
    table = harmful.sweep_with_controls((models, pairs()), method="grad_cam", augmentations=FEW, levels=[1])
    control = table[table["method"] == "edges"]
    shown = ["augmentation", "level", "pair", "lost", "agreement"]
    first, second = (control[control["model"] == name][shown].reset_index(drop=True) for name in "xy")
    pd.testing.assert_frame_equal(first, second)
    assert set(harmful.against(table)["model"]) == set(harmful.ranked_beside(table)["model"]) == {"x", "y"}


def test_a_pair_grows_harder() -> None:
    model, pair = build("projected").to(torch.float32), pairs(1)
    found = harmful.harder(model, pair, "darkening", "grad_cam")
    assert [level for level, *_ in found] == [0, 1, 2, 3, 4, 5]
    assert torch.equal(found[0][1].b, pair.b)
    _, changed, made = harmful.harder(model, pair, "darkening", "grad_cam", [3])[0]
    assert torch.allclose(changed.b, pair.b * 0.4)
    assert torch.equal(made.b, explain(model, changed, "grad_cam").b)
    assert torch.equal(found[3][2].b, made.b)
    with pytest.raises(InputError, match="unknown augmentation 'fog'; there are: blur"):
        harmful.harder(model, pair, "fog", "grad_cam")


def test_strengths_are_told_as_they_are() -> None:
    table = harmful.levels_table()
    assert table.loc["JPEG"].tolist() == ["quality", "50", "25", "10", "5", "1"]
    assert table.loc["blur", [1, 5]].tolist() == ["0.5", "8.0"]


def test_shares_level_by_level_and_the_strongest_one() -> None:
    shares = lost_shares(swept({"cam": [[1, 1], [1, 1], [0, 1], [0, 1]]}))
    told = told_by(shares, "level", index="model", form=".0%")
    assert told.loc["m", 1].startswith("50% (15% to ")
    many = swept({"cam": [[1]] * 10, "random_map": [[0]] * 10}).assign(level=5)
    few = many.assign(model="w", lost=0.0)
    wide = harmful.at_strongest(pd.concat([few, many, many.assign(level=4, lost=1.0)]))
    assert wide.loc["blur"].to_dict() == {"m": "1.00, noise 0.00: more", "w": "0.00, noise 0.00: undecided"}
