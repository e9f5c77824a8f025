"""Work on the graph of a module (torch.fx): cutting it behind a layer, folding its batch norms."""

from typing import Any

import torch
from torch import fx, nn

from xaicl_lib.errors import InputError


def cut(module: nn.Module, layer: str) -> tuple[nn.Module, nn.Module]:
    """Two modules that run `module` up to and after `layer`; head(features(x)) = module(x)."""
    names = [name for name, _ in module.named_modules() if name]
    if layer not in names:
        top = [name for name, _ in module.named_children()]
        raise InputError(f"expected the name of a layer, got {layer!r}; at the top there are: {', '.join(top)}")

    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, qualified_name: str) -> bool:
            return qualified_name == layer or super().is_leaf_module(m, qualified_name)

    try:
        graph = Tracer().trace(module)
    except Exception as error:  # whatever the module's own code raises on symbolic values
        raise InputError(
            f"expected a module that torch.fx can trace, got {type(module).__name__}: {error}; give features= and head="
        ) from error
    nodes = list(graph.nodes)
    at = next((k for k, node in enumerate(nodes) if node.op == "call_module" and node.target == layer), None)
    if at is None:
        raise InputError(f"expected a layer that the forward pass calls, got {layer!r}")
    after = set(nodes[at + 1 :])
    loose = [node.name for node in nodes[:at] if node.op != "get_attr" and after & set(node.users)]
    if loose:
        raise InputError(f"expected a layer that all data passes through, got {layer!r}, which {', '.join(loose)} bypasses")
    return _subgraph(module, nodes[: at + 1], returns=nodes[at]), _subgraph(module, nodes[at + 1 :], takes=nodes[at])


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


def fold_batch_norms(module: nn.Module) -> nn.Module:
    """The module with each batch norm that follows a convolution or linear layer folded into it, in place.

    The function computed stays the same up to rounding. A module that torch.fx cannot trace is left as it is.
    """
    try:
        graph = fx.Tracer().trace(module)
    except Exception:  # dynamic control flow and the like: slower, but right
        return module
    layers = dict(module.named_modules())
    calls = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        if calls.count(str(node.target)) > 1 or calls.count(str(before.target)) > 1:
            continue  # a layer used twice keeps its own norm
        layer, norm = layers[str(before.target)], layers[str(node.target)]
        if type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d) and type(layer) in (nn.Conv2d, nn.Linear) and norm.running_var is not None:
            _fold(layer, norm)
            module.set_submodule(str(node.target), nn.Identity().train(norm.training))
    return module


@torch.no_grad()
def _fold(layer: Any, norm: Any) -> None:
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    old = norm.running_mean if layer.bias is None else norm.running_mean - layer.bias
    bias = -old * scale if norm.bias is None else norm.bias - old * scale
    weight = layer.weight * scale.view(-1, *[1] * (layer.weight.ndim - 1))
    layer.weight, layer.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)
