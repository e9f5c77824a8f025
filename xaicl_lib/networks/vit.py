"""Vision transformers (:cite:t:`dosovitskiy2021image`) as published checkpoints have them, opened where explanations need a map.

Layers are named as in timm and DINO. The position of each token is a learned or fixed vector stored with the weights; for images of another
size than the stored ones they are interpolated bicubically.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

EPSILON = 1e-6  # of every norm


class _Attention(nn.Module):
    """Self-attention of :cite:t:`vaswani2017attention`, for all tokens, or the share of each token in what the first takes."""

    def __init__(self, c: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(c, 3 * c), nn.Linear(c, c)

    def _split(self, x: Tensor) -> Tensor:
        return self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (3, n, heads, t, d)

    def forward(self, x: Float[Tensor, "n t c"]) -> Float[Tensor, "n t c"]:
        q, k, v = self._split(x)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def shares(self, x: Float[Tensor, "n t c"]) -> Float[Tensor, "n t c"]:
        """For each token what it adds to the first one; their sum and the bias of `proj` are the first token's attention."""
        q, k, v = self._split(x)
        weights = (q[:, :, :1] @ k.mT * q.shape[-1] ** -0.5).softmax(-1)  # (n, heads, 1, t)
        values = (weights.mT * v).transpose(1, 2).flatten(2)  # (n, t, c)
        return F.linear(values, self.proj.weight)


class _Perceptron(nn.Module):
    """Two layers with an exact GELU between them."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(c, 4 * c), nn.Linear(4 * c, c)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class TransformerBlock(nn.Module):
    """Attention and a perceptron, each on normalised tokens and added to them."""

    def __init__(self, c: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(c, EPSILON), _Attention(c, heads)
        self.norm2, self.mlp = nn.LayerNorm(c, EPSILON), _Perceptron(c)

    def forward(self, x: Float[Tensor, "n t c"]) -> Float[Tensor, "n t c"]:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class _Tokens(nn.Module):
    """Images to tokens, a class token first, through `depth` blocks: (n, 3, h, w) to (n, 1 + i * j, c).

    Args:
        c: width of a token.
        depth: blocks to run.
        heads: of each block's attention.
        patch: side in pixels of a token's patch.
        grid: side in tokens of the images that the stored positions are for.
    """

    def __init__(self, c: int, depth: int, heads: int, patch: int = 16, grid: int = 14) -> None:
        super().__init__()
        self.grid = grid
        self.cls_token, self.pos_embed = nn.Parameter(torch.empty(1, 1, c)), nn.Parameter(torch.empty(1, 1 + grid * grid, c))
        self.patch_embed = nn.Sequential(OrderedDict(proj=nn.Conv2d(3, c, patch, patch)))
        self.blocks = nn.Sequential(*(TransformerBlock(c, heads) for _ in range(depth)))

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n t c"]:
        patches = self.patch_embed(x)  # (n, c, i, j)
        tokens = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), patches.flatten(2).mT], 1)
        return self.blocks(tokens + self._positions(*patches.shape[2:]))

    def _positions(self, i: int, j: int) -> Float[Tensor, "1 t c"]:
        if (i, j) == (self.grid, self.grid):
            return self.pos_embed
        own, rest = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        stored = rest.mT.unflatten(2, (self.grid, self.grid))  # (1, c, grid, grid)
        return torch.cat([own, F.interpolate(stored, (i, j), mode="bicubic").flatten(2).mT], 1)


class PatchMap(nn.Module):
    """The patch tokens after the last block and norm as a map, the class token left out: (n, 3, h, w) to (n, c, h / patch, w / patch)."""

    def __init__(self, c: int, depth: int, heads: int, patch: int = 16, grid: int = 14) -> None:
        super().__init__()
        self.tokens, self.norm, self.patch = _Tokens(c, depth, heads, patch, grid), nn.LayerNorm(c, EPSILON), patch

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c i j"]:
        patches = self.norm(self.tokens(x)[:, 1:])
        return _map(patches, x, self.patch)


class ClassTokenMap(nn.Module):
    r"""What each patch token gives the class token in the attention of the last block: (n, 3, h, w) to (n, c, h / patch, w / patch).

    A network whose head reads the class token alone has no gradient at the patch tokens behind the last attention, and a map of
    the tokens before it would not do for the head, which needs the class token, too. The attention is a sum over tokens, so the
    network is cut there: with attention weights :math:`a_p`, values :math:`v_p` and the output projection W, cell p holds
    :math:`W a_p v_p`, and what is left, the class token before the block and its own share, is spread evenly over the cells. The
    cells sum to the class token exactly, and `ClassToken` goes on from there. So the class token is no cell, and a transformer is
    to every method what a convolutional network is: a map that is pooled, then a head.

    Differs: from maps of the tokens themselves; :cite:t:`sammani2023visualizing` (Sec. V-A: MoCo v3, ViT-B) does not say which
    layer its maps are of, nor how the head is reached from them.
    """

    def __init__(self, c: int, depth: int, heads: int, patch: int = 16, grid: int = 14) -> None:
        super().__init__()
        self.tokens = _Tokens(c, depth - 1, heads, patch, grid)
        self.norm1, self.attn, self.patch = nn.LayerNorm(c, EPSILON), _Attention(c, heads), patch

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c i j"]:
        tokens = self.tokens(x)  # (n, 1 + i * j, c)
        shares = self.attn.shares(self.norm1(tokens))
        rest = tokens[:, :1] + shares[:, :1] + self.attn.proj.bias  # (n, 1, c)
        return _map(shares[:, 1:] + rest / (tokens.shape[1] - 1), x, self.patch)


class ClassToken(nn.Module):
    """The class token from the shares that `ClassTokenMap` returns, through the rest of the last block: (n, c, i, j) to (n, c)."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.norm2, self.mlp, self.norm = nn.LayerNorm(c, EPSILON), _Perceptron(c), nn.LayerNorm(c, EPSILON)

    def forward(self, features: Float[Tensor, "n c i j"]) -> Float[Tensor, "n c"]:
        token = features.sum((2, 3))
        return self.norm(token + self.mlp(self.norm2(token)))


def _map(patches: Float[Tensor, "n t c"], x: Tensor, patch: int) -> Float[Tensor, "n c i j"]:
    return patches.mT.unflatten(2, (x.shape[2] // patch, x.shape[3] // patch))


def official_names(depth: int, ends: bool) -> dict[str, str]:
    """Beginnings of the names in a checkpoint, by those in a map (and in its `ClassToken`) of this module.

    Args:
        depth: blocks of the network.
        ends: whether the last block is the one that `ClassTokenMap` and `ClassToken` share.
    """
    last = f"blocks.{depth - 1}."
    names = {"features.tokens.": ""}
    if not ends:
        return names | {"features.norm.": "norm."}
    opened = {"features.norm1.": "norm1.", "features.attn.": "attn.", "head.token.norm2.": "norm2.", "head.token.mlp.": "mlp."}
    return names | {ours: last + theirs for ours, theirs in opened.items()} | {"head.token.norm.": "norm."}
