#!/usr/bin/env bash
# pytorch-grad-cam and torchcam: Score-CAM of a cosine is one map whatever the photo is compared with, and the same for "alike" and for "unlike".
#
# Score-CAM shows the network the photo through each channel in turn and weighs the channels by the scores. Both tools make weights of scores by
# a softmax over the channels, as the method's second version has it. Logits of a classifier are tens apart, cosines with and without parts of a
# picture 0.2: exp(0.2) is 1.2, so that all weights are equal to a fifth and the map is the plain mean of the channels, which was there before
# any of the forwards. One would expect maps for two other pictures to differ, and that of the negated cosine to show other places. The same
# cosines times 100, as CLIP's logits are, give other maps, of a few channels. (torchcam's documentation has the formula, with "score before
# softmax"; neither says what it does to a score that is bounded. Issue 103 of tf-keras-vis has met equal weights there.)
#
# Seen with grad-cam 1.5.7, torchcam 0.5.0, torch 2.14.1, ResNet-18 with random weights, its third stage: correlation with the mean of the channels
# 0.999 in both; of the maps for the most and the least alike of 19 pictures 0.996 (times 100: -0.18 and 0.01), for the cosine and its negative
# 0.995. By weights that are the same scores stretched to 0..1: 0.71 and 0.53.
# Exits with 0 while that is so, with 1 when it has changed. OpenCV, which grad-cam brings, loads libGL.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check grad-cam==1.5.7 torchcam==0.5.0
"$folder/venv/bin/python" -W ignore - << 'PROGRAM' 2> "$folder/bars"
import importlib.metadata
import sys

import numpy as np
import torch
from pytorch_grad_cam import ScoreCAM
from torch import nn
from torchcam.methods import ScoreCAM as TorchcamScoreCAM
from torchvision.models import resnet18

SIZE = 64


class Compared(nn.Module):
    """How like a fixed picture each picture is: the cosine of two embeddings, less the usual one, times a number."""

    def __init__(self, fixed, times):
        super().__init__()
        self.encoder, self.fixed, self.times = encoder, fixed, times

    def forward(self, x):
        return self.times * torch.cosine_similarity(self.encoder(x) - usual, self.fixed)[:, None]


def alike(one, other):
    return float(np.corrcoef(np.ravel(one), np.ravel(other))[0, 1])


def by_torchcam(model):
    with TorchcamScoreCAM(model, model.encoder.layer3, input_shape=(3, SIZE, SIZE)) as tool:
        return tool(0, model(photo), normalized=False)[0][0].numpy()


def by_gradcam(model):
    with ScoreCAM(model=model, target_layers=[model.encoder.layer3]) as tool:
        weights = tool.get_cam_weights(photo, model.encoder.layer3, [lambda output: output[0]], channels[None].numpy(), None)
    return np.maximum((weights[0][:, None, None] * channels.numpy()).sum(0), 0)


def stretched(model):
    """The scores of the photo seen through each channel, made 0 for the least and 1 for the largest, as weights."""
    masks = nn.functional.interpolate(channels[:, None], (SIZE, SIZE), mode="bilinear")
    low, high = masks.amin((1, 2, 3), keepdim=True), masks.amax((1, 2, 3), keepdim=True)
    scores = torch.cat([model(photo * part) for part in ((masks - low) / (high - low + 1e-8)).split(64)])[:, 0]
    spread.append((scores.max() - scores.min()).item())
    weights = (scores - scores.min()) / (scores.max() - scores.min())
    return (weights[:, None, None] * channels).sum(0).numpy()


torch.manual_seed(0)
torch.set_grad_enabled(False)
pictures = nn.functional.interpolate(torch.randn(60, 3, 8, 8), (SIZE, SIZE), mode="bilinear")
encoder = resnet18()
encoder.fc = nn.Identity()
for norm in (module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)):
    norm.momentum = None  # its statistics are those of the pictures that follow, as in a network that was trained
encoder(pictures[20:])
encoder.eval()
usual, photo, kept, spread = encoder(pictures[20:]).mean(0), pictures[:1], [], []
hook = encoder.layer3.register_forward_hook(lambda module, given, made: kept.append(made[0]))
embedded = encoder(photo) - usual
hook.remove()
channels = kept[0]
plain = channels.mean(0).numpy()

others = encoder(pictures[1:20]) - usual
cosines = torch.cosine_similarity(embedded, others)
most, least = others[cosines.argmax()][None], others[cosines.argmin()][None]
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("grad-cam", "torchcam", "torch")))
print(f"cosines with the most and the least alike picture {cosines.max():.2f} and {cosines.min():.2f}")
found = {}
for name, drawn in {"torchcam": by_torchcam, "grad-cam": by_gradcam, "scores stretched": stretched}.items():
    maps = {key: drawn(Compared(*key)) for key in ((most, 1), (least, 1), (most, -1), (most, 100), (least, 100))}
    first, second, negative, large, small = maps.values()
    found[name] = alike(first, plain), alike(first, second), alike(first, negative), alike(large, small)
    print(f"{name}: correlation with the mean of channels {found[name][0]:.3f}, of the maps for two pictures {found[name][1]:.3f}, ", end="")
    print(f"of a cosine and its negative {found[name][2]:.3f}, of the maps for two pictures times 100 {found[name][3]:.3f}")
print(f"scores of one picture seen through the channels are within {spread[0]:.2f}")
both = found["torchcam"], found["grad-cam"]
sys.exit(not (all(min(one[:3]) > 0.99 and one[3] < 0.9 for one in both) and max(found["scores stretched"][1:3]) < 0.9))
PROGRAM
