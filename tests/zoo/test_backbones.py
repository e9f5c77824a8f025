"""Backbones by name: torchvision's and, where it is installed, timm's; from a file here, for there is no network."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from tests.conftest import assert_close
from tests.zoo.published import random_state
from xaicl_lib import InputError, Pair, explain, load_model
from xaicl_lib.zoo import backbones, model_card

NAMES = ["resnet18", "convnext_tiny", "densenet121", "mobilenet_v3_small"]


def weights(name: str) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        net = torchvision.models.get_model(name)
    return random_state(net.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_the_map_before_the_pooling(name, tmp_path) -> None:
    """Its mean is what the network's own classifier begins with, caught there."""
    state = weights(name)
    torch.save(state, tmp_path / "weights.pth")
    model = load_model(f"torchvision/{name}", "cpu", file=tmp_path / "weights.pth")
    net = torchvision.models.get_model(name, weights=None).eval()
    net.load_state_dict(state)
    pooled, x = [], torch.rand(2, 3, 96, 64)
    if name == "densenet121":  # which pools by a function
        net.classifier.register_forward_pre_hook(lambda module, given: pooled.append(given[0]))
    else:
        net.avgpool.register_forward_hook(lambda module, given, out: pooled.append(out.flatten(1)))
    net(x)
    got = model.embed_a(x)
    assert_close(got, pooled[0], rtol=1e-3, atol=1e-4 * pooled[0].abs().max().item())
    seen = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    assert (model.size, model.interpolation) == (seen.crop_size[0], seen.interpolation.value)
    assert_close(
        model.normalize(torch.zeros(1, 3, 1, 1)).flatten(), -torch.tensor([0.485 / 0.229, 0.456 / 0.224, 0.406 / 0.225]), rtol=1e-5
    )
    made = explain(model, Pair(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)), "deep_similarity")
    assert_close(made.residual, torch.zeros(1), atol=1e-5)  # mean-pooled, no head: the cells sum to the score


def test_files_of_weights(tmp_path) -> None:
    state = weights("resnet18")
    save_file({k: v.contiguous() for k, v in state.items() if not k.startswith("fc.")}, tmp_path / "backbone.safetensors")
    model = load_model("torchvision/resnet18", "cpu", file=tmp_path / "backbone.safetensors")
    assert torch.equal(model.features_a.state_dict()["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])
    torch.save({"state_dict": {f"model.{k}": v for k, v in state.items()} | {"loss.scale": torch.ones(1)}}, tmp_path / "lightning.ckpt")
    again = load_model("torchvision/resnet18", "cpu", file=tmp_path / "lightning.ckpt")
    assert torch.equal(again.features_a.state_dict()["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])
    torch.save({**state, "conv1.weight": torch.full_like(state["conv1.weight"], torch.nan)}, tmp_path / "nan.pth")
    with pytest.raises(InputError, match=r"expected finite weights in 'nan\.pth', got NaN or infinity in conv1\.weight"):
        load_model("torchvision/resnet18", file=tmp_path / "nan.pth")
    torch.save({"state_dict": {**state, "extra": torch.zeros(1)}}, tmp_path / "more.pth")
    with pytest.raises(InputError, match=r"expected the weights of torchvision/resnet18, got 'more\.pth', .* surplus: extra$"):
        load_model("torchvision/resnet18", file=tmp_path / "more.pth")
    del state["layer2.0.conv1.weight"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(InputError, match=r"missing: layer2\.0\.conv1\.weight$"):
        load_model("torchvision/resnet18", file=tmp_path / "less.pth")
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "backbone.safetensors").read_bytes()[:-9])
    with pytest.raises(InputError, match=r"expected a whole safetensors file in 'half\.safetensors'"):
        load_model("torchvision/resnet18", file=tmp_path / "half.safetensors")
    with pytest.raises(InputError, match="which does not exist"):
        load_model("torchvision/resnet18", file=tmp_path / "none.pth")


def test_names_and_networks_that_do_not_do(monkeypatch) -> None:
    with pytest.raises(InputError, match=r"unknown model 'torchvision/resnet5'; there are: resnet50, .*altogether"):
        load_model("torchvision/resnet5")
    monkeypatch.setattr(backbones, "fetched", lambda name, address, make: nn.Sequential(nn.Linear(1, 1)))
    with pytest.raises(InputError, match=r"whose last map is known, got torchvision/vit_b_16 of 0; PairModel\.from_module"):
        load_model("torchvision/vit_b_16")


@pytest.mark.parametrize("name", ["swin_t", "vit_b_32", "regnet_x_400mf", "mnasnet0_5"])
def test_torchvisions_own_pooling(name, tmp_path) -> None:
    """Channels-last maps, a class token, and modules that refuse a state without its versions."""
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None).eval()
    torch.save({k: v.clone() for k, v in net.state_dict().items()}, tmp_path / "weights.pth")
    model = load_model(f"torchvision/{name}", "cpu", file=tmp_path / "weights.pth")
    pooled, x = [], torch.rand(1, 3, model.size, model.size)
    end = getattr(net, "heads", getattr(net, "head", getattr(net, "fc", getattr(net, "classifier", None))))
    end.register_forward_pre_hook(lambda module, given: pooled.append(given[0]))
    with torch.no_grad():
        net(x)
        assert_close(model.embed_a(x), pooled[0], rtol=1e-3, atol=1e-4 * float(pooled[0].abs().max()))
    f = model.features([x])[0]
    assert f.shape[2] == f.shape[3] == 7


def test_offline_is_said_in_one_line(monkeypatch) -> None:
    def no_network(name: str, weights: object) -> None:
        raise OSError("<urlopen error Name or service not known>\nmore")

    monkeypatch.setattr(torchvision.models, "get_model", no_network)
    with pytest.raises(
        InputError, match=r"torchvision/resnet50 cannot be had from https://download.*known>; without a network give"
    ) as caught:
        load_model("torchvision/resnet50")
    assert "\n" not in str(caught.value)


def test_cards_say_that_there_is_no_head() -> None:
    assert "cosine on the features that the network pools" in model_card("torchvision/resnet50")["head"]
    assert model_card("timm/any")["name"] == "timm/any"


def test_without_timm(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(InputError, match="expected timm for timm/"):
        load_model("timm/resnet10t")


@pytest.mark.parametrize(
    "name",
    [
        "resnet10t", "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "deit_tiny_distilled_patch16_224",
        "convnext_atto", "hgnetv2_b0", "efficientvit_b0",  # whose heads have norms and layers before the classifier
    ],
)  # fmt: skip
def test_timms_own_pooling(name, tmp_path) -> None:
    """Of networks whose features are maps, channels first or last, and of tokens read by one or two of their own."""
    timm = pytest.importorskip("timm")
    net = timm.create_model(name, pretrained=False).eval()
    state = random_state(net.state_dict())
    state = {k: net.state_dict()[k] if k.endswith("relative_position_index") else v for k, v in state.items()}
    net.load_state_dict(state)
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "model.safetensors")
    model = load_model(f"timm/{name}", "cpu", file=tmp_path / "model.safetensors")
    assert model.interpolation == net.pretrained_cfg["interpolation"]
    x = torch.rand(1, 3, model.size, model.size)
    want = net.forward_head(net.forward_features(x), pre_logits=True)
    assert_close(model.embed_a(x), want, rtol=1e-3, atol=1e-4 * want.abs().max().item())
    i, j = model.features_a(x).shape[2:]
    assert i == j


def test_images_of_other_sizes(tmp_path) -> None:
    """Positions are interpolated where the network offers that; one of a fixed size says so in one line."""
    timm = pytest.importorskip("timm")
    net = timm.create_model("pit_ti_224", pretrained=False)
    torch.save(net.state_dict(), tmp_path / "pit.pth")
    fixed = load_model("timm/pit_ti_224", "cpu", file=tmp_path / "pit.pth")
    assert fixed.features_a(torch.rand(1, 3, 224, 224)).shape[2:] == (7, 7)
    with pytest.raises(InputError, match=r"expected images of a size that the network takes, got \(64, 224\) pixels: "):
        fixed.embed_a(torch.rand(1, 3, 64, 224))
    net = timm.create_model("deit_tiny_patch16_224", pretrained=False)
    torch.save(net.state_dict(), tmp_path / "deit.pth")
    free = load_model("timm/deit_tiny_patch16_224", "cpu", file=tmp_path / "deit.pth")
    assert free.features_a(torch.rand(1, 3, 64, 96)).shape[2:] == (4, 6)


@pytest.mark.parametrize("name", ["crossvit_tiny_240", "coat_lite_tiny", "volo_d1_224"])
def test_what_cannot_be_opened_is_one_line(name, monkeypatch) -> None:
    timm = pytest.importorskip("timm")
    monkeypatch.setattr(backbones, "fetched", lambda label, address, make: timm.create_model(name, pretrained=False, num_classes=0).eval())
    with pytest.raises(InputError, match=rf"expected a network that pools .* timm/{name}; give PairModel features=") as caught:
        load_model(f"timm/{name}")
    assert "\n" not in str(caught.value)


def test_timms_unknown_names() -> None:
    pytest.importorskip("timm")
    with pytest.raises(InputError, match="unknown model 'timm/resnet10'; there are: "):
        load_model("timm/resnet10")


def test_a_file_is_read_into_what_torchvision_makes_for_its_weights(tmp_path) -> None:
    """As with a download: GoogLeNet brings its input to other statistics, and the largest transformer is made for larger images."""
    state = weights("googlenet")
    torch.save(state, tmp_path / "weights.pth")
    model = load_model("torchvision/googlenet", "cpu", file=tmp_path / "weights.pth")
    net = torchvision.models.googlenet(weights=None, transform_input=True, init_weights=False).eval()
    net.load_state_dict(state)
    net.fc = nn.Identity()
    x = torch.randn(1, 3, 96, 96)
    want = net(x)
    assert_close(model.embed_a(x), want, rtol=1e-3, atol=1e-4 * float(want.abs().max()))
    assert backbones._as_its_weights_are("vit_h_14", torchvision.models.ViT_H_14_Weights.DEFAULT) == {"image_size": 518}
    assert backbones._as_its_weights_are("vit_b_32", torchvision.models.ViT_B_32_Weights.DEFAULT) == {"image_size": 224}
