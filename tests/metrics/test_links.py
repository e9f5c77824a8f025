"""Metrics of links: closed forms on linear models, matchings by hand, and what cannot be measured."""

import pytest
import torch
from torch import nn

from tests.conftest import assert_close
from tests.methods.test_words import linear
from xaicl_lib import Explanation, InputError, Pair, PairModel, explain, measure
from xaicl_lib.methods.words import explain_words
from xaicl_lib.metrics.links import _links_of, _matching, measure_words
from xaicl_lib.pair import Truth
from xaicl_lib.scores import dot


def test_matchings_by_hand() -> None:
    links = torch.tensor([[5.0, 9.0, 0.0], [6.0, 8.0, 1.0], [2.0, 3.0, 4.0]])
    a, b = _matching(links)  # 0 with 1, then 1 with 0, then what is left
    assert (a.tolist(), b.tolist()) == ([0, 1, 2], [1, 0, 2])
    wide = torch.tensor([[1.0, 2.0, 3.0, 4.0, 0.0], [9.0, 0.0, 5.0, 6.0, 0.0]])
    a, b = _matching(wide)  # the second with cells 0 and 3, then the first with all others
    assert (a.tolist(), b.tolist()) == ([1, 0], [0, 1, 1, 0, 1])
    for one, other in zip(_matching(wide.T), (b, a), strict=True):
        assert torch.equal(one, other)


def sums() -> PairModel:
    """Each cell is a patch of 6 x 6 pixels, and an embedding the mean of what a linear map makes of patches."""
    torch.manual_seed(0)
    model = PairModel(nn.Conv2d(3, 5, 6, 6, bias=False), size=24)
    return model.to(torch.float64)


def by_hand(joint: torch.Tensor, when_a: torch.Tensor, when_b: torch.Tensor, steps: int, inserting: bool) -> float:
    """The area of a curve whose points are sums over the links both of whose ends are there: what a score that is bilinear is."""
    scores = []
    for k in range(steps + 1):
        gone_a, gone_b = when_a < k, when_b < k
        there = (gone_a, gone_b) if inserting else (~gone_a, ~gone_b)
        scores.append(float(joint[there[0]][:, there[1]].sum()))
    return sum(scores[1:-1]) / steps + (scores[0] + scores[-1]) / 2 / steps


@pytest.mark.parametrize("good", [1.0, -1.0])
def test_closed_form_on_a_linear_model(good) -> None:
    model, pair = sums(), Pair(torch.rand(2, 3, 24, 24).double(), torch.rand(2, 3, 24, 24).double())
    f = [model.features_a(side).flatten(2).mT / 16 for side in pair.sides]  # (n, p, c)
    joint = torch.einsum("npc,nqc->npq", *f)  # what each pair of cells adds to the inner product
    given = (good * joint).view(2, 4, 4, 4, 4)
    made = Explanation(given.sum((3, 4)), given.sum((1, 2)), torch.zeros(2), joint=given)
    found = measure(model, pair, made, ["LI", "LD"], score=dot, link_insertion="zero", points=16)
    for k in range(2):
        when = _matching(good * joint[k])
        assert found["LI"][k].item() == pytest.approx(by_hand(joint[k], *when, 16, True), abs=1e-9)
        assert found["LD"][k].item() == pytest.approx(by_hand(joint[k], *when, 16, False), abs=1e-9)
    few, curves = measure(model, pair, made, ["LD"], score=dot, points=4, curves=True)
    assert_close(curves.points["LD"][:, 0, 0], joint.sum((1, 2)))
    assert_close(curves.points["LD"][:, 0, -1], torch.zeros(2), atol=1e-12)
    assert curves.points["LD"].shape == (2, 1, 5)
    assert len(few) == 1


def test_true_links_are_better_than_false_ones_and_than_maps_alone() -> None:
    model, pair = sums(), Pair(torch.rand(6, 3, 24, 24).double(), torch.rand(6, 3, 24, 24).double())
    made = explain(model, pair, "deep_similarity")
    turned = Explanation(-made.a, -made.b, made.score, joint=-made.joint)
    good, bad = (measure(model, pair, one, ["LI", "LD"], score=dot, link_insertion="zero") for one in (made, turned))
    assert (good["LI"] > bad["LI"]).all()
    assert (good["LD"] < bad["LD"]).all()
    of_maps = _links_of(explain(model, pair, "conditional_occlusion"))
    assert of_maps.shape == (6, 8, 8, 8, 8)
    assert of_maps.min() >= 0


def test_words_and_cells_in_closed_form() -> None:
    model, x, text = linear(), torch.rand(2, 3, 24, 24), "ab c abd ef"
    made = explain_words(model, x, [text, text])
    side = model._parts["text"]
    z = side([text])[0]
    found = measure_words(model, x, [text, text], made, score=dot, insertion="zero")
    for k, one in enumerate(made):
        norm = float(model.embed_a(x[k : k + 1]).norm() * z.norm())
        bias = model.features_a.bias
        frame = side.encode(side.read([text]) * 0 + side.read([text]) * (side.read([text]) == 27))[0]  # all words blank
        when = _matching(one.joint.flatten(1))
        cells, words = (model.features_a(x[k : k + 1])[0].flatten(1).T - bias) / 16, one.words
        vectors = side.letters.weight - side.letters.weight[0]
        u = torch.stack([sum(vectors[ord(letter) - 96] for letter in word) for word in words]) @ side.after.weight.T
        for column, inserting in (("LI", True), ("LD", False)):
            scores = []
            for step in range(5):
                w, p = ((w < step) if inserting else (w >= step) for w in when)
                scores.append(float((cells[p].sum(0) + bias) @ (frame + u[w].sum(0))))
            want = sum(scores[1:-1]) / 4 + (scores[0] + scores[-1]) / 8
            assert found[column][k].item() == pytest.approx(want, rel=1e-3, abs=1e-4 * norm)
    with pytest.raises(InputError, match="unknown baseline 'none'"):
        measure_words(model, x, [text, text], made, deletion="none")


def test_the_strongest_link_points_at_the_truth_with_both_ends() -> None:
    joint = torch.zeros(4, 2, 2, 2, 2)
    joint[0, 0, 0, 1, 1] = joint[1, 0, 0, 0, 0] = joint[2, 1, 0, 1, 1] = 3.0
    truth = torch.zeros(4, 8, 8, dtype=torch.bool)
    truth[:, :4, :4] = True
    half = truth.clone()
    half[:, :, 2:4] = False  # of the cell on side a
    pair = Pair(torch.rand(4, 3, 8, 8), torch.rand(4, 3, 8, 8), Truth(half, truth.flip(1, 2)))
    made = Explanation(joint.sum((3, 4)), joint.sum((1, 2)), torch.zeros(4), joint=joint)
    model = PairModel(nn.Identity(), size=8)
    found = measure(model, pair, made, ["link_pointing"])["link_pointing"]
    assert found.tolist() == pytest.approx([0.5, 0, 0, 0.5 / 16])  # by chance: an eighth times a quarter
    none = Truth(half & False, truth)
    assert measure(model, Pair(pair.a, pair.b, none), made, ["link_pointing"])["link_pointing"].isnan().all()


def test_what_cannot_be_measured() -> None:
    model, pair = sums(), Pair(torch.rand(1, 3, 24, 24), torch.rand(1, 3, 24, 24))
    made = explain(model, pair, "deep_similarity")
    with pytest.raises(InputError, match="at least one point of a curve, got 0"):
        measure(model, pair, made, ["LI"], points=0)
    with pytest.raises(InputError, match="unknown baseline 'none'"):
        measure(model, pair, made, ["LI"], link_deletion="none")
    with pytest.raises(InputError, match="whose shared evidence is known"):
        measure(model, pair, made, ["link_pointing"])


@pytest.mark.parametrize(("p", "q"), [(36, 64), (36, 49), (11, 64), (8, 64), (5, 5), (1, 7)])
def test_both_sides_change_by_the_same_share_in_each_step(p: int, q: int) -> None:
    when_p, when_q = _matching(torch.rand(p, q))
    for step in range(p):
        assert (when_p <= step).sum() == step + 1
        assert (when_q <= step).sum() == (step + 1) * q // p
