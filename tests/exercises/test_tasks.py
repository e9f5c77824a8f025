"""The book's own tasks: a right answer passes, and each typical mistake gets the hint that is meant for it."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from xaicl_lib import exercises
from xaicl_lib.exercises import tasks


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
    "check_signed_cam": loops_cam,
    "check_area": loop_area,
    "check_box": in_the_middle,
    "check_solarised": lambda x: 0.5 - (x - 0.5).abs(),
    "check_target": lambda z, z_b: F.cosine_similarity(z, z_b, dim=0),
    "check_cosine": lambda x, y: F.cosine_similarity(x, y, dim=0),
    "check_pointing": loop_pointing,
    "check_interval": loop_interval,
    "check_shared_scale": one_limit,
    "check_normalised": lambda x, m, s: torch.stack([(x[:, k] - m[k]) / s[k] for k in range(len(m))], 1),
}

WRONG = [
    ("check_signed_cam", lambda f, g: (f * g.relu()).sum(1), "Grad-CAM with its ReLU"),
    ("check_signed_cam", lambda f, g: (f * g).sum(1).relu(), "clipped away"),
    ("check_signed_cam", lambda f, g: f.sum(1), "gradients are not used"),
    ("check_signed_cam", lambda f, g: f * g, "still has its channels"),
    ("check_signed_cam", lambda f, g: (f * g).sum(2), "shape (2, 5, 4), and shape (2, 3, 4)"),
    ("check_area", lambda s: s.mean(), "the two ends as much weight"),
    ("check_area", lambda s: s.sum() / (len(s) - 1), "two ends count half"),
    ("check_area", lambda s: s[1:].mean(), "right end"),
    ("check_box", lambda a: ((1 - a) / 2, (1 - a) / 2, a, a), "use the area as the side"),
    ("check_box", lambda a: (0, 0, a**0.5, a**0.5), "in the corner"),
    ("check_box", lambda a: (0.25, 0.25, 0.75, 0.75), "width and height"),
    ("check_solarised", lambda x: 1 - x, "a negative"),
    ("check_solarised", lambda x: torch.where(x < 0.5, 1 - x, x), "wrong way round"),
    ("check_solarised", lambda x: x, "nothing changes"),
    ("check_target", lambda z, z_b: z @ z_b, "dot product"),
    ("check_target", lambda z, z_b: z @ z_b / z_b.norm(), "first embedding still matters"),
    ("check_target", lambda z, z_b: z * z_b / z.norm() / z_b.norm(), "a target is one number"),
    ("check_cosine", lambda x, y: x @ y, "dot product"),
    ("check_normalised", lambda x, m, s: (x - m) / s, "means each column"),
    ("check_normalised", lambda x, m, s: x * s.view(-1, 1, 1) + m.view(-1, 1, 1), "the way back"),
    ("check_normalised", lambda x, m, s: (x - x.mean()) / x.std(), "of the images at hand"),
    ("check_normalised", lambda x, m, s: x - m.view(-1, 1, 1), "deviation is not used"),
    ("check_pointing", lambda m, t: t[:, 0, 0], "corner"),
    ("check_pointing", lambda m, t: m.flatten(1).argmax(1), "these are the places"),
    ("check_interval", lambda v, d: torch.quantile(v, torch.tensor([0.025, 0.975])), "how far pairs differ"),
    ("check_interval", lambda v, d: torch.quantile(v[d].mean(1), torch.tensor([0.05, 0.95])), "lie 90 %"),
    ("check_shared_scale", lambda a, b: (a / a.abs().max(), b / b.abs().max()), "a scale of its own"),
    ("check_shared_scale", lambda a, b: (a, b), "nothing is scaled"),
]


def test_every_task_of_the_book_has_a_right_answer_here():
    assert set(RIGHT) == {name for name in dir(tasks) if name.startswith("check_") and name != "check_function"}
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


def test_a_negative_extreme_sets_the_scale_too():
    def by_the_largest(a, b):
        limit = torch.maximum(a.max(), b.max())
        return a / limit, b / limit

    said = exercises.check_shared_scale(by_the_largest)
    assert said.right is False
    assert "mind the sign" in said.text
