"""Models of one channel and of many: every method and metric is what it is for three, wherever that says what it must be."""

import copy
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator, nn

from tests.conftest import assert_close, small_features, small_head, small_tokens
from xaicl_lib import Explanation, InputError, Pair, PairModel, augment, evaluate, explain, measure, show
from xaicl_lib.evaluation.fingerprint import model_key
from xaicl_lib.images import open_photo
from xaicl_lib.lab.export import export
from xaicl_lib.layers import channels_of
from xaicl_lib.methods import methods
from xaicl_lib.metrics.randomisation import randomisation
from xaicl_lib.model import embed_corpus
from xaicl_lib.views.figures import coloured, pair_figure, save_png

CHANNELS = pytest.mark.parametrize("c", [1, 5])
FIXED = {"rise": {"masks": 8}, "smooth_grad": {"samples": 2, "sigma": 0.0}, "conditional_occlusion": {"window": 8, "stride": 8}}
SIX = ["SI", "SD", "CI", "CD", "SAD", "CAD"]
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


def taking(features: nn.Module, weight: torch.Tensor) -> nn.Module:
    """The same network with a first convolution of these weights."""
    other = copy.deepcopy(features)
    name, first = next((name, m) for name, m in other.named_modules() if isinstance(m, nn.Conv2d))
    conv = nn.Conv2d(weight.shape[1], first.out_channels, first.kernel_size, first.stride, first.padding, bias=first.bias is not None)
    conv.weight.data, conv.bias = weight, first.bias
    other.set_submodule(name, conv)
    return other


def twins(c: int, features: nn.Module, head: nn.Module) -> tuple[PairModel, Pair, PairModel, Pair]:
    """A model of c channels and one of three that must agree on these pairs, none of whose channels count alike.

    Of one channel: three of which the network reads the first. Of five: three, and two in front of them that are the mean colour, which is
    zero in the model's input space, whatever is hidden, blurred or dimmed.
    """
    three = next(m.weight for m in features.modules() if isinstance(m, nn.Conv2d)).detach()
    g = Generator().manual_seed(0)
    if c == 1:
        a, b = torch.rand(2, 2, 1, 24, 24, generator=g, dtype=torch.float64)
        one = PairModel(taking(features, three[:, :1]), head, size=24, mean=0.4, std=0.05)
        same = torch.cat([three[:, :1], torch.zeros_like(three[:, 1:])], 1)
        return (
            one,
            Pair(a, b),
            PairModel(taking(features, same), head, size=24, mean=0.4, std=0.05),
            Pair(*(x.expand(-1, 3, -1, -1) for x in (a, b))),
        )
    a, b = torch.rand(2, 2, 3, 24, 24, generator=g, dtype=torch.float64)
    grey = torch.full((2, 2, 24, 24), 0.5, dtype=torch.float64)
    more = torch.cat([torch.randn(three.shape[0], 2, *three.shape[2:], generator=g).to(three), three], 1)
    five = PairModel(taking(features, more), head, size=24, mean=[0.5, 0.5, *MEAN], std=[0.3, 0.1, *STD])
    return five, Pair(torch.cat([grey, a], 1), torch.cat([grey, b], 1)), PairModel(features, head, size=24, mean=MEAN, std=STD), Pair(a, b)


@CHANNELS
@pytest.mark.parametrize("method", list(methods), ids=lambda m: m.name)
def test_every_method_agrees_with_three_channels(method, c, monkeypatch) -> None:
    for where in ("rise", "controls"):  # whose random numbers otherwise belong to the pixels
        monkeypatch.setattr(f"xaicl_lib.methods.{where}.own_generator", lambda image, seed: Generator().manual_seed(seed))
    tokens = method.facts["family"] == "attention"
    model, pair, same, seen = twins(c, small_tokens() if tokens else small_features(), small_head(0, 8 if tokens else 6))
    made, want = (method(m, p, **{**method.cheap, **FIXED.get(method.name, {})}) for m, p in ((model, pair), (same, seen)))
    if method.name == "edges":  # of the luma, which only three channels have
        want = method(same, Pair(*(side.mean(1, keepdim=True).expand(-1, 3, -1, -1) for side in pair.sides)))
    tolerance = {"rtol": 2e-4, "atol": 1e-6} if method.name == "edges" else {"rtol": 1e-6, "atol": 1e-9}
    for name in ("a", "b"):
        assert_close(getattr(made, name), getattr(want, name), **tolerance)
    assert model.channels == c
    assert made.a.std() > 0


@CHANNELS
def test_every_metric_agrees_with_three_channels(c) -> None:
    model, pair, same, seen = twins(c, small_features(), small_head())
    maps = explain(same, seen, "conditional_occlusion", window=8, stride=8)
    for options in ({}, {"insertion": "shuffle", "deletion": "scaled_blur"}):
        got, want = (measure(m, p, maps, SIX, step=64, **options) for m, p in ((model, pair), (same, seen)))
        for name in SIX:
            assert_close(got[name], want[name], rtol=1e-6)
    got, want = (randomisation(m, p, explain(m, p, "grad_cam"), every=9) for m, p in ((model, pair), (same, seen)))
    assert got.layers == want.layers
    assert model.fast._habits.folded
    assert model.fast._habits.layout == torch.channels_last, "what is tried on noise of other channels stays slow"


@CHANNELS
def test_max_sensitivity_is_its_definition_on_any_channels(c) -> None:
    model, pair, *_ = twins(c, small_features(), small_head())
    got = measure(model, pair, explain(model, pair, "input_x_gradient"), ["max_sensitivity"], draws=2)["max_sensitivity"]
    g, most = Generator().manual_seed(0), torch.zeros(2, 2)
    for _ in range(2):
        u = torch.empty(c, 24, 24).uniform_(-0.2, 0.2, generator=g)

        def maps(noise):
            x = [(model.normalize(side) + noise).requires_grad_() for side in pair.sides]
            torch.cosine_similarity(*model.embed(x)).sum().backward()
            return [(one * one.grad).abs().amax(1) for one in x]

        change = [(y - x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1) for x, y in zip(maps(0), maps(u), strict=True)]
        most = torch.maximum(most, torch.stack(change))
    assert_close(got, most.mean(0), rtol=1e-4)


class Through(nn.Module):
    def __init__(self, before, *modules) -> None:
        super().__init__()
        self.before, self.modules_ = before, nn.ModuleList(modules)

    def forward(self, x):
        return self.modules_[-1](self.before(x))


def conv(c: int) -> nn.Conv2d:
    return nn.Conv2d(c, 4, 3)


@pytest.mark.parametrize(
    ("make", "options", "c"),
    [
        (lambda: conv(1), {}, 1),
        (lambda: nn.Sequential(nn.Identity(), conv(7)), {"mean": 0.5}, 7),
        (lambda: torch.jit.script(conv(2)), {}, 2),
        (lambda: nn.DataParallel(conv(2)), {}, 2),
        (lambda: Through(lambda x: x.mean(1, keepdim=True), conv(1)), {}, 3),  # turns colours grey itself
        (lambda: Through(lambda x: x.mean(1, keepdim=True), conv(1)), {"mean": [0.5] * 4}, 4),
        (lambda: Through(lambda x: x, conv(9), conv(3)), {}, 3),  # another layer is defined first
        (lambda: Through(lambda x: x, conv(9), conv(4), conv(2)), {}, 2),
        (lambda: Through(lambda x: x.repeat(1, 3, 1, 1), conv(3)), {"size": (1, 24, 24)}, 1),
        (lambda: nn.AvgPool2d(2), {}, 3),
        (lambda: nn.AvgPool2d(2), {"std": np.full(6, 0.5)}, 6),
        (lambda: conv(5), {"size": (5, 24, 24), "mean": torch.zeros(5), "std": [1.0] * 5}, 5),
    ],
)
def test_channels_are_told_or_found(make, options, c) -> None:
    with warnings.catch_warnings(action="ignore"):  # scripting is old
        model = PairModel(make(), **{"size": 24, **options})
    assert model.channels == model.copy().channels == c
    assert f"expected images (n, {c}, h, w) for" in refusal(lambda: model.normalize(torch.rand(1, c + 1, 24, 24)))


def refusal(run) -> str:
    with pytest.raises(InputError) as caught:
        run()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_channels_that_do_not_go_together_are_told() -> None:
    assert "got 3 and 4" in refusal(lambda: PairModel(conv(3), size=24, mean=MEAN, std=[1.0] * 4))
    assert "got 3 and 1" in refusal(lambda: PairModel(conv(3), size=(1, 24, 24), mean=MEAN))
    assert "of as many channels as the features of 'custom' take, 1, got 3" in refusal(lambda: PairModel(conv(1), size=24, mean=MEAN))
    model, _, _, seen = twins(1, small_features(), small_head())
    for run in (
        explain,
        lambda m, p: m.encode(p.a),
        lambda m, p: embed_corpus(m, p.a),
        lambda m, p: evaluate([m], p, ["grad_cam"], ["SD"]),
    ):
        assert "expected images (n, 1, h, w) for 'custom', got (2, 3, 24, 24)" in refusal(lambda run=run: run(model, seen))


def test_finding_channels_changes_nothing() -> None:
    module = nn.Sequential(nn.BatchNorm2d(2), conv(2)).train()
    state, before = torch.get_rng_state(), copy.deepcopy(module.state_dict())
    assert channels_of(module, 24) == 2
    assert module.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


class Plain(nn.Module):
    """A network of two channels, cut by torch.fx or, where its code looks at values, by being run."""

    def __init__(self, looks: bool) -> None:
        super().__init__()
        self.layer, self.fc, self.looks = conv(2), nn.Linear(4, 3), looks

    def forward(self, x):
        assert not self.looks or x.mean() < 9
        return self.fc(self.layer(x).mean((2, 3)))


@pytest.mark.parametrize("looks", [False, True])
def test_networks_of_any_channels_are_cut(looks) -> None:
    net = Plain(looks).eval()
    model, x = PairModel.from_module(net, "layer", size=24), torch.rand(2, 2, 24, 24)
    assert model.channels == 2
    assert_close(model.embed_a(x), net(x), rtol=1e-5)


def test_vision_transformers_of_any_channels_are_opened() -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed (extra: timm)")
    net = timm.create_model(
        "vit_tiny_patch16_224", in_chans=2, img_size=32, patch_size=8, embed_dim=16, depth=1, num_heads=2, num_classes=0
    )
    model, x = PairModel.from_module(net.eval(), "blocks", size=32, mean=0.5), torch.rand(2, 2, 32, 32)
    assert_close(model.embed_a(x), net(x), rtol=1e-4, atol=1e-5)
    assert explain(model, Pair(x[:1], x[1:]), "deep_similarity").a.shape == (1, 4, 4)


@CHANNELS
def test_stored_values_are_kept_for_models_of_any_channels(tmp_path, c) -> None:
    model, pair, *_ = twins(c, small_features(), small_head())
    first, again = (evaluate([model], pair, ["grad_cam"], ["SAD"], store=tmp_path) for _ in range(2))
    assert first["value"].tolist() == again["value"].tolist()
    assert first["value"].tolist() == pytest.approx(measure(model, pair, explain(model, pair, "grad_cam"), ["SAD"])["SAD"].tolist())
    other = PairModel(model.features_a, model.head_a, size=24, mean=[0.1] * c, std=model._std.flatten().tolist())
    assert model_key(model) != model_key(other)


def test_the_lab_shows_rgb_alone(tmp_path) -> None:
    assert "RGB images for the lab" in refusal(lambda: export(PairModel(conv(1), size=24), tmp_path / "x"))


GREY = (np.arange(20 * 24).reshape(20, 24) % 256).astype(np.uint8)
MANY = np.stack([np.roll(GREY, k, 1) for k in range(5)], 2)


def saved(folder, kind: str):
    path = folder / f"it.{kind.partition(' ')[0]}"
    if kind == "npy":
        np.save(path, MANY)
    elif kind == "npy first":
        np.save(path, MANY.transpose(2, 0, 1))
    else:
        tifffile = pytest.importorskip("tifffile")
        tifffile.imwrite(path, MANY if kind == "tif" else np.ascontiguousarray(MANY.transpose(2, 0, 1)), photometric="minisblack")
    return path


@pytest.mark.parametrize("kind", ["npy", "npy first", "tif", "tif pages"])
def test_files_of_many_channels(tmp_path, kind) -> None:
    want = torch.from_numpy(MANY).permute(2, 0, 1)[None] / 255
    assert_close(open_photo(saved(tmp_path, kind), channels=5), want)
    model = PairModel(conv(5), size=12)
    pair = Pair.open(saved(tmp_path, kind), MANY / 255, model)
    assert pair.a.shape == (1, 5, 12, 12)
    assert_close(pair.a, pair.b, rtol=1e-6)
    assert explain(model, MANY, score=lambda za, zb: za.sum(1)).a.shape == (1, 10, 10)


def test_what_an_array_holds_is_brought_to_zero_to_one() -> None:
    assert_close(open_photo(MANY.astype(np.uint16) * 257, channels=5), open_photo(MANY, channels=5))
    with pytest.warns(UserWarning, match="no value above 1020 of 65535, so it is nearly black"):
        open_photo(MANY.astype(np.uint16) * 4, channels=5)
    assert_close(open_photo(GREY.astype(np.float32) / 255, channels=1), open_photo(GREY, channels=1))


def test_a_grey_file_stays_grey_for_one_channel_and_becomes_three_for_three(tmp_path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    want = torch.from_numpy(GREY)[None, None] / 255
    with warnings.catch_warnings(action="error"):
        assert_close(open_photo(tmp_path / "a.png", channels=1), want)
    assert_close(open_photo(tmp_path / "a.png"), want.expand(-1, 3, -1, -1))
    assert open_photo(tmp_path / "a.png", 10, "pad", 1).shape == (1, 1, 10, 10)


@pytest.mark.parametrize("form", ["file", "bytes", "floats"])
def test_colours_are_turned_grey_for_one_channel_and_that_is_said(tmp_path, form) -> None:
    rgb = np.stack([GREY, GREY[::-1], 255 - GREY], 2)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    with pytest.warns(UserWarning, match="colours were turned to grey by their luma"):
        got = open_photo({"file": tmp_path / "a.png", "bytes": rgb, "floats": rgb / 255}[form], channels=1)
    want = (rgb / 255 @ np.array([0.299, 0.587, 0.114]))[None, None]
    assert_close(got, torch.from_numpy(want).float(), rtol=0, atol=0.5 / 255 + 1e-4)


def test_bands_of_a_picture_as_they_are() -> None:
    rgba = np.dstack([MANY[..., :3], 255 - GREY])
    assert_close(open_photo(Image.fromarray(rgba), channels=4), torch.from_numpy(rgba).permute(2, 0, 1)[None] / 255)


@pytest.mark.parametrize(
    ("source", "c", "says"),
    [
        ("cat", 5, r"expected an array (h, w, 5), got (300, 451, 3)"),
        (MANY, 3, r"expected an array (h, w, 3) or (h, w), got (20, 24, 5)"),
        (MANY[..., :2], 1, r"expected an array (h, w, 1) or (h, w), got (20, 24, 2)"),
        (torch.rand(3, 9, 9), 1, "expected a tensor (1, h, w) or (n, 1, h, w), got (3, 9, 9)"),
        (Image.fromarray(GREY), 2, "expected 2 channels, got a picture of mode L of 1 (L); an array (h, w, 2), a .npy file or a TIFF"),
    ],
)
def test_other_channels_are_told_in_a_line(source, c, says) -> None:
    assert says in refusal(lambda: open_photo(source, channels=c))


def test_files_of_other_channels_or_none_are_told_in_a_line(tmp_path, monkeypatch) -> None:
    assert "expected an array (h, w, 4) or (4, h, w), got (20, 24, 5) in 'it.npy'" in refusal(
        lambda: open_photo(saved(tmp_path, "npy"), channels=4)
    )
    np.save(tmp_path / "o.npy", np.array([[{}]]))
    (tmp_path / "bad.npy").write_bytes(b"no")
    np.save(tmp_path / "small.npy", MANY[:4])
    assert "cannot be decoded" in refusal(lambda: open_photo(tmp_path / "o.npy"))
    assert "cannot be decoded" in refusal(lambda: open_photo(tmp_path / "bad.npy"))
    assert "at least 8 x 8 pixels" in refusal(lambda: open_photo(tmp_path / "small.npy", channels=5))
    path = saved(tmp_path, "tif")
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    assert "expected a reader of 5 channels for 'it.tif', got none; pip install tifffile" in refusal(lambda: open_photo(path, channels=5))


MAPS = Explanation(torch.rand(1, 3, 3), torch.rand(1, 3, 3), torch.ones(1), method="grad_cam")


def test_grey_is_shown_as_grey_and_of_many_channels_those_that_are_chosen(tmp_path) -> None:
    grey, many = torch.rand(1, 4, 4), torch.rand(5, 4, 4)
    assert torch.equal(coloured(grey), grey.expand(3, -1, -1))
    assert torch.equal(coloured(many), many[:3])
    assert torch.equal(coloured(many[:2]), many[:1].expand(3, -1, -1))
    assert torch.equal(coloured(many, (4, 1, 0)), many[[4, 1, 0]])
    assert torch.equal(coloured(many, 3), many[3:4].expand(3, -1, -1))
    for wrong in ((0, 1), 5, (0, 1, 5), (), (0, 1.5, 2), "012"):
        assert "expected one or three channels of 0 to 4 to be shown, got" in refusal(lambda wrong=wrong: coloured(many, wrong))


def test_figures_say_which_channels_they_show(tmp_path) -> None:
    def titles(c: int, **options) -> set[str]:
        return {a.text for a in pair_figure(Pair(torch.rand(1, c, 16, 16), torch.rand(1, c, 16, 16)), MAPS, **options).layout.annotations}

    assert titles(1) == titles(3) >= {"A", "B", "map of A", "map of B"}
    assert titles(5) >= {"A, channels 0, 1, 2", "B, channels 0, 1, 2", "map of A", "map of B"}
    assert titles(5, channels=4) >= {"A, channel 4", "B, channel 4"}
    pair = Pair(torch.rand(1, 5, 16, 16), torch.rand(1, 5, 16, 16))
    show(pair, MAPS, tmp_path / "a.html", channels=(4, 2, 0))
    assert "<td>shown</td><td>channels 4, 2, 0</td>" in (tmp_path / "a.html").read_text()
    save_png(tmp_path / "a.png", pair, MAPS, channels=2)
    assert show(Pair(pair.a), Explanation(MAPS.a, None, MAPS.score, method="grad_cam"), channels=2) is not None


def test_operations_that_know_no_colours_take_any_channels_and_the_others_say_so() -> None:
    grey, many = torch.rand(2, 1, 9, 9), torch.rand(2, 5, 9, 9)
    assert torch.equal(augment.luma(grey), grey)
    assert_close(augment.luma(many), many.mean(1, keepdim=True))
    assert augment.gaussian_blur(many, 1.0, 3).shape == many.shape
    assert_close(augment.jpeg(grey, 100), grey, rtol=0, atol=0.02)
    assert "which JPEG holds, got (2, 5, 9, 9)" in refusal(lambda: augment.jpeg(many, 90))
    assert "which have a hue, got (2, 1, 9, 9)" in refusal(lambda: augment.hue(grey, 0.1))
