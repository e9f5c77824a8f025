"""Captions of scenes, made from what is known of them: "a red striped disc left of a blue ring on grass".

A scene has many true captions. Which objects, attributes and relations one names is drawn from a generator, as people leave out now this
and now that; so a model that learns from captions has to find each word in the picture on its own.
"""

import torch
from jaxtyping import Int, UInt8
from torch import Generator, Tensor

from xaicl_lib.data.drawing import Scenes, render
from xaicl_lib.data.scenes import BACKGROUNDS, COLOURS, FACTORS, PLACES, SHAPES, SIZES, draw_pairs
from xaicl_lib.errors import InputError, require, unknown

PATTERNS = ("plain", "striped", "checked", "dotted", "ringed", "latticed", "marbled", "zigzag")  # the textures as adjectives
SMALL_WORDS = ("a", "an", "thing", "on", "in", "the", "of", "left", "right", "above", "below", "top", "bottom", "centre")
WORDS = (*SMALL_WORDS, *SIZES, *COLOURS, *PATTERNS, *SHAPES, *BACKGROUNDS)  # a token's number is its place here plus one; 0 is padding
LENGTH = 16  # words of the longest caption
SETS = {"train": (6_000, 1), "val": (1_500, 2)}  # pairs of scenes with one object each, as many with two; seed
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
SHAPE, TEXTURE, COLOUR, BACKGROUND, PLACE, SIZE = range(6)  # columns of facts, as in FACTORS


def captioned_set(split: str, size: int = 64, pairs: int | None = None) -> tuple[UInt8[Tensor, "n 3 s s"], Int[Tensor, "n 2 6"], list[str]]:
    """Scenes of one object, then as many of two, with what is known of each: what `scenes_clip` learned from and was measured on.

    Args:
        split: "train" or "val".
        pairs: of each kind, two scenes a pair; None is all of them.

    Returns:
        Images, facts as from `facts_of`, names of the factors.
    """
    require("set of captioned scenes", SETS, split)
    most, seed = SETS[split]
    drawn = [
        side
        for kind, first in (("same_object", seed), ("one_shared", seed + 10))
        for side in draw_pairs(pairs or most, kind, Generator().manual_seed(first))
    ]
    images = [(render(side, size)[0] * 255).round().byte() for side in drawn]
    return torch.cat(images), torch.cat([facts_of(side) for side in drawn]), list(FACTORS)


def facts_of(drawn: Scenes) -> Int[Tensor, "n 2 6"]:
    """Index into each of `FACTORS` for one or two objects of each scene; a second object that is not there is a row of -1."""
    rows = [torch.stack([t.shape, t.texture, t.colour, drawn.ground.kind, t.place, t.size], 1) for t in drawn.things]
    return torch.stack([*rows, torch.full_like(rows[0], -1)][:2], 1)


def phrase(facts: list[int], factors: tuple[str, ...] = ("colour", "texture", "shape")) -> str:
    """An object in words that name these of its factors: "a red striped disc"; without its shape it is a thing.

    Args:
        facts: six indices in the order of `FACTORS`.
        factors: to name, of size, colour, texture, shape, place and background.
    """
    require("factor", FACTORS, *factors)
    words = [
        *([SIZES[facts[SIZE]]] if "size" in factors else []),
        *([COLOURS[facts[COLOUR]]] if "colour" in factors else []),
        *([PATTERNS[facts[TEXTURE]]] if "texture" in factors else []),
        SHAPES[facts[SHAPE]] if "shape" in factors else "thing",
        *(["in the", PLACES[facts[PLACE]]] if "place" in factors else []),
        *(["on", BACKGROUNDS[facts[BACKGROUND]]] if "background" in factors else []),
    ]
    return " ".join(["an" if words[0][0] in "aeiou" else "a", *words])


def prompts(factor: str) -> list[str]:
    """A text for each value of a factor, which names nothing else: "a red thing", "a thing on grass", "a star"."""
    require("factor", FACTORS, factor)
    column = list(FACTORS).index(factor)
    return [phrase([k if j == column else 0 for j in range(6)], (factor,)) for k in range(len(FACTORS[factor]))]


def relations(first: list[int], second: list[int]) -> list[str]:
    """How the first object lies to the second, by their places: one or two of left of, right of, above, below."""
    across, down = first[PLACE] % 3 - second[PLACE] % 3, first[PLACE] // 3 - second[PLACE] // 3
    return [*(["left of" if across < 0 else "right of"] if across else []), *(["above" if down < 0 else "below"] if down else [])]


def captions(facts: Int[Tensor, "n 2 6"], generator: Generator) -> list[str]:
    """A true caption of each scene; what it names is drawn anew each time."""
    draws = torch.rand(len(facts), 13, generator=generator).tolist()
    return [_caption(first, second, u) for (first, second), u in zip(facts.tolist(), draws, strict=True)]


def _caption(first: list[int], second: list[int], u: list[float]) -> str:
    if second[SHAPE] >= 0 and u[0] < 0.5:  # either object may come first
        first, second = second, first
    one = _named(first, u[1:6], alone=second[SHAPE] < 0)
    ground = ["on", BACKGROUNDS[first[BACKGROUND]]] if u[11] < 0.4 else []
    if second[SHAPE] >= 0 and u[12] < 0.6:
        ways = relations(first, second)
        return " ".join([one, ways[int(u[5] * len(ways))], _named(second, u[6:11], alone=False), *ground])
    place = ["in the", PLACES[first[PLACE]]] if u[5] < 0.4 else []
    return " ".join([one, *place, *ground])


def exchanged(text: str) -> str | None:
    """The same words about the other way round: what lies left of what; None for a text that says of no two things how they lie.

    "a red disc left of a blue ring on grass" becomes "a blue ring left of a red disc on grass", which is false where the first is true.
    """
    for way in OPPOSITE:
        first, found, rest = text.partition(f" {way} ")
        if found:
            second, *ground = rest.split(" on ")
            return " on ".join([f"{second} {way} {first}", *ground])
    return None


def _named(facts: list[int], u: list[float], *, alone: bool) -> str:
    """An object by some of its factors. Sizes are said of objects that are alone: two in a scene are drawn smaller."""
    chances = {"size": 0.3 * alone, "colour": 0.75, "texture": 0.6, "shape": 0.8}
    chosen = tuple(factor for factor, draw in zip(chances, u, strict=False) if draw < chances[factor])
    return phrase(facts, chosen or ("colour",))


def tokenize(texts: list[str]) -> Int[Tensor, "n t"]:
    """Words as numbers, padded with zeros to 16.

    Raises:
        InputError: a word that no caption holds, or more than 16 words.
    """
    out = torch.zeros(len(texts), LENGTH, dtype=torch.long)
    for k, text in enumerate(texts):
        words = text.lower().replace(",", " ").split()
        odd = [word for word in words if word not in _NUMBER]
        if odd:
            raise unknown("word", odd[0], WORDS)
        if len(words) > LENGTH:
            raise InputError(f"expected a text of at most {LENGTH} words, got {len(words)}: {text!r}")
        out[k, : len(words)] = torch.tensor([_NUMBER[word] for word in words])
    return out


_NUMBER = {word: k + 1 for k, word in enumerate(WORDS)}
