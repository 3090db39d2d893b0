"""Movie Gen's files of text states: one ``.npz`` per caption and encoder, named after the video or the caption.

Each holds ``text_emb`` float32 (l d), ``mask`` (l,) and ``tokens`` (l,), padded to the encoder's length (mindone,
examples/moviegen ``inference_text_enc.py``).
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from videogen_cli.errors import DataError, did_you_mean
from videogen_cli.files import atomic_path

_WORDS_IN_NAME = 10
COLUMNS = ("video", "caption")


@dataclass(frozen=True)
class TextStates:
    """What an encoder made of one caption: states (l d), attention mask (l,) and token ids (l,)."""

    states: np.ndarray
    mask: np.ndarray
    tokens: np.ndarray


def caption_files(path: Path, columns: tuple[str, str] = COLUMNS) -> list[tuple[str, str]]:
    """Return (name of the file, caption) for every caption of a CSV table or of a text file with one per line.

    A table names files after its videos, sub-folders kept. A text file keeps empty lines (their states are those of
    the empty prompt), and names files by number and first words.

    Args:
        path: the table (``.csv``) or text file.
        columns: the table's columns of video paths and captions.

    Raises:
        DataError: the file cannot be read, lacks a column, or names a video outside its folder.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read as text: {error}", where=str(path)) from error
    if path.suffix == ".csv":
        return _of_table(path, text, columns)
    captions = [line.strip() for line in io.StringIO(text)]  # no other characters end a line than in a file
    return [(f"{index:03d}-{_stem(caption)}.npz", caption) for index, caption in enumerate(captions)]


def _of_table(path: Path, text: str, columns: tuple[str, str]) -> list[tuple[str, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    for column in columns:
        if column not in (reader.fieldnames or ()):
            hint = did_you_mean(column, reader.fieldnames or ())
            raise DataError(f"has no column '{column}'", where=str(path), hint=hint)
    return [(_beside(row[columns[0]] or "", path), row[columns[1]] or "") for row in reader]


def _beside(video: str, table: Path) -> str:
    name = PurePosixPath(video)
    if not name.name or name.is_absolute() or ".." in name.parts:
        raise DataError(f"'{video}' is no path inside the folder of videos", where=str(table))
    return name.with_suffix(".npz").as_posix()


def _stem(caption: str) -> str:
    """Return a caption's first words joined by dashes; like a path, it loses all up to a slash and after a dot."""
    return "-".join(PurePosixPath(caption).stem.split(" ")[:_WORDS_IN_NAME])


def write(path: Path, states: TextStates) -> None:
    """Write one caption's states; the file appears whole or not at all."""
    arrays = {"mask": states.mask, "text_emb": states.states.astype(np.float32), "tokens": states.tokens}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def read(path: Path) -> TextStates:
    """Return one caption's states, float32.

    Raises:
        DataError: the file is missing, damaged, or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            states, mask, tokens = file["text_emb"], file["mask"], file["tokens"]
    except Exception as error:  # numpy raises nearly anything at a damaged file
        raise DataError(f"is no file of text states: {error}", where=str(path)) from error
    if states.ndim != 2 or states.dtype.kind != "f" or mask.shape != (len(states),):
        what = f"must hold states (l d) and a mask (l,), not {states.dtype} {states.shape} and {mask.shape}"
        raise DataError(what, where=str(path))
    return TextStates(states.astype(np.float32), mask, tokens)
