#!/usr/bin/env bash
# timm and transformers: the positions of DINOv2 for an image of another size are not the same numbers, so neither are its embeddings.
#
# Both interpolate the published 37 x 37 positions bicubically to the grid of the image. timm does it with antialiasing for every model.
# transformers does so in Dinov2WithRegistersModel and not in Dinov2Model. So for DINOv2 without registers at 224 pixels the
# two libraries add different positions to the same patches; with registers they agree. Nothing in the
# configuration says which way a checkpoint was meant.
#
# Seen with timm 1.0.31, transformers 5.24.0, torch 2.14.1 and 2.15.0, on random positions (bicubic from 19 x 19), 37 x 37 to 16 x 16: on average 0.38
# of their standard deviation apart without registers, 0 with.
# Exits with 0 while that is so, with 1 when it has changed.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 timm==1.0.31 transformers==5.24.0
"$folder/venv/bin/python" -W ignore - << 'PROGRAM'
import sys

import timm
import torch
import transformers
from timm.layers import resample_abs_pos_embed
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 518, "patch_size": 14}
torch.manual_seed(0)
coarse = torch.randn(1, 8, 19, 19)
table = torch.nn.functional.interpolate(coarse, (37, 37), mode="bicubic").flatten(2).mT  # (1, 1369, 8)
table = torch.cat([torch.zeros(1, 1, 8), table], 1)
theirs = resample_abs_pos_embed(table, (16, 16), num_prefix_tokens=1)[:, 1:]


def apart(model):
    model.embeddings.position_embeddings.data.copy_(table)
    made = model.embeddings.interpolate_pos_encoding(torch.zeros(1, 257, 8), 224, 224)[:, -256:]
    return ((made - theirs).abs().mean() / theirs.std()).item()


print("timm", timm.__version__, "transformers", transformers.__version__, "torch", torch.__version__)
plain = apart(Dinov2Model(Dinov2Config(**SMALL)))
registers = apart(Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**SMALL)))
print(f"positions of timm and transformers apart: {plain:.3g} without registers, {registers:.3g} with")
sys.exit(not (plain > 0.02 and registers < 1e-4))
PROGRAM
