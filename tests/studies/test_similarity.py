"""A photo and a view of it: where the view comes from, and what every method is asked."""

import pytest
import torch

from tests.conftest import build, random_pair
from xaicl_lib import explain
from xaicl_lib.images import SAMPLES, open_photo
from xaicl_lib.scores import cosine
from xaicl_lib.studies import similarity


def test_a_view_is_the_middle_mirrored_in_less_light() -> None:
    ramp = torch.linspace(0, 1, 40).expand(1, 3, 40, 40).contiguous()
    pair = similarity.two_views(ramp, 40)
    assert torch.equal(pair.a, ramp)
    across = pair.b[0, 0, 20]
    assert across[0] > across[-1], "mirrored"
    assert across[[0, -1]].tolist() == pytest.approx([0.85, 0.15], abs=0.03), "the middle seven tenths"
    assert torch.allclose(similarity.two_views(ramp, 40, light=0.5).b, pair.b / 2)


def test_scores_are_those_of_each_photo_with_each_view() -> None:
    model = build("two branches").to(torch.float32)
    table, names = similarity.view_scores(model), list(SAMPLES)
    assert list(table) == list(table.index) == names
    view = similarity.two_views(names[2], model.size, light=0.7).b
    want = cosine(*(model.encode(side, s) for side, s in ((open_photo(names[4], model.size), "a"), (view, "b"))))
    assert table.loc[names[4], names[2]] == pytest.approx(want.item(), abs=1e-5)


def test_every_other_method_is_asked_gradients_twice() -> None:
    model, pair = build("projected").to(torch.float32), random_pair(1)
    pair = type(pair)(pair.a.float(), pair.b.float())
    made = similarity.explained_by_all(model, pair, seed=3)
    assert [one.method for one in made if one.params.get("guided")] == ["input_x_gradient", "smooth_grad", "averaged_transforms"]
    assert {one.method for one in made} >= {"pairwise_occlusion", "grad_cam", "integrated_jacobians", "random_map", "edges"}
    noise = next(one for one in made if one.method == "random_map")
    assert torch.equal(noise.a, explain(model, pair, "random_map", generator=torch.Generator().manual_seed(3)).a)


def test_the_library_warns_of_a_photo_and_itself() -> None:
    model = build("projected").to(torch.float32)
    same, warned = similarity.explained_with_itself(model, type(p := random_pair(1))(p.a.float(), p.b.float()))
    assert same.score.item() == pytest.approx(1)
    assert "grad" in warned
