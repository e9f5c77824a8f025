#!/usr/bin/env bash
# Quantus: in Sensitivity-N exact attributions of a linear model, which pass by definition, come out at about 0.4.
#
# The score asks whether the attributions of n features add up to what the output loses without these features: correlated over many sets of n
# features, 1 is perfect. Of a linear model w x with a baseline of zeros w x is exact for every set. Quantus takes away the strongest
# features step by step, keeping away those of the steps before, and sets the loss by all of them beside the sum of those of the last step
# alone: for n = 1 step the two belong together, from the second on they do not. It correlates over the pictures, one step for all (issue 354
# asks about that), where the definition draws sets at random. FaithfulnessEstimate and FaithfulnessCorrelation, which put features back, give 1.
# Its docstring states the definition. As the number falls with n for exact maps it tells how far a step is from the first, not how good a map is.
#
# Seen with quantus 0.6.0, torch 2.14.1, numpy 2.4.6, 40 pictures of 64 pixels: 1.00 for the first step, 0.40 on average, -0.06 at worst; by the
# definition, 100 random sets for each n and picture, 1.00 for all n; with the sums of all steps so far in place of the last one's 1.00, too.
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

PICTURES, SIZE, SETS = 40, 8, 100
ASKED = {"disable_warnings": True, "display_progressbar": False, "abs": False, "normalise": False, "perturb_baseline": 0.0, "return_aggregate": False}


def scored(metric, **more):
    given = {"model": network, "x_batch": pictures, "y_batch": labels, "a_batch": maps}
    return np.ravel(metric(**ASKED, **more)(**given, device="cpu", softmax=False))


def outputs(flat):
    """The score of each picture's own class."""
    with torch.no_grad():
        return network(torch.tensor(flat)).numpy()[np.arange(PICTURES), labels]


def by_definition(n):
    """Over random sets of n pixels: the sum of attributions against the loss of output; the mean over pictures."""
    sums, losses = [], []
    for _ in range(SETS):
        away = rng.random(flat.shape).argsort(1) < n
        sums.append((attributions * away).sum(1))
        losses.append(outputs(flat) - outputs(np.where(away, 0, flat).astype(np.float32)))
    return float(np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(np.transpose(sums), np.transpose(losses))]))


def of_all_steps(n):
    """Over the pictures, without their n strongest pixels: the sum of all these pixels' attributions against the loss of output."""
    away = (-attributions).argsort(1).argsort(1) < n
    losses = outputs(flat) - outputs(np.where(away, 0, flat).astype(np.float32))
    return float(np.corrcoef((attributions * away).sum(1), losses)[0, 1])


torch.manual_seed(0)
rng = np.random.default_rng(0)
network = nn.Sequential(nn.Flatten(), nn.Linear(SIZE**2, 2)).eval()
pictures = rng.random((PICTURES, 1, SIZE, SIZE), dtype=np.float32)
flat = pictures.reshape(PICTURES, -1)
with torch.no_grad():
    labels = network(torch.tensor(pictures)).argmax(1).numpy()
attributions = network[1].weight.detach().numpy()[labels] * flat
maps = attributions.reshape(pictures.shape)

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("quantus", "torch", "numpy")))
theirs = scored(quantus.SensitivityN, features_in_step=1, n_max_percentage=0.8)
ours = [(by_definition(n), of_all_steps(n)) for n in range(1, len(theirs) + 1)]
print(f"Quantus: for one pixel {theirs[0]:.2f}, mean of 1 to {len(theirs)} pixels {theirs.mean():.2f}, least {theirs.min():.2f}")
print(f"by the definition: least {min(ours)[0]:.4f}; over the pictures, with the sums of all steps: least {min(pair[1] for pair in ours):.4f}")
others = scored(quantus.FaithfulnessEstimate, features_in_step=1), scored(quantus.FaithfulnessCorrelation, subset_size=10, nr_runs=50)
print(f"FaithfulnessEstimate: least {others[0].min():.4f}; FaithfulnessCorrelation: least {others[1].min():.4f}")
right = min(np.min(ours), others[0].min(), others[1].min()) > 0.999
sys.exit(not (theirs[0] > 0.999 and theirs.mean() < 0.7 and right))
PROGRAM
