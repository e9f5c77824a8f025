"""The tasks of the studies' chapters: a right answer passes, and each typical mistake gets the hint that is meant for it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from xaicl_lib import exercises
from xaicl_lib.exercises import studies
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
    "check_why_not": difference_by_hand,
    "check_times_chance": means_apart,
    "check_holm": holm_by_loops,
    "check_texture_bias": counted,
    "check_relative_error": error_by_loops,
    "check_partial": partial_by_inverse,
    "check_corpus_score": score_by_pairs,
    "check_modularity": modularity_by_classes,
    "check_overlap_of": overlap_by_distance,
    "check_spread": spread_by_loops,
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
    ("check_texture_bias", lambda s, t: t.sum() / len(t), "divides by all trials"),
    ("check_texture_bias", lambda s, t: s.sum() / len(s), "the share of shape"),
    ("check_texture_bias", lambda s, t: s.sum() / (s | t).sum(), "shape bias"),
    ("check_texture_bias", lambda s, t: t.sum() / s.sum(), "odds"),
    ("check_texture_bias", lambda s, t: t.sum(), "a count"),
    ("check_texture_bias", lambda s, t: t.mean(), "count with .sum()"),
    ("check_relative_error", lambda f, g: ((f - g) ** 2).sum((1, 2, 3)), "not divided yet"),
    ("check_relative_error", lambda f, g: ((f - g) ** 2).mean((1, 2, 3)), "mean squared error"),
    ("check_relative_error", lambda f, g: ((f - g) ** 2).sum((1, 2, 3)) / (f**2).sum((1, 2, 3)), "the target's energy"),
    ("check_relative_error", lambda f, g: (f - g).flatten(1).norm(dim=1) / g.flatten(1).norm(dim=1), "ratio of lengths"),
    ("check_relative_error", lambda f, g: ((f - g) ** 2 / g**2).mean((1, 2, 3)), "not value by value"),
    ("check_relative_error", lambda f, g: ((f - g) ** 2).sum() / (g**2).sum(), "the batch is added up"),
    ("check_relative_error", lambda f, g: (f - g).abs().sum((1, 2, 3)) / g.abs().sum((1, 2, 3)), "the formula squares"),
    ("check_partial", lambda xy, xz, yz: xy, "z is not used"),
    ("check_partial", lambda xy, xz, yz: xy - xz * yz, "a covariance"),
    ("check_partial", lambda xy, xz, yz: (xy - xz * yz) / (1 - xz**2) / (1 - yz**2), "takes their root"),
    ("check_partial", lambda xy, xz, yz: (xy - xz * yz) / ((1 - xz) * (1 - yz)) ** 0.5, "square the correlations"),
    ("check_partial", lambda xy, xz, yz: (xy - xz * yz) / (1 - xz**2) ** 0.5, "from x alone"),
    ("check_partial", lambda xy, xz, yz: (xy - xz * yz) / (1 - yz**2) ** 0.5, "from y alone"),
    ("check_partial", lambda xy, xz, yz: xy / ((1 - xz**2) * (1 - yz**2)) ** 0.5, "through z is still in"),
    ("check_corpus_score", lambda z, c, r: z @ c.mean(0) - z @ r.mean(0), "normalise all three"),
    ("check_corpus_score", lambda z, c, r: unit(z) @ (c.mean(0) - r.mean(0)), "corpus and foil are not normalised"),
    ("check_corpus_score", lambda z, c, r: z @ (unit(c).mean(0) - unit(r).mean(0)), "the images are not normalised"),
    ("check_corpus_score", lambda z, c, r: unit(z) @ (unit(c.mean(0)) - unit(r.mean(0))), "normalise each embedding"),
    ("check_corpus_score", lambda z, c, r: unit(z) @ (unit(unit(c).mean(0)) - unit(unit(r).mean(0))), "leave the means"),
    ("check_corpus_score", lambda z, c, r: (unit(z) @ unit(c).T).mean(1), "the foil is not used"),
    ("check_corpus_score", lambda z, c, r: unit(z) @ (unit(r).mean(0) - unit(c).mean(0)), "corpus minus foil"),
    ("check_corpus_score", lambda z, c, r: unit(z) @ (unit(c).sum(0) - unit(r).sum(0)), "take means"),
    ("check_corpus_score", lambda z, c, r: (unit(z) @ (unit(c).mean(0) - unit(r).mean(0))).mean(), "not their mean"),
    ("check_why_not", lambda z, a, b: z @ a - z @ b, "make all three unit vectors"),
    ("check_why_not", lambda z, a, b: unit(z) @ (a - b), "the results have not"),
    ("check_why_not", lambda z, a, b: unit(z) @ unit(a - b), "subtract then"),
    ("check_why_not", lambda z, a, b: unit(z) @ (unit(b) - unit(a)), "how much more alike the second is"),
    ("check_why_not", lambda z, a, b: unit(z) @ unit(a), "not used yet"),
    ("check_why_not", lambda z, a, b: (unit(z) @ (unit(a) - unit(b))).mean(), "not their mean"),
    ("check_modularity", lambda w, y: (w * same(y)).sum() / w.sum(), "subtract what random edges"),
    ("check_modularity", lambda w, y: (w * same(y)).sum() / w.sum() - same(y).double().mean(), "keep the degree"),
    ("check_modularity", lambda w, y: ((w - of_degrees(w)) * same(y)).sum(), "it is a share"),
    ("check_modularity", lambda w, y: ((w - of_degrees(w) / 2) * same(y)).sum() / (2 * w.sum()), "it is 2m, not m"),
    ("check_modularity", lambda w, y: ((w - of_degrees(w) * 2) * same(y)).sum() / (w.sum() / 2), "without the half"),
    ("check_modularity", lambda w, y: ((w - of_degrees(w)) * ~same(y)).sum() / w.sum(), "different classes"),
    (
        "check_modularity",
        lambda w, y: ((w - of_degrees(w)) * (same(y) & ~torch.eye(len(y), dtype=torch.bool))).sum() / w.sum(),
        "keep the diagonal",
    ),
    ("check_spread", lambda w, x, s: joined(w, s) @ x / joined(w, s).sum(1, keepdim=True), "degrees of both ends"),
    ("check_spread", lambda w, x, s: (w.sum(1).rsqrt()[:, None] * joined(w, s) * w.sum(1).rsqrt()) @ x, "with the edge to oneself"),
    ("check_spread", lambda w, x, s: (w.sum(1).rsqrt()[:, None] * w * w.sum(1).rsqrt()) @ x, "the image itself is missing"),
    ("check_spread", lambda w, x, s: spread_by_loops(w, x, 1.0), "is s, not 1"),
    ("check_spread", lambda w, x, s: joined(w, s) @ x, "large features"),
    ("check_overlap_of", lambda p, q: torch.minimum(p.relu(), q.relu()).sum(), "sum to 1 first"),
    ("check_overlap_of", lambda p, q: torch.minimum(p / p.sum(), q / q.sum()).sum(), "negative values are still in"),
    ("check_overlap_of", lambda p, q: torch.minimum(p.abs() / p.abs().sum(), q.abs() / q.abs().sum()).sum(), "as if they were positive"),
    ("check_overlap_of", lambda p, q: torch.minimum(p.relu() / p.max(), q.relu() / q.max()).sum(), "not its largest"),
    ("check_overlap_of", lambda p, q: (positive(p) * positive(q)).sum(), "a product of shares"),
    ("check_overlap_of", lambda p, q: (p * q).sum(), "an inner product"),
    (
        "check_overlap_of",
        lambda p, q: torch.minimum(positive(p), positive(q)).sum() / torch.maximum(positive(p), positive(q)).sum(),
        "intersection over union",
    ),
    ("check_overlap_of", lambda p, q: torch.minimum(positive(p), positive(q)), "add them up"),
    ("check_holm", lambda p: p, "nothing is corrected"),
    ("check_holm", lambda p: torch.minimum(p * len(p), torch.ones(())), "stricter than it need be"),
    ("check_holm", lambda p: p * len(p), "leaves values above 1"),
    ("check_holm", lambda p: torch.tensor(holm_by_loops(p)).sort().values, "put each back"),
    ("check_holm", lambda p: torch.tensor([min(1.0, (len(p) - int((p < v).sum())) * float(v)) for v in p]), "running maximum"),
    ("check_holm", lambda p: torch.tensor([min(1.0, float(v) * len(p) / int((p <= v).sum())) for v in p]), "another question"),
    ("check_holm", lambda p: torch.tensor([min(1.0, float(v) * int((p <= v).sum())) for v in p]), "turned round"),
]


def test_every_task_of_the_studies_has_a_right_answer_here():
    assert set(RIGHT) == {name for name in dir(studies) if name.startswith("check_") and name != "check_function"}
    assert set(RIGHT) <= set(exercises.__all__)


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass_and_placeholders_wait(name):
    check = getattr(exercises, name)
    said = check(RIGHT[name])
    assert said.right is True, said.text
    assert check(lambda *_: ...).right is None


@pytest.mark.parametrize(("name", "answer", "part"), WRONG)
def test_typical_mistakes_get_their_hint(name, answer, part):
    said = getattr(exercises, name)(answer)
    assert said.right is False
    assert part in said.text


def test_the_right_modularity_is_the_density_of_the_chapter():
    z, y = torch.randn(40, 3, generator=torch.Generator().manual_seed(1)), torch.arange(40) % 4
    assert float(modularity_by_classes(similarity_graph(z, 0.1), y)) == pytest.approx(float(rld(z, y, 0.1)), abs=1e-6)
