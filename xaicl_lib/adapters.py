"""Bridges outward: the score of a pair in the forms that captum, pytorch-grad-cam and Quantus ask for.

None of the three knows a pair. Captum takes several inputs, so both sides become inputs; the other two look at one image,
so side b is held fixed and side a is explained. Their packages are imported only where used (extra `adapters`).
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from xaicl_lib.errors import InputError
from xaicl_lib.methods import methods
from xaicl_lib.methods.registry import Method
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.scores import Score, cosine
from xaicl_lib.wrapping import rows


def captum_forward(model: PairModel, score: Score = cosine) -> Callable[..., Tensor]:
    """The score as captum's `forward_func(x_a, x_b) -> (n,)` of images in the model's input space; no target is needed.

    With one input the question is one-sided: `score` then gets None for side b.
    """

    def forward(x_a: Tensor, x_b: Tensor | None = None) -> Tensor:
        fast = model.fast
        return score(fast.embed_a(x_a), None if x_b is None else fast.embed_b(x_b))

    return forward


def captum_explain(
    model: PairModel, pair: Pair, attribution: type, *, score: Score = cosine, generator: torch.Generator | None = None, **options: Any
) -> Explanation:
    """A captum method on a pair: `captum_explain(model, pair, captum.attr.IntegratedGradients, n_steps=50)`.

    Args:
        model: any model.
        pair: n pairs; without side b for one-sided scores.
        attribution: a class of `captum.attr` whose constructor takes a forward function (IntegratedGradients, GradientShap,
            Saliency, InputXGradient, Occlusion, ...); DeepLift and its like want a module and do not fit.
        score: what is explained.
        generator: its seed is that of captum's random numbers, which come from the global generators of torch and numpy; these are put
            back as they were. None is seed 0.
        options: for its `attribute`; tensors for both sides are given as tuples, as captum has it.

    Returns:
        Signed maps of one value per pixel, the channels added up, in units of the score for methods that are complete.
    """
    sides = tuple(model.normalize(side).requires_grad_() for side in pair.sides)
    forward = captum_forward(model, score)
    with seeded_globally(generator.initial_seed() if generator else 0):
        attributions = attribution(forward).attribute(sides, **options)
    maps = [side.detach().sum(1) for side in attributions]
    with torch.no_grad():
        s = forward(*sides)
    return Explanation(maps[0], maps[1] if len(maps) > 1 else None, s, method=f"captum.{attribution.__name__}", params=options)


@contextlib.contextmanager
def seeded_globally(seed: int) -> Iterator[None]:
    """Within, the global generators of torch and numpy begin anew at a seed; afterwards they go on where they were."""
    before = np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            np.random.set_state(before)


class SideA(nn.Module):
    """The model as a network of one image: side b is fixed, the output (n, 1) is the score.

    Args:
        model: any model.
        b: (1, c, h, w) or (n, c, h, w) pixels in [0, 1] of the other side.
        score: what the output is.

    Input:
        (n, c, h, w) images in the model's input space.
    """

    def __init__(self, model: PairModel, b: Float[Tensor, "n c h w"], score: Score = cosine) -> None:
        super().__init__()
        self.features, self.head, self.score = model.features_a, model.head_a, score
        with torch.no_grad():
            self.register_buffer("z_b", model.embed_b(model.normalize(b)))
        self.eval()

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1"]:
        """Scores of the images with side b."""
        z_a = rows(self.head(self.features(x.clone())), len(x))
        return self.score(z_a, self.z_b.expand(len(z_a), -1)).unsqueeze(1)  # type: ignore[operator]


class ScoreTarget:
    """The score as a target of pytorch-grad-cam, which calls it with the embedding (d,) of one image of side a.

    Args:
        model: any model; give `nn.Sequential(model.features_a, model.head_a)` to the CAM, and images that require gradients, for
            the weights do not.
        b: (1, c, h, w) pixels in [0, 1] of the other side.
        score: what is explained.
    """

    def __init__(self, model: PairModel, b: Float[Tensor, "1 c h w"], score: Score = cosine) -> None:
        if len(b) != 1:
            raise InputError(f"expected one image of side b for a target, got {len(b)}; make one target per pair")
        self.score = score
        with torch.no_grad():
            self.z_b = model.embed_b(model.normalize(b))

    def __call__(self, z_a: Float[Tensor, " d"]) -> Float[Tensor, ""]:
        return self.score(rows(z_a.unsqueeze(0), 1), self.z_b.to(z_a))[0]


class Evidence(nn.Module):
    """The model as a network of one image with an output for each one-sided score, for libraries that know classes.

    Args:
        model: any model.
        scores: one for each class, as those of a `xaicl_lib.studies.quality.Classifier`.
        temperature: that the outputs are divided by.

    Input:
        (n, c, h, w) images in the model's input space.
    """

    def __init__(self, model: PairModel, scores: Sequence[Score], temperature: float = 1.0) -> None:
        super().__init__()
        self.features, self.head, self.scores, self.temperature = model.features_a, model.head_a, scores, temperature
        self.eval()

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """The evidence for each class."""
        z = rows(self.head(self.features(x.clone())), len(x))
        return torch.stack([score(z, None) for score in self.scores], 1) / self.temperature


def quantus_explain_func(
    model: PairModel, against: Float[Tensor, "n c h w"] | Sequence[Score], method: str | Method, **params: Any
) -> Callable[..., np.ndarray]:
    """A method of ours as Quantus' `explain_func`.

    Args:
        model: any model.
        against: for metrics on `SideA(model, b)` with target class 0, pixels in [0, 1] of the other side: one image, or as many as Quantus
            will pass. For metrics on `Evidence(model, scores)` with a class for each image as target, one-sided scores, one for each class.
        method: a registered method, or its name.
        params: its parameters.

    Returns:
        A function (model, inputs, targets, **kwargs) -> (n, 1, h, w) that explains inputs in the model's input space, the
        map of side a resized to them. Inputs that a metric's noise took out of the range of pixels are clamped to it;
        Quantus' own `model` argument is not used.
    """
    pair_model, asked = model, methods[method] if isinstance(method, str) else method  # Quantus passes its own `model` by that name

    def explain_func(model: object, inputs: Any, targets: Any = None, **_: Any) -> np.ndarray:
        x = torch.as_tensor(np.asarray(inputs), dtype=pair_model.dtype)
        pixels, maps = pair_model.denormalize(x), np.empty((len(x), 1, *x.shape[2:]), dtype=np.float32)
        if isinstance(against, Tensor):
            made = [(slice(None), asked(pair_model, Pair(pixels, against.to(x).expand(len(x), -1, -1, -1)), **params))]
        else:
            kinds = np.broadcast_to(np.asarray(targets), (len(x),))
            of_kinds = [(kinds == kind, against[int(kind)]) for kind in np.unique(kinds)]
            made = [(own, asked(pair_model, Pair(pixels[own]), score=score, **params)) for own, score in of_kinds]
        for rows_, one in made:
            maps[rows_] = one.maps((x.shape[2], x.shape[3]))[0].unsqueeze(1).cpu().numpy()
        return maps

    return explain_func
