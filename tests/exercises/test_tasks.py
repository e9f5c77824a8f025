"""The book's own tasks: a right answer passes, and each typical mistake gets the hint that is meant for it."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from xaicl_lib import exercises
from xaicl_lib.exercises import checking, tasks


def loops_cam(f, g):
    n, c, i, j = f.shape
    out = torch.zeros(n, i, j)
    for d in range(c):
        out += f[:, d] * g[:, d]
    return out


def loop_pointing(m, t):
    return [bool(t[k].flatten()[m[k].flatten().argmax()]) for k in range(len(m))]


def loop_area(scores):
    return sum((float(a) + float(b)) / 2 for a, b in pairwise(scores)) / (len(scores) - 1)


def loop_interval(values, draws):
    return np.percentile([values[row].mean() for row in draws], [2.5, 97.5])


def one_limit(a, b):
    limit = max(float(a.abs().max()), float(b.abs().max()))
    return a / limit, b / limit


def in_the_middle(area):
    side = area**0.5
    return [(1 - side) / 2] * 2 + [side] * 2


RIGHT = {
    "signed_cam": loops_cam,
    "area": loop_area,
    "box": in_the_middle,
    "solarised": lambda x: 0.5 - (x - 0.5).abs(),
    "target": lambda z, z_b: F.cosine_similarity(z, z_b, dim=0),
    "cosine": lambda x, y: F.cosine_similarity(x, y, dim=0),
    "pointing": loop_pointing,
    "interval": loop_interval,
    "shared_scale": one_limit,
    "normalised": lambda x, m, s: torch.stack([(x[:, k] - m[k]) / s[k] for k in range(len(m))], 1),
}

WRONG = [
    ("signed_cam", lambda f, g: (f * g.relu()).sum(1), "Grad-CAM with its ReLU"),
    ("signed_cam", lambda f, g: (f * g).sum(1).relu(), "clipped away"),
    ("signed_cam", lambda f, g: f.sum(1), "gradients are not used"),
    ("signed_cam", lambda f, g: f * g, "still has its channels"),
    ("signed_cam", lambda f, g: (f * g).sum(2), "shape (2, 5, 4), and shape (2, 3, 4)"),
    ("area", lambda s: s.mean(), "the two ends as much weight"),
    ("area", lambda s: s.sum() / (len(s) - 1), "two ends count half"),
    ("area", lambda s: s[1:].mean(), "right end"),
    ("box", lambda a: ((1 - a) / 2, (1 - a) / 2, a, a), "use the area as the side"),
    ("box", lambda a: (0, 0, a**0.5, a**0.5), "in the corner"),
    ("box", lambda a: (0.25, 0.25, 0.75, 0.75), "width and height"),
    ("solarised", lambda x: 1 - x, "a negative"),
    ("solarised", lambda x: torch.where(x < 0.5, 1 - x, x), "wrong way round"),
    ("solarised", lambda x: x, "nothing changes"),
    ("target", lambda z, z_b: z @ z_b, "dot product"),
    ("target", lambda z, z_b: z @ z_b / z_b.norm(), "first embedding still matters"),
    ("target", lambda z, z_b: z * z_b / z.norm() / z_b.norm(), "a target is one number"),
    ("cosine", lambda x, y: x @ y, "dot product"),
    ("normalised", lambda x, m, s: (x - m) / s, "means each column"),
    ("normalised", lambda x, m, s: x * s.view(-1, 1, 1) + m.view(-1, 1, 1), "the way back"),
    ("normalised", lambda x, m, s: (x - x.mean()) / x.std(), "of the images at hand"),
    ("normalised", lambda x, m, s: x - m.view(-1, 1, 1), "deviation is not used"),
    ("pointing", lambda m, t: t[:, 0, 0], "corner"),
    ("pointing", lambda m, t: m.flatten(1).argmax(1), "these are the places"),
    ("interval", lambda v, d: torch.quantile(v, torch.tensor([0.025, 0.975])), "how far pairs differ"),
    ("interval", lambda v, d: torch.quantile(v[d].mean(1), torch.tensor([0.05, 0.95])), "lie 90 %"),
    ("shared_scale", lambda a, b: (a / a.abs().max(), b / b.abs().max()), "a scale of its own"),
    ("shared_scale", lambda a, b: (a, b), "nothing is scaled"),
]


def test_every_task_of_the_book_has_a_right_answer_here():
    assert set(RIGHT) == {name for name, check in checking._TASKS.items() if check.__module__ == tasks.__name__}


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


def test_a_negative_extreme_sets_the_scale_too():
    def by_the_largest(a, b):
        limit = torch.maximum(a.max(), b.max())
        return a / limit, b / limit

    said = exercises.check("shared_scale", by_the_largest)
    assert said.right is False
    assert "mind the sign" in said.text


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("signed_cam", lambda f, g: (f.abs() * g).sum(1)),
        ("signed_cam", lambda f, g: (f.clamp(min=0) * g).sum(1)),
        ("pointing", lambda m, t: t.flatten(1).gather(1, m.abs().flatten(1).argmax(1, keepdim=True))[:, 0]),
        ("shared_scale", lambda a, b: (a / a.abs().max(), b / a.abs().max())),
    ],
)
def test_answers_that_only_seem_right_are_told(name, answer) -> None:
    assert exercises.check(name, answer).right is False


def test_an_answer_of_another_kind_of_number_is_no_right_one() -> None:
    for answer in (
        lambda f, g: (f * g).sum(1) + 5j,
        lambda f, g: (f * g).sum(1).to_sparse(),
        lambda f, g: torch.empty(2, 3, 4, device="meta"),
    ):
        assert exercises.check("signed_cam", answer).right is False
