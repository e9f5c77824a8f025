"""Text sides opened at their word vectors: which tokens a word is made of, and embeddings of texts whose words have other vectors.

What a text side must have is `read`, from texts to numbers of tokens, `encode`, from these to embeddings, and within it an `nn.Embedding`,
which gives each token its vector. What the tokenizer does is seen by what it makes of a text's beginnings, so that any will do.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xaicl_lib.errors import InputError
from xaicl_lib.notes import note

PROBES = ("a", "the")  # words that any tokenizer knows, of a token each
SAME = 1e-4  # relative; of two ways to one embedding


@dataclass(frozen=True, eq=False)
class OpenText:
    """One text, ready to be embedded with other vectors in the place of its words."""

    words: tuple[str, ...]  # those that the model reads
    places: Tensor  # (w, t) True where a token belongs to a word
    vectors: Float[Tensor, "t c"]  # of the tokens
    blank: Float[Tensor, "t c"]  # the same with the tokenizer's padding in the place of each word
    side: Any  # the text side
    tokens: Int[Tensor, " t"]  # their numbers

    def embed(self, vectors: Float[Tensor, "m t c"]) -> Float[Tensor, "m d"]:
        """Embeddings of the text with these vectors in the place of its own."""
        with _vectors_given(self.side, vectors):
            return self.side.encode(self.tokens.expand(len(vectors), -1))

    def without(self, kept: Tensor) -> Float[Tensor, "m t c"]:
        """Vectors of the text with blanks for the words that are not kept, by rows (m, w) of a mask."""
        there = (kept.float() @ self.places.float() > 0) | ~self.places.any(0)  # (m, t); what is no word stays
        return torch.where(there.unsqueeze(2), self.vectors, self.blank)


def open_text(side: Any, text: str) -> OpenText:
    """A text opened at its word vectors.

    Tokens that belong to no word (the text's beginning and end, padding) keep their vectors. A text that is longer than the model reads is
    cut where the model cuts it, and a note names what is left out.

    Raises:
        InputError: a text side that cannot be opened, or a text without a word that the model reads.
    """
    embedding = _embedding(side)
    beginnings = text.split()
    if not beginnings:
        raise InputError(f"expected a text with words that the model reads, got {text!r}")
    rows, spans = _read(side, beginnings)
    words = [(word, span) for word, span in zip(beginnings, spans, strict=True) if span]
    if not words:
        raise InputError(f"expected a text with words that the model reads, got {text!r}")
    side, tokens = _shortened(side, rows[-1])
    places = torch.zeros(len(words), len(tokens), dtype=torch.bool)
    for k, (_, span) in enumerate(words):
        places[k, span] = True
    device = embedding.weight.device
    vectors = embedding(tokens.to(device)).detach()
    blank = torch.where(places.any(0).to(device).unsqueeze(1), embedding(rows[0, -1].to(device)), vectors)
    return OpenText(tuple(word for word, _ in words), places.to(device), vectors, blank, side, tokens.to(device))


def note_cut(side: Any, texts: Sequence[str]) -> None:
    """Tell of texts that are longer than the model reads where they are cut; of a side that has no `read` nothing is known."""
    if callable(getattr(side, "read", None)):
        first, *rows = side.read([PROBES[0], *texts]).cpu()
        for text, row in zip(texts, rows, strict=True):
            if _length(row, first[-1]) == len(row):  # there is no padding
                _read(side, text.split())


def _read(side: Any, beginnings: Sequence[str]) -> tuple[Int[Tensor, "k t"], list[list[int]]]:
    """Numbers of two probes, then of a text's beginnings, and the tokens of each word; tells what is left out."""
    rows = side.read([*PROBES, *(" ".join(beginnings[:k]) for k in range(1, len(beginnings) + 1))]).cpu()
    spans, left_out = _spans(rows[:2], rows[2:])
    if left_out:
        kept = beginnings[len(beginnings) - left_out - 1]
        note(f"the model reads {rows.shape[1]} tokens, with which the text ends at {kept!r}; words left out: {left_out}")
    return rows, spans


def _embedding(side: Any) -> nn.Embedding:
    """The module that gives tokens their vectors: the one of most entries."""
    found = [module for module in side.modules() if isinstance(module, nn.Embedding)]
    if not found or not callable(getattr(side, "read", None)) or not callable(getattr(side, "encode", None)):
        raise InputError(
            "expected a text side with `read` and `encode` around an nn.Embedding, as of scenes_clip and open_clip/..., got "
            f"{type(side).__name__}"
        )
    return max(found, key=lambda module: module.num_embeddings)


def _spans(probes: Int[Tensor, "2 t"], beginnings: Int[Tensor, "k t"]) -> tuple[list[list[int]], int]:
    """The tokens of each word, and how many words at the end have none because the model does not read so far.

    What two texts of one word each, which is another one, have in common opens or closes every text; what the first ends with is padding.
    """
    padding = probes[0, -1]
    short = [row[: _length(row, padding)] for row in probes]
    before, closing = _common(*short), _common(*(row.flip(0) for row in short))
    lengths = [_length(row, padding) for row in beginnings]
    ends = [length - closing for length in lengths]
    full = next((k for k, length in enumerate(lengths[:-1]) if length == beginnings.shape[1]), len(lengths) - 1)
    spans = [list(range(start, end)) for start, end in zip([before, *ends[:-1]], ends, strict=True)]
    return spans, len(lengths) - 1 - full


def _length(row: Tensor, padding: Tensor) -> int:
    """Tokens before the padding."""
    there = (row != padding).nonzero()
    return int(there[-1]) + 1 if len(there) else 0


def _common(one: Tensor, other: Tensor) -> int:
    """How many tokens two rows have in common before they differ."""
    n = min(len(one), len(other))
    return int((one[:n] == other[:n]).long().cumprod(0).sum())


def _shortened(side: Any, tokens: Tensor) -> tuple[Any, Tensor]:
    """A text side that reads no further than the text, where what follows cannot matter: behind a mask that lets tokens see none after
    them. It is tried, and left as it was where embeddings differ.
    """
    device = _embedding(side).weight.device
    count = _length(tokens, tokens[-1])
    network: Any = getattr(side, "network", None)
    owner: Any = getattr(network, "text", network)
    mask = getattr(owner, "attn_mask", None)
    if count in (0, len(tokens)) or not isinstance(mask, Tensor) or not isinstance(getattr(owner, "positional_embedding", None), Tensor):
        return side, tokens
    short = copy.copy(owner)
    short._parameters = {**owner._parameters, "positional_embedding": nn.Parameter(owner.positional_embedding[:count], requires_grad=False)}
    short._buffers = {**owner._buffers, "attn_mask": mask[:count, :count]}
    outer = short
    if owner is not network:
        outer = copy.copy(network)
        outer._modules = {**network._modules, "text": short}
    brief = copy.copy(side)
    brief._modules = {**side._modules, "network": outer}
    want, got = side.encode(tokens[None].to(device)), brief.encode(tokens[None, :count].to(device))
    same = got.shape == want.shape and bool((got - want).norm() <= SAME * want.norm())
    return (brief, tokens[:count]) if same else (side, tokens)


@contextmanager
def _vectors_given(side: Any, vectors: Tensor) -> Iterator[None]:
    """In this scope tokens get these vectors, whatever they are; attention is that which has derivatives."""
    hook = _embedding(side).register_forward_hook(lambda module, given, out: vectors)
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
        hook.remove()
