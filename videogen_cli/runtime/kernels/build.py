"""The kernel library of this process: compiled on first use, taken from disk after that, or absent for a reason."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videogen_cli.errors import DiskError
from videogen_cli.runtime.host import cpu_description, cpu_levels
from videogen_cli.runtime.kernels import store
from videogen_cli.runtime.kernels.compiler import FLAGS, NATIVE, CompileError, Compiler, compile_library, compilers
from videogen_cli.runtime.kernels.compiler import sources as read_sources

SWITCH = "VGEN_KERNELS"
ADVICE = "Install a C++ compiler (Debian, Ubuntu: apt install g++), then run 'vgen doctor'."
PREBUILT = Path(__file__).with_name("prebuilt")
_OFF, _ON = ("off", "0", "false", "no"), ("on", "1", "true", "yes")

Say = Callable[[str], Any]


@dataclass(frozen=True)
class Library:
    """Where the compiled kernels are and what made them; without a ``path``, ``reason`` says why there are none.

    ``details`` is what the compiler said when it failed; ``wanted`` is False where kernels were switched off.
    """

    path: Path | None
    origin: str = ""
    reason: str = ""
    details: str = ""
    wanted: bool = True


@dataclass(frozen=True)
class Recipe:
    """A way to make the library: ``key`` stands for all that the result depends on, ``make`` writes it to a path."""

    origin: str
    key: str
    make: Callable[[Path], None]
    notice: str = ""


_decided: Library | None = None


def switch() -> str:
    """Return what ``VGEN_KERNELS`` asks for: ``auto``, ``on`` (must be there) or ``off``."""
    word = os.environ.get(SWITCH, "").strip().lower()
    return "off" if word in _OFF else "on" if word in _ON else "auto"


def library(say: Say = lambda _: None, *, again: bool = False) -> Library:
    """Return the kernel library, making it if this machine has none yet; a process decides once.

    Args:
        say: is told, before it starts, about work of some seconds.
        again: try even what failed a short while ago.
    """
    global _decided
    if _decided is None:
        off = switch() == "off"
        _decided = Library(None, reason=f"switched off by {SWITCH}", wanted=False) if off else _get(say, again)
    return _decided


def _get(say: Say, again: bool) -> Library:
    """Follow the first recipe that succeeds."""
    failures: list[Library] = []
    retry = again or switch() == "on"
    for recipe in recipes():
        try:
            return Library(follow(recipe, say, retry=retry), recipe.origin)
        except CompileError as error:
            failures.append(Library(None, recipe.origin, str(error), error.details))
        except (OSError, DiskError) as error:
            failures.append(Library(None, recipe.origin, str(error).partition("\n")[0]))
    return failures[0] if failures else Library(None, reason="there is no C++ compiler")


def follow(recipe: Recipe, say: Say = lambda _: None, *, retry: bool = False) -> Path:
    """Return what a recipe makes, from the first folder that has it or, if none does, can take it.

    Raises:
        CompileError: it makes nothing that works, now or, without ``retry``, a short while ago.
        OSError: no folder can take it.
        DiskError: the same.
    """
    folders = list(store.folders())
    for folder in folders:
        if path := store.find(folder, recipe.key):
            return path
        if not retry and (why := store.failure(folder, recipe.key)):
            raise CompileError(why)
    if recipe.notice:
        say(recipe.notice)
    problem: Exception = OSError("neither the cache nor the folder of temporary files can be written")
    for folder in folders:
        try:
            return store.add(folder, recipe.key, recipe.make, lambda: say("waiting for the process that compiles them"))
        except (OSError, DiskError) as error:  # full, read-only, or not for programs: try the next
            problem = error
    raise problem


def recipes() -> Iterator[Recipe]:
    """Yield the ways to get a library for this CPU: each compiler, then a library that came with the wheel."""
    files = read_sources()
    for compiler in compilers():
        yield compiling(compiler, NATIVE, files)
    for level in cpu_levels():
        path = PREBUILT / f"{level}.so"
        if path.is_file():
            key = _key(path.read_bytes(), *_cpu())
            yield Recipe(f"prebuilt for {level}", key, lambda target, path=path: _copy(path, target))


def compiling(compiler: Compiler, flag: str, files: dict[str, bytes]) -> Recipe:
    """Return the recipe that compiles source ``files`` for the CPUs that ``flag`` (-march=...) names."""

    def make(target: Path) -> None:
        compile_library(compiler, files, target.parent, target, (flag,))

    parts = [compiler.identity(), *FLAGS, flag, *_cpu(), *files]
    notice = f"compiling the CPU kernels with {compiler.name}, once for this machine"
    return Recipe(compiler.command[0], _key(*parts, *files.values()), make, notice)


def _copy(path: Path, target: Path) -> None:
    shutil.copyfile(path, target)


def _cpu() -> tuple[str, ...]:
    model, features = cpu_description()
    return platform.machine(), model, " ".join(sorted(features))


def _key(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:20]
