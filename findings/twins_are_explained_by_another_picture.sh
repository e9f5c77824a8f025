#!/usr/bin/env bash
# pytorch-grad-cam and captum explain different pictures of a pair, by the same layer of the same network.
#
# A network that compares two pictures sends both through one encoder, so the layer that is named is called twice. One would expect two maps,
# or an error. pytorch-grad-cam keeps both calls and draws the first, captum and torchcam keep the last; which picture that is only the order of
# two lines in `forward` tells, and nothing warns. Where the first call is a reference that needs no gradient, pytorch-grad-cam has one
# gradient for two activations and draws a map of neither picture: the reference's activations weighed by the photo's gradients.
# (captum's questions and answers say "the last execution" of layers used again; its text on Grad-CAM does not, nor does pytorch-grad-cam's README.)
#
# Seen with grad-cam 1.5.7, captum 0.9.0, torchcam 0.5.0, torch 2.14.1: pair: first, last, last; reference first: the mixture, photo, photo.
# Exits with 0 while that is so, with 1 when it has changed. OpenCV, which grad-cam brings, loads libGL.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 grad-cam==1.5.7 captum==0.9.0 torchcam==0.5.0
"$folder/venv/bin/python" -W ignore - << 'PROGRAM'
import sys

import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torchcam.methods import GradCAM as TorchCAM


class Twins(nn.Module):
    """Cosine of two pictures, given as six channels; the first can be a reference, whose embedding needs no gradient."""

    def __init__(self, reference: bool) -> None:
        super().__init__()
        self.reference = reference
        self.layer, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 8)

    def embedded(self, picture):
        return self.head(torch.relu(self.layer(picture)).mean((2, 3)))

    def forward(self, pair):
        with torch.set_grad_enabled(not self.reference):
            first = self.embedded(pair[:, :3])
        return torch.cosine_similarity(first, self.embedded(pair[:, 3:]))[:, None]


def shown(values):
    """As the tools draw it: positive values, the largest being 1."""
    values = values.detach().clamp(min=0)
    return (values - values.min()) / (values.max() - values.min())


def by_definition(network, pair):
    """Maps from the activations of one call and the gradients of one call, named (activations, gradients)."""
    calls = []
    hook = network.layer.register_forward_hook(lambda module, given, made: calls.append(made))
    score = network(pair).sum()
    hook.remove()
    gradients = {k: torch.autograd.grad(score, made, retain_graph=True)[0] for k, made in enumerate(calls) if made.requires_grad}
    names = ("first", "last")
    return {
        (names[k], names[g]): shown((made * gradient.mean((2, 3), keepdim=True)).sum(1)[0])
        for k, made in enumerate(calls)
        for g, gradient in gradients.items()
    }


def drawn(network, pair):
    with GradCAM(model=network, target_layers=[network.layer]) as cam:
        yield "pytorch-grad-cam", torch.tensor(cam(input_tensor=pair, targets=[ClassifierOutputTarget(0)])[0])
    yield "captum", shown(LayerGradCam(network, network.layer).attribute(pair, target=0)[0, 0])
    with TorchCAM(network, target_layer="layer") as cam:
        yield "torchcam", shown(cam(0, network(pair))[0][0])


found = []
for reference in (False, True):
    torch.manual_seed(0)
    network, pair = Twins(reference).eval(), torch.rand(1, 6, 16, 16)
    meant = by_definition(network, pair)
    for tool, values in drawn(network, pair):
        found += [[name for name, one in meant.items() if torch.allclose(values, one, atol=1e-3)]]
        print(f"reference without gradient: {reference}; {tool} draws (activations of, gradients of): {found[-1]}")
last = [("last", "last")]
sys.exit(found != [[("first", "first")], last, last, [("first", "last")], last, last])
PROGRAM
