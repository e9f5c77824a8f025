"""Other people's modules made fit for use: copied whatever they hold, one output chosen, and tried once to see what they stand.

A network is tried on noise before its fast form is used. What it does not stand (another memory layout, folded norms, an input that is
used again) is then left out or done for it, so that ordinary networks pay nothing for the others.
"""

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad

from xaicl_lib.annotations import is_a, plain
from xaicl_lib.errors import InputError, unknown
from xaicl_lib.layers import copied, fold_batch_norms, unwrapped

Size = int | Sequence[int] | Mapping[str, int]  # of square images: the side, or as processors have it
Output = str | int | Callable[[Any], Tensor]  # which of several outputs: its name, its place, or a function of all
HALF = (torch.float16, torch.bfloat16)
TRIED = 64  # pixels a side of the noise that a network is tried on first; only one that refuses them is tried on its own size
ROLES = (("features", "head"), ("features_b", "head_b"))
REDUCED = 0.03  # relative difference that convolutions of reduced precision make on accelerators
FORMS = ((True, torch.channels_last), (True, torch.contiguous_format))  # norms folded, layout; the fastest first


def side_of(size: Any) -> int:
    """The side in pixels of square images, from the forms in which image processors and configurations of networks have it.

    Raises:
        InputError: none of these forms, not square, or under one pixel.
    """
    given: Any = size.get("shortest_edge", [size.get("height"), size.get("width")]) if isinstance(size, Mapping) else size
    sides = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    sides = [plain(side) for side in (sides[1:] if len(sides) == 3 else sides)]  # of (channels, height, width)
    if not (1 <= len(sides) <= 2 and all(is_a(side, int) and side > 0 and side == sides[0] for side in sides)):
        raise InputError(f"expected a size in pixels of square images, as 224, (224, 224) or {{'height': 224, 'width': 224}}, got {size!r}")
    return sides[0]


def per_channel(values: Any, what: str) -> tuple[float, ...]:
    """Three finite numbers, one for each channel, from as many or from one for all.

    Raises:
        InputError: anything else; `what` they are called in the message.
    """
    given = values.tolist() if hasattr(values, "tolist") else values
    found = [given] * 3 if is_a(given, float) else given
    if not isinstance(found, list | tuple) or len(found) != 3 or not all(is_a(v, float) and math.isfinite(v) for v in found):
        hint = "; leave it out for a network that takes pixels in [0, 1]" if values is None else ""
        raise InputError(f"expected {what} of three channels, finite numbers, got {values!r}{hint}")
    return tuple(float(plain(v)) for v in found)


def own(given: dict[str, nn.Module], output: Output | None) -> nn.ModuleDict:
    """Copies of modules by their roles, unwrapped, frozen, in evaluation, one output chosen; what is shared stays shared.

    Raises:
        InputError: quantised modules, or weights that are no floating-point numbers.
    """
    for role, module in given.items():
        refuse_integers(role, module)
    held = nn.ModuleDict({role: unwrapped(module) for role, module in given.items()})
    parts = copied(held)
    if parts is held:
        warnings.warn("the modules given cannot be copied, so they are used themselves: frozen and in evaluation from now on", stacklevel=4)
    parts = _without_wrappers(parts).eval().requires_grad_(False)
    _without_inference_tensors(parts)
    if output is not None:
        chosen = {id(part): Chosen(part, output) for role, part in parts.items() if role != "text"}
        parts = nn.ModuleDict({role: chosen.get(id(part), part) for role, part in parts.items()})
    return parts.eval()


def refuse_integers(role: str, module: nn.Module) -> None:
    """Refuse quantised layers, whose gradients are zero without a word.

    Raises:
        InputError: it has one, or weights of another kind of numbers than floating-point ones.
    """
    for name, layer in module.named_modules():
        where = f"{role}.{name}".rstrip(".")
        if ".quantized." in type(layer).__module__:
            raise InputError(
                f"expected floating-point layers, got a quantised {type(layer).__name__} at {where}; give the model before that"
            )
        for kind, p in (
            layer._parameters.items() if not isinstance(layer, torch.jit.ScriptModule) else layer.named_parameters(recurse=False)
        ):
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


class Chosen(nn.Module):
    """A module of several outputs, one of them chosen; one of a single tensor is left as it is."""

    def __init__(self, module: nn.Module, output: Output) -> None:
        super().__init__()
        if isinstance(output, bool) or not (isinstance(output, str | int) or callable(output)):
            raise InputError(f"expected output to be a name, a place or a function, got {output!r}")
        self.module, self.output = module, output

    def forward(self, x: Any) -> Tensor:
        """The chosen output."""
        made = self.module(x)
        return made if isinstance(made, Tensor) else tensor_of(self._choose(made), "the output chosen")

    def _choose(self, made: Any) -> Any:
        if not isinstance(self.output, str | int):
            return self.output(made)
        there = _named(made)
        values = list(there.values())
        if isinstance(self.output, int) and -len(values) <= self.output < len(values):
            return values[self.output]
        if self.output not in there:
            raise unknown("output", str(self.output), [str(name) for name in there] or ["none"])
        return there[self.output]


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


def tensor_of(made: Any, what: str) -> Tensor:
    """An output as it is, if it is a tensor.

    Raises:
        InputError: it is not; the message names what there is to choose from.
    """
    if isinstance(made, Tensor):
        return made
    there = ", ".join(f"{name!r} {tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__}" for name, v in _named(made).items())
    hint = f"; give PairModel output=, which is a function or one of: {there}" if there else ""
    raise InputError(f"expected a tensor from {what}, got {type(made).__name__}{hint}")


def rows(z: Any, n: int) -> Float[Tensor, "n d"]:
    """The one place where what a head returns becomes embeddings (n, d): axes of length 1 added or dropped.

    Raises:
        InputError: no tensor, or one whose batch axis cannot be told.
    """
    z = tensor_of(z, "the head")
    if z.ndim == 2 and len(z) == n:
        return z
    long = [length for length in z.shape if length != 1]
    lost = n == 1 and len(long) <= 1
    kept = n > 1 and z.ndim > 0 and len(z) == n and len(long) <= 2
    if not (lost or kept):
        raise InputError(
            f"expected embeddings ({n}, d) of {n} images from the head, got shape {tuple(z.shape)}; let it return one row an image"
        )
    return z.reshape(n, -1)


class _Bridge(nn.Module):
    """A part with what is done for it: it gets a copy of its input, takes and gives float32 (`dtype` is its own), returns rows."""

    def __init__(self, module: nn.Module, dtype: torch.dtype | None, lends: bool, shaped: bool) -> None:
        super().__init__()
        self.module, self.dtype, self.lends, self.shaped = module, dtype, lends, shaped

    def forward(self, x: Tensor) -> Tensor:
        """The part's output."""
        given = x.clone() if self.lends else x
        made = self.module(given if self.dtype is None else given.to(self.dtype))
        made = rows(made, len(x)) if self.shaped else made
        return made if self.dtype is None else made.float()


@dataclasses.dataclass
class Habits:
    """What a network needs, found by trying it.

    Attributes:
        folded: whether its batch norms may be folded.
        layout: of images and weights.
        lends: roles of features that change their input, or whose head does.
        shaped: roles of heads whose embeddings are not (n, d).
        cuts: by role, the module that lets no gradient through.
        constant: those of them that forward derivatives do not pass either.
        notes: what the user should know.
    """

    folded: bool = True
    layout: torch.memory_format = torch.contiguous_format
    lends: set[str] = dataclasses.field(default_factory=set)
    shaped: set[str] = dataclasses.field(default_factory=set)
    cuts: dict[str, str] = dataclasses.field(default_factory=dict)
    constant: set[str] = dataclasses.field(default_factory=set)
    notes: list[str] = dataclasses.field(default_factory=list)


def fast_form(parts: nn.ModuleDict, images: Sequence[Float[Tensor, "2 c h w"]]) -> tuple[nn.ModuleDict, Habits]:
    """The same parts in the fastest form that gives the same answers, and what they need.

    Args:
        parts: by role, in evaluation; they are copied.
        images: noise in the model's input space, to be tried in turn until one runs.

    Raises:
        InputError: outputs that are no tensors, or no embeddings.
    """
    with torch.random.fork_rng(devices=[images[0].device] if images[0].is_cuda else []), warnings.catch_warnings(action="ignore"):
        plain: Any = copied(parts)
        x, want = next(((x, made) for x in images if (made := _run(plain, x[:1]))), (None, []))
        habits = None if x is None else _habits(plain, x, want)
        if x is None or habits is None:  # it does not run on noise of its size, and may on other images
            return formed(parts, Habits()), Habits()
        for habits.folded, habits.layout in FORMS:
            form = formed(parts, habits)
            if _agree(_run(form, x[:1].contiguous(memory_format=habits.layout)), want):
                return form, habits
        habits.folded = False
        return formed(parts, habits), habits


def formed(parts: nn.ModuleDict, habits: Habits) -> nn.ModuleDict:
    """A copy of the parts in the form that their habits allow; parts that cannot be copied stay as they are."""
    form: Any = copied(parts)
    if form is not parts:
        if habits.folded:
            fold_batch_norms(*dict.fromkeys(part for role, part in form.items() if role != "text"))
        form.to(memory_format=habits.layout)
    bridged: dict[int, nn.Module] = {}
    for role, part in form.items():
        half = next((p.dtype for p in part.parameters() if p.dtype in HALF), None)
        if role != "text" and (half or role in habits.lends or role in habits.shaped):
            bridged.setdefault(id(part), _Bridge(part, half, role in habits.lends, role in habits.shaped))
    return nn.ModuleDict({role: bridged.get(id(part), part) for role, part in form.items()}).eval() if bridged else form


@dataclasses.dataclass
class _Made:
    """What one branch makes of images: its map, whether that follows a gradient, its embeddings, and the gradient of their squares."""

    f: Tensor
    follows: bool
    z: Tensor
    gradient: Tensor | None


def _branches(parts: nn.ModuleDict) -> list[tuple[str, str]]:
    """Roles of features and head of either side; those of side a alone where both are the same."""
    (a, b) = ROLES
    return [a] if all(parts[x] is parts[y] for x, y in zip(a, b, strict=True)) else [a, b]


def _run(parts: nn.ModuleDict, x: Tensor) -> list[_Made]:
    """What the branches make of images, empty if one does not run."""
    made: list[_Made] = []
    for features, head in _branches(parts):
        leaf, outputs = x.detach().clone().requires_grad_(), []
        with torch.enable_grad():
            given: Any = leaf
            for role, what in ((features, "the features"), (head, "the head")):
                try:
                    given = parts[role](given.clone())
                except Exception:  # whatever a module raises at images that are not its own
                    return []
                given = tensor_of(given, what)
                outputs.append(given)
            f, z = outputs[0], rows(outputs[1], len(x))
            try:
                gradient = torch.autograd.grad(_wide(z).square().sum(), leaf, allow_unused=True)[0] if z.requires_grad else None
            except Exception:  # an operation without a backward pass, or one that the layout breaks
                gradient = None
        made.append(_Made(f.detach(), f.requires_grad, z.detach(), gradient))
    return made


def _agree(made: list[_Made], want: list[_Made]) -> bool:
    pairs = zip(made, want, strict=False)
    return len(made) == len(want) and all(_close(x.f, y.f) and _close(x.z, y.z) and _close(x.gradient, y.gradient) for x, y in pairs)


def _close(x: Tensor | None, y: Tensor | None) -> bool:
    """Whether two tensors are equal up to rounding, as a share of their length; what is not finite must be so in both."""
    if x is None or y is None:
        return x is y
    if x.shape != y.shape or not torch.equal(x.isfinite(), y.isfinite()):
        return False
    share = max(3 * max(torch.finfo(t.dtype).eps for t in (x, y)) ** 0.5, 0.0 if x.device.type == "cpu" else REDUCED)
    x, y = (torch.where(t.isfinite(), _wide(t), 0) for t in (x, y))
    return bool((x - y).norm() <= share * y.norm())


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in HALF else x


def _habits(plain: nn.ModuleDict, x: Float[Tensor, "2 c h w"], want: list[_Made]) -> Habits | None:
    """What a network does, by its plain form on two images and on the first of them alone; None where it fails on the way."""
    habits = Habits()
    try:
        for roles, one in zip(_branches(plain), want, strict=True):
            _note_habits(plain, roles, x, one, want, habits)
    except InputError:
        raise
    except Exception:  # whatever a module raises
        return None
    for found in (habits.lends, habits.shaped):
        found |= {other for other in plain for role in list(found) if plain[other] is plain[role]}
    return habits


def _note_habits(plain: nn.ModuleDict, roles: tuple[str, str], x: Tensor, one: _Made, want: list[_Made], habits: Habits) -> None:
    features, head = roles
    given = x.clone()
    with torch.no_grad():
        before = given._version
        f = plain[features](given)
        kept = f.clone()
        z, first = plain[head](f.clone()), plain[head](one.f.clone())
        plain[head](f)
    if given._version != before or not torch.equal(given, x):
        habits.lends.add(features)
    if z.ndim != 2 or first.ndim != 2 or len(z) != 2:
        habits.shaped.add(head)
    same = _close(kept[:1], one.f)
    if not (same and _close(rows(z, 2)[:1], one.z)):
        habits.notes.append(_uneven(plain, head if same else features, x, want))
    _find_cuts(plain, {head: one.f} if one.follows else {features: x[:1], head: one.f}, habits)


def _uneven(plain: nn.ModuleDict, role: str, x: Tensor, want: list[_Made]) -> str:
    """Why an image has another embedding beside another image than alone."""
    if not _agree(_run(plain, x[:1]), want):
        return f"the same image has another embedding each time ({role}: dropout that eval() does not end?): maps cannot be repeated"
    norms = [name for name, m in plain[role].named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_var is None]
    why = f"the batch norm {norms[0]!r} has no running statistics" if norms else "it computes over the batch"
    return f"an image's embedding depends on the images beside it ({role}: {why}): scores and maps depend on chunk and on the other pairs"


def _find_cuts(plain: nn.ModuleDict, given: dict[str, Tensor], habits: Habits) -> None:
    """Note which parts let no gradient through, and whether forward derivatives pass them."""
    for role, x in given.items():
        leaf = x.detach().clone().requires_grad_()
        with torch.enable_grad():
            made = plain[role](leaf.clone())
        if made.requires_grad:
            continue
        habits.cuts[role] = _cutter(plain[role], leaf)
        try:
            with torch.no_grad(), forward_ad.dual_level():
                made = plain[role](forward_ad.make_dual(x.clone(), torch.ones_like(x)))
                passes = forward_ad.unpack_dual(made).tangent is not None
        except Exception:  # an operation without a forward derivative, which its method says itself
            passes = True
        if not passes:
            habits.constant.add(role)


def _cutter(part: nn.Module, leaf: Tensor) -> str:
    """Name of the innermost module of a part whose input follows a gradient and whose output does not; empty for the part itself."""
    found: list[str] = []

    def look(name: str, given: tuple[Any, ...], made: Any) -> None:
        tensors = [t for t in given if isinstance(t, Tensor)]
        if any(t.requires_grad for t in tensors) and isinstance(made, Tensor) and not made.requires_grad:
            found.append(name)

    try:
        hooks = [m.register_forward_hook(lambda _, given, made, name=name: look(name, given, made)) for name, m in part.named_modules()]
        with torch.enable_grad():
            part(leaf.clone())
        for hook in hooks:
            hook.remove()
    except Exception:  # scripted modules take no hooks
        return ""
    return found[0] if found else ""
