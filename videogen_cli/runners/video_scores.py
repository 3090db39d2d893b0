"""Scores of finished videos by the networks that a model declares as scorers, one network at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from videogen_cli.data.generated import Candidate, read_candidate
from videogen_cli.data.parallel import ordered_map
from videogen_cli.errors import NetworkError, NonFiniteError, UsageError, VgenError, did_you_mean
from videogen_cli.metrics.comparison import Video
from videogen_cli.metrics.video_quality import Measure
from videogen_cli.registry import ModelSpec, ScorerSpec, load_attr

if TYPE_CHECKING:
    from videogen_cli.output import Output
    from videogen_cli.runners.plan import Plan

BATCH = 8  # videos given to a scorer at once


class Scorer(Protocol):
    """What a :class:`ScorerSpec` builds from a config and its component's network, ``{component: cell}``."""

    measures: tuple[Measure, ...]

    def score(self, videos: np.ndarray, prompts: Sequence[str]) -> Mapping[str, np.ndarray]:
        """Return every measure (b,) of videos of one size, uint8 (b f h w 3), made from ``prompts``.

        Raises:
            UsageError: videos of this size cannot be scored.
        """
        ...


@dataclass(frozen=True)
class Scored:
    """What scorers did: the measures they gave, and those that were left out (``{"name", "reason"}``)."""

    measures: tuple[Measure, ...] = ()
    skipped: tuple[dict[str, str], ...] = ()


def choose(model: ModelSpec, words: str) -> list[ScorerSpec]:
    """Return the scorers that ``all``, ``none``, or names with commas between mean.

    Raises:
        UsageError: the model has no scorer of that name.
    """
    if words in ("all", "none"):
        return list(model.scorers) if words == "all" else []
    known = {scorer.name: scorer for scorer in model.scorers}
    names = [name.strip() for name in words.split(",") if name.strip()]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or f"{model.name} has none."
            raise UsageError(f"{model.name} has no scorer '{name}'", where="--scorers", hint=hint)
    return [known[name] for name in dict.fromkeys(names)]


def score_videos(
    plan: Plan,
    scorers: Sequence[ScorerSpec],
    videos: Sequence[tuple[Video, Candidate]],
    timeout: float,
    workers: int,
    output: Output,
) -> Scored:
    """Add each scorer's measures to ``videos``, which can all be read. One without weights is passed over, aloud.

    Raises:
        VgenError: weights that are there cannot be used, the device is not there, or a score is not finite.
    """
    measures: list[Measure] = []
    skipped: list[dict[str, str]] = []
    for spec in scorers:
        reason = _missing(plan, spec)
        try:
            scorer = None if reason else _open(plan, spec, output)
        except NetworkError as error:
            scorer, reason = None, _one_line(error)
        if scorer is not None:
            measures += scorer.measures
            reason = _score(spec, scorer, videos, timeout, workers, output)
        if reason:
            output.warn(f"not scored by {spec.name}: {reason}")
            skipped.append({"name": spec.name, "reason": reason})
    return Scored(tuple(measures), tuple(skipped))


def _missing(plan: Plan, spec: ScorerSpec) -> str:
    """Return why a scorer has no weights and how to get them, or nothing; a file that was named must be there."""
    from videogen_cli.weights.published import is_published
    from videogen_cli.weights.store import ASSET, locate

    uri = plan.config.weights.get(spec.key)
    if not uri:
        return f"there are no weights for {spec.key}; {spec.hint or f'give --set weights.{spec.key}=FILE'}"
    if not uri.startswith(ASSET) and not is_published(uri):
        return ""
    try:
        if plan.offline or not is_published(uri):
            locate(uri)
    except VgenError as error:
        return _one_line(error)
    return ""


def _open(plan: Plan, spec: ScorerSpec, output: Output) -> Scorer:
    """Load the scorer's network, and no other, with the weights it is to have."""
    from videogen_cli.runners.session import open_session

    weights = {**plan.config.weights, spec.component: plan.config.weights[spec.key]}
    config = replace(plan.config, weights=weights)
    plan = replace(plan, resolved=replace(plan.resolved, config=config))
    session = open_session(plan, output, only=(spec.component,))
    return load_attr(spec.build)(config, session.cells)


def _score(
    spec: ScorerSpec,
    scorer: Scorer,
    videos: Sequence[tuple[Video, Candidate]],
    timeout: float,
    workers: int,
    output: Output,
) -> str:
    """Score all videos; return how many could not be and why, or nothing."""
    refused, why = 0, ""
    with output.progress(f"scoring by {spec.name}", len(videos)) as progress:
        for batch, frames in _batches(videos, timeout, workers):
            try:
                found = scorer.score(frames, [video.prompt for video in batch])
            except UsageError as error:
                refused, why = refused + len(batch), error.what
                found = {}
            for name, values in found.items():
                for video, value in zip(batch, values, strict=True):
                    if not np.isfinite(value):
                        hint = "Use device.dtype=fp32, or check the weights with 'vgen convert --check'."
                        raise NonFiniteError(f"{spec.name} gave {value}", where=video.file, hint=hint)
                    video.scores[name] = float(value)
            progress.advance(len(batch))
    return f"{refused} of {len(videos)} videos: {why}" if refused else ""


def _batches(
    videos: Sequence[tuple[Video, Candidate]], timeout: float, workers: int
) -> Iterator[tuple[list[Video], np.ndarray]]:
    """Yield videos that follow each other and have one size, and their frames (b f h w 3)."""
    held: list[tuple[Video, np.ndarray]] = []
    decoded = ordered_map(lambda pair: read_candidate(pair[1], timeout).frames, videos, workers)
    for (video, _), frames in zip(videos, decoded, strict=True):
        if held and (len(held) == BATCH or held[0][1].shape != frames.shape):
            yield [one for one, _ in held], np.stack([shown for _, shown in held])
            held = []
        held.append((video, frames))
    if held:
        yield [one for one, _ in held], np.stack([shown for _, shown in held])


def _one_line(error: VgenError) -> str:
    return " ".join(f"{error.where + ': ' if error.where else ''}{error.what}. {error.hint or ''}".split())
