#!/usr/bin/env bash
# timm and transformers: the embedding of DINOv3 is another one in either library, and that of DINOv2 is not.
#
# timm.create_model(name, num_classes=0)(x) takes the class token for DINOv2, with and without registers, and the mean of the patch tokens
# for DINOv3 (global_pool="avg"). transformers' pooler_output is the class token for all of them. So a search index that was moved from
# DINOv2 to DINOv3 by changing the name in timm has changed what is embedded as well, and the two libraries' vectors of one checkpoint do
# not compare. Nothing warns; both have the same length.
#
# Seen with timm 1.0.31, transformers 5.24.0, torch 2.14.1 and 2.15.0: pools token, token, avg; transformers' pooler_output is the class token thrice.
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
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel, DINOv3ViTConfig, DINOv3ViTModel

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 224, "patch_size": 14}
NAMES = ("vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3")
THEIRS = (
    Dinov2Model(Dinov2Config(**SMALL)),
    Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**SMALL)),
    DINOv3ViTModel(DINOv3ViTConfig(**{**SMALL, "patch_size": 16}, intermediate_size=64, num_register_tokens=4)),
)
x = torch.rand(1, 3, 224, 224)
seen = []
print("timm", timm.__version__, "transformers", transformers.__version__, "torch", torch.__version__)
with torch.no_grad():
    for name, model in zip(NAMES, THEIRS, strict=True):
        net = timm.create_model(name, img_size=224, embed_dim=32, depth=2, num_heads=2, num_classes=0).eval()
        tokens, z = net.forward_features(x), net(x)
        token = torch.allclose(z, tokens[:, 0], atol=1e-5)
        mean = torch.allclose(z, net.fc_norm(tokens[:, net.num_prefix_tokens :].mean(1)), atol=1e-5)
        out = model.eval()(pixel_values=x)
        seen.append((net.global_pool, token, mean, torch.allclose(out.pooler_output, out.last_hidden_state[:, 0], atol=1e-5)))
        print(f"{name}: timm's embedding is the class token {token}, the mean of patches {mean}; transformers' the class token {seen[-1][3]}")
sys.exit(seen != [("token", True, False, True)] * 2 + [("avg", False, True, True)])
PROGRAM
