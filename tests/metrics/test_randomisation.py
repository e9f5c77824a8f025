"""The sanity check: layers in order, weights changed cumulatively, similarities against scipy and scikit-image."""

import itertools

import pytest
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from tests.conftest import assert_close, build, random_pair
from xaicl_lib import Explanation, InputError, explain, load_model
from xaicl_lib.metrics.randomisation import _layers_from_the_top, _ssim, randomisation, rank_correlation


def test_layers_of_the_small_model(projected, pair) -> None:
    found = [(name, [type(m).__name__ for m in modules]) for name, modules in _layers_from_the_top(projected, pair)]
    assert found == [
        ("head_a.5", ["Linear"]),
        ("head_a.2", ["Linear", "BatchNorm1d"]),
        ("features_a.3", ["Conv2d", "BatchNorm2d"]),
        ("features_a.0", ["Conv2d", "BatchNorm2d"]),
    ]


def test_both_branches_are_changed(pair) -> None:
    depths = _layers_from_the_top(build("two branches"), pair)
    assert [len(modules) for _, modules in depths] == [2, 4, 4, 4]


@pytest.mark.parametrize("name", ["simclr", "moco_v3"])
def test_every_weight_of_a_bundled_model_has_its_layer(name) -> None:
    model = load_model(name, "cpu").copy()
    changed = {
        id(p)
        for _, modules in _layers_from_the_top(model, random_pair(1, (96, 96), (96, 96)))
        for m in modules
        for p in m._parameters.values()
    }
    assert changed >= {id(p) for p in model._parts.parameters()}


def test_layers_fall_one_after_the_other(projected, pair, monkeypatch) -> None:
    before = {k: v.clone() for k, v in projected._parts.state_dict().items()}
    seen = []

    def watch(model, *_):
        seen.append({k for k, v in model._parts.named_parameters() if not torch.equal(v, before[k])})
        return explain(model, pair, "grad_cam")

    monkeypatch.setattr("xaicl_lib.metrics.randomisation.explain_again", watch)
    made = randomisation(projected, pair, explain(projected, pair, "grad_cam"))
    assert made.layers == ["head_a.5", "head_a.2", "features_a.3", "features_a.0"]
    assert all(small < large for small, large in itertools.pairwise(seen))
    assert {k for k in seen[0] if k.startswith("head.")} == {"head.5.weight", "head.5.bias"}
    for k, v in projected._parts.state_dict().items():
        assert torch.equal(v, before[k]), "the model itself was changed"


def test_values_are_those_of_the_maps(projected, pair) -> None:
    explanation = explain(projected, pair, "conditional_occlusion", window=8, stride=4)
    made = randomisation(projected, pair, explanation, every=3)
    assert made.layers == ["features_a.3", "features_a.0"]
    assert made.rank_correlation.shape == made.ssim.shape == (3, 2)
    for k, after in enumerate(made.explanations):
        for n in range(3):
            sides = ((explanation.a[n], after.a[n]), (explanation.b[n], after.b[n]))
            assert made.rank_correlation[n, k] == pytest.approx(sum(spearmanr(x.flatten(), y.flatten())[0] for x, y in sides) / 2)
            alike = 0.0
            for x, y in sides:
                x, y = (torch.nn.functional.interpolate(m[None, None], (24, 24), mode="bilinear")[0, 0] for m in (x, y))
                x, y = (((m - m.min()) / (m.max() - m.min())).numpy() for m in (x, y))
                alike += structural_similarity(x, y, data_range=1.0) / 2
            assert made.ssim[n, k] == pytest.approx(alike)


def test_rank_correlation_shares_ranks_of_equal_values() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = torch.randint(0, 4, (5, 6, 6), generator=g), torch.randint(0, 4, (5, 6, 6), generator=g)
    want = torch.tensor([spearmanr(a.flatten(), b.flatten())[0] for a, b in zip(x, y, strict=True)])
    assert_close(rank_correlation(x, y), want)
    assert rank_correlation(torch.ones(1, 3, 3), torch.rand(1, 3, 3)).item() == 0


def test_ssim_of_a_map_with_itself() -> None:
    x = torch.rand(2, 9, 9)
    assert_close(_ssim(x, x), torch.ones(2))


def test_controls_do_not_care(projected, pair) -> None:
    made = randomisation(projected, pair, explain(projected, pair, "edges"), every=4)
    assert_close(made.rank_correlation, torch.ones(3, 1))


def test_same_generator_same_answer(projected, pair) -> None:
    explanation = explain(projected, pair, "grad_cam")
    first, again = (randomisation(projected, pair, explanation, generator=torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(first.ssim, again.ssim)


def test_bad_input(projected, pair) -> None:
    explanation = explain(projected, pair, "grad_cam")
    with pytest.raises(InputError, match="every=0"):
        randomisation(projected, pair, explanation, every=0)
    with pytest.raises(InputError, match="registered method"):
        randomisation(projected, pair, Explanation(explanation.a, explanation.b, explanation.score))
