#!/usr/bin/env bash
# Quantus: the average of its randomisation test counts the maps of the untouched network, so that a method that loses all likeness has not zero.
#
# MPRT makes a network's layers random one after the other and correlates the new maps with the old; a method that explains the network should
# lose all likeness, so lower is better. return_average_correlation asks for the mean over the layers. The results also hold, under "original",
# the maps of the untouched network with themselves, 1. The code means to leave that out of the mean, but looks for the key "orig". So the
# mean is (1 + sum over n layers) / (n + 1): nearly a half for a network of one layer that has parameters, a third for two, next to nothing for
# a hundred. The same method looks worse on small networks, tables of several networks do not compare, and ten layers at a true -0.1 read
# as 0. (The docstring says that it is the average across the layers. SmoothMPRT has the same lines.)
#
# Seen with quantus 0.6.0, torch 2.14.1, numpy 2.4.6, gradients of two layers, 6 pictures: mean over the layers 0.10, as returned 0.40, that is
# (1 + 2 * 0.10) / 3; of eight layers 0.28 and 0.36.
# Exits with 0 while that is so, with 1 when it has changed. OpenCV, which Quantus brings, loads libGL.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6 quantus==0.6.0
"$folder/venv/bin/python" -W ignore - << 'PROGRAM'
import copy
import importlib.metadata
import sys

import numpy as np
import quantus
import torch
from scipy.stats import spearmanr
from torch import nn

QUIET = {"disable_warnings": True, "display_progressbar": False}


def explained(model, inputs, targets, **_):
    """Gradients of the asked scores."""
    given = torch.tensor(inputs, dtype=torch.float32, requires_grad=True)
    scores = model(given)[torch.arange(len(given)), torch.as_tensor(targets)]
    return torch.autograd.grad(scores.sum(), given)[0].numpy()


def slowly(network, seed=42):
    """The same test: from the last layer to the first, all so far made random, Spearman's correlation of the sizes of gradients."""
    before, other, rows = np.abs(explained(network, pictures, labels)), copy.deepcopy(network), []
    for layer in [module for module in other.modules() if hasattr(module, "reset_parameters")][::-1]:
        torch.manual_seed(seed + 1)
        layer.reset_parameters()
        after = np.abs(explained(other, pictures, labels))
        rows.append([spearmanr(one.ravel(), two.ravel())[0] for one, two in zip(before, after)])
    return np.array(rows)


def network(layers):
    torch.manual_seed(0)
    middle = [part for _ in range(layers - 2) for part in (nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())]
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), *middle, nn.Flatten(), nn.Linear(8 * 14 * 14, 3)).eval()


rng = np.random.default_rng(0)
pictures, labels = rng.random((6, 1, 16, 16), dtype=np.float32), np.zeros(6, int)
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("quantus", "torch", "numpy")))
matches = []
for layers in (2, 8):
    tested = network(layers)
    asked = {"model": tested, "x_batch": pictures, "y_batch": labels, "a_batch": None, "device": "cpu", "explain_func": explained}
    each = quantus.MPRT(**QUIET)(**asked)
    returned = np.array(quantus.MPRT(return_average_correlation=True, **QUIET)(**asked))
    theirs, ours = np.array([values for name, values in each.items() if name != "original"]), slowly(tested)
    print(f"{layers} layers: results {list(each)}, of the original {np.mean(each['original']):.2f}")
    print(f"  mean over the layers {theirs.mean():.3f}, computed slowly {ours.mean():.3f}, as returned {returned.mean():.3f}")
    alike = np.allclose(theirs, ours, atol=1e-3)
    matches.append(alike and np.allclose(returned, (1 + ours.sum(0)) / (layers + 1), atol=1e-3) and returned.mean() > ours.mean() + 0.05)
sys.exit(not all(matches))
PROGRAM
