"""Compiled libraries on disk: in the user's cache, or where that cannot be written, in a temporary folder.

A library lies at ``<folder>/<key>/kernels-<digest>.so``. The key says what it was made from and for, the digest what
is in it, so a file that was cut short or changed is seen before it is loaded; loading one could end the process.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from videogen_cli.errors import DiskError
from videogen_cli.files import atomic_path, cache_root, sha256_file, write_text
from videogen_cli.runtime.kernels import selfcheck
from videogen_cli.runtime.kernels.compiler import CompileError

_KEEP = 4  # libraries that stay, besides those used within a day
_DAY = 86400.0
_WAIT_SECONDS, _CHECK_SECONDS = 700.0, 60.0
_DIGITS = 16
_FAILED, _WORK = "failed.txt", ".work-"


def folders() -> Iterator[Path]:
    """Yield the folders that libraries may be loaded from: those that nobody else can write into."""
    temporary = Path(tempfile.gettempdir()) / f"vgen-kernels-{os.getuid()}"
    yield from (folder for folder in (cache_root() / "kernels", temporary) if _private(folder))


def _private(folder: Path) -> bool:
    """Make ``folder`` if need be, and say whether it belongs to this user or root and only its owner can write."""
    with suppress(OSError):  # one that cannot be made may be there
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid in (0, os.getuid()) and not status.st_mode & 0o022


def find(folder: Path, key: str) -> Path | None:
    """Return the library of ``key`` if it is there and whole."""
    for path in sorted((folder / key).glob("kernels-*.so")):
        with suppress(OSError):
            if sha256_file(path)[:_DIGITS] == path.stem.removeprefix("kernels-"):
                with suppress(OSError):
                    os.utime(path)  # it is in use, says this to _tidy
                return path
            path.unlink()
    return None


def failure(folder: Path, key: str) -> str:
    """Return why making the library of ``key`` failed within the last day, or nothing."""
    note = folder / key / _FAILED
    with suppress(OSError):
        if time.time() - note.stat().st_mtime < _DAY:
            return note.read_text(errors="replace")
    return ""


def add(folder: Path, key: str, make: Callable[[Path], None], waiting: Callable[[], None]) -> Path:
    """Make the library of ``key``, or wait for the process that does.

    Args:
        folder: one of :func:`folders`.
        key: what the library depends on.
        make: writes the library to a path in an otherwise empty folder.
        waiting: is called when another process is at it.

    Raises:
        CompileError: it could not be made, or made and does not work.
        OSError: the disk is full, or the folder not writable or not for programs.
        DiskError: the same.
    """
    (folder / key).mkdir(exist_ok=True)
    with _lock(folder / key / "lock", waiting):
        if path := find(folder, key):
            return path
        with tempfile.TemporaryDirectory(prefix=_WORK, dir=folder) as work:
            made = Path(work) / "kernels.so"
            try:
                make(made)
                require_working(made)
            except CompileError as error:
                with suppress(OSError, DiskError):
                    write_text(folder / key / _FAILED, str(error))
                raise
            path = folder / key / f"kernels-{sha256_file(made)[:_DIGITS]}.so"
            with atomic_path(path) as temporary:
                shutil.copyfile(made, temporary)
        with suppress(OSError):
            (folder / key / _FAILED).unlink(missing_ok=True)
        _tidy(folder)
        return path


@contextmanager
def _lock(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock, or go on without where files cannot be locked or its holder hangs: renaming is safe anyway."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    with suppress(Timeout, NotImplementedError, OSError):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire(timeout=_WAIT_SECONDS)
    try:
        yield
    finally:
        lock.release()


def require_working(path: Path) -> None:
    """Load a new library in another process and compare what it computes.

    Raises:
        CompileError: it crashes, hangs or computes something else.
        OSError: it cannot be loaded from this folder.
    """
    command = [sys.executable, "-I", "-S", selfcheck.__file__, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_CHECK_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise CompileError("the compiled library does not answer") from error
    if done.returncode == selfcheck.CANNOT_LOAD:
        raise OSError(f"the compiled library cannot be loaded: {done.stdout.strip()}")
    if done.returncode:
        what = "computes wrongly" if done.returncode == selfcheck.WRONG else f"crashes ({done.returncode})"
        raise CompileError(f"the compiled library {what}", done.stderr)


def _tidy(folder: Path) -> None:
    """Remove what was not used for long: old libraries, notes of failures, leftovers of killed processes."""

    def used(entry: Path) -> float:
        return max(path.stat().st_mtime for path in (entry, *entry.glob("kernels-*.so"), *entry.glob(_FAILED)))

    with suppress(OSError):  # another process tidies too
        last_used = {entry: used(entry) for entry in folder.iterdir() if entry.is_dir()}
        for entry in sorted(last_used, key=lambda entry: last_used[entry], reverse=True)[_KEEP:]:
            if time.time() - last_used[entry] > _DAY:
                shutil.rmtree(entry, ignore_errors=True)
