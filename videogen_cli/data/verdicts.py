"""What is known of a data set's files, so that each is decoded for checking only once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from videogen_cli.data.video import check_video
from videogen_cli.errors import DiskError
from videogen_cli.files import cache_root, write_json


class Verdicts:
    """Frame counts of the sound files of one data set, kept in the user's cache folder.

    A file's verdict holds while its size and time of change do. Bad files are checked anew each time: a slow disk
    or a missing mount may have been the cause.
    """

    def __init__(self, dataset: Path) -> None:
        name = hashlib.sha256(str(dataset.absolute()).encode()).hexdigest()[:16]
        self._file = cache_root() / "verdicts" / f"{name}.json"
        try:
            self._known: dict[str, int] = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}
        self._used: dict[str, int] = {}

    def frames(self, video: Path, timeout: float) -> int:
        """Return how many frames ``video`` has, all of them decoded without an error now or earlier.

        Raises:
            DataError: the file cannot be used.
        """
        state = video.stat()
        key = f"{video.absolute()}|{state.st_size}|{state.st_mtime_ns}"
        if key not in self._known:
            self._known[key] = check_video(video, timeout=timeout).total
        self._used[key] = self._known[key]
        return self._known[key]

    def save(self) -> None:
        """Keep the verdicts that were asked for; a cache that cannot be written is done without."""
        try:
            write_json(self._file, self._used)
        except DiskError:
            return
