"""PairModel keeps its law, leaves what it is given alone, and is as fast as it is right."""

import copy
import math
import sys
import threading
import time
import types
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import nn

from tests.conftest import STATS, assert_close, build, random_pair, small_features, small_head
from xaicl_lib import InputError, PairModel, explain, load_model, measure
from xaicl_lib.evaluation.fingerprint import digest
from xaicl_lib.images import open_photo
from xaicl_lib.layers import cut, fold_batch_norms
from xaicl_lib.model import embed_corpus, resolve_device
from xaicl_lib.retrieval import embed_gallery
from xaicl_lib.scores import corpus_similarity, cosine


def test_normalize_is_mean_and_deviation(projected) -> None:
    x = random_pair(1).a
    assert_close(projected.normalize(x)[:, 1], (x[:, 1] - 0.5) / 0.25)


def test_embed_is_head_of_features(model, pair) -> None:
    x = model.normalize(pair.a)
    assert torch.equal(model.embed_a(x), model.head_a(model.features_a(x)))
    assert torch.equal(model.embed_b(x), model.head_b(model.features_b(x)))


def test_both_sides_in_one_batch_or_two(model, pair) -> None:
    sides = [model.normalize(side) for side in pair.sides]
    seen = []
    model.features_a.register_forward_hook(lambda module, given, out: seen.append(len(given[0])))
    for got, want in zip(model.embed(sides), (model.embed_a(sides[0]), model.embed_b(sides[1])), strict=True):
        assert_close(got, want)
    assert seen[:1] == ([6] if model.symmetric else [3])
    for got, want in zip(model.features(sides), (model.features_a(sides[0]), model.features_b(sides[1])), strict=True):
        assert_close(got, want)
    uneven = [sides[0], sides[1][:, :, :20]]
    assert_close(model.embed(uneven)[1], model.embed_b(uneven[1]))
    assert len(model.embed(sides[:1])) == 1


def test_the_modules_given_stay_as_they_are() -> None:
    features, head = small_features().train(), small_head()
    head[3].eval()
    model = PairModel(features, head, size=24)
    explain(model, random_pair())
    assert features.training
    assert head.training
    assert not head[3].training
    assert all(p.requires_grad for p in [*features.parameters(), *head.parameters()])
    assert isinstance(features[1], nn.BatchNorm2d)
    assert not any(m.training for m in [*model._parts.modules(), *model.fast._parts.modules()])


def test_branches_share_what_was_shared() -> None:
    assert build("projected").symmetric
    assert build("projected").fast.symmetric
    two = build("two branches")
    assert not two.symmetric
    assert two.features_a is two.features_b
    assert two.fast.features_a is two.fast.features_b
    assert two.fast.head_a is not two.fast.head_b


def test_fast_equals_plain_with_every_norm_folded(model, pair) -> None:
    fast, x = model.fast, model.normalize(pair.a)
    assert_close(fast.embed_a(x), model.embed_a(x))
    assert_close(fast.embed_b(x), model.embed_b(x))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fast._parts.modules())
    assert fast is model.fast
    assert fast.fast is fast


def test_layers_shared_by_both_sides_are_folded_once(pair) -> None:
    """As in SimSiam or BYOL, where one side's modules hold layers of the other's and some of their own."""
    layers = small_features()
    longer = nn.Sequential(*layers, nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)).double()
    nn.init.normal_(longer[-1].weight)
    model = PairModel(longer, size=24, features_b=layers, **STATS)
    x = model.normalize(pair.a)
    assert_close(model.fast.embed_a(x), model.embed_a(x))
    assert_close(model.fast.embed_b(x), model.embed_b(x))
    bare = nn.Sequential(layers[0], nn.ReLU(), layers[3])  # the same convolution without its norm
    model = PairModel(layers, size=24, features_b=bare, **STATS)
    assert_close(model.fast.embed_a(x), model.embed_a(x))
    assert_close(model.fast.embed_b(x), model.embed_b(x))


def test_an_empty_head_is_a_head() -> None:
    model = PairModel(small_features(), small_head(), head_b=nn.Sequential(), size=24)
    assert not model.symmetric
    assert len(model.head_b) == 0


def test_fast_follows_the_weights(pair) -> None:
    model = build("projected")
    before = explain(model, pair)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other._parts.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(0))
    after = explain(other, pair)
    assert not torch.allclose(before.a, after.a)
    assert_close(after.score, torch.cosine_similarity(other.embed_a(other.normalize(pair.a)), other.embed_b(other.normalize(pair.b))))
    assert torch.equal(explain(model, pair).a, before.a)


def behind_the_back(change):
    """A change of a weight that neither its identity nor its version tells."""

    def done(model: PairModel) -> None:
        weight = model._parts["features"][3].weight
        before = id(weight), weight._version
        change(weight)
        assert (id(weight), weight._version) == before

    return done


def with_buffer(model: PairModel) -> None:
    model._parts["features"][1].running_mean.data.add_(1)


def with_hook(model: PairModel) -> None:
    model._parts["features"][2].register_forward_hook(lambda module, given, out: out * out)


def with_number(model: PairModel) -> None:
    model._parts["features"][1].eps = 1.0


def with_layer(model: PairModel) -> None:
    model._parts["features"][2] = nn.Tanh()


CHANGES = {
    "sign": behind_the_back(lambda w: w.data.mul_(-1)),
    "order": behind_the_back(lambda w: w.data.copy_(w.data.flip(0, 1))),
    "one bit": behind_the_back(lambda w: w.data[0, 0, 0, 0].mul_(1 + 1e-15)),
    "tensor": behind_the_back(lambda w: setattr(w, "data", w.data * 2)),
    "buffer": with_buffer,
    "hook": with_hook,
    "number": with_number,
    "layer": with_layer,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_fast_sees_every_change(change, pair) -> None:
    model = build("projected")
    old, x = model.fast, model.normalize(pair.a)
    assert model.fast is old
    change(model)
    assert model.fast is not old
    assert model.fast is model.fast
    assert_close(model.fast.embed_a(x), model.embed_a(x))


def test_models_made_and_used_in_inference_mode_stay_usable(pair) -> None:
    with torch.inference_mode():
        model = PairModel(small_features(), small_head(), size=24, **STATS)
        explain(model, pair, "conditional_occlusion")
    usual = build("projected")
    for name in ("input_x_gradient", "interaction_cam"):  # autograd refuses tensors made in inference mode
        assert_close(explain(model, pair, name).a, explain(usual, pair, name).a)


def test_features_that_are_no_map_are_named(pair) -> None:
    tokens = nn.Sequential(*small_features(), nn.Flatten(2))
    with pytest.raises(InputError, match=r"a map \(n, c, i, j\), got shape \(3, 6, 36\)"):
        explain(PairModel(tokens, nn.Flatten(), size=24), pair, "grad_cam")


@pytest.mark.parametrize("first", [nn.SiLU(inplace=True), nn.ReLU(inplace=True)])
def test_heads_may_begin_in_place(pair, first) -> None:
    rest = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5).double())
    in_place = PairModel(small_features(), nn.Sequential(first, *rest), size=24, **STATS)
    plain = PairModel(small_features(), nn.Sequential(type(first)(), *rest), size=24, **STATS)
    for name in ("grad_cam", "interaction_cam", "deep_similarity", "integrated_jacobians"):
        assert_close(explain(in_place, pair, name).a, explain(plain, pair, name).a)


def test_a_cut_module_is_in_evaluation() -> None:
    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.scale = nn.Conv2d(3, 4, 3), nn.Parameter(torch.full((1,), 2.0))

        def forward(self, x):
            x = self.conv(F.dropout(x * self.scale, 0.5, training=self.training))
            return x.mean((2, 3)) * self.scale  # used before the cut and behind it

    net = Dropping()
    model = PairModel.from_module(net, "conv", size=16)
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(model.embed_a(x), model.embed_a(x))
    assert_close(model.embed_a(x), net.eval()(x), rtol=1e-6)


def test_fast_follows_a_move() -> None:
    model = build("projected")
    assert model.fast.dtype == torch.float64
    model.to(torch.float32)
    assert model.fast.dtype == model.dtype == torch.float32


def test_moving_the_fast_form_leaves_the_model_whole(pair) -> None:
    model = build("projected")
    model.fast.to(torch.float32)
    assert model.dtype == torch.float64
    model.embed_a(model.normalize(pair.a))


def test_norms_that_cannot_be_folded_stay() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
            nn.init.normal_(self.norm.bias)

        def forward(self, x):
            y = self.conv(x)
            return self.norm(y) + y  # the convolution's output is used bare, too

    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))

        def forward(self, x):
            return self.net(x) if x.sum() > 0 else x  # torch.fx cannot trace this

    for module in (Twice().eval(), Branching().eval()):
        x = torch.rand(2, 3, 4, 4)
        want = module(x)
        fold_batch_norms(module)
        assert_close(module(x), want, rtol=1e-5)
        assert any(isinstance(m, nn.BatchNorm2d) for m in module.modules())


class _Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        nn.init.uniform_(self.norm.running_var, 0.2, 3)
        nn.init.normal_(self.norm.running_mean)


class _WeightsRead(_Base):
    def forward(self, x):
        return self.norm(self.conv(x)).relu() + nn.functional.conv2d(x, self.conv.weight, padding=1)


class _ByKeyword(_Base):
    def forward(self, x):
        return self.norm(self.conv(x)) + self.norm(input=x)


class _NormRead(_Base):
    def forward(self, x):
        return self.norm(self.conv(x)) * self.norm.weight.view(1, -1, 1, 1)


class _Untraced(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x):
        return self.norm(x) if x.sum() > -1e9 else x


@pytest.mark.parametrize("kind", [_WeightsRead, _ByKeyword, _NormRead])
def test_layers_that_are_used_otherwise_as_well_are_not_folded(kind) -> None:
    module, x = kind().eval(), torch.rand(2, 3, 8, 8)
    want = module(x)
    fold_batch_norms(module)
    assert_close(module(x), want, rtol=1e-5, atol=1e-6)


def test_a_norm_shared_with_what_cannot_be_traced_is_not_folded() -> None:
    base, x = _Base().eval(), torch.rand(2, 3, 8, 8)
    first, second = nn.Sequential(base.conv, base.norm).eval(), _Untraced(base.norm).eval()
    want = first(x), second(x)
    fold_batch_norms(first, second)
    assert_close(first(x), want[0], rtol=1e-5, atol=1e-6)
    assert_close(second(x), want[1], rtol=1e-5, atol=1e-6)


def test_a_torchvision_network_in_one_line() -> None:
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=16).eval()
    model = PairModel.from_module(net, "layer4", size=64)
    x = torch.rand(2, 3, 64, 64)
    assert model.features_a(x).shape == (2, 512, 2, 2)
    assert_close(model.embed_a(x), net(x), rtol=1e-4, atol=1e-5)
    assert_close(model.fast.embed_a(x), net(x), rtol=1e-3, atol=1e-4)
    made = explain(model, random_pair(1, (64, 64), (64, 64)))
    assert made.a.shape == (1, 2, 2)


def test_cutting_where_it_cannot_be_cut() -> None:
    net = torchvision.models.resnet18().eval()
    with pytest.raises(InputError, match=r"got 'layer9'; at the top there are: conv1, bn1"):
        cut(net, "layer9")
    with pytest.raises(InputError, match="bypasses"):
        cut(net, "layer4.1.conv1")  # the shortcut goes around it
    with pytest.raises(InputError, match=r"torch.fx can trace.*features= and head="):
        cut(nn.Sequential(nn.Identity(), Dynamic()), "0")


class Dynamic(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


WRONG_SIZES = [
    *(None, True, 224.0, "224", -3, math.nan, (), (224, 192), (224, "224"), (3, 224, 192), (1, 3, 224, 224)),
    *({}, {"longest_edge": 224}, {"shortest_edge": None}, {"height": 224}, {"height": 224, "width": 192}, {"shortest_edge": "224"}),
]
WRONG_STATISTICS = [None, "0.5", True, math.nan, (0.5, math.nan, 0.5), (0.5, math.inf, 0.5), (0.5, None, 0.5), (), {"r": 0.5}]


class Sides:
    """As transformers' SizeDict: no mapping, all of whose keys are there."""

    def __init__(self, **sides: int) -> None:
        self.sides = sides

    def get(self, key: str, default: object = None) -> object:
        return self.sides.get(key, default)


SIZES = [np.int64(24), (24, 24), [24, 24], (3, 24, 24), torch.Size([24, 24]), {"height": 24, "width": 24}, {"shortest_edge": 24}]
SIZES += [{"shortest_edge": None, "height": 24, "width": 24}, {"shortest_edge": 24, "height": None}]


@pytest.mark.parametrize("size", [*SIZES, Sides(height=24, width=24), Sides(shortest_edge=24)])
def test_sizes_as_processors_have_them(size) -> None:
    model = PairModel(small_features(), size=size)
    assert model.size == 24
    assert type(model.size) is int


@pytest.mark.parametrize("mean", [0.5, [0.5] * 3, np.full(3, 0.5), torch.full((3,), 0.5), np.float32(0.5), (np.float32(0.5), 0.5, 0.5)])
def test_one_number_for_all_channels_or_any_three(mean) -> None:
    model, same = (
        PairModel(small_features(), size=24, mean=mean, std=2),
        PairModel(small_features(), size=24, mean=[0.5] * 3, std=[2.0] * 3),
    )
    assert torch.equal(model.normalize(random_pair(1).a), same.normalize(random_pair(1).a))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"features": lambda x: x}, "expected a torch module as features, got function"),
        ({"head": "mean"}, "expected a torch module as head, got str"),
        ({"mean": (0.5,)}, "size, mean and std of as many channels, got 1 and 3"),
        ({"std": (1, 1, 0)}, "std > 0"),
        ({"size": 0}, "size in pixels"),
        *(({"size": wrong}, "expected a size in pixels of square images") for wrong in WRONG_SIZES),
        *(({"mean": wrong}, "expected mean of each channel, finite numbers, got") for wrong in WRONG_STATISTICS),
        *(({"std": wrong}, "expected std of each channel, finite numbers, got") for wrong in WRONG_STATISTICS),
        ({"mean": None}, r"leave it out for a network that takes pixels in \[0, 1\]"),
        ({"std": -1}, "std > 0"),
    ],
)
def test_models_that_cannot_be(options, says) -> None:
    with pytest.raises(InputError, match=says):
        PairModel(**{"features": small_features(), "size": 24, **STATS, **options})


def test_devices() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda")
    with pytest.raises(InputError, match="unknown or missing device 'gpu'; there are: auto, cpu"):
        resolve_device("gpu")
    for odd in ("meta", "", None, 1.5):
        with pytest.raises(InputError, match=r"unknown or missing device .*; there are: auto, cpu"):
            resolve_device(odd)
    with pytest.raises(InputError, match="'cuda:99'"):
        resolve_device("cuda:99")


def test_scaled_chunk() -> None:
    model = build("projected")
    assert model.chunk(96 * 96) == 12
    assert model.chunk(10**9) == 4


@pytest.mark.parametrize("chunk", [-1, 0, 1.5, True])
def test_chunks_of_no_images_are_refused(chunk, tmp_path) -> None:
    model, pair = build("projected"), random_pair(2)
    Image.effect_noise((30, 30), 90).save(tmp_path / "a.png")
    for ask in (
        lambda: model.encode(pair.a, chunk=chunk),
        lambda: embed_corpus(model, str(tmp_path), chunk=chunk),
        lambda: embed_gallery(model, tmp_path, tmp_path / "a.safetensors", chunk=chunk),
        lambda: explain(model, pair, "grad_cam", chunk=chunk),
        lambda: measure(model, pair, explain(model, pair, "grad_cam"), "SI", chunk=chunk),
    ):
        with pytest.raises(InputError, match=f"expected chunk .*, got {chunk}"):
            ask()
    assert torch.equal(model.encode(pair.a, chunk=np.int64(1)), model.encode(pair.a, chunk=1))
    maps = explain(model, pair, "grad_cam")
    assert measure(model, pair, maps, "SI", chunk=np.int64(3))["SI"].shape == (2,)


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("chunk", [None, 1, 2, 7])
def test_encoding_is_embedding_one_by_one(model, side, chunk) -> None:
    """Slowly: the formula itself, image by image, on the plain form."""
    images = random_pair(5).a
    mean, std = (torch.tensor(STATS[k]).view(3, 1, 1) for k in ("mean", "std"))
    parts = model._parts["features" if side == "a" else "features_b"], model._parts["head" if side == "a" else "head_b"]
    want = torch.stack([parts[1](parts[0](((image - mean) / std)[None]))[0] for image in images])
    assert_close(model.encode(images, side, chunk), want)
    assert_close(model.encode_inputs((model.normalize(image[None]) for image in images), side), want)


def test_encoding_leaves_no_gradient_and_no_trace(projected) -> None:
    images = random_pair(2).a.requires_grad_()
    with torch.enable_grad():
        assert not projected.encode(images).requires_grad
        assert not projected.encode_inputs([projected.normalize(images)]).requires_grad
    assert images.grad is None
    sizes: list[int] = []
    projected.fast.features_a.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    projected.fast.encode(random_pair(5).a, chunk=2)
    assert sizes == [2, 2, 1]


def test_the_fast_form_follows_what_is_no_buffer() -> None:
    class Holding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.held, self.listed, self.both = torch.ones(3, 1, 1), [1.0], (torch.ones(3, 1, 1),)
            self.settings = types.SimpleNamespace(of={"gain": [torch.ones(3, 1, 1), 1.0]})
            self.settings.itself = self.settings

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            gain, factor = self.settings.of["gain"]
            return (x * self.held * self.listed[0] * self.both[0] * gain * factor)[..., ::8, ::8]

    model, pixels = PairModel(net := Holding(), size=24), random_pair(1).a.float()

    def doubled(change) -> None:
        before = model.encode(pixels)
        change()
        assert_close(model.encode(pixels), 2 * before, rtol=1e-6)

    doubled(lambda: model.features_a.held.mul_(2))
    doubled(lambda: model.features_a.listed.__setitem__(0, 2.0))
    doubled(lambda: model.features_a.both[0].mul_(2))
    doubled(lambda: model.features_a.settings.of["gain"].__setitem__(1, 2.0))
    doubled(lambda: model.features_a.settings.of["gain"][0].mul_(2))
    doubled(lambda: setattr(model.features_a.settings, "of", {"gain": [4.0, 2.0]}))
    assert net is not None


def test_models_made_fast_in_two_threads_leave_warnings_and_streams_as_they_were() -> None:
    class Slow(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            time.sleep(0.1)
            return x[..., ::8, ::8]

    before, stream = list(warnings.filters), sys.stderr
    threads = [threading.Thread(target=lambda: PairModel(Slow(), size=24).fast) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert sys.stderr is stream
    assert warnings.filters == before


def test_statistics_of_bytes_are_refused() -> None:
    net = small_features()
    with pytest.raises(InputError, match=r"of pixels in \[0, 1\], got mean=\(123.675, 116.28, 103.53\); divide both by 255"):
        PairModel(net, size=24, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    assert PairModel(net, size=24, mean=0.0, std=1 / 255).channels == 3, "a network that takes bytes"


def test_what_cannot_be_encoded(projected) -> None:
    with pytest.raises(InputError, match="unknown side 'c'; there are: a, b"):
        projected.encode(random_pair(1).a, "c")
    for wrong in (random_pair(1).a[0], random_pair(1).a[:0]):
        with pytest.raises(InputError, match=r"expected images \(n, c, h, w\), at least one"):
            projected.encode(wrong)


def test_likeness_to_folders_tensors_and_texts(tmp_path) -> None:
    model, images = build("two branches"), random_pair(4).b
    score = model.like(images[:3], foil=images[3:])
    want = corpus_similarity(model.embed_b(model.normalize(images[:3])), model.embed_b(model.normalize(images[3:])))
    z = model.embed_a(model.normalize(random_pair(2).a))
    assert_close(score(z, None), want(z, None))
    assert_close(model.like(images)(z), corpus_similarity(model.encode(images, "b"))(z))
    assert digest(model.like(images[:3], foil=images[3:])) == digest(score)
    for k, image in enumerate(images[:3]):
        Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy()).save(tmp_path / f"{k}.png")
    assert_close(model.like(tmp_path)(z), model.like(open_photo([tmp_path / f"{k}.png" for k in range(3)]))(z))
    with pytest.raises(InputError, match="a text side"):
        model.like(["a star"])
    reader = load_model("scenes_clip", "cpu")
    z = reader.embed_text(["a star"])
    want = 1 - cosine(z, reader.embed_text(["a disc"])).item()
    assert reader.like(["a star"], foil=["a disc"])(z).item() == pytest.approx(want, abs=1e-5)
