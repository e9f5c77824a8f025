"""A fork server: one process imports what notebooks share; workers and kernels are forked from it, each as if it had been started anew.

    python forkserver.py MODULE ...

`multiprocessing` has one too, but its processes keep the server's environment and streams. Standard input is a socket:
the server says first why it will not fork, or null. Each order after that, a command line for Python, comes with three ends of pipes: the
process's standard input and output, and where its id and, at the end, its exit code are told. Forking is safe only while there is a single
thread, so the server keeps to one. Like the guard it does not load the library by itself.
"""

import atexit
import builtins
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

PATIENCE = 300.0  # seconds that the imports may take
NEEDED = ("ipykernel.kernelapp", "ipykernel.zmqshell", "ipykernel.ipkernel", "ipykernel.debugger", "papermill")
OWN = {
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # else pyarrow starts a thread when it is imported
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # as a kernel sets it, too late for a matplotlib that is there already
}


class _Forked:
    """A forked process, held like a `subprocess.Popen`.

    Raises:
        OSError: it could not be forked.
    """

    def __init__(self, server: socket.socket, words: Sequence[str]) -> None:
        self.returncode: int | None = None
        (entry, stdin), (stdout, way_out), (news, told) = os.pipe(), os.pipe(), os.pipe()
        self.stdin, self.stdout, self._news = os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb"), os.fdopen(news, "rb", buffering=0)
        try:
            socket.send_fds(server, [json.dumps(list(words)).encode()], [entry, way_out, told])
        finally:
            for end in (entry, way_out, told):
                os.close(end)
        self.pid = int(self._news.readline() or 0)
        if not self.pid:
            raise ChildProcessError("the fork server could not fork")
        os.set_blocking(news, False)

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.returncode is None and (said := self._news.read()) is not None:
            self.returncode = int(said or -signal.SIGKILL)
        return self.returncode

    def wait(self) -> int:
        """The exit code, when it has ended."""
        while (code := self.poll()) is None:
            select.select([self._news], [], [])
        return code


class ForkServer:
    """Such a server, ended by `close`. `refusal` says why it does not fork, None that it does."""

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._child = subprocess.Popen(  # type: ignore[call-overload]
                [sys.executable, __file__, *modules], env={**OWN, **environment}, stdin=theirs, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self._socket.settimeout(PATIENCE)
        try:
            self.refusal: str | None = json.loads(self._socket.recv(1 << 16) or b'"the imports have ended it"')
        except TimeoutError:
            self.refusal = f"the imports took longer than {PATIENCE:g} s"

    def start(self, words: Sequence[str]) -> _Forked:
        """What `python WORDS` would do, in a session of its own."""
        return _Forked(self._socket, words)

    def processor(self) -> float:
        """Seconds of processor time, without what it has forked."""
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(self._child.pid).cpu_times()
            return float(times.user + times.system)
        return 0.0

    def close(self) -> None:
        """End it, after what it has forked."""
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(PATIENCE)
        self._child.kill()
        self._child.wait()


def _main() -> None:
    """The server; in what it forks, the process that was ordered."""
    code = [1]
    atexit.register(_leave, code)  # before all others, so that it comes after them
    try:
        sys.path[:] = [path for path in sys.path if path != str(Path(__file__).parent)]  # where `python FILE` looks first
        against = [*_import(sys.argv[1:]), *_threads()]
        if (words := _serve("; ".join(against) or None)) is not None:
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
        code[0] = 0
    except SystemExit as end:
        code[0] = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise


def _leave(code: Sequence[int]) -> None:
    """End this process when all is done that was to be done at its end: to take thousands of modules apart takes long."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code[0])


def _import(modules: Sequence[str]) -> list[str]:
    """Import what a fork needs, then modules as a notebook would; what failed half-way, which a notebook could not import again."""
    for name in NEEDED:
        importlib.import_module(name)
    with _as_in_a_notebook():
        failed = [line for line in map(_failure, modules) if line]
    gc.collect()
    gc.freeze()  # collections in the forked processes neither visit nor copy what they share
    return failed


def _failure(name: str) -> str | None:
    """Import a module: a line if it fails; one that is not there is for the notebook to tell."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            return f"{name} lacks {error.name}"
    except Exception as error:
        return f"importing {name} raised {type(error).__name__}"
    return None


@contextlib.contextmanager
def _as_in_a_notebook() -> Iterator[None]:
    """A shell that is there and no more than that: pandas, plotly and others ask for one while they are imported, and remember."""
    from ipykernel.zmqshell import ZMQInteractiveShell
    from IPython.core.interactiveshell import InteractiveShell

    shells: Any = InteractiveShell
    shells._instance = ZMQInteractiveShell.__new__(ZMQInteractiveShell)
    builtins.get_ipython = lambda: shells._instance  # type: ignore[attr-defined]
    yield
    del builtins.get_ipython  # type: ignore[attr-defined]
    shells._instance = None


def _threads() -> list[str]:
    """A line on the threads beside this one, if there are any."""
    names = [Path(f"/proc/self/task/{each}/comm").read_text().strip() for each in os.listdir("/proc/self/task")]
    return [f"the imports have started threads ({', '.join(names)})"] if len(names) > 1 else []


def _serve(refusal: str | None) -> list[str] | None:
    """The words of an order, in the process forked for it; None in the server when there can be no more."""
    orders = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # whoever holds the socket would seem to be the server
    orders.sendall(json.dumps(refusal).encode())
    while True:
        order, ends, *_ = socket.recv_fds(orders, 1 << 16, 3)
        while _ended(os.WNOHANG if order else 0):  # so that their processor time counts as this process's
            pass
        if not order:
            return None
        if _fork() == 0:
            orders.close()
            return _waited_for(json.loads(order), *ends)
        for end in ends:
            os.close(end)


def _ended(options: int) -> bool:
    """Whether there was one more child that has ended."""
    try:
        return os.waitpid(-1, options)[0] > 0
    except ChildProcessError:
        return False


def _fork() -> int:
    """As `os.fork`; -1 if there is no room for another process."""
    try:
        return os.fork()
    except OSError:
        return -1


def _waited_for(words: list[str], entry: int, way_out: int, told: int) -> list[str]:
    """Fork once more: this process tells how the next one ends, whatever becomes of the server."""
    if (pid := _fork()) == 0:
        os.close(told)
        return _streams(words, entry, way_out)
    os.close(entry)
    os.close(way_out)
    with contextlib.suppress(OSError):  # nobody listens any more
        if pid > 0:
            os.write(told, b"%d\n" % pid)
            os.write(told, b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os._exit(0)


def _streams(words: list[str], entry: int, way_out: int) -> list[str]:
    """Be a process of its own, with a kernel ahead: `PID:PIPE` becomes the last word."""
    os.setsid()
    for stream, end in ((0, entry), (1, way_out), (2, way_out)):
        os.dup2(end, stream)
    os.close(entry)
    os.close(way_out)
    return [*words, _kernel_ahead()]


def _kernel_ahead() -> str:
    """Fork what will be the kernel, while this process has a single thread; empty if that cannot be."""
    order, orders = os.pipe()
    if (pid := _fork()) == 0:
        os.close(orders)
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        with os.fdopen(order, "rb") as pipe:
            said = pipe.read()
        if said:  # none is ordered where the worker ends before
            _kernel(json.loads(said))
        sys.exit()
    os.close(order)
    return f"{pid}:{orders}" if pid > 0 else ""


def _kernel(asked: Mapping[str, Any]) -> None:
    """Be the kernel that the worker asks for by `arguments`, `environment` and `folder`."""
    from ipykernel.kernelapp import launch_new_instance

    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    _draw_anew()
    sys.argv = ["ipykernel_launcher", *asked["arguments"]]
    _be_called([sys.executable, "-m", *sys.argv])
    launch_new_instance()


def _draw_anew() -> None:
    """Random numbers of its own, from the system, as at a start; Python's `random` does so by itself."""
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.seed()


def _be_called(words: Sequence[str]) -> None:
    """Write over the command line that `ps` shows, as far as there is room."""
    start, end = (int(field) for field in Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])
    ctypes.memmove(start, "\0".join(words).encode()[: end - start - 1].ljust(end - start, b"\0"), end - start)


if __name__ == "__main__":
    _main()
