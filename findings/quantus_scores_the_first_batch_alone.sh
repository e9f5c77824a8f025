#!/usr/bin/env bash
# Quantus: ROAD and Sensitivity-N of any number of pictures are those of the first 64.
#
# Every score takes a batch_size, 64 unless it is set, and one would expect it to be a matter of memory. ROAD and SensitivityN collect an array per
# batch and then take the first of the list, so that all later pictures are explained, perturbed, sent through the network and left out. Nothing
# tells: what comes back is one number a percentage, or one a number of features, however many pictures there were. Sorted data, one kind after
# another, are scored by one kind; the order of the pictures changes the score, and so does batch_size. Pixel flipping, which returns
# a curve for each picture, has them all. (Quantus's pages say nothing of it.)
#
# Seen with quantus 0.6.0, torch 2.14.1, numpy 2.4.6, 128 pictures of which the first 64 are recognised: ROAD 1.00, in reversed order 0.00, with a
# batch of 128 0.50, and 0.50 as the mean of the pictures each alone; Sensitivity-N of 128 is to the last bit that of the first 64.
# Exits with 0 while that is so, with 1 when it has changed. OpenCV, which Quantus brings, loads libGL.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6 quantus==0.6.0
"$folder/venv/bin/python" -W ignore - << 'PROGRAM'
import importlib.metadata
import sys

import numpy as np
import quantus
import torch
from torch import nn

PICTURES, SIZE = 128, 8
QUIET = {"disable_warnings": True, "display_progressbar": False}


def scored(metric, which, **more):
    given = {"model": network, "x_batch": pictures[which], "y_batch": labels[which], "a_batch": maps[which]}
    return metric(**given, device="cpu", softmax=False, **more)


def road(which, **more):
    """The share of pictures that are recognised when the strongest fifth of their pixels is filled in from the others."""
    return float(scored(quantus.ROAD(percentages=[20], noise=0.0, **QUIET), which, **more)[20])


torch.manual_seed(0)
rng = np.random.default_rng(0)
network = nn.Sequential(nn.Flatten(), nn.Linear(SIZE**2, 2)).eval()
with torch.no_grad():  # it tells bright pictures from dark ones
    network[1].weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, SIZE**2))
    network[1].bias.copy_(torch.tensor([0.5, -0.5]) * SIZE**2)
bright = rng.integers(2, size=PICTURES)
pictures, maps = rng.random((2, PICTURES, 1, SIZE, SIZE), dtype=np.float32)
pictures = 0.5 * (pictures + bright.astype(np.float32)[:, None, None, None])
labels = np.where(np.arange(PICTURES) < PICTURES // 2, bright, 1 - bright)  # the second half has wrong labels
every = np.arange(PICTURES)

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("quantus", "torch", "numpy")))
whole, backwards, one_batch = road(every), road(every[::-1]), road(every, batch_size=PICTURES)
alone = float(np.mean([road(every[index : index + 1]) for index in every]))
print(f"ROAD {whole:.2f}, in reversed order {backwards:.2f}, in one batch {one_batch:.2f}, mean of the pictures each alone {alone:.2f}")

sensitivity = quantus.SensitivityN(features_in_step=8, perturb_baseline=0.0, return_aggregate=False, **QUIET)
parts = {name: np.ravel(scored(sensitivity, which, **more)) for name, which, more in (
    ("all", every, {}), ("the first 64", every[:64], {}), ("all in one batch", every, {"batch_size": PICTURES}))}
for name, values in parts.items():
    print(f"Sensitivity-N of {name}: {np.round(values, 2)}")
same = np.array_equal(parts["all"], parts["the first 64"]) and not np.allclose(parts["all"], parts["all in one batch"])
flipped = scored(quantus.PixelFlipping(features_in_step=8, perturb_baseline=0.0, **QUIET), every)
print(f"pixel flipping returns {len(flipped)} curves")
sys.exit(not ((whole, backwards, one_batch, alone) == (1, 0, 0.5, 0.5) and same and len(flipped) == PICTURES))
PROGRAM
