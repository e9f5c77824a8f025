"""The stages of a network: their names in order of depth, and the network up to one of them."""

import copy
import re
from typing import Any

from torch import Tensor, fx, nn

from xaicl_lib.errors import InputError
from xaicl_lib.model import PairModel
from xaicl_lib.networks.small import Block

SHOWN = 8  # layers named in an error


def stages(model: PairModel) -> dict[str, str]:
    """The layer that each stage of a model's features ends with, by the stage's name, from the pixels on.

    The bundled networks have five: stem (or tokens) and four stages (or blocks). Those of a ResNet-50 are "stage 1" to "stage 4";
    :cite:t:`sammani2023visualizing` count the stem as the first layer, so that its layers 3, 4 and 5 are stages 2, 3 and 4.

    Raises:
        InputError: a network of another kind; `up_to` takes the name of any of its layers.
    """
    layers = dict(model.features_a.named_modules())
    blocks = [name for name, layer in layers.items() if isinstance(layer, Block)]
    if blocks:
        return {"stem": str(int(blocks[0]) - 1), **{f"stage {k}": name for k, name in enumerate(blocks, 1)}}
    parts = [name for name in layers if re.fullmatch(r"layer\d", name)]
    if parts:
        return {f"stage {k}": name for k, name in enumerate(parts, 1)}
    tokens = [name for name in layers if re.fullmatch(r"(.+\.)?blocks\.\d+", name)]
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
    network = copy.deepcopy(model.fast.features_a)
    layers = dict(network.named_modules())
    layer = stage if stage in layers and stage else stages(model).get(stage)
    if layer is None:
        raise InputError(f"unknown stage {stage!r} of {model.name!r}; there are: {', '.join(stages(model))}, and names of layers")
    return _cut_graph(network, layer) if isinstance(network, fx.GraphModule) else _Stopped(network, layers[layer], layer)


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
    """A traced network up to the last call within a layer: tracing leaves the calls of its parts only."""
    nodes = list(network.graph.nodes)
    inside = [k for k, node in enumerate(nodes) if node.op == "call_module" and f"{node.target}.".startswith(f"{layer}.")]
    if not inside:
        raise InputError(f"expected a layer that the forward pass calls, got {layer!r}")
    for node in reversed(nodes[inside[-1] + 1 :]):
        network.graph.erase_node(node)
    network.graph.output(nodes[inside[-1]])
    network.recompile()
    return network
