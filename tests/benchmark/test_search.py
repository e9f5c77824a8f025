"""The control of the larger run of the page of retrieval."""

import torch

from benchmarks.search import _shuffled
from xaicl_lib import load_model
from xaicl_lib.methods.words import explain_words


def test_random_links_are_the_same_values_elsewhere() -> None:
    (one,) = explain_words(load_model("scenes_clip", "cpu"), torch.rand(1, 3, 64, 64), ["a red disc"])
    other = _shuffled(one, torch.Generator().manual_seed(0))
    assert torch.equal(other.joint.flatten().sort().values, one.joint.flatten().sort().values)
    assert not torch.equal(other.joint, one.joint)
