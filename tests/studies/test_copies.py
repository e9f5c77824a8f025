"""An object that is there twice: what is drawn, what hiding it costs, and what maps of it are worth."""

import numpy as np
import pytest
import torch
from torch import nn

from xaicl_lib import PairModel
from xaicl_lib.studies import copies
from xaicl_lib.studies.truth import paint


class Brightest(nn.Module):
    """The largest value of each channel: one copy of a thing says as much as two."""

    def forward(self, f: torch.Tensor) -> torch.Tensor:
        return f.amax((2, 3))


@pytest.fixture(scope="module")
def drawn() -> copies._Copies:
    return copies.once_and_twice(4, 32, seed=1)


def test_the_second_copy_stands_where_the_other_object_was(drawn) -> None:
    once, twice = drawn.pairs["once"], drawn.pairs["twice"]
    assert torch.equal(once.b, twice.b)
    assert torch.equal(once.truth.b, twice.truth.b)
    first, second = drawn.single
    assert torch.equal(once.truth.a, first)
    assert torch.equal(twice.truth.a, first | second)
    assert not (first & second).any()
    changed = (once.a - twice.a).abs().amax(1) > 1e-6
    assert torch.equal(once.a * first[:, None], twice.a * first[:, None])
    assert (changed & second).flatten(1).any(1).all()
    areas = drawn.single.flatten(2).sum(2).double()
    assert (areas[0] / areas[1]).numpy() == pytest.approx(1, abs=0.2), "the same object, but for pixels at its edge"


def test_one_copy_stands_in_for_the_other(drawn) -> None:
    model = PairModel(nn.Identity(), Brightest(), size=32, mean=(0.0,) * 3, std=(1.0,) * 3, name="brightest")
    cost = copies.hidden([model], drawn).set_index("painted over")
    pair, both = drawn.pairs["twice"], drawn.pairs["twice"].truth.a

    def score(images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cosine_similarity(images.amax((2, 3)), pair.b.amax((2, 3)))

    want = (score(pair.a) - score(paint(pair.a, both))).mean().item()
    assert cost.loc["both of two", "mean"] == pytest.approx(want, abs=1e-6)
    one = torch.stack([score(pair.a) - score(paint(pair.a, mask)) for mask in drawn.single]).mean().item()
    assert cost.loc["one of two", "mean"] == pytest.approx(one, abs=1e-6)
    assert list(cost.index) == ["the only copy", "one of two", "both of two"]


def test_maps_are_measured_on_side_a_beside_chance(drawn) -> None:
    pair, maps = drawn.pairs["twice"], drawn.single[0].double() + 0.25 * drawn.single[1].double()
    found = copies._measured(maps, pair, drawn.single).pivot(index="pair", columns="metric", values="value")
    area = pair.truth.a.double().mean((1, 2)).numpy()
    assert found["relevance_rank"].to_numpy() == pytest.approx(1 - area)
    assert found["relevance_mass"].to_numpy() == pytest.approx(1 - area)
    sizes = drawn.single.flatten(2).sum(2).double()
    assert found["weaker copy"].to_numpy() == pytest.approx((0.25 * sizes[1] / sizes[0]).numpy())


def test_methods_are_compared_on_the_same_pairs(drawn) -> None:
    features = nn.Sequential(nn.Conv2d(3, 16, 5, 4), nn.ReLU())  # of a map that is nowhere below zero, so that Grad-CAM has one
    model = PairModel(features, nn.Sequential(nn.Tanh(), nn.Flatten()), size=32, name="small")
    found = copies.located([model], drawn, ["grad_cam", "edges"])
    assert found.groupby(["kind", "metric"]).size().to_dict()[("twice", "weaker copy")] == 8
    ahead = copies.ahead_of(found, "grad_cam")
    wide = found[(found["kind"] == "once") & (found["metric"] == "relevance_mass")].pivot(index="pair", columns="method", values="value")
    assert ahead.loc[("once", "relevance_mass", "edges"), "mean"] == pytest.approx(np.mean(wide["edges"] - wide["grad_cam"]))
