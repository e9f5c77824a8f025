#!/usr/bin/env bash
# torchmetrics: a retrieval by cosines has too good a mean average precision, as relevant items below zero are left out; one by distances has 0.
#
# A ranking is one of numbers, whatever they are, so one would expect that cosines, which may be negative, or negated distances can be handed in,
# and that adding a constant to all of them changes nothing. In RetrievalMAP, RetrievalMRR, RetrievalPrecision and RetrievalRecall a relevant
# item whose number is zero or less is made irrelevant before the ranking. MAP then does not miss it: the pairs that an encoder gets most wrong
# leave the average, so that the score rises the more of them there are. A search by negated distances finds nothing at all. Hit rate,
# R-precision, nDCG and AUROC of the same numbers are as they should be: precision at 1 is 0 where the hit rate at 1 is 1. Nothing warns. It came
# with a patch release (1.7.3 is right, 1.7.4 is not), as pull request 3104 of Lightning-AI/torchmetrics asks, which has probabilities in mind.
# (The pages of the four ask for "a float tensor" and name no range.)
#
# Seen with torchmetrics 1.9.0, torch 2.14.1, scikit-learn 1.9.1, 50 queries among 200 embeddings of ten kinds: MAP by cosines 0.83, by the same
# plus one 0.58, by scikit-learn 0.58 for both; by negated distances MAP, MRR, precision at 1 and recall at 20 are 0, the hit rate at 1 is 1.
# Exits with 0 while that is so, with 1 when it has changed.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6 torchmetrics==1.9.0 scikit-learn==1.9.1
"$folder/venv/bin/python" -W ignore - << 'PROGRAM'
import importlib.metadata
import sys

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torchmetrics.retrieval import RetrievalHitRate, RetrievalMAP, RetrievalMRR, RetrievalNormalizedDCG, RetrievalPrecision, RetrievalRecall

SCORES = {
    "MAP": RetrievalMAP(),
    "MRR": RetrievalMRR(),
    "precision at 1": RetrievalPrecision(top_k=1),
    "recall at 20": RetrievalRecall(top_k=20),
    "hit rate at 1": RetrievalHitRate(top_k=1),
    "nDCG": RetrievalNormalizedDCG(),
}


def scored(numbers):
    which = torch.arange(len(numbers))[:, None].expand_as(numbers)
    return {name: score(numbers, relevant, indexes=which).item() for name, score in SCORES.items()}


def slowly(numbers):
    """Mean average precision and precision at 1 by scikit-learn and by the first of a sorted list."""
    pairs = list(zip(relevant.numpy(), numbers.numpy()))
    return float(np.mean([average_precision_score(truth, row) for truth, row in pairs])), float(np.mean([truth[row.argmax()] for truth, row in pairs]))


torch.manual_seed(0)
kinds = torch.randn(10, 2, 32)  # ten kinds of pictures, each with two looks, so that some of a kind are unlike each other
label, look = torch.arange(250) % 10, torch.randint(2, (250,))
embedded = torch.nn.functional.normalize(kinds[label, look] + 0.7 * torch.randn(250, 32), dim=1)
relevant = label[:50, None] == label[None, 50:]
cosines = embedded[:50] @ embedded[50:].T
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("torchmetrics", "torch", "scikit-learn")))
print(f"pairs of a kind whose cosine is below zero: {(cosines[relevant] < 0).float().mean():.0%}")

found, right = {}, {}
for name, numbers in {"cosines": cosines, "cosines + 1": cosines + 1, "negated distances": -torch.cdist(embedded[:50], embedded[50:])}.items():
    found[name], right[name] = scored(numbers), slowly(numbers)
    print(f"{name}: {', '.join(f'{key} {value:.2f}' for key, value in found[name].items())}; slowly MAP {right[name][0]:.2f}, at 1 {right[name][1]:.2f}")

plain, raised, far = found.values()
truth, first = right["cosines"]
flattered = abs(raised["MAP"] - truth) < 1e-3 and plain["MAP"] > truth + 0.1
nothing = all(far[name] == 0 for name in ("MAP", "MRR", "precision at 1", "recall at 20")) and far["hit rate at 1"] == first > 0.9
sys.exit(not (flattered and nothing and abs(far["nDCG"] - raised["nDCG"]) < 1e-3))
PROGRAM
