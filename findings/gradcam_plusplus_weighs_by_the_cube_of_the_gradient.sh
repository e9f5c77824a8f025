#!/usr/bin/env bash
# torchcam and pytorch-grad-cam: Grad-CAM++ of a cosine weighs channels by the cube of their gradient; the method's denominator does nothing.
#
# By the paper a gradient g counts as g / (2 + g * sum of A), A being its channel: for small gradients half of it, for large ones ever less, so
# that no channel takes all. torchcam divides `alpha[mask].div_(...)` in place; what a mask picks is a copy, so alpha stays g squared and g counts
# as its cube, for every score. pytorch-grad-cam adds 1e-6 to a denominator of about 2 g squared. A gradient of 0.01 bears that; those of a cosine
# at the last layer of a ResNet are about 1e-5, their squares 1e-10, and what is left is a million times the cube. One would check one tool by
# the other: they agree to all digits shown, and neither does with the formula. The same cosine times 100, as CLIP's logits are, is another map
# in pytorch-grad-cam, nearly the right one. (torchcam's documentation gives the formula with its denominator, grad-cam's code names the paper's
# equation. Issue 236 of pytorch-grad-cam proposed the shortened fraction in 2022, for the sake of speed and stability.)
#
# Seen with torchcam 0.5.0, grad-cam 1.5.7, torch 2.14.1, ResNet-18 with random weights, four pictures compared with a fifth: correlation with the
# formula's map 0.82 and 0.82, with that of cubes 1.00 and 1.00; times 100 with the formula's 0.81 and 0.99. The strongest tenth of the channels
# has 39 % of the weight by the formula and 75 % by cubes.
# Exits with 0 while that is so, with 1 when it has changed. OpenCV, which grad-cam brings, loads libGL.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check grad-cam==1.5.7 torchcam==0.5.0
"$folder/venv/bin/python" -W ignore - << 'PROGRAM'
import importlib.metadata
import sys

import numpy as np
import torch
from pytorch_grad_cam import GradCAMPlusPlus
from torch import nn
from torchcam.methods import GradCAMpp
from torchvision.models import resnet18


class Compared(nn.Module):
    """How like a fixed picture each picture is: the cosine of two embeddings, times a number."""

    def __init__(self, encoder, picture, times):
        super().__init__()
        self.encoder, self.times = encoder, times
        with torch.no_grad():
            self.register_buffer("fixed", encoder(picture))

    def forward(self, x):
        return self.times * torch.cosine_similarity(self.encoder(x), self.fixed)[:, None]


def formula(act, grad):
    """Equation 19 of the paper with the common factor, the square of the gradient, cancelled."""
    return (grad.clamp(min=0) / (2 + grad * act.sum((2, 3), keepdim=True))).sum((2, 3))


def cubes(act, grad):
    return (grad.clamp(min=0) ** 3).sum((2, 3))


def drawn(weights, act):
    return (weights[:, :, None, None] * act).sum(1).clamp(min=0)


def alike(ones, others):
    return float(np.mean([np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in zip(np.asarray(ones), np.asarray(others))]))


def share(weights):
    """What the strongest tenth of the channels has of the weight."""
    ordered = weights.sort(dim=1, descending=True).values
    return float((ordered[:, : ordered.shape[1] // 10].sum(1) / ordered.sum(1)).mean())


torch.manual_seed(0)
pictures = nn.functional.interpolate(torch.randn(37, 3, 8, 8), (224, 224), mode="bilinear")
encoder = resnet18()
encoder.fc = nn.Identity()
for norm in (module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)):
    norm.momentum = None  # its statistics are those of the pictures that follow, as in a network that was trained
with torch.no_grad():
    encoder(pictures[5:])
encoder.eval()
photos, fifth = pictures[:4], pictures[4:5]
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("torchcam", "grad-cam", "torch")))

found = {}
for times in (1, 100):
    model = Compared(encoder, fifth, times)
    layer = model.encoder.layer4
    with GradCAMpp(model, layer) as tool:
        by_torchcam = tool(0, model(photos), normalized=False)[0]
    kept = []
    hook = layer.register_forward_hook(lambda module, given, made: kept.append(made))
    scores = model(photos)
    hook.remove()
    (grad,) = torch.autograd.grad(scores.sum(), kept)
    act = kept[0].detach()
    with GradCAMPlusPlus(model=model, target_layers=[layer]) as tool:
        by_gradcam = np.maximum(tool.get_cam_image(photos, layer, None, act.numpy(), grad.numpy()), 0)
    right, cubed = drawn(formula(act, grad), act), drawn(cubes(act, grad), act)
    maps = {"torchcam": by_torchcam, "grad-cam": by_gradcam}
    found[times] = {name: (alike(shown, right), alike(shown, cubed)) for name, shown in maps.items()}
    print(f"cosine times {times}: gradients about {grad.square().mean().sqrt():.1e}")
    print(f"  weight of the strongest tenth {share(formula(act, grad)):.0%} by the formula, {share(cubes(act, grad)):.0%} by cubes")
    for tool_name, (one, other) in found[times].items():
        print(f"  {tool_name}: correlation with the formula's map {one:.3f}, with the cubes' {other:.4f}")

plain, scaled = found[1], found[100]
wrong = all(one < 0.9 and other > 0.9999 for one, other in (*plain.values(), scaled["torchcam"]))
sys.exit(not (wrong and scaled["grad-cam"][0] > 0.97))
PROGRAM
