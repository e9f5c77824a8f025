"""DINO (:cite:t:`caron2021emerging`): the published backbones, ResNet-50 and ViT-S/16, which come without their heads."""

from torch import nn

from xaicl_lib.checkpoints.torch_file import torch_reader
from xaicl_lib.model import MeanPool
from xaicl_lib.networks.resnet import ResNet50
from xaicl_lib.networks.vit import PatchMap, official_names

WHAT = "the pretrained backbone of DINO ({architecture})"
DEPTH = 12


def _network(architecture: str, *, slim: int = 1) -> nn.ModuleDict:
    """Features of "r50" or "vit_s" and mean pooling over the map; no head was published, so similarity is that of pooled features.

    For "vit_s" the map holds the patch tokens after the last block and norm, the class token left out.
    """
    features = ResNet50(64 // slim) if architecture == "r50" else PatchMap(384 // slim, DEPTH, heads=6)
    return nn.ModuleDict({"features": features, "head": MeanPool()})


def _names(architecture: str) -> dict[str, str]:
    """Beginnings of the checkpoint's names by those of ours."""
    return {"features.": ""} if architecture == "r50" else official_names(DEPTH, ends=False)


READER = torch_reader(_network, _names, WHAT, aside=("fc.",))  # of a classifier
