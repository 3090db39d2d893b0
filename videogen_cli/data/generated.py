"""Folders of generated videos: which there are, the prompt each was made from, and their frames."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from videogen_cli.data.decoding import Clip
from videogen_cli.data.tables import BadRow, find_csv, read_rows
from videogen_cli.data.video import read_video, strip_to_frames
from videogen_cli.errors import DataError

RESULTS = "results.jsonl"


@dataclass(frozen=True)
class Candidate:
    """A video to judge, and the prompt it was made from.

    ``frames`` is how many it has side by side, in a png; ``fps`` is 0 and ``seed`` None where the list does not say.
    """

    file: Path
    prompt: str
    frames: int = 0
    seed: int | None = None
    fps: float = 0.0


def find_candidates(folder: Path) -> list[Candidate]:
    """Return the videos that ``results.jsonl`` or the CSV of ``folder`` lists.

    Raises:
        DataError: there is no such folder or list, or a line of the list cannot be used.
    """
    candidates, bad = list_videos(folder)
    if bad:
        raise DataError(f"line {bad[0].line}: {bad[0].reason}", where=str(folder))
    return candidates


def list_videos(folder: Path) -> tuple[list[Candidate], list[BadRow]]:
    """Return the videos that ``folder`` lists, and the rows of its CSV that name none which is there.

    A video of ``results.jsonl`` that is not there is returned as the others: reading it says so.

    Raises:
        DataError: there is no such folder or list, or a line of ``results.jsonl`` cannot be used.
    """
    if not folder.exists():
        raise DataError("no such folder", where=str(folder), hint="Make one with 'vgen infer'.")
    listing = folder / RESULTS
    if not listing.is_file():
        if folder.is_dir() and not list(folder.glob("*.csv")):
            what = f"holds neither {RESULTS} nor a CSV of videos and captions"
            raise DataError(what, where=str(folder), hint="A CSV has the columns video and caption.")
        rows, bad = read_rows(find_csv(folder))
        return [Candidate(row.video, row.caption) for row in rows], bad
    found = []
    for number, line in enumerate(listing.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            record = json.loads(line) if line.strip() else None
            if record is not None:
                found.append(_candidate(folder, record))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            what = "is no JSON object with a file and a prompt"
            raise DataError(what, where=f"{listing}, line {number}") from error
    if not found:
        raise DataError("lists no videos", where=str(listing))
    return found, []


def read_candidate(candidate: Candidate, timeout: float) -> Clip:
    """Return all frames of a video; a png's strip is cut, and a rate that the list tells goes before the file's.

    Raises:
        DataError: as for :func:`videogen_cli.data.video.read_video`, or the file is an array with nothing in it.
    """
    clip = read_video(candidate.file, timeout=timeout)
    strip, count = clip.frames, candidate.frames
    if candidate.file.suffix == ".png" and count and strip.shape[2] % count == 0:
        clip = replace(clip, frames=strip_to_frames(strip[0], count), width=strip.shape[2] // count, total=count)
    if 0 in clip.frames.shape:
        raise DataError("holds no frames", where=str(candidate.file))
    return replace(clip, fps=candidate.fps or clip.fps)


def _candidate(folder: Path, record: dict[str, Any]) -> Candidate:
    """Return what a line of ``results.jsonl`` says; surrogates without a partner become question marks."""
    file, prompt = record["file"], str(record["prompt"])
    seed, fps = record.get("seed"), record.get("fps")
    return Candidate(
        folder / file,
        prompt.encode("utf-8", "replace").decode(),
        int(record.get("frames") or 0),
        seed if type(seed) is int else None,
        float(fps) if isinstance(fps, int | float) and fps > 0 else 0.0,
    )
