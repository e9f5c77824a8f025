#!/usr/bin/env bash
# Quantus: in its pointing game a map that says nothing hits every object, and objects that are not there are hit as well.
#
# A hit is counted where any of the pixels that share the largest value lies on the object. One would expect a map of zeros, as a Grad-CAM
# whose values are all negative leaves after its ReLU, to miss, to be not a number or at best to get the object's share of the picture; all its
# pixels are the largest, so it hits. A batch of nothing but zeros is refused, one among others is not, so that a method that fails oftener
# scores higher. A map of one value a patch likewise hits with a patch of which the object covers one pixel. And where the object's mask is
# empty the code means to return NaN, as the other scores do, but writes it into truth values, where NaN is true: a hit.
#
# Seen with quantus 0.6.0, numpy 2.4.6: 19 maps of zeros beside one that misses score 0.95 (the objects cover 6 % of the pictures), a patch with
# one pixel on the object 1, an empty mask 1; RelevanceMassAccuracy gives NaN for zeros and for an empty mask, RelevanceRankAccuracy for the latter.
# Exits with 0 while that is so, with 1 when it has changed. OpenCV, which Quantus brings, loads libGL.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check quantus==0.6.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - << 'PROGRAM'
import importlib.metadata
import sys

import numpy as np
import quantus

SIZE, OBJECT = 16, 4


def at(row, column):
    """A mask of one object."""
    mask = np.zeros((1, SIZE, SIZE), int)
    mask[0, row : row + OBJECT, column : column + OBJECT] = 1
    return mask


def scored(score, maps, masks):
    """The score of every map, asked with maps that are there already, so that no model is needed."""
    pictures, classes = np.zeros(maps.shape, np.float32), np.zeros(len(maps), int)
    metric = score(disable_warnings=True, display_progressbar=False)
    return np.array(metric(model=None, x_batch=pictures, y_batch=classes, a_batch=maps.copy(), s_batch=masks, device="cpu"), dtype=float)


rng = np.random.default_rng(0)
pointing, mass, rank = quantus.PointingGame, quantus.RelevanceMassAccuracy, quantus.RelevanceRankAccuracy
print("quantus", importlib.metadata.version("quantus"), "numpy", np.__version__)

masks = np.stack([at(*rng.integers(0, SIZE - OBJECT, 2)) for _ in range(20)])
dead = np.zeros((20, 1, SIZE, SIZE), np.float32)
dead[0, 0, SIZE - 1, SIZE - 1] = 1
zeros = scored(pointing, dead, masks).mean()
print(f"one map that misses and 19 of zeros: pointing game {zeros:.2f}, object's share {masks.mean():.2f}, mass {scored(mass, dead, masks)[:3]}")

patches = np.zeros((1, 1, SIZE, SIZE), np.float32)
patches[..., :4, :4], patches[..., 8:12, 8:12] = 1, 0.5
corner = at(3, 3)[None]
share = float((corner * (patches == 1)).sum() / (patches == 1).sum())
touched = scored(pointing, patches, corner)[0]
print(f"the strongest patch has {share:.0%} of its pixels on the object: pointing game {touched:.0f}")

maps, empty = rng.random((2, 1, SIZE, SIZE), dtype=np.float32), np.stack([at(2, 2), 0 * at(2, 2)])
nothing = {score.__name__: float(scored(score, maps, empty)[1]) for score in (pointing, mass, rank)}
print(f"an object that is not there: {nothing}")
others = np.isnan([nothing["RelevanceMassAccuracy"], nothing["RelevanceRankAccuracy"]]).all()
sys.exit(not (zeros == 0.95 and touched == 1 and nothing["PointingGame"] == 1 and others))
PROGRAM
