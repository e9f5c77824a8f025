"""What a registered method records of a call, and what it lets through."""

import warnings
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Generator, nn

import xaicl_lib
from tests.conftest import assert_close, random_pair
from xaicl_lib import InputError, Pair, PairModel, evaluate, explain, load_model, measure, show
from xaicl_lib.errors import require
from xaicl_lib.methods import methods
from xaicl_lib.metrics.sensitivity import explain_again
from xaicl_lib.scores import cosine

DRAWING = {
    "smooth_grad": {"samples": 3},
    "averaged_transforms": {"level": 0.15},
    "rise": {"masks": 20},
    "random_map": {},
    "pairwise_occlusion": {"masks": 300},
}


@pytest.mark.parametrize("name", DRAWING)
def test_what_is_recorded_makes_the_same_map_again(projected, name) -> None:
    generator, pair = Generator().manual_seed(3), random_pair(2)
    torch.rand(5, generator=generator)
    first, second = (explain(projected, pair, name, generator=generator, **DRAWING[name]) for _ in range(2))
    assert not torch.equal(first.a, second.a), "a generator goes on"
    for made in (first, second):
        again = explain_again(projected, pair, made, cosine, None)
        assert again.params == made.params
        assert_close(again.a, made.a)
        assert_close(again.b, made.b)
        assert measure(projected, pair, made, ["max_sensitivity"], radius=0.0)["max_sensitivity"].tolist() == [0, 0]


def test_a_fresh_generator_is_recorded_by_its_own_seed(projected) -> None:
    generator, pair = Generator().manual_seed(3), random_pair(1)
    made = explain(projected, pair, "smooth_grad", generator=generator, samples=2)
    assert made.params["seed"] == 3
    assert explain(projected, pair, "smooth_grad", generator=generator, samples=2).params["seed"] != 3


def test_methods_that_draw_nothing_leave_a_generator_alone(projected) -> None:
    generator = Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    before = generator.get_state()
    for method in methods:
        if not method.takes("generator") and method.facts["family"] != "attention":
            assert explain(projected, random_pair(1), method.name, generator=generator).params["seed"] == 3
    assert torch.equal(generator.get_state(), before)


def mirrored(x):
    return x.flip(3)


def test_a_method_with_a_transform_can_be_run_again_on_noisy_images(projected) -> None:
    pair = random_pair(2)
    whole = Pair(pair.a, mirrored(pair.a))
    made = explain(projected, pair, "averaged_transforms", transform=mirrored)
    plain = explain(projected, whole, "averaged_transforms")
    given = {"metrics": ["max_sensitivity"], "draws": 2}
    got = measure(projected, pair, made, **given)["max_sensitivity"]
    assert got.isfinite().all()
    assert measure(projected, pair, made, ["max_sensitivity"], radius=0.0)["max_sensitivity"].tolist() == [0, 0]
    noisy = pair.shifted(0.5 * torch.randn(3, 24, 24, generator=Generator().manual_seed(0)))
    again = explain(projected, noisy, "averaged_transforms", transform=mirrored)
    assert not torch.equal(again.a, plain.a)
    by_hand = noisy.facing(mirrored(noisy.a))
    assert_close(again.a, explain(projected, by_hand, "averaged_transforms").a)


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_a_transform_must_make_images(projected, noise) -> None:
    pair = random_pair(2).shifted(torch.full((3, 24, 24), noise))
    for transform in (lambda x: x[:, :1], lambda x: x * torch.nan, lambda x: x[:1], lambda x: 3):
        with pytest.raises(InputError, match=r"side b: expected|as many (images|channels) on side a"):
            explain(projected, pair, "averaged_transforms", transform=transform)


class Marked(nn.Module):
    """A head whose embeddings are all zeros for dark images, and no numbers for bright ones."""

    def forward(self, f):
        light = f.mean((1, 2, 3)).unsqueeze(1)
        z = f.flatten(1)
        return torch.where(light < 0.3, 0 * z, torch.where(light > 0.7, torch.nan * z, z))


MARKED = PairModel(nn.AvgPool2d(4), Marked(), size=24)


def marked() -> Pair:
    pair = random_pair(4)
    a, b = pair.a / 5 + 0.4, pair.b / 5 + 0.4
    a[1], b[3] = 0.1 * pair.a[1], 0.9 + 0.1 * pair.b[3]
    return Pair(a, b)


@pytest.mark.parametrize(
    "method",
    [
        m.name
        for m in methods
        if m.name not in ("smooth_grad", "deep_similarity", "pairwise_occlusion", "rise") and m.facts["family"] != "attention"
    ],
)
def test_pairs_without_a_score_are_named_with_the_cause(method) -> None:
    message = (
        r"no score to explain, so their maps mean nothing: pair 1 \(score 0: the embedding of side a is all zeros, which has no direction "
        r"to compare\), pair 3 \(score nan: the embedding of side b is not finite\)$"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        made = explain(MARKED, marked(), method)
    assert len(caught) == 1
    assert made.score[1] == 0
    assert made.score.isnan().tolist() == [False, False, False, True]


def test_a_score_of_zero_between_embeddings_is_a_score() -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model, red = PairModel(nn.AvgPool2d(4), net, size=24), torch.zeros(1, 3, 24, 24)
    red[:, 0] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert explain(model, Pair(red, red.roll(1, 1)), "input_x_gradient").score.item() == 0


def test_only_some_of_many_pairs_are_named_and_a_score_can_be_at_fault() -> None:
    pair = Pair(torch.zeros(7, 3, 24, 24))
    with pytest.warns(UserWarning, match=r"pair 0 .*score nan: the score itself is not finite.* pair 4 [^p]*, \.\.\.$"):
        explain(MARKED, pair, "input_x_gradient", score=lambda za, zb: za.sum(1) * torch.nan)


def test_drops_of_no_score_are_undefined() -> None:
    pair = marked()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = explain(MARKED, pair, "edges")
    with pytest.warns(UserWarning, match=r"NaN for 2 of 4 pairs \(1, 3\)"):
        found = measure(MARKED, pair, made, ["SAD", "CAD"])
    for value in found.values():
        assert value.isnan().tolist() == [False, True, False, True]


def test_the_first_unknown_name_is_told_with_what_there_is() -> None:
    require("side", "ab", "a", "b")
    require("column", pd.DataFrame({"x": [1]}).columns, "x")
    require("method", pd.Series(["rise", "rise"], dtype="category").unique(), "rise")
    require("nothing", [])
    with pytest.raises(InputError, match=r"^unknown side 'c'; there are: a, b$"):
        require("side", iter("ab"), "a", "c", "d")


def test_things_of_another_kind_are_told_in_one_line(projected) -> None:
    pair, module = random_pair(2), projected.features_a
    explained = explain(projected, pair, "grad_cam")
    for ask, says in (
        (lambda: explain(module, pair, "grad_cam"), "expected model to be .*PairModel, got"),
        (lambda: explain("simclr", pair), "expected model to be .*PairModel, got 'simclr'"),
        (lambda: methods["grad_cam"](projected, (pair.a, pair.b)), "expected pair to be .*Pair, got"),
        (lambda: measure(projected, explained, pair), "expected pair to be .*Pair, got"),
        (lambda: show(explained, pair), "expected what is shown to be .*Pair, got"),
        (lambda: load_model(module), "expected the name of a model to be str, got"),
        (lambda: evaluate([module], pair, ["grad_cam"]), "expected model to be str | .*PairModel, got"),
        (lambda: PairModel.from_module("resnet18", "layer4", size=24), r"expected a torch\.nn\.Module to cut, got str"),
        (lambda: projected.encode((255 * pair.a).byte()), r"expected images of floats in \[0, 1\], got torch.uint8; divide by 255"),
        (lambda: explain(projected, pair, "grad_cam", score=lambda a, b: (a - b) ** 2), r"one number a pair, \(2,\), got shape \(2, 7\)"),
    ):
        with pytest.raises(InputError, match=says) as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_warnings_name_the_line_outside_the_library(projected) -> None:
    a = random_pair(1).a
    for ask in (lambda: explain(projected, Pair(a, a), "grad_cam"), lambda: evaluate(projected, Pair(a, a), ["grad_cam"], ["SI"])):
        with pytest.warns(UserWarning, match="where its gradients vanish") as caught:
            ask()
        assert {one.filename for one in caught} == {__file__}
    source = Path(xaicl_lib.__file__).parent
    assert [path.name for path in source.rglob("*.py") if "warnings.warn(" in path.read_text(encoding="utf-8")] == ["notes.py"]
