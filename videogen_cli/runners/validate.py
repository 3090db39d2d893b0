"""Read every row of a data set, and say of each bad one what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videogen_cli.data.decoding import Clip
from videogen_cli.data.parallel import ordered_map
from videogen_cli.data.tables import BadRow, Row, find_csv, read_rows
from videogen_cli.data.video import check_video
from videogen_cli.errors import DataError

if TYPE_CHECKING:
    from videogen_cli.output import Output

SHOWN = 20  # bad rows in the table for people; with --json all are printed


@dataclass(frozen=True)
class ValidateRequest:
    """What ``vgen validate`` is asked to do; see its options."""

    dataset: Path
    root: str = ""
    timeout: float = 30.0
    workers: int = 4


def run(request: ValidateRequest, output: Output) -> dict[str, Any]:
    """Decode every clip of a data set and return the summary; bad rows are printed as they are found.

    Raises:
        DataError: the table cannot be read, or a row is bad (after all have been looked at).
    """
    path = find_csv(request.dataset)
    rows, bad = read_rows(path, request.root)
    for row in bad:
        output.result(asdict(row))
    sound: list[tuple[Row, Clip]] = []
    with output.progress(f"checking {path.name}", len(rows)) as progress:
        outcomes = ordered_map(lambda row: _look(row, request.timeout), rows, request.workers)
        for row, outcome in zip(rows, outcomes, strict=True):
            if isinstance(outcome, Clip):
                sound.append((row, outcome))
            else:
                bad.append(outcome)
                output.result(asdict(outcome))
            progress.advance()
            progress.update(row.video.name)
    summary = _summary(path, sound, bad)
    output.result(summary)
    _show(output, summary, sorted(bad, key=lambda row: row.line))
    if bad:
        raise DataError(f"{len(bad)} of {summary['rows']} rows cannot be used", where=str(path))
    return summary


def _look(row: Row, timeout: float) -> Clip | BadRow:
    try:
        return check_video(row.video, timeout=timeout)
    except DataError as error:
        return BadRow(row.line, str(row.video), error.what)


def _summary(path: Path, sound: Sequence[tuple[Row, Clip]], bad: Sequence[BadRow]) -> dict[str, Any]:
    clips = [clip for _, clip in sound]
    sizes = Counter(f"{clip.width}x{clip.height}" for clip in clips)
    rates = Counter(f"{clip.fps:.4g}" for clip in clips)
    uses, captions = Counter(row.video for row, _ in sound), Counter(row.caption for row, _ in sound)
    return {
        "dataset": str(path),
        "rows": len(sound) + len(bad),
        "good": len(sound),
        "bad": len(bad),
        "sizes": dict(sizes.most_common()),
        "fps": dict(rates.most_common()),
        "frames": _spread([clip.total for clip in clips]),
        "seconds": _spread([clip.total / clip.fps for clip in clips if clip.fps]),
        "caption_characters": _spread([len(row.caption) for row, _ in sound]),
        "distinct_captions": len(captions),
        "repeated_videos": sum(count - 1 for count in uses.values()),
    }


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    """Return the smallest, the middle and the largest of ``values``, or None where there are none."""
    if not values:
        return None
    return {
        "min": round(float(min(values)), 3),
        "median": round(float(np.median(values)), 3),
        "max": round(float(max(values)), 3),
    }


def _show(output: Output, summary: dict[str, Any], bad: Sequence[BadRow]) -> None:
    if bad:
        output.table("Bad rows", ("line", "video", "reason"), [(r.line, r.video, r.reason) for r in bad[:SHOWN]])
        if len(bad) > SHOWN:
            output.info(f"... and {len(bad) - SHOWN} more; --json prints them all")
    rows = [("rows", f"{summary['rows']}: {summary['good']} good, {summary['bad']} bad")]
    for name in ("sizes", "fps"):
        found = [f"{value} ({count})" for value, count in summary[name].items()]
        rows.append((name, ", ".join(found[:5]) + (f", and {len(found) - 5} more" if len(found) > 5 else "")))
    for name in ("frames", "seconds", "caption_characters"):
        if spread := summary[name]:
            label = name.replace("_", " ")
            rows.append((label, f"{spread['min']:g} to {spread['max']:g}, median {spread['median']:g}"))
    rows.append(("distinct captions", str(summary["distinct_captions"])))
    rows.append(("repeated videos", str(summary["repeated_videos"])))
    output.summary(summary["dataset"], rows)
