#!/usr/bin/env bash
# torch.func.vjp: under make_fx with symbolic shapes the gradient of a linear layer with bias, on tokens, fixes the batch to the example's.
#
# F.linear on (n, tokens, features) with a bias multiplies n * tokens rows at once. Traced forward alone, n stays a symbol. Traced through vjp
# the same layer reshapes to the number that the example had, and the graph, made with two images, refuses three. Nothing warns while it is
# traced. Without the bias, or with the bias added by hand, forward and gradient hold for any batch: transformers are made of such layers, so
# a graph of a transformer's gradients works for the batch it was traced with and no other.
#
# Seen with torch 2.14.1 and 2.15.0, Python 3.11: forward alone (3, 5, 4); vjp with bias "shape '[10, 8]' is invalid for input of size 120";
# without bias, or with the bias added by hand, (3, 5, 4) and (3, 5, 8).
# Exits with 0 while that is so, with 1 when it has changed.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" - << 'PROGRAM'
import sys

import torch
import torch.nn.functional as F
from torch.func import vjp
from torch.fx.experimental.proxy_tensor import make_fx


def gradient(layer):
    def run(x, w, b):
        z, pull = vjp(lambda tokens: layer(tokens, w, b), x)
        return z, pull(torch.ones_like(z))[0]

    return run


def shapes(run):
    """Of what a graph traced with two images gives for three, or its error."""
    w, b = torch.randn(4, 8), torch.randn(4)
    graph = make_fx(run, tracing_mode="symbolic")(torch.randn(2, 5, 8), w, b)
    try:
        return [tuple(t.shape) for t in graph(torch.randn(3, 5, 8), w, b)]
    except RuntimeError as error:
        return str(error)


both = [(3, 5, 4), (3, 5, 8)]
seen = {
    "forward alone": shapes(lambda x, w, b: [F.linear(x, w, b)]),
    "vjp, with bias": shapes(gradient(F.linear)),
    "vjp, without bias": shapes(gradient(lambda x, w, b: F.linear(x, w))),
    "vjp, bias added by hand": shapes(gradient(lambda x, w, b: F.linear(x, w) + b)),
}
print("torch", torch.__version__)
for name, said in seen.items():
    print(f"{name}: {said}")
fixed = isinstance(seen["vjp, with bias"], str) and "invalid for input of size" in seen["vjp, with bias"]
sys.exit(not (fixed and seen["forward alone"] == both[:1] and seen["vjp, without bias"] == seen["vjp, bias added by hand"] == both))
PROGRAM
