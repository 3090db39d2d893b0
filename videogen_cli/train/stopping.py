"""SIGTERM and SIGINT while training: finish the step, save, leave."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from videogen_cli.errors import Terminated


class StopRequested(BaseException):
    """Raised inside :meth:`Stopper.interruptible` so that a long validation does not delay the save."""


class Stopper:
    """Remembers which signal asked to stop. A second SIGINT raises KeyboardInterrupt at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._interruptible = False

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
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a signal end the block early; nothing in the block may be needed afterwards."""
        try:
            self._interruptible = True
            if not self.requested:
                yield
        except StopRequested:
            pass
        finally:
            self._interruptible = False

    def _receive(self, number: int, _: FrameType | None) -> Any:
        if number == signal.SIGINT and self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
        if self._interruptible:
            self._interruptible = False
            raise StopRequested

    def leave(self, checkpoint: str) -> None:
        """Raise what ends the process with the signal's exit code: 143 for SIGTERM, 130 for SIGINT."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise Terminated(
            "stopped by SIGTERM; the run was saved", where=checkpoint, hint="Go on with it by --resume auto."
        )
