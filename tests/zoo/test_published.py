"""The networks of PyTorch checkpoints against those of their publishers: names, shapes, outputs, at full size."""

from importlib import import_module
from pathlib import Path

import pytest
import torch

from tests.conftest import assert_close
from tests.zoo.published import KEYS, barlow_twins, checkpoint, moco_v3_r50, random_state, resnet50, simsiam, state_without_memory
from xaicl_lib import InputError
from xaicl_lib.zoo.official import OFFICIAL, _empty_network, _fill

NAMES = pytest.mark.parametrize("name", list(KEYS))


def saved(name: str, path: Path, state: dict | None = None, **changes) -> Path:
    """A file as the publisher's, of full-size shapes and random values; names mapped to None are left out."""
    state = (state or random_state(state_without_memory(name))) | changes
    torch.save(checkpoint(name, {n: v for n, v in state.items() if v is not None}), path)
    return path


def read(name: str, path: Path) -> torch.nn.ModuleDict:
    row = OFFICIAL[name]
    net = _empty_network(row)
    _fill(net, import_module(f"xaicl_lib.checkpoints.{row.reader}").READER.read([path], net, **row.options))
    return net.eval()


@NAMES
def test_full_size_in_the_official_naming(name, tmp_path) -> None:
    """No name is left over on either side; a photo of 224 pixels gives a map and embeddings that depend on it."""
    net = read(name, saved(name, tmp_path / "checkpoint"))
    assert sum(p.numel() for p in net.parameters()) == OFFICIAL[name].parameters
    vit = "vit" in name
    x = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        for branch in ("", "_b") if "features_b" in net else ("",):
            f = net["features" + branch](x)
            assert f.shape[2:] == ((14, 14) if vit else (7, 7))
            z = net["head" + branch](f)
            assert str(z.shape[1]) in OFFICIAL[name].head
            assert z.isfinite().all()


def test_the_outputs_of_the_publishers_modules(tmp_path) -> None:
    """Put together from torchvision as in the published code, one after another, on the same weights and photo."""
    x = torch.rand(1, 3, 64, 64)
    for name, make in {"barlow_twins": barlow_twins, "simsiam": simsiam, "moco_v3_r50": moco_v3_r50, "dino_r50": resnet50}.items():
        with torch.device("meta"):
            theirs = make().eval()
        state = random_state(theirs.state_dict())
        theirs.load_state_dict(state, assign=True)
        net = read(name, saved(name, tmp_path / "checkpoint", state))
        with torch.inference_mode():
            want = {
                "barlow_twins": lambda t: [t["projector"](t["backbone"](x))],
                "simsiam": lambda t: [t["predictor"](t["encoder"](x))],
                "moco_v3_r50": lambda t: [t["predictor"](t["base_encoder"](x)), t["momentum_encoder"](x)],
                "dino_r50": lambda t: [t(x)],
            }[name](theirs)
            for branch, z in zip(("", "_b"), want, strict=False):
                assert_close(net["head" + branch](net["features" + branch](x)), z, rtol=1e-3, atol=1e-4 * z.abs().max().item())


def drop(name: str, begin: str) -> dict[str, None]:
    return {n: None for n in state_without_memory(name) if n.startswith(begin)}


REFUSALS = {
    "the backbone alone": ("barlow_twins", drop("barlow_twins", "projector."), r"resnet50.pth is the backbone alone.*missing: projector.0"),
    "a missing tensor": ("simsiam", {"predictor.3.bias": None}, "missing: predictor.3.bias$"),
    "surplus tensors": ("simsiam", {"extra.weight": torch.zeros(2), "other": torch.zeros(1)}, "surplus: extra.weight, other$"),
    "another shape": ("simsiam", {"predictor.0.weight": torch.zeros(4, 2048)}, r"shape: predictor.0.weight \(4, 2048\) for \(512, 2048\)"),
    "no momentum encoder": ("moco_v3_vit_s", drop("moco_v3_vit_s", "momentum"), r"missing: momentum_encoder.*\(163 in all\)"),
    "an unknown tensor of DINO": ("dino_vit_s", {"register": torch.zeros(1)}, "surplus: register"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_does_not_fit_is_listed(case, tmp_path) -> None:
    name, changes, says = REFUSALS[case]
    with pytest.raises(InputError, match=says):
        read(name, saved(name, tmp_path / "checkpoint.pth", **changes))


def test_files_of_other_kinds_are_recognised(tmp_path) -> None:
    backbone = random_state(state_without_memory("dino_r50"))
    linear = {f"module.{n}": v[:1].expand(v.shape) if v.ndim else v for n, v in backbone.items()}
    linear |= {"module.fc.weight": torch.zeros(1, 2048).expand(1000, -1), "module.fc.bias": torch.zeros(1000)}
    torch.save({"epoch": 90, "state_dict": linear}, tmp_path / "model_best.pth.tar")
    for name in ("simsiam", "moco_v3_r50", "moco_v3_vit_b"):
        with pytest.raises(InputError, match=r"linear probe or a classifier, with fc.weight \(1000, 2048\)"):
            read(name, tmp_path / "model_best.pth.tar")
    torch.save(backbone, tmp_path / "resnet50.pth")
    with pytest.raises(InputError, match="it seems to be a backbone alone, and the head is needed"):
        read("barlow_twins", tmp_path / "resnet50.pth")
    assert read("dino_r50", tmp_path / "resnet50.pth")  # which is what DINO publishes
    (tmp_path / "linear-vit-b-300ep.pth.tar").write_bytes(b"")
    with pytest.raises(InputError, match="a linear probe, whose head is a classifier"):
        read("moco_v3_vit_b", tmp_path / "linear-vit-b-300ep.pth.tar")
    torch.save({"state_dict": {f"module.base_encoder.{n}": v for n, v in backbone.items()}}, tmp_path / "r-50.pth.tar")
    with pytest.raises(InputError, match=r"MoCo v3 \(vit_b\).*missing: base_encoder.cls_token"):
        read("moco_v3_vit_b", tmp_path / "r-50.pth.tar")


def test_counters_of_batches_may_be_missing_and_a_classifier_of_dino_there(tmp_path) -> None:
    counters = {n: None for n in state_without_memory("dino_r50") if n.endswith("num_batches_tracked")}
    assert len(counters) == 53
    classifier = {"fc.weight": torch.zeros(3, 2048), "fc.bias": torch.zeros(3)}
    net = read("dino_r50", saved("dino_r50", tmp_path / "old.pth", **counters, **classifier))
    assert net["features"].bn1.num_batches_tracked.item() == 0
