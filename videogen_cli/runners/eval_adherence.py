"""Judge a folder of Moving Shapes videos against their prompts, trained and held-out combinations apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videogen_cli.data.generated import Candidate, find_candidates, read_candidate
from videogen_cli.data.parallel import ordered_map
from videogen_cli.errors import DataError
from videogen_cli.metrics.adherence import ATTRIBUTES, Verdict, figures, judge, parse_prompt

if TYPE_CHECKING:
    from videogen_cli.output import Output

SHOWN = 20  # failures in the table for people; with --json all are printed


@dataclass(frozen=True)
class AdherenceRequest:
    """What ``vgen eval adherence`` is asked to do; see its options."""

    folder: Path
    timeout: float = 30.0
    workers: int = 4


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
    report |= figures(combinations, verdicts)
    report["failures"] = [
        {"file": str(candidate.file), "prompt": candidate.prompt, "held_out": combination.held_out, "reasons": reasons}
        for (candidate, combination), verdict in zip(judged, verdicts, strict=True)
        if (reasons := verdict.reasons(combination))
    ]
    report["not_judged"] = [candidate.prompt for candidate, combination in wanted if combination is None]
    output.result(report)
    _show(output, report)
    return report


def _judge(candidate: Candidate, timeout: float) -> Verdict:
    try:
        return judge(read_candidate(candidate, timeout).frames)
    except DataError as error:
        return Verdict(flaws=(error.what,))


def _show(output: Output, report: dict[str, Any]) -> None:
    columns = ("combinations", "videos", "correct", "accuracy", "95% interval", *ATTRIBUTES)
    rows = []
    for name, label in (("trained", "trained"), ("held_out", "held out")):
        found = report[name]
        if not found["videos"]:
            rows.append((label, 0, *["-"] * 6))
            continue
        low, high = found["interval"]
        shares = (f"{found[attribute]:.1%}" for attribute in ATTRIBUTES)
        counts = (found["videos"], found["correct"], f"{found['accuracy']:.1%}")
        rows.append((label, *counts, f"{low:.1%} to {high:.1%}", *shares))
    if failures := report["failures"]:
        shown = [(Path(f["file"]).name, f["prompt"], "; ".join(f["reasons"][:3])) for f in failures[:SHOWN]]
        output.table("Failures", ("file", "prompt", "why"), shown)
        if len(failures) > SHOWN:
            output.info(f"... and {len(failures) - SHOWN} more; --json prints them all")
    output.table(f"Adherence of {report['folder']}", columns, rows)
    if report["not_judged"]:
        output.warn(f"{len(report['not_judged'])} prompts are not of the Moving Shapes world and were not judged")
