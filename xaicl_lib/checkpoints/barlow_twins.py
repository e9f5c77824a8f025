"""Barlow Twins (:cite:t:`zbontar2021barlow`): a ResNet-50 with a projector of three layers, from the authors' full checkpoint."""

from torch import nn

from xaicl_lib.checkpoints.torch_file import torch_reader
from xaicl_lib.networks.resnet import ResNet50, perceptron, pooled_head

WHAT = "the full checkpoint of Barlow Twins (checkpoint.pth; resnet50.pth is the backbone alone)"


def _network(*, slim: int = 1) -> nn.ModuleDict:
    """Features up to `layer4` and the projector 2048-8192-8192-8192.

    Differs: the training's loss standardises the outputs over the batch; as in the published code of
    :cite:t:`sammani2023visualizing` the projector's outputs are compared as they are.
    """
    hidden = 8192 // slim
    projector = perceptron(2048 // slim, hidden, hidden, hidden, last_norm="none")
    return nn.ModuleDict({"features": ResNet50(64 // slim), "head": pooled_head(projector=projector)})


def _names(**_: object) -> dict[str, str]:
    """Beginnings of the checkpoint's names by those of ours."""
    return {"features.": "backbone.", "head.projector.": "projector."}


READER = torch_reader(_network, _names, WHAT, key="model", aside=("bn.",))  # of the loss
