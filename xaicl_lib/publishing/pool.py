"""Processes side by side, one a core: watched, told of, and ended when they stand still or when this process ends."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from xaicl_lib.errors import InputError
from xaicl_lib.publishing.guard import COMMAND, end_tree

CEILING = 6 * 3600.0  # seconds a job may take; slowness is no error, so this is generous
PATIENCE = 300.0  # seconds a job may stand still
IDLE = 0.02  # share of a core that counts as standing still; an idle kernel takes some 0.3 % for its heartbeat
MARK = "\x1e"  # before what a process tells: the record separator, which begins a JSON text in a stream (RFC 7464)
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
# Of glibc: memory is kept for the next tensor. Else pages go back and come anew with each layer, which takes a fourth of a network's time.
KEPT = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TOP_PAD_": str(2**26)}
PACKAGES = Path(__file__).resolve().parents[2]  # the folder that holds this library
NEWS = 60.0  # seconds between lines where no terminal shows the progress


@dataclass(frozen=True)
class Job:
    """What is to run in a process of its own: a name, and what `guard.py` is called with."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass
class Outcome:
    """How a job ended."""

    job: Job
    problem: str | None  # what went wrong, in one line; None if it went well
    seconds: float  # by the clock
    processor: float | None  # seconds of processor time, where the job told it
    cell: tuple[int, int, str] | None  # the last that it told of: number, of how many, first line


def _cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def surroundings() -> dict[str, str]:
    """The environment of a process that finds this library and shares the cores with others: one thread, unless the user says otherwise.

    Threads that wait for each other cost far more than they bring where another process has the core.
    """
    paths = {"PYTHONPATH": before("PYTHONPATH", PACKAGES), "PATH": before("PATH", Path(sys.executable).parent)}  # `!python` is this Python
    return {**ONE_THREAD, **KEPT, **os.environ, **paths}


def before(variable: str, path: Path) -> str:
    """A variable that lists paths, with one more before the others."""
    return os.pathsep.join(filter(None, (str(path), os.environ.get(variable))))


def chosen_jobs(jobs: int | None) -> int:
    """How many processes at once: `jobs`, by default the cores there are.

    Raises:
        InputError: not a whole number of at least 1.
    """
    there = _cores()
    if jobs is None:
        return there
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise InputError(f"expected jobs to be a whole number of at least 1, got {jobs!r}; there are {there} cores")
    if jobs > there:
        print(f"{jobs} jobs share {there} cores: they will wait for each other", flush=True)
    return jobs


def _spawned(job: Job) -> subprocess.Popen[bytes]:
    """A process for a job: Python started anew, behind the guard."""
    return subprocess.Popen(
        [*COMMAND, *job.arguments], env=dict(job.environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def side_by_side(
    jobs: Sequence[Job], at_once: int, *, ceiling: float = CEILING, patience: float = PATIENCE
) -> Generator[Outcome, None, None]:
    """Run jobs, at most `at_once` at a time, in their order; yields how each ended, as it ends. Whatever still runs ends with the iterator.

    Args:
        jobs: what to run.
        at_once: processes at a time.
        ceiling: seconds by the clock after which a job is ended.
        patience: seconds of next to no processor time and no reading or writing after which a job is ended.
    """
    waiting, running, news = list(jobs), list[_Process](), _News(len(jobs))
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                running.append(_Process(job, _spawned(job)))
            time.sleep(0.1)
            for process in list(running):
                if (outcome := process.look(ceiling, patience)) is not None:
                    running.remove(process)
                    news.clear()
                    yield outcome
            news.tell(running, len(waiting))
    finally:
        news.clear()
        for process in running:
            process.end()


@dataclass
class _Process:
    """A job under way; ended by `end`."""

    job: Job
    child: Any  # a Popen with pipes
    started: float = field(default_factory=time.monotonic)
    told: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pipe = self.child.stdout.fileno()
        os.set_blocking(self._pipe, False)
        self._rest = b""
        self._moved, self._looked, self._use = self.started, self.started, 0.0

    @property
    def cell(self) -> tuple[int, int, str] | None:
        """Number, of how many and first line of the cell at work."""
        return (self.told["cell"], self.told["of"], self.told["line"]) if "cell" in self.told else None

    def look(self, ceiling: float, patience: float) -> Outcome | None:
        """How it ended, or None while it is at work; one that has taken too long is ended."""
        code = self.child.poll()
        self._listen()
        now = time.monotonic()
        if code is None:
            problem = self._too_long(now, ceiling, patience)
            if problem is None:
                return None
            self.end()
        else:
            problem = None if code == 0 else self.told.get("error") or self._last_words(code)
        return Outcome(self.job, problem, now - self.started, self.told.get("processor"), self.cell)

    def end(self) -> None:
        """End the process and all it has started."""
        end_tree(self.child.pid)
        self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout):
            pipe.close()

    def _listen(self) -> None:
        """Read what has come, without waiting."""
        while True:
            try:
                part = os.read(self._pipe, 1 << 16)
            except BlockingIOError:
                return
            if not part:
                return
            *lines, self._rest = (self._rest + part).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace")
                if text.startswith(MARK):
                    self.told.update(json.loads(text.removeprefix(MARK)))
                elif text.strip():
                    self.said = [*self.said[-19:], text.strip()]

    def _too_long(self, now: float, ceiling: float, patience: float) -> str | None:
        if now - self.started >= ceiling:
            return f"took longer than the {ceiling:g} s of --timeout"
        if now - self._looked < min(patience / 2, 5.0):
            return None
        self._looked, use = now, _use(self.child.pid)
        if use - self._use > IDLE * (now - self._moved):
            self._moved, self._use = now, use
        elif now - self._moved >= patience:
            return f"stood still: used no processor time for {now - self._moved:.0f} s"
        return None

    def _last_words(self, code: int) -> str:
        how = f"was ended by signal {-code}, as it is when memory runs out" if code < 0 else f"ended with exit code {code}"
        return f"{how}{': ' + self.said[-1] if self.said else ''}"


def _use(pid: int) -> float:
    """What a process and all it has started have done: seconds of processor time; reading or writing a megabyte counts as one more."""
    done = 0.0
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return done
    for process in tree:
        try:
            times = process.cpu_times()
            done += times.user + times.system + getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
            if hasattr(process, "io_counters"):  # not on macOS
                moved = process.io_counters()
                done += (moved.read_bytes + moved.write_bytes) / 1e6
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return done


class _News:
    """The line of progress: on a terminal always the same one, elsewhere a new one every minute."""

    def __init__(self, total: int) -> None:
        self._total, self._last = total, time.monotonic()
        self._live = sys.stderr.isatty()

    def tell(self, running: Sequence[_Process], waiting: int) -> None:
        """Say what is at work, and at which cell."""
        now = time.monotonic()
        if not running or now - self._last < (0.5 if self._live else NEWS):
            return
        self._last = now
        at = [f"{process.job.name} {process.cell[0]}/{process.cell[1]}" if process.cell else process.job.name for process in running]
        line = " · ".join([f"{self._total - waiting - len(running)} of {self._total} done", *at])
        if self._live:
            width = os.get_terminal_size(sys.stderr.fileno()).columns
            print(f"\r\033[K{line[: width - 1]}", end="", file=sys.stderr, flush=True)
        else:
            print(line, flush=True)

    def clear(self) -> None:
        """Make room for other lines."""
        if self._live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def guarded(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run one such process to its end: its exit code and all that it said."""
    child = _spawned(Job("", tuple(arguments), environment))
    try:
        assert child.stdout is not None
        said = child.stdout.read().decode(errors="replace")
        return child.wait(), said
    finally:
        end_tree(child.pid)


WORKER = str(Path(__file__).with_name("worker.py"))
