"""Zero-shot localisation: does a map towards a text find the object that the text names, in scenes with exact masks?"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from xaicl_lib.data.captions import facts_of, phrase
from xaicl_lib.data.drawing import render
from xaicl_lib.data.scenes import COLOURS, FACTORS, SHAPES, draw_pairs
from xaicl_lib.errors import InputError, require
from xaicl_lib.evaluation.method_spec import Method, Methods, method_specs
from xaicl_lib.metrics import measure
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair, Truth
from xaicl_lib.statistics.paired import summarise
from xaicl_lib.studies.corpus import explain_corpus
from xaicl_lib.studies.truth import METRICS
from xaicl_lib.zoo import model_card

FOILS = ("none", "other object", "other texts")
WORDS = ("colour", "shape")  # factors that texts name
METHODS: dict[str, Method] = {
    "RISE": ("rise", {"masks": 300, "centred": True}),
    "occlusion": ("conditional_occlusion", {"stride": 4}),
    "Grad-CAM": "grad_cam",
    "IG": ("integrated_gradients", {"n_steps": 20}),
    "edges": "edges",
    "random map": "random_map",
}


def card_and_factors(name: str) -> tuple[dict[str, Any], pd.DataFrame]:
    """The card of an image-text model of scenes, and what it knows of each factor: zero-shot, linear probe, and chance."""
    card = model_card(name)
    linear = {factor: found["linear"] for factor, found in card["factors"].items()}
    chance = {factor: 1 / len(values) for factor, values in FACTORS.items()}
    return card, pd.DataFrame({"zero-shot": card["zero_shot"], "linear probe": linear, "chance": chance}).rename_axis("factor")


def two_object_scenes(
    n: int, size: int = 64, *, seed: int = 0
) -> tuple[Float[Tensor, "n 3 s s"], Bool[Tensor, "n 2 s s"], Int[Tensor, "n 2 6"]]:
    """Scenes of two objects that differ in shape, texture and colour: images, a mask of each object, and its facts."""
    drawn = draw_pairs(n, "one_shared", Generator().manual_seed(seed))[0]
    images, masks = render(drawn, size)
    return images, masks, facts_of(drawn)


def _other_texts(first: str, factors: tuple[str, ...]) -> list[str]:
    """The texts of every other colour and shape, in the words of `factors`."""
    texts = [phrase([s, 0, c, 0, 0, 0], factors) for s in range(len(SHAPES)) for c in range(len(COLOURS))]
    return [text for text in dict.fromkeys(texts) if text != first]


def _explain_text(
    model: PairModel,
    images: Float[Tensor, "n 3 s s"],
    facts: Int[Tensor, "n 2 6"],
    method: Method,
    *,
    foil: str = "other object",
    factors: tuple[str, ...] = WORDS,
) -> Explanation:
    """Why each scene is like the text that names its first object, rather than like the foil.

    Args:
        foil: "none", "other object" (the text of the second object) or "other texts" (of every other colour and shape).
    """
    require("foil", FOILS, foil)
    target = "corpus" if foil == "none" else "contrastive"
    made = []
    for image, (first, second) in zip(images.split(1), facts.tolist(), strict=True):
        text, other = phrase(first, factors), phrase(second, factors)
        if text == other:
            raise InputError(f"expected words that tell both objects apart, got {text!r} for either; name more factors")
        corpus, against = model.embed_text([text]), [other] if foil == "other object" else _other_texts(text, factors)
        made.append(explain_corpus(model, image, method, corpus, model.embed_text(against), target))
    return Explanation.concat(made)


def explain_either(
    model: PairModel, images: Float[Tensor, "n 3 s s"], facts: Int[Tensor, "n 2 6"], method: Method
) -> list[list[tuple[str, Float[Tensor, "i j"]]]]:
    """For each scene and each of its two objects the text that names it, and the map towards that text rather than the other's."""
    sides = [(side, _explain_text(model, images, side, method)) for side in (facts, facts.flip(1))]
    return [[(phrase(side[k, 0].tolist(), WORDS), made.a[k]) for side, made in sides] for k in range(len(images))]


def locate_texts(
    model: PairModel,
    n: int = 24,
    *,
    methods: Methods = METHODS,
    foils: Sequence[str] = FOILS,
    factors: tuple[str, ...] = WORDS,
    seed: int = 0,
) -> pd.DataFrame:
    """How well maps towards a text find the object it names, and how much of the other object they find as well.

    Zero-shot localisation after :cite:t:`lin2023contrastive`, here scored against the exact masks of procedural scenes.

    Returns:
        One row per method (in the column way), foil, scene and metric: value, other (the same metric against the mask of the object that
        the text does not name) and chance (the share of the image that the named object covers).

    Raises:
        InputError: a model without a text side, or an unknown foil.
    """
    images, masks, facts = two_object_scenes(n, model.size, seed=seed)
    frames = []
    for label, method in method_specs(methods).items():
        for foil in foils:
            made = _explain_text(model, images, facts, method, foil=foil, factors=factors)
            named, other = (measure(model, Pair(images, truth=Truth(mask, mask)), made, METRICS) for mask in masks.unbind(1))
            area = masks[:, 0].double().mean((1, 2))
            for metric in METRICS:
                row = {"pair": range(n), "value": named[metric].cpu().double(), "other": other[metric].cpu().double(), "chance": area}
                frames.append(pd.DataFrame(row).assign(model=model.name, way=label, foil=foil, metric=metric))
    return pd.concat(frames, ignore_index=True)[["model", "way", "foil", "pair", "metric", "value", "other", "chance"]]


def shares_on_objects(table: pd.DataFrame) -> pd.DataFrame:
    """The share of a map's evidence on the object that the text names, and on the other one, against whose text it was made.

    Returns:
        One row per way and object ("named", "not named"): mean, low, high over scenes.
    """
    part = table[(table["metric"] == "relevance_mass") & (table["foil"] == "other object")]
    long = part.rename(columns={"value": "named", "other": "not named"}).melt(["way", "pair"], ["named", "not named"], "object")
    return summarise(long, ["way", "object"])
