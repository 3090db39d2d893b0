"""Measure generated videos: alone, by scorers, and run against run; report it as JSON, a page, and plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videogen_cli.data.generated import Candidate, list_videos, read_candidate
from videogen_cli.data.parallel import ordered_map
from videogen_cli.errors import DataError, UsageError
from videogen_cli.metrics import vbench
from videogen_cli.metrics.adherence import Verdict, figures, judge, parse_prompt
from videogen_cli.metrics.comparison import Run, Video, differences, names_of, summary
from videogen_cli.metrics.gallery import read_out
from videogen_cli.metrics.video_quality import MEASURES, Measure, measure
from videogen_cli.registry import ScorerSpec
from videogen_cli.runners.requests import Request
from videogen_cli.runners.video_report import write_report
from videogen_cli.runners.video_scores import Scored, choose, score_videos
from videogen_cli.weights.names import plain

if TYPE_CHECKING:
    from videogen_cli.output import Output
    from videogen_cli.runners.plan import Plan

ADHERENCE = Measure(
    "adherence",
    "adherence",
    "whether a Moving Shapes video shows its prompt; one that cannot be read does not",
    share=True,
)
SHOWN = 20  # videos that cannot be read, in the words for people; the report has all


@dataclass(frozen=True)
class VideosRequest:
    """What ``vgen eval videos`` is asked to do; see its options. Without ``model`` no network scores anything."""

    folders: Sequence[Path]
    output_dir: Path | None = None
    model: Request | None = None
    scorers: str = "all"
    cards: int = 400
    vbench: Path | None = None
    timeout: float = 30.0
    workers: int = 4


@dataclass
class Folder:
    """A folder that is measured: its run, the verdicts of Moving Shapes, and where each video is."""

    run: Run
    candidates: list[Candidate]
    verdicts: list[Verdict | None] = field(default_factory=list)

    def readable(self) -> list[tuple[Video, Candidate]]:
        """Return the videos that were decoded, and where they are."""
        return [pair for pair in zip(self.run.videos, self.candidates, strict=True) if pair[0].error is None]


def run(request: VideosRequest, output: Output) -> dict[str, Any]:
    """Measure every video of some folders, write the report, and return it.

    A video that cannot be read is listed as a failure and has no scores.

    Raises:
        UsageError: an unknown model, preset or scorer, or a folder for VBench that is not new.
        DataError: a folder lists no videos, or none of all videos can be read.
        VgenError: weights or the device cannot be used, or something cannot be written.
    """
    plan, scorers = _plan(request, output)
    if request.vbench:
        vbench.require_new(request.vbench)
    folders = _folders(request.folders)
    for folder in folders:
        _measure(folder, request, output)
    readable = [pair for folder in folders for pair in folder.readable()]
    _require_any(folders, readable)
    scored = Scored()
    if plan:
        scored = score_videos(plan, scorers, readable, request.timeout, request.workers, output)
    report, measures = _report(folders, scored)
    for folder in folders:
        for video in folder.run.videos:
            output.result({"run": folder.run.name, **asdict(video)})
    files = write_report(report, measures, [(folder.run, folder.candidates) for folder in folders], request, output)
    if request.vbench:
        files |= _export(folders, request)
    output.result({"summary": {key: value for key, value in report.items() if key != "videos"}, "files": files})
    _show(output, report, measures, files)
    return report


def _plan(request: VideosRequest, output: Output) -> tuple[Plan | None, list[ScorerSpec]]:
    """Return the plan of the model whose scorers are asked for, and these; needs no device."""
    if request.model is None:
        if request.scorers not in ("all", "none"):
            hint = "Whose scorers they are says --model, such as --model t2v-turbo."
            raise UsageError("names scorers of no model", where="--scorers", hint=hint)
        if request.scorers == "all":
            output.info("no --model named: nothing is scored by networks")
        return None, []
    from videogen_cli.runners.plan import make_plan

    plan = make_plan(request.model, output)
    scorers = choose(plan.spec, request.scorers)
    return (plan, scorers) if scorers else (None, [])


def _folders(paths: Sequence[Path]) -> list[Folder]:
    folders = []
    shown = [str(path).encode("utf-8", "replace").decode() for path in paths]
    for path, where, name in zip(paths, shown, names_of([str(Path(item).absolute()) for item in shown]), strict=True):
        candidates, bad = list_videos(path)
        root = path if path.is_dir() else path.parent
        videos = [Video(_relative(one.file, root), one.prompt, one.seed) for one in candidates]
        lost = [Video(row.video or f"line {row.line}", "", error=row.reason) for row in bad]
        candidates += [Candidate(root / row.video, "") for row in bad]
        folders.append(Folder(Run(name, where, videos + lost), candidates))
    return folders


def _relative(file: Path, root: Path) -> str:
    name = file.relative_to(root) if file.is_relative_to(root) else file
    return str(name).encode("utf-8", "replace").decode()


def _measure(folder: Folder, request: VideosRequest, output: Output) -> None:
    """Decode and measure every video of a folder, some at a time."""
    pairs = list(zip(folder.run.videos, folder.candidates, strict=True))
    with output.progress(f"{folder.run.name}: measuring", len(pairs)) as progress:
        for verdict in ordered_map(lambda pair: _measure_one(*pair, request.timeout), pairs, request.workers):
            folder.verdicts.append(verdict)
            progress.advance()


def _measure_one(video: Video, candidate: Candidate, timeout: float) -> Verdict | None:
    """Fill in what is measured of a video; return what it shows where its prompt is of Moving Shapes."""
    wanted = parse_prompt(candidate.prompt)
    verdict = None
    try:
        frames = read_candidate(candidate, timeout).frames if video.error is None else None
    except DataError as error:
        video.error, frames = error.what, None
    if frames is not None:
        video.scores.update(measure(frames))
    if wanted:
        verdict = judge(frames) if frames is not None else Verdict(flaws=(video.error or "",))
        reasons = verdict.reasons(wanted)
        video.verdict = {"held_out": wanted.held_out, "correct": not reasons, "reasons": reasons}
        video.scores[ADHERENCE.name] = float(not reasons)
    return verdict


def _require_any(folders: Sequence[Folder], readable: Sequence[Any]) -> None:
    if readable:
        return
    videos = [video for folder in folders for video in folder.run.videos]
    where = ", ".join(folder.run.folder for folder in folders)
    first = f"The first is {videos[0].file}: {videos[0].error}." if videos else ""
    raise DataError(f"none of {len(videos)} videos can be read", where=where, hint=first)


def _report(folders: Sequence[Folder], scored: Scored) -> tuple[dict[str, Any], list[Measure]]:
    """Return what ``report.json`` holds, and the measures that any video has, in the order they are shown in."""
    runs = [folder.run for folder in folders]
    having = {name for run in runs for video in run.videos for name in video.scores}
    measures = [one for one in (ADHERENCE, *scored.measures, *MEASURES) if one.name in having]
    report = {
        "runs": [_figures(folder, measures) for folder in folders],
        "differences": [differences(run, runs[0], measures) for run in runs[1:]],
        "measures": [asdict(one) for one in measures],
        "skipped": list(scored.skipped),
        "videos": [{"run": run.name, **asdict(video)} for run in runs for video in run.videos],
    }
    return report, measures


def _figures(folder: Folder, measures: Sequence[Measure]) -> dict[str, Any]:
    videos = folder.run.videos
    failures = [{"file": v.file, "prompt": v.prompt, "reason": v.error} for v in videos if v.error is not None]
    judged = [
        (wanted, v)
        for c, v in zip(folder.candidates, folder.verdicts, strict=True)
        if v and (wanted := parse_prompt(c.prompt))
    ]
    return {
        "name": folder.run.name,
        "folder": folder.run.folder,
        "videos": len(videos),
        "readable": len(videos) - len(failures),
        "failures": failures,
        "scores": summary([video.scores for video in videos], measures),
        "adherence": figures([wanted for wanted, _ in judged], [v for _, v in judged]) if judged else None,
    }


def _export(folders: Sequence[Folder], request: VideosRequest) -> dict[str, str]:
    """Write what VBench reads: one folder, or one per run inside it."""
    assert request.vbench
    files = {"vbench": str(request.vbench)}
    for folder in folders:
        target = request.vbench if len(folders) == 1 else request.vbench / folder.run.name.replace("/", "-")
        listing = vbench.export([candidate for _, candidate in folder.readable()], target, request.timeout)
        if listing:
            files[f"vbench prompts of {folder.run.name}" if len(folders) > 1 else "vbench prompts"] = str(listing)
    return files


def _show(output: Output, report: dict[str, Any], measures: Sequence[Measure], files: dict[str, str]) -> None:
    runs, pairs = report["runs"], report["differences"]
    columns = ("measure", *(run["name"] for run in runs), *(f"{p['run']} - {p['against']}" for p in pairs))
    rows = []
    for one in measures:
        cells = [_cell(run["scores"].get(one.name), one) for run in runs]
        cells += [_cell(pair["scores"].get(one.name), one, change=True) for pair in pairs]
        rows.append((one.label, *cells))
    output.table("Mean and 95% interval", columns, rows)
    failures = [(run["name"], failure) for run in runs for failure in run["failures"]]
    if failures:
        output.warn(f"{len(failures)} of {sum(run['videos'] for run in runs)} videos cannot be read:")
        for name, failure in failures[:SHOWN]:
            output.info(f"  {plain(name)}/{plain(failure['file'])}: {plain(failure['reason'])}")
        if len(failures) > SHOWN:
            output.info(f"  ... and {len(failures) - SHOWN} more, in {files['report']}")
    output.summary(f"{sum(run['readable'] for run in runs)} videos measured", files.items())


def _cell(figure: dict[str, Any] | None, one: Measure, change: bool = False) -> str:
    if not figure:
        return "-"
    return "  ".join(read_out(figure, one, change)).strip() + ("  *" if change and figure["clear"] else "")
