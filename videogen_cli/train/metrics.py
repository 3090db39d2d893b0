"""``metrics.jsonl``: what happened at which step. The file of a resumed run equals an uninterrupted one's.

Everything in a line follows from the config, except the object under ``time``.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videogen_cli.files import disk_errors, write_text

TIME = "time"


class Metrics:
    """Appends lines to ``metrics.jsonl`` and, if asked, numbers to TensorBoard."""

    def __init__(self, folder: Path, *, tensorboard: bool, quiet: bool = False) -> None:
        """``quiet``: write nothing (the ranks other than 0)."""
        self.path, self._quiet = folder / "metrics.jsonl", quiet
        self._board_folder = folder / "tensorboard" if tensorboard else None
        self._board: Any = None
        self._file: Any = None

    def begin(self, step: int) -> list[dict[str, Any]]:
        """Forget every line of a later step, open the file for appending, and return the lines kept."""
        lines = [line for line in read(self.path) if line["step"] <= step]
        if self._quiet:
            return lines
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close)
        if self._board_folder:
            from tensorboardX import SummaryWriter

            with disk_errors(self._board_folder):
                self._board = SummaryWriter(str(self._board_folder), purge_step=step + 1 if step else None)
        return lines

    def write(self, step: int, kind: str, values: Mapping[str, Any], time: Mapping[str, float] | None = None) -> None:
        """Append a line; ``kind`` (``train``, ``skipped``, ``validation``, ``preview``) tells lines of a step apart."""
        if self._quiet:
            return
        line = {"step": step, "kind": kind, **{name: _plain(value) for name, value in values.items()}}
        if time:
            line[TIME] = {name: round(value, 4) for name, value in time.items()}
        with disk_errors(self.path):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        if self._board:
            for name, value in {**values, **(time or {})}.items():
                if isinstance(value, int | float) and math.isfinite(value):
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def sync(self) -> None:
        """Put every line on disk: done before a checkpoint that counts on them."""
        if self._quiet:
            return
        with disk_errors(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the files."""
        if self._file:
            self._file.close()
        if self._board:
            self._board.close()


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics file; an unfinished last line (a killed process) is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _plain(value: Any) -> Any:
    """Return a value that is JSON: non-finite numbers become their names."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
