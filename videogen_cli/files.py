"""Atomic writes: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from videogen_cli.errors import DiskError

_DISK_ERRNOS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.EACCES, errno.EPERM),
    *(errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG),
}


def cache_root() -> Path:
    """Return the folder of what vgen can make again: compiled graphs, rendered clips, latents, verdicts."""
    from platformdirs import user_cache_path

    return user_cache_path("vgen")


@contextmanager
def disk_errors(path: Path | str) -> Iterator[None]:
    """Turn the operating system's write errors into a :class:`DiskError` that names ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_ERRNOS:
            raise
        hint = "Free some space or choose another folder; what was there before is untouched."
        try:
            free = shutil.disk_usage(existing_parent(path)).free
            hint = f"{free / 2**20:,.0f} MB are free there. {hint}"
        except OSError:
            pass
        raise DiskError(f"cannot write: {error.strerror}", where=str(path), hint=hint) from error


def existing_parent(path: Path | str) -> Path:
    """Return the nearest ancestor of ``path`` (or itself) that exists."""
    path = Path(path).absolute()
    while not path.exists():
        path = path.parent
    return path


def require_space(folder: Path | str, needed: int, what: str, hint: str) -> None:
    """Refuse to begin what cannot end well.

    Args:
        folder: where it is to be written; need not exist.
        needed: bytes.
        what: ends the sentence "needs 7.4 GB ...".
        hint: what to do.

    Raises:
        DiskError: fewer bytes are free there.
    """
    free = shutil.disk_usage(existing_parent(folder)).free
    if free < needed:
        text = f"needs {size_text(needed)} {what}, and {size_text(free)} are free"
        raise DiskError(text, where=str(folder), hint=hint)


def size_text(count: int) -> str:
    """Return bytes as people say them, in powers of ten as file managers and the hub do: ``812 B``, ``7.4 GB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if round(amount, 1) < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"


@contextmanager
def exclusive(path: Path | str, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock that one process can have; the system takes it back when the process dies.

    Args:
        path: the lock's file, which is made and stays.
        waiting: called once if another process has it.
    """
    from filelock import FileLock, Timeout

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def fsync_dir(path: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives a power cut."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; on success flush it and rename it into place.

    The temporary name keeps the target's suffix (writers choose formats by it). On any exception the
    temporary file is removed and the target is as it was.
    """
    target = Path(target)
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.tmp{target.suffix}")
        try:
            yield temporary
            with open(temporary, "rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, target)
            fsync_dir(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(target: Path | str, text: str) -> None:
    """Write ``text`` (UTF-8) atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path | str, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text(target, json.dumps(value, indent=2, sort_keys=True) + "\n")


@contextmanager
def atomic_dir(target: Path | str) -> Iterator[Path]:
    """Yield a temporary folder beside ``target``; on success flush all of it and rename it into place.

    An existing ``target`` is replaced. On any exception the temporary folder is removed.
    """
    target = Path(target)
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        temporary.mkdir()
        try:
            yield temporary
            for path in sorted(temporary.rglob("*")):
                if path.is_file():
                    with open(path, "rb+") as handle:
                        os.fsync(handle.fileno())
                else:
                    fsync_dir(path)
            fsync_dir(temporary)
            if target.exists():
                shutil.rmtree(target)
            os.replace(temporary, target)
            fsync_dir(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def sha256_file(path: Path | str) -> str:
    """Return the hexadecimal sha256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
