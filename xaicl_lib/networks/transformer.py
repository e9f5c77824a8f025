"""The block of the small transformers, of images and of texts."""

from jaxtyping import Float
from torch import Tensor, nn


class _Attention(nn.Module):
    """Self-attention of :cite:t:`vaswani2017attention`: softmax(q k^T / sqrt(d)) v in each head, (n, t, c) to (n, t, c)."""

    def __init__(self, c: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(c, 3 * c), nn.Linear(c, c)

    def forward(self, x: Float[Tensor, "n t c"]) -> Float[Tensor, "n t c"]:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (n, heads, t, d)
        weights = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)  # (n, heads, t, t)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Attention and a two-layer perceptron, each on normalised tokens and added to them."""

    def __init__(self, c: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(c), _Attention(c, heads)
        self.norm2, self.perceptron = nn.LayerNorm(c), nn.Sequential(nn.Linear(c, 4 * c), nn.GELU(), nn.Linear(4 * c, c))

    def forward(self, x: Float[Tensor, "n t c"]) -> Float[Tensor, "n t c"]:
        x = x + self.attention(self.norm1(x))
        return x + self.perceptron(self.norm2(x))
