"""From the scores of many videos to figures of runs: means, paired differences, and an order from worst to best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from videogen_cli.metrics.adherence import wilson
from videogen_cli.metrics.intervals import mean_interval
from videogen_cli.metrics.video_quality import Measure

Scores = Mapping[str, float]


@dataclass
class Video:
    """A video of a run and what was found of it; ``error`` says why it could not be read.

    ``verdict`` is there for videos of Moving Shapes: ``{"held_out", "correct", "reasons"}``.
    """

    file: str
    prompt: str
    seed: int | None = None
    error: str | None = None
    scores: dict[str, float] = field(default_factory=dict)
    verdict: dict[str, Any] | None = None


@dataclass
class Run:
    """The videos of a folder, under the name that tells it from the other folders."""

    name: str
    folder: str
    videos: list[Video]


def summary(videos: Sequence[Scores], measures: Sequence[Measure]) -> dict[str, dict[str, Any]]:
    """Return ``{measure: {mean, interval, videos}}``, of the videos that have the measure.

    The 95% interval of a share is Wilson's, that of any other mean by :func:`mean_interval`.
    """
    found = {}
    for measure in measures:
        values = np.array([scores[measure.name] for scores in videos if measure.name in scores])
        if len(values):
            share = wilson(round(float(values.sum())), len(values)) if measure.share else mean_interval(values)
            found[measure.name] = _figure(values, share)
    return found


def differences(run: Run, against: Run, measures: Sequence[Measure]) -> dict[str, Any]:
    """Return how ``run`` differs from another over the pairs of videos with one prompt and one seed.

    Returns:
        ``{"run", "against", "pairs", "scores": {measure: {mean, interval, videos, clear}}}``; ``clear`` says that the
        95% interval of the mean difference leaves out 0.
    """
    first, second = keyed(against.videos), keyed(run.videos)
    shared = [key for key in first if key in second]
    scores = {}
    for measure in measures:
        name = measure.name
        both = [(first[key].scores, second[key].scores) for key in shared]
        values = np.array([b[name] - a[name] for a, b in both if name in a and name in b])
        if len(values):
            interval = mean_interval(values)
            clear = interval is not None and not interval[0] <= 0 <= interval[1]
            scores[name] = {**_figure(values, interval), "clear": clear}
    return {"run": run.name, "against": against.name, "pairs": len(shared), "scores": scores}


def keyed(videos: Sequence[Video]) -> dict[Hashable, Video]:
    """Return videos by prompt, seed, and how often both came before: what belongs together in different runs."""
    count: Counter[tuple[str, int | None]] = Counter()
    found: dict[Hashable, Video] = {}
    for video in videos:
        pair = (video.prompt, video.seed)
        found[*pair, count[pair]] = video
        count[pair] += 1
    return found


def overall(videos: Sequence[Video], measures: Sequence[Measure]) -> list[float]:
    """Return a number in [0, 1] per video by which they can be put in order, the worst first.

    It is the mean rank over the measures that have a better side. A video of one colour, or one of Moving Shapes that
    does not show its prompt, comes before all others whatever its ranks.
    """
    places: list[list[float]] = [[] for _ in videos]
    for measure in measures:
        having = [i for i, video in enumerate(videos) if measure.better and measure.name in video.scores]
        values = np.array([videos[i].scores[measure.name] * measure.better for i in having])
        ordered = np.sort(values)
        rank = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") - 1
        for i, place in zip(having, rank / 2 / max(len(having) - 1, 1), strict=True):
            places[i].append(float(place))
    return [
        (float(np.mean(place)) if place else 0.0) / 2 + (0.0 if _is_flawed(video) else 0.5)
        for video, place in zip(videos, places, strict=True)
    ]


def names_of(folders: Sequence[str]) -> list[str]:
    """Return for each path the shortest end of it that no other path has; a path given twice is numbered."""
    parts = [tuple(part for part in folder.split("/") if part not in ("", ".")) or (folder,) for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(set(parts)):
            break
    return [name if names.count(name) == 1 else f"{name} #{names[: i + 1].count(name)}" for i, name in enumerate(names)]


def _figure(values: np.ndarray, interval: tuple[float, float] | None) -> dict[str, Any]:
    return {"mean": float(values.mean()), "interval": list(interval) if interval else None, "videos": len(values)}


def _is_flawed(video: Video) -> bool:
    wrong = video.verdict is not None and not video.verdict["correct"]
    return bool(video.error) or wrong or video.scores.get("constant") == 1.0
