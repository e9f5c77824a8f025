#!/usr/bin/env bash
# transformers' image processors and torchvision: the middle of the same photo is cut a pixel apart, for a quarter of all widths.
#
# A processor with do_center_crop begins at int((width - crop) / 2), torchvision's CenterCrop, by which timm and open_clip prepare images,
# at int(round((width - crop) / 2)), which rounds halves to even: at 17 and at 18 for 259 to 224. So where the difference leaves 3 when
# divided by 4 all pixels are shifted by one, and for a patch model each patch sees other pixels. Nothing is resized here, so that it is
# not a matter of interpolation; both of the package's back ends do it.
#
# Seen with transformers 5.24.0, torchvision 0.29.1 and 0.29.2, pillow 13.0.0: of the widths 224 to 287 those that differ are 227, 231, 235, ..., 287.
# Exits with 0 while that is so, with 1 when it has changed.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 transformers==5.24.0 pillow==13.0.0
"$folder/venv/bin/python" -W ignore - << 'PROGRAM'
import sys

import numpy as np
import PIL
import torch
import torchvision
import transformers
from PIL import Image
from torchvision.transforms.v2 import CenterCrop
from transformers.models.bit.image_processing_bit import BitImageProcessor
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

PLAIN = {"do_resize": False, "do_rescale": False, "do_normalize": False, "do_convert_rgb": False, "crop_size": 224}


def first(made):
    return int(np.asarray(made)[0, 0])


def left(width):
    """The column at which either begins, told by pixels that hold their own number."""
    row = np.arange(width) % 256
    pixels = np.broadcast_to(row[None, :, None], (224, width, 3)).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    theirs = [first(p(**PLAIN)(image, return_tensors="pt")["pixel_values"][0][0]) for p in (BitImageProcessor, BitImageProcessorPil)]
    return theirs, first(np.asarray(CenterCrop(224)(image))[:, :, 0])


found = {width: left(width) for width in range(224, 288)}
print("transformers", transformers.__version__, "torchvision", torchvision.__version__, "pillow", PIL.__version__, "torch", torch.__version__)
for k, name in enumerate(("torchvision's", "Pillow's")):
    apart = [width for width, (theirs, ours) in found.items() if theirs[k] != ours]
    print(f"transformers with {name} back end begins elsewhere than CenterCrop at widths {apart}")
wanted = list(range(227, 288, 4))
sys.exit(any([w for w, (theirs, ours) in found.items() if theirs[k] != ours] != wanted for k in range(2)))
PROGRAM
