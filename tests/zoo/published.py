"""What publishers' files look like: their modules, built here from torchvision or by their names, with weights that take little room."""

import functools
from collections.abc import Mapping, Sequence

import torch
import torchvision
from torch import Tensor, nn

BIG = 3 << 20  # numbers; larger weights repeat one row, so that files and memory stay small


@functools.cache
def many() -> Tensor:
    """Normal numbers that all weights are cut from, for drawing them anew takes seconds."""
    return torch.randn(2 * BIG, generator=torch.Generator().manual_seed(0))


def random_state(state: Mapping[str, Tensor], seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Values for names and shapes (of any device) that keep activations of a sensible size through all layers."""
    g = torch.Generator().manual_seed(seed)

    return {name: random_value(name, value.shape, g, dtype) for name, value in state.items()}


def random_value(name: str, shape: Sequence[int], g: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    if len(shape) < 2:
        low, high = (0.5, 1.0) if name.endswith(("running_var", "weight", "moving_variance", "gamma")) else (-0.3, 0.3)
        return torch.rand(shape, generator=g, dtype=dtype) * (high - low) + low
    shape = torch.Size(shape)
    if name.endswith("kernel"):  # TensorFlow has the outputs last
        return random_value("turned", shape[::-1], g, dtype).permute(*range(len(shape))[::-1])
    spread = shape[1:].numel() ** -0.5
    one = shape if shape.numel() <= BIG else torch.Size([1, *shape[1:]])
    start = int(torch.randint(BIG, (), generator=g))
    return (many()[start : start + one.numel()].view(one).to(dtype) * spread).expand(shape)


def mlp(*widths: int, last: str, bias: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k in range(len(widths) - 2):
        layers += [nn.Linear(widths[k], widths[k + 1], bias=False), nn.BatchNorm1d(widths[k + 1]), nn.ReLU()]
    layers.append(nn.Linear(widths[-2], widths[-1], bias=bias))
    return nn.Sequential(*layers, *([nn.BatchNorm1d(widths[-1], affine=False)] if last == "norm" else []))


def resnet50(fc: nn.Module | None = None) -> nn.Module:
    net = torchvision.models.resnet50()
    net.fc = fc or nn.Identity()
    return net


def barlow_twins() -> nn.Module:
    parts = {"backbone": resnet50(), "projector": mlp(2048, 8192, 8192, 8192, last="bare"), "bn": nn.BatchNorm1d(8192, affine=False)}
    return nn.ModuleDict(parts)


def simsiam() -> nn.Module:
    encoder = resnet50(mlp(2048, 2048, 2048, 2048, last="norm", bias=True))
    return nn.ModuleDict({"encoder": encoder, "predictor": mlp(2048, 512, 2048, last="bare", bias=True)})


def moco_v3_r50() -> nn.Module:
    encoders = {name: resnet50(mlp(2048, 4096, 256, last="norm")) for name in ("base_encoder", "momentum_encoder")}
    return nn.ModuleDict({**encoders, "predictor": mlp(256, 4096, 256, last="bare")})


def vit_shapes(c: int, depth: int = 12, grid: int = 14, patch: int = 16) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a vision transformer as timm 0.4.9 and DINO have it, without a head."""
    shapes = {"cls_token": (1, 1, c), "pos_embed": (1, 1 + grid**2, c), "patch_embed.proj.weight": (c, 3, patch, patch)}
    shapes |= {"patch_embed.proj.bias": (c,), "norm.weight": (c,), "norm.bias": (c,)}
    layers = {"norm1": (), "attn.qkv": (3 * c, c), "attn.proj": (c, c), "norm2": (), "mlp.fc1": (4 * c, c), "mlp.fc2": (c, 4 * c)}
    for k in range(depth):
        for layer, shape in layers.items():
            shapes[f"blocks.{k}.{layer}.weight"] = shape or (c,)
            shapes[f"blocks.{k}.{layer}.bias"] = shape[:1] or (c,)
    return shapes


def moco_v3_vit(c: int) -> dict[str, Tensor]:
    """State of the checkpoint, without memory."""
    with torch.device("meta"):
        heads = mlp(c, 4096, 4096, 256, last="norm").state_dict()
        encoder = {name: torch.empty(shape) for name, shape in vit_shapes(c).items()} | {f"head.{n}": v for n, v in heads.items()}
        predictor = mlp(256, 4096, 256, last="norm").state_dict()
    state = {f"{branch}.{n}": v for branch in ("base_encoder", "momentum_encoder") for n, v in encoder.items()}
    return state | {f"predictor.{n}": v for n, v in predictor.items()}


def state_without_memory(name: str) -> dict[str, Tensor]:
    """Names and shapes of a published model, its prefix `module.` left out."""
    if name.startswith("moco_v3_vit"):
        return moco_v3_vit({"moco_v3_vit_b": 768, "moco_v3_vit_s": 384}[name])
    with torch.device("meta"):
        if name == "dino_vit_s":
            return {n: torch.empty(shape) for n, shape in vit_shapes(384).items()}
        return {"barlow_twins": barlow_twins, "simsiam": simsiam, "moco_v3_r50": moco_v3_r50, "dino_r50": resnet50}[name]().state_dict()


KEYS = {"barlow_twins": "model", "simsiam": "state_dict", "moco_v3_vit_b": "state_dict", "moco_v3_vit_s": "state_dict"}
KEYS |= {"moco_v3_r50": "state_dict", "dino_r50": None, "dino_vit_s": None}


def checkpoint(name: str, state: Mapping[str, Tensor]) -> dict:
    """A file's contents around the state, as each publisher's script saved it."""
    key = KEYS[name]
    if key is None:
        return dict(state)
    return {"epoch": 100, "arch": "any", key: {f"module.{n}": v for n, v in state.items()}, "optimizer": {"state": {}, "param_groups": []}}


def simclr_shapes(width: int, filters: int = 64, blocks: tuple[int, ...] = (3, 4, 6, 3), out: int = 128) -> dict[str, tuple[int, ...]]:
    """TensorFlow's names and shapes of SimCLRv2's weights, in the order in which the published code makes them."""
    shapes: dict[str, tuple[int, ...]] = {}
    count = 0

    def layer(size: int, c_in: int, c_out: int) -> None:
        nonlocal count
        number = f"_{count}" if count else ""
        shapes[f"base_model/conv2d{number}/kernel"] = (size, size, c_in, c_out)
        for part in ("gamma", "beta", "moving_mean", "moving_variance"):
            shapes[f"base_model/batch_normalization{number}/{part}"] = (c_out,)
        count += 1

    c_in = filters * width
    layer(7, 3, c_in)
    for stage, many in enumerate(blocks):
        c = filters * width * 2**stage
        for block in range(many):
            if not block:
                layer(1, c_in, 4 * c)
            for size, a, b in ((1, c_in, c), (3, c, c), (1, c, 4 * c)):
                layer(size, a, b)
            c_in = 4 * c
    for j in range(3):
        last = j == 2
        shapes[f"head_contrastive/nl_{j}/dense/kernel"] = (c_in, out if last else c_in)
        for part in ("gamma", "moving_mean", "moving_variance", *([] if last else ["beta"])):
            shapes[f"head_contrastive/nl_{j}/batch_normalization/{part}"] = (out if last else c_in,)
    return shapes
