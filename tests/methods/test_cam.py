"""Activation methods against loops over the formulas, with gradients by finite differences."""

import pytest
import torch

from tests.conftest import assert_close, build, random_pair
from xaicl_lib import InputError, PairModel, explain
from xaicl_lib.methods.cam import grad_cam, interaction_cam
from xaicl_lib.scores import cosine


def features(model, pair):
    return model.features_a(model.normalize(pair.a)), model.features_b(model.normalize(pair.b))


def numeric_gradients(model, fa, fb, eps=1e-6):
    """ds/dF by central differences, one value of one map at a time."""
    out = []
    for side, f in enumerate((fa, fb)):
        g = torch.zeros_like(f)
        for k in range(f.numel()):
            values = []
            for sign in (1, -1):
                moved = f.clone()
                moved.view(-1)[k] += sign * eps
                pair = (moved, fb) if side == 0 else (fa, moved)
                values.append(cosine(model.head_a(pair[0]), model.head_b(pair[1])).sum())
            g.view(-1)[k] = (values[0] - values[1]) / (2 * eps)
        out.append(g)
    return out


def reduce_slowly(f, reduction):
    """(c,) from one (c, i, j) map."""
    cells = [f[:, i, j] for i in range(f.shape[1]) for j in range(f.shape[2])]
    if reduction == "mean":
        return sum(cells) / len(cells)
    if reduction == "max":
        return torch.stack(cells).max(0).values
    query = sum(cells) / len(cells)
    weights = torch.stack([query @ cell for cell in cells]).exp()
    return sum(w * cell for w, cell in zip(weights / weights.sum(), cells, strict=True))


def slow_interaction(fa, fb, ga, gb, reduction, gi):
    """Eq. 2 for one pair of (c, i, j) maps."""
    h = reduce_slowly(fa, reduction) * reduce_slowly(fb, reduction)
    c = len(fa)
    if gi:
        x = torch.zeros(c, c, dtype=fa.dtype)
        for i in range(fa.shape[1]):
            for j in range(fa.shape[2]):
                x += torch.outer(ga[:, i, j], gb[:, i, j])
        ga = torch.stack([x[d, :].max() for d in range(c)]).view(c, 1, 1).expand_as(fa)
        gb = torch.stack([x[:, d].max() for d in range(c)]).view(c, 1, 1).expand_as(fb)
    ma = sum(fa[d] * h[d] * ga[d].clamp(min=0) for d in range(c))
    mb = sum(fb[d] * h[d] * gb[d].clamp(min=0) for d in range(c))
    return ma, mb


def test_grad_cam_equals_the_formula(model, pair) -> None:
    fa, fb = features(model, pair)
    ga, gb = numeric_gradients(model, fa, fb)
    made = grad_cam(model, pair)
    assert_close(made.a, (fa * ga.clamp(min=0)).sum(1), rtol=1e-6, atol=1e-9)
    assert_close(made.b, (fb * gb.clamp(min=0)).sum(1), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("reduction", ["mean", "max", "attention"])
@pytest.mark.parametrize("gi", [True, False])
def test_interaction_cam_equals_the_formula(model, pair, reduction, gi) -> None:
    fa, fb = features(model, pair)
    ga, gb = numeric_gradients(model, fa, fb)
    made = interaction_cam(model, pair, reduction=reduction, gradient_interaction=gi)
    for n in range(len(pair)):
        want = slow_interaction(fa[n], fb[n], ga[n], gb[n], reduction, gi)
        assert_close(made.a[n], want[0], rtol=1e-5, atol=1e-9)
        assert_close(made.b[n], want[1], rtol=1e-5, atol=1e-9)


def test_closed_form_of_grad_cam_on_a_headless_dot_product(headless, pair) -> None:
    """s = <mean F_a, mean F_b> has dF_a = mean F_b / cells, so the map is <F_a[p], mean F_b> / cells where features are >= 0."""
    from xaicl_lib.scores import dot

    fa, fb = features(headless, pair)
    cells = fa[0, 0].numel()
    made = grad_cam(headless, pair, score=dot)
    assert_close(made.a, torch.einsum("ncij,nc->nij", fa, fb.mean((2, 3))) / cells)
    assert_close(made.a.sum((1, 2)), made.score)  # and its cells add up to the score


def test_heads_alone_run_backward(projected, pair) -> None:
    seen = []
    projected.fast.features_a.register_forward_hook(lambda module, given, out: seen.append((len(given[0]), out.requires_grad)))
    explain(projected, pair)
    assert seen == [(6, False)]  # one forward of each image, both sides in one batch, no graph


def test_maps_of_two_sizes() -> None:
    model, pair = build("projected"), random_pair(2, a=(24, 24), b=(32, 24))
    with pytest.raises(InputError, match="one size on both sides, got \\(6, 6\\) and \\(8, 6\\)"):
        interaction_cam(model, pair)
    made = interaction_cam(model, pair, gradient_interaction=False)
    assert (made.a.shape[1:], made.b.shape[1:]) == ((6, 6), (8, 6))


def test_unknown_reduction_lists_those_there_are(projected, pair) -> None:
    with pytest.raises(InputError, match="unknown reduction 'min'; there are: mean, max, attention"):
        interaction_cam(projected, pair, reduction="min")


def test_other_scores_are_not_warned_of(projected, pair, recwarn) -> None:
    made = grad_cam(projected, pair, score=lambda za, zb: 5 + cosine(za, zb))
    assert made.score.min() > 1
    assert not recwarn


def test_identical_images_are_warned_of() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).double()
    pair = random_pair(1)
    twins = type(pair)(pair.a, pair.a.clone())
    with pytest.warns(UserWarning, match="gradients vanish"):
        made = grad_cam(PairModel(net, size=24), twins)
    assert made.a.abs().max() < 1e-9
