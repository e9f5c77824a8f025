"""Other people's modules made fit for use: copied whatever they hold, one output chosen, sizes and statistics in whatever form."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xaicl_lib.annotations import is_a, plain
from xaicl_lib.errors import InputError, unknown
from xaicl_lib.layers import copied, unwrapped
from xaicl_lib.notes import note


class _Sides(Protocol):
    """A mapping, or what is none and has its `get`, as transformers' SizeDict."""

    def get(self, key: str, /) -> int | None: ...


Size = int | Sequence[int] | _Sides  # of square images: the side, or as processors have it
Output = str | int | Callable[[Any], Tensor]  # which of several outputs: its name, its place, or a function of all

INTERPOLATIONS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # filters, each at its number in Pillow


def side_of(size: Any) -> int:
    """The side in pixels of square images, from the forms in which image processors and configurations of networks have it.

    Raises:
        InputError: none of these forms, not square, or under one pixel.
    """
    given: Any = size
    if hasattr(size, "get"):  # keys may be there that say None
        given = [size.get("height"), size.get("width")] if (edge := size.get("shortest_edge")) is None else edge
    sides = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    sides = [plain(side) for side in (sides[1:] if len(sides) == 3 else sides)]  # of (channels, height, width)
    if not (1 <= len(sides) <= 2 and all(is_a(side, int) and side > 0 and side == sides[0] for side in sides)):
        raise InputError(f"expected a size in pixels of square images, as 224, (224, 224) or {{'height': 224, 'width': 224}}, got {size!r}")
    return sides[0]


def per_channel(values: Any, what: str) -> tuple[float, ...]:
    """Finite numbers, one for each channel; a single one is for all.

    Raises:
        InputError: anything else; `what` they are called in the message.
    """
    given = values.tolist() if hasattr(values, "tolist") else values
    found = [given] if is_a(given, float) else given
    if not isinstance(found, list | tuple) or not found or not all(is_a(v, float) and math.isfinite(v) for v in found):
        hint = "; leave it out for a network that takes pixels in [0, 1]" if values is None else ""
        raise InputError(f"expected {what} of each channel, finite numbers, got {values!r}{hint}")
    return tuple(float(plain(v)) for v in found)


def told_channels(size: Any, *statistics: Any) -> int | None:
    """How many channels a size (c, h, w) and numbers for each channel tell of, None where they do not.

    Raises:
        InputError: they tell different things.
    """
    lengths = [len(v) for v in statistics if isinstance(v, list | tuple) or getattr(v, "ndim", 0) == 1]
    lengths += [plain(size[0])] if isinstance(size, list | tuple) and len(size) == 3 and is_a(size[0], int) else []
    told = list(dict.fromkeys(lengths))
    if len(told) > 1:
        raise InputError(f"expected size, mean and std of as many channels, got {' and '.join(map(str, told))}")
    return told[0] if told else None


def interpolation_of(given: Any) -> str:
    """The name of a filter that resizes photos, from a name, Pillow's number (`resample` of processors) or an enumeration's member.

    Raises:
        InputError: none of these.
    """
    value = plain(getattr(given, "value", given))
    named = INTERPOLATIONS[value] if is_a(value, int) and 0 <= value < len(INTERPOLATIONS) else value
    if named not in INTERPOLATIONS:
        raise unknown("interpolation", str(named), INTERPOLATIONS)
    return named


def own(given: dict[str, nn.Module], output: Output | None) -> nn.ModuleDict:
    """Copies of modules by their roles, unwrapped, frozen, in evaluation, one output chosen; what is shared stays shared.

    Raises:
        InputError: quantised modules, or weights that are no floating-point numbers.
    """
    for role, module in given.items():
        _refuse_integers(role, module)
    held = nn.ModuleDict({role: unwrapped(module) for role, module in given.items()})
    parts = copied(held)
    if parts is held:
        note("the modules given cannot be copied, so they are used themselves: frozen and in evaluation from now on")
    parts = _without_wrappers(parts).eval().requires_grad_(False)
    _without_inference_tensors(parts)
    if output is not None:
        chosen = {id(part): _Chosen(part, output) for role, part in parts.items() if role != "text"}
        parts = nn.ModuleDict({role: chosen.get(id(part), part) for role, part in parts.items()})
    return parts.eval()


def _refuse_integers(role: str, module: nn.Module) -> None:
    """Refuse quantised layers, whose gradients are zero without a word."""
    for name, layer in module.named_modules():
        where = f"{role}.{name}".rstrip(".")
        if ".quantized." in type(layer).__module__:
            raise InputError(
                f"expected floating-point layers, got a quantised {type(layer).__name__} at {where}; give the model before that"
            )
        for kind, p in (
            layer._parameters.items() if not isinstance(layer, torch.jit.ScriptModule) else layer.named_parameters(recurse=False)
        ):
            if p is not None and nn.parameter.is_lazy(p):
                raise InputError(f"expected weights that are there, got none yet in {where}.{kind}; run the network once first")
            if p is not None and type(p.data) is not Tensor:
                raise InputError(f"expected ordinary weights, got {type(p.data).__name__} in {where}.{kind}; give the model before that")
            if p is not None and not (p.is_floating_point() or p.is_complex()):
                raise InputError(f"expected floating-point weights, got {p.dtype} in {where}.{kind}; give the model before quantisation")


def _without_wrappers(parts: nn.Module) -> Any:
    for parent in list(parts.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and unwrapped(child) is not child:
                parent._modules[name] = unwrapped(child)
    return parts


def _without_inference_tensors(parts: nn.Module) -> None:
    """Replace tensors that were made in inference mode, which autograd would refuse, by ordinary ones."""
    for module in parts.modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue  # whose copy is made of ordinary ones
        for name, p in module._parameters.items():
            if p is not None and p.is_inference():
                module._parameters[name] = nn.Parameter(p.clone(), requires_grad=False)
        for name, b in module._buffers.items():
            if b is not None and b.is_inference():
                module._buffers[name] = b.clone()


class _Chosen(nn.Module):
    """A module of several outputs, one of them chosen; one of a single tensor is left as it is."""

    def __init__(self, module: nn.Module, output: Output) -> None:
        super().__init__()
        if isinstance(output, bool) or not (isinstance(output, str | int) or callable(output)):
            raise InputError(f"expected output to be a name, a place or a function, got {output!r}")
        self.module, self.output = module, output

    def forward(self, x: Any) -> Tensor:
        """The chosen output."""
        return tensor_of(self.module(x), "the module", self.output)


def _choose(made: Any, output: Output) -> Any:
    if not isinstance(output, str | int):
        return output(made)
    there = _named(made)
    values = list(there.values())
    if isinstance(output, int) and -len(values) <= output < len(values):
        return values[output]
    if output not in there:
        raise unknown("output", str(output), [str(name) for name in there] or ["none"])
    return there[output]


def _named(made: Any) -> dict[Any, Any]:
    """The outputs of a module by their names, or their places where they have none."""
    if isinstance(made, Mapping):
        return dict(made)
    if dataclasses.is_dataclass(made) and not isinstance(made, type):
        return {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
    if isinstance(made, tuple) and hasattr(made, "_fields"):
        return dict(zip(made._fields, made, strict=True))
    if isinstance(made, tuple | list):
        return dict(enumerate(made))
    return dict(getattr(made, "__dict__", {}))


def tensor_of(made: Any, what: str, output: Output | None = None) -> Tensor:
    """An output as it is, if it is a tensor, else the one of several that is chosen.

    Raises:
        InputError: neither is a tensor; the message names what there is to choose from.
    """
    if isinstance(made, Tensor):
        return made
    if output is not None:
        return tensor_of(_choose(made, output), "the output chosen")
    there = ", ".join(f"{name!r} {tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__}" for name, v in _named(made).items())
    hint = f"; give PairModel output=, which is a function or one of: {there}" if there else ""
    raise InputError(f"expected a tensor from {what}, got {type(made).__name__}{hint}")


def rows(z: Any, n: int) -> Float[Tensor, "n d"]:
    """The one place where what a head returns becomes embeddings (n, d): axes of length 1 added or dropped.

    Raises:
        InputError: no tensor, or one whose batch axis cannot be told.
    """
    z = tensor_of(z, "the head")
    if z.ndim == 2 and z.shape[0] == n:  # not len(), which would fix n where a graph is made for any
        return z
    long = [length for length in z.shape if length != 1]
    lost = n == 1 and len(long) <= 1
    kept = n > 1 and z.ndim > 0 and len(z) == n and len(long) <= 2
    if not (lost or kept):
        raise InputError(
            f"expected embeddings ({n}, d) of {n} images from the head, got shape {tuple(z.shape)}; let it return one row an image"
        )
    return z.reshape(n, -1)
