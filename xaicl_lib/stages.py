"""The stages of a network: their names in order of depth, and the network up to one of them."""

import copy
import re
from collections.abc import Collection
from typing import Any

from torch import Tensor, fx, nn

from xaicl_lib.errors import InputError
from xaicl_lib.model import PairModel
from xaicl_lib.networks.small import Block
from xaicl_lib.tokens.opening import PatchShares

SHOWN = 8  # layers named in an error


def stages(model: PairModel) -> dict[str, str]:
    """The layer that each stage of a model's features ends with, by the stage's name, from the pixels on.

    The bundled networks have five: stem (or tokens) and four stages (or blocks). Those of a ResNet-50 are "stage 1" to "stage 4";
    :cite:t:`sammani2023visualizing` count the stem as the first layer, so that its layers 3, 4 and 5 are stages 2, 3 and 4.
    Features that end within the last block, as those of a class token do, have it not among their stages.

    Raises:
        InputError: a network of another kind; `up_to` takes the name of any of its layers.
    """
    inside = _inside(model.features_a)
    layers = dict(inside.named_modules())
    blocks = [name for name, layer in layers.items() if isinstance(layer, Block)]
    if blocks:
        above, _, first = blocks[0].rpartition(".")
        stem = ".".join(filter(None, (above, str(int(first) - 1))))
        return {"stem": stem, **{f"stage {k}": name for k, name in enumerate(blocks, 1)}}
    parts = [name for name in layers if re.fullmatch(r"layer\d", name)]
    if parts:
        return {f"stage {k}": name for k, name in enumerate(parts, 1)}
    tokens = [name for name in layers if re.fullmatch(r"(.+\.)?blocks\.\d+", name)]
    tokens = tokens[:-1] if isinstance(inside, PatchShares) else tokens
    if not tokens:
        top = [name for name, _ in model.features_a.named_children()][:SHOWN]
        raise InputError(f"expected a network whose stages are known, got {model.name!r}; name a layer, such as {', '.join(top)}")
    start = {"tokens": "tokens"} if "tokens" in layers and tokens[0] == "blocks.0" else {}
    return start | {f"block {k}": name for k, name in enumerate(tokens, 1)}


def up_to(model: PairModel, stage: str) -> nn.Module:
    """A copy of a model's features, side a, that stops after a stage; the layers behind it are not run.

    Args:
        model: which stays as it is.
        stage: one of `stages(model)`, or the name of a layer of the features.

    Raises:
        InputError: no such stage or layer, or one that the forward pass does not call.
    """
    known = _stages_if_known(model)
    layer = stage if stage and stage in dict(_inside(model.features_a).named_modules()) else known.get(stage)
    if layer is None:
        names = ", ".join(known) or "those of its layers"
        raise InputError(f"unknown stage {stage!r} of {model.name!r}; there are: {names}, and names of layers")
    # Where norms are folded, a convolution gives what its norm gave: only stages are known to end behind both.
    network = copy.deepcopy(_inside(model.fast.features_a if layer in known.values() else model.features_a))
    if isinstance(network, fx.GraphModule) and not _is_called_whole(network, layer):
        return _cut_graph(network, layer)
    return _Stopped(network, dict(network.named_modules())[layer], layer)


def _inside(features: nn.Module) -> nn.Module:
    """A traced network without what turns its last map channels first: its layers have the names that they have in the network."""
    wrapped = isinstance(features, nn.Sequential) and len(features) > 1 and isinstance(features[0], fx.GraphModule)
    return features[0] if wrapped else features  # type: ignore[index]


def _stages_if_known(model: PairModel) -> dict[str, str]:
    try:
        return stages(model)
    except InputError:
        return {}


def _is_called_whole(network: fx.GraphModule, layer: str) -> bool:
    """Whether a traced network calls a layer, or one around it, as a module, whose own code then runs."""
    return any(node.op == "call_module" and f"{layer}.".startswith(f"{node.target}.") for node in network.graph.nodes)


class _Reached(Exception):  # no error: it carries the result out of the forward pass
    def __init__(self, value: Tensor) -> None:
        self.value = value


class _Stopped(nn.Module):
    """A network whose output is that of one of its layers."""

    def __init__(self, network: nn.Module, layer: nn.Module, name: str) -> None:
        super().__init__()
        self.network, self.name = network, name
        layer.register_forward_hook(_leave)

    def forward(self, x: Tensor) -> Tensor:
        try:
            self.network(x)
        except _Reached as reached:
            return reached.value
        raise InputError(f"expected a layer that the forward pass calls, got {self.name!r}")


def _leave(module: nn.Module, given: Any, output: Tensor) -> None:
    raise _Reached(output)


def _cut_graph(network: fx.GraphModule, layer: str) -> fx.GraphModule:
    """A traced network up to what the first call of a layer returned: tracing leaves the operations within it only."""
    nodes = list(network.graph.nodes)
    inside = [node for node in nodes if layer in _within(node)]
    returned = [node for node in inside if set(node.users) - set(inside)]
    lost = [node for node in nodes if node.op == "call_module" and f"{node.target}.".startswith(f"{layer}.") and layer not in _within(node)]
    if len(returned) != 1:
        what = (
            "a traced network that knows which layer an operation is of, which it forgets when it is pickled"
            if lost
            else ("a layer that the forward pass calls" if not inside else "a layer that returns one tensor")
        )
        raise InputError(f"expected {what}, got {layer!r}")
    for node in reversed(nodes[nodes.index(returned[0]) + 1 :]):
        network.graph.erase_node(node)
    network.graph.output(returned[0])
    network.recompile()
    return network


def _within(node: fx.Node) -> Collection[str]:
    """Names of the layers in whose first call an operation happened, as torch.fx notes them; later calls have a number behind them."""
    return node.meta.get("nn_module_stack", {}).keys()
