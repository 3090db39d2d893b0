"""Write what was found of videos: ``report.json``, ``report.html``, and a plot per measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from videogen_cli.data.generated import Candidate, read_candidate
from videogen_cli.data.parallel import ordered_map
from videogen_cli.errors import DataError
from videogen_cli.files import atomic_path, write_json, write_text
from videogen_cli.metrics.comparison import Run, Video, keyed, overall
from videogen_cli.metrics.gallery import Card, Tile, page
from videogen_cli.metrics.plots import plot
from videogen_cli.metrics.previews import LIMIT, preview
from videogen_cli.metrics.video_quality import Measure
from videogen_cli.output import plain
from videogen_cli.runners.session import default_output_dir

if TYPE_CHECKING:
    from videogen_cli.output import Output
    from videogen_cli.runners.eval_videos import VideosRequest

PREVIEW_BYTES = 24 * 2**20  # of all previews on a page together
Listed = tuple[Run, list[Candidate]]


def write_report(
    report: dict[str, Any], measures: Sequence[Measure], runs: Sequence[Listed], request: VideosRequest, output: Output
) -> dict[str, str]:
    """Write a report's files, each whole or not at all, and return where they are by name.

    Raises:
        DiskError: they cannot be written.
    """
    folder = request.output_dir or default_output_dir("videos", "reports")
    write_json(folder / "report.json", plain(report))
    plots = _plots(report, measures, output)
    for name, png in plots.items():
        with atomic_path(folder / "plots" / f"{name}.png") as temporary:
            temporary.write_bytes(png)
    rows = _rows(runs, measures)
    shown = _spread(rows, request.cards)
    limit = min(LIMIT, PREVIEW_BYTES // max(1, sum(len(row) for row in shown)))
    report = {**report, "cards": len(rows)}
    write_text(folder / "report.html", page(report, measures, _cards(shown, len(runs), limit, request, output), plots))
    files = {"page": str(folder / "report.html"), "report": str(folder / "report.json")}
    return files | ({"plots": str(folder / "plots")} if plots else {})


# What has one prompt and one seed: by the number of the run, the video, where it is, and its place in the order.
Row = dict[int, tuple[Video, Candidate, float]]


def _rows(runs: Sequence[Listed], measures: Sequence[Measure]) -> list[Row]:
    """Return all that can be shown, from the worst to the best; not what no run could read."""
    places = overall([video for run, _ in runs for video in run.videos], measures)
    rows: dict[Any, Row] = {}
    for number, (run, candidates) in enumerate(runs):
        of = {id(video): (candidate, places.pop(0)) for video, candidate in zip(run.videos, candidates, strict=True)}
        for key, video in keyed(run.videos).items():
            rows.setdefault(key, {})[number] = (video, *of[id(video)])
    seen = [row for row in rows.values() if any(video.error is None for video, _, _ in row.values())]
    return sorted(seen, key=lambda row: float(np.mean([place for _, _, place in row.values()])))


def _spread(rows: list[Row], count: int) -> list[Row]:
    """Return ``count`` of the rows: a quarter from either end, the others from between at equal distances."""
    if len(rows) <= count:
        return rows
    end = count // 4
    between = rows[end : len(rows) - end]
    picked = np.linspace(0, len(between) - 1, count - 2 * end).round().astype(int)
    return rows[:end] + [between[i] for i in picked] + (rows[-end:] if end else [])


def _cards(rows: Sequence[Row], runs: int, limit: int, request: VideosRequest, output: Output) -> list[Card]:
    """Make the previews of rows, some at a time, each of at most ``limit`` bytes."""
    flat = [cell for row in rows for cell in row.values()]
    tiles = []
    with output.progress("making the page", len(flat)) as progress:
        for tile in ordered_map(lambda cell: _tile(*cell, limit, request.timeout), flat, request.workers):
            tiles.append(tile)
            progress.advance()
    made = iter(tiles)
    cards = []
    for row in rows:
        first = next(iter(row.values()))[0]
        by_run = {number: next(made) for number in row}
        cards.append(Card(first.prompt, first.seed, [by_run.get(number) for number in range(runs)]))
    return cards


def _tile(video: Video, candidate: Candidate, place: float, limit: int, timeout: float) -> Tile:
    if video.error is not None:
        return Tile(video.file, error=video.error, scores=video.scores, verdict=video.verdict, overall=place)
    try:
        clip = read_candidate(candidate, timeout)
    except DataError as error:  # it has changed since it was measured
        return Tile(video.file, error=error.what, scores=video.scores, verdict=video.verdict, overall=place)
    image = preview(clip.frames, clip.fps or 8.0, limit)
    side = max(clip.frames.shape[1:3])
    return Tile(video.file, image, side, "", video.scores, video.verdict, place)


def _plots(report: dict[str, Any], measures: Sequence[Measure], output: Output) -> dict[str, bytes]:
    """Draw every measure; nothing without matplotlib, which is an extra."""
    plots = {}
    for measure in measures:
        having = [run for run in report["runs"] if measure.name in run["scores"]]
        figures = {run["name"]: run["scores"][measure.name] for run in having}
        values = {run["name"]: _values(report, run["name"], measure.name) for run in having}
        try:
            plots[measure.name] = plot(measure, values, figures)
        except ModuleNotFoundError as error:
            if error.name != "matplotlib":
                raise
            output.info("no plots without matplotlib: pip install 'vgen[report]'")
            return {}
    return plots


def _values(report: dict[str, Any], run: str, name: str) -> np.ndarray:
    return np.array([v["scores"][name] for v in report["videos"] if v["run"] == run and name in v["scores"]])
