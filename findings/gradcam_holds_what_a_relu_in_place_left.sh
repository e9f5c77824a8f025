#!/usr/bin/env bash
# pytorch-grad-cam, on a CPU: before a ReLU in place the activations of the chosen layer are those after the ReLU, and the map is another one.
#
# The tool's hook moves the layer's output to the CPU and keeps it. On a CPU nothing is moved, so what it keeps is the tensor itself, which the
# ReLU then overwrites; the gradients are rightly those of the layer's own output. One would expect that in place or not is a matter of memory.
# It is so for the last BatchNorm of a DenseNet (`features[-1]`, the layer that the tool's README names for DenseNets), for the
# last convolution of a VGG and for a BatchNorm in the last block of a ResNet. Where a copy is made, as moving from a GPU makes one, the map is
# the right one (here a reshape_transform that copies stands for that), so the same call draws two maps on two devices. captum copies.
#
# Seen with grad-cam 1.5.7, captum 0.9.0, torch 2.14.1: smallest activation of DenseNet-121's last BatchNorm -2.48, as kept by the tool 0.
# Small network: correlation of the maps with and without in place GradCAM 0.94, XGradCAM 0.78, EigenCAM -0.24; with copies, and by captum, 1.
# Exits with 0 while that is so, with 1 when it has changed. OpenCV, which grad-cam brings, loads libGL.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 grad-cam==1.5.7 captum==0.9.0
"$folder/venv/bin/python" -W ignore - << 'PROGRAM'
import sys

import numpy as np
import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import EigenCAM, GradCAM, XGradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torchvision.models import densenet121


def network(in_place):
    torch.manual_seed(1)
    first = (nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(in_place))
    second = (nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(in_place))
    return nn.Sequential(*first, *second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)).eval()


def drawn(method, in_place, change=None):
    chosen = network(in_place)
    with method(model=chosen, target_layers=[chosen[4]], reshape_transform=change) as cam:
        return cam(input_tensor=photos, targets=[ClassifierOutputTarget(2)] * len(photos))


def by_captum(in_place):
    chosen = network(in_place)
    return LayerGradCam(chosen, chosen[4]).attribute(photos, target=2).detach().numpy()


def alike(one, other):
    return round(float(np.corrcoef(one.ravel(), other.ravel())[0, 1]), 2)


torch.manual_seed(0)
photos = torch.rand(4, 3, 32, 32)
found = {}
for method in (GradCAM, XGradCAM, EigenCAM):
    copied = alike(drawn(method, False, torch.clone), drawn(method, True, torch.clone))
    found[method.__name__] = (alike(drawn(method, False), drawn(method, True)), copied)
    print(f"{method.__name__}: correlation of maps with and without in place {found[method.__name__][0]}, with copies {copied}")
ours = alike(by_captum(False), by_captum(True))
print(f"captum's LayerGradCam: {ours}")

torch.manual_seed(0)
dense, true = densenet121().eval(), []
hook = dense.features[-1].register_forward_hook(lambda module, given, made: true.append(made.min().item()))
with GradCAM(model=dense, target_layers=[dense.features[-1]]) as cam:
    cam.activations_and_grads(torch.rand(1, 3, 64, 64))
    kept = cam.activations_and_grads.activations[0].min().item()
hook.remove()
print(f"DenseNet-121: smallest activation of features[-1] {true[0]:.2f}, as the tool keeps it {kept:.2f}")
changed = all(plain < 0.96 and copied == 1 for plain, copied in found.values())
sys.exit(not (changed and ours == 1 and true[0] < -1 and kept == 0))
PROGRAM
