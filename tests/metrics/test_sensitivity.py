"""Max sensitivity against a loop over draws, and its limits."""

import pytest
import torch

from tests.conftest import assert_close, random_pair
from xaicl_lib import Explanation, InputError, Pair, PairModel, explain
from xaicl_lib.metrics import measure
from xaicl_lib.metrics.randomisation import randomisation
from xaicl_lib.scores import dot


def slow(model: PairModel, pair: Pair, method: str, radius: float, draws: int, **options) -> torch.Tensor:
    """Noise put into the model's own normalisation, one pair and draw at a time."""
    g, values = torch.Generator().manual_seed(0), []
    noises = [torch.empty(3, 24, 24).uniform_(-radius, radius, generator=g) for _ in range(draws)]
    for k in range(len(pair)):
        before, most = explain(model, pair[k], method, **options), [0.0, 0.0]
        for u in noises:
            noisy = PairModel(
                _Plus(u, model.features_a), model.head_a, size=24, mean=model._mean.flatten().tolist(), std=model._std.flatten().tolist()
            )
            after = explain(noisy, pair[k], method, **options)
            for side, (x, y) in enumerate(((before.a, after.a), (before.b, after.b))):
                most[side] = max(most[side], ((x - y).norm() / x.norm()).item())
        values.append(sum(most) / 2)
    return torch.tensor(values)


class _Plus(torch.nn.Module):
    def __init__(self, noise: torch.Tensor, features: torch.nn.Module) -> None:
        super().__init__()
        self.noise, self.features = noise, features

    def forward(self, x):
        return self.features(x + self.noise.to(x))


@pytest.mark.parametrize("method", ["grad_cam", "deep_similarity"])
def test_equals_the_definition(projected, pair, method) -> None:
    got = measure(projected, pair, explain(projected, pair, method), ["max_sensitivity"], draws=3)
    assert_close(got["max_sensitivity"], slow(projected, pair, method, 0.2, 3), rtol=1e-5)


def test_a_linear_model_knows_its_gradient_everywhere(pair) -> None:
    """The map x * gradient of a linear score of side a moves as x does: |u * g| / |x * g|."""
    model = PairModel(torch.nn.Identity(), size=24)
    one = Pair(pair.a.float())

    def mean_value(za, zb=None):
        return za.sum(1)

    explanation = explain(model, one, "input_x_gradient", score=mean_value)
    got = measure(model, one, explanation, ["max_sensitivity"], score=mean_value, draws=1)["max_sensitivity"]
    u = torch.empty(3, 24, 24).uniform_(-0.2, 0.2, generator=torch.Generator().manual_seed(0))
    before, after = one.a.abs().amax(1), (one.a + u).abs().amax(1)
    assert_close(got, (before - after).flatten(1).norm(dim=1) / before.flatten(1).norm(dim=1), rtol=1e-5)


def test_no_noise_no_change(projected, pair) -> None:
    for method, own in (("smooth_grad", {}), ("pairwise_occlusion", {}), ("rise", {"masks": 64, "centred": True})):  # that draw themselves
        explanation = explain(projected, pair, method, generator=torch.Generator().manual_seed(4), **own)
        for radius, near in ((0.0, 1e-9), (1e-6, 1e-3)):
            found = measure(projected, pair, explanation, ["max_sensitivity"], radius=radius, draws=2)["max_sensitivity"]
            assert_close(found, torch.zeros(3), atol=near)


def test_another_score_than_the_one_explained_is_refused(projected, pair) -> None:
    explanation = explain(projected, pair, "grad_cam", score="dot")
    assert_close(measure(projected, pair, explanation, ["max_sensitivity"], radius=0.0, score="dot")["max_sensitivity"], torch.zeros(3))
    for asked in (lambda: measure(projected, pair, explanation, ["max_sensitivity"]), lambda: randomisation(projected, pair, explanation)):
        with pytest.raises(InputError, match=r"expected the score that the maps explain, which is .*; give `measure` the same score="):
            asked()


def test_controls(projected, pair) -> None:
    edges = measure(projected, pair, explain(projected, pair, "edges"), ["max_sensitivity"], draws=2)
    assert (edges["max_sensitivity"] > 0.01).all()  # it looks at the noisy images as well
    blind = measure(projected, pair, explain(projected, pair, "random_map"), ["max_sensitivity"], draws=2)
    assert (blind["max_sensitivity"] > 0.5).all()  # each image has its own noise


def test_company_and_own_parameters(projected, pair) -> None:
    explanation = explain(projected, pair, "interaction_cam", reduction="max", score=dot)
    together = measure(projected, pair, explanation, ["max_sensitivity"], draws=2, score=dot)["max_sensitivity"]
    alone = [measure(projected, pair[k], explanation[k], ["max_sensitivity"], draws=2, score=dot) for k in range(3)]
    assert_close(torch.cat([one["max_sensitivity"] for one in alone]), together)
    other = measure(projected, pair, explain(projected, pair, "interaction_cam", score=dot), ["max_sensitivity"], draws=2, score=dot)
    assert not torch.allclose(other["max_sensitivity"], together)


def test_map_of_zeros_has_no_relative_change(projected, pair) -> None:
    explanation = explain(projected, pair, "grad_cam")
    nothing = Explanation(torch.zeros_like(explanation.a), explanation.b, explanation.score, method="grad_cam", params=explanation.params)
    assert not measure(projected, pair, nothing, ["max_sensitivity"], draws=1)["max_sensitivity"].isfinite().any()


def test_bad_input(projected, pair) -> None:
    explanation = explain(projected, pair, "grad_cam")
    foreign = Explanation(explanation.a, explanation.b, explanation.score, method="captum")
    with pytest.raises(InputError, match=r"registered method.* got one of 'captum'"):
        measure(projected, pair, foreign, ["max_sensitivity"])
    with pytest.raises(InputError, match="at least one draw and a radius of at least 0, got draws=0"):
        measure(projected, pair, explanation, ["max_sensitivity"], draws=0)
    uneven = random_pair(a=(24, 24), b=(24, 32))
    with pytest.raises(InputError, match="sides of one size"):
        measure(projected, uneven, explain(projected, uneven, "grad_cam"), ["max_sensitivity"])
