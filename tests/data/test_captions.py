"""Captions say what is in the scenes, and nothing else."""

import pytest
import torch

from xaicl_lib import InputError
from xaicl_lib.data.captions import (
    OPPOSITE,
    PATTERNS,
    SETS,
    WORDS,
    captioned_set,
    captions,
    exchanged,
    facts_of,
    phrase,
    prompts,
    relations,
    tokenize,
)  # fmt: skip
from xaicl_lib.data.scenes import BACKGROUNDS, COLOURS, FACTORS, PLACES, SHAPES, SIZES, draw_pairs, scene_set


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def read_object(words: list[str], fact: list[int]) -> None:
    """Every word of an object is true of it."""
    values = {"size": SIZES[fact[5]], "colour": COLOURS[fact[2]], "texture": PATTERNS[fact[1]], "shape": SHAPES[fact[0]]}
    for word in words:
        assert word in ("a", "an", "thing") or word in values.values(), (words, values)


def test_every_word_is_true() -> None:
    alone, two = draw_pairs(150, "same_object", seeded(3))[0], draw_pairs(150, "one_shared", seeded(3))[0]
    facts = torch.cat([facts_of(alone), facts_of(two)])
    said = set()
    for text, (first, second) in zip(captions(facts, seeded(4)), facts.tolist(), strict=True):
        text, _, ground = text.partition(" on ")
        assert not ground or ground == BACKGROUNDS[first[3]]
        way = next((way for way in OPPOSITE if f" {way} " in text), None)
        if way:
            one, other = text.split(f" {way} ")
            swapped = next((k for k in (0, 1) if _true(one, (first, second)[k]) and _true(other, (first, second)[1 - k])), None)
            assert swapped is not None, text
            assert any(way in relations(*pair) for pair in ((first, second), (second, first)))
            said.add(way)
            continue
        text, _, place = text.partition(" in the ")
        thing = next(fact for fact in (first, second) if fact[0] >= 0 and _true(text, fact) and place in ("", PLACES[fact[4]]))
        read_object(text.split(), thing)
    assert said == set(OPPOSITE)


def _true(text: str, fact: list[int]) -> bool:
    values = {SIZES[fact[5]], COLOURS[fact[2]], PATTERNS[fact[1]], SHAPES[fact[0]], "a", "an", "thing"}
    return set(text.split()) <= values


def test_relations_are_those_of_the_pixels() -> None:
    from xaicl_lib.data.drawing import render

    drawn = draw_pairs(40, "one_shared", seeded(1))[0]
    masks = render(drawn, 64)[1].double()
    axis = torch.arange(64).double()
    middle = [[(m.sum(d) * axis).sum() / m.sum() for d in (0, 1)] for pair in masks for m in pair]  # x, y of each object
    for k, (first, second) in enumerate(facts_of(drawn).tolist()):
        (x1, y1), (x2, y2) = middle[2 * k], middle[2 * k + 1]
        for way in relations(first, second):
            assert {"left of": x1 < x2, "right of": x1 > x2, "above": y1 < y2, "below": y1 > y2}[way]
        assert relations(second, first) == [OPPOSITE[way] for way in relations(first, second)]


def test_captions_of_a_scene_differ_and_follow_the_seed() -> None:
    facts = facts_of(draw_pairs(20, "one_shared", seeded(0))[0])
    assert captions(facts, seeded(1)) == captions(facts, seeded(1))
    assert captions(facts, seeded(1)) != captions(facts, seeded(2))
    assert captions(facts[:5], seeded(1)) == captions(facts, seeded(1))[:5]


def test_phrases_and_prompts() -> None:
    assert phrase([0, 1, 0, 1, 0, 2]) == "a red striped disc"
    assert phrase([0, 1, 1, 1, 4, 2], ("size", "place", "background")) == "a large thing in the centre on grass"
    assert phrase([0, 1, 1, 1, 4, 2], ("colour",)) == "an orange thing"
    for factor, values in FACTORS.items():
        texts = prompts(factor)
        assert len(set(texts)) == len(values)
        tokenize(texts)
    with pytest.raises(InputError, match="unknown factor 'mood'; there are: shape"):
        phrase([0] * 6, ("mood",))


def test_tokens_are_the_words_in_order() -> None:
    tokens = tokenize(["a red disc", "An orange thing"])
    assert tokens.shape == (2, 16)
    assert [WORDS[k - 1] for k in tokens[0].tolist() if k] == ["a", "red", "disc"]
    assert [WORDS[k - 1] for k in tokens[1].tolist() if k] == ["an", "orange", "thing"]
    assert len(set(WORDS)) == len(WORDS)
    with pytest.raises(InputError, match="unknown word 'cat'; there are: a, an"):
        tokenize(["a red cat"])
    with pytest.raises(InputError, match="at most 16 words, got 17"):
        tokenize(["a " * 17])


def test_the_set_holds_scenes_of_one_object_and_of_two() -> None:
    images, facts, names = captioned_set("val", 32, 10)
    assert images.shape == (40, 3, 32, 32)
    assert (facts[:20, 1] == -1).all()
    assert (facts[20:] >= 0).all()
    assert names == list(FACTORS)
    first, labels, _ = scene_set("val", 32, 10)
    assert torch.equal(images[:10], first)
    assert torch.equal(facts[:10, 0], labels)
    assert len({seed + more for _, seed in SETS.values() for more in (0, 10)}) == 4, "no scene is both learned from and measured on"
    with pytest.raises(InputError, match="unknown set of captioned scenes 'test'"):
        captioned_set("test")


def test_exchanged_captions_are_the_same_words_and_false() -> None:
    facts = facts_of(draw_pairs(40, "one_shared", torch.Generator().manual_seed(0))[0])
    texts = captions(facts, torch.Generator().manual_seed(1))
    pairs = [(text, other) for text in texts if (other := exchanged(text))]
    assert 15 <= len(pairs) <= 33
    for text, other in pairs:
        assert sorted(text.split()) == sorted(other.split())
        assert exchanged(other) == text
    assert exchanged("a red disc left of a blue ring on grass") == "a blue ring left of a red disc on grass"
    assert exchanged("a red disc in the top left") is None
    assert exchanged("a thing on sand") is None
