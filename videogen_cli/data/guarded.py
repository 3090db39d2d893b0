"""Run a function where it can hang, crash or eat the process, and get its result or a clear error all the same.

Video decoders are C code fed with files from strangers: some never return, and no thread can be stopped from
outside. So they run in worker processes that are kept for the next call, and a worker sets an alarm before it
begins whose default action ends it: nothing the C code does, nor the death of the parent, keeps a hung one alive.
"""

from __future__ import annotations

import atexit
import importlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from videogen_cli.errors import VgenError


class Timeout(Exception):
    """The function did not return in time; its process is gone."""


class Crash(Exception):
    """The function's process died (a segmentation fault, or out of memory)."""


def call(function: str, /, timeout: float, **arguments: Any) -> Any:
    """Return ``function(**arguments)``, run in a worker process; thread-safe, one worker per concurrent call.

    Args:
        function: ``"package.module:name"``; its arguments and its result are pickled.
        timeout: seconds of wall time it may take.
        arguments: what it is called with.

    Raises:
        Timeout: it took longer.
        Crash: its process died.
        VgenError: what it raised itself; any other exception of its comes as a ``RuntimeError`` with its traceback.
    """
    worker = _take()
    try:
        outcome, value = worker.ask(function, timeout, arguments)
    except BaseException:  # also an interrupt: the answer would be waiting for the next caller
        worker.close()
        raise
    _IDLE.put(worker)
    if outcome == "raised":
        raise value
    return value


class _Worker:
    """A process that answers calls, one after the other."""

    def __init__(self) -> None:
        root = str(Path(__file__).parents[2])
        code = f"import sys; sys.path.append({root!r}); from {__name__} import serve; serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],  # -P: a file in the user's folder must not stand in for a module
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders print there what the error says better
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, function: str, timeout: float, arguments: dict[str, Any]) -> tuple[str, Any]:
        assert self._process.stdin and self._process.stdout
        try:
            pickle.dump((function, timeout, arguments), self._process.stdin)
            self._process.stdin.flush()
            return pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            code = self._process.wait()
            if code == -signal.SIGALRM:
                raise Timeout(f"no answer within {timeout:g} s") from error
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise Crash(f"the worker process died ({name})") from error

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                cast(BinaryIO, pipe).close()


_IDLE: queue.LifoQueue[_Worker] = queue.LifoQueue()


def _take() -> _Worker:
    while True:
        try:
            worker = _IDLE.get_nowait()
        except queue.Empty:
            return _Worker()
        if worker.alive:
            return worker
        worker.close()


@atexit.register
def close_idle() -> None:
    """End the workers that wait for a call."""
    while not _IDLE.empty():
        _IDLE.get_nowait().close()


def _forget_idle() -> None:
    """Leave the parent's workers to the parent: two processes must not talk into one pipe."""
    global _IDLE
    _IDLE = queue.LifoQueue()


os.register_at_fork(after_in_child=_forget_idle)


def serve() -> None:
    """Answer calls on standard input until the parent closes it: the whole life of a worker."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up among the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    while True:
        try:
            function, timeout, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_REAL, timeout)
        outcome = _outcome(function, arguments)
        signal.setitimer(signal.ITIMER_REAL, 0)
        pickle.dump(outcome, answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _outcome(function: str, arguments: dict[str, Any]) -> tuple[str, Any]:
    try:
        module, _, name = function.partition(":")
        return "returned", getattr(importlib.import_module(module), name)(**arguments)
    except VgenError as error:
        return "raised", error
    except Exception:
        return "raised", RuntimeError(traceback.format_exc())
