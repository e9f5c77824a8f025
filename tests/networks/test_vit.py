"""Vision transformers against a slow one by the formulas and against timm's where it is installed; the map of the class token."""

import math

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.zoo.published import random_state, vit_shapes
from xaicl_lib import InputError, Pair, PairModel, explain
from xaicl_lib.networks.vit import ClassToken, ClassTokenMap, PatchMap, official_names

C, DEPTH, HEADS, PATCH, GRID = 24, 3, 4, 8, 4
SHAPE = (C, DEPTH, HEADS, PATCH, GRID)


def official_state(seed: int = 0) -> dict[str, Tensor]:
    shapes = vit_shapes(C, DEPTH, GRID, PATCH)
    return random_state({n: torch.empty(s, device="meta") for n, s in shapes.items()}, seed, torch.float64)


def layer_norm(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * w[name + ".weight"] + w[name + ".bias"]


def slow_vit(w: dict[str, Tensor], image: Tensor) -> Tensor:
    """All tokens after the last norm, of one image, head by head and patch by patch."""
    cells = [image[:, i : i + PATCH, j : j + PATCH].flatten() for i in range(0, 32, PATCH) for j in range(0, 32, PATCH)]
    patches = torch.stack(cells) @ w["patch_embed.proj.weight"].flatten(1).T + w["patch_embed.proj.bias"]
    x = torch.cat([w["cls_token"][0], patches]) + w["pos_embed"][0]
    d = C // HEADS
    for k in range(DEPTH):
        p = f"blocks.{k}."
        qkv = layer_norm(x, w, p + "norm1") @ w[p + "attn.qkv.weight"].T + w[p + "attn.qkv.bias"]
        heads = []
        for h in range(HEADS):
            q, key, v = (qkv[:, part * C + h * d : part * C + (h + 1) * d] for part in range(3))
            heads.append((q @ key.T / math.sqrt(d)).softmax(-1) @ v)
        x = x + torch.cat(heads, 1) @ w[p + "attn.proj.weight"].T + w[p + "attn.proj.bias"]
        hidden = layer_norm(x, w, p + "norm2") @ w[p + "mlp.fc1.weight"].T + w[p + "mlp.fc1.bias"]
        hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
        x = x + hidden @ w[p + "mlp.fc2.weight"].T + w[p + "mlp.fc2.bias"]
    return layer_norm(x, w, "norm")


def loaded(parts: nn.ModuleDict, state: dict[str, Tensor], ends: bool) -> nn.ModuleDict:
    names = official_names(DEPTH, ends)

    def theirs(ours: str) -> str:
        begin = max((n for n in names if ours.startswith(n)), key=len)
        return names[begin] + ours[len(begin) :]

    given = {ours: state[theirs(ours)] for ours in parts.state_dict()}
    assert {theirs(ours) for ours in given} == set(state)
    parts.double().load_state_dict(given)
    return parts.eval()


def class_token_parts(seed: int = 0) -> nn.ModuleDict:
    head = nn.Sequential()
    head.add_module("token", ClassToken(C))
    return loaded(nn.ModuleDict({"features": ClassTokenMap(*SHAPE), "head": head}), official_state(seed), ends=True)


def test_class_token_equals_the_slow_one() -> None:
    parts, x = class_token_parts(), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    got = parts["head"](parts["features"](x))
    assert_close(got, torch.stack([slow_vit(official_state(), image)[0] for image in x]))


def test_patch_map_equals_the_slow_one_with_cells_in_their_places() -> None:
    parts = loaded(nn.ModuleDict({"features": PatchMap(*SHAPE)}), official_state(), ends=False)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    got = parts["features"](x)
    want = torch.stack([slow_vit(official_state(), image)[1:] for image in x])
    assert got.shape == (2, C, 4, 4)
    for i in range(4):
        for j in range(4):
            assert_close(got[:, :, i, j], want[:, 4 * i + j])


def test_cells_hold_what_their_patch_gives() -> None:
    """With values of zero in the last attention but for one patch, all cells but that one hold the same."""
    parts, x = class_token_parts(), torch.randn(1, 3, 32, 32, dtype=torch.float64)
    attn = parts["features"].attn
    with torch.no_grad():
        normed = parts["features"].norm1(parts["features"].tokens(x))
        shares = attn.shares(normed)
        assert_close(shares.sum(1) + attn.proj.bias, attn(normed)[:, 0])
        f = parts["features"](x)[0].flatten(1).T
        assert_close(f - f.mean(0), shares[0, 1:] - shares[0, 1:].mean(0))
        attn.qkv.weight[2 * C :], attn.qkv.bias[2 * C :] = 0, 0
        flat = parts["features"](x)
        assert_close(flat, flat[:, :, :1, :1].expand_as(flat))


@pytest.mark.parametrize("size", [(48, 48), (32, 64)])
def test_other_sizes_have_positions_between_the_stored_ones(size) -> None:
    parts = class_token_parts()
    f = parts["features"](torch.randn(1, 3, *size, dtype=torch.float64))
    assert f.shape[2:] == (size[0] // PATCH, size[1] // PATCH)
    tokens = parts["features"].tokens
    i, j = f.shape[2:]
    got = tokens._positions(i, j)[0, 1:].T.view(C, i, j)
    want = nn.functional.interpolate(official_state()["pos_embed"][:, 1:].mT.reshape(1, C, GRID, GRID), (i, j), mode="bicubic")[0]
    assert_close(got, want)
    assert_close(tokens._positions(GRID, GRID), official_state()["pos_embed"], rtol=0, atol=0)


def model() -> PairModel:
    a, b = class_token_parts(), class_token_parts(1)
    return PairModel(a["features"], a["head"], features_b=b["features"], head_b=b["head"], size=32)


def test_cam_is_constant_but_for_what_patches_give() -> None:
    """The head pools the cells, so the gradient is the same in all of them, as in a convolutional network with a pooled head."""
    m, g = model(), torch.Generator().manual_seed(0)
    pair = Pair(*(torch.rand(1, 3, 32, 32, generator=g, dtype=torch.float64) for _ in range(2)))
    f = m.features_a(m.normalize(pair.a)).requires_grad_()
    z_b = m.embed_b(m.normalize(pair.b))
    gradient = torch.autograd.grad(torch.cosine_similarity(m.head_a(f), z_b).sum(), f)[0]
    assert_close(gradient, gradient[:, :, :1, :1].expand_as(gradient))
    assert_close(explain(m, pair, "grad_cam").a, (f * gradient.relu()).sum(1).detach())


def test_guided_is_refused_without_relu() -> None:
    m = model()
    pair = Pair(*(torch.rand(1, 3, 32, 32, dtype=torch.float64) for _ in range(2)))
    for method in ("input_x_gradient", "smooth_grad", "averaged_transforms"):
        with pytest.raises(InputError, match="expected a network with ReLUs for guided backpropagation"):
            explain(m, pair, method, guided=True)


def test_equals_timms() -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.models.VisionTransformer(img_size=32, patch_size=PATCH, embed_dim=C, depth=DEPTH, num_heads=HEADS, num_classes=0)
    state = official_state()
    theirs.double().eval().load_state_dict(state)
    parts, x = class_token_parts(), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    assert_close(parts["head"](parts["features"](x)), theirs(x))
