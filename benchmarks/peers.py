"""Methods of others on pairs with known evidence, through their own packages or written anew: rows of the leaderboard.

    pip install captum xaitk-saliency
    python -m xaicl_lib benchmark benchmarks.peers:captum_occlusion -o results/benchmark/captum_occlusion.json

from the folder above this one, and likewise for each function that takes a model and a pair; `--suite shortcuts-v1` for the planted
shortcuts, whose results are in a folder of that name. How a method is called is the first line below its name, and kept in the result with
the versions of its packages.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.func import jvp, vmap

from xaicl_lib import Explanation, Pair, PairModel
from xaicl_lib.adapters import captum_explain
from xaicl_lib.scores import cosine

WINDOW, STRIDE = 18, 4  # pixels of 64: the window of our own occlusion, at twice its stride
POINTS = 50  # on the way from nothing to the pair
CELLS = 8  # along a side, of what is hidden at random, and of links
COALITIONS = 128
MASKS, KEEP, SHARE = 400, 0.5, 0.1
GAMMA = 0.25
AT_ONCE = 64

Method = TypeVar("Method", bound=Callable[..., Any])


def through(*packages: str) -> Callable[[Method], Method]:
    """Say which packages a method comes through, whose versions go to its result."""

    def tell(method: Method) -> Method:
        method.packages = packages  # type: ignore[attr-defined]
        return method

    return tell


@through("captum")
def captum_occlusion(model: PairModel, pair: Pair) -> Explanation:
    """Occlusion of the cosine of each side, the other as it is: windows of 18 pixels, moved by 4, filled with the mean colour."""
    from captum.attr import Occlusion

    return _each_side(model, pair, Occlusion, sliding_window_shapes=(3, WINDOW, WINDOW), strides=(3, STRIDE, STRIDE))


@through("captum")
def captum_integrated_gradients(model: PairModel, pair: Pair) -> Explanation:
    """IntegratedGradients of the cosine as a function of both sides: 50 steps from the mean colour on both, channels added up."""
    from captum.attr import IntegratedGradients

    return captum_explain(model, pair, IntegratedGradients, n_steps=POINTS)


@through("captum")
def captum_gradient_shap(model: PairModel, pair: Pair) -> Explanation:
    """GradientShap of the cosine as a function of both sides: 50 points on the way from the mean colour on both, channels added up."""
    from captum.attr import GradientShap

    return captum_explain(model, pair, GradientShap, baselines=_nothing(model, pair), n_samples=POINTS)


@through("captum", "scikit-learn")
def captum_kernel_shap(model: PairModel, pair: Pair) -> Explanation:
    """KernelShap of the cosine of each side, the other as it is: 128 coalitions of 64 squares; those left out have the mean colour."""
    from captum.attr import KernelShap

    squares = torch.arange(CELLS**2).view(1, 1, CELLS, CELLS)
    for axis in (2, 3):
        squares = squares.repeat_interleave(model.size // CELLS, axis)
    made = _each_side(model, pair, KernelShap, feature_mask=squares, n_samples=COALITIONS)
    return replace(made, a=F.adaptive_avg_pool2d(made.a, CELLS), b=F.adaptive_avg_pool2d(made.b, CELLS))


def _each_side(model: PairModel, pair: Pair, attribution: type, **options: Any) -> Explanation:
    """What a method says of one side, whose score is the cosine with the other one, and then of that one."""
    made = []
    for side, other in (pair.sides, pair.sides[::-1]):
        z = model.encode(other)

        def score(given: Tensor, _: Tensor | None, z: Tensor = z) -> Tensor:
            return cosine(given, z.expand(len(given), -1))

        made.append(captum_explain(model, Pair(side), attribution, score=score, perturbations_per_eval=AT_ONCE, **options))
    return Explanation(made[0].a, made[1].a, made[0].score)


def _nothing(model: PairModel, pair: Pair) -> tuple[Tensor, ...]:
    return tuple(torch.zeros_like(model.normalize(side)) for side in pair.sides)


@through("xaitk-saliency")
def xaitk_sbsm(model: PairModel, pair: Pair) -> Explanation:
    """SBSMStack by the cosine, each side against the other: windows of 18 pixels, moved by 4, filled with the mean colour."""
    from smqtk_descriptors.interfaces.image_descriptor_generator import ImageDescriptorGenerator
    from xaitk_saliency.impls.gen_image_similarity_blackbox_sal.sbsm import SBSMStack

    class Embeddings(ImageDescriptorGenerator):
        def generate_arrays_from_images(self, img_mat_iter: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
            images = torch.from_numpy(np.stack(list(img_mat_iter))).permute(0, 3, 1, 2) / 255
            yield from model.encode(images).double().numpy()

        def get_config(self) -> dict[str, Any]:
            return {}

    a, b = ((side[0] * 255).round().byte().permute(1, 2, 0).numpy() for side in pair.sides)
    fill = (model.denormalize(torch.zeros(1, 3, 1, 1)).flatten() * 255).round().int().tolist()
    stack = SBSMStack((WINDOW, WINDOW), (STRIDE, STRIDE), "cosine", fill=fill)
    maps = [torch.from_numpy(stack(one, [other], Embeddings())) for one, other in ((a, b), (b, a))]  # (1, h, w)
    return Explanation(maps[0], maps[1], cosine(model.encode(pair.a), model.encode(pair.sides[1], "b")))


@torch.no_grad()
def distance_explainer(model: PairModel, pair: Pair) -> Explanation:
    """The idea, written anew: mean of the tenth of 400 random masks that leave the sides nearest, less that of the tenth farthest."""
    whole, maps = [model.encode(side, name) for side, name in zip(pair.sides, "ab", strict=True)], []
    generator, count = Generator().manual_seed(0), round(SHARE * MASKS)
    for k, x in enumerate(map(model.normalize, pair.sides)):
        masks = _soft_masks(x.shape[2], generator)
        z = model.encode_inputs((x * part for part in masks.split(AT_ONCE)), "ab"[k])
        nearest = cosine(z, whole[1 - k].expand(len(z), -1)).argsort(descending=True)
        maps.append(masks[nearest[:count]].mean(0) - masks[nearest[-count:]].mean(0))
    return Explanation(maps[0], maps[1], cosine(*whole))


def _soft_masks(size: int, generator: Generator) -> Tensor:
    """Small grids of ones and zeros, enlarged, and moved by a part of a cell: (masks, 1, size, size)."""
    cell = size // CELLS
    grids = (torch.rand(MASKS, 1, CELLS + 1, CELLS + 1, generator=generator) < KEEP).float()
    large = F.interpolate(grids, size=size + cell, mode="bilinear", align_corners=False)
    moves = torch.randint(cell, (MASKS, 2), generator=generator).tolist()
    return torch.stack([mask[:, i : i + size, j : j + size] for mask, (i, j) in zip(large, moves, strict=True)])


def bilrp(model: PairModel, pair: Pair) -> Explanation:
    """BiLRP of the cosine, number by number of the embedding: gamma of 0.25 in all convolutions but the first, elsewhere 0."""
    fast = model.fast  # batch norms are folded into what is before them
    (a, length_a), (b, length_b) = (
        _relevance(fast.normalize(side), features, head)
        for side, features, head in zip(pair.sides, (fast.features_a, fast.features_b), (fast.head_a, fast.head_b), strict=True)
    )
    joint = (a.T @ b / (length_a * length_b)).view(1, CELLS, CELLS, CELLS, CELLS)
    return Explanation(joint.sum((3, 4)), joint.sum((1, 2)), joint.sum((1, 2, 3, 4)), joint=joint)


@torch.no_grad()
def _relevance(x: Tensor, features: nn.Module, head: nn.Module) -> tuple[Tensor, Tensor]:
    """Of the cells of an image, for each number of its embedding (d, cells), and the length of the embedding.

    Inputs times gradients, summed over a cell, are the derivative along what the image holds there: a direction for each cell, which are
    fewer than numbers of the embedding.
    """
    inside = torch.eye(CELLS**2).view(-1, 1, 1, CELLS, CELLS)
    for axis in (3, 4):
        inside = inside.repeat_interleave(x.shape[axis - 1] // CELLS, axis)
    with _gamma_rule(features):
        z, along = vmap(lambda part: jvp(lambda y: head(features(y)), (x,), (part,)), out_dims=(None, 0))(x * inside)
    return along.squeeze(1).T, z.norm()


@contextmanager
def _gamma_rule(features: nn.Module) -> Iterator[None]:
    """Within, derivatives share out by the rule what positive outputs of convolutions are worth; values stay as they are."""

    def share_out(layer: Any, given: tuple[Tensor], out: Tensor) -> Tensor:
        favoured = layer._conv_forward(given[0], *(p + GAMMA * p.clamp_min(0) for p in (layer.weight, layer.bias)))
        ratio = torch.where(out > 0, out / favoured, 0).detach()  # inputs are >= 0, so that favoured >= out there
        return torch.where(out > 0, favoured * ratio, out)

    convolutions = [layer for layer in features.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_hook(share_out) for layer in convolutions[1:]]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
