#!/usr/bin/env bash
# timm: its own transform shows a SigLIP tower half of a 3:2 photo; open_clip and transformers show the whole one to the same weights.
#
# open_clip and transformers squeeze a photo for SigLIP to a square, sides and all. One would expect that the transform which timm makes from a
# model's own configuration does so too. The configuration has no entry for it, so that a default for ImageNet classifiers holds: the short
# side is made 248 pixels and the middle 224 x 224 cut out, undistorted. Objects near the border are never seen, embeddings do not compare with
# those of the other two, and a map drawn over the whole photo lies elsewhere than what it explains. OpenAI's CLIP is cut like that as well,
# where the others keep all of the short side. Nor is it one way for one network: SigLIP SO400M at 384 pixels has 0.9 with its pooling head
# and 1.0 without ("gap").
#
# Seen with timm 1.0.31, open_clip 3.3.0, transformers 5.24.0, a photo of 600 x 400, SigLIP B/16: 54 % of it in timm, 100 % in the others; CLIP
# B/16: 54 % and 66 %. Of timm's 73 configurations named siglip 54 cut out 0.9 of the middle.
# Exits with 0 while that is so, with 1 when it has changed.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 pillow==13.0.0 timm==1.0.31 open_clip_torch==3.3.0 transformers==5.24.0
"$folder/venv/bin/python" -W ignore - << 'PROGRAM'
import sys

import numpy as np
import open_clip
import timm
import transformers
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from timm.data import create_transform, resolve_data_config
from transformers import CLIPImageProcessor, SiglipImageProcessor

WIDTH, HEIGHT = 600, 400
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def ramps():
    """A photo of 3 to 2 whose red tells the column and whose green the row, from 0 to 255."""
    red = np.broadcast_to(np.linspace(0, 255, WIDTH)[None], (HEIGHT, WIDTH))
    green = np.broadcast_to(np.linspace(0, 255, HEIGHT)[:, None], (HEIGHT, WIDTH))
    return Image.fromarray(np.stack([red, green, 0 * red], 2).round().astype(np.uint8))


def seen(pixels):
    """Shares of the width and of the height that are left, from the first and last pixel's colours."""
    pixels = np.asarray(pixels, dtype=float)
    across, down = (float(pixels[k].max() - pixels[k].min()) for k in (0, 1))
    return round(across, 2), round(down, 2), round(across * down, 2)


def by_timm(name):
    config = resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict()) | PLAIN
    return seen(create_transform(**config, is_training=False)(ramps()))


def by_open_clip(name, tag):
    given = open_clip.get_pretrained_cfg(name, tag)
    config = PreprocessCfg(size=224, interpolation=given["interpolation"], resize_mode=given["resize_mode"], **PLAIN)
    return seen(image_transform_v2(config, is_train=False)(ramps()))


def by_transformers(processor):
    return seen(processor(do_normalize=False)(ramps(), return_tensors="np")["pixel_values"][0])


print("timm", timm.__version__, "open_clip", open_clip.__version__, "transformers", transformers.__version__)
siglip = [by_timm("vit_base_patch16_siglip_224.webli"), by_open_clip("ViT-B-16-SigLIP", "webli"), by_transformers(SiglipImageProcessor)]
clip = [by_timm("vit_base_patch16_clip_224.openai"), by_open_clip("ViT-B-16", "openai"), by_transformers(CLIPImageProcessor)]
names = ("timm", "open_clip", "transformers")
for model, shares in (("SigLIP B/16", siglip), ("CLIP B/16", clip)):
    for name, (across, down, area) in zip(names, shares):
        print(f"{model} in {name}: {across:.0%} of the width, {down:.0%} of the height, {area:.0%} of the photo")
every = [timm.get_pretrained_cfg(name) for name in timm.list_pretrained("*siglip*")]
cut = sum((one.crop_pct, one.crop_mode) == (0.9, "center") for one in every)
print(f"timm's configurations named siglip: {len(every)}, of which {cut} cut out 0.9 of the middle")
with_head, without = (timm.get_pretrained_cfg(f"vit_so400m_patch14_siglip_{name}.webli").crop_pct for name in ("384", "gap_384"))
print(f"SO400M at 384 pixels: crop_pct {with_head} with the head, {without} without")
others = all(area > 0.99 for _, _, area in siglip[1:]) and all(0.65 < area < 0.68 for _, _, area in clip[1:])
sys.exit(not (others and siglip[0][2] < 0.56 and clip[0][2] < 0.56 and cut > len(every) / 2 and with_head != without))
PROGRAM
