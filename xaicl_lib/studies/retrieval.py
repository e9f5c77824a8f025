"""Why was this retrieved? Galleries with something planted, whether words and links are true, and whether the order of words counts."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xaicl_lib.augment.views import Views, random_view
from xaicl_lib.data.captions import OPPOSITE, exchanged, phrase, relations
from xaicl_lib.data.scenes import scene_pairs, scenes
from xaicl_lib.data.stickers import with_frame as with_frame
from xaicl_lib.evaluation.method_spec import Methods, method_specs
from xaicl_lib.images import MORE_SAMPLES, SAMPLES, open_photo
from xaicl_lib.methods import explain
from xaicl_lib.methods.words import WordMap
from xaicl_lib.methods.words import explain_words as explain_words
from xaicl_lib.metrics import measure
from xaicl_lib.model import PairModel
from xaicl_lib.retrieval import Gallery, embed_gallery
from xaicl_lib.retrieval import explain_results as explain_results
from xaicl_lib.retrieval import retrieve as retrieve
from xaicl_lib.statistics.paired import summarise as summarise
from xaicl_lib.studies.text_localisation import two_object_scenes as two_object_scenes

WORDS = ("colour", "shape")  # factors that texts name
METHODS: dict[str, str] = {
    "integrated Jacobians": "integrated_jacobians", "Deep Similarity": "deep_similarity", "Interaction-CAM": "interaction_cam",
    "occlusion": "conditional_occlusion", "random map": "random_map",
}  # fmt: skip
LINKS = ("LI", "LD", "link_pointing")
OTHERS = {"seconds": "seconds", "error": "missed", "word: strongest cell": "strongest cell", "word: share": "share"}
OTHERS |= {metric: metric for metric in LINKS[:2]}
PARTS = {"article": ("a", "an"), "of": ("of",), "relation": ("left", "right", "above", "below")}  # of speech; the rest are things


def photo_gallery(model: PairModel, folder: str = "", *, views: int = 3, seed: int = 0) -> Gallery:
    """A gallery of photos: the sample photos at hand, in so many views each, or all in a folder.

    Args:
        folder: with photos; its embeddings are kept in it, and go on where a killed run stopped.
        views: of each sample photo, cropped and in other colours.
    """
    if folder:
        return embed_gallery(model, folder, os.path.join(folder, f"{model.name.replace('/', '_')}.safetensors"))
    photos = [open_photo(name, 2 * model.size) for name in SAMPLES]
    photos += [open_photo(load(), 2 * model.size) for load in MORE_SAMPLES.values()]
    change = Views(size=model.size, scale=(0.2, 0.6), blur_chance=0.0)
    generator = torch.Generator().manual_seed(seed)
    images = torch.cat([random_view(photo, change, generator) for photo in photos for _ in range(views)])
    names = [f"{name}, view {k + 1}" for name in (*SAMPLES, *MORE_SAMPLES) for k in range(views)]
    return Gallery.of_images(model, images.clamp(0, 1), names)


def described(facts: Int[Tensor, "n 2 6"]) -> list[str]:
    """A true sentence about each scene of two objects, how they lie to each other: "a red disc left of a blue ring"."""
    return [f"{phrase(one, WORDS)} {relations(one, other)[0]} {phrase(other, WORDS)}" for one, other in facts.tolist()]


def names_of(facts: Int[Tensor, "2 6"]) -> list[str]:
    """Both objects in words, without an article."""
    return [phrase(one, WORDS).partition(" ")[2] for one in facts.tolist()]


def words_on_objects(model: PairModel, n: int = 8, *, seed: int = 0) -> pd.DataFrame:
    """Do words lie on what they name, and regions speak of what is in them? In scenes of two objects with exact masks.

    Returns:
        A row for each scene, object and question, with its value and what is had by chance: "word: strongest cell" (share of the cell that
        the named object covers), "word: share" (of the positive part of the words' map on it), "region: words" (1 if the words of the
        region's own object add more than those of the other).
    """
    images, masks, facts = two_object_scenes(n, model.size, seed=seed)
    made = explain_words(model, images, described(facts))
    rows = [(k, *row) for k, one in enumerate(made) for row in _answers(one, names_of(facts[k]), masks[k])]
    return pd.DataFrame(rows, columns=["pair", "object", "question", "value", "chance"]).assign(model=model.name)


def _answers(made: WordMap, names: Sequence[str], masks: Bool[Tensor, "2 h w"]) -> list[tuple[str, str, float, float]]:
    """A map against two named objects and where they are: object, question, value and chance, as `words_on_objects` has them."""
    rows = []
    for name, other, mask in zip(names, names[::-1], masks, strict=True):
        area = float(mask.double().mean())
        cover = F.adaptive_avg_pool2d(mask.double()[None], list(made.joint.shape[1:]))[0]  # type: ignore[arg-type]
        where, what = made.where(name).double().cpu(), made.what(mask.to(made.joint.device))
        positive = where.clamp_min(0)
        own, foreign = (float(what[made.places(text)].sum()) for text in (name, other))
        rows += [
            (name, "word: strongest cell", float(cover.flatten()[where.argmax()]), area),
            (name, "word: share", float((positive * cover).sum() / positive.sum().clamp_min(1e-12)), area),
            (name, "region: words", float(own > foreign), 0.5),
        ]
    return rows


@dataclass(frozen=True, eq=False)
class Orders:
    """A scene's true sentence and the same words the other way round, both explained."""

    image: Float[Tensor, "3 s s"]
    right: WordMap  #: maps of either sentence
    wrong: WordMap

    @property
    def phrases(self) -> list[str]:
        """The parts of the true sentence: both objects, and how they lie to each other."""
        words = list(self.right.words)
        ways = [k for k, word in enumerate(words) if word in PARTS["relation"]]
        end = ways[0] + (2 if words[ways[0]] in ("left", "right") else 1)
        return [" ".join(words[: ways[0]]), " ".join(words[ways[0] : end]), " ".join(words[end:])]


def both_orders(model: PairModel, n: int = 2, *, seed: int = 0) -> list[Orders]:
    """Scenes with their true sentence and the same words in the other order."""
    images, _, facts = two_object_scenes(n, model.size, seed=seed)
    texts = described(facts)
    right, wrong = explain_words(model, images, texts), explain_words(model, images, [exchanged(text) or text for text in texts])
    return [Orders(*one) for one in zip(images, right, wrong, strict=True)]


def weights_of_words(model: PairModel, n: int = 8, *, seed: int = 0) -> pd.DataFrame:
    """What words add together with the picture, by what they are; of true sentences, and of the same words the other way round.

    Returns:
        A row for each scene, sentence ("true", "exchanged") and kind of word: value (sum over the words of the kind), score.
    """
    rows = []
    for k, one in enumerate(both_orders(model, n, seed=seed)):
        for sentence, made in (("true", one.right), ("exchanged", one.wrong)):
            sums = dict.fromkeys(("thing", *PARTS), 0.0)
            for word, value in zip(made.words, made.joint.sum((1, 2)).tolist(), strict=True):
                sums[next((kind for kind, known in PARTS.items() if word in known), "thing")] += value
            rows += [(k, sentence, kind, value, made.score) for kind, value in sums.items()]
    return pd.DataFrame(rows, columns=["pair", "sentence", "kind", "value", "score"]).assign(model=model.name)


@torch.no_grad()
def told_apart(model: PairModel, n: int = 200, *, seed: int = 0) -> pd.DataFrame:
    """Is a scene nearer to its true sentence than to a false one? With the relation turned, the words exchanged, and one colour changed.

    Returns:
        A row for each scene and question: value (1 if it is), margin (difference of the cosines).
    """
    images, _, facts = two_object_scenes(n, model.size, seed=seed)
    z, texts = F.normalize(model.encode(images)), described(facts)
    true = (z * F.normalize(model.embed_text(texts).to(z))).sum(1)
    other_colour = facts.clone()
    other_colour[:, 0, 2] = (facts[:, 0, 2] + 1) % 8
    turned = [next(text.replace(way, OPPOSITE[way]) for way in OPPOSITE if f" {way} " in text) for text in texts]
    false = {"relation turned": turned, "words exchanged": [exchanged(text) or text for text in texts],
             "another colour": described(other_colour)}  # fmt: skip
    rows = []
    for question, others in false.items():
        margins = true - (z * F.normalize(model.embed_text(others).to(z))).sum(1)
        rows += [(k, question, float(margin > 0), margin) for k, margin in enumerate(margins.tolist())]
    return pd.DataFrame(rows, columns=["pair", "question", "value", "margin"]).assign(model=model.name)


def true_links(model: PairModel, n: int = 8, *, methods: Methods = METHODS, seed: int = 0) -> pd.DataFrame:
    """Are links true, and does the score follow them? In pairs of scenes of two objects of which one is the same.

    A method without a joint map says nothing of links: it is measured as if every cell of one map went with every cell of the other.

    Returns:
        A row for each method (in the column way), pair and metric of links.
    """
    pair = scene_pairs(n, "one_shared", model.size, torch.Generator().manual_seed(seed))
    frames = []
    for label, spec in method_specs(methods).items():
        made = explain(model, pair, spec.name, **spec.params)
        values = measure(model, pair, made, LINKS)
        frames += [pd.DataFrame({"pair": range(n), "metric": m, "value": v.cpu().double()}).assign(way=label) for m, v in values.items()]
    return pd.concat(frames, ignore_index=True).assign(model=model.name)


def beside_others(table: pd.DataFrame) -> pd.DataFrame:
    """The stored run of words and regions beside the methods of others: means over pairs, a row for each model and method; NaN where a
    method does not answer.
    """
    return table.pivot_table("value", ["model", "way"], "question", sort=False)[[*OTHERS]].rename(columns=OTHERS)


def before_teaching(table: pd.DataFrame) -> pd.DataFrame:
    """The answers of `told_apart` as those after no epoch of training on, where no training is stored."""
    names = {"relation turned": "opposite", "words exchanged": "order", "another colour": "colour"}
    means = table.groupby("question", as_index=False)["value"].mean()
    return means.assign(question=means["question"].map(names), epoch=0, way="hard")


def taught(table: pd.DataFrame) -> pd.DataFrame:
    """Answers after each epoch of training on, by question, for the way that has the exchanged captions: one row an epoch."""
    hard = table[table["way"] == "hard"]
    shown = hard[hard["question"].isin(["opposite", "order", "colour", "shape"])]
    return shown.set_index(["epoch", "question"])["value"].unstack()


def framed_gallery(
    n: int = 80, size: int = 64, *, secret: bool = False, seed: int = 0
) -> tuple[Float[Tensor, "n 3 s s"], Bool[Tensor, " n"]]:
    """Scenes of one object of which some have a yellow frame, and which have it.

    Every fourth has it, whatever is in it, as a collection from two sources might; or in `secret` those of one shape, by the seed.
    """
    images, _, labels = scenes(n, size, torch.Generator().manual_seed(seed))
    shape = torch.randint(8, (), generator=torch.Generator().manual_seed(seed))
    has = labels[:, 0] == shape if secret else torch.arange(n) % 4 == 1
    return torch.where(has.view(-1, 1, 1, 1), with_frame(images), images), has


def frames_found(models: Sequence[PairModel], n: int = 4, *, seed: int = 0) -> pd.DataFrame:
    """What a frame does to a search in `framed_gallery`: scenes asked with as they are, and in the frame.

    Returns:
        A row for each model, query, way of asking ("as it is", "in the frame") and question: "results in the frame" (share of five, by
        chance a quarter), "evidence at the border" (mean share over the results; an even map has 0.44 there).
    """
    rows = []
    for model in models:
        images, has = framed_gallery(size=model.size, seed=seed)
        asked = scenes(n, model.size, torch.Generator().manual_seed(seed + 1000))[0]
        for way, queries in (("as it is", asked), ("in the frame", with_frame(asked))):
            for k, query in enumerate(queries.split(1)):
                found = retrieve(model, query, images)
                share = explain_results(model, found).border[: len(found)].mean()
                rows.append((model.name, k, way, "results in the frame", float(has[list(found.indices)].double().mean())))
                rows.append((model.name, k, way, "evidence at the border", float(share)))
    return pd.DataFrame(rows, columns=["model", "pair", "asked", "question", "value"])
