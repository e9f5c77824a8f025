"""Tiny networks of random weights, one of each family that readers bring, with the embeddings that they make by themselves.

Built by the packages' own classes and under published names where these take sizes; a package that is missing is skipped with its name.
"""

import argparse
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from xaicl_lib import InputError, Pair, PairModel, list_methods
from xaicl_lib.methods import methods
from xaicl_lib.publishing.families import families_page

PACKAGES = ("torchvision", "timm", "open_clip_torch", "transformers")
SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2}


@dataclass(frozen=True)
class Family:
    """A network, where it is cut, the side of its images, and its own embeddings."""

    network: nn.Module
    layer: str
    size: int
    embed: Callable[[Tensor], Tensor]

    def model(self, **options: object) -> PairModel:
        return PairModel.from_module(self.network, self.layer, size=self.size, **options)


def _timm(name: str, layer: str, size: int, **options: object) -> Family:
    timm = pytest.importorskip("timm", reason="timm is not installed (extra: timm)")
    net = timm.create_model(name, pretrained=False, num_classes=0, **options)
    return Family(net, layer, size, lambda x: net.forward_head(net.forward_features(x), pre_logits=True))


def _vit(name: str, layer: str = "blocks", size: int = 32, patch: int = 8, **options: object) -> Family:
    return _timm(name, layer, size, img_size=size, patch_size=patch, **SMALL, **options)


def _torchvision(make: Callable[..., nn.Module], layer: str, size: int) -> Family:
    net = make()
    return Family(net, layer, size, lambda x: net(x))


def _torchvision_vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=7)


def _torchvision_swin() -> nn.Module:
    from torchvision.models import SwinTransformer

    return SwinTransformer([4, 4], 16, [1, 1], [2, 2], [2, 2], num_classes=7)


def _torchvision_convnext() -> nn.Module:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=7)


def _torchvision_regnet() -> nn.Module:
    from torchvision.models.regnet import BlockParams, RegNet

    return RegNet(BlockParams([1, 1], [8, 16], [4, 4], [1.0, 1.0], [2, 2], 0.25), num_classes=7, stem_width=8)


def _open_clip(**options: object) -> Family:
    open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed (extra: clip)")
    vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8, **options}
    text = {"context_length": 8, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1}
    net = open_clip.CLIP(embed_dim=12, vision_cfg=vision, text_cfg=text).visual
    return Family(net, "attn_pool" if net.attn_pool is not None else "transformer", 32, lambda x: net(x))


def _transformers(kind: str, layer: str, output: str, model: str = "Model", **options: object) -> Family:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra: hf)")
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    if "intermediate_size" not in options and not kind.startswith("Dinov2"):
        size["intermediate_size"] = 64
    net = getattr(transformers, kind + model)(getattr(transformers, f"{kind}Config")(**size, **options))

    def embed(x: Tensor) -> Tensor:
        made = net(pixel_values=x)
        return made.last_hidden_state[:, 0] if output == "class" else made.last_hidden_state.mean(1) if output == "mean" else made[output]

    return Family(net, layer, 32, embed)


TRANSFORMERS: dict[str, Callable[[], Family]] = {
    "timm DINOv2, registers": lambda: _vit("vit_small_patch14_reg4_dinov2.lvd142m", size=28, patch=14),
    "timm DINOv3": lambda: _vit("vit_small_patch16_dinov3.lvd1689m"),
    "timm SigLIP 2": lambda: _vit("vit_base_patch16_siglip_224.v2_webli", "attn_pool"),
    "timm DeiT, distilled": lambda: _vit("deit_tiny_distilled_patch16_224"),
    "timm ViT, mean and norm": lambda: _vit("vit_base_patch16_rope_reg1_gap_256"),
    "timm BEiT": lambda: _vit("beit_base_patch16_224"),
    "timm EVA-02": lambda: _vit("eva02_tiny_patch14_224"),
    "timm CaiT": lambda: _vit("cait_xxs24_224", "blocks_token_only"),
    "timm PiT": lambda: _timm(
        "pit_ti_224", "transformers", 64, img_size=64, base_dims=(8, 8, 8), depth=(1, 1, 1), heads=(1, 2, 4), patch_size=8, stride=4
    ),
    "torchvision ViT": lambda: _torchvision(_torchvision_vit, "encoder", 32),
    "open_clip ViT": lambda: _open_clip(ls_init_value=0.3),
    "open_clip ViT, mean": lambda: _open_clip(pool_type="avg", final_ln_after_pool=True),
    "open_clip ViT, attention pool": lambda: _open_clip(attentional_pool=True, attn_pooler_queries=3, attn_pooler_heads=2),
    "transformers ViT": lambda: _transformers("ViT", "layers", "class"),
    "transformers DINOv2": lambda: _transformers("Dinov2", "encoder", "pooler_output"),
    "transformers DINOv2, registers": lambda: _transformers("Dinov2WithRegisters", "encoder", "pooler_output", num_register_tokens=3),
    "transformers DINOv3": lambda: _transformers("DINOv3ViT", "model", "pooler_output", num_register_tokens=4),
    "transformers SigLIP": lambda: _transformers("SiglipVision", "head", "pooler_output"),
    "transformers CLIP": lambda: _transformers("CLIPVision", "vision_model", "image_embeds", "ModelWithProjection", projection_dim=12),
    "transformers I-JEPA": lambda: _transformers("IJepa", "layers", "mean"),
    "transformers BEiT": lambda: _transformers("Beit", "layers", "pooler_output"),
}
MAPS: dict[str, Callable[[], Family]] = {
    "torchvision Swin": lambda: _torchvision(_torchvision_swin, "features", 64),
    "torchvision ConvNeXt": lambda: _torchvision(_torchvision_convnext, "features", 32),
    "torchvision RegNet": lambda: _torchvision(_torchvision_regnet, "trunk_output", 32),
    "timm Swin": lambda: _timm(
        "swin_tiny_patch4_window7_224", "layers", 64, img_size=64, embed_dim=16, depths=(1, 1), num_heads=(2, 2), window_size=4
    ),
    "timm ConvNeXt": lambda: _timm("convnext_atto", "stages", 64, depths=(1, 1, 1, 1), dims=(8, 8, 16, 16)),
    "timm EfficientNet": lambda: _timm("test_efficientnet", "bn2", 64),
}


def made(name: str) -> Family:
    """The family of that name, its weights drawn anew where they begin as zeros or ones, so that nothing is hidden by them."""
    torch.manual_seed(0)
    family = {**TRANSFORMERS, **MAPS}[name]()
    family.network.eval().requires_grad_(False)
    for p in family.network.parameters():
        if p.std() == 0 and p.numel() > 1:
            p.add_(torch.randn_like(p), alpha=0.2)
    return family


def images(size: int, n: int = 2) -> Tensor:
    """Some images, the same each time."""
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1))


FEW = {"conditional_occlusion": {"window": 16, "stride": 16}, "rise": {"masks": 16}, "pairwise_occlusion": {"masks": 16}}


def answers(family: Family) -> dict[str, str]:
    """For each method "yes", if it makes finite maps that vary, or the sentence by which it refuses the family."""
    model, pair = family.model(name="this network"), Pair(images(family.size), images(family.size).flip(0))
    return {name: _answer(model, pair, name) for name in list_methods()}


def _answer(model: PairModel, pair: Pair, name: str) -> str:
    try:
        explained = methods[name](model, pair, **FEW.get(name, methods[name].cheap))
    except InputError as error:
        return str(error)
    varies = all(side.isfinite().all() and side.std() > 0 for side in (explained.a, explained.b))
    return "yes" if varies else "no: a map that is not finite or does not vary"


def table() -> pd.DataFrame:
    """For each family and method the answer, with what made it."""
    found = [
        {"family": name, "layer": family.layer, "method": method, "answer": why}
        for name, family in ((name, made(name)) for name in [*TRANSFORMERS, *MAPS])
        for method, why in answers(family).items()
    ]
    own = {"torch": torch.__version__, "device": f"{platform.machine()} CPU", "date": date.today().isoformat()}
    return pd.DataFrame(found).assign(**own, packages=", ".join(f"{name} {version(name)}" for name in PACKAGES))


def main() -> None:
    """Make the table that the book's page of families shows: python -m tests.zoo.families [-o results/families.parquet]"""
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--output", type=Path, default=Path("results/families.parquet"))
    output = parser.parse_args().output
    table().to_parquet(output, index=False)
    print(families_page(output))


if __name__ == "__main__":
    main()
