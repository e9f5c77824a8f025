"""The small networks against formulas and torch's own parts."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.conftest import assert_close
from xaicl_lib import PairModel
from xaicl_lib.networks.small import _predictor_head, _sine_positions, _SlimViT, branches, build_network, kept
from xaicl_lib.networks.transformer import _Attention
from xaicl_lib.training.recipes import RECIPES


def test_positions_equal_their_formula() -> None:
    got = _sine_positions(3, 5, 8)
    for row in range(3):
        for column in range(5):
            y, x = (row + 0.5) * 8 / 3, (column + 0.5) * 8 / 5
            want = [f(place / 10000**power) for place in (y, x) for f in (math.sin, math.cos) for power in (0, 0.5)]
            assert_close(got[row * 5 + column], torch.tensor(want), rtol=1e-5, atol=1e-6)


def test_finer_grids_have_finer_positions() -> None:
    coarse, fine = _sine_positions(4, 4, 16).view(4, 4, 16), _sine_positions(12, 12, 16).view(12, 12, 16)
    assert_close(fine[1::3, 1::3], coarse, rtol=1e-5, atol=1e-6)  # every third one is in the middle of a coarse cell
    assert not torch.allclose(_sine_positions(4, 6, 16), _sine_positions(6, 4, 16))


def test_attention_equals_torchs() -> None:
    torch.manual_seed(0)
    ours, theirs = _Attention(12, 3).eval(), nn.MultiheadAttention(12, 3, batch_first=True).eval()
    both = {"in_proj_weight": "qkv.weight", "in_proj_bias": "qkv.bias", "out_proj.weight": "out.weight", "out_proj.bias": "out.bias"}
    ours.load_state_dict({both[name]: value for name, value in theirs.state_dict().items()})
    x = torch.randn(2, 7, 12)
    assert_close(ours(x), theirs(x, x, x, need_weights=False)[0], rtol=1e-4, atol=1e-6)
    q, k, v = ours.qkv(x).view(2, 7, 3, 3, 4).permute(2, 0, 3, 1, 4)
    assert_close(ours(x), ours.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [(64, 64), (96, 96), (48, 80)])
def test_tokens_come_back_in_their_places(size) -> None:
    torch.manual_seed(0)
    vit = _SlimViT((4, 8, 16), depth=0).eval()
    black, dotted = torch.zeros(1, 3, *size), torch.zeros(1, 3, *size)
    dotted[0, :, 20, 36] = 5  # pixel (20, 36) belongs to token (2, 4)
    change = (vit(dotted) - vit(black)).abs().sum((0, 1))
    assert change.shape == (size[0] // 8, size[1] // 8)
    assert change[2, 4] > 0
    far = torch.ones_like(change, dtype=torch.bool)
    far[1:4, 3:6] = False
    assert (change[far] == 0).all()


def test_tokens_know_where_they_are_and_see_each_other() -> None:
    torch.manual_seed(0)
    vit = _SlimViT((4, 8, 16), depth=1, heads=2).eval()
    grey = torch.full((1, 3, 64, 64), 0.3)
    out = vit(grey)[0].flatten(1).T
    assert torch.pdist(out).min() > 1e-4
    dotted = grey.clone()
    dotted[0, :, 4, 4] = 5
    assert ((vit(dotted) - vit(grey)).abs().sum((0, 1)) > 0).all()


def test_folding_leaves_the_vit_what_it_computes() -> None:
    network = build_network({**RECIPES["moco_v3"].facts(), "widths": (4, 8, 16), "depth": 2, "heads": 2, "hidden": 8, "embedding": 6})
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    model = PairModel(**branches(network), size=48)
    x = torch.rand(2, 3, 48, 56)
    assert_close(model.fast.embed_a(x), model.embed_a(x), rtol=1e-4, atol=1e-5)
    assert_close(model.fast.embed_b(x), model.embed_b(x), rtol=1e-4, atol=1e-5)
    assert not model.symmetric


def test_a_network_with_registers_is_opened_as_it_is() -> None:
    """The class token from the shares of patches equals the network's own; what registers hold is in no cell."""
    network = kept(
        build_network({**RECIPES["dino_student"].facts(), "widths": (4, 8), "depth": 2, "heads": 2, "hidden": 8, "embedding": 4})
    )
    for p in network.parameters():
        nn.init.normal_(p, float(p.ndim == 1), 0.4)
    network.eval()
    parts, x = branches(network), torch.rand(2, 3, 32, 48)
    f = parts["features"](x)
    assert_close(parts["head"](f), network["features"](x), rtol=1e-4, atol=1e-5)
    assert f.shape[2:] == (8, 12)
    nn.init.normal_(network["features"].registers, 0, 2)
    again = branches(network)["features"](x)
    assert not torch.allclose(again[:, :8], f[:, :8]), "patches see registers"


def test_the_keys_start_as_the_queries_do() -> None:
    network = RECIPES["moco_v3"].network()
    for role in ("features", "head"):
        for a, b in zip(network[role].parameters(), network[role + "_b"].parameters(), strict=True):
            assert torch.equal(a, b)
            assert a is not b


def test_older_cards_build_the_network_they_always_did() -> None:
    older = {"widths": [4, 6, 8, 8], "hidden": 8, "embedding": 4}
    assert set(build_network(older)) == {"features", "head"}


def test_predictor_is_two_layers_without_norm_at_its_end() -> None:
    torch.manual_seed(0)
    predictor = _predictor_head(6, 3).eval()
    z = torch.randn(4, 6)
    first, norm, _, last = predictor
    hidden = ((z @ first.weight.T) / (1 + norm.eps) ** 0.5).relu()
    assert_close(predictor(z), hidden @ last.weight.T + last.bias, rtol=1e-5, atol=1e-6)
