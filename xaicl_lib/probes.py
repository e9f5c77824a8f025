"""Simple classifiers on embeddings, which tell what a model has learned: neighbours and logistic regression."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xaicl_lib.errors import InputError

PROBE_C = 0.1  # inverse strength of the linear probe's L2 penalty, the same for all models


def knn_accuracy(
    train: Float[Tensor, "n c"], train_labels: Int[Tensor, " n"], test: Float[Tensor, "m c"], test_labels: Int[Tensor, " m"], k: int = 20
) -> float:
    """Share of test items whose `k` nearest neighbours by cosine vote for their class (one vote each)."""
    from sklearn.neighbors import KNeighborsClassifier

    if len(train) < k:
        raise InputError(f"expected at least {k} training items, of which the nearest vote, got {len(train)}")
    judge = KNeighborsClassifier(k, metric="cosine").fit(train.numpy(), train_labels.numpy())
    return float(judge.score(test.numpy(), test_labels.numpy()))


def probe_accuracy(
    train: Float[Tensor, "n c"], train_labels: Int[Tensor, " n"], test: Float[Tensor, "m c"], test_labels: Int[Tensor, " m"]
) -> float:
    """Share of test items that a logistic regression on the standardised features puts into their class."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    judge = make_pipeline(StandardScaler(), LogisticRegression(C=PROBE_C, max_iter=1000)).fit(train.numpy(), train_labels.numpy())
    return float(judge.score(test.numpy(), test_labels.numpy()))


def linear_probe(embeddings: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> nn.Linear:
    """A linear classifier of embeddings, for `scores.class_evidence`: logistic regression on standardised embeddings, as one linear layer.

    Args:
        embeddings: to learn from.
        labels: their classes, 0, 1, ...

    Returns:
        A layer from embeddings (n, d) to class scores (n, classes); frozen.

    Raises:
        InputError: labels of another number, fewer than two classes or a gap between them, or embeddings that are not finite.
    """
    from sklearn.linear_model import LogisticRegression

    classes = labels.unique().tolist()
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise InputError(f"expected one label for each of (n, d) embeddings, got {tuple(labels.shape)} for {tuple(embeddings.shape)}")
    if len(classes) < 2 or classes != list(range(len(classes))):
        raise InputError(f"expected labels of at least two classes 0, 1, ..., got {classes[:5]}")
    if not embeddings.isfinite().all():
        raise InputError("expected finite embeddings to learn from, got NaN or infinity")
    z = embeddings.detach().cpu().double()
    mean, std = z.mean(0), z.std(0, correction=0)
    std = torch.where(std > 0, std, 1.0)
    judge = LogisticRegression(C=PROBE_C, max_iter=1000).fit(((z - mean) / std).numpy(), labels.cpu().numpy())
    weight, bias = (torch.from_numpy(part) for part in (judge.coef_, judge.intercept_))
    if len(classes) == 2:  # scikit-learn then has one row, the evidence for class 1
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    weight = weight / std
    layer = nn.Linear(z.shape[1], len(classes)).requires_grad_(False).to(embeddings)
    layer.weight.copy_(weight)
    layer.bias.copy_(bias - weight @ mean)
    return layer
