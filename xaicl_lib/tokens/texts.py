"""Text sides opened at their word vectors: which tokens a word is made of, and embeddings of texts whose words have other vectors.

What a text side must have is `read`, from texts to numbers of tokens, `encode`, from these to embeddings, and within it an `nn.Embedding`,
which gives each token its vector. What the tokenizer does is seen by what it makes of a text's beginnings, so that any will do.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
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
    tokens, spans = _read(side, text.split())
    words = [(word, span) for word, span in zip(text.split(), spans, strict=True) if span]
    if not words:
        raise InputError(f"expected a text with words that the model reads, got {text!r}")
    padding = _padding(side)
    side, tokens = _shortened(side, tokens)
    places = torch.zeros(len(words), len(tokens), dtype=torch.bool)
    for k, (_, span) in enumerate(words):
        places[k, span] = True
    device = embedding.weight.device
    vectors = embedding(tokens.to(device)).detach()
    blank = torch.where(places.any(0).to(device).unsqueeze(1), embedding(padding.to(device)), vectors)
    return OpenText(tuple(word for word, _ in words), places.to(device), vectors, blank, side, tokens.to(device))


def note_cut(side: Any, texts: Sequence[str]) -> None:
    """Tell of texts that are longer than the model reads where they are cut; of a side that has no `read` nothing is known."""
    if callable(getattr(side, "read", None)):
        for text in texts:
            rows = _with_more(side, [text])
            if len(rows) == 2 and torch.equal(*rows):
                _read(side, text.split())


def _read(side: Any, words: Sequence[str]) -> tuple[Int[Tensor, " t"], list[list[int]]]:
    """A text's tokens and those of each of its words; tells what is left out."""
    tokens, spans, cut = _spans(side, words) if words else (torch.empty(0), [], False)
    if cut and any(spans):
        last = max(k for k, span in enumerate(spans) if span)
        _, (_, whole), longer = _spans(side, [PROBES[0], words[last]])  # one of nearly all tokens that the model reads counts as cut
        within, left_out = longer or len(whole) > len(spans[last]), len(words) - 1 - last
        if within or left_out:
            where = f"{'within' if within else 'at'} {words[last]!r}"
            note(f"the model reads {len(tokens)} tokens, with which the text ends {where}; words left out: {left_out}")
    return tokens, spans


def _embedding(side: Any) -> nn.Embedding:
    """The module that gives tokens their vectors: the one of most entries."""
    found = [module for module in side.modules() if isinstance(module, nn.Embedding)]
    if not found or not callable(getattr(side, "read", None)) or not callable(getattr(side, "encode", None)):
        raise InputError(
            "expected a text side with `read` and `encode` around an nn.Embedding, as of scenes_clip, open_clip/... and hf/..., got "
            f"{type(side).__name__}"
        )
    return max(found, key=lambda module: module.num_embeddings)


def _spans(side: Any, words: Sequence[str]) -> tuple[Int[Tensor, " t"], list[list[int]], bool]:
    """A text's tokens, those of each word, and whether a word more changes nothing.

    A word begins where the text differs from the one that ends before it, the first where two texts of another word each do: what stands
    there is its first token in one of them, and in the other what closes the text, or padding. A word that is not read changes nothing.
    """
    rows = _with_more(side, [" ".join(words[: k + 1]) for k in range(len(words))])
    length = rows.shape[1]
    starts = [_common(*side.read(list(PROBES)).cpu()), *(_common(one, other) for one, other in pairwise(rows))]
    cut = len(rows) > len(words) and starts[-1] == length
    if cut or len(rows) == len(words):
        starts[len(words) :] = [length - _closing(side, length)]
    for k in reversed(range(len(words))):
        starts[k] = min(starts[k], starts[k + 1])
    return rows[len(words) - 1], [list(range(start, end)) for start, end in pairwise(starts)], cut


def _with_more(side: Any, texts: Sequence[str]) -> Int[Tensor, "k t"]:
    """Tokens of texts, and of the last with a word more if the tokenizer takes one so long."""
    with suppress(Exception):  # of a tokenizer that does not cut
        return side.read([*texts, f"{texts[-1]} {PROBES[0]}"]).cpu()
    return side.read(list(texts)).cpu()


def _closing(side: Any, length: int) -> int:
    """How many tokens close a text as long as the model reads: those with which two such end alike."""
    for count in range(length, 0, -1):
        with suppress(Exception):  # likewise
            one, other = side.read([" ".join([probe] * count) for probe in PROBES]).cpu()
            return _common(one.flip(0), other.flip(0))
    return 0


def _padding(side: Any) -> Int[Tensor, ""]:
    """The token that there is less of where a text has a word more."""
    one, two = side.read([PROBES[0], f"{PROBES[0]} {PROBES[0]}"]).cpu()
    return next((token for token in one if (one == token).sum() > (two == token).sum()), one[-1])


def _common(one: Tensor, other: Tensor) -> int:
    """How many tokens two rows have in common before they differ."""
    n = min(len(one), len(other))
    return int((one[:n] == other[:n]).long().cumprod(0).sum())


def _shortened(side: Any, tokens: Tensor) -> tuple[Any, Tensor]:
    """A text side that reads no further than the text, where what follows cannot matter: behind a mask that lets tokens see none after
    them. It is tried, and left as it was where embeddings differ or there are none, as of towers with a class token behind the text.
    """
    device = _embedding(side).weight.device
    count = int((tokens != tokens[-1]).nonzero().amax()) + 1 if (tokens != tokens[-1]).any() else 0
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
    want = side.encode(tokens[None].to(device))
    try:
        got = brief.encode(tokens[None, :count].to(device))
    except Exception:  # whatever a tower raises that wants all its places
        return side, tokens
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
