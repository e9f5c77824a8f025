#!/usr/bin/env bash
# torch.fx: a traced graph that was pickled (so also one that torch.save wrote) has forgotten which module its operations belong to.
#
# After symbolic_trace every node's meta["nn_module_stack"] names the modules it was called in, which is what one needs to cut a network at
# the end of a block such as relu(x + conv(x)). copy.deepcopy keeps it. pickle does not: the graph is traced anew from its flat generated
# code, so the sum and the ReLU of a block belong to no module afterwards, and only leaf modules still name themselves. Nothing warns.
#
# Seen with torch 2.14.1 and 2.15.0, Python 3.11: owners of add and relu ['0'], ['0'] when traced and when deep-copied; [], [] after pickle.
# Exits with 0 while that is so, with 1 when it has changed.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" - << 'PROGRAM'
import copy
import pickle
import sys

import torch
from torch import fx, nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return torch.relu(x + self.conv(x))


def owners(graph):
    return [list(node.meta.get("nn_module_stack", {})) for node in graph.graph.nodes if node.op == "call_function"]


traced = fx.symbolic_trace(nn.Sequential(Block()).eval())
seen = {"traced": traced, "deep-copied": copy.deepcopy(traced), "pickled": pickle.loads(pickle.dumps(traced))}
print("torch", torch.__version__)
for how, graph in seen.items():
    print(f"{how}: {owners(graph)}")
x = torch.rand(1, 3, 8, 8)
same = torch.equal(traced(x), seen["pickled"](x))
sys.exit(not (same and owners(traced) == owners(seen["deep-copied"]) == [["0"], ["0"]] and owners(seen["pickled"]) == [[], []]))
PROGRAM
