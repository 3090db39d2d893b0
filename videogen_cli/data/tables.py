"""Captions: a CSV with ``video`` and ``caption`` columns, each row usable or refused with a reason."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from videogen_cli.errors import DataError, did_you_mean
from videogen_cli.files import write_text

COLUMNS = ("video", "caption")
FIELD_LIMIT = 131_072  # characters of one field


@dataclass(frozen=True)
class Row:
    """A usable row: ``line`` is where it stands in the CSV (1 is the header), ``video`` an existing file."""

    line: int
    video: Path
    caption: str


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, and why."""

    line: int
    video: str
    reason: str


def find_csv(path: Path | str) -> Path:
    """Return ``path`` if it is a file, or the one CSV in the folder ``path``.

    Raises:
        DataError: there is no such file, or none or several CSV files are in the folder.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.is_file():
            raise DataError("no such data set", where=str(path), hint="Name a CSV file, or a folder with one in it.")
        return path
    found = sorted(path.glob("*.csv"))
    if len(found) != 1:
        names = ", ".join(item.name for item in found[:5])
        what = f"holds {len(found)} CSV files ({names})" if found else "holds no CSV file"
        raise DataError(what, where=str(path), hint="Name the CSV file itself.")
    return found[0]


def read_rows(path: Path | str, root: Path | str = "", limit: int = 0) -> tuple[list[Row], list[BadRow]]:
    """Read the table at ``path`` without opening the videos; return the usable rows and the others.

    Args:
        path: UTF-8, with or without a byte order mark; further columns are ignored.
        root: the folder that relative video paths start from; empty for the CSV's own. A path without a suffix
            means an ``.mp4`` file.
        limit: read only so many rows; 0 reads all.

    Raises:
        DataError: the file is missing, not text, lacks a column, or has no rows.
    """
    path = Path(path)
    csv.field_size_limit(FIELD_LIMIT)  # process-wide: other libraries set their own
    reader = csv.DictReader(io.StringIO(_read_text(path), newline=""))
    try:
        names = [name.strip().lower() for name in reader.fieldnames or []]
        reader.fieldnames = names
        for column in COLUMNS:
            if column not in names:
                raise DataError(f"has no column '{column}'", where=str(path), hint=did_you_mean(column, names))
        good: list[Row] = []
        bad: list[BadRow] = []
        for record in reader:
            if limit and len(good) + len(bad) >= limit:
                break
            row = _read_row(reader.line_num, record, Path(root) if root else path.parent)
            good.append(row) if isinstance(row, Row) else bad.append(row)
    except csv.Error as error:
        raise DataError(f"is no CSV table: {error}", where=f"{path}, line {reader.line_num}") from error
    if not good and not bad:
        raise DataError("has no rows", where=str(path))
    return good, bad


def write_quarantine(path: Path | str, rows: Iterable[BadRow]) -> None:
    """Write one JSON line ``{line, video, reason}`` per row, atomically."""
    write_text(path, "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows))


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        hint = "Save the table as UTF-8."
        raise DataError(f"is not UTF-8 text (byte {error.start})", where=str(path), hint=hint) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path)) from error


def _read_row(line: int, record: dict[str, str | None], folder: Path) -> Row | BadRow:
    name, caption = ((record[column] or "").strip() for column in COLUMNS)
    if not name:
        return BadRow(line, name, "has no video")
    if not caption:
        return BadRow(line, name, "has no caption")
    video = folder / name if Path(name).suffix else folder / f"{name}.mp4"
    try:
        if not video.exists():
            return BadRow(line, name, f"no such file: {video}")
    except (OSError, ValueError) as error:  # a name too long, or with a zero byte
        return BadRow(line, name, f"is no file name: {error}")
    return Row(line, video, caption)
