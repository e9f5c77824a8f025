"""Reading checkpoints that come from anywhere: as tensors only, each of which must have its place in the network, and back."""

import os
import pickle
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xaicl_lib.data.fetch import is_page
from xaicl_lib.errors import InputError

SHOWN = 4  # names in a message; the rest are counted
COUNTER = "num_batches_tracked"  # of batch norms; older files lack it, and evaluation does not use it


def exclude_bias_and_norm(*_: object) -> bool:
    """Stands in for a function of the Barlow Twins script that its checkpoints name in the state of their optimizer.

    Files are read as tensors only, and a file may name nothing but this; being called, it does nothing.
    """
    return False


exclude_bias_and_norm.__module__ = "__main__"  # under this name files know it


def _read_torch(path: str | os.PathLike[str]) -> Any:
    """What `torch.save` wrote, if it is plain data: tensors, numbers, texts, in dictionaries and lists.

    Raises:
        InputError: not such a file, a truncated one, or one that asks for code to be run, which it never is.
    """
    path = Path(path)
    with path.open("rb") as file:
        start = file.read(512)
    if is_page(start):
        raise InputError(f"expected weights in {path.name!r}, got a web page (a log-in or an error page saved under that name?)")
    zipped = start.startswith(b"PK")
    if not zipped and not start.startswith(b"\x80"):
        raise InputError(f"expected a file of torch.save in {path.name!r}, got one that begins with {start[:8]!r}")
    try:
        with torch.serialization.safe_globals([exclude_bias_and_norm]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f"it asks for {named[1]}, which was not run" if named else "it is damaged, or asks for more than tensors"
        raise InputError(f"expected tensors alone in {path.name!r}, not loaded: {what}") from error
    except Exception as error:  # bytes from anywhere raise anything
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(
            f"expected a whole file of torch.save in {path.name!r}, got one that is truncated or damaged ({reason})"
        ) from error


def _state_of(checkpoint: Any, key: str | None, path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by their names, under `key` if it is one of a whole training; without prefixes of wrappers."""
    state = checkpoint.get(key) if key and isinstance(checkpoint, Mapping) and key in checkpoint else checkpoint
    if not isinstance(state, Mapping) or not state or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        there = f"; at its top there are: {shorten(map(str, checkpoint))}" if isinstance(checkpoint, Mapping) else ""
        raise InputError(f"expected tensors by their names in {path.name!r}" + (f" under {key!r}" if key else "") + there)
    return {_bare(name): value for name, value in state.items()}


def _bare(name: str) -> str:
    """A name without what parallel and compiled modules put before it, in whatever order."""
    own = name.removeprefix("module.").removeprefix("_orig_mod.")
    return name if own == name else _bare(own)


def _without_owner(given: Mapping[str, Tensor], wanted: Iterable[str], path: Path) -> dict[str, Tensor]:
    """Tensors by the names of a network that a training script held as `model.`, `net.backbone.` or the like, its own left out."""
    names = {name for name in wanted if not name.endswith(COUNTER)}
    found = Counter(name[: len(name) - len(end)] for name in given for end in _ends(name) if end in names)
    whole = [owner for owner, count in found.items() if count == len(names)]
    if "" in whole or not whole:
        return dict(given)
    if len(whole) > 1:
        raise InputError(f"expected one network in {path.name!r}, got {shorten(whole)}; save the one that is meant alone")
    return {name.removeprefix(whole[0]): value for name, value in given.items() if name.startswith(whole[0])}


def _ends(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[k:]) for k in range(len(parts))]


def _refuse_values(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights that a network would take without a word and that are none."""
    for name, own in wanted.items():
        if (value := given.get(name)) is None:
            continue
        if value.is_quantized or (own.is_floating_point() and not value.is_floating_point()):
            raise InputError(
                f"expected floating-point weights in {path.name!r}, got {value.dtype} as {name}; take a file without quantisation"
            )
        endless = not own.is_meta and own.is_floating_point() and bool(own.isinf().any())  # masks of attention
        if value.is_floating_point() and bool((value.isnan() if endless else ~value.isfinite()).any()):
            raise InputError(f"expected finite weights in {path.name!r}, got NaN or infinity in {name}")


class Reader(NamedTuple):
    """What the files of a publisher become.

    Attributes:
        network: the empty network, of a model's options and of `slim`, by which all widths are divided, for tests.
        read: (files, empty network, options) -> tensors by our names, every one in its place. An `InputError` says which other file it is,
            or what is missing, surplus or of another shape.
    """

    network: Callable[..., nn.ModuleDict]
    read: Callable[..., dict[str, Tensor]]


def torch_reader(
    network: Callable[..., nn.ModuleDict],
    names: Callable[..., dict[str, str]],
    what: str,
    *,
    key: str | None = None,
    aside: tuple[str, ...] = (),
) -> Reader:
    """How a file of `torch.save` is read.

    Args:
        network: makes the empty network, from a model's options.
        names: from the same, for beginnings of our names those of the publisher; the longest that fits is taken.
        what: the file should be, for messages; options stand in braces.
        key: under which a whole training has its network; None for a file of tensors alone.
        aside: beginnings of the publisher's names that the network does not need.
    """

    def read(files: Sequence[Path], empty: nn.Module, **options: Any) -> dict[str, Tensor]:
        path, wanted = files[0], what.format(**options)
        if path.name.startswith("linear"):  # published beside the networks that were meant
            raise InputError(f"expected {wanted}, got {path.name!r}: a linear probe, whose head is a classifier")
        return _translated(_state_of(_read_torch(path), key, path), empty, names(**options), path, wanted, aside)

    return Reader(network, read)


def _translated(
    given: Mapping[str, Tensor], network: nn.Module, names: Mapping[str, str], path: Path, what: str, aside: Sequence[str] = ()
) -> dict[str, Tensor]:
    wanted = {_renamed(ours, names): (ours, value) for ours, value in network.state_dict().items()}
    counters = {theirs for theirs in wanted if theirs.endswith(COUNTER)}
    missing = [name for name in wanted if name not in given and name not in counters]
    surplus = [name for name in given if name not in wanted and not name.startswith(tuple(aside))]
    there = {theirs: value for theirs, (_, value) in wanted.items()}
    complain(path, what, missing, surplus, _misshapen(given, there), _guess(given))
    _refuse_values(given, there, path)
    return {ours: given[theirs] if theirs in given else torch.tensor(0) for theirs, (ours, _) in wanted.items()}


def _misshapen(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    pairs = [(name, given[name].shape, value.shape) for name, value in wanted.items() if name in given]
    return [f"{name} {tuple(theirs)} for {tuple(ours)}" for name, theirs, ours in pairs if theirs != ours]


def _renamed(name: str, names: Mapping[str, str]) -> str:
    """One of our names as the publisher has it, by the longest beginning that fits."""
    begin = max((ours for ours in names if name.startswith(ours)), key=len)
    return names[begin] + name[len(begin) :]


def complain(path: Path, what: str, missing: Sequence[str], surplus: Sequence[str], wrong: Sequence[str], hint: str = "") -> None:
    """Raise what does not fit, if anything does not."""
    lists = {"missing": missing, "surplus": surplus, "wrong shape": wrong}
    said = [f"{kind}: {shorten(found)}" for kind, found in lists.items() if found]
    if said:
        raise InputError(f"expected {what}, got {path.name!r}, which does not fit{hint and f' ({hint})'}; {'; '.join(said)}")


def shorten(names: Iterable[str]) -> str:
    """The first few names, and how many there are."""
    names = list(names)
    return ", ".join(names[:SHOWN]) + (f", ... ({len(names)} in all)" if len(names) > SHOWN else "")


def fill_from(path: Path, network: nn.Module, what: str, aside: tuple[str, ...] = (), *, whole: bool = False) -> None:
    """Put the tensors of a file (of torch, or safetensors) into a network whose names they have, alone or as part of a larger one.

    Args:
        path: of the file.
        network: another package's.
        what: the weights are of, for messages.
        aside: beginnings of names that are left as they are, here and there, such as a classifier's.
        whole: whether the network needs all that it has, such names among them: then they are left aside in the file alone.

    Raises:
        InputError: no such file, missing or surplus names or wrong shapes, NaN or infinity, or more than one such network.
    """
    if not path.is_file():
        raise InputError(f"expected a file of weights, got {str(path)!r}, which does not exist")
    read = _safetensors(path) if path.suffix == ".safetensors" else _state_of(_read_torch(path), "state_dict", path)
    state = {name: value for name, value in network.state_dict().items() if whole or not name.startswith(aside)}
    given = {n: value for n, value in _without_owner(read, state, path).items() if not n.startswith(aside) or (whole and n in state)}
    missing = [name for name in state if name not in given and not name.endswith(COUNTER)]
    surplus = [name for name in given if name not in state]
    complain(path, f"the weights of {what}", missing, surplus, _misshapen(given, state))
    _refuse_values(given, state, path)
    every = network.state_dict()  # with its versions: without these some modules take a state for an old one's
    every.update(given)
    network.load_state_dict(every)


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"expected a whole safetensors file in {path.name!r}: {error}") from error


def _guess(given: Mapping[str, Tensor]) -> str:
    """What kind of checkpoint it seems to be, if it is none with a projection head."""
    classifier = next((n for n in ("fc.weight", "head.weight") if n in given and given[n].ndim == 2), None)
    if classifier:
        return f"it seems to be a linear probe or a classifier, with {classifier} {tuple(given[classifier].shape)}"
    if any(name.startswith(("conv1.", "patch_embed.")) for name in given):
        return "it seems to be a backbone alone, and the head is needed"
    return ""
