"""The text side of the bundled image-text model: words to embeddings in the space of its images."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xaicl_lib.data.captions import LENGTH, WORDS, tokenize
from xaicl_lib.networks.transformer import TransformerBlock

HEADS = 4


def _normal(*shape: int, std: float = 1.0) -> Tensor:
    """Normal values, those that `nn.Embedding` draws; on the meta device none, since to draw there torch imports its compiler: a second."""
    empty = torch.empty(*shape)
    return empty if empty.is_meta else std * torch.randn(*shape)


class TextEncoder(nn.Module):
    """Tokens to embeddings: a few transformer blocks over words and their places, then the mean over the words, (n, t) to (n, d).

    Differs: from the text encoder of :cite:t:`radford2021learning`, which reads one word after another and takes what stands at the
    end of the text. As there, padding is seen by the attention.
    """

    def __init__(self, c: int, depth: int, d: int) -> None:
        super().__init__()
        self.words = nn.Embedding.from_pretrained(_normal(len(WORDS) + 1, c), freeze=False)
        self.places = nn.Parameter(_normal(LENGTH, c, std=0.02))
        self.blocks = nn.Sequential(*(TransformerBlock(c, HEADS) for _ in range(depth)))
        self.norm, self.out = nn.LayerNorm(c), nn.Linear(c, d)

    def forward(self, tokens: Int[Tensor, "n t"]) -> Float[Tensor, "n d"]:
        return self.of_vectors(self.words(tokens), tokens > 0)

    def of_vectors(self, vectors: Float[Tensor, "n t c"], there: Tensor) -> Float[Tensor, "n d"]:
        """Embeddings of texts by the vectors of their tokens; `there` (n, t) is not zero where a token is a word."""
        x = self.norm(self.blocks(vectors + self.places))  # (n, t, c)
        there = there.unsqueeze(2).to(x)
        return self.out((x * there).sum(1) / there.sum(1))


class Reader(nn.Module):
    """Texts to embeddings: tokens, then the encoder; what `PairModel` takes as `text`."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, texts: list[str]) -> Float[Tensor, "n d"]:
        return self.encode(self.read(texts))

    def read(self, texts: list[str]) -> Int[Tensor, "n t"]:
        """Texts as numbers of tokens, on the encoder's device."""
        return tokenize(texts).to(next(self.encoder.parameters()).device)

    def encode(self, tokens: Int[Tensor, "n t"]) -> Float[Tensor, "n d"]:
        """Tokens to embeddings."""
        return self.encoder(tokens)
