#!/usr/bin/env bash
# pytorch-grad-cam and captum draw a class activation map half a cell below and right of what its cells look at, in networks such as ResNets.
#
# Five convolutions of three with a border of one that move by two pixels, as the stages of a ResNet do, make 7 x 7 cells of 224 pixels. Their
# fields of view are centred on pixels 0, 32, 64 ... 192. Both tools stretch the 7 x 7 map over the picture, whose cells then are centred on
# 15.5, 47.5 ... 207.5: the fields keep to the left border, the stretching to neither. One bright pixel that a single cell sees, in a network
# whose weights are all one, is shown 15.5 pixels too far down and too far right, a fourteenth of the picture, wherever it is. Of objects that
# fill a photo nobody notices; a pointing game on small ones, or a map set beside one of pixels, holds the difference.
#
# Seen with grad-cam 1.5.7, captum 0.9.0 and torch 2.14.1: 15.5 pixels at each of five places, by both.
# Exits with 0 while that is so, with 1 when it has changed. OpenCV, which grad-cam brings, loads libGL.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 grad-cam==1.5.7 captum==0.9.0
"$folder/venv/bin/python" - << 'PROGRAM'
import sys

import numpy as np
import torch
from captum.attr import LayerAttribution, LayerGradCam
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

convolutions = [nn.Conv2d(channels, 1, 3, stride=2, padding=1, bias=False) for channels in (3, 1, 1, 1, 1)]
for one in convolutions:
    nn.init.ones_(one.weight)
features = nn.Sequential(*(layer for one in convolutions for layer in (one, nn.ReLU())))
network = nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def middle(shown: np.ndarray) -> tuple[float, float]:
    shown, line = np.maximum(shown, 0), np.arange(224)
    return float(shown.sum(1) @ line / shown.sum()), float(shown.sum(0) @ line / shown.sum())


off = []
for at in (32, 64, 96, 128, 160):
    photo = torch.zeros(1, 3, 224, 224)
    photo[:, :, at, at] = 1
    cells = features(photo)[0, 0].nonzero().tolist()
    with GradCAM(model=network, target_layers=[features[-1]]) as cam:
        first = cam(input_tensor=photo, targets=[ClassifierOutputTarget(0)])[0]
    made = LayerGradCam(network, features[-1]).attribute(photo, target=0)
    second = LayerAttribution.interpolate(made, (224, 224), "bilinear")[0, 0].detach().numpy()
    off += [place - at for shown in (first, second) for place in middle(shown)]
    print(f"the pixel ({at}, {at}) is seen by the cells {cells} alone; pytorch-grad-cam shows it at {middle(first)}, captum at {middle(second)}")
sys.exit(not all(abs(one - 15.5) < 0.01 for one in off))
PROGRAM
