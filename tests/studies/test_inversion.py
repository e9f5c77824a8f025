"""Inversion against closed forms and slow loops: what a network keeps comes back, what it drops does not."""

import colorsys
import copy

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import Generator, nn

from tests.conftest import assert_close, build
from xaicl_lib import InputError, PairModel, augment, load_model
from xaicl_lib.augment import LUMA
from xaicl_lib.networks.resnet import ResNet50
from xaicl_lib.stages import stages, up_to
from xaicl_lib.studies import inversion as study
from xaicl_lib.studies.colour import (
    _coarse,
    _colour,
    _error,
    _hsv,
    _hue_error,
    _kept,
    _lightness,
    _saturation,
    colour_measures,
    colourless,
    examples,
)
from xaicl_lib.studies.inversion import (
    MEAN,
    STD,
    Settings,
    _alpha_norm,
    _frame_steps,
    _largest_curvature,
    _slopes,
    _total_variation,
    colour_table,
    contrasts,
    grey_table,
    invert,
    invert_stages,
    last_over_first,
)
from xaicl_lib.zoo import untrained

PLAIN = Settings(steps=60, momentum=0.5, step_size=1.0, total_variation=(0, 0), alpha_norm=0)


def targets(n: int = 3, side: int = 8, seed: int = 0) -> torch.Tensor:
    """Smooth random colours."""
    small = torch.rand(n, 3, 4, 4, generator=Generator().manual_seed(seed), dtype=torch.float64)
    return nn.functional.interpolate(small, (side, side), mode="bilinear")


def whole(*layers: nn.Module) -> PairModel:
    """A model whose features are those layers, in double precision, the stage to invert called "0"."""
    return PairModel(nn.Sequential(*layers).double(), size=8, mean=MEAN, std=STD, name="whole")


def test_priors_equal_slow_loops() -> None:
    z = torch.randn(2, 3, 4, 5, generator=Generator().manual_seed(0), dtype=torch.float64)
    variation, norm = torch.zeros(2, dtype=z.dtype), torch.zeros(2, dtype=z.dtype)
    for n in range(2):
        for c in range(3):
            for i in range(4):
                for j in range(5):
                    norm[n] += abs(z[n, c, i, j]) ** 6 / 20
                    variation[n] += (z[n, c, i + 1, j] - z[n, c, i, j]) ** 2 / 20 if i < 3 else 0
                    variation[n] += (z[n, c, i, j + 1] - z[n, c, i, j]) ** 2 / 20 if j < 4 else 0
    assert_close(_total_variation(z), variation)
    assert_close(_alpha_norm(z), norm)
    assert_close(_alpha_norm(z, 2.0), z.square().sum((1, 2, 3)) / 20)


def test_the_identity_gives_the_target_back() -> None:
    found = invert(whole(nn.Identity()), targets(), "0", settings=PLAIN)
    assert (found.error < 1e-12).all()
    assert_close(found.pixels, targets(), atol=1e-6)


def test_an_invertible_linear_network_gives_the_target_back() -> None:
    mix = nn.Conv2d(3, 3, 1)
    mix.weight.data = torch.tensor([[1.0, 0.5, 0.0], [-0.3, 1.2, 0.2], [0.1, 0.0, 0.8]])[..., None, None]
    found = invert(whole(mix), targets(), "0", settings=PLAIN)
    assert_close(found.pixels, targets(), atol=1e-3)
    assert (found.curve[0] > 0.5).all()
    assert_close(found.curve[-1], found.error)


def test_the_priors_alone_make_a_flat_picture() -> None:
    smooth = Settings(steps=200, momentum=0.5, total_variation=(1e6, 1e6), alpha_norm=0)
    found = invert(whole(nn.Identity()), targets(), "0", settings=smooth)
    assert (found.pixels.amax((2, 3)) - found.pixels.amin((2, 3)) < 1e-2).all()
    strong = Settings(steps=200, momentum=0.5, total_variation=(0, 0), alpha_norm=1e6, alpha=2.0)
    found = invert(whole(nn.Identity()), targets(), "0", settings=strong)
    assert_close(found.pixels.mean((2, 3))[0], torch.tensor(MEAN), atol=1e-2, rtol=0)


def test_colour_that_a_network_drops_does_not_come_back() -> None:
    grey = nn.Conv2d(3, 1, 1, bias=False)
    grey.weight.data = torch.tensor(LUMA).view(1, 3, 1, 1) * torch.tensor(STD).view(1, 3, 1, 1)
    model = whole(grey)
    found = invert(model, targets(), "0", settings=PLAIN)
    left = colour_measures(found.pixels, targets(), cells=8)
    assert (left["lightness_error"] < 0.05).all(), "lightness passes"
    assert (left["colour_error"] > 0.7).all(), "colour does not"
    assert (found.error < 1e-4).all()
    assert (found.grey < 1e-6).all(), "for such a network the grey copy is the target"
    other = invert(whole(nn.Identity()), targets(), "0", settings=PLAIN)
    assert (other.grey > 1e-3).all()
    assert (colour_measures(other.pixels, targets(), cells=8)["colour_kept"] > 0.99).all()


def test_a_target_is_inverted_by_itself(monkeypatch) -> None:
    model, few = build("projected"), Settings(steps=25)
    x = targets(5, 24)
    together = invert(model, x, "2", settings=few, frames=3)
    for k in range(5):
        alone = invert(model, x[k : k + 1], "2", settings=few, frames=3)
        assert_close(alone.pixels[0], together.pixels[k], rtol=1e-7, atol=1e-9)
        assert_close(alone.curve[:, 0], together.curve[:, k], rtol=1e-7, atol=1e-9)
    monkeypatch.setattr(PairModel, "chunk", lambda *_: 2)
    parts = invert(model, x, "2", settings=few, frames=3)
    assert_close(parts.pixels, together.pixels, rtol=1e-7, atol=1e-9)
    assert_close(parts.frames, together.frames, rtol=1e-7, atol=1e-9)


def test_the_scale_of_features_and_pixels_decides_nothing() -> None:
    conv = nn.Conv2d(3, 6, 3, 2, 1, bias=False, dtype=torch.float64)
    large = copy.deepcopy(conv)
    large.weight.data *= 1000
    few = Settings(steps=25)
    a, b = (invert(whole(c), targets(), "0", settings=few) for c in (conv, large))
    assert_close(a.pixels, b.pixels, rtol=1e-6, atol=1e-9)
    raw = copy.deepcopy(conv)
    raw.weight.data /= torch.tensor(STD, dtype=torch.float64).view(1, 3, 1, 1)
    raw = nn.Sequential(_Shift(), raw)
    c = invert(PairModel(raw, size=8, name="pixels in"), targets(), "1", settings=few)
    assert_close(a.pixels, c.pixels, rtol=1e-5, atol=1e-7)


class _Shift(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - x.new_tensor(MEAN).view(1, 3, 1, 1)


def test_largest_curvature_is_that_of_the_matrix() -> None:
    g = Generator().manual_seed(0)
    a, x = torch.randn(12, 12, generator=g, dtype=torch.float64), torch.randn(2, 3, 2, 2, generator=g, dtype=torch.float64)
    got = _largest_curvature(lambda z: ((z - x).flatten(1) @ a.T).square().sum(1) * torch.tensor([1.0, 5.0]), x, 200)
    want = 2 * torch.linalg.eigvalsh(a.T @ a)[-1]
    assert_close(got, torch.stack([want, 5 * want]), rtol=1e-3)


def test_nothing_but_the_result_changes() -> None:
    model, x = build("projected"), targets(2, 24)
    before = copy.deepcopy(model._parts.state_dict())
    torch.manual_seed(3)
    state, grad = torch.get_rng_state(), torch.is_grad_enabled()
    first = invert(model, x, "2", settings=Settings(steps=3))
    with torch.inference_mode():
        second = invert(model, x, "2", settings=Settings(steps=3))
    assert torch.equal(first.pixels, second.pixels), "the same seed, the same answer, whatever mode the caller is in"
    assert not first.pixels.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled() == grad
    assert all(torch.equal(v, before[k]) for k, v in model._parts.state_dict().items())
    assert not any(m._forward_hooks for m in [*model._parts.modules(), *model.fast._parts.modules()])
    assert all(p.grad is None and not p.requires_grad for p in model._parts.parameters())
    assert_close(x, targets(2, 24))
    other = invert(model, x, "2", settings=Settings(steps=3), generator=Generator().manual_seed(1))
    assert not torch.equal(first.pixels, other.pixels)


def test_frames_tell_the_way() -> None:
    found = invert(build("projected"), targets(2, 24), "2", settings=Settings(steps=20), frames=5)
    assert found.at == _frame_steps(20, 5)
    assert found.at[0] == 0
    assert found.at[-1] == 20
    assert len(found.frames) == len(found.at)
    assert_close(found.frames[-1], found.pixels)
    assert found.curve[-1].max() < found.curve[0].min()
    start = Settings().noise * torch.randn(3, 24, 24, generator=Generator().manual_seed(0))
    want = start * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    assert_close(found.frames[0, 1], want, rtol=1e-6, atol=1e-7)
    assert _frame_steps(100, 0) == ()


@pytest.mark.parametrize(
    ("name", "count", "shape"), [("scenes_simclr", 5, (16, 32, 32)), ("moco_v3", 5, (128, 12, 12)), ("supervised", 5, (32, 48, 48))]
)
def test_stages_of_bundled_models_end_where_the_features_do(name: str, count: int, shape: tuple[int, ...]) -> None:
    model = load_model(name, "cpu")
    x = model.normalize(torch.rand(1, 3, model.size, model.size, generator=Generator().manual_seed(0)))
    names = list(stages(model))
    assert len(names) == count
    assert up_to(model, names[0])(x).shape[1:] == shape
    last = up_to(model, names[-1])(x)
    want = model.features_a(x)
    if name == "moco_v3":
        last = model.features_a.norm(last).mT.reshape(want.shape)
    assert_close(last, want, rtol=1e-4, atol=1e-4)


def test_stages_of_a_resnet_are_torchvisions_layers() -> None:
    torch.manual_seed(0)
    net = ResNet50(4, blocks=(1, 1, 1, 1)).eval()
    model, x = PairModel(net, size=64), torch.randn(2, 3, 64, 64)
    assert list(stages(model)) == ["stage 1", "stage 2", "stage 3", "stage 4"]
    first = net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x))))))
    assert_close(up_to(model, "stage 2")(x), first, rtol=1e-3, atol=1e-4)
    assert_close(up_to(model, "layer3")(x), net.layer3(first), rtol=1e-3, atol=1e-4)
    traced = PairModel.from_module(nn.Sequential(net, nn.AdaptiveAvgPool2d(1), nn.Flatten()), "0.layer4", size=64)
    assert_close(up_to(traced, "0.layer2")(x), first, rtol=1e-3, atol=1e-4)
    found = invert(model, torch.rand(1, 3, 64, 64), "stage 2", settings=Settings(steps=30))
    assert found.curve[-1] < 0.6 * found.curve[0]


def test_unknown_stages_are_named() -> None:
    with pytest.raises(InputError, match=r"unknown stage 'stage 9'.*stem, stage 1"):
        up_to(load_model("scenes_simclr", "cpu"), "stage 9")
    with pytest.raises(InputError, match="name a layer, such as 0, 1"):
        stages(build("projected"))
    with pytest.raises(InputError, match="momentum in"):
        Settings(momentum=1.0)
    with pytest.raises(InputError, match="unknown stage of 'scenes_simclr' 'x'"):
        invert_stages([load_model("scenes_simclr", "cpu")], targets(1, 64).float(), chosen=["x"])


def test_hue_and_saturation_are_those_of_colorsys() -> None:
    images = torch.cat([targets(2), torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)])
    hue, s, v = _hsv(images)
    for n in range(4):
        for i in range(8):
            for j in range(8):
                want = colorsys.rgb_to_hsv(*images[n, :, i, j].tolist())
                assert (hue[n, i, j].item() % 1, s[n, i, j].item(), v[n, i, j].item()) == pytest.approx(want)
    assert_close(_saturation(images), s.mean((1, 2)))


def test_hue_error_by_hand() -> None:
    red, blue = torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.9])
    pinkish = torch.tensor([0.9, 0.1, 0.18])  # six degrees before red
    reddish = torch.tensor([0.9, 0.18, 0.1])  # six degrees behind it
    image = torch.stack([red, pinkish, torch.full((3,), 0.5)], 1).view(1, 3, 1, 3)
    target = torch.stack([blue, reddish, red], 1).view(1, 3, 1, 3)
    assert _hue_error(image, target).item() == pytest.approx((120 + 12) / 2, rel=1e-5), "around the circle, and grey does not count"
    assert _hue_error(image, image).item() == 0
    assert _hue_error(torch.full((1, 3, 2, 2), 0.5), torch.rand(1, 3, 2, 2)).isnan().all()


def test_colour_measures_at_their_ends() -> None:
    x = targets()
    same = colour_measures(x, x)
    assert_close(same["colour_error"], torch.zeros(3), atol=1e-9)
    assert_close(same["lightness_kept"], torch.ones(3))
    assert_close(same["saturation_kept"], torch.ones(3))
    grey = colour_measures(augment.grayscale(x), x)
    assert_close(grey["colour_kept"], torch.zeros(3), atol=1e-4)  # the weights of luma sum to 0.9999
    assert_close(grey["colour_error"], torch.ones(3), rtol=1e-4)
    assert_close(grey["lightness_error"], torch.zeros(3), atol=1e-3)
    half = augment.grayscale(x, 0.5)
    assert_close(_kept(_colour(half), _colour(x)), torch.full((3,), 0.5), rtol=1e-2)
    assert_close(_error(_lightness(0.25 * x), _lightness(x)), torch.full((3,), 0.75))
    assert_close(_lightness(x + 0.1), _lightness(x), atol=1e-4)
    opposite = colour_measures(0.5 - _colour(x), x, cells=8)
    assert (opposite["colour_kept"] < -0.9).all()
    assert _coarse(torch.rand(1, 3, 64, 64)).shape == (1, 3, 16, 16)


def test_nothing_is_said_of_the_colour_of_a_grey_target() -> None:
    """A compressed grey photo has a colour of rounding errors, and anything is many times as much."""
    x = targets(2, 64)
    x[1] = (augment.grayscale(x[1:])[0] + torch.tensor([0.004, 0, 0]).view(3, 1, 1)).clamp(0, 1)
    assert colourless(x).tolist() == [False, True]
    found = colour_measures(targets(2, 64).flip(0), x)
    for name in ("saturation_kept", "hue_error", "colour_error", "colour_kept"):
        assert found[name].isnan().tolist() == [False, True], name
    assert not found["lightness_kept"].isnan().any()
    table = grey_table([load_model("scenes_simclr", "cpu")], x.float())
    assert table[table["target"] == 1]["grey_error"].isna().all()
    assert table[table["target"] == 0]["grey_error"].notna().all()
    assert _slopes(table, "grey_error")["grey_error"].isna().tolist() == [False, True], "no slope of nothing"


def test_table_and_slopes_say_what_was_found() -> None:
    model, x = load_model("scenes_simclr", "cpu"), targets(2, 64).float()
    found = invert_stages([model, untrained("scenes_simclr")], x, chosen=["stem", "stage 1"], settings=Settings(steps=10))
    table = colour_table(found, x, ["first", "second"])
    assert table["model"].unique().tolist() == ["scenes_simclr", "untrained scenes_simclr"]
    row = table[(table["model"] == "scenes_simclr") & (table["stage"] == "stage 1") & (table["target"] == "second")].iloc[0]
    one = found["scenes_simclr", "stage 1"]
    assert row["depth"] == 1
    assert row["feature_error"] == pytest.approx(one.error[1].item())
    assert row["grey_error"] == pytest.approx(one.grey[1].item())
    assert row["colour_kept"] == pytest.approx(colour_measures(one.pixels.double(), x.double())["colour_kept"][1].item())
    flat = torch.tensor(MEAN).view(1, 3, 1, 1).expand(2, 3, 64, 64).double()
    assert row["blank_hue_error"] == pytest.approx(_hue_error(_coarse(flat), _coarse(x.double()))[1].item(), rel=1e-4)
    assert row["blank_saturation"] == pytest.approx((0.485 - 0.406) / 0.485, rel=1e-4)
    features = up_to(model, "stage 1")
    goal, got = features(model.normalize(x)), features(model.normalize(one.pixels))
    assert_close((got - goal).square().sum((1, 2, 3)) / goal.square().sum((1, 2, 3)), one.error, rtol=1e-3)
    cheap = grey_table([model], x)
    assert cheap["stage"].tolist() == [f"{stage}" for stage in stages(model) for _ in range(2)]
    both = cheap[cheap["stage"] == "stage 1"]["grey_error"]
    assert both.tolist() == pytest.approx(one.grey.tolist(), rel=1e-4), "the same that the search is compared with"
    assert _slopes(table, "depth")["depth"].tolist() == [1.0] * 4
    assert _slopes(table.assign(same=7.0), "same")["same"].tolist() == pytest.approx([0] * 4)


def test_what_is_left_is_a_geometric_mean() -> None:
    rows = [
        {"model": m, "depth": k, "target": t, "value": v}
        for m, ends in (("b", [(4, 1), (8, 4), (2, 1)]), ("a", [(1, 3), (1, 3), (1, 3)]))
        for t, pair in enumerate(ends)
        for k, v in enumerate(pair)
    ]
    found = last_over_first(pd.DataFrame(rows), "value")
    assert found["model"].tolist() == ["b", "a"]
    assert found["mean"].tolist() == pytest.approx([(0.25 * 0.5 * 0.5) ** (1 / 3), 3])
    logs = np.log([0.25, 0.5, 0.5])
    assert (found["low"][0], found["high"][0]) == pytest.approx(np.exp(stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs))))


def test_contrasts_find_a_difference_that_is_there() -> None:
    rows = [
        {"model": m, "stage": f"stage {k}", "depth": k, "target": t, "value": 1 - drop * k + 0.01 * ((7 * t + k) % 5)}
        for m, drop in (("fades", 0.2), ("keeps", 0.0), ("keeps too", 0.0))
        for k in range(3)
        for t in range(12)
    ]
    found = contrasts(pd.DataFrame(rows), [("fades", "keeps"), ("keeps", "keeps too")], "value").set_index(["first", "stage"])
    assert found.loc[("fades", "slope"), "mean"] == pytest.approx(-0.2)
    assert found.loc[("fades", "stage 2"), "mean"] == pytest.approx(-0.4)
    assert found.loc["fades", "significant"].tolist() == [False, True, True, True]
    assert not found.loc["keeps", "significant"].any()
    assert found.loc[("fades", "slope"), "p"] == pytest.approx(8 * 2 / 2**12), "Holm over all eight"
    one = pd.DataFrame(rows).query("depth == 2")
    assert contrasts(one, [("fades", "keeps")], "value")["stage"].tolist() == ["stage 2"], "no slope over one stage"
    with pytest.raises(InputError, match="unknown model of the table 'x'"):
        contrasts(pd.DataFrame(rows), [("x", "keeps")], "value")


def measured(models: dict[str, float], stages_: int = 2, targets_: int = 9) -> pd.DataFrame:
    """Two columns that fall by stage, one model faster than another, with errors below those of grey copies on the first targets."""
    rows = [
        {
            "model": m, "stage": ["stem", "stage 4"][k], "depth": k, "target": str(t), "colour_kept": 1 - drop * k + 0.01 * (t % 3),
            "lightness_kept": 0.5 + 0.01 * ((t + k) % 2), "feature_error": 0.1 * t, "grey_error": 0.35,
        }
        for m, drop in models.items() for k in range(stages_) for t in range(targets_)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_several_columns_are_contrasted_each_on_its_own() -> None:
    table, pairs = measured({"fades": 0.5, "keeps": 0.0}), [("fades", "keeps")]
    both = contrasts(table, pairs, "colour_kept", "lightness_kept")
    assert both["measure"].unique().tolist() == ["colour kept", "lightness kept"]
    alone = contrasts(table, pairs, "lightness_kept")
    pd.testing.assert_frame_equal(both[both["measure"] == "lightness kept"].reset_index(drop=True), alone)
    told = study.stages_told_apart(both).loc["fades"]
    assert told[["second", "colour kept", "lightness kept"]].tolist() == ["keeps", "stage 4", "none"]
    ends = both[both["measure"] == "colour kept"]
    assert ends["stage"].tolist() == ["stem", "stage 4", "slope"]
    assert ends["p"].tolist() == pytest.approx([1, 3 * 2 / 2**9, 3 * 2 / 2**9]), "three rows of nine targets"


def test_means_by_depth_and_errors_beside_those_of_grey_copies() -> None:
    table = measured({"m": 0.5, "w": 0.0}, targets_=5)
    errors = study.mean_errors(table).loc["m"]
    assert errors.to_numpy().tolist() == [["stem", pytest.approx(0.2), 0.35], ["stage 4", pytest.approx(0.2), 0.35]]


def test_targets_and_a_model_that_loses_colour() -> None:
    blind, x = study.averaging_model(8), targets(1).float()
    assert_close(blind.features_a(x), x.mean(1, keepdim=True), rtol=1e-6, atol=1e-6)


def test_examples_of_colour_kept_are_what_their_names_say() -> None:
    target = 0.3 + 0.4 * torch.rand(3, 32, 32, generator=Generator().manual_seed(0))
    pictures, found = examples(target)
    kept = found["colour_kept"]
    assert kept[["the target", "half its colour", "grey"]].tolist() == pytest.approx([1, 0.5, 0], abs=1e-4)
    assert kept["hue turned by 90°"] == pytest.approx(0, abs=0.02), "at right angles, but for what leaves [0, 1]"
    assert found.loc["hue turned by 90°", "saturation"] > 0.7 * found.loc["the target", "saturation"]
    assert found.loc["grey, coloured specks", "fine_saturation"] > 1.5 * found.loc["grey, coloured specks", "saturation"]
    assert abs(kept["grey, coloured specks"]) < 0.2 < 0.95 < kept["its colour, cell by cell"]
    assert torch.allclose(pictures["grey"][0], augment.luma(target[None])[0, 0])
    slow = torch.stack([torch.linalg.cross(torch.tensor(LUMA), _colour(target[None])[0, :, i, i]) for i in range(4)], 1)
    turned = (pictures["hue turned by 90°"] - pictures["grey"])[:, range(4), range(4)]
    assert torch.allclose(turned, slow / torch.tensor(LUMA).norm(), atol=1e-5)
