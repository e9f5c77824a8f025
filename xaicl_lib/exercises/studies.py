"""The checks of the coding exercises of the studies (chapters 3, 6 to 13 and A5), in the manner of `tasks`."""

import torch
from torch import Tensor
from torch.nn.functional import normalize as unit

from xaicl_lib.exercises.checking import Answer, Verdict, check_function, seeded, task


@task
def _texture_bias(answer: Answer) -> Verdict:
    """Chapter 3: `texture_bias(shape, texture)`, from (n,) booleans of trials that the one or the other cue won, if any did."""
    shape = torch.tensor([True, True, False, False, False, False, False, False, False, False])
    texture = torch.tensor([False, False, True, True, True, False, False, False, False, False])
    return check_function(
        answer,
        lambda s, t: t.sum() / (s.sum() + t.sum()),
        [(shape, texture), (texture[:4], shape[:4])],
        expected="one number in [0, 1]: of the trials that either cue won, the share that texture won",
        nudge="count with .sum(): how many trials did texture win, and how many were won by a cue at all?",
        mistakes={
            "this divides by all trials; those that neither cue won say nothing of the two": lambda s, t: t.float().mean(),
            "this is the share of shape, and among all trials": lambda s, t: s.float().mean(),
            "this is the shape bias; texture takes the rest of it": lambda s, t: s.sum() / (s.sum() + t.sum()),
            "these are odds, which can be above 1; which trials should the share be of?": lambda s, t: t.sum() / s.sum(),
            "this is a count; divide it by the trials that either cue won": lambda s, t: t.sum(),
        },
        afterword="Say beside it how many trials neither cue won: the share cannot tell.",
    )


@task
def _times_chance(answer: Answer) -> Verdict:
    """Chapter 12: `times_chance(m, mask)`, share of a map's positive values in a mask over the share of the picture that it covers."""
    m, mask = seeded((5, 6), seed=20, normal=True)[0], torch.zeros(5, 6, dtype=torch.bool)
    mask[1:3, 2:5] = True
    return check_function(
        answer,
        lambda m, mask: m.clamp_min(0)[mask].sum() / m.clamp_min(0).sum() / mask.float().mean(),
        [(m, mask), (m.abs(), ~mask)],
        expected="one number, 1 for a map that is the same everywhere: the share of its positive values in the mask over the mask's area",
        nudge="m.clamp_min(0) are the positive values, m[mask] those in the mask, mask.float().mean() is its area",
        mistakes={
            "a share; divide it by the mask's area": lambda m, mask: m.clamp_min(0)[mask].sum() / m.clamp_min(0).sum(),
            "negative values still count; leave them out first": lambda m, mask: m[mask].sum() / m.sum() / mask.float().mean(),
            "a mean within the mask; compare it with the mean of the whole map": lambda m, mask: m.clamp_min(0)[mask].mean(),
            "divide by a share, not by a count": lambda m, mask: m.clamp_min(0)[mask].sum() / m.clamp_min(0).sum() / mask.sum(),
        },
        afterword="It is the mean within the mask over the mean of the whole map.",
    )


@task
def _relative_error(answer: Answer) -> Verdict:
    """Chapter 6: `relative_error(f, goal)`, the relative feature error of each picture, for features (n, c, h, w) of both."""
    f, goal = seeded((2, 3, 4, 4), seed=10, normal=True)[0], 0.5 + seeded((2, 3, 4, 4), seed=11)[0]
    whole = (1, 2, 3)
    return check_function(
        answer,
        lambda f, g: (f - g).square().sum(whole) / g.square().sum(whole),
        [(f, goal), (goal, f)],
        expected="n numbers, one for each picture: the sum of squared differences over the sum of the target's squares",
        nudge="both sums run over channels and cells, dimensions 1, 2 and 3, and the batch stays",
        mistakes={
            "not divided yet: a network with larger numbers would look worse": lambda f, g: (f - g).square().sum(whole),
            "this is the mean squared error; divide by the energy of the target instead": lambda f, g: (f - g).square().mean(whole),
            "divide by the target's energy: it stays in the search": lambda f, g: (f - g).square().sum(whole) / f.square().sum(whole),
            "this is a ratio of lengths; square both": lambda f, g: ((f - g).square().sum(whole) / g.square().sum(whole)).sqrt(),
            "divide the sums, not value by value: a feature near 0 would decide": lambda f, g: ((f - g) / g).square().mean(whole),
            "one error for each picture; here the batch is added up": lambda f, g: (f - g).square().sum() / g.square().sum(),
            "these are absolute values; the formula squares": lambda f, g: (f - g).abs().sum(whole) / g.abs().sum(whole),
        },
        afterword="Features of zeros have an error of 1: that is the end of the scale to keep in mind.",
    )


@task
def _partial(answer: Answer) -> Verdict:
    """Chapter 7: `partial(xy, xz, yz)`, the correlation of x and y with z held fixed."""
    return check_function(
        answer,
        lambda xy, xz, yz: (xy - xz * yz) / ((1 - xz**2) * (1 - yz**2)) ** 0.5,
        [(0.5, 0.6, 0.7), (-0.2, 0.3, 0.8), (0.4, 0.0, 0.0)],
        expected="one number in [-1, 1]: what z explains of both taken away, over what is left of each",
        nudge="see the formula above; ** 0.5 is a root",
        mistakes={
            "z is not used yet": lambda xy, xz, yz: xy,
            "this is a covariance; divide by what is left of x and of y without z": lambda xy, xz, yz: xy - xz * yz,
            "these are variances; a correlation takes their root": lambda xy, xz, yz: (xy - xz * yz) / ((1 - xz**2) * (1 - yz**2)),
            "square the correlations before they leave the 1": lambda xy, xz, yz: (xy - xz * yz) / ((1 - xz) * (1 - yz)) ** 0.5,
            "this takes z from x alone (a semipartial correlation)": lambda xy, xz, yz: (xy - xz * yz) / (1 - xz**2) ** 0.5,
            "this takes z from y alone (a semipartial correlation)": lambda xy, xz, yz: (xy - xz * yz) / (1 - yz**2) ** 0.5,
            "what x and y have in common through z is still in": lambda xy, xz, yz: xy / ((1 - xz**2) * (1 - yz**2)) ** 0.5,
        },
        afterword="A correlation of 0.5 between two things that both go with a third, at 0.6 and 0.7, comes down to 0.14.",
    )


@task
def _corpus_score(answer: Answer) -> Verdict:
    """Chapter 8: `corpus_score(z, corpus, foil)`, embeddings (n, d), (m, d), (k, d): mean cosine with the corpus minus with the foil."""
    z, corpus, foil = seeded((3, 5), (4, 5), (6, 5), seed=12, normal=True)
    case = (2 * z, corpus * torch.linspace(1, 3, 4)[:, None], foil * torch.linspace(0.5, 2, 6)[:, None])

    def score(z: Tensor, corpus: Tensor, foil: Tensor) -> Tensor:
        return unit(z) @ (unit(corpus).mean(0) - unit(foil).mean(0))

    return check_function(
        answer,
        score,
        [case],
        expected="n numbers, one for each image: its mean cosine with the corpus minus its mean cosine with the foil",
        nudge="make every embedding a unit vector; then two means and one product do it",
        mistakes={
            "these are inner products: the lengths still matter, so normalise all three": lambda z, c, r: z @ (c.mean(0) - r.mean(0)),
            "corpus and foil are not normalised: long embeddings count more": lambda z, c, r: unit(z) @ (c.mean(0) - r.mean(0)),
            "the images are not normalised yet": lambda z, c, r: z @ (unit(c).mean(0) - unit(r).mean(0)),
            "normalise each embedding, then take the mean, which is not a unit vector and should not be one": lambda z, c, r: (
                unit(z) @ (unit(c.mean(0), dim=0) - unit(r.mean(0), dim=0))
            ),
            "leave the means as they are: their length says how much a set agrees with itself": lambda z, c, r: (
                unit(z) @ (unit(unit(c).mean(0), dim=0) - unit(unit(r).mean(0), dim=0))
            ),
            "this is the corpus alone; the foil is not used yet": lambda z, c, r: unit(z) @ unit(c).mean(0),
            "the sign: corpus minus foil": lambda z, c, r: -score(z, c, r),
            "take means: the larger of two sets must not win by its size": lambda z, c, r: unit(z) @ (unit(c).sum(0) - unit(r).sum(0)),
            "one score for each image, not their mean": lambda z, c, r: score(z, c, r).mean(),
        },
        afterword="Two mean vectors are all that is left of corpus and foil, however large they are.",
    )


@task
def _modularity(answer: Answer) -> Verdict:
    """Chapter 9: `modularity(weights, y)` of a symmetric matrix of weights (n, n) with zeros on its diagonal, and classes (n,)."""
    (half,) = seeded((7, 7), seed=13)
    w, y = (half + half.T).fill_diagonal_(0) * torch.arange(1, 8) * torch.arange(1, 8)[:, None], torch.tensor([0, 0, 1, 1, 1, 2, 2])
    w[:2, :2] *= 30  # a community

    def same(y: Tensor) -> Tensor:
        return y[:, None] == y

    def expected(w: Tensor, total: Tensor) -> Tensor:
        return w.sum(1)[:, None] * w.sum(1) / total

    def modularity(w: Tensor, y: Tensor, factor: float = 1.0) -> Tensor:
        total = factor * w.sum()
        return ((w - expected(w, total)) * same(y)).sum() / total

    return check_function(
        answer,
        modularity,
        [(w, y), (torch.ones(4, 4).fill_diagonal_(0), torch.tensor([0, 0, 1, 1]))],
        expected="one number: the share of the weight that lies within classes, minus the share expected from the degrees alone",
        nudge="with k the row sums and 2m the sum of all weights, an edge drawn at random has the weight k_i k_j / 2m",
        mistakes={
            "this is the share within classes; subtract what random edges would have": lambda w, y: (w * same(y)).sum() / w.sum(),
            "you expect the same weight everywhere; random edges keep the degree of each image": lambda w, y: (
                (w * same(y)).sum() / w.sum() - same(y).float().mean()
            ),
            "divide by the sum of all weights: it is a share": lambda w, y: ((w - expected(w, w.sum())) * same(y)).sum(),
            "weights.sum() has every edge twice already: it is 2m, not m": lambda w, y: modularity(w, y, 2.0),
            "the formula has 2m, and that is weights.sum() without the half": lambda w, y: modularity(w, y, 0.5),
            "these are the pairs of different classes, or the sign is turned": lambda w, y: -modularity(w, y),
            "keep the diagonal: a random edge may lead back to its own image": lambda w, y: (
                ((w - expected(w, w.sum())).fill_diagonal_(0) * same(y)).sum() / w.sum()
            ),
        },
        afterword="Edges that join everybody alike have a modularity just below zero: that is where chance is.",
    )


@task
def _spread(answer: Answer) -> Verdict:
    """Chapter 11: `spread(weights, x, s)`, features x (n, d) averaged over a symmetric graph of weights (n, n) with s on its diagonal."""
    half, x = seeded((5, 5), (5, 3), seed=15)
    w = (half + half.T).fill_diagonal_(0) * torch.arange(1, 6) * torch.arange(1, 6)[:, None]

    def spread(w: Tensor, x: Tensor, s: float, own: float | None = None) -> Tensor:
        """`own` on the diagonal of the degrees alone."""
        joined = w + s * torch.eye(len(w))
        root = (w.sum(1) + (s if own is None else own)).rsqrt()
        return (root[:, None] * joined * root) @ x

    def by_rows(w: Tensor, x: Tensor, s: float) -> Tensor:
        joined = w + s * torch.eye(len(w))
        return joined @ x / joined.sum(1, keepdim=True)

    return check_function(
        answer,
        spread,
        [(w, x, 0.7), (w, x, 3.0)],
        expected="features of the same shape: each image's own and its neighbours', weighed by the graph and by the degrees of both ends",
        nudge="add s to the diagonal first; the degrees are the row sums of what you then have",
        mistakes={
            "this divides by the degree of the one who asks; take the root of the degrees of both ends": by_rows,
            "the degrees are those of A + sI, with the edge to oneself": lambda w, x, s: spread(w, x, s, 0.0),
            "the image itself is missing: A has zeros on its diagonal, s goes there": lambda w, x, s: spread(w, x, 0.0),
            "the weight of the edge to oneself is s, not 1": lambda w, x, s: spread(w, x, 1.0),
            "a sum over neighbours; images with many of them get large features": lambda w, x, s: (w + s * torch.eye(len(w))) @ x,
        },
        afterword="One number, s, is all that the graph adds to what a linear classifier learns.",
    )


@task
def _overlap_of(answer: Answer) -> Verdict:
    """Chapter 10: `overlap_of(p, q)`, of the positive parts of two maps (h, w), each scaled to the sum 1."""
    p, q = (0.2 + m for m in seeded((4, 5), (4, 5), seed=14, normal=True))

    def share(m: Tensor) -> Tensor:
        return m.clamp_min(0) / m.clamp_min(0).sum()

    def common(p: Tensor, q: Tensor) -> Tensor:
        return torch.minimum(p, q)

    return check_function(
        answer,
        lambda p, q: common(share(p), share(q)).sum(),
        [(p, 3 * q), (p, p)],
        expected="one number in [0, 1]: 1 for the same map twice, 0 for maps that are positive nowhere together",
        nudge="keep positive values, let each map sum to 1, take the smaller one at each pixel, and add up",
        mistakes={
            "let each map sum to 1 first; else the weaker one decides": lambda p, q: common(p.clamp_min(0), q.clamp_min(0)).sum(),
            "negative values are still in: keep the positive ones only": lambda p, q: common(p / p.sum(), q / q.sum()).sum(),
            "this counts negative values as if they were positive; set them to zero": lambda p, q: common(
                p.abs() / p.abs().sum(), q.abs() / q.abs().sum()
            ).sum(),
            "divide by the sum of a map, not its largest": lambda p, q: common(p.clamp_min(0) / p.max(), q.clamp_min(0) / q.max()).sum(),
            "a product of shares is tiny even for equal maps; take the smaller of the two": lambda p, q: (share(p) * share(q)).sum(),
            "this is an inner product: it depends on the scale of both maps": lambda p, q: (p * q).sum(),
            "this is intersection over union; both sums are 1 already, so leave the division out": lambda p, q: (
                common(share(p), share(q)).sum() / torch.maximum(share(p), share(q)).sum()
            ),
            "this is right at each pixel; add them up": lambda p, q: common(share(p), share(q)),
        },
        afterword="One minus it is half the sum of absolute differences: the total variation distance.",
    )


@task
def _holm(answer: Answer) -> Verdict:
    """Chapter A5: `holm(p)`, p values (k,) corrected for their number, in the order given."""

    def stepped(p: Tensor) -> Tensor:
        order = p.argsort()
        steps = torch.arange(len(p), 0, -1) * p[order]
        return torch.empty_like(p).scatter(0, order, steps.cummax(0).values.clamp(max=1))

    def unordered(p: Tensor) -> Tensor:
        return (torch.arange(len(p), 0, -1) * p.sort().values).cummax(0).values.clamp(max=1)

    def ranks(p: Tensor) -> Tensor:
        return p.argsort().argsort()

    first = torch.tensor([0.03, 0.01, 0.5, 0.015])
    second = torch.tensor([0.9, 0.02, 0.021])
    return check_function(
        answer,
        stepped,
        [(first,), (second,), (torch.tensor([0.4, 0.6, 0.9]),)],
        expected="k numbers in the order given: the smallest p times k, the next times k - 1, and so on, never falling, at most 1",
        nudge="sort, multiply by k, k - 1, ..., 1, take the running maximum, cut at 1, and put everything back where it came from",
        mistakes={
            "nothing is corrected yet": lambda p: p,
            "this multiplies all by k (Bonferroni): right, but stricter than it need be": lambda p: (p * len(p)).clamp(max=1),
            "this multiplies all by k (Bonferroni), and leaves values above 1": lambda p: p * len(p),
            "these are sorted: put each back where its p came from": lambda p: unordered(p),
            "a larger p got a smaller corrected one: take the running maximum": lambda p: ((len(p) - ranks(p)) * p).clamp(max=1),
            "this is Benjamini and Hochberg's: another question": lambda p: (p * len(p) / (ranks(p) + 1)).clamp(max=1),
            "turned round: the smallest p is multiplied by the most": lambda p: ((ranks(p) + 1) * p).clamp(max=1),
        },
        afterword="A hundred questions make the smallest p a hundred times larger: asking more costs pairs.",
    )


@task
def _why_not(answer: Answer) -> Verdict:
    """Chapter 13: `why_not(z, first, second)`, how much more alike embeddings z (n, d) are to one result than to another, each (d,)."""
    z, pair = seeded((4, 5), seed=20, normal=True)[0], seeded((2, 5), seed=21, normal=True)[0]

    def score(z: Tensor, first: Tensor, second: Tensor) -> Tensor:
        return unit(z, dim=1) @ (unit(first, dim=0) - unit(second, dim=0))

    return check_function(
        answer,
        score,
        [(z, pair[0], pair[1]), (z, 3 * pair[1], pair[0])],
        expected="n numbers: the cosine with the first result minus the cosine with the second",
        nudge="a cosine is the product of unit vectors; the difference of two products with z is one product with a difference",
        mistakes={
            "these are inner products: make all three unit vectors": lambda z, a, b: z @ (a - b),
            "z has unit length now; the results have not": lambda z, a, b: unit(z, dim=1) @ (a - b),
            "make unit vectors first, and subtract then": lambda z, a, b: unit(z, dim=1) @ unit(a - b, dim=0),
            "this is how much more alike the second is": lambda z, a, b: score(z, b, a),
            "the second result is not used yet": lambda z, a, b: unit(z, dim=1) @ unit(a, dim=0),
            "one number for each embedding, not their mean": lambda z, a, b: score(z, a, b).mean(),
        },
        afterword="It is linear in the unit vector of z, so each cell of the query has its share of the difference.",
    )
