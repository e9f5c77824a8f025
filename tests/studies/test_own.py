"""Wrapped networks are compared with themselves, and what does not fit is said."""

import pandas as pd
import pytest
import torch

from tests.conftest import STATS, assert_close, random_pair, small_features, small_head
from xaicl_lib import InputError, PairModel, explain
from xaicl_lib.studies import own


def test_a_wrapped_network_is_compared_with_itself_and_its_map_with_its_score() -> None:
    features, pair = small_features().eval(), random_pair(1)
    network = torch.nn.Sequential(features, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    model = PairModel(features, size=24, **STATS)
    told = own.agreement(model, network, pair)["found"].tolist()
    score = explain(model, pair, "deep_similarity").score.item()
    assert told[0] == "none" or float(told[0]) < 1e-9
    assert told[1:3] == [f"{score:.3f}"] * 2
    assert abs(float(told[3])) < 1e-9, "mean-pooled without a head: the cells add up to the score"
    other = own.agreement(model, lambda x: 1.5 * network(x), pair)["found"].tolist()
    assert float(other[0]) == pytest.approx(1 / 3, abs=0.04), "the model is another network than this one"
    headed = PairModel(small_features(), small_head(), size=24, **STATS)
    said = own.agreement(headed, lambda x: headed.embed_a(x), pair, "integrated_jacobians")["found"]
    made = explain(headed, pair, "integrated_jacobians")
    assert float(said.iloc[3]) == pytest.approx(made.residual.item(), abs=1e-3)


def test_every_mistake_is_told_in_a_line() -> None:
    said = own.mistakes(32)["what is said"]
    wants = {
        "no output chosen": "give PairModel output=, which is a function or one of: 'map'",
        "a layer that is bypassed": "expected a layer that all data passes through, got 'second'",
        "no such layer": "got 'layer4'; at the top there are: first, second",
        "other channels": "expected images (n, 5, h, w) for 'custom', got (1, 3, 32, 32)",
        "a size that is not square": "square images",
        "no gradient": "there do without: grad_cam",
        "a batch norm over the batch": "warning: 'custom': an image's embedding depends on the images beside it",
    }
    assert list(said.index) == list(wants)
    for what, text in wants.items():
        assert text in said[what], what
        assert "\n" not in said[what]


def test_families_in_a_few_rows() -> None:
    rows = [("x A", "m", "yes"), ("x A", "n", "yes"), ("x B", "m", "yes"), ("x B", "n", "no"), ("y C", "m", "yes"), ("y C", "n", "yes")]
    got = own.families(pd.DataFrame(rows, columns=["family", "method", "answer"]))
    assert got.loc["x"].tolist() == [2, 1, "n 1 of 2"]
    assert got.loc["y"].tolist() == [1, 2, "none"]


def test_a_random_model_of_the_hub(monkeypatch) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed (extra: hf)")
    before = torch.get_rng_state()
    model, again = own.random_dinov2(), own.random_dinov2()
    assert torch.equal(before, torch.get_rng_state())
    x = torch.rand(1, 3, 56, 56)
    assert_close(model.embed_a(x), again.embed_a(x))
    assert (model.size, model.interpolation) == (56, "bicubic")
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(InputError, match=r"pip install 'xaicl_lib\[hf\]'"):
        own.random_dinov2()
