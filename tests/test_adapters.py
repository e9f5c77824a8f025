"""The bridges: other libraries' answers on pairs equal ours where they ask the same question."""

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import assert_close, random_pair, small_features
from xaicl_lib import InputError, Pair, PairModel
from xaicl_lib.adapters import ScoreTarget, SideA, captum_explain, captum_forward, quantus_explain_func
from xaicl_lib.methods import methods
from xaicl_lib.scores import cosine, dot


def test_captum_gradients_are_ours(model, pair) -> None:
    theirs = captum.attr.InputXGradient(captum_forward(model)).attribute(tuple(model.normalize(side) for side in pair.sides))
    ours = methods["input_x_gradient"](model, pair)
    assert_close(theirs[0].abs().amax(1), ours.a)
    assert_close(theirs[1].abs().amax(1), ours.b)


def test_captum_occlusion_is_ours(projected, pair) -> None:
    options = {"sliding_window_shapes": ((3, 8, 8),) * 2, "strides": ((3, 8, 8),) * 2}
    theirs = captum_explain(projected, pair, captum.attr.Occlusion, **options)
    ours = methods["conditional_occlusion"](projected, pair, window=8, stride=8)
    assert_close(theirs.a[:, ::8, ::8] / 3, ours.a, rtol=1e-5)  # without overlap each pixel holds the drop, channels added
    assert_close(theirs.b[:, ::8, ::8] / 3, ours.b, rtol=1e-5)


def test_captum_integrated_gradients_are_complete(projected, pair) -> None:
    made = captum_explain(projected, pair, captum.attr.IntegratedGradients, score=dot, n_steps=100, method="gausslegendre")
    empty = torch.zeros_like(projected.normalize(pair.a))
    with torch.no_grad():
        start = dot(projected.embed_a(empty), projected.embed_b(empty))
    assert_close(made.a.sum((1, 2)) + made.b.sum((1, 2)), made.score - start, rtol=0.05, atol=0.01)
    assert made.method == "captum.IntegratedGradients"


def test_captum_on_one_side(projected, pair) -> None:
    corpus = torch.ones(7).double()

    def score(za, zb):
        return cosine(za, corpus.expand_as(za))

    made = captum_explain(projected, Pair(pair.a), captum.attr.Saliency, score=score)
    assert made.b is None
    assert_close(made.score, score(projected.embed_a(projected.normalize(pair.a)), None))


def test_side_a_is_the_score(model, pair) -> None:
    network = SideA(model, pair.b)
    want = methods["grad_cam"](model, pair).score
    assert_close(network(model.normalize(pair.a))[:, 0], want)


def test_grad_cam_library_agrees_in_shape(projected) -> None:
    from pytorch_grad_cam import GradCAMElementWise

    pair = random_pair(1)
    network = nn.Sequential(projected.features_a, projected.head_a)
    with GradCAMElementWise(network, [projected.features_a]) as cam:
        theirs = cam(projected.normalize(pair.a).requires_grad_(), [ScoreTarget(projected, pair.b)])[0]
    ours = methods["grad_cam"](projected, pair).maps(24)[0][0].numpy()
    # it rescales its maps to [0, 1]; what is left to compare is the pattern
    assert np.corrcoef(theirs.ravel(), ours.ravel())[0, 1] > 0.99


def test_grad_cam_target_wants_one_image(projected, pair) -> None:
    with pytest.raises(InputError, match="one target per pair"):
        ScoreTarget(projected, pair.b)


def test_a_target_of_embeddings_with_more_axes_is_one_number(pair) -> None:
    model = PairModel(small_features(), nn.AdaptiveAvgPool2d(1), size=24)  # (n, d, 1, 1)
    z_a = nn.Sequential(model.features_a, model.head_a)(model.normalize(pair.a[:1]))[0]
    made = ScoreTarget(model, pair.b[:1])(z_a)
    assert made.shape == ()
    assert_close(made, torch.cosine_similarity(model.encode(pair.a[:1]), model.encode(pair.b[:1]))[0])


def test_quantus_gets_our_maps(projected, pair) -> None:
    import quantus

    projected.to(torch.float32)
    x = projected.normalize(pair.a)
    explain_func = quantus_explain_func(projected, pair.b.float(), "conditional_occlusion", window=8, stride=4)
    maps = explain_func(None, x.numpy(), None)
    pixels = Pair(projected.denormalize(x), pair.b.float())
    want = methods["conditional_occlusion"](projected, pixels, window=8, stride=4).maps(24)[0]
    np.testing.assert_allclose(maps[:, 0], want.numpy(), rtol=1e-5, atol=1e-6)
    network = SideA(projected, pair.b)
    flipping = quantus.PixelFlipping(features_in_step=96, perturb_baseline=0.0, disable_warnings=True)
    curves = flipping(
        network, x.numpy(), np.zeros(3, int), a_batch=maps, explain_func=explain_func, softmax=False, channel_first=True, device="cpu"
    )
    assert np.shape(curves) == (3, 18)  # the score after each 96 of 3 x 576 values
    np.testing.assert_allclose(np.asarray(curves)[:, -1], network(torch.zeros_like(x))[:, 0], rtol=1e-4, atol=1e-5)


def test_denormalize_undoes_normalize(projected, pair) -> None:
    assert_close(projected.denormalize(projected.normalize(pair.a)), pair.a)
