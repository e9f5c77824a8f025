"""SimCLRv2 read from a file that TensorFlow wrote, against what TensorFlow computed from it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import assert_close
from tests.zoo.published import random_value, simclr_shapes
from xaicl_lib import InputError
from xaicl_lib.checkpoints import simclr_v2
from xaicl_lib.checkpoints.tf_bundle import Bundle, _Entry
from xaicl_lib.zoo.official import _fill

TINY = Path(__file__).parent / "fixtures" / "tiny" / "model.ckpt-250228.index"
OPTIONS = {"width": 1, "slim": 64, "blocks": (2, 1, 1, 1), "out": 4}


def tiny() -> torch.nn.ModuleDict:
    with torch.device("meta"):
        net = simclr_v2.READER.network(**OPTIONS)
    _fill(net, simclr_v2.READER.read([TINY], net, **OPTIONS))
    return net.eval()


def test_every_tensor_has_its_place() -> None:
    net, bundle = tiny(), Bundle(TINY)
    scope = "ema_model/"
    assert torch.equal(net["features"].conv1.weight[0, :, 2, 3], bundle.read(f"{scope}base_model/conv2d/kernel")[2, 3, :, 0])
    first = net["features"].layer1[0]
    assert torch.equal(first.downsample[1].running_mean, bundle.read(f"{scope}base_model/batch_normalization_1/moving_mean"))
    assert torch.equal(first.conv2.weight, bundle.read(f"{scope}base_model/conv2d_3/kernel").permute(3, 2, 0, 1))
    assert torch.equal(net["head"].projector[6].weight, bundle.read(f"{scope}head_contrastive/nl_2/dense/kernel").T)
    assert (net["head"].projector[7].bias == 0).all()
    assert sum(p.numel() for p in net.parameters()) - 4 == sum(
        int(np.prod(e.shape)) for n, e in bundle.entries.items() if n.startswith(scope) and "moving" not in n
    )


@pytest.mark.parametrize("size", ["32x32", "33x45"])
def test_every_stage_equals_tensorflows(size) -> None:
    net, want = tiny(), np.load(TINY.parents[1] / "tiny_outputs.npz")
    features, head = net["features"], net["head"].projector
    layers = {"conv": features.conv1, "pool": features.maxpool, "head0": head[2], "head1": head[5], "head2": head[7]}
    layers |= {f"group{k}": getattr(features, f"layer{k}") for k in (1, 2, 3, 4)}
    got = {}
    for name, layer in layers.items():
        layer.register_forward_hook(lambda module, given, out, name=name: got.update({name: out}))
    net["head"](features(torch.from_numpy(want[f"{size}/photos"]).permute(0, 3, 1, 2) / 255))
    assert set(got) == set(layers)
    for name, value in got.items():
        there = torch.from_numpy(want[f"{size}/{name}"])
        assert there.std() > 0.1, "a stage that is dead would agree with anything"
        assert_close(value.permute(0, 2, 3, 1) if value.ndim == 4 else value, there, rtol=1e-4, atol=1e-5)


class Given:
    """A bundle of names and shapes alone."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.entries = {name: _Entry(1, shape, 0, 0, 0, 0, False) for name, shape in shapes.items()}
        self.generator = torch.Generator().manual_seed(0)

    def read(self, name: str) -> torch.Tensor:
        return random_value(name, self.entries[name].shape, self.generator)


def read_given(monkeypatch, shapes: dict, **options) -> tuple:
    monkeypatch.setattr(simclr_v2, "Bundle", lambda index: Given(shapes))
    with torch.device("meta"):
        net = simclr_v2.READER.network(**options)
    return net, simclr_v2.READER.read([Path("model.ckpt-250228.index")], net, **options)


@pytest.mark.parametrize("width", [1, 2])
def test_full_size_in_the_official_naming(width, monkeypatch) -> None:
    """The moving average with slots of the optimizer, and all else that is left aside; no name is left over on either side."""
    shapes = {f"ema_model/{name}": shape for name, shape in simclr_shapes(width).items()}
    shapes |= {f"{name}/Momentum": shape for name, shape in shapes.items() if "moving" not in name} | simclr_shapes(width)
    shapes |= {"global_step": (), "memory": (3,), "head_supervised/linear_layer/dense/kernel": (2048 * width, 1000)}
    net, tensors = read_given(monkeypatch, shapes, width=width)
    assert set(tensors) == set(net.state_dict())
    _fill(net, tensors)
    net.eval()
    with torch.inference_mode():
        f = net["features"](torch.rand(1, 3, 224, 224))
        z = net["head"](f)
    assert f.shape == (1, 2048 * width, 7, 7)
    assert z.shape == (1, 128)
    assert z.isfinite().all()


def test_without_a_moving_average_the_weights_themselves(monkeypatch) -> None:
    net, tensors = read_given(monkeypatch, simclr_shapes(1, 1, (2, 1, 1, 1), 4), **OPTIONS)
    assert set(tensors) == set(net.state_dict())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("base_model/conv2d_3/kernel"), "missing: base_model/conv2d_3/kernel$"),
        (lambda s: s.update({"base_model/conv2d_60/kernel": (1,)}), "surplus: base_model/conv2d_60/kernel$"),
        (lambda s: s.update({"base_model/conv2d/kernel": (7, 7, 3, 2)}), r"wrong shape: base_model/conv2d/kernel \(7, 7, 3, 2\) for"),
        (lambda s: [s.pop(n) for n in list(s) if "head_c" in n], r"\(it seems to be a backbone alone.*missing: .*, \.\.\. \(14 in all\)"),
    ],
)
def test_what_does_not_fit_is_listed(change, says, monkeypatch) -> None:
    shapes = simclr_shapes(1, 1, (2, 1, 1, 1), 4)
    change(shapes)
    with pytest.raises(InputError, match=says):
        read_given(monkeypatch, shapes, **OPTIONS)


def test_the_other_width_is_noticed(monkeypatch) -> None:
    with pytest.raises(InputError, match=r"wrong shape: base_model/conv2d/kernel \(7, 7, 3, 64\) for \(7, 7, 3, 128\)"):
        read_given(monkeypatch, simclr_shapes(1), width=2)


def test_fine_tuned_files_are_refused_by_their_step(tmp_path) -> None:
    for path in TINY.parent.iterdir():
        shutil.copy(path, tmp_path / path.name.replace("250228", "37535"))
    with pytest.raises(InputError, match=r"'model\.ckpt-37535\.index': one of another step is fine-tuned or supervised"):
        simclr_v2.READER.read([tmp_path / "model.ckpt-37535.index"], simclr_v2.READER.network(**OPTIONS))
