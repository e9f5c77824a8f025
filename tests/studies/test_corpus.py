"""The studies of corpora, on small models: rows against single calls, targets, sizes, tests against a control."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from tests.conftest import assert_close, build, random_pair
from xaicl_lib import InputError, Pair, explain, measure
from xaicl_lib.data.corpora import embed_corpus, scenes_of
from xaicl_lib.data.scenes import SHAPES, scene_set
from xaicl_lib.metrics.randomisation import randomised
from xaicl_lib.probes import linear_probe
from xaicl_lib.scores import class_evidence, corpus_similarity, dot
from xaicl_lib.statistics.paired import holm
from xaicl_lib.studies.corpus import (
    METHODS as BOOK,
)
from xaicl_lib.studies.corpus import (
    against,
    between_targets,
    evaluate_corpora,
    explain_corpus,
    gains_without_learning,
    installed,
    likeness,
    over_all_pairs,
    settings,
    shape_corpus,
    shape_settings,
    tally,
    vary_sizes,
)
from xaicl_lib.studies.views_of_photos import (
    CHANGES,
    _Change,
    _crop,
    _cut_out,
    compare_views,
    explain_changes,
    scores_and_agreement,
    shares_kept,
    silent_maps,
)

IMAGES = torch.cat([random_pair(30, seed=3).a * (0.4 + 0.3 * k) for k in range(3)]).float()
LABELS = torch.arange(3).repeat_interleave(30)
NAMES = ["dark", "dim", "bright"]
STEP = 96
METHODS = {
    "Grad-CAM": "grad_cam",
    "to itself": ("conditional_occlusion", {"stride": 6, "target": "label-free"}),
    "random map": "random_map",
}


@pytest.fixture(scope="module")
def model():
    return build("projected").to(torch.float32)


@pytest.fixture(scope="module")
def probe(model):
    return linear_probe(embed_corpus(model, IMAGES), LABELS)


@pytest.fixture(scope="module")
def asked(model):
    return settings(model, IMAGES, LABELS, NAMES, classes=[0, 2], explicands=2, corpus=5, foil=8)


def test_a_class_has_its_own_question_whichever_others_are_asked(model, asked) -> None:
    (alone,) = settings(model, IMAGES, LABELS, NAMES, classes=[2], explicands=2, corpus=5, foil=8)
    assert torch.equal(alone.explicands, asked[1].explicands)
    assert torch.equal(alone.foil, asked[1].foil)
    other = settings(model, IMAGES, LABELS, NAMES, classes=[2], explicands=2, corpus=5, foil=8, seed=1)
    assert not torch.equal(other[0].foil, alone.foil)


def test_no_image_plays_two_parts(model, asked) -> None:
    for one in asked:
        parts = [*one.explicands, *one.corpus, *one.foil]
        assert len({part.numpy().tobytes() for part in parts}) == len(parts)
        own = {image.numpy().tobytes() for image in IMAGES[one.index == LABELS]}
        assert [x.numpy().tobytes() in own for x in one.explicands] == one.same.tolist() == [True, True, False, False]
        assert all(x.numpy().tobytes() in own for x in one.corpus)
        assert not any(x.numpy().tobytes() in own for x in one.foil)
    for wrong in ({"corpus": 15}, {"foil": 40}):
        with pytest.raises(InputError, match="expected at least"):
            settings(model, IMAGES, LABELS, NAMES, **{"explicands": 2, "corpus": 5, "foil": 8, **wrong})
    with pytest.raises(InputError, match="at least two classes"):
        settings(model, IMAGES, torch.zeros(90, dtype=torch.long), NAMES)


def test_targets_are_what_they_say(model, asked) -> None:
    x, (corpus, foil) = asked[0].explicands, asked[0].embedded(model)

    def towards(target: str) -> tuple:
        return "conditional_occlusion", {"stride": 6, "target": target}

    wanted = {"contrastive": corpus_similarity(corpus, foil), "corpus": corpus_similarity(corpus)}
    for target, score in wanted.items():
        assert_close(
            explain_corpus(model, x, towards(target), corpus, foil).a,
            explain(model, Pair(x), "conditional_occlusion", score=score, stride=6).a,
        )
    free = explain_corpus(model, x, towards("label-free"), corpus, foil)
    z = model.embed_a(model.normalize(x))
    assert free.b is None
    assert_close(free.score, (z * z).sum(1), rtol=1e-5)
    pair = explain(model, Pair(x, x), "conditional_occlusion", score=dot, stride=6)  # which moves one side alone
    assert_close(free.a, pair.a, atol=1e-6)
    itself = explain_corpus(model, x[:1], towards("contrastive label-free"), corpus, foil)
    own = corpus_similarity(embed_corpus(model, x[:1]), foil)
    assert_close(itself.a, explain(model, Pair(x[:1]), "conditional_occlusion", score=own, stride=6).a)
    assert float(itself.score) == pytest.approx(1 - float(corpus_similarity(foil)(z[:1], None)), rel=1e-5), "one with itself, less the foil"
    with pytest.raises(InputError, match="unknown target 'foil'"):
        explain_corpus(model, x, ("grad_cam", {"target": "foil"}), corpus, foil)
    with pytest.raises(InputError, match=r"unknown method 'lime'; there are: .*gradient_shap"):
        explain_corpus(model, x, "lime", corpus, foil)


def test_captum_is_complete_repeatable_and_leaves_the_random_state(model, asked) -> None:
    pytest.importorskip("captum")
    x, z = asked[0].explicands, asked[0].embedded(model)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    shap = ("gradient_shap", {"n_samples": 5})
    first, one = (explain_corpus(model, images, shap, *z) for images in (x, x[1:2]))
    assert_close(first.a[1:2], one.a, rtol=1e-4, atol=1e-7)
    assert torch.equal(torch_state, torch.get_rng_state())
    assert (numpy_state == np.random.get_state()[1]).all()
    made = explain_corpus(model, x, ("integrated_gradients", {"n_steps": 200}), *z)
    itself = explain_corpus(model, x, ("integrated_gradients", {"n_steps": 200, "target": "label-free"}), *z)
    own, empty = (model.embed_a(images) for images in (model.normalize(x), torch.zeros_like(x)))
    assert_close(itself.a.sum((1, 2)), ((own - empty) * own).sum(1), rtol=0.02, atol=1e-4), "from a fixed reference, not from both sides"
    black = corpus_similarity(*z)(model.embed_a(torch.zeros_like(x)), None)
    assert_close(made.a.sum((1, 2)), made.score - black, rtol=0.05, atol=1e-3)


def test_rows_are_those_of_single_calls(model, asked, probe) -> None:
    table = evaluate_corpora(model, asked, probe, METHODS, step=STEP)
    assert len(table) == 2 * 4 * len(METHODS) * 4
    assert table["value"].notna().all()
    one = asked[1]
    made = explain_corpus(model, one.explicands, METHODS["Grad-CAM"], *one.embedded(model))
    rows = table[(table["way"] == "Grad-CAM") & (table["corpus"] == "bright")]
    scores = {"similarity": one.held_out, "class probability": class_evidence(probe, 2, probability=True)}
    for what, score in scores.items():
        want = measure(model, Pair(one.explicands), made, ["SI", "SD"], STEP, score=score)
        for name, area in zip(("insertion", "deletion"), want.values(), strict=True):
            got = rows[rows["metric"] == f"{name}, {what}"].sort_values("pair")
            assert got["value"].tolist() == pytest.approx(area.tolist(), rel=1e-5)
            assert got["pair"].tolist() == [4, 5, 6, 7]
            assert got["scenario"].tolist() == ["same class"] * 2 + ["other class"] * 2


def test_gains_are_paired_and_signed() -> None:
    g = np.random.default_rng(0)
    rows = []
    for metric, sign in (("insertion, similarity", 1), ("deletion, similarity", -1)):
        for pair in range(30):
            chance = g.normal()
            for way, gain in (("good", 0.5), ("bad", -0.5), ("random map", 0.0)):
                row = {"model": "m", "corpus": "c", "scenario": "same class", "metric": metric, "way": way, "pair": pair}
                rows.append({**row, "value": chance + sign * gain + 0.1 * g.normal() * (way != "random map")})
    table = pd.DataFrame(rows)
    found = against(table).set_index(["metric", "way"])
    assert found.loc[("insertion, similarity", "good"), "better"]
    assert found.loc[("deletion, similarity", "good"), "better"]
    assert found.loc[("deletion, similarity", "bad"), "worse"]
    wide = table[table["metric"] == "insertion, similarity"].pivot(index="pair", columns="way", values="value")
    p = [float(stats.wilcoxon(wide[way] - wide["random map"]).pvalue) for way in ("good", "bad")]
    assert found.loc["insertion, similarity"].loc[["good", "bad"], "p"].tolist() == pytest.approx(holm(p))
    with pytest.raises(InputError, match="unknown way of the table 'noise'"):
        against(table, "noise")


def test_targets_are_compared_explicand_by_explicand() -> None:
    g = np.random.default_rng(0)
    rows = []
    for metric, sign in (("insertion, similarity", 1), ("deletion, similarity", -1)):
        for pair in range(20):
            easy = 10 * g.normal()  # explicands differ far more than targets
            for way, gain in {"RISE, contrastive": 0.3, "RISE, label-free": 0.0, "IG, contrastive": 0.0, "random map": 0.0}.items():
                row = {"model": "m", "scenario": "same class", "metric": metric, "way": way, "pair": pair}
                rows.append({**row, "value": easy + sign * gain + 0.1 * g.normal()})
    table = pd.DataFrame(rows)
    found = between_targets(table).set_index("metric")
    assert set(found["method"]) == {"RISE"}, "integrated gradients have one target only"
    wide = table.pivot(index=["metric", "pair"], columns="way", values="value")
    p = []
    for metric, sign in (("insertion, similarity", 1), ("deletion, similarity", -1)):
        difference = sign * (wide.loc[metric, "RISE, contrastive"] - wide.loc[metric, "RISE, label-free"])
        assert found.loc[metric, "mean"] == pytest.approx(difference.mean())
        assert found.loc[metric, "effect"] == pytest.approx(difference.mean() / difference.std())
        p.append(float(stats.wilcoxon(difference).pvalue))
    assert found["p"].tolist() == pytest.approx(holm(p))
    assert found["better"].all()
    back = between_targets(table, "label-free")
    assert back["worse"].all()
    assert set(back["other"]) == {"contrastive"}, "of all that there are"
    counts = tally(found.reset_index(), ["scenario"]).iloc[0]
    assert (counts["better"], counts["worse"], counts["questions"]) == (2, 0, 2)
    assert counts["effect"] == pytest.approx(found["effect"].median())
    with pytest.raises(InputError, match="unknown target of the table 'corpus'"):
        between_targets(table, "corpus")


def test_the_whole_corpus_agrees_with_itself(model, asked, probe) -> None:
    method = ("conditional_occlusion", {"stride": 6})
    table = vary_sizes(model, asked[:1], probe, corpus_sizes=(1, 5), foil_sizes=(0, 8), repeats=1, method=method, step=STEP)
    agreement = table[table["metric"] == "agreement"].groupby(["varied", "size"])["value"].mean()
    assert agreement["corpus", 5] == pytest.approx(1)
    assert agreement["foil", 8] == pytest.approx(1)
    assert agreement["corpus", 1] < 1
    one = asked[0]
    alone = explain_corpus(model, one.explicands, ("conditional_occlusion", {"stride": 6, "target": "corpus"}), *one.embedded(model))
    rows = table[(table["varied"] == "foil") & (table["size"] == 0) & (table["metric"] == "insertion, similarity")]
    want = measure(model, Pair(one.explicands), alone, ["SI"], STEP, score=one.held_out)["SI"]
    assert rows["value"].tolist() == pytest.approx(want.tolist(), rel=1e-5)
    for wrong in ({"corpus_sizes": (0,)}, {"corpus_sizes": (6,)}, {"foil_sizes": (9,)}):
        with pytest.raises(InputError, match=r"expected a (corpus|foil) of at most"):
            vary_sizes(model, asked[:1], probe, **{"corpus_sizes": (5,), "foil_sizes": (8,), **wrong})


def test_a_random_model_is_asked_with_its_own_corpora(model, asked, probe) -> None:
    some = {k: METHODS[k] for k in ("Grad-CAM", "random map")}
    table = evaluate_corpora(model, asked[:1], probe, some, step=STEP, shuffled=True)
    one = asked[0]
    shuffled = randomised(model, Pair(one.explicands[:1], one.explicands[:1]))
    made = explain_corpus(shuffled, one.explicands, METHODS["Grad-CAM"], *one.embedded(shuffled))
    want = measure(model, Pair(one.explicands), made, ["SI"], STEP, score=one.held_out)["SI"]
    rows = table[(table["way"] == "Grad-CAM") & (table["metric"] == "insertion, similarity")]
    assert rows["value"].tolist() == pytest.approx(want.tolist(), rel=1e-4)
    agreement = table[table["metric"] == "agreement"].groupby("way")["value"].mean()
    assert agreement["random map"] == pytest.approx(1), "which never looked at the weights"
    assert agreement["Grad-CAM"] < 0.99


def test_randomised_weights_are_the_same_numbers_in_another_order(model) -> None:
    pair = Pair(IMAGES[:1], IMAGES[:1])
    changed = randomised(model, pair)
    weights = [(p, q) for p, q in zip(model._parts.parameters(), changed._parts.parameters(), strict=True) if p.numel() > 10]
    assert all(not torch.equal(p, q) and torch.equal(p.flatten().sort()[0], q.flatten().sort()[0]) for p, q in weights)


def test_ways_of_missing_packages_are_left_out(monkeypatch) -> None:
    assert list(installed()) == list(BOOK)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not any("IG" in label or "SHAP" in label for label in installed())


def test_what_a_crop_keeps_is_what_it_shows() -> None:
    photos = torch.zeros(4, 3, 40, 40)
    photos[:, :, torch.arange(40) % 7 == 3] = 1.0
    g = torch.Generator().manual_seed(1)
    cropped = _crop(photos, g)
    patched = _cut_out(photos, torch.Generator().manual_seed(1))
    assert torch.equal(patched.kept, ~cropped.kept), "the same boxes"
    assert_close(patched.photos[patched.kept.unsqueeze(1).expand_as(photos)], photos[patched.kept.unsqueeze(1).expand_as(photos)])
    hidden = patched.photos.movedim(1, 3)[~patched.kept]
    assert_close(hidden, photos.mean().expand_as(hidden), rtol=1e-5)
    assert 0.2 < cropped.kept.float().mean() < 0.55


def test_photos_are_compared_with_their_own_changes(model) -> None:
    photos, foil = IMAGES[:3], IMAGES[40:50]
    same = {"nothing": lambda x, g: _Change(x), "crop": CHANGES["crop"]}
    occlusion = ("conditional_occlusion", {"stride": 6})
    table = compare_views(model, photos, foil, {"occlusion": occlusion}, changes=same, repeats=2)
    both = compare_views(model, photos, foil, {"Grad-CAM": "grad_cam", "occlusion": occlusion}, changes=same, repeats=2)
    assert both[both["way"] == "occlusion"].reset_index(drop=True).equals(table), "methods see the same changes"
    nothing, cropped = (table[table["augmentation"] == name] for name in ("nothing", "crop"))
    assert nothing["agreement"].to_numpy() == pytest.approx(1)
    z = model.embed_a(model.normalize(photos))
    want = [float(corpus_similarity(z[k : k + 1], embed_corpus(model, foil))(z[k : k + 1], None)) for k in range(3)]
    assert nothing[nothing["draw"] == 0]["score"].tolist() == pytest.approx(want, rel=1e-4)
    assert nothing["inside"].isna().all()
    assert cropped["inside"].between(0, 1).all()
    assert cropped["area"].between(0.2, 0.55).all()
    with pytest.raises(InputError, match="at least one draw"):
        compare_views(model, photos, foil, repeats=0)


def test_a_corpus_of_a_shape_and_its_score(model) -> None:
    corpus, foil, explicand = shape_corpus("ring", 24, seed=3)
    assert (len(corpus), len(foil), len(explicand)) == (50, 140, 1)
    slow = over_all_pairs(model, explicand, corpus, foil)
    assert model.like(corpus, foil)(model.encode(explicand), None).item() == pytest.approx(slow, abs=1e-5)
    one, score = likeness(model, "ring", seed=1)
    assert one.shape == (1, 3, 24, 24)
    rest = scene_set("val", 24, 200)[0].float() / 255
    assert score(model.encode(one), None).item() == pytest.approx(over_all_pairs(model, one, _ring(49), rest), abs=1e-5)


def _ring(count: int) -> torch.Tensor:
    return scenes_of("shape", "ring", 50, 24, generator=torch.Generator().manual_seed(1))[:count]


def test_what_is_gained_without_learning() -> None:
    def of(values: dict[str, list[float]]) -> pd.DataFrame:
        frames = [pd.DataFrame({"way": way, "pair": range(len(v)), "metric": "m", "value": v}) for way, v in values.items()]
        return pd.concat(frames)

    learned, shuffled = (
        of({"cam": [3.0, 5, 4], "other": [0.0] * 3, "random map": [1.0, 2, 3]}),
        of({"cam": [1.0, 3, 2], "random map": [1.0, 2, 3]}),
    )
    found = gains_without_learning(learned, shuffled, "m").set_index("weights")
    assert found["way"].tolist() == ["cam", "cam"], "only what was asked of both"
    assert found["mean"].to_dict() == {"learned": 2, "random order": 0}


def test_what_a_crop_kept_is_counted_photo_by_photo() -> None:
    rows = [
        {"way": way, "augmentation": name, "pair": pair, "draw": draw, "score": pair, "agreement": 0.5, "inside": inside, "area": area}
        for way, inside in (("occlusion", np.nan), ("cam", 0.75)) for name, area in (("crop", 0.25), ("blur", np.nan))
        for pair in (0, 1) for draw in (0, 1)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    table.loc[table["augmentation"] == "blur", "inside"] = np.nan
    assert silent_maps(table).to_numpy().tolist() == [["occlusion", "crop", 4]], "what was kept of a blurred photo is not asked"
    assert shares_kept(table)[["way", "mean", "n"]].to_numpy().tolist() == [["cam", 0.75, 2], ["its area", 0.25, 2]]
    found = scores_and_agreement(table, "occlusion").set_index(["augmentation", "measure"])["mean"]
    assert found["crop", "score"] == found["crop", "agreement"] == 0.5


def test_changes_of_a_photo_are_explained_one_by_one(model) -> None:
    made, seen = explain_changes(model, IMAGES[:1], IMAGES[40:50], "grad_cam", seed=2)
    assert list(made) == list(seen) == list(CHANGES)
    change = CHANGES["crop"](IMAGES[:1], torch.Generator().manual_seed(2)).photos
    assert torch.equal(seen["crop"], change[0])
    want = explain(model, Pair(IMAGES[:1]), "grad_cam", score=model.like(change, IMAGES[40:50]))
    assert_close(made["crop"].a, want.a, atol=1e-6)


def test_questions_about_shapes(model) -> None:
    (one,), probe = shape_settings(model, 600, classes=[1], explicands=2, seed=1)
    assert (one.name, one.index, len(one.explicands), len(one.corpus), len(one.foil)) == (SHAPES[1], 1, 4, 30, 100)
    learned, known, _ = scene_set("train", 24, 600)
    want = linear_probe(embed_corpus(model, learned.float() / 255), known[:, 0])
    assert_close(probe(model.encode(one.explicands)), want(model.encode(one.explicands)))
