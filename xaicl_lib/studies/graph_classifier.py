"""Classifiers on frozen features: linear, perceptron, nearest neighbours, and a graph network on the similarity graph of all items."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from scipy import special
from torch import Generator, Tensor, nn

from xaicl_lib.errors import InputError
from xaicl_lib.probes import PROBE_C, knn_accuracy
from xaicl_lib.statistics.paired import holm
from xaicl_lib.studies.organization import Labels, checked, classes_of, relative_to, similarity_graph

STEPS = 100  # of the optimiser at most; a linear head needs some 30
_NEIGHBOURS = 20  # of k-NN at most
TEMPERATURE = 0.1  # of the graph


class _Graph(NamedTuple):
    """Rows of a graph of n items, float32: their weights (m, n), the degrees of all (n,), and which rows they are."""

    weights: Tensor
    degrees: Tensor
    rows: Tensor

    def some(self, rows: Tensor) -> "_Graph":
        """Only some rows of a whole graph."""
        return _Graph(self.weights[rows], self.degrees, rows)


def _graph_of(features: Float[Tensor, "n d"], temperature: float = TEMPERATURE) -> _Graph:
    """The graph of `similarity_graph`, scaled to a mean degree of 1."""
    weights = similarity_graph(features, temperature)
    weights = (weights * (len(weights) / weights.sum())).float()
    return _Graph(weights, weights.sum(1), torch.arange(len(weights)))


class _GraphHead(nn.Module):
    """A head of one layer, or of two with a ReLU between, with each layer averaged over a graph or not.

    Implements the classifier of Sec. 4 of :cite:t:`zhang2023organize`, a graph convolutional network
    (:cite:t:`kipf2017semi`): H' = D^-1/2 (A + s I) D^-1/2 H W + b, where D holds the row sums of A + s I, and s > 0, the weight of each
    item's edge to itself, is learned. Without a graph it is a linear classifier or a perceptron, so that the graph is the only difference.

    Differs: the graph is scaled to a mean degree of 1, so that s = 1, where it begins, gives an average item as much weight as
    its neighbours together.
    """

    def __init__(self, d: int, classes: int, *, hidden: int = 0, graph: bool = True) -> None:
        super().__init__()
        widths = [d, hidden, classes] if hidden else [d, classes]
        self.layers = nn.ModuleList(nn.utils.skip_init(nn.Linear, a, b) for a, b in itertools.pairwise(widths))
        generator = Generator().manual_seed(0)  # of the weights of two layers; a single one begins at zero
        with torch.no_grad():
            for layer in self.linears:
                nn.init.zeros_(layer.bias)
                if hidden:
                    nn.init.xavier_uniform_(layer.weight, generator=generator)
                else:
                    nn.init.zeros_(layer.weight)
        self.log_self: nn.Parameter | None = nn.Parameter(torch.zeros(())) if graph else None

    @property
    def linears(self) -> list[nn.Linear]:
        """The layers, one after the other."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, x: Float[Tensor, "n d"], graph: _Graph | None = None, part: _Graph | None = None) -> Float[Tensor, "m k"]:
        """Scores of all items, or of those of a part of the graph."""
        for depth, layer in enumerate(self.linears, 1):
            h = F.linear(x, layer.weight)
            last = depth == len(self.layers)
            x = (h if graph is None else self.spread(h, part if last and part is not None else graph)) + layer.bias
            x = x if last else F.relu(x)
        return x

    def spread(self, h: Float[Tensor, "n k"], graph: _Graph) -> Float[Tensor, "m k"]:
        """Items averaged with their neighbours: rows of D^-1/2 (A + s I) D^-1/2 h."""
        assert self.log_self is not None  # made for a graph
        own = self.log_self.exp()
        root = (graph.degrees + own).rsqrt().unsqueeze(1)
        scaled = root * h
        return root[graph.rows] * (graph.weights @ scaled + own * scaled[graph.rows])

    def size(self) -> Tensor:
        """Sum of the squares of all weights and of log s, which keeps each near where it began."""
        learned = [layer.weight for layer in self.linears] + ([] if self.log_self is None else [self.log_self])
        return torch.stack([p.square().sum() for p in learned]).sum()


def _fit(
    x: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    known: Bool[Tensor, " n"],
    *,
    graph: _Graph | None = None,
    hidden: int = 0,
    strength: float = PROBE_C,
) -> _GraphHead:
    """A head that has learned the labels of the known items; with a graph it also saw the features of all others, but no label of theirs.

    It minimises what scikit-learn's logistic regression does, cross-entropy plus |W|^2 / (2 C) for C = `strength`, by L-BFGS, with
    (log s)^2 in the same sum: without it s grows without bound, because known items are the easier to fit the less they are averaged.

    Args:
        x: features, standardised.
        labels: 0, 1, ...; those of items that are not known are not looked at.
        hidden: width of the middle layer; 0 for a single layer.
    """
    head = _GraphHead(x.shape[1], int(labels.max()) + 1, hidden=hidden, graph=graph is not None).to(x)
    at, want = known.nonzero()[:, 0], labels[known]
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=STEPS, tolerance_grad=1e-5, line_search_fn="strong_wolfe")
    given = (x[at],) if graph is None else (x, graph, graph.some(at))

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(head(*given), want) + head.size() / (2 * strength * len(want))
        value.backward()
        return value

    optimizer.step(loss)
    return head.requires_grad_(False)


Head = tuple[bool, int] | None  # whether with the graph, and the width of the middle layer, 0 for a single one; None is k-NN
Heads = Mapping[str, Head]
HEADS: Heads = {"k-NN": None, "linear": (False, 0), "GCN": (True, 0)}
WIDTHS: Heads = {**HEADS, **{f"{name} {h}": (name == "GCN", h) for name in ("perceptron", "GCN") for h in (2, 4, 8, 16)}}
NARROW: Heads = {label: WIDTHS[label] for h in (2, 4, 8) for label in (f"perceptron {h}", f"GCN {h}")}


def classify(
    features: Mapping[str, Float[Tensor, "n d"]],
    labels: Labels,
    *,
    per_class: Sequence[int] = (1, 2, 5, 10, 25, 50),
    heads: Heads = HEADS,
    temperature: float = TEMPERATURE,
    repeats: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """Accuracy of classifiers on frozen features, by how many labels they were given.

    In each draw some items of each class are given with their labels; a larger number holds the smaller ones. Accuracy is measured on all
    items that no number of the draw holds, the same for all classifiers and models. Features are standardised over all items.
    k-NN is by cosine with one vote each of as many neighbours as there are labels of a class, 20 at most.

    Args:
        features: for each model those of the same n items.
        per_class: how many labels of each class.

    Returns:
        One row per model, number of labels, draw and classifier: model, per_class, draw, classifier, value (accuracy), parameters (learned
        numbers), own (learned weight of an item's edge to itself; NaN without a graph).

    Raises:
        InputError: as `rld`; items of norm zero, which have no cosine; or a class that has no more items than labels are asked for.
    """
    counts = {len(z) for z in features.values()}
    if len(counts) != 1:
        raise InputError(f"expected features of the same items for at least one model, got {sorted(counts)} items")
    y = classes_of(labels, counts.pop())
    plans = [_draw(y, per_class, k, seed) for k in range(repeats)]
    rows = []
    for name, z in features.items():
        directions(z)  # before any work
        x = _standardised(z)
        graph = _graph_of(z, temperature) if any(head and head[0] for head in heads.values()) else None
        for draw, (order, most) in enumerate(plans):
            for count in per_class:
                known = torch.zeros(len(y), dtype=torch.bool)
                known[order[:, :count].flatten()] = True
                for label, head in heads.items():
                    rows.append(
                        {"model": name, "per_class": count, "draw": draw, "classifier": label, **_try(z, x, y, known, most, graph, head)}
                    )
    return pd.DataFrame(rows)


def over_draws(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Means of each group with Student's 95 % interval, which holds for few draws too: mean, low, high, n.

    It knows how results differ between draws of labelled items, not how they would on other items or after another training.
    """
    found = table.groupby(list(by), sort=False, observed=True)["value"].agg(["mean", "std", "count"]).reset_index()
    half = special.stdtrit(np.maximum(found["count"] - 1, 1), 0.975) * found["std"] / np.sqrt(found["count"])
    return found.assign(low=found["mean"] - half, high=found["mean"] + half, n=found["count"]).drop(columns=["std", "count"])


def _tested(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """`over_draws` of differences, with p of Student's paired test that there is none, corrected after Holm for all rows."""
    found = over_draws(table, by)
    error = table.groupby(list(by), sort=False, observed=True)["value"].sem().to_numpy()
    t = np.abs(found["mean"].to_numpy()) / error
    return found.assign(p=holm((2 * special.stdtr(found["n"].to_numpy() - 1, -t)).tolist()))


def gap_changes(table: pd.DataFrame, reference: str, fall: pd.Series) -> pd.DataFrame:
    """Does the gap between a reference and another model shrink when both get the graph? `fall` has, by model, RLD near minus far.

    Returns:
        A row per number of labels and model: gap, linear (reference minus the model); change with the graph, low, high, n (draws), p
        (see `_tested`); RLD near minus far.
    """
    gaps = relative_to(table[table["classifier"].isin(["linear", "GCN"])], "model", reference)
    gaps = gaps.assign(value=-gaps["value"])
    keys = ["per_class", "model"]
    linear = over_draws(gaps[gaps["classifier"] == "linear"], keys).set_index(keys)["mean"]
    change = _tested(relative_to(gaps, "classifier", "linear"), keys).set_index(keys)[["mean", "low", "high", "n", "p"]]
    change.insert(0, "gap, linear", linear)
    change["RLD near minus far"] = change.index.get_level_values("model").map(fall)
    return change.rename(columns={"mean": "change with the graph"}).sort_index(level=0, sort_remaining=False)


def by_head(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `classify` for `NARROW` heads with two more columns: head ("with the graph", "without") and width."""
    parts = table["classifier"].astype(str).str.split(n=1, expand=True)
    return table.assign(head=parts[0].map({"GCN": "with the graph"}).fillna("without"), width=parts[1].astype(int))


def gain_by_width(table: pd.DataFrame) -> pd.DataFrame:
    """What the graph adds to heads of one width, draw by draw: rows of `over_draws` by model and width, and units ("2 units")."""
    keys = ["model", "width", "draw"]
    both = table.astype({"model": str}).set_index([*keys, "head"])["value"].unstack("head")
    added = (both["with the graph"] - both["without"]).rename("value").reset_index().sort_values("width", kind="stable")
    found = over_draws(added, ["model", "width"])
    return found.assign(units=found["width"].astype(str) + " units")


def beside_linear(table: pd.DataFrame, linear: pd.DataFrame) -> pd.DataFrame:
    """Narrow heads with the graph beside the linear classifier: accuracy minus its, on the same labels and draws.

    The rows of `linear`, of `classify`, hold the linear classifier on the same models, numbers of labels and draws.

    Returns:
        A row per model and classifier: numbers (that it learns), of linear, mean, low, high, p (see `_tested`).
    """
    plain = linear[(linear["classifier"] == "linear") & linear["per_class"].isin(table["per_class"].unique())]
    plain = plain[plain["model"].isin(table["model"].unique()) & plain["draw"].isin(table["draw"].unique())]
    heads = pd.concat([table[table["head"] == "with the graph"], plain]).astype({"model": str, "classifier": str})
    keys = ["model", "classifier"]
    learned = heads.groupby(keys, sort=False)["parameters"].first()
    found = _tested(relative_to(heads, "classifier", "linear"), keys).set_index(keys)
    found["numbers"], found["of linear"] = learned, found.index.get_level_values("model").map(learned.xs("linear", level="classifier"))
    return found[["numbers", "of linear", "mean", "low", "high", "p"]]


def _draw(y: Tensor, per_class: Sequence[int], k: int, seed: int) -> tuple[Tensor, Tensor]:
    """Items whose labels may be given, (classes, most), in the order they are; and which items are left to measure on."""
    most, sizes = max(per_class), torch.bincount(y)
    if min(per_class) < 1 or most >= int(sizes.min()):
        raise InputError(
            f"expected from 1 to {int(sizes.min()) - 1} labels of each class, fewer than the smallest has items, got {per_class}"
        )
    generator = Generator().manual_seed(seed * 10_000 + k)
    chosen = [(y == c).nonzero()[:, 0][torch.randperm(int(sizes[c]), generator=generator)[:most]] for c in range(len(sizes))]
    order, left = torch.stack(chosen), torch.ones(len(y), dtype=torch.bool)
    left[order.flatten()] = False
    return order, left


def _try(
    z: Tensor, x: Tensor, y: Tensor, known: Tensor, left: Tensor, graph: _Graph | None, head: tuple[bool, int] | None
) -> dict[str, float]:
    if head is None:
        k = min(_NEIGHBOURS, int(known.sum()) // (int(y.max()) + 1))
        return {"value": knn_accuracy(z[known], y[known], z[left], y[left], k), "parameters": 0, "own": torch.nan}
    used = graph if head[0] else None
    fitted = _fit(x, y, known, graph=used, hidden=head[1])
    scores = fitted(x[left]) if used is None else fitted(x, used, used.some(left.nonzero()[:, 0]))
    right = scores.argmax(1) == y[left]
    own = torch.nan if fitted.log_self is None else fitted.log_self.exp().item()
    return {"value": right.float().mean().item(), "parameters": sum(p.numel() for p in fitted.parameters()), "own": own}


def _standardised(features: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Each feature about its mean, in units of its standard deviation over all items (constant ones stay 0), float32."""
    x = checked(features)
    spread = x.std(0, correction=0)
    return (x / torch.where(spread > 1e-12 * spread.max(), spread, 1.0)).float()


def directions(features: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Features of length 1, float64.

    Raises:
        InputError: not (n, d), no numbers, or of norm zero.
    """
    checked(features)
    x = torch.as_tensor(features).double()
    norms = x.norm(dim=1, keepdim=True)
    if not bool((norms > 0).all()):
        raise InputError(f"expected features with a direction, got norm zero in {int((norms == 0).sum())} of {len(x)} items")
    return x / norms
