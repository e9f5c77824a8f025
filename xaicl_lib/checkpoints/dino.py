"""DINO (:cite:t:`caron2021emerging`): the published backbones, ResNet-50 and ViT-S/16, which come without their heads."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from xaicl_lib.checkpoints.torch_file import read_as
from xaicl_lib.model import MeanPool
from xaicl_lib.networks.resnet import ResNet50
from xaicl_lib.networks.vit import PatchMap, official_names

DEPTH = 12


def network(architecture: str, *, slim: int = 1) -> nn.ModuleDict:
    """Features and mean pooling over the map; no head was published, so similarity is that of pooled features.

    For "vit_s" the map holds the patch tokens after the last block and norm, the class token left out.

    Args:
        architecture: "r50" or "vit_s".
        slim: all widths are divided by it, for tests.
    """
    features = ResNet50(64 // slim) if architecture == "r50" else PatchMap(384 // slim, DEPTH, heads=6)
    return nn.ModuleDict({"features": features, "head": MeanPool()})


def _names(architecture: str) -> dict[str, str]:
    """Beginnings of the checkpoint's names by those of ours."""
    return {"features.": ""} if architecture == "r50" else official_names(DEPTH, ends=False)


def read(files: Sequence[Path], empty: nn.Module, architecture: str, **_: object) -> dict[str, Tensor]:
    """Tensors for `network(architecture)`; a classifier in the file is left aside.

    Raises:
        InputError: another file, or one that does not fit.
    """
    what = f"the pretrained backbone of DINO ({architecture})"
    return read_as(files[0], None, empty, _names(architecture), what=what, aside=["fc."] if architecture == "r50" else [])
