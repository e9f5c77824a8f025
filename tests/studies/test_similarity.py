"""A photo and a view of it: where the view comes from, and what every method is asked."""

import pandas as pd
import pytest
import torch

from tests.conftest import build, random_pair
from xaicl_lib import InputError, Pair, PairModel, explain
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


def test_blends_add_up_to_the_map_of_averaged_transforms() -> None:
    model, pair = build("projected"), random_pair(1)
    steps = similarity.along_blends(model, pair)
    made = explain(model, pair, "averaged_transforms")
    assert torch.allclose(steps.so_far[-1], made.a[0], atol=1e-12)
    assert steps.table["adds"].sum() == pytest.approx(1)
    assert torch.allclose(steps.pictures[0], 0.9 * pair.a[0] + 0.1 * pair.b[0])
    middle = explain(model, Pair(pair.a, steps.pictures[4:5]), "input_x_gradient")
    assert torch.allclose(steps.own[4], middle.a[0] / 9, atol=1e-12)
    assert steps.table["score"][4] == pytest.approx(middle.score.item())
    with pytest.raises(InputError, match="two sides of one size"):
        similarity.along_blends(model, random_pair(1, b=(20, 24)))


def test_the_interaction_by_hand_is_the_librarys() -> None:
    toy = similarity.interaction_by_hand()
    assert toy["X"].to_numpy().tolist() == [[2, 0, 0], [0, 2, 0], [-1, -2, -2]]
    assert toy["g_a"]["g_a"].tolist() == [2, 2, -1]
    assert toy["M_a"].to_numpy().tolist() == [[2, 1.5, 1], [2, 0.25, 1.5]]
    f_a, f_b, g_a, g_b = (torch.tensor(toy[name].to_numpy("float32"))[None] for name in ("F_a", "F_b", "G_a", "G_b"))
    # pixels are the features, and the score is linear in them: its gradient is what the toy says
    model = PairModel(features=torch.nn.Identity(), head=torch.nn.Flatten(1), size=3, mean=(0.0,) * 3, std=(1.0,) * 3)
    pair = Pair(f_a[:, :, None], f_b[:, :, None])

    def score(z_a: torch.Tensor, z_b: torch.Tensor) -> torch.Tensor:
        return z_a @ g_a.flatten() + z_b @ g_b.flatten()

    for row, interaction in (("g_a", True), ("G_a", False)):
        made = explain(model, pair, "interaction_cam", score=score, reduction="max", gradient_interaction=interaction)
        assert made.a[0, 0].tolist() == pytest.approx(toy["M_a"].loc[row].tolist())


def test_joint_activations_are_products_of_what_a_reduction_leaves() -> None:
    model, pair = build("projected"), random_pair(2)
    maps = [model.features([model.normalize(side)])[0] for side in pair.sides]
    for reduction, reduced in (("mean", [f.mean((2, 3))[0] for f in maps]), ("max", [f.amax((2, 3))[0] for f in maps])):
        table = similarity.joint_activations(model, pair, reduction)
        assert torch.allclose(torch.tensor(table[["a", "b"]].to_numpy().T), torch.stack(reduced).detach())
        assert (table["joint"] == table["a"] * table["b"]).all()


def test_strong_products_are_counted_by_how_many_sides_are_strong() -> None:
    table = pd.DataFrame({"a": [9.0, 5, 4, 0, 1, 2, 1, 0, 0, 0], "b": [1.0, 5, 0, 8, 4, 2, 0, 1, 0, 0]})
    found = similarity.common_channels({"a pair": table.assign(joint=table["a"] * table["b"])}, share=0.2).loc["a pair"]
    # strong: a 0, 1; b 3, 1; products 1 (25), 0 (9)
    assert found.tolist() == [2, 1, 0.4, 1, 1, 0]
    assert list(found.index)[-3:] == ["products: strong in both", "products: strong in one", "products: strong in neither"]
