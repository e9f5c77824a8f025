"""A network up to a stage gives what a hook sees there."""

import copy
import pickle

import pytest
import torch
import torchvision.models as zoo
from torch import Generator, nn

from tests.conftest import assert_close, build
from xaicl_lib import InputError, PairModel, load_model
from xaicl_lib.stages import stages, up_to
from xaicl_lib.zoo import list_models


def seen(net: nn.Module, layer: str, x: torch.Tensor) -> torch.Tensor:
    """What a layer returns when it is called for the first time."""
    found: list[torch.Tensor] = []
    hook = net.get_submodule(layer).register_forward_hook(lambda module, given, output: found.append(output.detach().clone()))
    with torch.no_grad():
        net(x)
    hook.remove()
    return found[0]


def stirred(net: nn.Module) -> nn.Module:
    """With statistics of batch norms and scales of layers that make every operation count."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean, std=0.1)
        if hasattr(module, "layer_scale"):
            nn.init.normal_(module.layer_scale)
    return net.double().eval()


def images(size: int) -> torch.Tensor:
    return torch.randn(1, 3, size, size, generator=Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("name", list_models())
def test_every_stage_of_every_bundled_network(name: str) -> None:
    model = load_model(name, "cpu").to(torch.float64)
    x = images(32)
    for stage, layer in stages(model).items():
        with torch.no_grad():
            assert_close(up_to(model, stage)(x), seen(model.features_a, layer, x), rtol=1e-6, atol=1e-8)


def resnet() -> nn.Module:
    return stirred(zoo.ResNet(zoo.resnet.BasicBlock, [2, 1, 1, 1], num_classes=4))


def convnext() -> nn.Module:
    settings = [zoo.convnext.CNBlockConfig(8, 12, 2), zoo.convnext.CNBlockConfig(12, None, 2)]
    return stirred(zoo.ConvNeXt(settings, num_classes=4))


def swin() -> nn.Module:
    net = zoo.SwinTransformer([2, 2], 8, [2, 1], [2, 2], [4, 4], num_classes=4)
    return stirred(net)


NETWORKS = {
    "resnet": (resnet, "layer4", ["relu", "layer1", "layer1.0", "layer1.0.bn2", "layer2", "layer3", "layer4", "layer4.0.conv1"]),
    "convnext": (convnext, "features.3", ["features.0", "features.1", "features.1.0", "features.1.1.block", "features.2", "features.3"]),
    "swin": (swin, "features.3", ["features.0", "features.1", "features.1.0", "features.1.1.mlp", "features.2", "features.3"]),
}


def as_map(x: torch.Tensor, name: str) -> torch.Tensor:
    """Channels first, as a model has its features, of what is channels-last in Swin."""
    return x.permute(0, 3, 1, 2) if name == "swin" else x


@pytest.mark.parametrize("name", NETWORKS)
def test_every_stage_of_a_traced_network(name: str) -> None:
    make, last, layers = NETWORKS[name]
    net, x = make(), images(32)
    model = PairModel.from_module(copy.deepcopy(net), last, size=32)
    with torch.no_grad():
        assert_close(model.features_a(x), as_map(seen(net, last, x), name), rtol=1e-6, atol=1e-9)
        assert_close(model.embed_a(x), net(x), rtol=1e-6, atol=1e-9)
        for layer in layers:
            assert_close(up_to(model, layer)(x), seen(net, layer, x), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_model_that_is_cut_behind_each_stage(name: str) -> None:
    net, x = NETWORKS[name][0](), images(32)
    for layer in ("layer1", "layer2") if name == "resnet" else ("features.1", "features.2"):
        with torch.no_grad():
            model = PairModel.from_module(copy.deepcopy(net), layer, size=32)
            assert_close(model.features_a(x), as_map(seen(net, layer, x), name), rtol=1e-6, atol=1e-9)
            assert_close(model.embed_a(x), net(x), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("make", [resnet, convnext, swin])
def test_every_layer_of_a_network_that_was_not_traced(make) -> None:
    net, x = make(), images(32)
    features = nn.Sequential(*list(net.children())[:-2])
    model = PairModel(copy.deepcopy(features), size=32)
    for layer in [name for name, _ in features.named_modules() if name][::3]:
        try:
            want = seen(features, layer, x)
        except IndexError:  # never called
            continue
        with torch.no_grad():
            assert_close(up_to(model, layer)(x), want, rtol=1e-6, atol=1e-9)


def test_a_convolution_gives_its_own_output_not_that_of_the_norm_behind_it() -> None:
    model, x = build("projected"), images(24)
    with torch.no_grad():
        assert_close(up_to(model, "0")(x), model.features_a[0](x))
        assert_close(up_to(model, "1")(x), model.features_a[1](model.features_a[0](x)))


def test_a_traced_network_that_forgot_its_layers_is_not_cut() -> None:
    model = PairModel.from_module(convnext(), "features.3", size=32)
    model.features_a = pickle.loads(pickle.dumps(model.features_a))
    with pytest.raises(InputError, match=r"forgets when it is pickled, got 'features\.1'"):
        up_to(model, "features.1")


def test_stages_of_a_network_within_another_module() -> None:
    model = load_model("scenes_simclr", "cpu")
    wrapped = PairModel(nn.Sequential(model.features_a, nn.Identity()), model.head_a, size=model.size)
    x = torch.rand(1, 3, 64, 64)
    assert list(stages(wrapped)) == list(stages(model))
    for stage in stages(model):
        assert_close(up_to(wrapped, stage)(x), up_to(model, stage)(x), rtol=1e-5, atol=1e-6)
