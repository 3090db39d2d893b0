"""SIGTERM and SIGINT while training: finish the step, save, leave. A second SIGINT leaves at once."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from videogen_cli.errors import ExitCode, Terminated

_PERIOD, _PATIENCE = 0.005, 2.0  # seconds between looks at the handlers; for the main thread to unwind


class StopRequested(BaseException):
    """Raised inside :meth:`Stopper.interruptible` so that a long validation does not delay the save."""


class Stopper:
    """Remembers which signal asked to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._interruptible = False
        self._watcher: _Watcher | None = None

    @property
    def requested(self) -> bool:
        """Whether a signal has arrived."""
        return self.signal is not None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals inside the block; only a process's main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._receive) for number in (signal.SIGTERM, signal.SIGINT)}
        self._watcher = _Watcher()
        try:
            yield
        finally:
            self._watcher.close()
            self._watcher = None
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a signal end the block early; nothing in the block may be needed afterwards."""
        try:
            self._interruptible = True
            if self.requested:
                raise StopRequested
            yield
        except StopRequested:
            pass
        finally:
            self._interruptible = False

    def graph_called(self) -> None:
        """Note that MindSpore ran a graph, which takes SIGINT away; the watcher would get it back a little later."""
        if self._watcher:
            self._watcher.restore()

    def leave(self, checkpoint: str) -> None:
        """Raise what ends the process with the signal's exit code: 143 for SIGTERM, 130 for SIGINT."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        hint = "Go on with it by --resume auto."
        raise Terminated("stopped by a signal; the run was saved", where=checkpoint, hint=hint)

    def _receive(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self.requested:
            raise KeyboardInterrupt
        self.signal = number
        if self._interruptible:
            self._interruptible = False
            raise StopRequested


class _Watcher:
    """Keeps Python's SIGINT handler in place, and ends a process whose main thread does not.

    MindSpore puts its own SIGINT handler in place at every graph call, one that turns SIGINT into SIGTERM; this puts
    Python's back. (A SIGINT in the milliseconds before is taken for a SIGTERM, which saves and leaves as well.) And
    as Python runs handlers in the main thread only, between bytecodes, a main thread inside a long step or
    compilation would not notice the second SIGINT.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._action = ctypes.create_string_buffer(512)  # at least a struct sigaction
        self._libc.sigaction(int(signal.SIGINT), None, self._action)
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        stopping = False
        while not self._closed.is_set():
            readable, _, _ = select.select([self._read], [], [], _PERIOD)
            self.restore()
            numbers = os.read(self._read, 16) if readable else b""
            for number in numbers:
                if stopping and number == signal.SIGINT and not self._closed.wait(_PATIENCE):
                    os._exit(ExitCode.INTERRUPTED)
                stopping = stopping or number in (signal.SIGTERM, signal.SIGINT)

    def restore(self) -> None:
        """Put Python's SIGINT handler back in place."""
        self._libc.sigaction(int(signal.SIGINT), self._action, None)

    def close(self) -> None:
        """End the thread and give the wakeup descriptor back."""
        self._closed.set()
        self._thread.join()
        signal.set_wakeup_fd(self._before)
        os.close(self._read)
        os.close(self._write)
