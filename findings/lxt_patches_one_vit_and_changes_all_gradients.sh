#!/usr/bin/env bash
# LXT: after monkey_patch(vision_transformer) every network of the process that has a LayerNorm or a GELU has other gradients, for good.
#
# LXT computes relevance as a gradient and is given a module to patch; its README says that the model's class is changed. One would expect other
# models to be as they were. What is changed for torchvision's ViT is reached through that module but is torch's own: nn.LayerNorm, nn.GELU
# and nn.MultiheadAttention, so also in networks made before, of any library. Their outputs stay the same to the last digits, so nothing that
# compares outputs notices; saliency, Grad-CAM or integrated gradients drawn afterwards, for comparison say, are relevance in part, and what
# is trained afterwards does not follow the slope of its loss. No call undoes it, and LayerNorm's own forward is not kept. A LayerNorm over
# several axes changes its outputs as well, as the new one averages over the last axis only. The maps for language models name torch's Dropout,
# too, which then is off while other networks train. (The quickstart says of Dropout that it is off, of none that this holds for other models;
# verbose=True prints the classes' names.)
#
# Seen with lxt 2.1, torch 2.14.1, torchvision 0.29.1, transformers 4.57.6 (lxt 2.1 does not import with 5.24): gradients of the cosine of two
# pictures, change relative to their length: Swin-T of torchvision 0.26, CLIP's tower of transformers 0.12, cosines apart by 1e-7; a LayerNorm's
# gradient is off the measured slope by 0.45 of it, by 2e-10 before; one over three axes has outputs off by up to 1.4.
# Exits with 0 while that is so, with 1 when it has changed.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 transformers==4.57.6 zennit==0.5.1
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps lxt==2.1
"$folder/venv/bin/python" -W ignore - << 'PROGRAM'
import importlib.metadata
import sys

import torch
from lxt.efficient import monkey_patch
from torch import nn
from torchvision.models import swin_t, vision_transformer
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection


def explained(embed):
    """The cosine of two pictures and its gradient."""
    pair = pictures.clone().requires_grad_()
    one, other = embed(pair)
    score = torch.cosine_similarity(one, other, dim=0)
    (grad,) = torch.autograd.grad(score, pair)
    return score.item(), grad


def off_the_slope():
    """How far a LayerNorm's gradient is from what small steps measure, relative to that."""
    x = torch.tensor([0.3, -1.2, 2.0, 0.5, -0.4, 1.1], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, 0.0, -2.0, 3.0, 1.0, 0.0], dtype=torch.float64)
    layer = nn.LayerNorm(6).double()
    (grad,) = torch.autograd.grad((layer(x) * weights).sum(), x)
    steps = 1e-6 * torch.eye(6, dtype=torch.float64)
    with torch.no_grad():
        measured = torch.stack([((layer(x + step) - layer(x - step)) * weights).sum() / 2e-6 for step in steps])
    return ((grad - measured).norm() / measured.norm()).item()


torch.manual_seed(0)
small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": 64, "patch_size": 16}
clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**small, projection_dim=32)).eval()
networks = {"Swin-T": swin_t().eval(), "CLIP": lambda x: clip(pixel_values=x).image_embeds}
pictures, block, wide = torch.rand(2, 3, 64, 64), torch.randn(2, 3, 8, 8), nn.LayerNorm([3, 8, 8])
before, slope, output = {name: explained(embed) for name, embed in networks.items()}, off_the_slope(), wide(block)

monkey_patch(vision_transformer)

after, slope_after, output_after = {name: explained(embed) for name, embed in networks.items()}, off_the_slope(), wide(block)
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("lxt", "torch", "torchvision", "transformers")))
changes = {}
for name, (score, grad) in before.items():
    apart = abs(score - after[name][0])
    changes[name] = ((after[name][1] - grad).norm() / grad.norm()).item()
    print(f"{name}: cosine {score:.4f}, apart by {apart:.0e}; its gradient has changed by {changes[name]:.2f} of its length")
    changes[name + " score"] = apart < 1e-5
print(f"LayerNorm: gradient off the measured slope by {slope:.0e} before, {slope_after:.2f} after")
print(f"LayerNorm over three axes: output changed by up to {(output_after - output).abs().max():.1f}")
moved = min(changes["Swin-T"], changes["CLIP"]) > 0.05 and changes["Swin-T score"] and changes["CLIP score"]
sys.exit(not (moved and slope < 1e-6 and slope_after > 0.1 and (output_after - output).abs().max() > 0.5))
PROGRAM
