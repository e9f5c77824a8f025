"""The sanity check: an explanation of a model whose weights are random must not look like the explanation of the model."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from xaicl_lib.devices import widest
from xaicl_lib.errors import InputError
from xaicl_lib.metrics.perturbation import check_maps, unit_scale
from xaicl_lib.metrics.sensitivity import check_score, explain_again
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair, resize_map
from xaicl_lib.progress import progress
from xaicl_lib.scores import Score, cosine


@dataclass(frozen=True, eq=False)
class Cascade:
    """Explanations of a model whose layers lose what they learned, one after the other from the top."""

    layers: list[str]  #: (k) name of the layer that was randomised last
    explanations: list[Explanation]  #: (k) of the model thus changed
    rank_correlation: Float[Tensor, "n k"]  #: Spearman's, with the maps of the intact model, mean over the sides; 0 for a constant map
    ssim: Float[Tensor, "n k"]  #: structural similarity with them, each map scaled to [0, 1] and resized to its image, mean over the sides


def randomisation(
    model: PairModel,
    pair: Pair,
    explanation: Explanation,
    *,
    score: Score = cosine,
    generator: Generator | None = None,
    chunk: int | None = None,
    every: int = 1,
) -> Cascade:
    """Maps while the layers of the model are randomised from the top down, and how alike they stay to the original ones.

    Implements the cascading randomisation of :cite:t:`adebayo2018sanity`, Sec. 4.1.

    Differs: a layer's weights are put into a random order rather than drawn anew, which keeps their scale: maps must then change because
    of what was learned, not because activations vanish. Statistics of batch norms stay.

    Args:
        explanation: made by a method of the registry; run again at each depth as it says.
        every: layers between two explanations; the last depth, all layers, is always there.

    Raises:
        InputError: maps made by no method of the registry, or `every` under 1.
    """
    check_maps(pair, explanation)
    if every < 1:
        raise InputError(f"expected at least one layer between explanations, got every={every}")
    check_score(model, pair, explanation, score, chunk)
    generator = generator or Generator().manual_seed(0)
    changed = model.copy()
    depths = _layers_from_the_top(changed, pair)
    names, made = [], []
    for depth, (name, modules) in enumerate(progress(depths, "layers"), 1):
        for module in modules:
            _put_in_random_order(module, generator)
        if depth % every == 0 or depth == len(depths):
            names.append(name)
            made.append(explain_again(changed, pair, explanation, score, chunk))
    correlation = torch.stack([_over_sides(rank_correlation, _maps(explanation), _maps(one)) for one in made], 1)
    alike = torch.stack([_over_sides(_ssim, _drawn(explanation, pair), _drawn(one, pair)) for one in made], 1)
    return Cascade(names, made, correlation, alike)


def randomised(model: PairModel, pair: Pair, generator: Generator | None = None) -> PairModel:
    """A copy of a model with the weights of every layer in a random order, where the cascade ends; `pair` shows which layers are used."""
    changed, generator = model.copy(), generator or Generator().manual_seed(0)
    for _, modules in _layers_from_the_top(changed, pair):
        for module in modules:
            _put_in_random_order(module, generator)
    return changed


def _layers_from_the_top(model: PairModel, pair: Pair) -> list[tuple[str, list[nn.Module]]]:
    """Names and modules of the layers with weights, last used first; a norm belongs to the layer before it.

    Where the branches of a model differ, layers at the same distance from the top are named and changed together.
    """
    orders = [_branch(model, k, pair) for k in range(1 if model.symmetric or pair.b is None else 2)]
    longest = max(len(order) for order in orders)
    levels = [[order[k] for order in orders if k < len(order)] for k in range(longest)]
    return [(level[0][0], [module for _, modules in level for module in modules]) for level in levels]


def _branch(model: PairModel, k: int, pair: Pair) -> list[tuple[str, list[nn.Module]]]:
    """The layers of one branch, last used first."""
    side = "ab"[k]
    parts = {f"{part}_{side}": getattr(model, f"{part}_{side}") for part in ("features", "head")}
    names = {m: f"{part}.{name}" for part, module in parts.items() for name, m in module.named_modules()}
    x, embed = model.normalize(pair.sides[k][:1]), getattr(model, f"embed_{side}")
    return _grouped(_in_order_of_use(list(names), lambda: embed(x)), names)


def _in_order_of_use(modules: list[nn.Module], run: Callable[[], object]) -> list[nn.Module]:
    """The modules that hold weights themselves, in the order in which `run` first uses them."""
    used: dict[nn.Module, None] = {}
    holders = [m for m in modules if any(p is not None for p in m._parameters.values())]
    hooks = [m.register_forward_pre_hook(lambda m, _: used.setdefault(m)) for m in holders]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    # Weights that a parent uses without calling their module (as attention does) come right after that parent.
    for module in holders:
        if module not in used:
            parent = next((p for p in reversed(used) if any(child is module for child in p.modules())), None)
            order = list(used)
            at = order.index(parent) + 1 if parent is not None else len(order)
            used = dict.fromkeys([*order[:at], module, *order[at:]])
    return list(used)


def _grouped(order: list[nn.Module], names: dict[nn.Module, str]) -> list[tuple[str, list[nn.Module]]]:
    """Layers from the last to the first; modules with vectors alone (norms) join the layer before them."""
    layers: list[tuple[str, list[nn.Module]]] = []
    for module in order:
        is_norm = all(p.ndim < 2 for p in module._parameters.values() if p is not None)
        if is_norm and layers:
            layers[-1][1].append(module)
        else:
            layers.append((names[module], [module]))
    return layers[::-1]


def _put_in_random_order(module: nn.Module, generator: Generator) -> None:
    with torch.no_grad():
        for p in module._parameters.values():
            if p is not None:
                order = torch.randperm(p.numel(), generator=generator).to(p.device)
                p.copy_(p.flatten()[order].view(p.shape))


def _over_sides(alike: Callable[[Tensor, Tensor], Tensor], before: list[Tensor], after: list[Tensor]) -> Tensor:
    return torch.stack([alike(x, y) for x, y in zip(before, after, strict=True)]).mean(0)


def _maps(explanation: Explanation) -> list[Tensor]:
    return [maps for maps in (explanation.a, explanation.b) if maps is not None]


def _drawn(explanation: Explanation, pair: Pair) -> list[Tensor]:
    """The maps as a reader sees them: in the size of the images and scaled to [0, 1]."""
    return [unit_scale(resize_map(maps, side.shape[2:])) for maps, side in zip(_maps(explanation), pair.sides, strict=True)]  # type: ignore[arg-type]


def rank_correlation(x: Float[Tensor, "n i j"], y: Float[Tensor, "n i j"]) -> Float[Tensor, " n"]:
    """Spearman's rank correlation of the values of two maps, equal values sharing their mean rank.

    0 where a map is constant, NaN where one has NaN.
    """
    unknown = (x.isnan().flatten(1) | y.isnan().flatten(1)).any(1)
    a, b = (_mean_ranks(maps.flatten(1).to(widest(maps.device))) for maps in (x, y))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    scale = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(scale > 0, (a * b).sum(1) / scale.clamp_min(1e-12), 0.0).masked_fill(unknown, torch.nan)


def _mean_ranks(values: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    ordered, order = values.sort(1)
    new = torch.cat([torch.zeros_like(order[:, :1]), (ordered[:, 1:] > ordered[:, :-1]).long()], 1)
    group = new.cumsum(1)  # which run of equal values a place belongs to
    places = torch.arange(values.shape[1], device=values.device, dtype=values.dtype).expand_as(values)
    total, count = (torch.zeros_like(values).scatter_add_(1, group, t) for t in (places, torch.ones_like(values)))
    return torch.empty_like(values).scatter_(1, order, (total / count.clamp_min(1)).gather(1, group))


def _ssim(x: Float[Tensor, "n h w"], y: Float[Tensor, "n h w"], window: int = 7) -> Float[Tensor, " n"]:
    """Mean structural similarity of maps in [0, 1] (:cite:t:`wang2004image`), uniform window, as scikit-image computes it."""
    if min(x.shape[1:]) < window:
        raise InputError(f"expected maps of at least {window} pixels a side, got {tuple(x.shape[1:])}")

    def mean(t: Tensor) -> Tensor:
        return F.avg_pool2d(t.unsqueeze(1), window, 1).squeeze(1)

    x, y = (maps.to(widest(maps.device)) for maps in (x, y))
    mx, my, unbias = mean(x), mean(y), window**2 / (window**2 - 1)
    vx, vy, vxy = unbias * (mean(x * x) - mx * mx), unbias * (mean(y * y) - my * my), unbias * (mean(x * y) - mx * my)
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean((1, 2))
