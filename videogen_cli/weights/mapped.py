"""Files as read-only memory maps: bytes are read when touched and given back when done."""

from __future__ import annotations

import mmap
import os
from functools import cached_property
from pathlib import Path

from videogen_cli.errors import WeightsError
from videogen_cli.weights.names import plain


class MappedFile:
    """A read-only map of a file. Views keep it alive; nothing needs to be closed.

    Raises:
        WeightsError: the file is missing, not a file, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists() and not path.is_file():
            raise WeightsError("is not a file", where=plain(path))
        try:
            with open(path, "rb") as handle:
                self.size = os.fstat(handle.fileno()).st_size
                self.map = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) if self.size else None
        except FileNotFoundError as error:
            raise WeightsError("there is no such file", where=plain(path)) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise WeightsError(f"cannot be read: {reason}", where=plain(path)) from error

    @cached_property
    def data(self) -> memoryview:
        """All bytes, unread."""
        return memoryview(self.map) if self.map is not None else memoryview(b"")

    def head(self, count: int) -> bytes:
        """Return the first ``count`` bytes, or fewer when the file is shorter."""
        return bytes(self.data[:count])

    def release(self, start: int, stop: int) -> None:
        """Let the system drop the pages that lie wholly or partly in [start, stop); they are read again if needed."""
        if self.map is None or not hasattr(mmap, "MADV_DONTNEED"):
            return
        first = start - start % mmap.PAGESIZE
        if stop > first:
            self.map.madvise(mmap.MADV_DONTNEED, first, stop - first)
