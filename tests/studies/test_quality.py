"""Maps of one image for several classes: grids, shares, overlaps, and the properties that Quantus measures."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from xaicl_lib import InputError, PairModel
from xaicl_lib.data.scenes import scene_set
from xaicl_lib.scores import class_evidence
from xaicl_lib.studies.properties import PROPERTIES, claims_seen, differences, properties
from xaicl_lib.studies.quality import (
    Classifier,
    by_corpus,
    by_logits,
    calibrated,
    contrastivity,
    gains,
    measures,
    scene_classifiers,
    two_object_scenes,
)
from xaicl_lib.studies.tables import means

SALIENCY = {"input x gradient": ("input_x_gradient", {})}


def colours(size: int = 8, name: str = "colours") -> Classifier:
    """Classes red, green and blue; the evidence for each is the mean of its channel, so a map is right on pixels of that colour alone."""
    model = PairModel(nn.Identity(), size=size, mean=(0, 0, 0), std=(1, 1, 1), name=name)
    return Classifier(name, model, tuple(class_evidence(nn.Identity(), k) for k in range(3)))


def blind() -> Classifier:
    """The same evidence for every class: brightness."""
    model = PairModel(nn.Identity(), size=8, mean=(0, 0, 0), std=(1, 1, 1), name="blind")
    return Classifier("blind", model, tuple(class_evidence(lambda z: z.sum(1, keepdim=True).expand(-1, 3), k) for k in range(3)))


def halves(n: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images red on the left and green on the right, in changing brightness."""
    bright = torch.linspace(0.4, 0.9, n).view(n, 1, 1)
    images = torch.zeros(n, 3, 8, 8)
    images[:, 0, :, :4], images[:, 1, :, 4:] = bright, bright
    masks = torch.zeros(n, 2, 8, 8, dtype=torch.bool)
    masks[:, 0, :, :4], masks[:, 1, :, 4:] = True, True
    return images, torch.tensor([[0, 1]]).expand(n, 2), masks


def test_maps_that_know_their_class_and_maps_that_do_not() -> None:
    images, classes, masks = halves()
    found = contrastivity([colours(), blind()], images, classes, masks, SALIENCY).groupby("judge").mean(numeric_only=True)
    assert found.loc["colours", ["share", "contrast", "pointing", "overlap"]].tolist() == pytest.approx([1, 1, 1, 0])
    assert found.loc["blind", ["share", "contrast", "overlap"]].tolist() == pytest.approx([0.5, 0.5, 1])
    assert found["chance"].tolist() == [0.5, 0.5]


def testmeasures_equal_loops() -> None:
    torch.manual_seed(0)
    maps, masks = torch.randn(3, 3, 4, 5), torch.rand(3, 3, 4, 5) < 0.4
    got = measures(maps, masks)
    for n in range(3):
        parts = [[max(float(v), 0.0) for v in maps[n, k].flatten()] for k in range(3)]
        parts = [[v / sum(part) for v in part] for part in parts]
        inside = [[bool(v) for v in masks[n, k].flatten()] for k in range(3)]
        for k in range(3):
            on = [sum(v for v, there in zip(parts[k], inside[j], strict=True) if there) for j in range(3)]
            assert got["share"][n, k].item() == pytest.approx(on[k])
            assert got["contrast"][n, k].item() == pytest.approx(on[k] / sum(on))
            assert got["pointing"][n, k].item() == inside[k][int(np.argmax(parts[k]))]
            shared = [sum(map(min, parts[k], parts[j])) for j in range(3) if j != k]
            assert got["overlap"][n, k].item() == pytest.approx(sum(shared) / 2)


def test_a_map_without_evidence_is_undefined() -> None:
    maps, masks = torch.ones(1, 2, 4, 4), torch.ones(1, 2, 4, 4, dtype=torch.bool)
    maps[0, 1] = -1
    got = measures(maps, masks)
    assert got["share"][0, 0] == 1
    assert all(got[key][0, 1].isnan() for key in ("share", "contrast", "pointing", "overlap"))


def test_scenes_of_two_objects_differ_in_shape() -> None:
    images, masks, facts = two_object_scenes(12)
    assert images.shape == (12, 3, 64, 64)
    assert (facts[:, 0, 0] != facts[:, 1, 0]).all()
    assert not (masks[:, 0] & masks[:, 1]).any()
    assert (masks.flatten(2).sum(2) > 20).all()


def test_evidence_of_a_corpus_is_nearest_mean() -> None:
    torch.manual_seed(2)
    model = PairModel(nn.Identity(), size=8, mean=(0, 0, 0), std=(1, 1, 1))
    z, labels = torch.randn(30, 3), torch.arange(30) % 3
    judge, images = by_corpus(model, z, labels), torch.rand(5, 3, 8, 8)
    unit = torch.nn.functional.normalize(z.double(), dim=1)
    q = torch.nn.functional.normalize(images.double().mean((2, 3)), dim=1)
    want = torch.stack([q @ (unit[labels == k].mean(0) - unit[labels != k].mean(0)) for k in range(3)], 1)
    assert torch.allclose(judge.evidence(images).double(), want, atol=1e-6)
    with pytest.raises(InputError, match="one label for each"):
        by_corpus(model, z, labels[:4])
    with pytest.raises(InputError, match="at least two classes"):
        by_corpus(model, z, torch.zeros(30, dtype=torch.long))


def test_calibration_finds_the_temperature_of_made_up_labels() -> None:
    judge = colours()
    images = torch.rand(4000, 3, 1, 1, generator=torch.Generator().manual_seed(0)).expand(-1, 3, 2, 2)
    true = 0.2
    labels = torch.multinomial((judge.evidence(images) / true).softmax(1), 1, generator=torch.Generator().manual_seed(1))[:, 0]
    assert calibrated(judge, images, labels).temperature == pytest.approx(true, rel=0.1)


def test_evidence_of_a_classifier_is_its_logit() -> None:
    from xaicl_lib import load_model
    from xaicl_lib.zoo import load_classifier

    judge, images = by_logits("scenes_supervised", "cpu"), two_object_scenes(2)[0]
    model = load_model("scenes_supervised", "cpu")
    want = load_classifier("scenes_supervised", "cpu")(model.embed_a(model.normalize(images)))
    assert len(judge.scores) == 8
    assert torch.allclose(judge.evidence(images), want, atol=1e-4)


def test_three_classifiers_of_scenes_differ_in_score_or_training() -> None:
    logits, corpus, contrastive = scene_classifiers(160, "cpu")
    assert [one.name for one in (logits, corpus, contrastive)] == [
        "scenes_supervised, logit", "scenes_supervised, corpus", "scenes_simclr, corpus"
    ]  # fmt: skip
    images, labels, _ = scene_set("train", 64, 160)
    shown = images[:40].float() / 255
    for one in (logits, corpus, contrastive):
        assert (one.evidence(shown).argmax(1) == labels[:40, 0]).float().mean() > 0.3, "of eight shapes"
    assert torch.equal(logits.model.encode(shown), corpus.model.encode(shown))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"classifiers": []}, "names that differ"),
        ({"classifiers": [colours(), colours()]}, "names that differ"),
        ({"classes": torch.zeros(4, 1, dtype=torch.long)}, "at least two classes"),
        ({"masks": torch.zeros(4, 2, 4, 4, dtype=torch.bool)}, "expected masks of shape"),
        ({"classes": torch.tensor([[0, 5]]).expand(4, 2)}, "expected classes from 0 to 2, got 0 to 5"),
    ],
)
def test_bad_input(change, says) -> None:
    images, classes, masks = halves()
    given = {"classifiers": [colours()], "images": images, "classes": classes, "masks": masks, "methods": SALIENCY, **change}
    with pytest.raises(InputError, match=says):
        contrastivity(**given)


def test_averages_and_gains_are_over_images() -> None:
    images, classes, masks = halves()
    table = contrastivity([colours(), blind()], images, classes, masks, {**SALIENCY, "random_map": ("random_map", {})})
    mean = means(table, "judge", "method", value="share", unit="image").set_index(["judge", "method"])
    assert mean.loc[("blind", "input x gradient"), ["mean", "n"]].tolist() == pytest.approx([0.5, 4])
    table = table.assign(family="f")
    gain = gains(table, "share", [("f", "colours", "blind"), ("g", "blind", "colours")])
    assert gain[["method", "mean", "low", "n"]].to_numpy().tolist() == [["input x gradient", pytest.approx(0.5), pytest.approx(0.5), 4]]
    assert gain["p"].item() == 2 / 2**4
    with pytest.raises(InputError, match="unknown judge of the table 'deaf'"):
        gains(table, "share", [("f", "deaf", "blind")])


def test_properties_of_a_linear_network() -> None:
    """Grey images and evidence that is their brightness: every value is worth exactly what the map says."""
    pytest.importorskip("quantus", reason="quantus of requirements.txt is not installed")
    grey = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(3))
    grey[0, :, :8] *= 0.05
    before = torch.get_rng_state()
    got = properties([blind()], grey.expand(2, 3, 16, 16), torch.tensor([0, 1]), SALIENCY, samples=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert set(got["metric"]) == set(PROPERTIES)
    value = got.set_index(["metric", "image"])["value"]
    for n in range(2):
        parts = sorted(grey[n].flatten().double().tolist())
        k, total = len(parts), sum(parts)
        assert value["correlation", n] == pytest.approx(1, abs=1e-4)
        assert value["entropy", n] == pytest.approx(-sum(p / total * math.log(p / total) for p in parts), rel=1e-4)
        assert value["sparseness", n] == pytest.approx(sum((2 * i - k + 1) * v for i, v in enumerate(parts)) / (k * total), rel=1e-3)
    assert (value["perturbation_gap"] == 0).all(), "three classes of equal evidence have probability 1 / 3 whatever is zeroed"
    red = properties([colours(16)], grey.expand(2, 3, 16, 16) * torch.tensor([1, 0.5, 0.2]).view(3, 1, 1), torch.zeros(2).long(), SALIENCY)
    assert (red.set_index("metric").loc["perturbation_gap", "value"] > 0.01).all(), "the most important pixels first cost most"


def judged(shifts: dict[tuple[str, str], float]) -> pd.DataFrame:
    """Two judges on eight images: the new one is off by so much for each metric and method."""
    return pd.DataFrame(
        [
            {"judge": judge, "method": way, "image": k, "metric": metric, "value": k + (shift if judge == "new" else 0)}
            for judge in ("old", "new")
            for (metric, way), shift in shifts.items()
            for k in range(8)
        ]
    )


def test_differences_point_to_the_better_one() -> None:
    table = judged({("entropy", "m"): -2.0, ("entropy", "w"): -1.0, ("sparseness", "m"): 1.0, ("sparseness", "random_map"): 0.0})
    got = differences(table, {"it": ("new", "old")}).set_index(["metric", "method"])
    assert len(got) == 4, "no mean over methods, whose scales differ"
    assert got.loc[("entropy", "m"), ["mean", "low", "high", "n", "said"]].tolist() == [2, 2, 2, 8, "better"], "less entropy is better"
    assert got.loc[("sparseness", "m"), ["mean", "property"]].tolist() == [1, "complexity"]
    assert got.loc[("sparseness", "random_map"), ["p", "said"]].tolist() == [1, "undecided"]
    assert got.loc[("entropy", "m"), "p"] == pytest.approx(4 * 2 / 2**8), "four questions"
    both = differences(table, {"it": ("new", "old"), "back": ("old", "new")})
    assert set(both.loc[both["judge"] == "back", "said"]) == {"worse", "undecided"}
    assert both.loc[both["judge"] == "it", "p"].tolist() == got["p"].tolist(), "each comparison by itself"
    with pytest.raises(InputError, match="unknown judge of the table 'newer'; there are: old, new"):
        differences(table, {"it": ("newer", "old")})


@pytest.mark.parametrize(
    ("shifts", "verdict"),
    [
        ((-1, -1), "seen"),
        ((-1, 0), "seen in part"),
        ((-1, 1), "both ways"),
        ((0, 0), "undecided"),
        ((0, 1), "the opposite in part"),
        ((1, 1), "the opposite is seen"),
    ],
)
def test_claims_hold_for_every_method(shifts: tuple[float, float], verdict: str) -> None:
    cells = {("max_sensitivity", way): float(shift) for way, shift in zip("mw", shifts, strict=True)}
    noise = {("max_sensitivity", "random_map"): -1.0}
    said = claims_seen(differences(judged({**cells, **noise}), {"it": ("new", "old")})).set_index("property")
    assert said.loc["continuity", "verdict"] == verdict
    assert said.loc["continuity", "better"] == {-1: "max_sensitivity (m)", 0: "", 1: ""}[shifts[0]].replace(
        "m)", "m, w)" if shifts[1] < 0 else "m)"
    )
    assert said.loc["continuity", "undecided"] == shifts.count(0)
