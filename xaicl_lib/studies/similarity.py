"""How alike are a photo and a view of it, and what does each method make of that?"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from xaicl_lib import augment
from xaicl_lib.errors import InputError
from xaicl_lib.images import SAMPLES, open_photo
from xaicl_lib.methods import explain
from xaicl_lib.methods.cam import REDUCTIONS
from xaicl_lib.methods.gradients import BLENDS
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.scores import cosine

# Left, top, width and height of the view, as shares of the photo's; a negative width mirrors.
VIEW = (0.15, 0.15, -0.7, 0.7)


def two_views(source: Any, size: PairModel | int, *, light: float = 1.0) -> Pair:
    """Photos beside a view of each: its middle, mirrored, of so much of its light.

    Args:
        source: as for `Pair.open`; None for all sample photos.
        size: side in pixels, or the model that is asked.
        light: what the pixels of the view are multiplied by.

    Raises:
        InputError: no photo.
    """
    photos = open_photo(list(SAMPLES) if source is None else source, size if isinstance(size, int) else size.size)
    view = augment.resized_crop(photos, torch.tensor(VIEW).expand(len(photos), 4), photos.shape[-1])
    return Pair(photos, view if light == 1 else augment.brightness(view, light))


def view_scores(model: PairModel, *, light: float = 0.7) -> pd.DataFrame:
    """The score of every sample photo (rows) with a view of every other (columns), as `two_views` makes it."""
    names = list(SAMPLES)
    z_a, z_b = (model.encode(images, side) for side, images in zip("ab", two_views(None, model, light=light).sides, strict=True))
    return pd.DataFrame([cosine(z.expand_as(z_b), z_b).tolist() for z in z_a], names, names)


def explained_by_all(model: PairModel, pair: Pair, *, seed: int = 0, full: bool = False) -> list[Explanation]:
    """A pair explained by every method but conditional occlusion, gradients both plain and guided; `full` takes more noisy copies."""
    few = {} if full else {"samples": 20}
    gradients = {"input_x_gradient": {}, "smooth_grad": few, "averaged_transforms": {}}
    guided = [(name, {"guided": guided, **params}) for name, params in gradients.items() for guided in (False, True)]
    plain = ("grad_cam", "interaction_cam", "deep_similarity", "integrated_jacobians", "random_map", "edges")
    asked: list[tuple[str, dict[str, Any]]] = [("pairwise_occlusion", {}), *guided, *((name, {}) for name in plain)]
    return [explained(model, pair, name, seed=seed, **params) for name, params in asked]


def explained(model: PairModel, pair: Pair, method: str, *, seed: int = 0, **params: Any) -> Explanation:
    """`xaicl_lib.explain` with the random numbers of a seed."""
    return explain(model, pair, method, generator=Generator().manual_seed(seed), **params)


def explained_with_itself(model: PairModel, pair: Pair) -> tuple[Explanation, str]:
    """Why side a is like itself by Grad-CAM, and what the library warns of when it is asked that."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = explain(model, Pair(pair.a, pair.a), "grad_cam")
    return made, " ".join(str(one.message) for one in caught)


@torch.no_grad()
def joint_activations(model: PairModel, pair: Pair, reduction: str = "mean") -> pd.DataFrame:
    """What Interaction-CAM multiplies, of the first pair: a row for each channel with a, b (its reduced activations) and joint = a b.

    Reductions are those of `interaction_cam`.
    """
    maps = model.features([model.normalize(pixels) for pixels in pair[0].sides])
    a, b = (REDUCTIONS[reduction](f)[0].cpu() for f in maps)  # (c,) each
    return pd.DataFrame({"a": a, "b": b, "joint": a * b}).rename_axis("channel")


def common_channels(activations: Mapping[str, pd.DataFrame], share: float = 0.1) -> pd.DataFrame:
    """How many of the strongest channels both images have in common, and where the strongest products come from.

    So large a `share` of the channels is called strong.

    Returns:
        A row for each pair: strong (channels that are so called), strong in both, by chance (expected of two unrelated images), and of the
        strong products how many are strong in both, in one and in neither.
    """
    rows = {}
    for name, table in activations.items():
        k = round(share * len(table))
        strong = pd.DataFrame({column: table[column].rank(ascending=False, method="first") <= k for column in table})
        sides = strong.loc[strong["joint"], ["a", "b"]].sum(axis=1)
        kinds = {f"products: strong in {word}": int((sides == n).sum()) for n, word in ((2, "both"), (1, "one"), (0, "neither"))}
        rows[name] = {"strong": k, "strong in both": int((strong["a"] & strong["b"]).sum()), "by chance": k * k / len(table), **kinds}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("pair")


@dataclass(frozen=True)
class Blends:
    """Averaged Transforms of one pair, blend by blend."""

    image: Float[Tensor, "3 h w"]  #: image a, in [0, 1]
    pictures: Float[Tensor, "k 3 h w"]  #: the blends, with more and more of image b
    own: Float[Tensor, "k h w"]  #: max_c |x_a * gradient of a blend's score / 9|, of one blend alone
    so_far: Float[Tensor, "k h w"]  #: the same of the gradients up to that blend, added; the last is the method's map of side a
    #: a row for each blend, with lambda, score s(x_a, blend), and adds: the share of the whole sum that lies along its gradient; shares add
    #: up to 1, and one below 0 works against the others
    table: pd.DataFrame


def along_blends(model: PairModel, pair: Pair) -> Blends:
    """What each blend adds to the map that Averaged Transforms draws of side a of the first pair.

    Raises:
        InputError: no side b, or one of another size.
    """
    if pair.b is None or pair.a.shape != pair.b.shape:
        raise InputError("expected two sides of one size to blend, got " + ("one side" if pair.b is None else "two sizes"))
    a, b = pair.a[:1].to(model.device), pair.b[:1].to(model.device)
    share = a.new_tensor(BLENDS).view(-1, 1, 1, 1)
    pictures = share * a + (1 - share) * b
    x = model.normalize(a).expand_as(pictures).clone().requires_grad_()
    s = cosine(model.embed_a(x), model.embed_b(model.normalize(pictures)))
    (gradients,) = torch.autograd.grad(s.sum(), x)
    parts = x.detach() * gradients / len(BLENDS)  # (k, 3, h, w)
    whole = parts.sum(0)
    adds = (parts * whole).sum((1, 2, 3)) / whole.square().sum()
    table = pd.DataFrame({"lambda": BLENDS, "score": s.tolist(), "adds": adds.tolist()})
    return Blends(a[0].cpu(), pictures.cpu(), parts.abs().amax(1).cpu(), parts.cumsum(0).abs().amax(1).cpu(), table)


# Three channels (rows) and three cells (columns), small enough for pencil and paper.
_TOY = {
    "F_a": [[1, 0.5, 0], [0, 0.5, 1], [0, 1, 1]],
    "F_b": [[0, 1, 0], [0.5, 0, 0], [1, 0, 0]],
    "G_a": [[2, 0, 0], [0, 1, 1], [-1, -1, 1]],
    "G_b": [[1, 0, 0], [0, 2, 0], [0, 1, -1]],
}


def interaction_by_hand() -> dict[str, pd.DataFrame]:
    """Interaction-CAM of side a in a toy of three channels and three cells, with the maximum as its reduction, step by step.

    Returns:
        By name: the features F_a, F_b and gradients G_a, G_b (channels by cells), X (channels of a by those of b), g_a (the largest of
        each row of X), h (joint activations), and M_a, the maps by g_a and, without gradient interaction, by G_a.
    """
    f_a, f_b, g_a, g_b = (torch.tensor(values) * 1.0 for values in _TOY.values())
    x = g_a @ g_b.T
    strongest, joint = x.amax(1, keepdim=True), f_a.amax(1, keepdim=True) * f_b.amax(1, keepdim=True)
    maps = torch.stack([(f_a * joint * g.relu()).sum(0) for g in (strongest, g_a)])
    cells = ["1", "2", "3"]
    channels, others = ([f"{letter} = {k}" for k in cells] for letter in "de")
    made = {name: pd.DataFrame(values, others if name.endswith("b") else channels, cells) for name, values in _TOY.items()}
    made |= {"X": pd.DataFrame(x.numpy(), channels, cells)}
    made |= {name: pd.DataFrame(v.numpy(), channels, [name]) for name, v in (("g_a", strongest), ("h", joint))}
    return made | {"M_a": pd.DataFrame(maps.numpy(), ["g_a", "G_a"], cells)}
