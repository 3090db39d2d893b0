"""From an exception to a message on stderr and an exit code."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from typing import Any

from videogen_cli.errors import (
    DeviceError,
    DiskError,
    ExitCode,
    MemoryLimitError,
    UsageError,
    VgenError,
    did_you_mean,
    nearest,
)
from videogen_cli.output import Output

_OUT_OF_MEMORY = ("out of memory", "memory not enough", "memory isn't enough", "malloc failed", "alloc memory failed")
_KERNEL = re.compile(r"AOT kernel\(.*?\)'s function\((\w+)\) is (\d+)")
_NO_MEMORY = 2  # as in runtime/kernels/source/vgen.h


def report(error: BaseException, output: Output) -> int:
    """Print what went wrong on stderr and return the exit code; with ``output.debug`` the traceback comes first."""
    if isinstance(error.__context__, BrokenPipeError):  # typer turns it into an exit
        error = error.__context__
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else ExitCode.BUG
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        output.info("interrupted")
        return ExitCode.INTERRUPTED
    if isinstance(error, BrokenPipeError):
        silence_stdout()
        return ExitCode.OK
    if type(error).__name__ == "NoArgsIsHelpError":  # the help was the message
        return ExitCode.USAGE
    if output.debug:
        traceback.print_exception(error)
    known = _known(error)
    output.error(known)
    return known.code


def silence_stdout() -> None:
    """Point stdout to nothing: its reader has gone, and Python would complain when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)


def _known(error: BaseException) -> VgenError:
    """Return ``error`` as one of ours: as it is, recognised, or as a bug to report."""
    if isinstance(error, VgenError):
        return error
    # typer carries its own copy of click in newer versions, so its exceptions are told by name.
    if any(kind.__name__ == "ClickException" for kind in type(error).__mro__):
        return _usage(error)
    if machine := _machine(error):
        return machine
    first = (str(error).strip().splitlines() or [""])[0]
    hint = "Please report it with the command you ran and what it prints with --debug."
    return VgenError(f"this is a bug in vgen: {type(error).__name__}: {first}", hint=hint)


def _machine(error: BaseException) -> VgenError | None:
    """Recognise failures of the machine in exceptions that are not ours."""
    text = str(error).lower()
    kernel, code = _kernel_code(str(error))
    if isinstance(error, MemoryError) or code == _NO_MEMORY or any(sign in text for sign in _OUT_OF_MEMORY):
        hint = "Use fewer frames, a smaller size or batch, device.recompute=true, or a smaller dtype."
        return MemoryLimitError(f"out of memory in {kernel}" if kernel else "out of memory", hint=hint)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskError("the disk is full", where=error.filename, hint="Free some space and run again.")
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == "mindspore":
        return DeviceError("MindSpore is not installed", hint="Run 'pip install mindspore', then 'vgen doctor'.")
    return None


def _kernel_code(text: str) -> tuple[str, int]:
    """Return the name of the CPU kernel that MindSpore says failed, and the code it returned; ("", 0) otherwise."""
    found = _KERNEL.search(text)
    return (found[1], int(found[2])) if found else ("", 0)


def _usage(error: Any) -> UsageError:
    """Turn a complaint of the option parser into ours, with the nearest names."""
    context = getattr(error, "ctx", None)
    see = f"See '{context.command_path if context else 'vgen'} --help'."
    if type(error).__name__ == "NoSuchOption":
        known = [name for item in context.command.params for name in item.opts] if context else []
        close = nearest(error.option_name, known)
        hint = f"Did you mean {' or '.join(close)}? {see}" if close else see
        return UsageError(f"there is no option '{error.option_name}'", hint=hint)
    verbs = getattr(context.command, "verbs", None) if context else None
    message = error.format_message().split(" Did you mean")[0].removesuffix(".")
    if verbs and message.startswith("No such command"):
        word = message.split("'")[1]
        return UsageError(f"there is no verb '{word}'", hint=f"{did_you_mean(word, verbs)} {see}")
    return UsageError(message, hint=see)
