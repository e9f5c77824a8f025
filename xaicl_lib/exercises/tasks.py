"""The checks of the book's coding exercises, chapter by chapter; each says what was expected and where an answer first differs."""

import torch
from torch import Tensor

from xaicl_lib.exercises.checking import Answer, Verdict, check_function, seeded, task


@task
def _signed_cam(answer: Answer) -> Verdict:
    """Chapter 1: `signed_cam(f, g)`, Grad-CAM that keeps the sign, for maps and gradients (n, c, i, j)."""
    f, g = seeded((2, 5, 3, 4), (2, 5, 3, 4), normal=True)
    return check_function(
        answer,
        lambda f, g: (f * g).sum(1),
        [(f, g)],
        expected="one map (n, i, j) for each pair: in every cell, the sum over channels of feature times gradient",
        nudge="multiply cell by cell and channel by channel, then add over the channels (dimension 1)",
        mistakes={
            "this is Grad-CAM with its ReLU: leave the negative gradients in": lambda f, g: (f * g.clamp(min=0)).sum(1),
            "the sum is right, and then the sign is clipped away": lambda f, g: (f * g).sum(1).clamp(min=0),
            "the gradients are not used yet": lambda f, g: f.sum(1),
            "add over the channels, do not average: the scale carries meaning here": lambda f, g: (f * g).mean(1),
            "this still has its channels; add them up": lambda f, g: f * g,
            "one weight a channel is the Grad-CAM of classifiers; here every cell keeps its own gradient": lambda f, g: (
                f * g.mean((2, 3), keepdim=True)
            ).sum(1),
        },
        afterword="Unlike Grad-CAM it can be negative: it also shows the cells that speak against the similarity.",
    )


@task
def _area(answer: Answer) -> Verdict:
    """Chapter 2: `area(scores)`, the trapezoid rule for points evenly spaced from 0 to 1."""

    def area(scores: Tensor) -> Tensor:
        return torch.trapezoid(scores, dx=1 / (len(scores) - 1))

    return check_function(
        answer,
        area,
        [(torch.tensor([1.0, 0.0, 0.5]),), (torch.tensor([1.0, 0.5, 0.2, 0.4, 0.9]),), seeded((12,))],
        expected="one number: the area under straight lines through the points, over a width of 1 in total",
        nudge="between two neighbours lies a trapezoid; its width is 1 / (number of points - 1)",
        mistakes={
            "the mean gives the two ends as much weight as the others; each borders on one trapezoid only": lambda s: s.mean(),
            "this grows with the number of points; how wide is one step?": lambda s: s.sum(),
            "the width of a step is right, but the two ends count half": lambda s: s.sum() / (len(s) - 1),
            "this is a sum of rectangles, each as high as its left end; the right end is left out": lambda s: s[:-1].mean(),
            "this is a sum of rectangles, each as high as its right end; the left end is left out": lambda s: s[1:].mean(),
            "the steps are one wide here; in all they should be one wide": lambda s: area(s) * (len(s) - 1),
        },
        afterword="This is how SI, SD, CI and CD become single numbers.",
    )


@task
def _box(answer: Answer) -> Verdict:
    """Chapter 4: `box(area)`, the left, top, width and height of a centred square that covers this share of an image."""

    def box(area: float) -> tuple[float, ...]:
        side = area**0.5
        return (1 - side) / 2, (1 - side) / 2, side, side

    return check_function(
        answer,
        box,
        [(0.25,), (1.0,), (0.49,)],
        expected="four numbers in shares of the side: left, top, width, height of a square in the middle",
        nudge="which side has a square of that area? What is left over goes to both edges alike",
        mistakes={
            "the area of a square is its side squared; you use the area as the side": lambda a: ((1 - a) / 2, (1 - a) / 2, a, a),
            "the size is right, but the square stands in the corner": lambda a: (0.0, 0.0, a**0.5, a**0.5),
            "what is left over is shared by two edges": lambda a: (1 - a**0.5, 1 - a**0.5, a**0.5, a**0.5),
            "the last two are width and height, not the right and lower edge": lambda a: (
                (1 - a**0.5) / 2,
                (1 - a**0.5) / 2,
                (1 + a**0.5) / 2,
                (1 + a**0.5) / 2,
            ),
            "this is the whole image, whatever the area": lambda a: (0.0, 0.0, 1.0, 1.0),
        },
        afterword="A crop of half the area keeps 71 % of each side: areas sound harsher than they look.",
    )


@task
def _solarised(answer: Answer) -> Verdict:
    """Chapter 5: `solarised(x)`, where every value of a half or more is inverted."""
    (x,) = seeded((1, 3, 4, 4), seed=3)
    return check_function(
        answer,
        lambda x: torch.where(x >= 0.5, 1 - x, x),
        [(x,)],
        expected="an image of the same shape: values below a half as they are, the others as one minus themselves",
        nudge="torch.where(condition, one, other) chooses value by value",
        mistakes={
            "this inverts every value, which is a negative; only the bright ones are meant": lambda x: 1 - x,
            "the two branches are the wrong way round: the dark values change": lambda x: torch.where(x >= 0.5, x, 1 - x),
            "bright values are cut off at a half; they should come down again, the brightest to black": lambda x: x.clamp(max=0.5),
            "this is the condition; use it to choose between x and 1 - x": lambda x: (x >= 0.5).float(),
            "nothing changes yet": lambda x: x,
        },
        afterword="Nothing is above a half any more: the brightest spots became black.",
    )


@task
def _target(answer: Answer) -> Verdict:
    """Chapter A1: `target(z, z_b)`, the cosine of one embedding (d,) with a fixed one (d,), as one number to differentiate."""
    z, z_b = seeded((8,), (8,), seed=4, normal=True)
    return check_function(
        answer,
        lambda z, z_b: (z * z_b).sum() / (z.norm() * z_b.norm()),
        [(z, z_b), (3 * z, z_b)],
        expected="one number in [-1, 1]: the dot product over the product of both lengths",
        nudge="what must not change when one embedding is made three times as long?",
        mistakes={
            "this is the dot product; divide by both lengths": lambda z, z_b: (z * z_b).sum(),
            "both lengths are needed, each of them once": lambda z, z_b: (z * z_b).sum() / z.norm() ** 2,
            "the length of the first embedding still matters": lambda z, z_b: (z * z_b).sum() / z_b.norm(),
            "the length of the second embedding still matters": lambda z, z_b: (z * z_b).sum() / z.norm(),
            "these are the terms of the sum; a target is one number": lambda z, z_b: z * z_b / (z.norm() * z_b.norm()),
            "this is a distance: it is small where the images are alike": lambda z, z_b: (z - z_b).norm(),
        },
        afterword="A target that is a number is all that a library for classifiers needs to explain a pair.",
    )


@task
def _pointing(answer: Answer) -> Verdict:
    """Chapter A2: `pointing(m, t)`, for maps and masks (n, h, w) whether the largest value of each lies on its mask."""
    (m,) = seeded((6, 5, 7), seed=5, normal=True)
    t = seeded((6, 5, 7), seed=6)[0] > 0.5

    def pointing(m: Tensor, t: Tensor) -> Tensor:
        return t.flatten(1).gather(1, m.flatten(1).argmax(1, keepdim=True))[:, 0]

    return check_function(
        answer,
        pointing,
        [(m, t)],
        expected="n values, true where the largest value of that map lies on that mask",
        nudge="flatten maps and masks, take the place of the largest value, look the mask up there",
        mistakes={
            "this looks at the corner of each mask, wherever the largest value is": lambda m, t: t[:, 0, 0],
            "this is the smallest value's place": lambda m, t: t.flatten(1).gather(1, m.flatten(1).argmin(1, keepdim=True))[:, 0],
            "every map has its own largest value; you use one place for all": lambda m, t: t.flatten(1).gather(
                1, m.abs().sum(0).flatten().argmax().expand(len(m), 1)
            )[:, 0],
            "this is the largest value on the mask; is it the largest of the whole map?": lambda m, t: (m * t).flatten(1).amax(1),
            "these are the places; now look at the masks there": lambda m, t: m.flatten(1).argmax(1),
            "one answer for each pair, not their mean": lambda m, t: pointing(m, t).float().mean(),
        },
        afterword="One pixel decides, so a single value says little; its mean over many pairs is what counts.",
    )


@task
def _interval(answer: Answer) -> Verdict:
    """Chapter A3: `interval(values, draws)`, the 95 % bootstrap interval of a mean; `draws` (b, n) are the places drawn."""
    (values,) = seeded((12,), seed=7)
    draws = torch.randint(12, (400, 12), generator=torch.Generator().manual_seed(8))

    def ends(sample: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
        return torch.quantile(sample, low), torch.quantile(sample, high)

    return check_function(
        answer,
        lambda v, d: ends(v[d].mean(1), 0.025, 0.975),
        [(values, draws)],
        expected="two numbers: the 2.5 % and 97.5 % quantiles of the means of the drawn samples",
        nudge="values[draws] is (b, n): one sample a row. Take each row's mean, then two quantiles of those means",
        mistakes={
            "these are quantiles of the values: how far pairs differ, not how sure their mean is": lambda v, d: ends(v, 0.025, 0.975),
            "take the mean of every sample first; now the single values are counted": lambda v, d: ends(v[d].flatten(), 0.025, 0.975),
            "between these ends lie 90 %; half of the remaining 5 % belongs to either side": lambda v, d: ends(v[d].mean(1), 0.05, 0.95),
            "this averages over the samples; the mean belongs over the pairs within one": lambda v, d: ends(v[d].mean(0), 0.025, 0.975),
            "this is the spread of the pairs; it would not shrink however many pairs you took": lambda v, d: (
                v.mean() - 2 * v.std(),
                v.mean() + 2 * v.std(),
            ),
        },
        tolerance=1e-4,
        afterword="Resample the pairs, never the pixels: it is the pairs that we have too few of.",
    )


@task
def _cosine(answer: Answer) -> Verdict:
    """Page of the models: `cosine(x, y)` of two vectors (d,)."""
    return _target(answer)


@task
def _normalised(answer: Answer) -> Verdict:
    """Models of your own: `normalised(pixels, mean, std)`, images (n, c, h, w) brought to a network's input space, any c."""

    def normalised(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        return (pixels - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)

    images, mean, std = seeded((2, 5, 5, 5), (5,), (5,), seed=10)
    return check_function(
        answer,
        normalised,
        [(images, mean, 0.2 + std), (images[:, :1], mean[:1], 0.2 + std[:1])],
        expected="images of the same shape: from each channel its mean taken away, and what is left divided by its deviation",
        nudge="give mean and std the shape (c, 1, 1), so that they meet the second axis of (n, c, h, w) and not the last",
        mistakes={
            "this runs because the images are as wide as they have channels, and means each column": lambda x, m, s: (x - m) / s,
            "this is the way back, from the input space to pixels": lambda x, m, s: x * s.view(-1, 1, 1) + m.view(-1, 1, 1),
            "divide by the deviation, not by the variance": lambda x, m, s: (x - m.view(-1, 1, 1)) / s.view(-1, 1, 1) ** 2,
            "the mean is one of pixels: take it away first": lambda x, m, s: x / s.view(-1, 1, 1) - m.view(-1, 1, 1),
            "the numbers given belong to the network; these are of the images at hand": lambda x, m, s: (x - x.mean()) / x.std(),
            "the deviation is not used yet": lambda x, m, s: x - m.view(-1, 1, 1),
        },
        afterword="`PairModel(..., mean=, std=)` does it on the way in, so pairs stay pixels in [0, 1].",
    )


@task
def _shared_scale(answer: Answer) -> Verdict:
    """Pitfalls: `shared_scale(a, b)`, two maps (i, j) divided by the largest absolute value in either."""
    a, b = seeded((3, 4), (3, 4), seed=9, normal=True)

    def scaled(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        limit = torch.stack([a.abs().max(), b.abs().max()]).max()
        return a / limit, b / limit

    def minmax(m: Tensor) -> Tensor:
        return (m - m.min()) / (m.max() - m.min())

    def largest(a: Tensor, b: Tensor) -> Tensor:
        return torch.maximum(a.max(), b.max())

    return check_function(
        answer,
        scaled,
        [(a, 0.2 * b), (-a, b), (0.2 * a, b)],
        expected="both maps over one number, the largest absolute value in either, so that zero stays zero",
        nudge="find one limit for the two maps first, then divide both by it",
        mistakes={
            "each map has a scale of its own here: the weak map looks as strong": lambda a, b: (a / a.abs().max(), b / b.abs().max()),
            "this moves zero, so that evidence against the similarity can look like nothing": lambda a, b: (minmax(a), minmax(b)),
            "the largest value may be a negative one: mind the sign": lambda a, b: (a / largest(a, b), b / largest(a, b)),
            "nothing is scaled yet": lambda a, b: (a, b),
        },
        afterword="Print the limit beside the figure: it is the one thing the colours cannot say.",
    )
