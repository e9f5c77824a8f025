"""How far an explanation moves when the images hardly do."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from xaicl_lib.errors import InputError
from xaicl_lib.methods import methods
from xaicl_lib.metrics.perturbation import check_maps
from xaicl_lib.metrics.registry import Measured, metrics
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.progress import progress
from xaicl_lib.scores import Score, ask, cosine


@metrics.add(
    max_sensitivity={
        "paper": "yeh2019fidelity",
        "where": "Def. 3",
        "higher_is_better": False,
        "low": 0.0,
        "high": 2.0,
        "says": "largest relative change of the maps under small noise, averaged over both",
        "needs": "10 more explanations",
    }
)
def max_sensitivity(
    model: PairModel,
    pair: Pair,
    explanation: Explanation,
    columns: Sequence[str],
    *,
    score: Score = cosine,
    generator: Generator | None = None,
    chunk: int | None = None,
    radius: float = 0.2,
    draws: int = 10,
) -> Measured:
    r"""Largest relative change of the maps under noise, as a mean over the sides.

    Implements Def. 3 of :cite:t:`yeh2019fidelity` with the settings of :cite:t:`sammani2023visualizing`:
    :math:`\max_u \|e(x) - e(x + u)\| / \|e(x)\|` over draws of u, uniform in [-radius, radius] in the model's input space
    and the same on both images. The method is run again as the explanation says it was made, with its own seed, so that
    a method that draws random numbers draws the same ones (but `random_map`, whose map is another one for other pixels). Maps are compared
    at their own resolution.

    Differs: the draws are the same for all pairs, so that a value does not depend on the pairs measured with it.

    Args:
        pair: n pairs whose sides are of one size.
        radius: of the noise, in units of the model's input space.

    Returns:
        Values >= 0, relative to the norm of the map; NaN for a map of zeros.

    Raises:
        InputError: maps made by no method of the registry, sides of two sizes, no draws or a radius under 0.
    """
    check_maps(pair, explanation)
    if len({side.shape for side in pair.sides}) > 1:
        raise InputError(
            f"expected sides of one size, which get the same noise, got {' and '.join(str(tuple(s.shape)) for s in pair.sides)}"
        )
    if draws < 1 or not radius >= 0:
        raise InputError(f"expected at least one draw and a radius of at least 0, got draws={draws}, radius={radius}")
    check_score(model, pair, explanation, score, chunk)
    generator = generator or Generator().manual_seed(0)
    most = explanation.a.new_zeros(len(pair.sides), len(pair))
    for _ in progress(range(draws), "noise"):
        noise = torch.empty(pair.a.shape[1:]).uniform_(-radius, radius, generator=generator)
        again = explain_again(model, pair.shifted(model.pixels_of(noise)), explanation, score, chunk)
        most = torch.maximum(most, torch.stack([_relative_change(*maps) for maps in _sides(explanation, again)]))
    return Measured({"max_sensitivity": most.mean(0)})


def check_score(model: PairModel, pair: Pair, explanation: Explanation, score: Score, chunk: int | None) -> None:
    """Let pass what explains this score, which is what a method that takes one is asked to explain again.

    Raises:
        InputError: another one was explained.
    """
    one_sided = explanation.method in methods and explanation.params.get("transform") is not None
    if one_sided or explanation.method not in methods or not methods[explanation.method].takes("score"):
        return
    s = ask(score, *[model.encode(pixels, side, chunk) for pixels, side in zip(pair.sides, "ab", strict=False)])
    if not torch.allclose(s, explanation.score.to(s), rtol=1e-2, atol=1e-3, equal_nan=True):
        raise InputError(
            f"expected the score that the maps explain, which is {_few(explanation.score)}, got one that is {_few(s)}; "
            "give `measure` the same score="
        )


def _few(values: Tensor) -> str:
    return ", ".join(f"{v:.4g}" for v in values[:3].tolist()) + (", ..." if len(values) > 3 else "")


def explain_again(model: PairModel, pair: Pair, explanation: Explanation, score: Score, chunk: int | None) -> Explanation:
    """An explanation of other images or another model, made as this one was.

    Raises:
        InputError: maps made by no method of the registry.
    """
    if explanation.method not in methods:
        raise InputError(f"expected an explanation of a registered method, which can be run again, got one of {explanation.method!r}")
    own = {name: value for name, value in explanation.params.items() if name != "seed"}
    generator = Generator().manual_seed(explanation.params.get("seed", 0))
    method = methods[explanation.method]
    if method.takes("score"):
        own["score"] = score
    return method(model, pair, generator=generator, chunk=chunk, **own)


def _sides(before: Explanation, after: Explanation) -> list[tuple[Tensor, Tensor]]:
    pairs = zip((before.a, before.b), (after.a, after.b), strict=True)
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def _relative_change(before: Float[Tensor, "n i j"], after: Float[Tensor, "n i j"]) -> Float[Tensor, " n"]:
    scale = before.flatten(1).norm(dim=1)
    return (before - after).flatten(1).norm(dim=1) / torch.where(scale > 0, scale, torch.nan)
