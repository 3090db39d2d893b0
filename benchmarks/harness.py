"""Times the two sides of a case in turn: one process each, stopped while the other runs, pinned to the same cores."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.files import cache_root

SIDES = ("vgen", "torch")
# MindSpore tries numbers of threads in the first calls of an operator.
WARM_UP_CALLS, WARM_UP_SECONDS = 8, 1.0
HOLD_SECONDS = 15
DISTURBED, SHORT_SECONDS = 0.05, 0.5  # share of the cores' time, which the kernel counts in hundredths of a second
LIMIT = 1.5  # times the memory that a case should need, unless another is asked for: then its process is ended
WATCH_SECONDS = 0.1
SPARE_GIGABYTES = 3.0  # of memory, that a benchmark leaves alone
# glibc returns freed memory to the system and takes it anew, page by page, which doubles PyTorch's times; MindSpore
# has a pool of its own. Both sides keep what they have.
ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(64 << 20)}


class CaseError(RuntimeError):
    """A case could not be measured; others can."""


def gigabytes(name: str, file: str = "/proc/meminfo") -> float:
    """Return a figure of the kernel's, in kB there."""
    lines = Path(file).read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0) / (1 << 20)


@dataclass(frozen=True)
class Options:
    """How to measure.

    ``cores`` are those that timed calls run on, empty for wherever this process may run; ``lock`` is a file that
    whoever times something on this machine locks meanwhile; ``burst`` the seconds that one repetition lasts at least;
    ``limit`` times the memory that a case should need is the most that it gets.
    """

    threads: int = 2
    repeats: int = 7
    burst: float = 0.05
    cores: tuple[int, ...] = ()
    lock: Path | None = None
    limit: float = LIMIT


class Side:
    """A worker process, stopped unless it has a request to answer."""

    def __init__(self, name: str, options: Options, needed: float, environ: Mapping[str, str] | None = None) -> None:
        self.name, self.options, self.limit = name, options, needed * options.limit
        environment = {**os.environ, **ALLOCATOR, "OMP_NUM_THREADS": str(options.threads), **(environ or {})}
        command = [sys.executable, str(Path(__file__).with_name("worker.py")), name, str(options.threads)]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer("start")

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Let the worker answer one request."""
        assert self.process.stdin
        self.process.send_signal(signal.SIGCONT)
        print(json.dumps({"do": do, **request}), file=self.process.stdin, flush=True)
        answer = self._answer(do)
        if "error" in answer:
            raise CaseError(f"{self.name}: {answer['error']}")
        return answer

    def _answer(self, do: str) -> dict[str, Any]:
        """Wait for the answer, and see to it that the worker does not take the whole machine's memory meanwhile."""
        assert self.process.stdout
        while not select.select([self.process.stdout], [], [], WATCH_SECONDS)[0]:
            if self._resident() > self.limit:
                raise CaseError(f"{self.name} needs more than {self.limit:g} GB")
        line = self.process.stdout.readline()
        if not line:
            raise CaseError(f"{self.name}'s process ended with {self.process.wait()} when asked to {do}")
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def _resident(self) -> float:
        return gigabytes("VmRSS", f"/proc/{self.process.pid}/status")

    @property
    def half_full(self) -> bool:
        """Whether the process holds more than half of what it may: graphs of earlier cases are never given back."""
        return self._resident() > self.limit / 2

    def pin(self) -> None:
        """Move all threads to the cores that are measured on."""
        if not self.options.cores:
            return
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), self.options.cores)

    def timed(self, calls: int) -> tuple[float, float]:
        """Return seconds per call, and the share of the cores' time that others took meanwhile (0 if not pinned)."""
        before, began = self._others(), time.monotonic()
        seconds = self.ask("run", calls=calls)["seconds"]
        capacity = (time.monotonic() - began) * max(1, len(self.options.cores))
        return seconds, (self._others() - before) / capacity if capacity > SHORT_SECONDS else 0.0

    def _others(self) -> float:
        """Return the seconds that the cores spent on anything but the worker."""
        lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
        busy = {line[0]: sum(map(int, line[1:4])) + sum(map(int, line[6:9])) for line in lines if line[0][:3] == "cpu"}
        own = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = sum(busy[f"cpu{core}"] for core in self.options.cores) - int(own[11]) - int(own[12])
        return ticks / os.sysconf("SC_CLK_TCK") if self.options.cores else 0.0

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def sides(
    options: Options, needed: float, names: Sequence[str] = SIDES, environ: Mapping[str, str] | None = None
) -> Iterator[dict[str, Side]]:
    """Start a worker for each side, which should need no more than ``needed`` gigabytes."""
    with contextlib.ExitStack() as stack:
        started = {}
        for name in names:
            started[name] = Side(name, options, needed, environ)
            stack.callback(started[name].close)
        yield started


class Turn:
    """The lock, held no longer than ``HOLD_SECONDS`` and one repetition at a time, so that others get theirs."""

    def __init__(self, lock: Path | None) -> None:
        self.file = lock.open("a") if lock else None
        self.since: float | None = None

    def begin(self) -> None:
        """Wait for the lock, unless it is held already and not for too long."""
        if self.since is not None and time.monotonic() - self.since > HOLD_SECONDS:
            self.end()
        if self.since is None:
            if self.file:
                fcntl.flock(self.file, fcntl.LOCK_EX)
            self.since = time.monotonic()

    def end(self) -> None:
        """Give the lock back."""
        if self.file and self.since is not None:
            fcntl.flock(self.file, fcntl.LOCK_UN)
        self.since = None


def measure(started: dict[str, Side], suite: str, index: int, options: Options) -> dict[str, Any]:
    """Run a case on the started sides; return by side its seconds per call, what memory it took, and its outputs.

    Beside them are the seconds of the case's parts, where it has some, and ``others``: the largest share of the cores'
    time that anyone else took in a repetition that counts.
    """
    found: dict[str, Any] = {}
    for name, side in started.items():
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "outputs.npz"
            found[name] = side.ask("prepare", suite=suite, index=index, outputs=str(file))
            with np.load(file) as saved:
                found[name]["outputs"] = [saved[key] for key in saved.files]
        side.pin()
    seconds, others = _alternate(started, options)
    for name, side in started.items():
        found[name] |= {"seconds": seconds[name], "others": others, **side.ask("memory"), **_parts(side, options)}
    return found


def _parts(side: Side, options: Options) -> dict[str, Any]:
    """Return ``parts``, the seconds by part; a side may run them once more for that, which its memory does not show."""
    turn = Turn(options.lock)
    turn.begin()
    try:
        return side.ask("parts")
    finally:
        turn.end()


def _alternate(started: dict[str, Side], options: Options) -> tuple[dict[str, list[float]], float]:
    """Return by side the seconds per call of each repetition, and how much others disturbed them.

    Rounds in which others ran on the same cores are made again, once: those least disturbed count.
    """
    rounds: list[tuple[float, dict[str, float]]] = []
    turn = Turn(options.lock)
    try:
        turn.begin()
        calls = {name: _warm_up(side, options) for name, side in started.items()}
        while len(rounds) < 2 * options.repeats and sum(share < DISTURBED for share, _ in rounds) < options.repeats:
            turn.begin()
            order = list(started)[:: 1 if len(rounds) % 2 else -1]
            timed = {name: started[name].timed(calls[name]) for name in order}
            rounds.append((max(share for _, share in timed.values()), {name: timed[name][0] for name in order}))
    finally:
        turn.end()
    best = sorted(rounds, key=lambda item: item[0])[: options.repeats]
    return {name: [seconds[name] for _, seconds in best] for name in started}, best[-1][0]


def _warm_up(side: Side, options: Options) -> int:
    """Return how many calls make a repetition."""
    spent, calls, last = 0.0, 0, 0.0
    while calls < 1 or (calls < WARM_UP_CALLS and spent < WARM_UP_SECONDS):
        last = side.ask("run", calls=1)["seconds"]
        spent, calls = spent + last, calls + 1
    return max(1, round(options.burst / last))


def measure_apart(suite: str, index: int, options: Options, needed: float) -> dict[str, Any]:
    """Run a case in processes of its own: both at once, or one after the other where memory is short.

    Before that, vgen's side runs once by itself, so that what is measured is not the start that compiles graphs.
    """
    groups: Sequence[Sequence[str]] = [SIDES] if fits(2 * options.limit * needed) else [[name] for name in SIDES]
    found: dict[str, Any] = {}
    with _own_cache() as environ:
        with sides(options, needed, ["vgen"], environ) as started:
            first = _first_start(started["vgen"], suite, index)
        for names in groups:
            with sides(options, needed, names, environ) as started:
                found |= measure(started, suite, index, options)
    found["vgen"] |= first
    return found


@contextlib.contextmanager
def _own_cache() -> Iterator[dict[str, str]]:
    """Make a cache without graphs; the kernels in it are those that the user has."""
    with tempfile.TemporaryDirectory() as folder:
        kernels = Path(folder, "vgen", "kernels")
        kernels.parent.mkdir()
        kernels.symlink_to(cache_root() / "kernels")
        yield {"XDG_CACHE_HOME": folder}


def _first_start(side: Side, suite: str, index: int) -> dict[str, Any]:
    """Return the peak memory and the seconds of a start."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        side.ask("prepare", suite=suite, index=index, outputs=str(Path(folder) / "outputs.npz"))
        seconds = time.monotonic() - began
    return {"first_peak_mb": side.ask("memory")["peak_mb"], "first_seconds": seconds}


def fits(needed: float) -> bool:
    """Tell whether so many gigabytes of memory are free, with something to spare."""
    return gigabytes("MemAvailable") > needed + SPARE_GIGABYTES


def disagreement(found: dict[str, Any]) -> float:
    """Return the largest difference of the sides' outputs, each relative to the largest number of the peer's array.

    It is infinite where shapes differ.
    """
    ours, theirs = (found[name]["outputs"] for name in SIDES)
    worst = 0.0
    for one, other in zip(ours, theirs, strict=True):
        if one.shape != other.shape:
            return math.inf
        scale = float(np.abs(other).max()) or 1.0
        worst = float(np.maximum(worst, np.abs(one.astype(np.float64) - other).max() / scale))  # NaN stays
    return worst
