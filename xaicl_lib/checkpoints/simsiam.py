"""SimSiam (:cite:t:`chen2021exploring`): a ResNet-50 with a projector of three layers and a predictor, from the authors' checkpoint."""

from torch import nn

from xaicl_lib.checkpoints.torch_file import torch_reader
from xaicl_lib.networks.resnet import ResNet50, perceptron, pooled_head

WHAT = "the pretrained checkpoint of SimSiam (checkpoint_0099.pth.tar, with projector and predictor)"


def _network(*, slim: int = 1) -> nn.ModuleDict:
    """Features up to `layer4`, the projector 2048-2048-2048-2048 and the predictor 2048-512-2048, the same on both sides.

    Differs: from the training, where one side has no predictor. As in the published code of :cite:t:`sammani2023visualizing`
    both have it; that code's activation methods put the predictor straight on the pooled features, here the projector is between them.
    """
    c = 2048 // slim
    projector = perceptron(c, c, c, c, last_bias=True)
    predictor = perceptron(c, c // 4, c, last_norm="none", last_bias=True)
    return nn.ModuleDict({"features": ResNet50(64 // slim), "head": pooled_head(projector=projector, predictor=predictor)})


def _names(**_: object) -> dict[str, str]:
    """Beginnings of the checkpoint's names by those of ours."""
    return {"features.": "encoder.", "head.projector.": "encoder.fc.", "head.predictor.": "predictor."}


READER = torch_reader(_network, _names, WHAT, key="state_dict")
