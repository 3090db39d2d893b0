"""The C++ compilers that are here, and how one of them makes the kernel library."""

from __future__ import annotations

import errno
import os
import platform
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from videogen_cli.runtime.host import allowed_cpus

SOURCE = Path(__file__).with_name("source")
# No -ffast-math, which loses NaN; what it is wanted for here are fused multiply-adds and selects without branches.
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-pthread", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
# The name that GCC and Clang both know, on each architecture, for "this CPU".
NATIVE = "-mcpu=native" if platform.machine() == "aarch64" else "-march=native"
_COMMANDS = ("g++", "c++", "clang++")
_VERSION_SECONDS, _COMPILE_SECONDS = 10.0, 600.0
_AT_ONCE = 8  # compilers running together take some 300 MB each


class CompileError(Exception):
    """The library could not be made; the text says why in a line, ``details`` is all that the compiler said."""

    def __init__(self, why: str, details: str = "") -> None:
        super().__init__(why)
        self.details = details


@dataclass(frozen=True)
class Compiler:
    """A compiler: the command that starts it, the program's path first."""

    command: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file name of the program."""
        return Path(self.command[0]).name

    def identity(self) -> str:
        """Return what changes with its version. It is not run for that: from a cold disk that takes a second."""
        program = Path(self.command[0]).resolve()
        status = program.stat()
        return " ".join([*self.command, str(program), str(status.st_size), str(status.st_mtime_ns)])

    def version(self) -> str:
        """Return the first line of what it says of itself, or nothing when it does not answer."""
        command = [*self.command, "--version"]
        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(
                command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_VERSION_SECONDS, check=True
            )
            return done.stdout.decode(errors="replace").strip().partition("\n")[0]
        return ""


def compilers() -> Iterator[Compiler]:
    """Yield the compilers that are here, what ``$CXX`` names first."""
    seen: set[tuple[str, ...]] = set()
    for words in (_words(os.environ.get("CXX", "")), *((name,) for name in _COMMANDS)):
        path = shutil.which(words[0]) if words else None
        same = (os.path.realpath(path), *words[1:]) if path else ()
        if path and same not in seen:
            yield Compiler((path, *words[1:]))
        seen.add(same)


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError:  # a quotation that never ends
        return ()


def sources() -> dict[str, bytes]:
    """Return the library's source files by name."""
    return {path.name: path.read_bytes() for path in sorted(SOURCE.iterdir()) if path.suffix in (".cc", ".h")}


def compile_library(
    compiler: Compiler, files: Mapping[str, bytes], folder: Path, target: Path, flags: Sequence[str] = (NATIVE,)
) -> None:
    """Compile ``files`` in parallel and link them.

    Args:
        compiler: by what.
        files: sources by name; they are copied first, so that what is compiled is what was read.
        folder: an empty one, for copies and objects.
        target: the shared object to write.
        flags: beside :data:`FLAGS`.

    Raises:
        CompileError: the compiler failed, or took too long.
        OSError: the disk is full.
    """
    for name, content in files.items():
        (folder / name).write_bytes(content)
    start, units = [*compiler.command, *FLAGS, *flags], [name for name in files if name.endswith(".cc")]
    units.sort(key=lambda name: len(files[name]), reverse=True)  # so that none that takes long is left to the end
    deadline = time.monotonic() + _COMPILE_SECONDS
    _run([[*start, "-c", name, "-o", f"{name}.o"] for name in units], folder, deadline)
    _run([[*start, "-shared", *(f"{name}.o" for name in units), "-o", str(target)]], folder, deadline)


def _run(commands: Sequence[Sequence[str]], folder: Path, deadline: float) -> None:
    """Run commands, some at a time; when one fails, time is up or Ctrl-C arrives, none goes on."""
    at_once = min(allowed_cpus(), _AT_ONCE)
    waiting, running = list(commands), {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                command, log = waiting.pop(0), folder / f"{len(waiting)}.log"
                running[_start(command, folder, log)] = log
            for process in [process for process in running if process.poll() is not None]:
                log = running.pop(process)
                if process.returncode:
                    raise _failure(process, log.read_text(errors="replace"))
            if time.monotonic() > deadline:
                raise CompileError(f"the compiler took more than {_COMPILE_SECONDS:.0f} s")
            time.sleep(0.01)
    finally:
        for process in running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _start(command: Sequence[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a compiler in a process group of its own: it starts others, and all must end with it."""
    environ = {**os.environ, "LC_ALL": "C", "TMPDIR": str(folder)}
    with log.open("wb") as out:
        try:
            return subprocess.Popen(
                command,
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        except OSError as error:
            raise CompileError(f"{command[0]} cannot be run: {error.strerror}") from error


def _failure(process: subprocess.Popen[bytes], text: str) -> Exception:
    for number in (errno.ENOSPC, errno.EDQUOT):
        if os.strerror(number) in text:
            return OSError(number, os.strerror(number))
    errors = [line for line in text.splitlines() if "error" in line or "cannot find" in line]
    first = (errors or text.strip().splitlines() or [f"exit code {process.returncode}"])[0]
    return CompileError(f"{Path(str(process.args[0])).name} failed: {first.strip()}", text)  # pyright: ignore
