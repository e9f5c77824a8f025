"""Runs Python in a process that ends, with all it has started, as soon as the process that started it has ended.

    python -P guard.py FILE.py [ARG ...]
    python -P guard.py MODULE:FUNCTION [ARG ...]

Its standard input is a pipe that the starting process holds and never writes to: when that process ends, however it ends, the pipe
does. The module needs nothing of this package, so that a process which only waits for a kernel does not load torch.
"""

import contextlib
import importlib
import os
import runpy
import sys
import threading

import psutil

COMMAND = (sys.executable, "-P", __file__)  # how to call it


def end_tree(pid: int, itself: bool = True) -> None:
    """Kill all that a process has started, and the process itself; one that is gone already is no error."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        tree = [*process.children(recursive=True), *([process] if itself else [])]
        for each in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(tree, timeout=10)


def _main() -> None:
    """Run what the command line names."""
    threading.Thread(target=_watch, daemon=True).start()
    target = sys.argv.pop(1)
    if target.endswith(".py"):
        sys.argv[0] = target
        runpy.run_path(target, run_name="__main__")
        return
    module, _, function = target.partition(":")
    sys.exit(getattr(importlib.import_module(module), function)())


def _watch() -> None:
    """Wait for the end of standard input, then end everything."""
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    end_tree(os.getpid(), itself=False)
    os._exit(1)


if __name__ == "__main__":
    _main()
