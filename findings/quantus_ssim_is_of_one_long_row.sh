#!/usr/bin/env bash
# Quantus: the structural similarity of two maps is that of their pixels in one long row, so turning both by a quarter changes it.
#
# SSIM compares small windows of two pictures; it is the likeness that the randomisation tests name for maps, and what RandomLogit uses unless
# told otherwise. One would expect that two maps and their mirror images across the diagonal are equally alike. RandomLogit and MPRT hand over maps
# that they have flattened, and scikit-image takes a row of numbers as it takes a picture: its windows are seven pixels of one line, and at borders
# the end of one line and the start of the next. What differs up and down is not seen within a window at all. Nothing warns. (The docstring
# says "of two images (or explanations)"; called with unflattened maps the function is right, the scores do not do so.)
#
# Seen with quantus 0.6.0, scikit-image 0.26.0, torch 2.14.1, smooth maps of 64 x 64 moved by three pixels: RandomLogit says 0.67 when they are moved
# down and 0.41 when they are moved sideways, 0.42 and 0.68 of the mirror images; scikit-image and the formula 0.58 and 0.59, and the same mirrored.
# Exits with 0 while that is so, with 1 when it has changed. OpenCV, which Quantus brings, loads libGL.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6 quantus==0.6.0 scikit-image==0.26.0
"$folder/venv/bin/python" -W ignore - << 'PROGRAM'
import importlib.metadata
import sys

import numpy as np
import quantus
import torch
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage.metrics import structural_similarity
from torch import nn

PAIRS, SIZE, MOVED = 5, 64, 3


def by_quantus(ones, others):
    """RandomLogit's score of each pair: the maps of class 0 are the ones, those of class 1 the others."""
    metric = quantus.RandomLogit(num_classes=2, normalise=False, disable_warnings=True, display_progressbar=False)
    given = {"x_batch": np.zeros_like(ones), "y_batch": np.zeros(PAIRS, int), "a_batch": ones, "device": "cpu"}
    return np.array(metric(network, **given, explain_func=lambda model, inputs, targets, **_: others if np.all(targets) else ones))


def by_skimage(ones, others):
    return np.array([structural_similarity(a[0], b[0], data_range=span(a, b)) for a, b in zip(ones, others)])


def slowly(ones, others):
    """The formula, in windows of 7 x 7 pixels that lie within the picture."""
    values = []
    for a, b in zip(ones[:, 0].astype(float), others[:, 0].astype(float)):
        mean_a, mean_b = (uniform_filter(part, 7) for part in (a, b))
        var_a, var_b, both = (49 / 48 * (uniform_filter(p * q, 7) - uniform_filter(p, 7) * uniform_filter(q, 7)) for p, q in ((a, a), (b, b), (a, b)))
        one, two = (0.01 * span(a, b)) ** 2, (0.03 * span(a, b)) ** 2
        ratio = (2 * mean_a * mean_b + one) * (2 * both + two) / ((mean_a**2 + mean_b**2 + one) * (var_a + var_b + two))
        values.append(ratio[3:-3, 3:-3].mean())
    return np.array(values)


def span(a, b):
    return float(max(a.max(), b.max()) - min(a.min(), b.min()))


network = nn.Sequential(nn.Flatten(), nn.Linear(SIZE**2, 2)).eval()
rng = np.random.default_rng(0)
maps = np.stack([gaussian_filter(rng.random((SIZE, SIZE)), 3, mode="wrap") for _ in range(PAIRS)])[:, None].astype(np.float32)
pairs = {"moved down": (maps, np.roll(maps, MOVED, 2)), "moved sideways": (maps, np.roll(maps, MOVED, 3))}
pairs |= {f"{name}, mirrored": tuple(part.swapaxes(2, 3).copy() for part in pair) for name, pair in pairs.items()}
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("quantus", "scikit-image", "torch")))
found = {}
for name, pair in pairs.items():
    found[name] = by_quantus(*pair), by_skimage(*pair), slowly(*pair)
    print(f"{name}: RandomLogit {found[name][0].mean():.3f}, scikit-image {found[name][1].mean():.3f}, slowly {found[name][2].mean():.3f}")
right = all(np.allclose(plain, ours, atol=1e-3) for _, plain, ours in found.values())
(down, down_right, _), (turned, turned_right, _) = found["moved down"], found["moved down, mirrored"]
sys.exit(not (right and np.allclose(down_right, turned_right, atol=1e-3) and np.all(np.abs(down - turned) > 0.1)))
PROGRAM
