#!/usr/bin/env bash
# pytorch-grad-cam: an IndexError anywhere in a `with GradCAM(...)` block ends the block and not the program, whosever error it was.
#
# The README makes the tool in a `with` and says to use it again for many images, so a loop over pictures stands within the block. One would
# expect a mistake in the loop to stop the program, or at most errors of the tool's own to be caught. Its `__exit__` answers every IndexError
# with True: the rest of the loop is left out, what follows the block runs with what there is, and the program ends as if all were well. A list
# of labels that is too short, an index that a tensor does not have, a class beyond the last one: a mean over 100 pictures is one over the 7 before.
# All that tells is a line on standard output, which names no place. A KeyError or a ValueError comes out as usual, so that with a dictionary
# for the list the same mistake ends otherwise. torchcam, with the same kind of block, lets every error through. (Issue 238 shows the line; neither
# the README nor a docstring tells of it.)
#
# Seen with grad-cam 1.5.7, torchcam 0.5.0, torch 2.14.1: ten pictures, labels for seven: grad-cam seven maps and no error, with a dictionary of
# labels a KeyError; torchcam an IndexError.
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

import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torchcam.methods import GradCAM as TorchcamGradCAM

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).eval()
pictures, layer = torch.rand(10, 1, 3, 16, 16), model[0]
few = [0, 1, 2, 3, 4, 0, 1]  # labels of seven of the ten


def by_gradcam(label_of):
    with GradCAM(model=model, target_layers=[layer]) as cam:
        for k, picture in enumerate(pictures):
            yield cam(input_tensor=picture, targets=[ClassifierOutputTarget(label_of[k])])


def by_torchcam(label_of):
    with TorchcamGradCAM(model, layer) as cam:
        for k, picture in enumerate(pictures):
            scores = model(picture)
            yield cam(label_of[k], scores)[0]


def ended(draw, label_of):
    """How many maps there are, and the error that came out of the block."""
    maps, error = [], None
    try:
        for drawn in draw(label_of):
            maps.append(drawn)
    except Exception as e:
        error = type(e).__name__
    return len(maps), error


def beyond():
    """A class that the network does not have, asked of the tool itself."""
    ran = "the block was left early"
    with GradCAM(model=model, target_layers=[layer]) as cam:
        cam(input_tensor=pictures[0], targets=[ClassifierOutputTarget(5)])
        ran = "the block was run to its end"
    return ran


print(*(f"{name} {importlib.metadata.version(name)}" for name in ("grad-cam", "torchcam", "torch")))
found = {
    "grad-cam, list of labels": ended(by_gradcam, few),
    "grad-cam, dictionary of labels": ended(by_gradcam, dict(enumerate(few))),
    "torchcam, list of labels": ended(by_torchcam, few),
}
for name, (maps, error) in found.items():
    print(f"{name}: {maps} maps of {len(pictures)}, {error or 'no error'}")
last = beyond()
print(f"grad-cam, class 5 of 0 to 4: no error, {last}")
sys.exit(list(found.values()) != [(7, None), (7, "KeyError"), (7, "IndexError")] or last != "the block was left early")
PROGRAM
