"""Any backbone of torchvision or timm by its name: `torchvision/resnet50`, `timm/vit_small_patch16_224.dino`.

They have no projection head, so similarity is the cosine of what the network itself pools for its classifier: the mean of a map, or of
a vision transformer its class token, attention pool or mean, opened by `xaicl_lib.tokens`. Weights are fetched by the two packages
themselves, torchvision's with a checksum, or read from a file as tensors alone.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xaicl_lib.checkpoints.torch_file import fill_from, shorten
from xaicl_lib.errors import InputError, needing
from xaicl_lib.layers import cut
from xaicl_lib.model import MeanPool, PairModel, resolve_device
from xaicl_lib.tokens import grid_of, open_tokens
from xaicl_lib.zoo.official import IMAGENET

CLASSIFIERS = ("fc.", "head.", "head_dist.", "heads.", "classifier.", "last_linear.", "aux_head.")
LAST = ("layer4", "trunk_output", "permute", "Mixed_7c", "inception5b", "conv5")  # torchvision's layers that end with the last map


class _TimmMap(nn.Module):
    """The last features of a timm network as a map; of tokens those of patches, where the network takes their mean."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network: Any = network
        self.prefix = int(getattr(network, "num_prefix_tokens", 0))
        self.channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c i j"]:
        features = self.network.forward_features(x)
        if features.ndim == 4:
            return features.permute(0, 3, 1, 2) if self.channels_last else features
        patches = features[:, self.prefix :]
        return patches.mT.unflatten(2, grid_of(patches.shape[1], x) or (1, -1))


class _TimmPool(nn.Module):
    """What a timm network makes of its last map before the classifier, such as a norm behind the mean."""

    def __init__(self, features: _TimmMap) -> None:
        super().__init__()
        self.network: Any = features.network
        self.channels_last = features.channels_last

    def forward(self, features: Float[Tensor, "n c i j"]) -> Float[Tensor, "n d"]:
        return self.network.forward_head(features.permute(0, 2, 3, 1) if self.channels_last else features, pre_logits=True)


def load_backbone(name: str, device: str | torch.device = "auto", *, file: str | os.PathLike[str] | None = None) -> PairModel:
    """A pretrained backbone as a model without a head.

    Args:
        name: `torchvision/NAME` or `timm/NAME`, NAME as the package has it.
        device: as for `load_model`.
        file: its weights as the package stores them (safetensors or torch), instead of a download; a classifier is left aside.

    Raises:
        InputError: package not installed, unknown name, no network, a file that does not fit, or features that are no map.
    """
    package, _, own = name.partition("/")
    target = resolve_device(device)
    features, head, facts = (_torchvision if package == "torchvision" else _timm)(own, None if file is None else Path(file))
    model = PairModel(features, head, name=name, **facts)
    with torch.no_grad():
        model.features([torch.zeros(1, 3, model.size, model.size)])  # raises where it is no map
    return model.to(target)


def _torchvision(own: str, file: Path | None) -> tuple[nn.Module, nn.Module, dict[str, Any]]:
    with needing("expected torchvision for torchvision/..., got none; pip install torchvision"):
        from torchvision import models
    if own not in models.list_models(module=models):
        raise InputError(f"unknown model 'torchvision/{own}'; there are: {shorten(_near(own, models.list_models(module=models)))}")
    weights = models.get_model_weights(own).DEFAULT
    alike = _as_its_weights_are(own, weights) if file else {"weights": weights}
    net = fetched(f"torchvision/{own}", lambda: models.get_model(own, **alike).eval(), weights.url)
    if file:
        fill_from(file, net, f"torchvision/{own}", CLASSIFIERS)
    seen = weights.transforms()
    size = seen.crop_size[0] if isinstance(seen.crop_size, list | tuple) else seen.crop_size
    features, head = open_tokens(net, size) or (_torchvision_map(net, own), MeanPool())
    return features, head, {"size": size, "mean": seen.mean, "std": seen.std, "interpolation": seen.interpolation}


def _as_its_weights_are(own: str, weights: Any) -> dict[str, Any]:
    """What torchvision sets for a network of these weights, and not for one without."""
    if own in ("googlenet", "inception_v3"):
        return {"transform_input": True, "init_weights": False}
    return {"image_size": weights.meta["min_size"][0]} if own.startswith("vit_") else {}


def _torchvision_map(net: Any, own: str) -> nn.Module:
    if layer := next((name for name in LAST if hasattr(net, name)), None):
        return cut(net, layer)[0]
    if own.startswith("maxvit"):
        return nn.Sequential(net.stem, *net.blocks)
    if isinstance(features := getattr(net, "features", getattr(net, "layers", None)), nn.Module):
        return nn.Sequential(features, nn.ReLU()) if own.startswith("densenet") else features  # whose ReLU is called behind it
    there = ", ".join(name for name, _ in net.named_children())
    raise InputError(
        f"expected a network whose last map is known, got torchvision/{own} of {there}; PairModel.from_module(net, layer) cuts any"
    )


def _timm(own: str, file: Path | None) -> tuple[nn.Module, nn.Module, dict[str, Any]]:
    with needing("expected timm for timm/..., got none; pip install timm, or xaicl_lib[timm]"):
        import timm
    if not timm.is_model(own):
        raise InputError(f"unknown model 'timm/{own}'; there are: {shorten(_near(own, timm.list_models(pretrained=True)))}")

    def make() -> Any:
        try:
            return timm.create_model(own, pretrained=not file, num_classes=0, dynamic_img_size=True).eval()
        except TypeError:  # of one size alone
            return timm.create_model(own, pretrained=not file, num_classes=0).eval()

    net = fetched(f"timm/{own}", make, "huggingface.co/timm")
    if file:
        fill_from(file, net, f"timm/{own}", CLASSIFIERS, whole=True)  # built without a classifier: what its head has is run
    facts = net.pretrained_cfg
    size = facts.get("input_size", (3, 224, 224))[-1]
    features, head = open_tokens(net, size) or _timm_map(net, own, size)
    seen = {"mean": facts.get("mean", IMAGENET[0]), "std": facts.get("std", IMAGENET[1])}
    return features, head, {"size": size, "interpolation": facts.get("interpolation") or "bicubic", **seen}


@torch.no_grad()
def _timm_map(net: Any, own: str, size: int) -> tuple[nn.Module, nn.Module]:
    """The last map of a network, and the mean, or what else it is pooled by."""
    x = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    features, last = _TimmMap(net), net.forward_features(x)
    if isinstance(last, Tensor) and last.ndim in (3, 4):
        pooled, f = net.forward_head(last, pre_logits=True), features(x)
        if pooled.shape == f.shape[:2] and torch.allclose(f.mean((2, 3)), pooled, rtol=1e-3, atol=1e-4 * float(pooled.abs().max())):
            return features, MeanPool()
        if last.ndim == 4 and pooled.ndim == 2:
            return features, _TimmPool(features)
    raise InputError(
        f"expected a network that pools a map, or tokens by an attention that can be opened, got timm/{own}; "
        "give PairModel features= that end with a map and head= that begins with it"
    )


def _near(own: str, names: list[str]) -> list[str]:
    import difflib

    return [*difflib.get_close_matches(own, names, 3, 0.3), f"({len(names)} altogether)"]


def fetched(name: str, make: Callable[[], Any], address: str = "", file: str = "PATH") -> Any:
    """What another package makes, which may fetch weights for it from an address.

    Raises:
        InputError: it cannot be had; the text names the kind of file, if any, that `load_model` would take instead.
    """
    try:
        return make()
    except Exception as error:  # whatever the packages raise without a network, for a wrong hash or a file that is cut off
        reason = str(error).strip().split("\n")[0]
        where = f"{name} cannot be had{address and f' from {address}'}: {reason}"
        raise InputError(where + (file and f"; without a network give load_model({name!r}, file={file}) its weights")) from error
