"""Judge a folder of Moving Shapes videos against their prompts, trained and held-out combinations apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videogen_cli.data.moving_shapes import Combination
from videogen_cli.data.parallel import ordered_map
from videogen_cli.data.tables import find_csv, read_rows
from videogen_cli.data.video import read_video, strip_to_frames
from videogen_cli.errors import DataError
from videogen_cli.metrics.adherence import ATTRIBUTES, Verdict, judge, parse_prompt, wilson

if TYPE_CHECKING:
    from videogen_cli.output import Output

RESULTS = "results.jsonl"
SHOWN = 20  # failures in the table for people; with --json all are printed


@dataclass(frozen=True)
class AdherenceRequest:
    """What ``vgen eval adherence`` is asked to do; see its options."""

    folder: Path
    timeout: float = 30.0
    workers: int = 4


@dataclass(frozen=True)
class Candidate:
    """A video to judge, and the prompt it was made from; ``frames`` is how many it has side by side, in a png."""

    file: Path
    prompt: str
    frames: int = 0


def run(request: AdherenceRequest, output: Output) -> dict[str, Any]:
    """Judge every video of a folder and return (and print) the report.

    A video that cannot be read counts as a failure: it shows nothing of what was asked for.

    Raises:
        DataError: the folder lists no videos, or none of the prompts is of the Moving Shapes world.
    """
    candidates = find_candidates(request.folder)
    wanted = [(candidate, parse_prompt(candidate.prompt)) for candidate in candidates]
    judged = [(candidate, combination) for candidate, combination in wanted if combination]
    if not judged:
        hint = "A prompt must name one colour, one shape and one direction: 'a red circle moving left'."
        raise DataError("no prompt here is of the Moving Shapes world", where=str(request.folder), hint=hint)
    verdicts: list[Verdict] = []
    with output.progress("judging videos", len(judged)) as progress:
        for verdict in ordered_map(lambda pair: _judge(pair[0], request.timeout), judged, request.workers):
            verdicts.append(verdict)
            progress.advance()
    combinations = [combination for _, combination in judged]
    report: dict[str, Any] = {"folder": str(request.folder), "videos": len(judged)}
    for name, held_out in (("trained", False), ("held_out", True)):
        chosen = [(c, v) for c, v in zip(combinations, verdicts, strict=True) if c.held_out == held_out]
        report[name] = _figures(chosen)
    report["failures"] = [
        {"file": str(candidate.file), "prompt": candidate.prompt, "held_out": combination.held_out, "reasons": reasons}
        for (candidate, combination), verdict in zip(judged, verdicts, strict=True)
        if (reasons := verdict.reasons(combination))
    ]
    report["not_judged"] = [candidate.prompt for candidate, combination in wanted if combination is None]
    output.result(report)
    _show(output, report)
    return report


def find_candidates(folder: Path) -> list[Candidate]:
    """Return the videos that ``results.jsonl`` or the CSV of ``folder`` lists.

    Raises:
        DataError: there is no such folder or list, or a line of the list cannot be used.
    """
    if not folder.exists():
        raise DataError("no such folder", where=str(folder), hint="Make one with 'vgen infer'.")
    listing = folder / RESULTS
    if not listing.is_file():
        if folder.is_dir() and not list(folder.glob("*.csv")):
            raise DataError(f"holds neither {RESULTS} nor a CSV of videos and captions", where=str(folder))
        rows, bad = read_rows(find_csv(folder))
        if bad:
            raise DataError(f"line {bad[0].line}: {bad[0].reason}", where=str(folder))
        return [Candidate(row.video, row.caption) for row in rows]
    found = []
    for number, line in enumerate(listing.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            record = json.loads(line) if line.strip() else None
            if record is not None:
                found.append(Candidate(folder / record["file"], str(record["prompt"]), int(record.get("frames", 0))))
        except (ValueError, KeyError, TypeError) as error:
            what = "is no JSON object with a file and a prompt"
            raise DataError(what, where=f"{listing}, line {number}") from error
    if not found:
        raise DataError("lists no videos", where=str(listing))
    return found


def _judge(candidate: Candidate, timeout: float) -> Verdict:
    try:
        frames = read_video(candidate.file, timeout=timeout).frames
    except DataError as error:
        return Verdict(flaws=(error.what,))
    if candidate.file.suffix == ".png" and candidate.frames and frames.shape[2] % candidate.frames == 0:
        frames = strip_to_frames(frames[0], candidate.frames)
    return judge(frames)


def _figures(judged: Sequence[tuple[Combination, Verdict]]) -> dict[str, Any]:
    """Return counts, the share that is right in everything with its 95% interval, and the share per attribute."""
    total = len(judged)
    correct = sum(not verdict.reasons(combination) for combination, verdict in judged)
    figures: dict[str, Any] = {"videos": total, "combinations": len({c for c, _ in judged}), "correct": correct}
    figures["accuracy"] = correct / total if total else None
    figures["interval"] = [round(bound, 4) for bound in wilson(correct, total)] if total else None
    rights = [verdict.correct(combination) for combination, verdict in judged]
    for name in ATTRIBUTES:
        figures[name] = float(np.mean([right[name] for right in rights])) if total else None
    return figures


def _show(output: Output, report: dict[str, Any]) -> None:
    columns = ("combinations", "videos", "correct", "accuracy", "95% interval", *ATTRIBUTES)
    rows = []
    for name, label in (("trained", "trained"), ("held_out", "held out")):
        figures = report[name]
        if not figures["videos"]:
            rows.append((label, 0, *["-"] * 6))
            continue
        low, high = figures["interval"]
        shares = (f"{figures[attribute]:.1%}" for attribute in ATTRIBUTES)
        counts = (figures["videos"], figures["correct"], f"{figures['accuracy']:.1%}")
        rows.append((label, *counts, f"{low:.1%} to {high:.1%}", *shares))
    if failures := report["failures"]:
        shown = [(Path(f["file"]).name, f["prompt"], "; ".join(f["reasons"][:3])) for f in failures[:SHOWN]]
        output.table("Failures", ("file", "prompt", "why"), shown)
        if len(failures) > SHOWN:
            output.info(f"... and {len(failures) - SHOWN} more; --json prints them all")
    output.table(f"Adherence of {report['folder']}", columns, rows)
    if report["not_judged"]:
        output.warn(f"{len(report['not_judged'])} prompts are not of the Moving Shapes world and were not judged")
