"""Networks tried once on noise, before their fast form is used.

What a network does not stand (another memory layout, folded norms, an input that is used again) is then left out or done for it, so that
ordinary networks pay nothing for the others.
"""

import contextlib
import dataclasses
import io
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad

from xaicl_lib.errors import InputError
from xaicl_lib.layers import copied, fold_batch_norms
from xaicl_lib.notes import quiet
from xaicl_lib.wrapping import rows, tensor_of

HALF = (torch.float16, torch.bfloat16)
TRIED = 64  # pixels a side of the noise that a network is tried on first; only one that refuses them is tried on its own size
ROLES = (("features", "head"), ("features_b", "head_b"))
REDUCED = 0.03  # relative difference that convolutions of reduced precision make on accelerators
FORMS = ((True, torch.channels_last), (True, torch.contiguous_format))  # norms folded, layout; the fastest first


class _Bridge(nn.Module):
    """A part with what is done for it: it gets a copy of its input, takes and gives float32 (`dtype` is its own), returns rows."""

    def __init__(self, module: nn.Module, dtype: torch.dtype | None, lends: bool, shaped: bool) -> None:
        super().__init__()
        self.module, self.dtype, self.lends, self.shaped = module, dtype, lends, shaped
        self.takes_single = any(getattr(layer, "takes_single", False) for layer in module.modules())

    def forward(self, x: Tensor) -> Tensor:
        """The part's output."""
        given = x.clone() if self.lends else x
        made = self.module(given if self.dtype is None or self.takes_single else given.to(self.dtype))
        made = rows(made, x.shape[0]) if self.shaped else made
        return made if self.dtype is None else made.float()


@dataclasses.dataclass
class Habits:
    """What a network needs, found by trying it."""

    folded: bool = True  # whether its batch norms may be folded
    layout: torch.memory_format = torch.contiguous_format  # of images and weights
    lends: set[str] = dataclasses.field(default_factory=set)  # roles of features that change their input, or whose head does
    shaped: set[str] = dataclasses.field(default_factory=set)  # roles of heads whose embeddings are not (n, d)
    cuts: dict[str, str] = dataclasses.field(default_factory=dict)  # by role, the module that lets no gradient through
    constant: set[str] = dataclasses.field(default_factory=set)  # those of them that forward derivatives do not pass either
    notes: list[str] = dataclasses.field(default_factory=list)  # what the user should know


def fast_form(parts: nn.ModuleDict, images: Sequence[Float[Tensor, "2 c h w"]]) -> tuple[nn.ModuleDict, Habits]:
    """The same parts in the fastest form that gives the same answers, and what they need.

    Args:
        parts: by role, in evaluation; they are copied.
        images: noise in the model's input space, to be tried in turn until one runs.

    Raises:
        InputError: outputs that are no tensors, or no embeddings.
    """
    with torch.random.fork_rng(devices=[images[0].device] if images[0].is_cuda else []), _quiet():
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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No word of what is tried and given up: neither warnings nor what torch.fx prints before a module of its own raises.

    By one thread at a time, for the stream is the process's, too.
    """
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        yield


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
    return len(made) == len(want) and all(_close(x.f, y.f, y.z) and _close(x.z, y.z) and _close(x.gradient, y.gradient) for x, y in pairs)


def _close(x: Tensor | None, y: Tensor | None, beside: Tensor | None = None) -> bool:
    """Whether two tensors are equal up to rounding, as a share of their length; what is not finite must be so in both.

    They are rounded at least as far as what stands beside them: of a network in half precision the map may be in single.
    """
    if x is None or y is None:
        return x is y
    if x.shape != y.shape or not torch.equal(x.isfinite(), y.isfinite()):
        return False
    eps = max(torch.finfo(t.dtype).eps for t in (x, y, y if beside is None else beside))
    share = max(3 * eps**0.5, 0.0 if x.device.type == "cpu" else REDUCED)
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
    same = _close(kept[:1], one.f, one.z)
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
