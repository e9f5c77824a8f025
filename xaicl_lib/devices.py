"""What devices lack: memory for all images at once, numbers of double precision, some operations."""

import contextlib
import ctypes
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Generator

from xaicl_lib.errors import InputError
from xaicl_lib.notes import note

T = TypeVar("T")
WITHOUT_DOUBLE = ("mps", "xpu")  # Apple's has no float64, and not all of Intel's have


def widest(device: torch.device) -> torch.dtype:
    """The most precise type for sums on a device."""
    return torch.float32 if device.type in WITHOUT_DOUBLE else torch.float64


def keep_memory() -> None:
    """Let this process keep up to a gigabyte of what it frees for the next tensor, instead of giving it back to the system and asking anew.

    For programs, not for libraries: it holds for all that a process does. Small networks run a fourth faster, with glibc; elsewhere
    nothing happens.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        for option, value in ((-1, 2**30), (-2, 2**26), (-3, 2**25)):  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD
            ctypes.CDLL(None).mallopt(option, value)


def sparing(run: Callable[[int | None], T], chunk: int | None, usual: int, generator: Generator | None = None) -> T:
    """What `run(chunk)` returns; where memory does not suffice, once more with half as many images in flight, which is said.

    Args:
        run: a computation whose answer does not depend on its chunk.
        chunk: images in flight, None for as many as usual.
        usual: how many these are.
        generator: that `run` draws from, put back for the second time.

    Raises:
        InputError: an operation that the device does not have.
    """
    state, images = None if generator is None else generator.get_state(), chunk or usual
    try:
        return run(chunk)
    except NotImplementedError as error:
        raise InputError(_missing(error)) from error
    except Exception as error:
        if not _is_out_of_memory(error) or images < 2:
            raise
    half = images // 2  # from here on, where the failed call's tensors are let go
    note(f"memory did not suffice for {images} images in flight: done with chunk={half}, with the same result")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if generator is not None and state is not None:
        generator.set_state(state)
    return run(half)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an accelerator said so by its error's type, or the CPU or Apple's in its text."""
    texts = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and any(t in str(error) for t in texts))


def _missing(error: NotImplementedError) -> str:
    reason = str(error).strip().split("\n")[0]
    hint = "; PYTORCH_ENABLE_MPS_FALLBACK=1, set before Python starts, does such operations on the CPU" if "MPS" in str(error) else ""
    return f"expected operations that torch has here, got one that it has not: {reason}{hint}"
