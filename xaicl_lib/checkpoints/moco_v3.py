"""MoCo v3 (:cite:t:`chen2021empirical`): ViT-B, ViT-S or ResNet-50 in two branches, from the authors' pretrained checkpoints.

Side a is the query encoder with its predictor, side b the momentum encoder, the key, without one.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from xaicl_lib.checkpoints.torch_file import read_as
from xaicl_lib.networks.resnet import ResNet50, perceptron, pooled_head
from xaicl_lib.networks.vit import ClassToken, ClassTokenMap, official_names

WIDTHS = {"vit_b": 768, "vit_s": 384}
DEPTH = 12
HIDDEN, OUT = 4096, 256
BRANCHES = {"": "base_encoder.", "_b": "momentum_encoder."}


def network(architecture: str, *, slim: int = 1) -> nn.ModuleDict:
    """Features and head of both branches; heads end with 256 numbers.

    For the ViTs features end in the attention of `blocks.11` (see `ClassTokenMap`) and the head holds the rest of that block,
    the last norm and a projector of three layers on the class token; for "r50" features end with `layer4`, the projector has two layers and
    the predictor no last norm. Twelve attention heads in either ViT.

    Args:
        architecture: "vit_b", "vit_s" or "r50".
        slim: all widths are divided by it, for tests.
    """
    hidden, out = HIDDEN // slim, OUT // slim
    parts: dict[str, nn.Module] = {}
    for branch in BRANCHES:
        predictor = {} if branch else {"predictor": perceptron(out, hidden, out, last_norm="none" if architecture == "r50" else "plain")}
        if architecture == "r50":
            parts["features" + branch] = ResNet50(64 // slim)
            parts["head" + branch] = pooled_head(projector=perceptron(2048 // slim, hidden, out), **predictor)
        else:
            c = WIDTHS[architecture] // slim
            parts["features" + branch] = ClassTokenMap(c, DEPTH, heads=12)
            projector = perceptron(c, hidden, hidden, out)
            parts["head" + branch] = nn.Sequential(OrderedDict(token=ClassToken(c), projector=projector, **predictor))
    return nn.ModuleDict(parts)


def _names(architecture: str) -> dict[str, str]:
    """Beginnings of the checkpoint's names by those of ours."""
    if architecture == "r50":
        one = {"features.": "", "head.projector.": "fc."}
    else:
        one = official_names(DEPTH, ends=True) | {"head.projector.": "head."}
    out = {"head.predictor.": "predictor."}
    for branch, theirs in BRANCHES.items():
        out |= {ours.replace(".", branch + ".", 1): theirs + rest for ours, rest in one.items()}
    return out


def read(files: Sequence[Path], empty: nn.Module, architecture: str, **_: object) -> dict[str, Tensor]:
    """Tensors for `network(architecture)`.

    Raises:
        InputError: another file, such as a linear probe, or one that does not fit.
    """
    what = f"the pretrained checkpoint of MoCo v3 ({architecture}) with base_encoder, momentum_encoder and predictor"
    return read_as(files[0], "state_dict", empty, _names(architecture), what=what)
