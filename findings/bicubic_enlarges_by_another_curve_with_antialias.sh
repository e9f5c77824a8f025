#!/usr/bin/env bash
# torch: antialias=True changes what is enlarged bicubically, though there is nothing to smooth: it is another cubic curve.
#
# An antialiasing filter widens when an image is made smaller, so one would expect the flag to do nothing when it is made larger, and for
# bilinear that is so. Bicubic uses Keys' curve with a = -0.75 without the flag and with a = -0.5 with it, as Pillow does
# (and borders are treated otherwise). The page on interpolate promises Pillow's numbers for downsampling and names no coefficient. So a grid
# of positions enlarged for larger images, or a coarse map enlarged over a photo, is another one in a library that sets the flag everywhere;
# beside an edge it overshoots by 11 % or by 7 %.
#
# Seen with torch 2.13.0, 2.14.1 and 2.15.0, pillow 13.0.0, noise of 14 x 14 to 16 x 16: on average 0.05 of its standard deviation apart, bilinear 0.
# Exits with 0 while that is so, with 1 when it has changed.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 pillow==13.0.0
"$folder/venv/bin/python" -W ignore - << 'PROGRAM'
import sys

import numpy as np
import PIL
import torch
from PIL import Image
from torch.nn.functional import interpolate


def enlarged(image, size, mode, antialias):
    return interpolate(image, (size, size), mode=mode, antialias=antialias)


def by_pillow(image, size):
    return torch.from_numpy(np.array(Image.fromarray(image[0, 0].numpy()).resize((size, size), Image.Resampling.BICUBIC)))


def keys(distance, a):
    """Keys' cubic convolution kernel."""
    d = np.abs(distance)
    near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def by_definition(row, size, a):
    """A row enlarged with half-pixel centres; right away from its borders, which nothing here treats."""
    at = (np.arange(size) + 0.5) * len(row) / size - 0.5
    return keys(at[:, None] - np.arange(len(row)), a) @ row


torch.manual_seed(0)
noise, far = torch.rand(1, 1, 14, 14), []
print("torch", torch.__version__, "pillow", PIL.__version__, "numpy", np.__version__)
for mode in ("bilinear", "bicubic"):
    for size in (16, 224):
        apart = (enlarged(noise, size, mode, True) - enlarged(noise, size, mode, False)).abs()
        far += [(apart.mean() / noise.std()).item()]
        print(f"14 x 14 to {size} x {size}, {mode}: with and without antialias apart by {far[-1]:.3f} standard deviations, at most {apart.max():.3f}")
pillow = [(enlarged(noise, 224, "bicubic", antialias)[0, 0] - by_pillow(noise, 224)).abs().max().item() for antialias in (True, False)]
print(f"apart from Pillow at most: with antialias {pillow[0]:.1e}, without {pillow[1]:.1e}")

edge = torch.zeros(1, 1, 14, 14)
edge[..., 7:] = 1
inner, close = slice(48, 176), {}
for antialias in (False, True):
    row = enlarged(edge, 224, "bicubic", antialias)[0, 0, 112].numpy()
    close[antialias] = [a for a in (-0.75, -0.5) if np.allclose(row[inner], by_definition(edge[0, 0, 7].numpy(), 224, a)[inner], atol=1e-5)]
    print(f"an edge from 0 to 1, antialias {antialias}: up to {row.max():.3f}; Keys' curve with a = {close[antialias]}")
same = all(one < 1e-6 for one in far[:2]) and all(one > 0.02 for one in far[2:])
sys.exit(not (same and pillow[0] < 1e-5 < pillow[1] and close == {False: [-0.75], True: [-0.5]}))
PROGRAM
