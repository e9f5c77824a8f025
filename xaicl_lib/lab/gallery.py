"""What the book's lab page shows before anything is computed in the browser: pictures, models, methods, and results made here by torch.

The page's scripts are in `lab/static/page`, those that compute in the browser in `lab/static/engine`. Numbers travel as JSON: maps
quantised to bytes for the eye, whole for the page's check.
"""

import base64
import json
import shutil
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xaicl_lib import augment
from xaicl_lib.data.photos import photo_mosaics
from xaicl_lib.data.scenes import scene_pairs
from xaicl_lib.data.stickers import stickered_pairs
from xaicl_lib.images import open_photo
from xaicl_lib.lab.export import METHODS, export
from xaicl_lib.methods import explain, methods
from xaicl_lib.methods.registry import Method
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.scores import cosine
from xaicl_lib.zoo import load_model, model_card

STATIC = Path(__file__).parent / "static"
STICKERS_SEED = 36  # of a pair whose object no sticker hides
SHOWN = 448  # pixels a side of a picture for the eye; the model sees its own size
VIEW = torch.tensor([[0.15, 0.15, -0.7, 0.7]])  # left, top, width, height of a crop; the negative width mirrors
CLOSE = torch.tensor([[0.3, 0.22, 0.5, 0.5]])


@dataclass(frozen=True)
class _Picture:
    """A picture of the gallery: its title, `photo` or `scene`, and how it is drawn at a size, (1, 3, s, s) in [0, 1]."""

    title: str
    kind: str
    draw: Callable[[int], Tensor]


def _sample(name: str) -> Callable[[int], Tensor]:
    return lambda size: open_photo(name, size)


def _view(name: str, box: Tensor, brightness: float) -> Callable[[int], Tensor]:
    return lambda size: augment.brightness(augment.resized_crop(open_photo(name, size), box, size), brightness)


def _scene(kind: str, side: int, seed: int) -> Callable[[int], Tensor]:
    return lambda size: scene_pairs(1, kind, size, torch.Generator().manual_seed(seed)).sides[side]


def _mosaic(side: int, seed: int) -> Callable[[int], Tensor]:
    return lambda size: photo_mosaics(1, size, generator=torch.Generator().manual_seed(seed)).sides[side]


def _stickered(carried: str, side: int, seed: int) -> Callable[[int], Tensor]:
    return lambda size: stickered_pairs(1, carried, size=size, seed=seed).pair.sides[side]


def _scenes(name: str, kind: str, seed: int, titles: tuple[str, str]) -> dict[str, _Picture]:
    return {f"{name}_{'ab'[k]}": _Picture(title, "scene", _scene(kind, k, seed)) for k, title in enumerate(titles)}


PICTURES: dict[str, _Picture] = {
    "cat": _Picture("a cat", "photo", _sample("cat")),
    "cat_view": _Picture("its face, mirrored and darkened", "photo", _view("cat", VIEW, 0.7)),
    "flower": _Picture("a flower", "photo", _sample("flower")),
    "flower_close": _Picture("the flower from nearby", "photo", _view("flower", CLOSE, 1.1)),
    "astronaut": _Picture("an astronaut", "photo", _sample("astronaut")),
    "rocket": _Picture("a rocket", "photo", _sample("rocket")),
    "temple": _Picture("a temple", "photo", _sample("temple")),
    "coffee": _Picture("a cup of coffee", "photo", _sample("coffee")),
    "mosaic_a": _Picture("four photos", "photo", _mosaic(0, 3)),
    "mosaic_b": _Picture("four photos, one the same", "photo", _mosaic(1, 3)),
    **_scenes("object", "same_object", 11, ("a drawn scene", "the same object elsewhere")),
    **_scenes("two", "one_shared", 9, ("two objects", "one of them and another")),
    **_scenes("ground", "same_background", 6, ("an object on a ground", "another on the same ground")),
    **_scenes("shape", "same_shape", 10, ("a shape", "the shape in another dress")),
    "sticker_a": _Picture("an object and a sticker", "scene", _stickered("same", 0, STICKERS_SEED)),
    "sticker_b": _Picture("the object elsewhere, the same sticker", "scene", _stickered("same", 1, STICKERS_SEED)),
    "sticker_other": _Picture("the object elsewhere, another sticker", "scene", _stickered("another", 1, STICKERS_SEED)),
}
PAIRS: tuple[tuple[str, str, str, str], ...] = (  # a, b, title, what to look for
    ("cat", "cat_view", "A photo and a view of it", "Which parts of the cat tell that it is the same one?"),
    ("mosaic_a", "mosaic_b", "One photo in common", "Four photos on either side, one is the same. Do the maps find it?"),
    ("flower", "flower_close", "From afar and from nearby", "What stays recognisable when the flower comes closer?"),
    ("astronaut", "rocket", "Two different photos", "Little is shared. What does a map show of a similarity that is hardly there?"),
    ("temple", "coffee", "Nothing in common", "A map is drawn all the same. Look at its largest value before you believe it."),
    ("object_a", "object_b", "The same object elsewhere", "Only the object is shared, not its place and not its ground."),
    ("two_a", "two_b", "Two objects, one shared", "Which object is the one that both scenes have?"),
    ("ground_a", "ground_b", "Only the background", "The objects differ in everything. Does the model look behind them?"),
    ("shape_a", "shape_b", "Only the shape", "Same shape, other colour, texture and size. Is a shape enough?"),
    (
        "sticker_a",
        "sticker_b",
        "The same sticker",
        "Both pictures wear the same sticker. Does the model look at the object or at the sticker?",
    ),
    ("sticker_a", "sticker_other", "Another sticker", "The same pictures, but for the sticker of one. Does the similarity fall?"),
)
MODELS: dict[str, tuple[str, str]] = {  # name: title, how it learned
    "simclr": ("SimCLR, photos", "learned from photos without labels to give two views of one photo the same embedding"),
    "barlow_twins": ("Barlow Twins, photos", "learned from photos without labels, by making the parts of an embedding independent"),
    "supervised": ("Supervised, photos", "learned to name ten classes of photos"),
    "moco_v3": (
        "MoCo v3, photos",
        "is a transformer that learned from photos without labels; A and B go through two networks, of which one follows the other",
    ),
    "dino_student": (
        "DINO student, photos",
        "is a transformer with registers that learned to say of views of photos what SimCLR says of them",
    ),
    "scenes_simclr": ("SimCLR, scenes", "learned from drawn scenes without labels"),
    "scenes_supervised": ("Supervised, scenes", "learned to name the shape in drawn scenes"),
    "scenes_clip": ("Image and text, scenes", "learned from drawn scenes and the sentences that describe them"),
    "stickers_95": ("Planted shortcut", "learned from drawn scenes, of which two of one object wore the same sticker nearly always"),
    "stickers_0": ("Shortcut repaired", "learned from the same scenes, on which stickers said nothing of the object"),
    **{
        f"horse_{k}": (f"Horse {k.upper()}", "learned from drawn scenes with stickers; one of four horses looks at the sticker")
        for k in "abcd"
    },
}
TITLES = {
    "interaction_cam": "Interaction-CAM",
    "grad_cam": "Grad-CAM",
    "input_x_gradient": "Input \u00d7 gradient",
    "smooth_grad": "Smooth-Grad",
    "rise": "RISE",
    "averaged_transforms": "Averaged Transforms",
    "deep_similarity": "Deep Similarity",
    "integrated_jacobians": "Integrated Jacobians",
    "legrad": "LeGrad",
}
# The menu: what the browser can compute itself, on a reader's own pictures too; first what is best to begin with.
ORDER = ("interaction_cam", "conditional_occlusion", "deep_similarity", "integrated_jacobians", "grad_cam", "averaged_transforms",
         "smooth_grad", "input_x_gradient", "pairwise_occlusion", "attention_rollout", "legrad", "edges", "random_map")  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {  # how a reader sets them; other parameters stay at their defaults
    "window": {"title": "Window", "unit": "pixels", "low": 4, "high": 48, "step": 1, "share": 64 / 224},
    "stride": {"title": "Step between places", "unit": "pixels", "low": 1, "high": 24, "step": 1, "share": 8 / 224},
    "masks": {"title": "Rectangles", "low": 10, "high": 400, "step": 10},
    "samples": {"title": "Noisy copies", "low": 1, "high": 100, "step": 1},
    "level": {"title": "Noise, share of the range", "low": 0, "high": 0.5, "step": 0.05},
    "steps": {"title": "Steps of the integral", "low": 1, "high": 32, "step": 1},
    "cells": {"title": "Cells a side", "low": 2, "high": 24, "step": 1},
    "reduction": {"title": "Reduction over the map", "choices": ["mean", "max", "attention"]},
    "gradient_interaction": {"title": "Gradient interaction", "flag": True},
    "guided": {"title": "Guided: only positive gradients", "flag": True},
}
CHECKED: dict[str, tuple[dict[str, Any], float]] = {  # method: parameters, largest relative L2 difference of its maps
    "interaction_cam": ({}, 1e-3),
    "grad_cam": ({}, 1e-3),
    "deep_similarity": ({}, 1e-3),
    "conditional_occlusion": ({"stride": 12}, 1e-3),
    "input_x_gradient": ({}, 3e-2),
    "averaged_transforms": ({}, 3e-2),
}


def menu() -> list[str]:
    """Names of the methods that the browser computes, first what is best to begin with; one that has no place of its own comes last."""
    return [*ORDER, *(name for name in METHODS if name not in ORDER)]


def _write_model(folder: Path, name: str, pairs: int | None = None) -> None:
    """Write what the page shows of one bundled model into a new folder: results of each pair, what to check the browser by, its bundle.

    A number of pairs writes only so many.
    """
    model, chosen = load_model(name, "cpu"), _pairs_of(name)[:pairs]
    seen = _seen(model.size)
    for part in ("results", "check", "models"):
        (folder / part).mkdir(parents=True)
    made = [f"{a}--{b}" for a, b, *_ in chosen]  # the others the browser computes
    export(model, folder / "models" / name)
    card = json.loads((folder / "models" / name / "model.json").read_text(encoding="utf-8"))
    able = [method for method in menu() if method in card["methods"] or method not in METHODS]
    _write_results(folder / "results", model, able, chosen, seen)
    _write_json(folder / "check" / f"{name}.json", _check(model, chosen[0], seen))
    _write_json(
        folder / "entry.json", {**_model_entry(name, model, seen), "methods": card["methods"], "guided": card["guided"], "made": made}
    )


def _pairs_of(name: str) -> tuple[tuple[str, str, str, str], ...]:
    """Pairs whose results are made for a model: those with stickers for one that learned from stickers, else all."""
    return tuple(pair for pair in PAIRS if pair[0].startswith("sticker")) if "backbone" in model_card(name) else PAIRS


def write_lab(static: Path, made: Sequence[Path], pairs: int | None = None) -> None:
    """Put the lab's scripts, pictures, results and models into the folder `static`.

    A folder of `_write_model` for each model is in the order of the menu, of as many pairs as there.
    """
    shutil.copytree(STATIC, static, dirs_exist_ok=True)
    gallery, entries = static / "gallery", [json.loads((folder / "entry.json").read_text(encoding="utf-8")) for folder in made]
    (gallery / "pictures").mkdir(parents=True, exist_ok=True)
    for folder in made:
        for part, target in (("results", gallery), ("check", gallery), ("models", static)):
            shutil.copytree(folder / part, target / part, dirs_exist_ok=True)
    for size in {entry["size"] for entry in entries}:
        _write_pictures(gallery / "pictures", size)
    index = {
        "pictures": {name: {"title": p.title, "kind": p.kind} for name, p in PICTURES.items()},
        "pairs": [dict(zip(("a", "b", "title", "ask"), pair, strict=True)) for pair in PAIRS[:pairs]],
        "models": entries,
        "methods": [method_entry(methods[name]) for name in menu()],
        "torch": torch.__version__,
    }
    _write_json(gallery / "index.json", index)


def main() -> int:
    """Write one model in a process of its own: its name and the folder are the arguments."""
    name, folder = sys.argv[1:]
    _write_model(Path(folder), name)
    return 0


def seen(name: str, size: int) -> Tensor:
    """A picture as a model of that size sees it, (1, 3, s, s): what is left of it in a PNG."""
    return (PICTURES[name].draw(size) * 255).round().byte().float() / 255


def _seen(size: int) -> dict[str, Tensor]:
    return {name: seen(name, size) for name in PICTURES}


def _write_pictures(folder: Path, size: int) -> None:
    """Each picture as a PNG of exactly what a model of that size sees and a JPEG for the eye."""
    for name, pixels in _seen(size).items():
        _image(pixels).save(folder / f"{name}-{size}.png", optimize=True)
        if not (folder / f"{name}.jpg").is_file():
            _image(PICTURES[name].draw(SHOWN)).save(folder / f"{name}.jpg", quality=85, optimize=True)


def _image(pixels: Tensor) -> Image.Image:
    return Image.fromarray((pixels[0] * 255).round().byte().permute(1, 2, 0).numpy())


def _write_results(folder: Path, model: PairModel, able: Sequence[str], pairs: Iterable[tuple[str, ...]], seen: dict[str, Tensor]) -> None:
    for a, b, *_ in pairs:
        pair = Pair(seen[a], seen[b])
        made = {method: packed(_explain(model, pair, method)) for method in able}
        _write_json(folder / f"{a}--{b}--{model.name}.json", made)


def _explain(model: PairModel, pair: Pair, method: str, **params: Any) -> Explanation:
    return explain(model, pair, method, generator=torch.Generator().manual_seed(0), **params)


def packed(explanation: Explanation) -> dict[str, Any]:
    """The explanation of one pair in bytes: a value is (byte - zero) * step, with one step for both maps and another for `joint`.

    Zero is exactly a byte, so that what is nothing stays nothing; the largest value of either map is exact, too.
    """
    assert explanation.b is not None  # the lab shows pairs
    maps = _quantised([explanation.a[0], explanation.b[0]])
    made = {"score": explanation.score.item(), "zero": maps[0], "step": maps[1], "a": maps[2][0], "b": maps[2][1]}
    if explanation.joint is not None:
        zero, step, (joint,) = _quantised([explanation.joint[0]])
        made["joint"] = {"zero": zero, "step": step, **joint}
    return made


def _quantised(tensors: list[Tensor]) -> tuple[int, float, list[dict[str, Any]]]:
    """(zero, step, each tensor as shape and base64 of bytes) on one scale."""
    limit = max(float(t.abs().max()) for t in tensors) or 1.0
    zero = 127 if any(bool((t < 0).any()) for t in tensors) else 0
    step = limit / (127 if zero else 255)
    shown = [(t.double() / step).round().add(zero).byte().numpy() for t in tensors]
    return (
        zero,
        step,
        [{"shape": list(t.shape), "bytes": base64.b64encode(b.tobytes()).decode()} for t, b in zip(tensors, shown, strict=True)],
    )


def _check(model: PairModel, pair: tuple[str, ...], seen: dict[str, Tensor]) -> dict[str, Any]:
    """Torch's own results of one pair, unrounded, for the page to compare with."""
    a, b = pair[:2]
    made = []
    for method, (params, tolerance) in CHECKED.items():
        e = _explain(model, Pair(seen[a], seen[b]), method, **params)
        assert e.b is not None  # it was a pair
        maps = {side: {"shape": list(m.shape[1:]), "floats": _floats(m[0])} for side, m in (("a", e.a), ("b", e.b))}
        made.append({"method": method, "options": params, "tolerance": tolerance, "score": e.score.item(), **maps})
    return {"a": a, "b": b, "score_tolerance": 1e-4, "results": made}


def _floats(values: Tensor) -> str:
    return base64.b64encode(values.numpy().astype("<f4").tobytes()).decode()


def _model_entry(name: str, model: PairModel, seen: dict[str, Tensor]) -> dict[str, Any]:
    title, says = MODELS[name]
    card = model_card(name)
    kind = "photo" if card["recipe"].get("data", "photos") == "photos" else "scene"
    typical = _strangers(
        model, [seen[p] for p, picture in PICTURES.items() if picture.kind == kind and not p.startswith(("mosaic", "sticker"))]
    )
    return {
        "name": name,
        "title": title,
        "says": says,
        "kind": kind,
        "size": model.size,
        "parameters": card["parameters"],
        "typical": typical,
    }


def _strangers(model: PairModel, images: list[Tensor]) -> float:
    """Median score of different pictures of a kind: what a similarity is to be compared with."""
    za, zb = (model.encode(torch.cat(images), side) for side in "ab")
    pairs = combinations(range(len(za)), 2) if model.symmetric else permutations(range(len(za)), 2)
    return round(statistics.median(cosine(za[i : i + 1], zb[j : j + 1]).item() for i, j in pairs), 3)


def method_entry(method: Method) -> dict[str, Any]:
    """What the page must know of a method: title, facts, and the options that a reader may set."""
    facts = {key: method.facts[key] for key in ("family", "signed", "symmetric", "gradient", "paper", "where", "cost")}
    options = [{"name": k, "default": v, **OPTIONS[k]} for k, v in method.defaults.items() if k in OPTIONS]
    title = TITLES.get(method.name, method.name.replace("_", " ").capitalize())
    return {"name": method.name, "title": title, "says": method.summary, **facts, "options": options}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, separators=(",", ":"), ensure_ascii=False, default=_plain), encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"no JSON for {type(value).__name__}")
