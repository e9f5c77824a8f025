"""Work on the layers of a module: copying, cutting behind one, folding batch norms (torch.fx), guiding gradients through ReLUs."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from xaicl_lib.errors import InputError


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside one that only makes it faster or spreads it over devices: `torch.compile`, `DataParallel`."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return unwrapped(module.module)
    return unwrapped(module._modules["_orig_mod"]) if "_orig_mod" in module._modules else module  # type: ignore[arg-type]


def copied(module: nn.Module) -> nn.Module:
    """A deep copy. Tensors that autograd made are copied by value; what refuses to be copied, such as a lock, is shared.

    A module that itself refuses is given back as it is: whether it was copied shows by its identity.
    """
    with torch.inference_mode(False), torch.no_grad():  # in which copies of scripted parameters are leaves
        try:
            return copy.deepcopy(module)
        except Exception:  # locks, process groups, results of operations: each raises something else
            shared: dict[int, Any] = {}
            modules = {id(m): m for m in module.modules()}
            for m in modules.values():
                _share(list(vars(m).values()), modules, shared)
        try:
            return copy.deepcopy(module, shared)
        except Exception:  # a module whose own way of being copied fails
            return module


def _share(values: Sequence[Any], modules: dict[int, Any], shared: dict[int, Any]) -> None:
    """Note what stands for the values that cannot be copied, containers looked into."""
    for value in values:
        if isinstance(value, Tensor):
            if not value.is_leaf:
                shared[id(value)] = value.detach().clone()
        elif isinstance(value, Mapping | list | tuple | set):
            _share(list(value.values() if isinstance(value, Mapping) else value), modules, shared)
        elif not isinstance(value, nn.Module):
            try:
                copy.deepcopy(value, dict(modules))
            except Exception:
                shared[id(value)] = value


def channels_of(module: nn.Module, size: int, told: int | None = None) -> int:
    """Channels of the images that a module takes.

    Its first convolution says so, in nearly all networks. Where that takes other channels than `told` (3 if nothing is), the module may
    begin with another layer, or make its channels itself, as those that turn colours grey: then it is tried.

    Args:
        module: it stays as it is.
        size: side in pixels of images that it takes.
        told: what else says how many there are.
    """
    wanted = told or 3
    taken = [channels for m in module.modules() if (channels := _channels_into(m))]
    if not taken or taken[0] == wanted:
        return wanted
    tried = copied(module).eval()
    return next((c for c in dict.fromkeys([wanted, *taken]) if _runs(tried, torch.zeros(1, c, size, size))), told or taken[0])


def _channels_into(module: nn.Module) -> int:
    """Of a convolution, scripted or not; 0 for other modules."""
    if not isinstance(module, nn.Conv2d) and getattr(module, "original_name", "") != "Conv2d":
        return 0
    weight = getattr(module, "weight", None)
    return int(getattr(module, "in_channels", weight.shape[1] if isinstance(weight, Tensor) else 0))


def _runs(module: nn.Module, x: Tensor) -> bool:
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            module(x.to(next(module.parameters())))
        except Exception:  # whatever a module raises at images that are not its own
            return False
    return True


def cut(module: nn.Module, layer: str) -> tuple[nn.Module, nn.Module]:
    """Two modules that run `module` up to and after `layer`; head(features(x)) = module(x).

    A layer that is called several times, such as the one ReLU of a block, is cut behind its last call.
    """
    names = {name: m for name, m in module.named_modules(remove_duplicate=False) if name}
    if layer not in names:
        top = [name for name, _ in module.named_children()]
        raise InputError(f"expected the name of a layer, got {layer!r}; at the top there are: {', '.join(top)}")
    layer = next(name for name, m in names.items() if m is names[layer])  # of several names of one layer, graphs have the first

    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, qualified_name: str) -> bool:
            return qualified_name == layer or super().is_leaf_module(m, qualified_name)

    module = copied(module).eval()  # what depends on the mode of training becomes fixed by the tracing
    try:
        graph = Tracer().trace(module)
    except Exception as error:  # whatever the module's own code raises on symbolic values
        raise InputError(
            f"expected a module that torch.fx can trace, got {type(module).__name__}: {error}; give features= and head="
        ) from error
    nodes = list(graph.nodes)
    calls = [k for k, node in enumerate(nodes) if node.op == "call_module" and node.target == layer]
    if not calls:
        raise InputError(f"expected a layer that the forward pass calls, got {layer!r}")
    at = calls[-1]
    after = set(nodes[at + 1 :])
    constants = [node for node in nodes[:at] if node.op == "get_attr" and after & set(node.users)]
    loose = [node.name for node in nodes[:at] if node.op != "get_attr" and after & set(node.users)]
    if loose:
        raise InputError(f"expected a layer that all data passes through, got {layer!r}, which {', '.join(loose)} bypasses")
    return _subgraph(module, nodes[: at + 1], returns=nodes[at]), _subgraph(module, constants + nodes[at + 1 :], takes=nodes[at])


def _subgraph(module: nn.Module, nodes: list[fx.Node], takes: fx.Node | None = None, returns: fx.Node | None = None) -> fx.GraphModule:
    """The given nodes as a module of one input (`takes`) and one output (`returns`, or the module's own)."""
    graph, new = fx.Graph(), {}
    if takes is not None:
        new[takes] = graph.placeholder("features")
    for node in nodes:
        new[node] = graph.node_copy(node, lambda old: new[old])
    if returns is not None:
        graph.output(new[returns])
    graph.lint()
    part = fx.GraphModule(module, graph)
    part.delete_all_unused_submodules()
    return part


def fold_batch_norms(*modules: nn.Module) -> dict[nn.Module, torch.Tensor]:
    """Fold each batch norm that follows a convolution into it, in place; the functions computed stay the same up to rounding.

    The modules may share layers: a layer is folded once, and only if all its outputs, in all modules, go to the same norm.
    A module that torch.fx cannot trace is left as it is, with all its layers.

    Returns:
        By folded convolution, the factor (channels,) that its weights were multiplied by.
    """
    goes_to: dict[nn.Module, set[nn.Module | None]] = {}
    comes_from: dict[nn.Module, set[nn.Module | None]] = {}
    for module in modules:
        try:
            graph = fx.Tracer().trace(module)
        except Exception:  # dynamic control flow and the like: slower, but right
            for layer in module.modules():
                goes_to.setdefault(layer, set()).add(None)
                comes_from.setdefault(layer, set()).add(None)
            continue
        layers = dict(module.named_modules())
        for node in (node for node in graph.nodes if node.op in ("call_module", "get_attr")):
            called = node.op == "call_module"  # else one of its weights is read by itself
            layer = layers.get(str(node.target) if called else str(node.target).rpartition(".")[0], module)
            goes_to.setdefault(layer, set()).update((_called(user, layers) for user in node.users) if called else [None])
            given = node.args[:1] or [node.kwargs.get("input")]
            comes_from.setdefault(layer, set()).update((_called(one, layers) for one in given) if called else [None])
    norms = [norm for norm, sources in comes_from.items() if len(sources) == 1 and _foldable(next(iter(sources)), norm, goes_to)]
    folded = {source: _fold(source, norm) for norm in norms for source in comes_from[norm] if source is not None}
    for module in modules:
        for name, layer in list(module.named_modules(remove_duplicate=False)):
            if layer in norms:
                module.set_submodule(name, nn.Identity().train(layer.training))
    return folded


def _called(node: object, layers: dict[str, nn.Module]) -> nn.Module | None:
    """The layer that a node of a graph calls, None if it is something else."""
    return layers[str(node.target)] if isinstance(node, fx.Node) and node.op == "call_module" else None


def _foldable(layer: nn.Module | None, norm: nn.Module, goes_to: dict[nn.Module, set[nn.Module | None]]) -> bool:
    """Whether a plain convolution feeds this plain batch norm and nothing else. Linear layers are not worth the doubt over their axes."""
    if type(layer) is not nn.Conv2d or type(norm) is not nn.BatchNorm2d or norm.running_var is None:
        return False
    plain = "weight" in layer._parameters and not any(m._forward_hooks or m._forward_pre_hooks for m in (layer, norm))
    return plain and goes_to[layer] == {norm} and layer.weight.dtype == norm.running_var.dtype


@torch.no_grad()
def _fold(layer: Any, norm: Any) -> torch.Tensor:
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    old = norm.running_mean if layer.bias is None else norm.running_mean - layer.bias
    bias = -old * scale if norm.bias is None else norm.bias - old * scale
    weight = layer.weight * scale.view(-1, *[1] * (layer.weight.ndim - 1))
    layer.weight, layer.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)
    return scale


RELUS = {F.relu, torch.relu, Tensor.relu}
RELUS_IN_PLACE = {torch.relu_, Tensor.relu_}  # F.relu_ is torch.relu_


class _GuidedReLU(torch.autograd.Function):
    """ReLU whose backward pass is a ReLU, too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x > 0)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return gradients[0].clamp(min=0) * positive


class _GuidedMode(TorchFunctionMode):
    """Sees every torch call in its scope, so modules, functions and in-place ReLUs are all caught, and no hook is set anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in RELUS or func in RELUS_IN_PLACE:
            self.found += 1
            x = args[0] if args else kwargs["input"]
            y = _GuidedReLU.apply(x)
            in_place = func in RELUS_IN_PLACE or kwargs.get("inplace", len(args) > 1 and args[1])
            return x.copy_(y) if in_place else y
        return func(*args, **kwargs)


@contextmanager
def guided(enabled: bool = True) -> Iterator[None]:
    """Forward passes in this scope have ReLUs whose gradients are guided; afterwards all is as before, also after an error.

    Raises:
        InputError: `enabled`, and no ReLU was called in the scope.
    """
    if not enabled:
        yield
        return
    mode = _GuidedMode()
    with mode:
        yield
    if not mode.found:
        raise InputError("expected a network with ReLUs for guided backpropagation, got one without; set guided=False")
