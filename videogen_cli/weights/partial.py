"""A file that arrives piece by piece: its bytes on disk and their hash, kept in step."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videogen_cli.files import disk_errors, size_text

if TYPE_CHECKING:
    from videogen_cli.output import Output

_PIECE = 1 << 22


def digest_for(name: str, size: int | None) -> Any:
    """Return an empty hash of the kind that ``name`` is one of; None where it is none.

    The hub names large files by their sha256, small ones as git does: by the sha1 of a header with their size, and
    their bytes.
    """
    if re.fullmatch(r"[0-9a-f]{64}", name):
        return hashlib.sha256()
    if re.fullmatch(r"[0-9a-f]{40}", name) and size is not None:
        return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    return None


def file_digest(path: Path, expected: str, output: Output) -> str:
    """Return a file's hash, of the kind that ``expected`` is of; its sha256 where that is none."""
    size = path.stat().st_size
    digest = digest_for(expected, size) or hashlib.sha256()
    with output.progress(f"Verifying {path.name[:12]}", size, unit="bytes") as bar:
        for piece in _pieces(path):
            digest.update(piece)
            bar.advance(len(piece))
    return digest.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as handle:
        while piece := handle.read(_PIECE):
            yield piece


class Partial:
    """The part of a file that has arrived.

    Args:
        path: where it is kept.
        expected: the hash of the whole file, or what is no hash, which is then not compared.
        size: bytes of the whole file; None where nobody says.
    """

    def __init__(self, path: Path, expected: str, size: int | None) -> None:
        self.path, self.expected, self.size = path, expected, size
        self.have = 0
        self.complete = False
        self._handle: Any = None
        self._digest = digest_for(expected, size)

    @property
    def too_long(self) -> bool:
        """Whether more has arrived than the file has."""
        return self.size is not None and self.have > self.size

    def resume(self, output: Output) -> None:
        """Take up what an earlier run left."""
        if not self.path.exists() or (self.size is not None and self.path.stat().st_size > self.size):
            self.path.unlink(missing_ok=True)
            return
        with output.progress("Reading what is already there", self.path.stat().st_size, unit="bytes") as bar:
            for piece in _pieces(self.path):
                self._count(piece)
                bar.advance(len(piece))
        self.complete = self.have == self.size

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Keep the file open for :meth:`append`; what has arrived is on disk at the end, whatever happens."""
        with disk_errors(self.path), open(self.path, "ab") as self._handle:
            try:
                yield
            finally:
                self._handle.flush()
                os.fsync(self._handle.fileno())

    def append(self, piece: bytes) -> None:
        """Add bytes."""
        self._handle.write(piece)
        self._count(piece)
        self.complete = self.complete or self.too_long

    def restart(self) -> None:
        """Forget all that has arrived."""
        self._handle.truncate(0)
        self.have, self._digest = 0, digest_for(self.expected, self.size)

    def ended(self) -> None:
        """Say that a connection has brought all it had: where nobody said how much there is, that is the file."""
        self.complete = self.have == self.size or self.size is None

    def wrong(self) -> str:
        """Say what is wrong with the whole file; "" where nothing is."""
        if self.size is not None and self.have != self.size:
            return f"{size_text(self.have)} ({self.have} bytes) where {self.size} were announced"
        if self._digest is None or self._digest.hexdigest() == self.expected:
            return ""
        return f"their hash is {self._digest.hexdigest()}, not {self.expected}"

    def _count(self, piece: bytes) -> None:
        self.have += len(piece)
        if self._digest is not None:
            self._digest.update(piece)
