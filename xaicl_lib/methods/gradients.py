"""Gradient methods: how the score answers to small changes of the pixels, in the model's input space."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from xaicl_lib.errors import InputError, unknown
from xaicl_lib.layers import guided as guided_relus
from xaicl_lib.methods.registry import methods
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.progress import progress
from xaicl_lib.scores import Score, ask, cosine

SAMMANI = {"paper": "sammani2023visualizing", "family": "gradient", "needs": "gradient of the network", "gradient": True}
NOISE = ("smoothgrad", "published")  # rules for the noise's standard deviation
BLENDS = tuple(round(1 - k / 10, 1) for k in range(1, 10))  # 0.9, ..., 0.1


@methods.add(**SAMMANI, where="Sec. III-A1", cost="2 forwards, 2 backwards")
def input_x_gradient(model: PairModel, pair: Pair, *, score: Score = cosine, guided: bool = False) -> Explanation:
    r"""Strength of the score's gradient at each pixel, times the pixel.

    Implements the baseline of Sec. III-A1 of :cite:t:`sammani2023visualizing`:
    :math:`M_a = \max_c |x_a \odot \partial s / \partial x_a|`, and the same for side b.

    Args:
        model: any model; one with ReLUs, if only in its head, for `guided`.
        guided: pass back only positive gradients at every ReLU. Where only the head has ReLUs, as in vision transformers with a
            projection head, only there: what comes back from the features on is the plain gradient of another direction.

    Returns:
        Maps of one value per pixel, >= 0, in units of the score.

    Raises:
        InputError: `guided` on a network without ReLU.
    """
    sides = _sides(model, pair, guided)
    s, gradients = _gradients(model, sides, score, guided)
    maps = [_strength(x, g) for x, g in zip(sides, gradients, strict=True)]
    return Explanation(maps[0], maps[1] if pair.b is not None else None, s)


@methods.add(**SAMMANI, where="Sec. III-A1", cost="100 forwards, 100 backwards", cheap={"samples": 4})
def smooth_grad(
    model: PairModel,
    pair: Pair,
    *,
    score: Score = cosine,
    generator: Generator | None = None,
    chunk: int | None = None,
    samples: int = 50,
    level: float = 0.15,
    sigma: float | str = "smoothgrad",
    guided: bool = False,
) -> Explanation:
    r"""Strength of the gradient averaged over noisy copies of the pair, times the pixel.

    Implements Smooth-Grad (:cite:t:`smilkov2017smoothgrad`) for pairs, Sec. III-A1 of :cite:t:`sammani2023visualizing`,
    with the *same* noise on both images:
    :math:`M_a = \max_c |x_a \odot \frac{1}{K} \sum_k \nabla_{x_a} s(x_a + \epsilon_k, x_b + \epsilon_k)|`.

    Differs: :math:`\sigma` = level * (max - min), SmoothGrad's own definition, with the range taken over both images of a
    pair. The published code divides the level by the range, which is `sigma="published"`: for normalised photos about a twentieth.
    The stored tables of this project are made with SmoothGrad's definition.

    Args:
        model: any model; one with ReLUs, if only in its head, for `guided`.
        pair: n pairs; both sides of one size.
        generator: of the noise, which is drawn once and used for every pair.
        level: standard deviation of the noise as a share of the range of the normalised pixels.
        sigma: the rule: "smoothgrad" (level * range), "published" (level / range), or the standard deviation outright, in the model's
            input space, whatever the level.
        guided: pass back only positive gradients at every ReLU.

    Returns:
        Maps of one value per pixel, >= 0, in units of the score, which is that of the clean pair.

    Raises:
        InputError: sides of two sizes, no samples, a negative level or sigma, a rule that is not known or, for "published", images
            of one value, or `guided` on a network without ReLU.
    """
    if samples < 1:
        raise InputError(f"expected at least one sample, got {samples}")
    sides = _sides(model, pair, guided)
    _check_one_size(sides, "the same noise on both images")
    spread = _sigma(sides, level, sigma)  # (n, 1, 1, 1)
    noise = _noise(sides[0], samples, generator)
    total = [torch.zeros_like(x) for x in sides]
    n, pairs = len(pair), max(1, (chunk or model.chunk(sides[0][0, 0].numel())) // len(sides))
    for part in progress(torch.arange(samples * n).split(pairs), "noisy copies"):
        item = (part % n).to(sides[0].device)
        added = noise(part // n) * spread[item]
        _, gradients = _gradients(model, [x[item] + added for x in sides], score, guided)
        for sums, g in zip(total, gradients, strict=True):
            sums.index_add_(0, item, g)
    maps = [_strength(x, sums / samples) for x, sums in zip(sides, total, strict=True)]
    return Explanation(maps[0], maps[1] if pair.b is not None else None, _score(model, sides, score, chunk))


@methods.add(
    **SAMMANI,
    where="Sec. III-A2",
    cost="10 forwards, 10 backwards (guided: 18 and 18)",
    symmetric=False,  # it starts from side a
    one_sided=False,
)
def averaged_transforms(
    model: PairModel,
    pair: Pair,
    *,
    score: Score = cosine,
    generator: Generator | None = None,
    chunk: int | None = None,
    transform: Callable | None = None,
    level: float = 0.0,
    sigma: float | str = "smoothgrad",
    guided: bool = False,
) -> Explanation:
    r"""Strength of the gradient averaged along the way from image a to its transform, times the pixel.

    Implements Sec. III-A2 of :cite:t:`sammani2023visualizing`: with :math:`\tilde x_\lambda = \lambda x_a + (1 - \lambda) x_b` for
    :math:`\lambda` = 0.9, 0.8, ..., 0.1 and :math:`s_\lambda = s(x_a, \tilde x_\lambda)`,
    :math:`M_a = \max_c |x_a \odot \mathrm{mean}_\lambda \partial s_\lambda / \partial x_a|` and
    :math:`M_b = \max_c |\tilde x_{0.1} \odot \mathrm{mean}_\lambda \partial s_\lambda / \partial \tilde x_\lambda|`.

    Differs: the noise of variant N is SmoothGrad's own, unless `sigma` says otherwise; see `smooth_grad`.

    Without `guided`, image a runs through the network once: its mean gradient is the gradient of the mean, and so one backward pass.

    Args:
        model: any model; one with ReLUs, if only in its head, for `guided`.
        pair: n pairs; both sides of one size.
        generator: of the noise, which is drawn once and used for every pair.
        transform: from pixels (n, c, h, w) in [0, 1] to such pixels; takes the place of side b by the transform of side a.
        level: noise on the blends, as a share of the range of the normalised pixels (the paper's variant N).
        sigma: the rule of the noise, or its standard deviation outright, as of `smooth_grad`.
        guided: pass back only positive gradients at every ReLU (the paper's variant G).

    Returns:
        Maps of one value per pixel, >= 0, in units of the score; the score is that of image a and the end point.

    Raises:
        InputError: sides of two sizes, noise as `smooth_grad` refuses it, `guided` on a network without ReLU, or a transform that makes
            no images.
    """
    end = pair if transform is None else pair.facing(transform(pair.a))
    sides = _sides(model, end, guided)
    _check_one_size(sides, "blending one image into the other")
    spread = _sigma(sides, level, sigma)
    noise = _noise(sides[0], len(BLENDS), generator) if bool((spread > 0).any()) else None
    images = chunk or model.chunk(sides[0][0, 0].numel())
    parts = [
        _average_along_blends(model, [x[k : k + images] for x in sides], spread[k : k + images], noise, images, score, guided)
        for k in range(0, len(pair), images)
    ]
    g_a, g_b = (torch.cat(side) for side in zip(*parts, strict=True))
    last = BLENDS[-1] * sides[0] + (1 - BLENDS[-1]) * sides[1]
    if noise is not None:
        last = last + noise(torch.tensor([len(BLENDS) - 1])) * spread
    return Explanation(_strength(sides[0], g_a), _strength(last, g_b), _score(model, sides, score, chunk))


def _average_along_blends(
    model: PairModel, sides: list[Tensor], spread: Tensor, noise: Callable[[Tensor], Tensor] | None, chunk: int, score: Score, guided: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of s_lambda with respect to image a and to the blend, averaged over lambda: two (n, c, h, w)."""
    x_a, x_b = sides
    n, blends = len(x_a), x_a.new_tensor(BLENDS)
    total_a, total_b = torch.zeros_like(x_a), torch.zeros_like(x_b)
    with torch.enable_grad():
        leaf_a = x_a.detach().requires_grad_()
        z_a = None if guided else model.embed_a(leaf_a)  # guided gradients do not add up, so there each blend has its own
        dz_a = None if z_a is None else torch.zeros_like(z_a)
    for part in torch.arange(len(BLENDS) * n).split(max(1, chunk // 2 if guided else chunk)):
        step, item = (part // n).to(x_a.device), (part % n).to(x_a.device)
        share = blends[step].view(-1, 1, 1, 1)
        blend = share * x_a[item] + (1 - share) * x_b[item]
        if noise is not None:
            blend = blend + noise(part // n) * spread[item]
        if z_a is None or dz_a is None:
            _, (g_a, g_b) = _gradients(model, [x_a[item], blend], score, guided=True)
            total_a.index_add_(0, item, g_a)
        else:
            with torch.enable_grad():
                leaf_z, leaf_b = z_a.detach()[item].requires_grad_(), blend.detach().requires_grad_()
                dz, g_b = torch.autograd.grad(ask(score, leaf_z, model.embed_b(leaf_b)).sum(), (leaf_z, leaf_b), materialize_grads=True)
            dz_a.index_add_(0, item, dz)
        total_b.index_add_(0, item, g_b)
    if z_a is not None:
        (total_a,) = torch.autograd.grad(z_a, leaf_a, dz_a)
    return total_a / len(BLENDS), total_b / len(BLENDS)


def _sides(model: PairModel, pair: Pair, guided: bool) -> list[Tensor]:
    """The sides there are in the model's input space, after a look at whether there are ReLUs if gradients are to be guided."""
    sides = [model.normalize(side) for side in pair.sides]
    if guided:
        for embed, x in zip((model.embed_a, model.embed_b), sides, strict=False):
            with torch.no_grad(), guided_relus():
                embed(x[:1])
    return sides


def _gradients(model: PairModel, sides: list[Tensor], score: Score, guided: bool) -> tuple[Tensor, list[Tensor]]:
    """The score (n,) and its gradient with respect to each side (n, c, h, w)."""
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in sides]
        with guided_relus(guided):
            s = ask(score, *model.embed(leaves))
        gradients = torch.autograd.grad(s.sum(), leaves, materialize_grads=True)  # zeros for a side that the score ignores
    return s.detach(), list(gradients)


@torch.no_grad()
def _score(model: PairModel, sides: list[Tensor], score: Score, chunk: int | None) -> Float[Tensor, " n"]:
    pairs = max(1, (chunk or model.chunk(sides[0][0, 0].numel())) // len(sides))
    return torch.cat([ask(score, *model.embed(part)) for part in zip(*(side.split(pairs) for side in sides), strict=True)])


def _strength(x: Float[Tensor, "n c h w"], gradient: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
    return (x * gradient).abs().amax(1)


def _check_one_size(sides: list[Tensor], why: str) -> None:
    if len(sides) > 1 and sides[0].shape != sides[1].shape:
        sizes = [tuple(x.shape[2:]) for x in sides]
        raise InputError(f"expected sides of one size for {why}, got {sizes[0]} and {sizes[1]}")


def _sigma(sides: list[Tensor], level: float, sigma: float | str) -> Float[Tensor, "n 1 1 1"]:
    """Standard deviation of the noise for each pair."""
    if isinstance(sigma, str) and sigma not in NOISE:
        raise unknown("rule of the noise", sigma, NOISE)
    if level < 0 or (not isinstance(sigma, str) and sigma < 0):
        raise InputError(f"expected level and sigma of at least 0, got level={level}, sigma={sigma}")
    if not isinstance(sigma, str):
        return sides[0].new_full((len(sides[0]), 1, 1, 1), sigma)
    low = torch.stack([x.amin((1, 2, 3)) for x in sides]).amin(0)
    high = torch.stack([x.amax((1, 2, 3)) for x in sides]).amax(0)
    if sigma == "published" and (high == low).any():
        raise InputError('expected pairs of more than one value for sigma="published", which divides by their range')
    return (level * (high - low) if sigma == "smoothgrad" else level / (high - low)).view(-1, 1, 1, 1)


def _noise(x: Tensor, count: int, generator: Generator | None) -> Callable[[Tensor], Tensor]:
    """Standard normal images (k, c, h, w) by their numbers (k,): the same for every pair, whatever the batch and the chunk."""
    generator = generator or Generator().manual_seed(0)
    seeds = torch.randint(2**62, (count,), generator=generator).tolist()

    def draw(numbers: Tensor) -> Tensor:
        each, which = numbers.unique(return_inverse=True)
        images = [torch.randn(x.shape[1:], generator=Generator().manual_seed(seeds[k])) for k in each.tolist()]
        return torch.stack(images)[which].to(x)

    return draw
