"""Each loss against loops straight from its formula, at its known limits, and against those of other libraries."""

import math

import pytest
import torch
from torch import Tensor

from xaicl_lib.training import losses


def draw(*names: str, n: int = 5, d: int = 4, seed: int = 0) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=g) for _ in names]


def unit(z: Tensor) -> Tensor:
    return z / z.norm(dim=1, keepdim=True)


def test_nt_xent_equals_two_loops() -> None:
    za, zb = draw("a", "b")
    z = unit(torch.cat([za, zb]))
    total = 0.0
    for i in range(10):
        others = sum(math.exp(z[i] @ z[k] / 0.3) for k in range(10) if k != i)
        total -= math.log(math.exp(z[i] @ z[(i + 5) % 10] / 0.3) / others)
    assert losses.nt_xent(za, zb, 0.3).item() == pytest.approx(total / 10, rel=1e-5)


def test_nt_xent_at_its_limits() -> None:
    n, d = 64, 4096
    za, zb = draw("a", "b", n=n, d=d)
    assert losses.nt_xent(za, zb, 0.5).item() == pytest.approx(math.log(2 * n - 1), abs=0.01)  # random: nearly orthogonal
    assert losses.nt_xent(torch.ones(n, d), torch.ones(n, d)).item() == pytest.approx(math.log(2 * n - 1), abs=1e-4)
    assert losses.nt_xent(torch.eye(n), torch.eye(n), 0.05).item() < 1e-5  # perfect


def test_barlow_twins_equals_loops() -> None:
    za, zb = draw("a", "b", n=6, d=3)
    total = 0.0
    for i in range(3):
        for j in range(3):
            x, y = (za[:, i] - za[:, i].mean()).double(), (zb[:, j] - zb[:, j].mean()).double()
            c = float((x @ y) / (x @ x).sqrt() / (y @ y).sqrt())
            total += (1 - c) ** 2 if i == j else 0.02 * c**2
    assert losses.barlow_twins(za, zb, 0.02).item() == pytest.approx(total, rel=1e-3)


def test_barlow_twins_at_its_limits() -> None:
    n, d = 512, 8
    signs = torch.stack([(torch.arange(n) >> k) % 2 * 2.0 - 1 for k in range(d)], 1)  # dimensions without any correlation
    assert losses.barlow_twins(signs, signs).item() == pytest.approx(0, abs=1e-4)
    assert losses.barlow_twins(signs, signs.roll(1, 1), 0.01).item() == pytest.approx(1.01 * d, rel=1e-3)  # all in the wrong place
    za, zb = draw("a", "b", n=4096, d=d)
    assert losses.barlow_twins(za, zb, 1.0).item() == pytest.approx(d + d * d / 4096, abs=0.3)


def test_barlow_twins_ignores_scale_and_mean() -> None:
    za, zb = draw("a", "b", n=64)
    assert losses.barlow_twins(7 * za + 3, zb - 1).item() == pytest.approx(losses.barlow_twins(za, zb).item(), rel=1e-3)


def test_simsiam_is_the_mean_negative_cosine_and_stops_the_gradient() -> None:
    pa, pb, za, zb = (t.requires_grad_() for t in draw("pa", "pb", "za", "zb"))
    loss = losses.simsiam(pa, pb, za, zb)
    want = -sum((unit(pa)[k] @ unit(zb)[k] + unit(pb)[k] @ unit(za)[k]).item() for k in range(5)) / 10
    assert loss.item() == pytest.approx(want, rel=1e-5)
    loss.backward()
    assert za.grad is None
    assert zb.grad is None
    assert pa.grad is not None
    assert pa.grad.abs().max() > 0
    assert losses.simsiam(za, zb, zb, za).item() == pytest.approx(-1)


def test_moco_v3_equals_loops_and_stops_the_gradient() -> None:
    q1, q2, k1, k2 = (t.requires_grad_() for t in draw("qa", "qb", "ka", "kb"))
    loss = losses.moco_v3(q1, q2, k1, k2, 0.3)
    want = 0.0
    for q, k in ((unit(q1), unit(k2)), (unit(q2), unit(k1))):
        for i in range(5):
            shares = [math.exp(q[i] @ k[j] / 0.3) for j in range(5)]
            want -= 2 * 0.3 * math.log(shares[i] / sum(shares)) / 5
    assert loss.item() == pytest.approx(want, rel=1e-5)
    loss.backward()
    assert k1.grad is None
    assert k2.grad is None
    assert q1.grad is not None


def test_moco_v3_at_its_limits() -> None:
    ones = torch.ones(16, 8)
    assert losses.moco_v3(ones, ones, ones, ones, 0.2).item() == pytest.approx(4 * 0.2 * math.log(16), rel=1e-5)
    eye = torch.eye(16)
    assert losses.moco_v3(eye, eye, eye, eye, 0.05).item() < 1e-5


def test_dino_equals_loops_and_stops_the_gradient() -> None:
    ta, tb, sa, sb, sc = (t.requires_grad_() for t in draw("ta", "tb", "sa", "sb", "sc"))
    loss = losses.dino(ta, tb, sa, sb, sc, temperature=0.3, teacher_temperature=0.5)
    shares = (torch.cat([ta, tb]) / 0.5).detach().exp()
    for _ in range(3):
        shares = shares / shares.sum(0)
        shares = shares / shares.sum(1, keepdim=True)
    terms = [
        -sum((p[i] @ (s / 0.3).log_softmax(1)[i]).item() for i in range(5)) / 5
        for p, others in ((shares[:5], (sb, sc)), (shares[5:], (sa, sc))) for s in others
    ]  # fmt: skip
    assert loss.item() == pytest.approx(sum(terms) / 4, rel=1e-5)
    loss.backward()
    assert ta.grad is None
    assert tb.grad is None
    assert all(s.grad is not None and float(s.grad.abs().max()) > 0 for s in (sa, sb, sc))


def test_dino_at_its_limits() -> None:
    teacher, nothing = 9 * torch.eye(8), torch.zeros(8, 8)
    assert losses.dino(teacher, teacher, nothing, nothing).item() == pytest.approx(math.log(8), rel=1e-5)
    assert losses.dino(teacher, teacher, teacher, teacher).item() < 1e-5
    shares = losses._balanced(torch.tensor([[5.0, 0.0], [4.0, 0.0], [3.0, 0.0], [2.0, 0.0]]), rounds=50)
    torch.testing.assert_close(shares.sum(0), torch.tensor([2.0, 2.0]), atol=1e-3, rtol=0)


def test_supcon_equals_loops() -> None:
    z = draw("z", n=7)[0]
    labels = torch.tensor([0, 1, 0, 2, 1, 0, 3])  # two of them are alone
    e, terms = unit(z), []
    for i in range(7):
        positives = [p for p in range(7) if p != i and labels[p] == labels[i]]
        if positives:
            others = sum(math.exp(e[i] @ e[k] / 0.2) for k in range(7) if k != i)
            terms.append(-sum(math.log(math.exp(e[i] @ e[p] / 0.2) / others) for p in positives) / len(positives))
    assert losses.supcon(z, labels, 0.2).item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_supcon_of_two_views_a_class_is_nt_xent() -> None:
    za, zb = draw("a", "b")
    assert losses.supcon(torch.cat([za, zb]), torch.arange(5).repeat(2), 0.3).item() == pytest.approx(losses.nt_xent(za, zb, 0.3).item())
    assert losses.supcon(torch.ones(8, 3), torch.arange(8) % 2).item() == pytest.approx(math.log(7), rel=1e-5)


def test_supcon_has_a_finite_gradient_when_items_are_alone() -> None:
    z = draw("z")[0].requires_grad_()
    losses.supcon(z, torch.tensor([0, 0, 1, 2, 3])).backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()
    assert z.grad.abs().max() > 0


def test_batch_hard_triplet_equals_loops() -> None:
    z = draw("z", n=8)[0]
    labels = torch.arange(8) % 3
    total = 0.0
    for i in range(8):
        distance = [float((z[i] - z[k]).norm()) for k in range(8)]
        far = max(distance[k] for k in range(8) if labels[k] == labels[i])
        near = min(distance[k] for k in range(8) if labels[k] != labels[i])
        total += math.log(1 + math.exp(far - near))
    assert losses.batch_hard_triplet(z, labels).item() == pytest.approx(total / 8, rel=1e-4)


def test_batch_hard_triplet_at_its_limits() -> None:
    same = torch.ones(6, 3, requires_grad=True)
    loss = losses.batch_hard_triplet(same, torch.arange(6) % 2)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2), abs=1e-3)
    assert same.grad is not None
    assert same.grad.isfinite().all()
    opposite = torch.tensor([[1.0, 0], [-1, 0]]).repeat(3, 1)
    assert losses.batch_hard_triplet(opposite, torch.arange(6) % 2).item() == pytest.approx(math.log(1 + math.exp(-2)), abs=1e-3)
    assert losses.batch_hard_triplet(10 * opposite, torch.arange(6) % 2).item() == pytest.approx(0, abs=1e-6)
    assert losses.batch_hard_triplet(opposite, torch.zeros(6)).item() == 0  # one class: there is no triplet


def test_losses_agree_with_pytorch_metric_learning() -> None:
    theirs = pytest.importorskip("pytorch_metric_learning.losses", reason="pytorch-metric-learning of requirements.txt is not installed")
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.miners import BatchHardMiner

    za, zb = draw("za", "zb", n=32, d=16)
    both, photo = torch.cat([za, zb]), torch.arange(32).repeat(2)
    assert losses.nt_xent(za, zb, 0.3).item() == pytest.approx(theirs.NTXentLoss(0.3)(both, photo).item(), rel=1e-5)
    classes = torch.arange(64) % 5
    assert losses.supcon(both, classes, 0.2).item() == pytest.approx(theirs.SupConLoss(0.2)(both, classes).item(), rel=1e-5)
    plain = LpDistance(normalize_embeddings=False)
    hardest = BatchHardMiner(distance=plain)(both, classes)
    want = theirs.TripletMarginLoss(margin=0.0, smooth_loss=True, distance=plain)(both, classes, hardest)
    assert losses.batch_hard_triplet(both, classes).item() == pytest.approx(want.item(), rel=1e-5)


def test_losses_agree_with_lightly() -> None:
    """Not among our requirements: it brings a training framework, a configuration system and a web client with it."""
    theirs = pytest.importorskip("lightly.loss", reason="lightly is not installed: pip install lightly")
    za, zb, pa, pb = draw("za", "zb", "pa", "pb", n=32, d=16)
    cosine = theirs.NegativeCosineSimilarity()
    assert losses.nt_xent(za, zb, 0.3).item() == pytest.approx(theirs.NTXentLoss(0.3)(za, zb).item(), rel=1e-5)
    assert losses.barlow_twins(za, zb, 0.01).item() == pytest.approx(theirs.BarlowTwinsLoss(0.01)(za, zb).item(), rel=1e-3)
    assert losses.simsiam(pa, pb, za, zb).item() == pytest.approx((cosine(pa, zb) + cosine(pb, za)).item() / 2, rel=1e-5)


def test_a_temperature_at_its_end_can_come_back() -> None:
    za, zb = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    scales = [torch.tensor(at).log().requires_grad_() for at in (100.0, 130.0)]
    at_end, beyond = (losses.clip(za, zb, scale) for scale in scales)
    assert float(beyond) == pytest.approx(float(at_end), rel=1e-5)
    beyond.backward()
    assert scales[1].grad > 0, "pairs that go badly ask for a smaller scale"
