"""Rollout and LeGrad against slow ones straight from their formulas, on a transformer whose attention is written out."""

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close, build, random_pair, small_head
from tests.zoo.families import TRANSFORMERS, images, made
from xaicl_lib import InputError, Pair, PairModel, explain
from xaicl_lib.methods import methods
from xaicl_lib.scores import cosine

C, HEADS, PATCH = 8, 2, 4


class Written(nn.Module):
    """Two blocks of attention alone, one written as products and one by PyTorch's function; a register comes first."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.register = nn.Conv2d(3, C, PATCH, PATCH), nn.Parameter(torch.randn(1, 1, C))
        self.qkv = nn.ModuleList(nn.Linear(C, 3 * C) for _ in range(2))
        self.double()
        self.weights: list[Tensor] = []  # those of the slow pass

    def forward(self, x: Tensor, slow: bool = False) -> Tensor:
        f = self.patches(x)
        t = torch.cat([self.register.expand(len(x), -1, -1), f.flatten(2).mT], 1)
        self.weights = []
        for k, qkv in enumerate(self.qkv):
            q, key, v = qkv(t).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
            if slow:
                w = torch.exp(q @ key.mT / 2)
                w = w / w.sum(-1, keepdim=True)
                self.weights.append(w if w.requires_grad else w.detach().requires_grad_())
                out = self.weights[-1] @ v
            elif k:
                out = nn.functional.scaled_dot_product_attention(q, key, v)
            else:
                out = (q @ key.mT * 0.5).softmax(dim=-1) @ v
            t = t + out.transpose(1, 2).flatten(2)
        return t[:, 1:].mT.unflatten(2, f.shape[2:])


@pytest.fixture
def written() -> PairModel:
    return PairModel(Written(), small_head(0, C), size=16)


def test_rollout_by_its_formula(written) -> None:
    pair = random_pair(2, (16, 16), (16, 24))
    made = explain(written, pair, "attention_rollout")
    for side, got in ((pair.a, made.a), (pair.b, made.b)):
        written.features_a(side, slow=True)
        for k in range(2):
            rolled = torch.eye(written.features_a.weights[0].shape[-1]).double()
            for w in written.features_a.weights:
                rolled = (w[k].detach().mean(0) / 2 + torch.eye(len(rolled)) / 2) @ rolled
            assert_close(got[k].flatten(), rolled[1:].mean(0)[1:])
            assert 0 < got[k].sum() < 1


def test_legrad_by_its_formula(written) -> None:
    pair = random_pair(2, (16, 16), (16, 24))
    got = explain(written, pair, "legrad")
    f_a = written.features_a(pair.a, slow=True)
    w_a = written.features_a.weights
    f_b = written.features_a(pair.b, slow=True)
    w_b = written.features_a.weights
    s = cosine(written.head_a(f_a), written.head_a(f_b))
    gradients = torch.autograd.grad(s.sum(), [*w_a, *w_b])
    for mine, g in ((got.a, gradients[:2]), (got.b, gradients[2:])):
        want = sum(each.clamp(min=0).mean((1, 2)) for each in g) / 2  # over heads and queries, then over blocks
        assert_close(mine.flatten(1), want[:, 1:])


def test_a_model_without_attention_is_one_line(pair) -> None:
    for name in ("attention_rollout", "legrad"):
        with pytest.raises(InputError, match=r"expected a model with attention among the cells of its map, .*, got 'projected'$"):
            explain(build("projected"), pair, name)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_every_transformer_has_both(name) -> None:
    family = made(name)
    model, pair = family.model(), Pair(images(family.size), images(family.size).flip(0))
    cells = model.features_a(model.normalize(pair.a)).shape[2:]
    for method in ("attention_rollout", "legrad"):
        explained = methods[method](model, pair)
        assert explained.a.shape[1:] == cells
        assert explained.a.std() > 0
        assert explained.a.min() >= 0
        assert_close(explained.score, cosine(family.embed(pair.a), family.embed(pair.b)), rtol=0, atol=1e-5)
    assert float(methods["attention_rollout"](model, pair).a.sum((1, 2)).max()) <= 1 + 1e-5
