"""The tasks of the studies' chapters: a right answer passes, and each typical mistake gets the hint that is meant for it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from xaicl_lib import exercises
from xaicl_lib.exercises import checking, studies
from xaicl_lib.studies.organization import rld, similarity_graph


def counted(shape, texture):
    either = [bool(t) for s, t in zip(shape, texture, strict=True) if s or t]
    return sum(either) / len(either)


def error_by_loops(f, goal):
    return [float(((f[k] - goal[k]) ** 2).sum() / (goal[k] ** 2).sum()) for k in range(len(f))]


def partial_by_inverse(xy, xz, yz):
    """From the inverse of the correlation matrix, another way to the same number."""
    precision = np.linalg.inv([[1, xy, xz], [xy, 1, yz], [xz, yz, 1]])
    return -precision[0, 1] / (precision[0, 0] * precision[1, 1]) ** 0.5


def score_by_pairs(z, corpus, foil):
    towards = [sum(F.cosine_similarity(x, c, dim=0) for c in corpus) / len(corpus) for x in z]
    away = [sum(F.cosine_similarity(x, r, dim=0) for r in foil) / len(foil) for x in z]
    return [t - a for t, a in zip(towards, away, strict=True)]


def modularity_by_classes(weights, y):
    total = weights.sum()
    inside = {c: weights[y == c][:, y == c].sum() / total for c in y.unique().tolist()}
    return sum(share - (weights[y == c].sum() / total) ** 2 for c, share in inside.items())


def overlap_by_distance(p, q):
    p, q = p.relu() / p.relu().sum(), q.relu() / q.relu().sum()
    return 1 - (p - q).abs().sum() / 2


def spread_by_loops(weights, x, s):
    n = len(x)
    joined = [[float(weights[i, j]) + (s if i == j else 0) for j in range(n)] for i in range(n)]
    degrees = [sum(row) for row in joined]
    return torch.stack([sum(joined[i][j] / (degrees[i] * degrees[j]) ** 0.5 * x[j] for j in range(n)) for i in range(n)])


def holm_by_loops(p):
    """Each p's own step, or the largest of those before it."""
    values, k = p.tolist(), len(p)
    steps = [(k - sum(q < v for q in values)) * v for v in values]
    return [min(1.0, max(s for s, q in zip(steps, values, strict=True) if q <= v)) for v in values]


def difference_by_hand(z, first, second):
    return [float(F.cosine_similarity(x, first, dim=0) - F.cosine_similarity(x, second, dim=0)) for x in z]


def means_apart(m, mask):
    positive = [[max(0.0, v) for v in row] for row in m.tolist()]
    inside = [v for row, told in zip(positive, mask.tolist(), strict=True) for v, t in zip(row, told, strict=True) if t]
    return (sum(inside) / len(inside)) / (sum(map(sum, positive)) / m.numel())


RIGHT = {
    "why_not": difference_by_hand,
    "times_chance": means_apart,
    "holm": holm_by_loops,
    "texture_bias": counted,
    "relative_error": error_by_loops,
    "partial": partial_by_inverse,
    "corpus_score": score_by_pairs,
    "modularity": modularity_by_classes,
    "overlap_of": overlap_by_distance,
    "spread": spread_by_loops,
}


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def of_degrees(w):
    k = w.sum(1)
    return k[:, None] * k / w.sum()


def same(y):
    return y[:, None] == y


def joined(w, s):
    return w + s * torch.eye(len(w))


def positive(m):
    return m.relu() / m.relu().sum()


WRONG = [
    ("texture_bias", lambda s, t: t.sum() / len(t), "divides by all trials"),
    ("texture_bias", lambda s, t: s.sum() / len(s), "the share of shape"),
    ("texture_bias", lambda s, t: s.sum() / (s | t).sum(), "shape bias"),
    ("texture_bias", lambda s, t: t.sum() / s.sum(), "odds"),
    ("texture_bias", lambda s, t: t.sum(), "a count"),
    ("texture_bias", lambda s, t: t.mean(), "count with .sum()"),
    ("relative_error", lambda f, g: ((f - g) ** 2).sum((1, 2, 3)), "not divided yet"),
    ("relative_error", lambda f, g: ((f - g) ** 2).mean((1, 2, 3)), "mean squared error"),
    ("relative_error", lambda f, g: ((f - g) ** 2).sum((1, 2, 3)) / (f**2).sum((1, 2, 3)), "the target's energy"),
    ("relative_error", lambda f, g: (f - g).flatten(1).norm(dim=1) / g.flatten(1).norm(dim=1), "ratio of lengths"),
    ("relative_error", lambda f, g: ((f - g) ** 2 / g**2).mean((1, 2, 3)), "not value by value"),
    ("relative_error", lambda f, g: ((f - g) ** 2).sum() / (g**2).sum(), "the batch is added up"),
    ("relative_error", lambda f, g: (f - g).abs().sum((1, 2, 3)) / g.abs().sum((1, 2, 3)), "the formula squares"),
    ("partial", lambda xy, xz, yz: xy, "z is not used"),
    ("partial", lambda xy, xz, yz: xy - xz * yz, "a covariance"),
    ("partial", lambda xy, xz, yz: (xy - xz * yz) / (1 - xz**2) / (1 - yz**2), "takes their root"),
    ("partial", lambda xy, xz, yz: (xy - xz * yz) / ((1 - xz) * (1 - yz)) ** 0.5, "square the correlations"),
    ("partial", lambda xy, xz, yz: (xy - xz * yz) / (1 - xz**2) ** 0.5, "from x alone"),
    ("partial", lambda xy, xz, yz: (xy - xz * yz) / (1 - yz**2) ** 0.5, "from y alone"),
    ("partial", lambda xy, xz, yz: xy / ((1 - xz**2) * (1 - yz**2)) ** 0.5, "through z is still in"),
    ("corpus_score", lambda z, c, r: z @ c.mean(0) - z @ r.mean(0), "normalise all three"),
    ("corpus_score", lambda z, c, r: unit(z) @ (c.mean(0) - r.mean(0)), "corpus and foil are not normalised"),
    ("corpus_score", lambda z, c, r: z @ (unit(c).mean(0) - unit(r).mean(0)), "the images are not normalised"),
    ("corpus_score", lambda z, c, r: unit(z) @ (unit(c.mean(0)) - unit(r.mean(0))), "normalise each embedding"),
    ("corpus_score", lambda z, c, r: unit(z) @ (unit(unit(c).mean(0)) - unit(unit(r).mean(0))), "leave the means"),
    ("corpus_score", lambda z, c, r: (unit(z) @ unit(c).T).mean(1), "the foil is not used"),
    ("corpus_score", lambda z, c, r: unit(z) @ (unit(r).mean(0) - unit(c).mean(0)), "corpus minus foil"),
    ("corpus_score", lambda z, c, r: unit(z) @ (unit(c).sum(0) - unit(r).sum(0)), "take means"),
    ("corpus_score", lambda z, c, r: (unit(z) @ (unit(c).mean(0) - unit(r).mean(0))).mean(), "not their mean"),
    ("why_not", lambda z, a, b: z @ a - z @ b, "make all three unit vectors"),
    ("why_not", lambda z, a, b: unit(z) @ (a - b), "the results have not"),
    ("why_not", lambda z, a, b: unit(z) @ unit(a - b), "subtract then"),
    ("why_not", lambda z, a, b: unit(z) @ (unit(b) - unit(a)), "how much more alike the second is"),
    ("why_not", lambda z, a, b: unit(z) @ unit(a), "not used yet"),
    ("why_not", lambda z, a, b: (unit(z) @ (unit(a) - unit(b))).mean(), "not their mean"),
    ("modularity", lambda w, y: (w * same(y)).sum() / w.sum(), "subtract what random edges"),
    ("modularity", lambda w, y: (w * same(y)).sum() / w.sum() - same(y).double().mean(), "keep the degree"),
    ("modularity", lambda w, y: ((w - of_degrees(w)) * same(y)).sum(), "it is a share"),
    ("modularity", lambda w, y: ((w - of_degrees(w) / 2) * same(y)).sum() / (2 * w.sum()), "it is 2m, not m"),
    ("modularity", lambda w, y: ((w - of_degrees(w) * 2) * same(y)).sum() / (w.sum() / 2), "without the half"),
    ("modularity", lambda w, y: ((w - of_degrees(w)) * ~same(y)).sum() / w.sum(), "different classes"),
    (
        "modularity",
        lambda w, y: ((w - of_degrees(w)) * (same(y) & ~torch.eye(len(y), dtype=torch.bool))).sum() / w.sum(),
        "keep the diagonal",
    ),
    ("spread", lambda w, x, s: joined(w, s) @ x / joined(w, s).sum(1, keepdim=True), "degrees of both ends"),
    ("spread", lambda w, x, s: (w.sum(1).rsqrt()[:, None] * joined(w, s) * w.sum(1).rsqrt()) @ x, "with the edge to oneself"),
    ("spread", lambda w, x, s: (w.sum(1).rsqrt()[:, None] * w * w.sum(1).rsqrt()) @ x, "the image itself is missing"),
    ("spread", lambda w, x, s: spread_by_loops(w, x, 1.0), "is s, not 1"),
    ("spread", lambda w, x, s: joined(w, s) @ x, "large features"),
    ("overlap_of", lambda p, q: torch.minimum(p.relu(), q.relu()).sum(), "sum to 1 first"),
    ("overlap_of", lambda p, q: torch.minimum(p / p.sum(), q / q.sum()).sum(), "negative values are still in"),
    ("overlap_of", lambda p, q: torch.minimum(p.abs() / p.abs().sum(), q.abs() / q.abs().sum()).sum(), "as if they were positive"),
    ("overlap_of", lambda p, q: torch.minimum(p.relu() / p.max(), q.relu() / q.max()).sum(), "not its largest"),
    ("overlap_of", lambda p, q: (positive(p) * positive(q)).sum(), "a product of shares"),
    ("overlap_of", lambda p, q: (p * q).sum(), "an inner product"),
    (
        "overlap_of",
        lambda p, q: torch.minimum(positive(p), positive(q)).sum() / torch.maximum(positive(p), positive(q)).sum(),
        "intersection over union",
    ),
    ("overlap_of", lambda p, q: torch.minimum(positive(p), positive(q)), "add them up"),
    ("holm", lambda p: p, "nothing is corrected"),
    ("holm", lambda p: torch.minimum(p * len(p), torch.ones(())), "stricter than it need be"),
    ("holm", lambda p: p * len(p), "leaves values above 1"),
    ("holm", lambda p: torch.tensor(holm_by_loops(p)).sort().values, "put each back"),
    ("holm", lambda p: torch.tensor([min(1.0, (len(p) - int((p < v).sum())) * float(v)) for v in p]), "running maximum"),
    ("holm", lambda p: torch.tensor([min(1.0, float(v) * len(p) / int((p <= v).sum())) for v in p]), "another question"),
    ("holm", lambda p: torch.tensor([min(1.0, float(v) * int((p <= v).sum())) for v in p]), "turned round"),
]


def test_every_task_of_the_studies_has_a_right_answer_here():
    assert set(RIGHT) == {name for name, check in checking._TASKS.items() if check.__module__ == studies.__name__}


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass_and_placeholders_wait(name):
    said = exercises.check(name, RIGHT[name])
    assert said.right is True, said.text
    assert exercises.check(name, lambda *_: ...).right is None


@pytest.mark.parametrize(("name", "answer", "part"), WRONG)
def test_typical_mistakes_get_their_hint(name, answer, part):
    said = exercises.check(name, answer)
    assert said.right is False
    assert part in said.text


def test_the_right_modularity_is_the_density_of_the_chapter():
    z, y = torch.randn(40, 3, generator=torch.Generator().manual_seed(1)), torch.arange(40) % 4
    assert float(modularity_by_classes(similarity_graph(z, 0.1), y)) == pytest.approx(float(rld(z, y, 0.1)), abs=1e-6)
