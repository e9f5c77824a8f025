"""What a model or a function computes, as a short key: weights, the code of modules, and where that cannot be read, a model's outputs.

Weights and structure are not enough: two modules may hold the same weights and differ in `forward`, in a number, in a function that they
hold. So everything reachable from the modules goes into the key: tensors bit by bit, attributes, hooks, and of Python functions and
classes what the interpreter runs (the compiled code, which also a class of a notebook has, and which no edit of a file under a running
program can make wrong), with the constants, closures and global functions that they use. Comments, docstrings and names do not count.
What belongs to torch and the standard library is known by its name; of functions such as scores, what belongs to this library, too, for
stored values depend on its code anyway.

What cannot be read (a scripted module, a function of a C extension) is seen by its outputs on fixed images. They are left out where all
can be read: they would say nothing more, and rounding could only make one model look like two. They are computed in float64 on the CPU,
where devices and numbers of threads differ by some 1e-14 of the largest output, and rounded to 1e-6 of it: the chance that a value lies so
near to the edge of two steps is about 1e-8. Such modules are therefore told apart only if they differ by that much.
"""

import dis
import functools
import hashlib
import json
import sys
import sysconfig
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

import torch
from torch import Generator, Tensor, fx, nn

from xaicl_lib.annotations import plain
from xaicl_lib.errors import InputError
from xaicl_lib.model import PairModel

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented))
KNOWN = {"torch", "builtins", "numpy", *sys.stdlib_module_names}  # packages whose members are known by their names
OURS = __name__.partition(".")[0]
MODE = {"training", "_is_full_backward_hook"}  # attributes of a module that its function in evaluation does not depend on
OPERATORS = (type(torch.ops.aten.relu), type(torch.ops.aten.relu.default))
STEP = 1e-6  # of the largest output


def model_key(model: PairModel) -> str:
    """What identifies a model by what it computes on either side: 16 hex digits, the same on every device.

    Raises:
        InputError: modules that can neither be read nor run on images of the model's size; give the model a `key`.
    """
    reading = _Reading()
    parts = {role: part for role, part in model._parts.items() if role != "text"}  # no value of images depends on a text side
    of_a_subclass = {name: value for name, value in vars(model).items() if name not in _attributes()}
    code = [reading.of(parts), reading.of(type(model)), *([reading.of(of_a_subclass)] if of_a_subclass else [])]
    unread = (model.key or _outputs(model, sorted(reading.unread))) if reading.unread else None
    return digest(code, sorted(reading.unread), unread, model.size, model._mean, model._std)


@functools.cache
def _attributes() -> frozenset[str]:
    """Attributes of every model."""
    return frozenset(vars(PairModel(nn.Identity(), size=8)))


def digest(*parts: object) -> str:
    """Short name of some content: 16 hex digits of the SHA-256 of tensors, of anything JSON knows, and of functions by what they compute.

    Raises:
        InputError: a function or another object that can neither be read nor has a `key`.
    """
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            array = part.detach().cpu().contiguous()
            found.update(f"{array.dtype}{tuple(array.shape)}".encode())
            found.update(array.flatten().view(torch.uint8).numpy().tobytes())
        else:
            found.update(json.dumps(part, sort_keys=True, default=_known_to_json).encode())
    return found.hexdigest()[:16]


def _known_to_json(value: Any) -> Any:
    number = plain(value)
    return _key_of(value) if number is value else number


def _key_of(value: Any) -> str:
    """What stands in a key for a value that JSON does not know: its `key` if it has one, else all that it is made of."""
    if isinstance(value, Tensor):
        return digest(value)
    if (key := getattr(value, "key", None)) is not None:
        return str(key)
    found = (reading := _Reading(ours_by_name=True)).of(value)
    if reading.unread:
        raise InputError(f"expected a function whose code can be read, to tell it from others in the store, got {value!r}; give it a `key`")
    return found


class _Reading:
    """Digests of values by all that they are made of; each value is read once.

    Args:
        ours_by_name: whether functions and classes of this library are known by their names.

    Attributes:
        unread: names of what could not be read.
    """

    def __init__(self, ours_by_name: bool = False) -> None:
        self.unread: set[str] = set()
        self._ours_by_name = ours_by_name
        self._found: dict[int, str] = {}
        self._alive: list[Any] = []  # so that no other value gets the identity of one that was read

    def of(self, value: Any) -> str:
        """Digest of a value; what is reached from itself again counts as `itself` there."""
        if type(value) in PLAIN:
            return _hash(type(value).__name__, repr(value))
        if (known := self._found.get(id(value))) is not None:
            return known
        self._alive.append(value)
        self._found[id(value)] = "itself"
        what, inside = self._open(value)
        digests = [self.of(part) for part in inside]
        self._found[id(value)] = _hash(what, *(sorted(digests) if isinstance(value, set | frozenset) else digests))
        return self._found[id(value)]

    def _open(self, value: Any) -> tuple[str, list[Any]]:
        if self._ours_by_name and isinstance(value, FunctionType | type) and (where := _module_of(value)).partition(".")[0] == OURS:
            return f"{where}.{value.__qualname__}", _bound(value)
        try:
            return _open(value)
        except _Unread as error:
            self.unread.add(str(error))
        except Exception:  # whatever an object's own way of being taken apart raises, which may name its place in memory
            self.unread.add(f"{type(value).__module__}.{type(value).__qualname__}")
        return "unread", []


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


class _Unread(Exception):
    """A value that cannot be taken apart, by its name."""


def _open(value: Any) -> tuple[str, list[Any]]:
    """What a value is, and the values that it is made of."""
    for kinds, opened in OPENED:
        if isinstance(value, kinds):
            return opened(value)
    if hasattr(value, "__wrapped__"):  # such as a cached function
        return "wrapper", [value.__wrapped__]
    return _object(value)


def _is_known(module: str | None) -> bool:
    """Whether it is torch's or the standard library's, and not a file of the user's that has such a name."""
    top = (module or "?").partition(".")[0]
    return top in KNOWN and (top in ("torch", "numpy") or _is_standard(getattr(sys.modules.get(top), "__file__", None)))


@functools.cache
def _is_standard(file: str | None) -> bool:
    return file is None or any(Path(file).is_relative_to(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))


def _module_of(value: FunctionType | type) -> str:
    return str(value.__globals__.get("__name__") if isinstance(value, FunctionType) else value.__module__)


def _bound(value: FunctionType | type) -> list[Any]:
    """What a function holds beside its code."""
    if isinstance(value, type):
        return []
    return [value.__defaults__, value.__kwdefaults__, [cell.cell_contents for cell in value.__closure__ or ()]]


def _tensor(value: Tensor) -> tuple[str, list[Any]]:
    if value.layout is not torch.strided or value.is_quantized or value.is_meta:
        raise _Unread(f"{value.layout} tensor")
    return digest(value), []


def _graph(module: Any) -> tuple[str, list[Any]]:
    """A traced module, whose class is made by torch while the program runs: the text of its graph and the functions in it."""
    functions = [node.target for node in module.graph.nodes if callable(node.target)]
    return "graph", [
        module.code,
        functions,
        *_state(module, {"_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks"}),
    ]


def _module(module: nn.Module) -> tuple[str, list[Any]]:
    if isinstance(module, torch.jit.ScriptModule):
        raise _Unread(f"scripted {module.original_name}")
    return "module", [type(module), *_state(module, vars(module).keys() - MODE)]


def _state(module: nn.Module, names: set[str]) -> list[Any]:
    """Attributes by name; of hooks those that there are, whose numbers count what the whole program has registered."""
    state = vars(module)
    return [(name, list(state[name].values()) if "_hooks" in name else state[name]) for name in sorted(names & state.keys())]


def _class(cls: type) -> tuple[str, list[Any]]:
    if _is_known(cls.__module__) or cls is PairModel:  # whose code is part of the version of the code
        return f"{cls.__module__}.{cls.__qualname__}", []
    own = {name: member for name, member in vars(cls).items() if not name.startswith(("__", "_abc_")) or isinstance(member, FunctionType)}
    skipped = (GetSetDescriptorType, MemberDescriptorType)  # slots
    return "class", [*cls.__bases__, *((name, own[name]) for name in sorted(own) if not isinstance(own[name], skipped))]


def _function(function: FunctionType) -> tuple[str, list[Any]]:
    """A Python function by its code, or its name if it is torch's, and what it has bound; its globals only where they are used."""
    where, bound = _module_of(function), _bound(function)
    if _is_known(where):
        return f"{where}.{function.__qualname__}", bound
    used = [(name, _reached(function.__globals__[name], _names(function.__code__))) for name in _globals(function)]
    return "function", [_text(function.__code__, function.__doc__), *bound, used]


def _globals(function: FunctionType) -> list[str]:
    return sorted(name for name in set(_loaded(function.__code__)) if name in function.__globals__)


def _loaded(code: CodeType) -> Iterator[str]:
    """Names of the globals that some code reads, the functions in it included."""
    yield from (step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    for inner in _inner(code):
        yield from _loaded(inner)


def _names(code: CodeType) -> set[str]:
    return set(code.co_names).union(*(_names(inner) for inner in _inner(code)))


def _inner(code: CodeType) -> list[CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def _reached(value: Any, names: set[str]) -> Any:
    """A global as some code may use it: of somebody's module, the members that the code names."""
    if not isinstance(value, ModuleType) or _is_known(value.__name__):
        return value
    return [(name, _reached(getattr(value, name), names)) for name in sorted(names) if hasattr(value, name)]


def _text(code: CodeType, documentation: str | None) -> list[Any]:
    """What the interpreter runs, without line numbers and documentation."""
    constants = [_text(c, None) if isinstance(c, CodeType) else c for c in code.co_consts if documentation is None or c != documentation]
    return [code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants]


def _builtin(function: Any) -> tuple[str, list[Any]]:
    owner = function.__self__
    if isinstance(owner, ModuleType | type | None):
        where = getattr(owner, "__name__" if isinstance(owner, ModuleType) else "__module__", None) or function.__module__
        if not _is_known(where):
            raise _Unread(f"{where}.{function.__qualname__}")
        return f"{where}.{function.__qualname__}", []
    return function.__qualname__, [owner]


def _operator(operator: Any) -> tuple[str, list[Any]]:
    if not str(operator).startswith(("aten.", "prim")):
        raise _Unread(f"torch.ops.{operator}")
    return str(operator), []


def _object(value: Any) -> tuple[str, list[Any]]:
    """Any other object, taken apart as if to be pickled."""
    taken = value.__reduce_ex__(2)
    if isinstance(taken, str):
        if not _is_known(getattr(value, "__module__", None)):
            raise _Unread(taken)
        return f"{value.__module__}.{taken}", []
    return "object", [list(part) if isinstance(part, Iterator) else part for part in taken]


OPENED: list[tuple[Any, Any]] = [
    (Tensor, _tensor),
    (fx.GraphModule, _graph),
    (nn.Module, _module),
    (type, _class),
    (FunctionType, _function),
    (BuiltinFunctionType, _builtin),
    (OPERATORS, _operator),
    (MethodType, lambda method: ("method", [method.__func__, method.__self__])),
    (ModuleType, lambda module: (module.__name__, [])),
    (ContextVar, lambda variable: (variable.name, [])),
    (staticmethod | classmethod, lambda method: (type(method).__name__, [method.__func__])),
    (property, lambda made: ("property", [made.fget])),
    (dict, lambda given: ("dict", [type(given), *given.items()])),
    (tuple | list | set | frozenset, lambda given: ("several", [type(given), *given])),
]


def _outputs(model: PairModel, unread: list[str]) -> list[list[int]]:
    """Embeddings of either side of two fixed images of noise, in steps of `STEP` of the largest."""
    images = torch.rand(2, model.channels, model.size, model.size, generator=Generator().manual_seed(0), dtype=torch.float64)
    try:
        same = model.copy().to("cpu").to(torch.float64)
        with torch.no_grad():
            found = [embed(same.normalize(images)).double() for embed in (same.embed_a, same.embed_b)]
    except Exception as error:  # whatever the modules raise
        raise InputError(
            f"expected {model.name!r} to be readable, or to run on images of {model.size} pixels in float64, to tell it from others in the "
            f"store, got {', '.join(unread)} and: {error}; give PairModel a key="
        ) from error
    return [(z / z.abs().amax().clamp_min(1e-300) / STEP).round().nan_to_num().long().flatten().tolist() for z in found]
