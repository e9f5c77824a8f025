"""Losses of representation learning, each a function of embeddings, from their papers."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

__all__ = ["barlow_twins", "batch_hard_triplet", "clip", "cross_entropy", "dino", "moco_v3", "nt_xent", "simsiam", "supcon"]


def nt_xent(za: Float[Tensor, "n d"], zb: Float[Tensor, "n d"], temperature: float = 0.2) -> Float[Tensor, ""]:
    """Normalised-temperature cross-entropy of two views, the loss of SimCLR.

    Implements Eq. 1 of :cite:t:`chen2020simple`: with z the 2n unit vectors and p(i) the other view of i,
    mean_i  -log( exp(z_i . z_p(i) / T) / sum_{k != i} exp(z_i . z_k / T) ).

    Returns:
        A scalar >= 0; log(2n - 1) for embeddings that are all alike, near it for random ones of many dimensions.
    """
    n = len(za)
    z = F.normalize(torch.cat([za, zb]).float())  # (2n, d)
    logits = (z @ z.T / temperature).fill_diagonal_(float("-inf"))
    partner = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(logits, partner)


def barlow_twins(za: Float[Tensor, "n d"], zb: Float[Tensor, "n d"], redundancy: float = 0.0051) -> Float[Tensor, ""]:
    """Redundancy reduction: each dimension agrees between the views and no two dimensions say the same.

    Implements Eq. 1 and 2 of :cite:t:`zbontar2021barlow`: with C_ij the correlation over the batch of dimension i of one
    view and j of the other, sum_i (1 - C_ii)^2 + redundancy * sum_{i != j} C_ij^2.

    Returns:
        A scalar >= 0; 0 for views that agree and dimensions without correlation, d + redundancy * (d^2 - d) / n on average
        for unrelated ones, (1 + redundancy) * d at most for dimensions without correlation of which none agrees at all.
    """
    za, zb = ((z.float() - z.mean(0)) / (z.float().std(0, correction=0) + 1e-5) for z in (za, zb))  # (n, d)
    correlation = za.T @ zb / len(za)  # (d, d)
    agreement = correlation.diagonal()
    redundant = correlation.square().sum() - agreement.square().sum()
    return (1 - agreement).square().sum() + redundancy * redundant


def simsiam(pa: Float[Tensor, "n d"], pb: Float[Tensor, "n d"], za: Float[Tensor, "n d"], zb: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Negative cosine of each view's prediction with the other view's embedding, through which no gradient passes.

    Implements Eq. 1 to 4 of :cite:t:`chen2021exploring`: D(p_a, stopgrad(z_b)) / 2 + D(p_b, stopgrad(z_a)) / 2.

    Returns:
        A scalar in [-1, 1]; -1 if every prediction is right, which a collapsed network reaches too.
    """
    return -(F.cosine_similarity(pa, zb.detach()).mean() + F.cosine_similarity(pb, za.detach()).mean()) / 2


def moco_v3(
    qa: Float[Tensor, "n d"],
    qb: Float[Tensor, "n d"],
    ka: Float[Tensor, "n d"],
    kb: Float[Tensor, "n d"],
    temperature: float = 0.2,
) -> Float[Tensor, ""]:
    """InfoNCE between the queries of each view and the momentum keys of the other, both ways.

    Implements Eq. 1 and Alg. 1 of :cite:t:`chen2021empirical`: ctr(q_a, k_b) + ctr(q_b, k_a) with
    ctr(q, k) = 2 T mean_i -log( exp(q_i . k_i / T) / sum_j exp(q_i . k_j / T) ) on unit vectors; no gradient reaches the keys.

    Returns:
        A scalar >= 0; 4 T log(n) for embeddings that are all alike.
    """
    qa, qb, ka, kb = (F.normalize(z.float()) for z in (qa, qb, ka.detach(), kb.detach()))
    own = torch.arange(len(qa), device=qa.device)
    ways = [F.cross_entropy(q @ k.T / temperature, own) for q, k in ((qa, kb), (qb, ka))]
    return 2 * temperature * (ways[0] + ways[1])


def dino(
    ta: Float[Tensor, "n k"],
    tb: Float[Tensor, "n k"],
    *students: Float[Tensor, "n k"],
    temperature: float = 0.1,
    teacher_temperature: float = 0.05,
) -> Float[Tensor, ""]:
    """Cross-entropy of what the student says of each view with what the teacher says of every other, the loss of DINO.

    Implements Eq. 3 of :cite:t:`caron2021emerging`: mean over teacher views t and student views s != t of
    -sum_k P_t[k] log P_s[k], with P_s the softmax of logits / temperature; no gradient reaches the teacher.

    Differs: what the teacher says is balanced over the batch by three rounds of Sinkhorn and Knopp, as in
    :cite:t:`caron2020unsupervised` and as :cite:t:`oquab2024dinov2` do, in place of a running centre.

    Args:
        ta, tb: the teacher's logits of both whole views.
        students: the student's, of the same two views, then of others.

    Returns:
        A scalar >= 0; log(k) for a student that says nothing.
    """
    targets = _balanced(torch.cat([ta, tb]).detach() / teacher_temperature).chunk(2)
    said = [s.div(temperature).log_softmax(1) for s in students]
    each = [-(p * q).sum(1).mean() for t, p in enumerate(targets) for s, q in enumerate(said) if s != t]
    return torch.stack(each).mean()


def _balanced(logits: Float[Tensor, "n k"], rounds: int = 3) -> Float[Tensor, "n k"]:
    """Shares, rows that sum to 1, of k prototypes which all rows together choose about equally often.

    Sinkhorn and Knopp's iteration: columns and rows of exp(logits) are scaled in turn to sums of n / k and 1.
    """
    for _ in range(rounds):
        logits = (logits - logits.logsumexp(0)).log_softmax(1)
    return logits.exp()


def supcon(z: Float[Tensor, "n d"], labels: Int[Tensor, " n"], temperature: float = 0.1) -> Float[Tensor, ""]:
    """Supervised contrastive loss: all items of a class are positives of each other.

    Implements Eq. 2 (L_out) of :cite:t:`khosla2020supervised`: with P(i) the other items of the class of i,
    mean_i  -1/|P(i)| sum_{p in P(i)} log( exp(z_i . z_p / T) / sum_{k != i} exp(z_i . z_k / T) ) on unit vectors.
    Several views of a photo are several items. Items alone in their class are left out of the mean.

    Returns:
        A scalar >= 0; log(n - 1) for embeddings that are all alike; NT-Xent if each class is one photo's two views.
    """
    z = F.normalize(z.float())
    self_ = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logits = (z @ z.T / temperature).masked_fill(self_, float("-inf"))  # (n, n)
    log_share = logits.log_softmax(1).masked_fill(self_, 0)
    positive = (labels.unsqueeze(0) == labels.unsqueeze(1)) & ~self_
    count = positive.sum(1)
    return -((log_share * positive).sum(1)[count > 0] / count[count > 0]).mean()


def batch_hard_triplet(z: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Each item against the farthest of its class and the nearest of another in the batch, with a soft margin.

    Implements Eq. 5 of :cite:t:`hermans2017defense` with the soft margin of its Sec. 2:
    mean_i  log(1 + exp( max_{p of the class} |z_i - z_p| - min_{n of another} |z_i - z_n| )).

    As in the paper, of embeddings of any length: the soft margin has a scale of its own, and on unit vectors, no two of which are
    farther apart than 2, hardly tells a solved triplet from an unsolved one.

    Returns:
        A scalar > 0; log(2) for embeddings that are all alike, near 0 for classes far apart.
    """
    z = z.float()
    distance = (z.unsqueeze(0) - z.unsqueeze(1)).square().sum(2).clamp_min(1e-8).sqrt()  # (n, n); the clamp keeps the root's slope finite
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    hardest_positive = distance.masked_fill(~same, 0).amax(1)
    hardest_negative = distance.masked_fill(same, float("inf")).amin(1)
    return F.softplus(hardest_positive - hardest_negative).mean()


def clip(
    za: Float[Tensor, "n d"], zb: Float[Tensor, "n d"], log_scale: Float[Tensor, ""], hard: Float[Tensor, "m d"] | None = None
) -> Float[Tensor, ""]:
    """InfoNCE between pictures and texts, both ways, with a temperature that is learned.

    Implements Fig. 3 of :cite:t:`radford2021learning`: with unit vectors and logits z_a . z_b * exp(log_scale), the mean of the
    cross-entropies of finding each picture's text and each text's picture in the batch; the scale is at most 100 (Sec. 2.5).
    With `hard`, texts that are false of every picture, pictures find theirs among these, too, as :cite:t:`yuksekgonul2023when` train
    (Sec. 4).

    Returns:
        A scalar >= 0; log(n) for embeddings that are all alike, without hard texts.
    """
    za, zb, scale = F.normalize(za.float()), F.normalize(zb.float()), log_scale.exp()
    scale = scale + (scale.clamp(max=100) - scale).detach()  # in value alone: without a gradient it could never come back
    texts = zb if hard is None else torch.cat([zb, F.normalize(hard.float())])
    own = torch.arange(len(za), device=za.device)
    return (F.cross_entropy(za @ texts.T * scale, own) + F.cross_entropy(zb @ za.T * scale, own)) / 2
