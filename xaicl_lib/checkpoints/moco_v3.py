"""MoCo v3 (:cite:t:`chen2021empirical`): ViT-B, ViT-S or ResNet-50 in two branches, from the authors' pretrained checkpoints.

Side a is the query encoder with its predictor, side b the momentum encoder, the key, without one.
"""

from collections import OrderedDict

from torch import nn

from xaicl_lib.checkpoints.torch_file import torch_reader
from xaicl_lib.networks.resnet import ResNet50, perceptron, pooled_head
from xaicl_lib.networks.vit import ClassToken, ClassTokenMap, official_names

WIDTHS = {"vit_b": 768, "vit_s": 384}
DEPTH = 12
HIDDEN, OUT = 4096, 256
WHAT = "the pretrained checkpoint of MoCo v3 ({architecture}) with base_encoder, momentum_encoder and predictor"
BRANCHES = {"": "base_encoder.", "_b": "momentum_encoder."}


def _network(architecture: str, *, slim: int = 1) -> nn.ModuleDict:
    """Features and head of both branches of "vit_b", "vit_s" or "r50"; heads end with 256 numbers.

    For the ViTs features end in the attention of `blocks.11` (see `ClassTokenMap`) and the head holds the rest of that block,
    the last norm and a projector of three layers on the class token; for "r50" features end with `layer4`, the projector has two layers and
    the predictor no last norm. Twelve attention heads in either ViT.
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


READER = torch_reader(_network, _names, WHAT, key="state_dict")
