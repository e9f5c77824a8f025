"""How a model lays images out in its embedding space: relative local density over temperatures, by model and by layer."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, UInt8
from scipy import special
from torch import Generator, Tensor, nn

from xaicl_lib.data.photos import imagenette
from xaicl_lib.data.scenes import FACTORS, SHAPES, scene_set
from xaicl_lib.errors import InputError
from xaicl_lib.model import PairModel
from xaicl_lib.networks.small import Block
from xaicl_lib.networks.transformer import TransformerBlock
from xaicl_lib.zoo import load_model, untrained

BLOCK = 2_000_000  # distances in work at once, 16 MB; some five times that is the memory needed beside the embeddings
TEMPERATURES = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
ORDER = ("simclr", "barlow_twins", "simsiam", "moco_v3", "supervised", "supcon", "triplet", "untrained simclr")  # of models of photos
STAGES = ("block 1", "block 2", "block 3", "features", "embedding")  # from first to last
_IMAGENETTE = ("tench", "springer", "cassette player", "chain saw", "church", "French horn", "garbage truck", "gas pump", "golf ball",
              "parachute")  # fmt: skip
KEYS = ("model", "layer", "temperature", "per_class", "classifier", "draw")  # what a value is of, in the tables of these studies
Labels = Int[Tensor, " n"] | np.ndarray | Sequence


def images_at_hand(n: int) -> tuple[UInt8[Tensor, "n 3 s s"], Int[Tensor, " n"], list[str], bool]:
    """Validation photos of the folder that XAICL_IMAGENETTE names; scenes with their shapes as classes where it names none.

    Returns:
        Images, their classes, the names of the classes, and whether they are photos.
    """
    folder = os.environ.get("XAICL_IMAGENETTE")
    if folder:
        images, labels, wnids = imagenette("val", 96, folder, limit=n)
        return images, labels, list(_IMAGENETTE) if len(wnids) == len(_IMAGENETTE) else wnids, True
    images, factors, _ = scene_set("val", 64, n)
    return images, factors[:, 0], list(SHAPES), False


def layers_of(
    names: Sequence[str], images: UInt8[Tensor, "n 3 h w"], *, start: str, device: str = "auto"
) -> dict[str, dict[str, Float[Tensor, "n c"]]]:
    """`layer_features` of these models by their names, and of the network that one of them, `start`, was before its training."""
    models = [load_model(name, device) for name in names]
    models.append(untrained(start).to(models[0].device))
    return {model.name: layer_features(model, images) for model in models}


def rld(embeddings: Float[Tensor, "n d"], labels: Labels, temperature: float | Sequence[float]) -> Float[Tensor, "*t"]:
    """Relative local density: how well the classes are communities of the similarity graph, at each temperature.

    Implements Sec. 3 of :cite:t:`zhang2023organize`. With S_ij = -|x_i - x_j| / mean distance and E = exp(S / T), E_ii = 0, the graph is
    A_ij = n^2 E_ij^2 / (sum_k E_ik sum_k E_kj), and RLD its modularity (:cite:t:`newman2004finding`) with the classes as communities.
    A low temperature sees nearest neighbours only: in the limit each two points that are each other's nearest are joined, and
    nothing else. At a high one all points are joined alike: -(1 - sum_c p_c^2) / (n - 1) for classes of shares p_c.

    Differs: row sums are kept as logarithms and everything is float64, so that no temperature underflows. Distances are computed three
    times, strip by strip, for all temperatures together (mean, row sums, weights), and never held all at once.

    Args:
        embeddings: of n items. Neither their unit nor their origin matters; the device they are on does the work (the CPU for one
            that knows no float64).
        labels: class of each item: n whole numbers or texts. Those under 0 count as missing.
        temperature: one or several, > 0; 1 is the scale of the mean distance.

    Returns:
        One value per temperature in [-1/2, 1], float64, on the CPU; without an axis for a single temperature.

    Raises:
        InputError: embeddings that are no finite (n, d) of at least two different points, labels that are missing or of one class
            only, or a temperature that is not above 0.
    """
    x, classes, t = checked(embeddings), classes_of(labels, len(embeddings)), _temperatures_of(temperature)
    y = classes.to(x.device)
    mean, log_sums = _row_sums(x, t)
    within = torch.zeros(len(t), dtype=torch.float64, device=x.device)
    degrees = torch.zeros(len(t), int(y.max()) + 1, dtype=torch.float64, device=x.device)  # of whole classes
    for rows, distance in _strips(x):
        same = y[rows, None] == y
        for k, weight in enumerate(_weights(distance.div_(-mean), rows, t, log_sums)):
            degrees[k].index_add_(0, y[rows], weight.sum(1))
            within[k] += weight.mul_(same).sum()
    total = degrees.sum(1)
    value = (within / total - (degrees / total[:, None]).square().sum(1)).cpu()
    return value if isinstance(temperature, Sequence | Tensor | np.ndarray) else value[0]


def similarity_graph(embeddings: Float[Tensor, "n d"], temperature: float) -> Float[Tensor, "n n"]:
    """The graph that `rld` is the modularity of, as a whole: A_ij >= 0, symmetric, zero diagonal; n^2 numbers of 8 bytes.

    Raises:
        InputError: as `rld`.
    """
    x, t = checked(embeddings), _temperatures_of(temperature)
    mean, log_sums = _row_sums(x, t)
    parts = [next(_weights(d.div_(-mean), rows, t, log_sums)) for rows, d in _strips(x)]
    return torch.cat(parts) * len(x) ** 2


def _strips(x: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Distances of some points to all of them, (b, n) at a time; 0 from a point to itself."""
    step, squares = max(1, BLOCK // len(x)), x.square().sum(1)
    for start in range(0, len(x), step):
        rows = slice(start, min(start + step, len(x)))
        distance = torch.addmm(squares, x[rows], x.T, alpha=-2).add_(squares[rows, None]).clamp_min_(0).sqrt_()
        yield rows, _with_self(distance, start, 0.0)


def _with_self(strip: Tensor, start: int, value: float) -> Tensor:
    """The strip of rows from `start` on, with this value from each item to itself."""
    strip.diagonal(start).fill_(value)
    return strip


def _row_sums(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """The mean distance of two points, and log sum_k E_ik at each temperature, (t, n)."""
    n = len(x)
    mean = torch.stack([d.sum() for _, d in _strips(x)]).sum() / (n * (n - 1))
    if not mean > 0:
        raise InputError(f"expected embeddings of at least two different points, got {n} that are all alike")
    log_sums = torch.empty(len(t), n, dtype=torch.float64, device=x.device)
    for rows, d in _strips(x):
        s = _with_self(d.div_(-mean), rows.start, -torch.inf)
        nearest = s.amax(1, keepdim=True)  # taken out of the sums, so that the largest term is 1
        s.sub_(nearest)
        for k, value in enumerate(t.tolist()):
            log_sums[k, rows] = (s / value).exp_().sum(1).log_() + nearest[:, 0] / value
    return mean, log_sums


def _weights(s: Tensor, rows: slice, t: Tensor, log_sums: Tensor) -> Iterator[Tensor]:
    """A strip of the graph at each temperature, without the factor n^2: each weight is at most 1."""
    _with_self(s, rows.start, -torch.inf)
    for value, sums in zip(t.tolist(), log_sums, strict=True):
        yield (s * (2 / value)).sub_(sums[rows, None]).sub_(sums).exp_()


def checked(embeddings: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Embeddings as float64 about their mean, which keeps distances exact however far from the origin they are.

    Raises:
        InputError: not (n, d) with n >= 3, or values that are no numbers.
    """
    x = torch.as_tensor(embeddings).detach()
    if x.ndim != 2 or len(x) < 3 or not x.shape[1]:
        raise InputError(f"expected embeddings (n, d) of at least 3 items, got shape {tuple(x.shape)}")
    x = (x.cpu() if x.device.type == "mps" else x).double()
    if not bool(x.isfinite().all()):
        bad = int((~x.isfinite()).any(1).sum())
        raise InputError(f"expected embeddings of finite numbers, got NaN or infinity in {bad} of {len(x)} items")
    return x - x.mean(0)


def classes_of(labels: Labels, n: int) -> Int[Tensor, " n"]:
    """Labels as classes 0, 1, ...

    Raises:
        InputError: none, not one per item, missing ones, or a single class.
    """
    if labels is None:
        raise InputError(f"expected a label for each of {n} embeddings, got none")
    given = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if given.shape != (n,):
        raise InputError(f"expected a label for each of {n} embeddings, got labels of shape {given.shape}")
    missing = pd.isna(given) | (given < 0 if np.issubdtype(given.dtype, np.number) else given == "")
    if missing.any():
        raise InputError(f"expected a label for each of {n} embeddings, got {int(missing.sum())} missing ones (below 0, empty or NaN)")
    names, classes = np.unique(given, return_inverse=True)
    if len(names) < 2:
        raise InputError(f"expected labels of at least two classes, got only {names[0]!r}")
    return torch.from_numpy(classes)


def _temperatures_of(temperature: float | Sequence[float]) -> Float[Tensor, " t"]:
    """Temperatures as float64."""
    t = torch.as_tensor(temperature, dtype=torch.float64).cpu()
    if t.ndim > 1 or not t.numel() or not bool((t.isfinite() & (t > 0)).all()):
        raise InputError(f"expected temperatures above 0, got {temperature!r}")
    return t.reshape(-1)


def curves(
    features: Mapping[str, Float[Tensor, "n d"]],
    labels: Labels,
    temperatures: Sequence[float] = TEMPERATURES,
    *,
    halves: int = 40,
    seed: int = 0,
) -> pd.DataFrame:
    """RLD over temperature of several models, on all items and on random halves of them.

    Halves are drawn without replacement. A bootstrap sample would hold items twice, at distance 0 from themselves and always of their own
    class, and RLD at low temperatures would measure that. The same halves serve all models, so that differences are paired.

    Args:
        features: for each model the embeddings of the same n items.
        halves: how many; 0 for none, and no intervals.

    Returns:
        One row per model, draw and temperature: model, draw (0 is all items), temperature, value, n.

    Raises:
        InputError: as `rld`; or models that do not embed the same number of items.
    """
    counts = {len(z) for z in features.values()}
    if len(counts) != 1:
        raise InputError(f"expected embeddings of the same items for at least one model, got {sorted(counts)} items")
    (n,) = counts
    y, t = classes_of(labels, n), _temperatures_of(temperatures).tolist()
    generator = Generator().manual_seed(seed)
    draws = [torch.arange(n), *(torch.randperm(n, generator=generator)[: n // 2] for _ in range(halves))]
    rows = [
        {"model": name, "draw": k, "temperature": at, "value": value, "n": len(chosen)}
        for name, z in features.items()
        for k, chosen in enumerate(draws)
        for at, value in zip(t, rld(z[chosen.to(z.device)], y[chosen], t).tolist(), strict=True)
    ]
    return pd.DataFrame(rows)


def with_intervals(table: pd.DataFrame, by: Sequence[str] = ("model", "temperature")) -> pd.DataFrame:
    """The values on all items with 95 % intervals from those on halves.

    Implements the delete-d jackknife of :cite:t:`shao1989general`: the variance of a statistic of n items is that over subsets of m,
    times m / (n - m), which is 1 for halves. Few subsets tell that variance roughly, so the interval is Student's. It is about the value
    on all items, because RLD at low temperatures depends a little on how many there are. It knows about the choice of items, not about
    the training of the model.

    The table is of `curves`, or of differences of such rows: columns draw, value, n, and those of `by`.

    Returns:
        One row per group, models in the order of the book: mean (the value on all items), low, high, se, n.
    """
    rows = []
    for key, part in _in_order(table).groupby(list(by), sort=False, observed=True):
        whole, halves = part[part["draw"] == 0], part[part["draw"] > 0]
        value, n, m = whole["value"].item(), whole["n"].item(), halves["n"].min()
        se = float(np.sqrt(halves["value"].var() * m / (n - m)))  # NaN of fewer than two
        reach = special.stdtrit(len(halves) - 1, 0.975) * se
        rows.append({**dict(zip(by, key, strict=True)), "mean": value, "low": value - reach, "high": value + reach, "se": se, "n": n})
    return pd.DataFrame(rows)


def relative_to(table: pd.DataFrame, column: str, reference: object) -> pd.DataFrame:
    """Each value minus that of the reference (a model, a temperature, a classifier) with everything else the same, the draw too."""
    table = _texts(table)
    if reference not in set(table[column]):
        raise InputError(f"expected one of {list(table[column].unique())} as reference of {column}, got {reference!r}")
    others = [name for name in KEYS if name in table and name != column]
    base = table[table[column] == reference].set_index(others)["value"]
    both = table[table[column] != reference].join(base.rename("base"), on=others)
    return both.assign(value=both["value"] - both["base"]).drop(columns="base")


def _texts(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype(dict.fromkeys(table.select_dtypes("category"), object))  # of a stored table


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Rows by their model in the order of `ORDER`, those of others after them."""
    places = {name: k for k, name in enumerate(ORDER)}
    return _texts(table).sort_values("model", key=lambda names: names.map(places).fillna(len(ORDER)), kind="stable")


def near_and_far(curve: pd.DataFrame, near: float, far: float) -> pd.DataFrame:
    """What a curve says in numbers, model by model: RLD near and far with its interval, where it is highest, and what part of near is
    left far.
    """
    rows = {}
    for model, part in curve.groupby("model", sort=False, observed=True):
        one = part.set_index("temperature")
        told = {f"T = {t}": "{mean:.3f} ({low:.3f} to {high:.3f})".format(**one.loc[t]) for t in (near, far)}
        falls = one.loc[far, "mean"] / one.loc[near, "mean"]
        rows[model] = {**told, "highest": one["mean"].max(), "at T": one["mean"].idxmax(), "falls to": falls}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def kept_far(table: pd.DataFrame, near: float, reference: str) -> pd.DataFrame:
    """RLD far divided by RLD near, in units of that of a reference: model, mean, low, high, and keeps less (the interval is below 1)."""
    logs = table.assign(value=np.log(table["value"].clip(lower=1e-6)))
    found = with_intervals(relative_to(relative_to(logs, "temperature", near), "model", reference), ["model"])
    ends = np.exp(found[["mean", "low", "high"]])
    return pd.concat([found["model"], ends, (ends["high"] < 1).rename("keeps less")], axis=1)


def layer_table(table: pd.DataFrame, temperature: float) -> pd.DataFrame:
    """RLD on all items at one temperature: a row for each model, a column for each of `STAGES`, from first to last."""
    part = _in_order(table[(table["draw"] == 0) & (table["temperature"] == temperature)])
    wide = part.pivot(index="model", columns="layer", values="value")
    return wide.reindex(index=part["model"].unique(), columns=list(STAGES)).dropna(how="all")


def rld_by_factor(names: Sequence[str], n: int, temperature: float, device: str = "auto") -> pd.DataFrame:
    """By which factor of n scenes a space is organised: RLD with each factor as the classes, by model and layer."""
    images, labels, _ = scene_set("val", 64, n)
    spaces = {name: layer_features(load_model(name, device), images) for name in names}
    rows = {
        f"{name}, {layer}": {factor: rld(found[layer], labels[:, k], temperature).item() for k, factor in enumerate(FACTORS)}
        for name, found in spaces.items()
        for layer in ("features", "embedding")
    }
    return pd.DataFrame.from_dict(rows, orient="index")


@torch.inference_mode()
def layer_features(model: PairModel, images: Float[Tensor, "n 3 h w"] | UInt8[Tensor, "n 3 h w"]) -> dict[str, Float[Tensor, "n c"]]:
    """What side a of a model makes of images, layer by layer: averages over places, on the CPU.

    Args:
        model: any; for the bundled architectures also what comes before the last map.
        images: in [0, 1], or bytes.

    Returns:
        `block 1` and so on (of residual or transformer blocks, all but the last), `features` (the last map, averaged), `embedding`.
    """
    model = model.fast
    seen: dict[str, Tensor] = {}
    blocks = [m for m in model.features_a.modules() if isinstance(m, Block | TransformerBlock)][:-1]
    hooks = [m.register_forward_hook(_keep(seen, f"block {k}")) for k, m in enumerate(blocks, 1)]
    found: dict[str, list[Tensor]] = {}
    try:
        for part in images.split(model.chunk(images[0, 0].numel())):
            pixels = part.float() / 255 if part.dtype == torch.uint8 else part
            last = model.features_a(model.normalize(pixels))
            seen |= {"features": _pooled(last), "embedding": model.head_a(last)}
            for name, value in seen.items():
                found.setdefault(name, []).append(value.float().cpu())
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(parts) for name, parts in found.items()}


def _keep(seen: dict[str, Tensor], name: str) -> Callable[[nn.Module, object, Tensor], None]:
    def hook(_: nn.Module, __: object, output: Tensor) -> None:
        seen[name] = _pooled(output)

    return hook


def _pooled(output: Tensor) -> Float[Tensor, "n c"]:
    """A map (n, c, i, j) or tokens (n, t, c), averaged over places."""
    return output.mean((2, 3)) if output.ndim == 4 else output.mean(1) if output.ndim == 3 else output


def modularity(graph: Float[Tensor, "n n"], labels: Labels) -> pd.DataFrame:
    """What each class adds to the modularity of a graph, term by term (:cite:t:`newman2004finding`); `rld` is the sum for its own graph.

    Weights are symmetric and >= 0, so that an edge counts twice, once from either end.

    Returns:
        One row per class and their sum: within (share of all weight that joins nodes of the class), degree (share that ends at them),
        at random (its square: what would be within if ends were joined at random), adds (within minus at random).
    """
    weights = torch.as_tensor(graph).double()
    member = torch.nn.functional.one_hot(classes_of(labels, len(weights))).double()  # (n, classes)
    share = weights / weights.sum()
    within, degree = (member.T @ share @ member).diagonal(), share.sum(1) @ member
    made = pd.DataFrame({"within": within, "degree": degree, "at random": degree**2, "adds": within - degree**2})
    made.index = pd.Index([str(name) for name in np.unique(np.asarray(labels))], name="class")
    made.loc["sum"] = made.sum()
    return made


def two_triangles() -> tuple[Float[Tensor, "6 6"], dict[str, list[str]]]:
    """Six nodes, two triangles joined by one edge, and three ways to give them classes A and B, from fitting to contrary."""
    graph = torch.zeros(6, 6)
    for j, k in ((0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (3, 5), (4, 5)):
        graph[j, k] = graph[k, j] = 1
    return graph, {"by triangle": list("AAABBB"), "one moved": list("AABBBB"), "two swapped": list("AABABB")}


def toy_spaces(each: int = 8) -> tuple[dict[str, Float[Tensor, "n 2"]], Int[Tensor, " n"]]:
    """Two spaces in the plane in which two classes are equally dense near, and only in the first also far.

    Args:
        each: images in a group; a class has eight groups.

    Returns:
        By name the places of the same n images: groups of a class side by side, or among those of the other, like the fields of a
        chess board; and their classes.
    """
    row, column = (torch.arange(16) // 4, torch.arange(16) % 4)
    labels = (row + column) % 2  # of a group, by its field
    rank = torch.cat([(labels == c).nonzero()[:, 0] for c in (0, 1)]).argsort()  # groups of class 0 first: they get the left half
    fields = torch.stack([column, row], 1).float()
    beside = torch.stack([rank // 4, rank % 4], 1).float() + torch.stack([1.0 * labels, torch.zeros(16)], 1)
    spread = 0.12 * torch.randn(16, each, 2, generator=Generator().manual_seed(0))
    made = {"one group a class": beside, "many small groups": fields}
    return {name: (centres[:, None] + spread).flatten(0, 1) for name, centres in made.items()}, labels.repeat_interleave(each)
