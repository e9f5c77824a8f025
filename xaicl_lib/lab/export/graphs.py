"""The functions of a pair model that explanations are made from, as ONNX graphs whose weights lie outside."""

import hashlib
import io
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vjp
from torch.nn.functional import linear

from xaicl_lib.errors import InputError, telling_line
from xaicl_lib.lab.export.program import to_program
from xaicl_lib.lab.export.rules import rules
from xaicl_lib.layers import guided
from xaicl_lib.methods.attention import attention_of, positive, rolled
from xaicl_lib.methods.cells import share_of_a_cell
from xaicl_lib.networks.text import Reader, TextEncoder
from xaicl_lib.notes import quiet
from xaicl_lib.scores import cosine
from xaicl_lib.tokens.opening import Attention, affine, patches_alone, weights_of

OPSET = 20
WEIGHTS_FILE = "weights.bin"  # what the graphs call their weights; a reader hands them over by this name
MAX_GRAPH_BYTES = 8_000_000  # a graph without weights takes some 20 kB
MAX_KNOWN = 64  # graphs kept in memory

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Function:
    """A function to export: `run(weights, *inputs)` with the names of what goes in and comes out, and inputs to trace it with.

    `expected` is what torch's own autograd says, where `run` does not (guided gradients are a matter of the rules for tracing). Functions
    of one `key` that is not empty have the same graph.
    """

    run: Callable[..., Sequence[Tensor]]
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    guided: bool = False
    expected: Callable[..., Sequence[Tensor]] | None = None
    key: str = ""

    def __call__(self, weights: Weights, *inputs: Tensor) -> list[Tensor]:
        """What the graph must give."""
        return [t.detach() for t in (self.expected or self.run)(weights, *inputs)]


class Network(nn.Module):
    """The modules of a model, called by their role with weights from outside."""

    def __init__(self, parts: nn.ModuleDict, symmetric: bool) -> None:
        super().__init__()
        self.parts, self.symmetric = parts.requires_grad_(False), symmetric

    def forward(self, roles: tuple[str, ...], x: Tensor) -> Tensor:
        for role in roles:
            x = self.parts[role](x)
        return x

    def part(self, weights: Weights, side: str, *roles: str) -> Callable[[Tensor], Tensor]:
        """The modules of these roles on one side, one after the other."""
        own = tuple(role + side for role in roles)
        named = {f"parts.{name}": value for name, value in weights.items()}
        return lambda x: functional_call(self, named, (own, x), tie_weights=False, strict=False)


def functions(network: Network, size: int, relus: bool, cells: bool) -> dict[str, Function]:
    """All functions by the names of their graphs; those of side b only where it differs.

    `relus` says whether there are any, and so guided gradients; `cells` whether to ask a head with whole maps for what each cell adds.
    """
    x = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        f = [network((role,), x) for role in ("features", "features_b")]
    sides = [""] if network.symmetric else ["", "_b"]
    made = {f"encode{side}": Function(_encode(network, side), {"x": x}, ("f", "z")) for side in sides}
    made["headgrad"] = Function(patches_alone()(_gradients(network, "head")), {"f1": f[0], "f2": f[1].flip(0)}, ("s", "g1", "g2"))
    images = {"x1": x, "x2": x.flip(3)}
    made["pixgrad"] = Function(_gradients(network, "features", "head"), images, ("s", "d1", "d2"))
    if relus:
        run = _gradients(network, "features", "head")
        made["pixgrad_guided"] = Function(run, images, ("s", "d1", "d2"), guided=True, expected=_guided_gradients(network))
    if _has_attention(network, x):
        made["attention"] = Function(_attention(network), images, ("s", "r1", "r2", "m1", "m2"))
    shares: list[float | None] = []
    for side, example in zip(sides, f, strict=False):
        with torch.no_grad():
            shares.append(share := share_of_a_cell(network.part({}, side, "head"), example))
        if cells or share is not None:
            run = patches_alone()(_cells(network, side, share))
            made[f"headcells{side}"] = Function(run, {"at": example, "along": example.flip(0)}, ("v",))
    if (encoder := _text_encoder(network.parts)) is not None and shares[0] is not None:
        made["words"] = Function(_words(encoder), _texts(encoder), ("v", "z"))
        with torch.no_grad():
            given = {"at": f[0].sum((2, 3), keepdim=True), "u": network(("head",), f[1].flip(0))}
        made["headpull"] = Function(_pull(network, shares[0]), given, ("g", "z"))
    outline = _outline(network)
    return {name: replace(function, key=outline and f"{name} {size} {shares} {outline}") for name, function in made.items()}


def _encode(network: Network, side: str) -> Callable[..., Sequence[Tensor]]:
    def run(weights: Weights, x: Tensor) -> Sequence[Tensor]:
        f = network.part(weights, side, "features")(x)
        return f, network.part(weights, side, "head")(f)

    return run


def _gradients(network: Network, *roles: str) -> Callable[..., Sequence[Tensor]]:
    """The score and its gradient with respect to either input; in one batch where both sides run through the same modules."""

    def run(weights: Weights, x1: Tensor, x2: Tensor) -> Sequence[Tensor]:
        if not network.symmetric or x1.shape[1:] != x2.shape[1:]:
            z1, pull1, *_ = vjp(network.part(weights, "", *roles), x1)
            z2, pull2, *_ = vjp(network.part(weights, "_b", *roles), x2)
            s, (g1, g2) = _score(z1, z2)
            return s, pull1(g1)[0], pull2(g2)[0]
        n = x1.shape[0]
        z, pull, *_ = vjp(network.part(weights, "", *roles), torch.cat([x1, x2]))
        s, gradients = _score(z[:n], z[n:])
        (d,) = pull(torch.cat(gradients))
        return s, d[:n], d[n:]

    return run


def _guided_gradients(network: Network) -> Callable[..., Sequence[Tensor]]:
    def run(weights: Weights, *images: Tensor) -> Sequence[Tensor]:
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() for x in images]
            sides = [network.part(weights, side, "features", "head") for side in ("", "_b")]
            with guided():
                s = cosine(*[embed(x) for embed, x in zip(sides, leaves, strict=True)])
            return s, *torch.autograd.grad(s.sum(), leaves)

    return run


def _has_attention(network: Network, x: Tensor) -> bool:
    try:
        with torch.no_grad():
            for side in ("", "_b"):
                attention_of(network.part({}, side, "features"), x[:1], "")
    except InputError:
        return False
    return True


def _attention(network: Network) -> Callable[..., Sequence[Tensor]]:
    """The score, and for either image the rollout of its attention and the mean of what is positive in the score's gradients at it."""
    sides = [""] if network.symmetric else ["", "_b"]

    def run(weights: Weights, x1: Tensor, x2: Tensor) -> Sequence[Tensor]:
        images = [torch.cat([x1, x2])] if network.symmetric else [x1, x2]
        with torch.enable_grad():
            seen = [attention_of(network.part(weights, side, "features"), x, "") for side, x in zip(sides, images, strict=True)]
            z = torch.cat([network.part(weights, side, "head")(f) for side, (f, _) in zip(sides, seen, strict=True)])
            s = cosine(z[: x1.shape[0]], z[x1.shape[0] :])
            gradients = iter(torch.autograd.grad(s.sum(), [w for _, held in seen for w in held]))
        pools = [getattr(network.parts[f"features{side}"], "is_pool", False) for side in sides]
        r = torch.cat([rolled(held, f, is_pool) for (f, held), is_pool in zip(seen, pools, strict=True)])
        m = torch.cat([positive([next(gradients) for _ in held], f) for f, held in seen])
        return s, *(part for maps in (r, m) for part in (maps[: x1.shape[0]], maps[x1.shape[0] :]))

    return run


def _score(z1: Tensor, z2: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    def total(z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
        s = cosine(z1, z2)
        return s.sum(), s

    gradients, s = grad(total, argnums=(0, 1), has_aux=True)(z1, z2)
    return s, gradients


def _cells(network: Network, side: str, share: float | None) -> Callable[..., Sequence[Tensor]]:
    """Derivative of the head at a map along the part of a direction that lies in each cell: (n, c, i, j) twice to (n, p, d).

    A head that sees one vector alone is asked with vectors, of which a cell has its share.
    """

    def run(weights: Weights, at: Tensor, along: Tensor) -> Sequence[Tensor]:
        n, c, i, j = at.shape
        p = i * j
        if share is not None:
            tangent = (share * along).flatten(2).mT.reshape(n * p, c, 1, 1)
            point = (share * at).sum((2, 3)).unsqueeze(1).expand(n, p, c).reshape(n * p, c, 1, 1)
        else:
            only = torch.eye(p).view(1, p, 1, i, j)
            tangent = (along.unsqueeze(1) * only).reshape(n * p, c, i, j)
            point = at.unsqueeze(1).expand(n, p, c, i, j).reshape(n * p, c, i, j)
        z, pull, *_ = vjp(network.part(weights, side, "head"), point)
        _, push, *_ = vjp(lambda u: pull(u)[0], torch.zeros_like(z))  # what pulls back is linear, and its own transpose pushes forward
        (v,) = push(tangent)
        return (v.view(n, p, v.shape[1]),)

    return run


def _text_encoder(parts: nn.ModuleDict) -> TextEncoder | None:
    """The encoder of a text side whose tokens are the words of a list, which a page can tell apart by itself; None for others."""
    side = dict(parts.items()).get("text")
    return side.encoder if isinstance(side, Reader) and isinstance(side.encoder, TextEncoder) else None


class _OfShares(nn.Module):
    """An encoder asked with how much of each word stands at a place (n, t, w), of which 0 is padding, and where words are (n, t)."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, shares: Tensor, there: Tensor) -> Tensor:
        return self.encoder.of_vectors(shares @ self.encoder.words.weight, there)


def _words(encoder: TextEncoder) -> Callable[..., Sequence[Tensor]]:
    """Derivative of the text side at shares of words along a direction of them, and the text side there: (n, d) each."""
    side = _OfShares(encoder)

    def run(weights: Weights, at: Tensor, along: Tensor, there: Tensor) -> Sequence[Tensor]:
        own = {name.removeprefix("text."): value for name, value in weights.items() if name.startswith("text.")}
        z, pull, *_ = vjp(lambda x: functional_call(side, own, (x, there), tie_weights=False), at)
        _, push, *_ = vjp(lambda u: pull(u)[0], torch.zeros_like(z))  # as for cells
        return push(along)[0], z

    return run


def _pull(network: Network, share: float) -> Callable[..., Sequence[Tensor]]:
    """The head at sums of cells (n, c, 1, 1), and the gradients there of its products with u (n, d)."""

    def run(weights: Weights, at: Tensor, u: Tensor) -> Sequence[Tensor]:
        z, pull, *_ = vjp(lambda x: network.part(weights, "", "head")(share * x), at)
        return pull(u)[0], z

    return run


def _texts(encoder: TextEncoder) -> dict[str, Tensor]:
    """Two texts on their way from padding to words, of which the second is shorter."""
    words, length = len(encoder.words.weight), len(encoder.places)
    generator = torch.Generator().manual_seed(0)
    there = (torch.arange(length) < torch.tensor([[length], [length // 2]])).float()
    shares, blank = torch.rand(2, length, words, generator=generator).softmax(2), torch.eye(words)[0]
    along = (shares - blank) * there.unsqueeze(2)
    return {"at": blank + 0.7 * along, "along": along, "there": there}


def to_onnx(function: Function, weights: Weights, offsets: Mapping[str, int]) -> bytes:
    """The bytes of a graph without weights; `offsets` says where in single precision each of them begins, in bytes.

    Raises:
        InputError: an operation that ONNX, or our rules for gradients, do not have.
    """
    known = (function.key, tuple((name, tuple(value.shape), offsets[name]) for name, value in weights.items()))
    if function.key and known in _KNOWN:
        return _KNOWN[known]
    data = _finished(_translated(_trace(function, weights), function, weights), function, weights, offsets)
    if function.key:
        if len(_KNOWN) >= MAX_KNOWN:
            _KNOWN.clear()
        _KNOWN[known] = data
    return data


_KNOWN: dict[tuple[Any, ...], bytes] = {}  # graphs hold no weights, so models of one architecture share them


class _Outline(pickle.Pickler):
    """All that decides what a network computes, but the values of its weights."""

    def __init__(self, file: io.BytesIO, weights: Mapping[str, Tensor]) -> None:
        super().__init__(file)
        self.names = {id(weight): (name, weight.dtype, tuple(weight.shape)) for name, weight in weights.items()}

    def persistent_id(self, thing: Any) -> Any:
        return self.names.get(id(thing))

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, MethodType):  # put there by hand, and pickled by its name alone
            raise pickle.PicklingError("expected no methods among the attributes")
        return NotImplemented


def _outline(network: Network) -> str:
    """A digest of that; empty for a network of which it cannot be had, as of classes within functions."""
    floats = {name: tensor for name, tensor in network.state_dict(keep_vars=True).items() if tensor.is_floating_point()}
    try:
        _Outline(file := io.BytesIO(), floats).dump(network)
    except Exception:  # whatever an object's own way to be pickled raises
        return ""
    return hashlib.sha256(file.getvalue()).hexdigest()


def _translated(traced: torch.fx.GraphModule, function: Function, weights: Weights) -> Any:
    try:
        with quiet():
            try:
                program = _exported(to_program(traced))
            except Exception:  # an operation still to be taken apart, for which torch's exporter traces all anew, several times as long
                given = (*function.inputs.values(), *weights.values())
                program = _exported(traced, given, dynamic_shapes=_batches(function, weights))
    except Exception as error:  # whatever torch's exporter raises
        raise InputError(f"cannot be written as ONNX: {telling_line(error)}") from error
    assert program is not None  # with dynamo, it is
    return program.model_proto


def _exported(model: Any, given: tuple[Tensor, ...] = (), **options: Any) -> Any:
    """Without the exporter's own optimiser, which takes half of the time of a transformer: whoever loads a graph optimises it."""
    return torch.onnx.export(model, given, dynamo=True, opset_version=OPSET, verbose=False, optimize=False, **options)


class _Plain(Attention):
    """Tokens in operations that leave the batch unknown: attention from products, and layers as `affine` has them.

    A fused kernel of attention has no gradient that could be written.
    """

    def __init__(self) -> None:
        super().__init__(lambda q, k, v, mask, scale: weights_of(q, k, mask, scale) @ v)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is linear and args[0].ndim > 2 and len(args) == 3:
            return affine(*args)
        return super().__torch_function__(func, types, args, kwargs)


def _trace(function: Function, weights: Weights) -> torch.fx.GraphModule:
    from torch.fx.experimental.proxy_tensor import make_fx

    count = len(function.inputs)

    def run(*tensors: Tensor) -> Sequence[Tensor]:
        return function.run(dict(zip(weights, tensors[count:], strict=True)), *tensors[:count])

    try:
        with torch.no_grad(), quiet():
            made = make_fx(run, decomposition_table=rules(guided=function.guided), tracing_mode="symbolic", _allow_non_fake_inputs=True)
            with _Plain():
                return made(*_symbolic(function, weights)).eval()
    except InputError:
        raise
    except Exception as error:  # whatever the model's own code or torch's tracer raises
        raise InputError(f"cannot be traced: {telling_line(error)}") from error


def _symbolic(function: Function, weights: Weights) -> list[Tensor]:
    """Stand-ins whose batch alone is unknown: were every length so, as is torch's own way, tracing would take four times as long."""
    from torch._dynamo.source import ConstantSource
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

    mode = FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv())

    def stand_in(name: str, tensor: Tensor, first: DimDynamic) -> Tensor:
        sizes = [first, *[DimDynamic.STATIC] * (tensor.ndim - 1)][: tensor.ndim]
        return mode.from_tensor(tensor, source=ConstantSource(name), symbolic_context=StatelessSymbolicContext(dynamic_sizes=sizes))

    batches = [stand_in(name, tensor, DimDynamic.DUCK) for name, tensor in function.inputs.items()]
    return batches + [stand_in(f"w.{name}", tensor, DimDynamic.STATIC) for name, tensor in weights.items()]


def _batches(function: Function, weights: Weights) -> tuple[dict[int, Any], ...]:
    batch = torch.export.Dim("n", min=1, max=4096)
    return (*({0: batch} for _ in function.inputs), *({} for _ in weights))


def _finished(model: Any, function: Function, weights: Weights, offsets: Mapping[str, int]) -> bytes:
    """The weights taken from the inputs to the outside, our names on what goes in and out, nothing else about where it was made."""
    graph = model.graph
    count = len(function.inputs)
    renamed = dict(zip([v.name for v in graph.input], [*function.inputs, *(f"w.{name}" for name in weights)], strict=True))
    renamed |= dict(zip([v.name for v in graph.output], function.outputs, strict=True))
    used = {name for node in graph.node for name in node.input}
    for old, (name, value) in zip([v.name for v in graph.input[count:]], weights.items(), strict=True):
        if old in used:
            _add_outside(graph.initializer.add(), f"w.{name}", value, offsets[name])
    del graph.input[count:], graph.value_info[:], graph.metadata_props[:], model.metadata_props[:]
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.input, *graph.output):
        value.name = renamed[value.name]
        value.type.tensor_type.shape.dim[0].dim_param = "n"
        del value.metadata_props[:]
    graph.name, model.producer_name, model.producer_version = "xaicl", "xaicl_lib", ""
    data = model.SerializeToString(deterministic=True)
    if len(data) > MAX_GRAPH_BYTES:
        raise InputError(f"expected weights as parameters or buffers, got {len(data) / 1e6:.0f} MB of constants in the model's own code")
    return data


def _add_outside(tensor: Any, name: str, value: Tensor, offset: int) -> None:
    from onnx import TensorProto

    tensor.name, tensor.data_type, tensor.data_location = name, TensorProto.FLOAT, TensorProto.EXTERNAL
    tensor.dims.extend(value.shape)
    for key, text in (("location", WEIGHTS_FILE), ("offset", offset), ("length", 4 * value.numel())):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(text)
