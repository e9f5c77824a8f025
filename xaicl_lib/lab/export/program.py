"""A traced graph in the form that torch's exporter works on, so that it need not be traced twice more to get there."""

import operator
from typing import Any

import torch
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature, InputKind, InputSpec, OutputKind, OutputSpec, TensorArgument
from torch.fx import Graph, GraphModule, Node

aten = torch.ops.aten


class _Program(ExportedProgram):
    """A program whose operations have been taken apart before."""

    def run_decompositions(self, decomp_table: Any = None, **options: Any) -> "_Program":
        left = {str(node.target) for node in self.graph.nodes if node.op == "call_function" and node.target in (decomp_table or {})}
        if left:
            raise NotImplementedError(f"expected operations that ONNX has, got {', '.join(sorted(left))}")
        return self


def to_program(traced: GraphModule) -> ExportedProgram:
    """The program of a traced function that returns tensors, which torch's exporter has only to translate.

    Raises:
        NotImplementedError: an operation in place on a tensor that others may share; and, when it is exported, one that is still to be
            taken apart.
    """
    graph, constants = _lifted(traced)
    for node in list(graph.nodes):
        if _mutates(node):
            _replace(node)
    inputs = [_input(node, constants) for node in graph.find_nodes(op="placeholder")]
    returned: Any = graph.output_node().args[0]
    outputs = [OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(node.name), None) for node in returned]
    return _Program(traced, graph, ExportGraphSignature(inputs, outputs), {}, {}, [], None, constants)


def _lifted(traced: GraphModule) -> tuple[Graph, dict[str, Any]]:
    """A copy whose constants are inputs, the first ones, as programs have them; and their values by name."""
    graph, copies, constants = Graph(), dict[Node, Node](), dict[str, Any]()
    for node in traced.graph.find_nodes(op="get_attr"):
        copies[node] = graph.placeholder(node.name)
        copies[node].meta = {"val": getattr(traced, node.target), **node.meta}
        constants[copies[node].name] = getattr(traced, node.target)
    for node in traced.graph.nodes:
        if node not in copies:
            copies[node] = graph.node_copy(node, copies.__getitem__)
        copies[node].meta.setdefault("nn_module_stack", {})  # of its absence the exporter tells, a line for each node
    return graph, constants


def _input(node: Node, constants: dict[str, Any]) -> InputSpec:
    if node.name in constants:
        return InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(node.name), node.name)
    return InputSpec(InputKind.USER_INPUT, TensorArgument(node.name), None)


def _schema(node: Node) -> Any:
    return node.target._schema if isinstance(node.target, OpOverload) else None


def _mutates(node: Node) -> bool:
    return _schema(node) is not None and _schema(node).is_mutable


def _is_view(node: Node) -> bool:
    """Whether it shares the memory of what it was given, or may."""
    if node.target is operator.getitem:
        return _is_view(node.args[0])  # type: ignore[arg-type]
    schema = _schema(node)
    return schema is None or (not schema.is_mutable and any(out.alias_info is not None for out in schema.returns))


def _replace(node: Node) -> None:
    """Instead of an operation in place, the one that makes a new tensor, which all that come later take already."""
    changed, *others = [value for value in node.args if isinstance(value, Node)]
    if any(map(_is_view, (changed, *changed.users))) or any(_dtype(other) != _dtype(changed) for other in others):
        raise NotImplementedError(f"expected no operation in place on a tensor that others share, got {node.target}")
    if node.target is aten.copy_.default and others[0].meta["val"].shape == changed.meta["val"].shape:
        node.replace_all_uses_with(others[0])
        node.graph.erase_node(node)
    else:
        node.target = _pure(node.target)


def _pure(target: Any) -> Any:
    name = target._schema.name.removeprefix("aten::")
    return getattr(getattr(aten, name.removesuffix("_")), target._overloadname)


def _dtype(node: Node) -> Any:
    return getattr(node.meta["val"], "dtype", None)
