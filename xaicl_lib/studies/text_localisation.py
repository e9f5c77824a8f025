"""Zero-shot localisation: does a map towards a text find the object that the text names, in scenes with exact masks?"""

from collections.abc import Mapping, Sequence

import pandas as pd
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from xaicl_lib.data.captions import facts_of, phrase
from xaicl_lib.data.drawing import render
from xaicl_lib.data.scenes import COLOURS, SHAPES, draw_pairs
from xaicl_lib.errors import InputError, unknown
from xaicl_lib.metrics import measure
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair, Truth
from xaicl_lib.studies.corpus import Way, explain_corpus
from xaicl_lib.studies.truth import METRICS

FOILS = ("none", "other object", "other texts")
WAYS = {
    "RISE": Way("rise", params={"masks": 300, "centred": True}),
    "occlusion": Way("conditional_occlusion", params={"stride": 4}),
    "Grad-CAM": Way("grad_cam"),
    "IG": Way("integrated_gradients", params={"n_steps": 20}),
    "edges": Way("edges"),
    "random map": Way("random_map"),
}


def two_object_scenes(
    n: int, size: int = 64, generator: Generator | None = None
) -> tuple[Float[Tensor, "n 3 s s"], Bool[Tensor, "n 2 s s"], Int[Tensor, "n 2 6"]]:
    """Scenes of two objects that differ in shape, texture and colour: images, a mask of each object, and its facts."""
    drawn = draw_pairs(n, "one_shared", generator)[0]
    images, masks = render(drawn, size)
    return images, masks, facts_of(drawn)


def other_texts(first: str, factors: tuple[str, ...]) -> list[str]:
    """The texts of every other colour and shape, in the words of `factors`."""
    texts = [phrase([s, 0, c, 0, 0, 0], factors) for s in range(len(SHAPES)) for c in range(len(COLOURS))]
    return [text for text in dict.fromkeys(texts) if text != first]


def explain_text(
    model: PairModel,
    images: Float[Tensor, "n 3 s s"],
    facts: Int[Tensor, "n 2 6"],
    way: Way,
    *,
    foil: str = "other object",
    factors: tuple[str, ...] = ("colour", "shape"),
    seed: int = 0,
) -> Explanation:
    """Why each scene is like the text that names its first object, rather than like the foil.

    Args:
        model: with a text side.
        images, facts: scenes of two objects, as from `two_object_scenes`.
        way: of explanation; its target follows from the foil.
        foil: "none", "other object" (the text of the second object) or "other texts" (of every other colour and shape).
        factors: that the texts name.
        seed: of the method.

    Raises:
        InputError: an unknown foil, or two objects that these words do not tell apart.
    """
    if foil not in FOILS:
        raise unknown("foil", foil, FOILS)
    made = []
    for image, (first, second) in zip(images.split(1), facts.tolist(), strict=True):
        text, other = phrase(first, factors), phrase(second, factors)
        if text == other:
            raise InputError(f"expected words that tell both objects apart, got {text!r} for either; name more factors")
        corpus, against = model.embed_text([text]), [other] if foil == "other object" else other_texts(text, factors)
        one = Way(way.method, "corpus" if foil == "none" else "contrastive", way.params)
        made.append(explain_corpus(model, image, one, corpus, model.embed_text(against), seed))
    return Explanation.concat(made)


def locate_texts(
    model: PairModel,
    n: int = 24,
    *,
    ways: Mapping[str, Way] = WAYS,
    foils: Sequence[str] = FOILS,
    factors: tuple[str, ...] = ("colour", "shape"),
    generator: Generator | None = None,
) -> pd.DataFrame:
    """How well maps towards a text find the object it names, and how much of the other object they find as well.

    Zero-shot localisation after :cite:t:`lin2023contrastive`, here scored against the exact masks of procedural scenes.

    Returns:
        One row per way, foil, scene and metric: value, other (the same metric against the mask of the object that the text does not
        name) and chance (the share of the image that the named object covers).

    Raises:
        InputError: a model without a text side, or an unknown foil.
    """
    images, masks, facts = two_object_scenes(n, model.size, generator)
    frames = []
    for label, way in ways.items():
        for foil in foils:
            made = explain_text(model, images, facts, way, foil=foil, factors=factors)
            named, other = (measure(model, Pair(images, truth=Truth(mask, mask)), made, METRICS) for mask in masks.unbind(1))
            area = masks[:, 0].double().mean((1, 2))
            for metric in METRICS:
                row = {"pair": range(n), "value": named[metric].cpu().double(), "other": other[metric].cpu().double(), "chance": area}
                frames.append(pd.DataFrame(row).assign(model=model.name, way=label, foil=foil, metric=metric))
    return pd.concat(frames, ignore_index=True)[["model", "way", "foil", "pair", "metric", "value", "other", "chance"]]
