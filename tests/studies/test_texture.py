"""The choice between shape and texture: on images whose scores are known, and against slow re-implementations."""

import math

import pandas as pd
import pytest
import torch
from scipy.stats import binomtest, wilcoxon

from tests.conftest import DATA, build
from xaicl_lib import InputError, Pair, PairModel, explain
from xaicl_lib.data.cue_conflict import Stimuli, cue_conflict
from xaicl_lib.data.scenes import FACTORS, draw_pairs, scene_pairs
from xaicl_lib.metrics.localisation import overlap
from xaicl_lib.statistics.bootstrap import share
from xaicl_lib.studies import texture
from xaicl_lib.studies.texture import Trials, _paired, _spread, choose, photo_trials, scene_trials, versus, won

PARTNERS = {"shape": torch.tensor([1, 1, 1]), "texture": torch.tensor([2, 3, 1]), "nothing": torch.tensor([3, 3, 3])}


def colours(*rgb: tuple[float, float, float]) -> torch.Tensor:
    """Images of one colour each."""
    return torch.tensor(rgb).view(-1, 3, 1, 1).expand(-1, 3, 8, 8).contiguous()


@pytest.fixture
def seen() -> PairModel:
    """A model that sees the mean colour and nothing else."""
    return PairModel(torch.nn.Identity(), size=8, name="seen")


RGB = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0, 0.0), (0.0, 1.0, 1.0)]
TRIALS = Trials("photos", colours(*RGB), ["red", "green", "yellow", "cyan"], torch.tensor([0, 2, 2]), PARTNERS)


def test_the_more_similar_partner_wins(seen) -> None:
    table = choose([seen], TRIALS, method="grad_cam").set_index(["cue", "stimulus", "draw"]).sort_index()
    half = math.sqrt(0.5)
    assert table.loc["shape", "score"].tolist() == pytest.approx([0, half, half])
    assert table.loc["texture", "score"].tolist() == pytest.approx([half, 0.5, half], rel=1e-6)
    assert table.loc["nothing", "score"].tolist() == pytest.approx([0, 0.5, 0.5])
    assert table.loc["texture", "lift"].tolist() == pytest.approx([half, 0, half - 0.5], abs=1e-6)
    assert table.loc["texture", "wins"].tolist() == [True, False, False], "an equal score is no win"
    assert table.loc[["shape", "nothing"], "wins"].isna().all()
    assert table.loc[("texture", 2, 1), ["name", "partner"]].tolist() == ["yellow", "green"]


def test_rows_are_those_of_the_method(projected) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(9, 3, 24, 24, generator=generator) * torch.rand(9, 3, 1, 1, generator=generator)
    objects = torch.rand(4, 24, 24, generator=generator) > 0.7
    partners = {cue: torch.randint(4, 9, (4,), generator=generator) for cue in ("shape", "texture", "nothing")}
    trials = Trials("scenes", images, [str(k) for k in range(9)], torch.arange(4), partners, objects)
    model = projected.to(torch.float32)
    table = choose([model], trials, method="grad_cam").set_index(["cue", "stimulus"])
    for k in range(4):
        made = {cue: explain(model, Pair(images[k : k + 1], images[p[k] : p[k] + 1]), "grad_cam") for cue, p in partners.items()}
        energy = {cue: one.a[0].clamp_min(0) / one.a[0].clamp_min(0).sum() for cue, one in made.items()}
        row = table.loc[("texture", k)]
        assert row["score"] == pytest.approx(made["texture"].score.item(), rel=1e-4)
        common = sum(min(x, y) for x, y in zip(energy["texture"].flatten().tolist(), energy["shape"].flatten().tolist(), strict=True))
        assert row["overlap"] == pytest.approx(common, rel=1e-4)
        resized = made["texture"].maps(24)[0][0].clamp_min(0)
        assert row["on_object"] == pytest.approx((resized[objects[k]].sum() / resized.sum()).item(), rel=1e-4)
        assert row["area"] == pytest.approx(objects[k].double().mean().item())
        n = (k + 1) % 4
        other = explain(model, Pair(images[n : n + 1], images[partners["shape"][n]][None]), "grad_cam").a
        assert row["overlap_other"] == pytest.approx(overlap(made["texture"].a, other).item(), rel=1e-4)


def test_another_image_is_never_the_same_one(seen) -> None:
    table = choose([seen], TRIALS, method="random_map")
    some = table[table["cue"] == "texture"].set_index(["stimulus", "draw"])["overlap_other"]
    assert some.loc[2].nunique() == 1, "both draws beside the map of the other stimulus"
    assert (some < 0.999).all(), "stimulus 2 was drawn twice, and is not compared with itself"


def test_overlap_is_the_common_energy() -> None:
    x = torch.tensor([[[1.0, 0.0], [3.0, -5.0]]])
    assert overlap(x, 7 * x).item() == pytest.approx(1), "scale does not count, negative values neither"
    assert overlap(x, x.flip(2)).item() == 0
    assert overlap(x, torch.ones(1, 2, 2)).item() == pytest.approx(0.5)
    assert overlap(x, -x).item() == pytest.approx(0)
    assert overlap(x, torch.zeros(1, 2, 2)).isnan().all()


def stimuli(classes: int = 5, each: int = 6) -> Stimuli:
    """Stimuli of every shape photo with every texture photo, of which each class has a few; nothing to see in them."""
    kinds = [f"c{k}" for k in range(classes)]
    rows = [(s, a, t, b) for s in range(classes) for a in range(each) for t in range(classes) for b in range(2)]
    shape, first, texture, second = torch.tensor(rows).T
    names = [f"c{s}{a}-c{t}{b}" for s, a, t, b in rows]
    images = torch.zeros(1, 3, 8, 8).expand(len(rows), -1, -1, -1)
    return Stimuli(images, names, kinds, shape, texture, 100 * shape + first, 100 * texture + second)


def test_photo_partners_share_one_cue_and_no_photo() -> None:
    trials = photo_trials(stimuli(), repeats=3)
    parts = [(name[1], name[2], name[5], name[6]) for name in trials.names]  # shape, its photo, texture, its photo
    shared = {"shape": (True, False), "texture": (False, True), "nothing": (False, False)}
    for cue, partner in trials.partners.items():
        for k, p in zip(trials.stimulus.tolist(), partner.tolist(), strict=True):
            (shape, a, texture, b), (shape_p, a_p, texture_p, b_p) = parts[k], parts[p]
            assert shape != texture, "cues conflict"
            assert shape_p != texture_p
            assert (shape == shape_p, texture == texture_p) == shared[cue]
            assert (shape, a) != (shape_p, a_p), "another photo of the shape"
            assert (texture, b) != (texture_p, b_p), "another photo of the texture"
            assert shape != texture_p, "the shape is not on the other side as a texture"
            assert texture != shape_p
        rows = partner.view(-1, 3)
        assert all(len(set(row)) == 3 for row in rows.tolist()), "each time another partner"
    assert len(trials) == 3 * 5 * 6 * 4 * 2
    assert len(set(trials.partners["texture"].tolist())) > 100, "partners differ between images"


def test_trials_can_be_few_and_cannot_be_made_of_too_few() -> None:
    few = photo_trials(stimuli(), repeats=2, limit=5)
    assert few.stimulus.tolist() == [k for k in few.stimulus.unique().tolist() for _ in range(2)]
    assert len(few.stimulus.unique()) == 5
    chosen = [photo_trials(stimuli(), limit=n) for n in (20, 60)]
    for trials, each in zip(chosen, (1, 3), strict=True):
        pairs = [(trials.names[k][1], trials.names[k][5]) for k in trials.stimulus.tolist()]
        assert sorted(pairs) == sorted((f"{s}", f"{t}") for s in range(5) for t in range(5) if s != t for _ in range(each))
    assert set(chosen[0].stimulus.tolist()) < set(chosen[1].stimulus.tolist()), "more of them begin with the same"
    with pytest.raises(InputError, match="with 40 partners for each cue, got none among 300"):
        photo_trials(stimuli(), repeats=40)
    with pytest.raises(InputError, match="partners that share nothing, got those that share shape"):
        Trials("x", colours(*RGB), [], torch.tensor([0]), {"shape": torch.tensor([1])})
    with pytest.raises(InputError, match="at least two trials"):
        choose([build("headless")], Trials("x", colours(*RGB), ["a"] * 4, torch.tensor([0]), {k: v[:1] for k, v in PARTNERS.items()}))


def test_scene_partners_are_twins_that_differ_in_the_cue_alone() -> None:
    n = 40
    trials = scene_trials(n, 32, seed=5)
    assert torch.equal(trials.stimulus, torch.arange(n))
    for cue, partner in trials.partners.items():
        kind = "nothing_shared" if cue == "nothing" else f"same_{cue}"
        pair = scene_pairs(n, kind, 32, torch.Generator().manual_seed(5))
        assert torch.equal(trials.images[:n], pair.a), "the same scene is asked about"
        assert torch.equal(trials.images[partner], pair.b)
    drawn = {cue: draw_pairs(n, f"same_{cue}", torch.Generator().manual_seed(5)) for cue in ("shape", "texture", "colour", "background")}
    plain = draw_pairs(n, "nothing_shared", torch.Generator().manual_seed(5))
    for cue, (a, b) in drawn.items():
        column = list(FACTORS).index(cue)
        others = [k for k in range(6) if k != column]
        assert (a.labels[:, column] == b.labels[:, column]).all()
        assert (a.labels[:, others] != b.labels[:, others]).all(), "everything else differs"
        assert torch.equal(b.labels[:, others], plain[1].labels[:, others]), "twin of the partner that shares nothing"
    assert trials.objects.float().mean() == pytest.approx(
        scene_pairs(n, "same_shape", 32, torch.Generator().manual_seed(5)).truth.a.float().mean()
    )
    assert trials.names[0].endswith(trials.names[n * 4].split()[-1]), "the partner of the same background says so"


def rows(model: str, wins: list[list[bool]], cue: str = "texture") -> pd.DataFrame:
    """Trials of a model: for every stimulus the outcomes of its draws."""
    return pd.DataFrame(
        [
            {"model": model, "data": "photos", "cue": cue, "stimulus": k, "draw": d, "wins": win, "lift": float(win)}
            for k, draws in enumerate(wins)
            for d, win in enumerate(draws)
        ]
    ).astype({"wins": "boolean"})


def test_shares_of_single_draws_are_wilsons() -> None:
    found = won(rows("m", [[True]] * 7 + [[False]] * 3)).iloc[0]
    assert (found["mean"], found["low"], found["high"]) == pytest.approx(share(7, 10))
    assert (found["n"], found["clusters"]) == (10, 10)


def test_repeated_draws_are_no_new_observations() -> None:
    wins = [[k % 2 == 0] for k in range(40)]
    once, ten = (won(rows("m", [draws * times for draws in wins])).iloc[0] for times in (1, 10))
    assert ten["mean"] == once["mean"] == 0.5
    assert (ten["n"], ten["clusters"]) == (400, 40)
    assert ten["high"] - ten["low"] == pytest.approx(once["high"] - once["low"], rel=0.1), "as wide as without repeating"
    assert share(200, 400)[2] - share(200, 400)[1] < 0.4 * (ten["high"] - ten["low"])
    by_other = won(rows("m", wins).assign(photo=[k // 10 for k in range(40)]), cluster="photo").iloc[0]
    assert by_other["clusters"] == 4
    with pytest.raises(InputError, match="unknown column 'place'"):
        won(rows("m", wins), cluster="place")


def test_pairs_of_models_are_tested_trial_against_trial() -> None:
    base = [[False]] * 9 + [[True]] + [[True]] * 5
    more = [[True]] * 9 + [[False]] + [[True]] * 5
    table = pd.concat([rows("base", base), rows("more", more), rows("same", base)])
    found = _paired(table, "base").set_index("model")
    assert found.loc["more", "difference"] == pytest.approx(8 / 15)
    assert found.loc["more", ["more", "fewer", "n"]].tolist() == [9, 1, 15]
    assert found.loc["more", "p"] == pytest.approx(2 * binomtest(9, 10).pvalue), "McNemar's exact test, twice for two comparisons"
    assert found.loc["more", "low"] > 0
    assert found.loc["same", ["difference", "p"]].tolist() == [0, 1]
    reverse = _paired(table, "more").set_index("model")
    assert reverse.loc["base", "difference"] == pytest.approx(-8 / 15)
    with pytest.raises(InputError, match="unknown model of the table 'none'; there are: base, more, same"):
        _paired(table, "none")


def test_stimuli_of_one_source_count_once() -> None:
    """Ten sources of three stimuli each: nine sources for, one against, whatever happens within them."""
    base = [[False]] * 27 + [[True]] * 3
    more = [[True]] * 27 + [[False]] * 3
    table = pd.concat([rows("base", base), rows("more", more)])
    table = table.assign(photo=table["stimulus"] // 3)
    found = _paired(table, "base", cluster="photo").iloc[0]
    assert found[["more", "fewer", "n"]].tolist() == [9, 1, 10]
    assert found["p"] == pytest.approx(wilcoxon([1.0] * 9 + [-1.0]).pvalue)
    alone = _paired(table, "base").iloc[0]
    assert found["difference"] == pytest.approx(alone["difference"])
    assert found["high"] - found["low"] > 1.4 * (alone["high"] - alone["low"]), "ten are fewer than thirty"
    assert found["p"] > 10 * alone["p"]


def test_both_partners_side_by_side(seen) -> None:
    table = choose([seen], TRIALS, method="grad_cam")
    both = versus(table)
    assert both["shape_partner"].tolist() == ["green"] * 3
    assert both["partner"].tolist() == ["yellow", "cyan", "green"]
    assert (both["margin"] > 0).tolist() == both["wins"].tolist()
    assert both["margin"].tolist() == pytest.approx([math.sqrt(0.5), 0.5 - math.sqrt(0.5), 0], abs=1e-6)
    assert _spread([3.0, 1.0, 2.0, 5.0, 4.0], 3) == [1, 0, 3], "smallest, middle, largest"
    assert _spread([1.0], 9) == [0]


def test_the_real_images_have_enough_partners() -> None:
    folder = DATA / "cue-conflict"
    if not folder.is_dir():
        pytest.skip("no cue-conflict images here")
    trials = photo_trials(cue_conflict(16, folder, limit=640))
    assert len(trials) > 500


def of(model: str, data: str, cue: str, values: dict[str, list], name: str = "cat1-dog2") -> pd.DataFrame:
    """Rows of one cue, a stimulus each."""
    count = len(next(iter(values.values())))
    facts = {"model": model, "data": data, "cue": cue, "stimulus": range(count), "name": name, "partner": "x"}
    return pd.DataFrame({**facts, **values})


def test_of_each_kind_of_data_the_table_of_more_models_is_taken() -> None:
    live = [of("b", "scenes", "texture", {"lift": [0.0] * 5}), of("a", "photos", "texture", {"lift": [1.0]})]
    stored = pd.concat([of(m, d, "texture", {"lift": [9.0]}) for m in "ab" for d in ("photos", "scenes")]).assign(method="cam")
    stored = stored[(stored["model"] == "b") <= (stored["data"] == "scenes")]
    table = texture.completed(live, pd.concat([stored, stored.assign(method="other")]), ["b", "a"], "cam")
    assert table[["model", "data", "lift"]].to_numpy().tolist() == [["a", "photos", 1], ["b", "scenes", 9], ["a", "scenes", 9]]
    for nothing in (None, stored.assign(method="other")):
        assert texture.completed(live, nothing, ["a", "b"], "cam")["lift"].tolist() == [1, 0, 0, 0, 0, 0]


def test_maps_overlap_with_those_of_other_partners_and_of_another_image() -> None:
    both = {"overlap": [0.8, 0.6], "overlap_other": [0.5, 0.1]}
    table = pd.concat([of("m", "photos", cue, both) for cue in ("texture", "nothing", "shape")])
    table.loc[table["cue"] == "nothing", "overlap"] = 0.4
    means = texture.overlaps(table).set_index("cue")["mean"]
    assert means.to_dict() == pytest.approx({"same texture": 0.7, "nothing shared": 0.4, "another image": 0.3})
    few = table.assign(method="fine")[lambda t: t["stimulus"] == 1]
    by = texture.overlaps(pd.concat([table.assign(method="cam"), few]), ["method", "cue"]).set_index(["method", "cue"])["mean"]
    assert by[("cam", "same texture")] == by[("fine", "same texture")] == pytest.approx(0.6), "of the image that both were asked about"
    assert by.index.get_level_values("cue").unique().tolist() == ["same texture", "nothing shared", "another image"]
    assert texture.overlaps(table.assign(method="cam"), ["method", "cue"]).empty


def test_tables_of_cues_and_objects() -> None:
    table = pd.concat([of("m", "scenes", cue, {"lift": lift, "on_object": lift, "area": [0.2, 0.4], "wins": wins}) for cue, lift, wins in (
        ("shape", [-1.0, 0.5], [None, None]), ("texture", [1.0, 2.0], [True, False]))]).astype({"wins": "boolean"})  # fmt: skip
    cues = texture.cue_table(table).loc[("scenes", "m")]
    assert cues["texture: share"].startswith("100% (")
    assert cues[["shape: mean lift", "texture: mean lift"]].tolist() == [-0.25, 1.5]
    assert texture.on_object(table).loc["m"].to_dict() == pytest.approx({"shape": -0.25, "texture": 1.5, "area of the object": 0.3})


def test_models_are_compared_with_those_they_can_be_compared_with() -> None:
    photos = [of(m, "photos", "texture", {"wins": wins}, "cat1-dog2") for m, wins in (("supervised", [0, 1]), ("x", [1, 1]))]
    scenes = [of(m, "scenes", "texture", {"wins": [1.0, 0.0]}) for m in ("scenes_supervised", "scenes_simclr", "scenes_twin", "x")]
    found = texture.against_references(pd.concat([*photos, *scenes]))
    assert found.index.tolist() == [
        ("supervised", "x"), ("scenes_supervised", "scenes_simclr"), ("scenes_supervised", "scenes_twin"), ("scenes_simclr", "scenes_twin"),
    ]  # fmt: skip
    assert found.loc[("supervised", "x"), ["more", "fewer", "p"]].tolist() == [1, 0, 1], "both photos have one texture"
    assert found.loc[("supervised", "x"), "difference"].startswith("+0.50 (")


def test_shares_by_the_class_of_the_texture() -> None:
    table = pd.concat([
        of("b", "photos", "texture", {"wins": [True, True]}, "cat1-dog12"),
        of("a", "photos", "texture", {"wins": [True, False]}, "cat1-owl3"),
        of("b", "photos", "texture", {"wins": [False, False]}, "cat1-owl4"), of("a", "photos", "texture", {"wins": [True]}, "cat2-dog1"),
    ]).assign(stimulus=range(7))  # fmt: skip
    grid = texture.by_texture(table)
    assert grid.index.tolist() == ["dog", "owl"]
    assert grid["b"].tolist() == [1, 0]
    assert grid["a"].tolist() == [1, 0.5]
    assert won(table, ["model"], cluster="photo")["clusters"].tolist() == [2, 2]


def test_trials_go_from_shape_to_texture(seen) -> None:
    table = choose([seen], TRIALS, method="grad_cam")
    rows, names = texture.from_shape_to_texture(seen, TRIALS, table, "grad_cam", 2)
    assert names == [["-0.21", "yellow, green", "yellow, cyan"], ["+0.71", "red, green", "red, yellow"]]
    assert torch.equal(rows["shape"][0].a, TRIALS.images[[2, 0]])
    assert torch.equal(rows["texture"][0].b, TRIALS.images[[3, 2]])
    assert rows["texture"][1].score.tolist() == pytest.approx([0.5, math.sqrt(0.5)])
    by_size = choose([seen], {8: TRIALS}, method="grad_cam")
    pd.testing.assert_frame_equal(by_size, table)


def test_intervals_are_over_what_was_drawn() -> None:
    """Ten times the same trials of a few textures say no more than once."""
    rows = [
        {"cue": cue, "stimulus": k, "name": f"bear{k % 5}-clock{k % 4}", "lift": 0.1 * (-1) ** (k % 4), "overlap": 0.1 * (k % 4)}
        for cue in ("shape", "texture")
        for k in range(20)
    ]
    once = pd.DataFrame(rows).assign(data="photos", model="m", overlap_other=0.2, wins=None)
    more = pd.concat([once.assign(stimulus=once["stimulus"] + 100 * k) for k in range(10)])
    assert texture.cue_table(once).loc[("photos", "m"), "texture: share"] == texture.cue_table(more).loc[("photos", "m"), "texture: share"]
    one, other = (texture.overlaps(table.assign(cue="texture"))[["mean", "low", "high"]] for table in (once, more))
    pd.testing.assert_frame_equal(one, other)
    with pytest.raises(InputError, match="expected a photo of each trial to draw again"):
        texture.won(once.assign(wins=True, name="a red star"), cluster="photo")
