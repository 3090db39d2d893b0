"""Every error a user can meet, and the exit code that goes with it.

An error says what is wrong, where, and what to do next. `cli.main` prints it on stderr and exits with its
code; a traceback is shown only with ``--debug``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """Process exit codes; documented in ``vgen --help`` and stable across versions."""

    OK = 0
    BUG = 1
    USAGE = 2
    DATA = 3
    WEIGHTS = 4
    DEVICE = 5
    MEMORY = 6
    NON_FINITE = 7
    DISK = 8
    NETWORK = 9
    INTERRUPTED = 130
    TERMINATED = 143


class VgenError(Exception):
    """Base of all expected errors.

    Args:
        what: one sentence saying what is wrong.
        where: the file, key, or option concerned.
        hint: what the user can do about it.
    """

    code = ExitCode.BUG

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  {self.hint}" if self.hint else text


class UsageError(VgenError):
    """A wrong option, key, value, model, preset, or type."""

    code = ExitCode.USAGE


class DataError(VgenError):
    """Input data (videos, CSV files, prompts) that cannot be used."""

    code = ExitCode.DATA


class WeightsError(VgenError):
    """A checkpoint that is missing, broken, hostile, or not what it should be."""

    code = ExitCode.WEIGHTS


class DeviceError(VgenError):
    """The device or the software around it is not usable."""

    code = ExitCode.DEVICE


class MemoryLimitError(VgenError):
    """The work does not fit the memory there is."""

    code = ExitCode.MEMORY


class NonFiniteError(VgenError):
    """NaN or infinity where a finite number is needed."""

    code = ExitCode.NON_FINITE


class DiskError(VgenError):
    """A disk that is full, read-only, or failing."""

    code = ExitCode.DISK


class NetworkError(VgenError):
    """A download that cannot be done."""

    code = ExitCode.NETWORK


class Terminated(VgenError):
    """SIGTERM arrived; state was saved and the run can be resumed."""

    code = ExitCode.TERMINATED


def nearest(name: str, options: Iterable[str], limit: int = 3) -> list[str]:
    """Return up to ``limit`` of ``options`` that look like ``name``, best first."""
    return difflib.get_close_matches(name, list(options), n=limit, cutoff=0.5)


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return a hint naming the nearest options, or all of them when none is near and they are few."""
    options = sorted(options)
    close = nearest(name, options)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    shown = ", ".join(options[:12]) + (", ..." if len(options) > 12 else "")
    return f"Known: {shown}" if options else ""
