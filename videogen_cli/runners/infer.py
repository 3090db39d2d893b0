"""``vgen infer``: prompts in, one video file and one ``results.jsonl`` line per video out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.config import config_hash
from videogen_cli.data.parallel import in_background
from videogen_cli.data.video import write_video
from videogen_cli.errors import DataError, NonFiniteError
from videogen_cli.files import disk_errors, write_text
from videogen_cli.metrics.video_quality import is_constant
from videogen_cli.output import Output, Progress
from videogen_cli.runners.plan import Plan, pipeline_type
from videogen_cli.runners.prompts import Prompt, read_prompts
from videogen_cli.runners.requests import InferRequest
from videogen_cli.runners.session import Session, config_yaml, default_output_dir, open_session

PENDING = 4  # videos that may wait to be written while others are sampled


@dataclass(frozen=True)
class Job:
    """One video to make."""

    name: str
    prompt: str
    seed: int


def run(request: InferRequest, plan: Plan, output: Output) -> list[dict[str, Any]]:
    """Make the videos a request asks for.

    Returns:
        One record per video, as written to ``results.jsonl``.

    Raises:
        VgenError: bad prompts, missing weights, a device that is not there, a full disk, non-finite latents.
    """
    kind = pipeline_type(plan)
    kind.check(plan.config)
    saved = _saved_latents(request.from_latents) if request.from_latents else None
    jobs = [job for job, _ in saved] if saved else _jobs(read_prompts(request), plan.config)
    folder = Path(request.output_dir) if request.output_dir else default_output_dir(plan.spec.name)
    needed = getattr(kind, "decoding_components", None) if saved else None
    session = open_session(plan, output, only=needed or plan.spec.sampling_components)
    write_text(folder / "config.yaml", config_yaml(plan.config))
    pipeline = kind(plan.config, session.cells)
    _compile(plan, pipeline, session, len(jobs), decode_only=bool(saved))
    if not saved:
        _warn_truncated(jobs, pipeline, output)
    write_text(folder / "results.jsonl", "")
    writer = ResultWriter(folder, plan.config, session.weights, output)
    with output.progress(f"{plan.spec.name}: sampling", len(jobs)) as progress, in_background(PENDING) as submit:
        for batch, latents, seconds in _latents(jobs, saved, pipeline, plan.config, progress):
            _require_finite(latents, batch)
            for job, latent in zip(batch, latents, strict=True):
                began = time.perf_counter()
                if request.save_latents:
                    writer.save_latents(job, latent)
                frames = pipeline.decode(latent[None])[0]
                submit(writer.write, job, frames, seconds / len(batch) + time.perf_counter() - began)
                progress.advance(1)
    output.summary(f"{len(jobs)} video{'s' * (len(jobs) != 1)}", writer.summary_rows())
    return writer.records


def _compile(plan: Plan, pipeline: Any, session: Session, jobs: int, *, decode_only: bool) -> None:
    """Compile before the clock runs, or take the graphs of an earlier run with inputs of the same shapes."""
    from videogen_cli.runtime import graphs

    sample, count = plan.config.sample, min(plan.config.sample.batch_size, jobs)
    sizes = (count, sample.num_frames, sample.height, sample.width, getattr(pipeline, "decode_batch", None))
    params = [asdict(getattr(plan.config, name)) for name in plan.spec.sampling_components]
    graphs.keep(plan.spec.name, params, sizes, sample.sampler, sample.guidance_scale == 1.0, decode_only)
    with session.compiling("the networks"):
        latents = np.zeros((1, *pipeline.latent_shape), np.float32)
        if not decode_only:
            steps, sample.num_inference_steps = sample.num_inference_steps, 1
            latents = pipeline.sample([""] * count, range(count))[:1]
            sample.num_inference_steps = steps
        pipeline.decode(latents)


def _jobs(prompts: Sequence[Prompt], config: Any) -> list[Job]:
    """Number the videos: each has its own seed, counted up from the config's."""
    count = config.sample.num_videos
    jobs = []
    for prompt in prompts:
        for copy in range(count):
            name = f"{prompt.id}-{copy}" if count > 1 else prompt.id
            jobs.append(Job(name, prompt.text, config.seed + len(jobs)))
    return jobs


def _latents(
    jobs: Sequence[Job], saved: list[tuple[Job, Path]] | None, pipeline: Any, config: Any, progress: Progress
) -> Iterator[tuple[list[Job], np.ndarray, float]]:
    """Yield (jobs, latents (b c f h w), seconds): read from files, or sampled in batches of one size.

    The last batch is filled up with repetitions, so that a graph is compiled for one shape only.
    """
    if saved:
        for job, path in saved:
            yield [job], _read_latents(path, pipeline.latent_shape)[None], 0.0
        return
    size = min(config.sample.batch_size, len(jobs))
    for first in range(0, len(jobs), size):
        batch = list(jobs[first : first + size])
        filled = batch + [batch[-1]] * (size - len(batch))
        began = time.perf_counter()
        latents = pipeline.sample(
            [job.prompt for job in filled],
            [job.seed for job in filled],
            lambda step, total, _: progress.update(f"step {step + 1}/{total}"),
        )
        yield batch, latents[: len(batch)], time.perf_counter() - began


def _require_finite(latents: np.ndarray, batch: Sequence[Job]) -> None:
    for job, latent in zip(batch, latents, strict=True):
        if not np.isfinite(latent).all():
            hint = "Use device.dtype=fp32, or check the weights with 'vgen convert --check'."
            raise NonFiniteError("sampling gave NaN or infinity", where=f"prompt '{job.prompt[:60]}'", hint=hint)


def _warn_truncated(jobs: Sequence[Job], pipeline: Any, output: Output) -> None:
    for prompt in dict.fromkeys(job.prompt for job in jobs):
        if pipeline.tokenizer.truncated(prompt):
            output.warn(f"the prompt '{prompt[:40]}...' is longer than the text tower reads; its end is ignored")


def _saved_latents(folder: str | Path) -> list[tuple[Job, Path]]:
    """Read which latents a folder of an earlier ``--save-latents`` run holds."""
    listing = Path(folder) / "results.jsonl"
    if not listing.is_file():
        raise DataError(
            "there is no results.jsonl in this folder", where=str(folder), hint="Make it with --save-latents."
        )
    found = []
    for number, line in enumerate(listing.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            record = json.loads(line) if line.strip() else {}
            if record.get("latents"):
                job = Job(Path(record["file"]).stem, str(record["prompt"]), int(record["seed"]))
                found.append((job, Path(folder) / record["latents"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = "is not what 'vgen infer --save-latents' writes"
            raise DataError(what, where=f"{listing}, line {number}") from error
    if not found:
        raise DataError(
            "no video in this folder has saved latents", where=str(folder), hint="Make it with --save-latents."
        )
    return found


def _read_latents(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        latents = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the latents: {error}", where=str(path)) from error
    if latents.ndim != len(shape) or latents.shape[0] != shape[0]:
        raise DataError(f"latents have shape {latents.shape}, this model needs (c f h w) like {shape}", where=str(path))
    return latents.astype(np.float32)


class ResultWriter:
    """Writes videos and their records into one folder."""

    def __init__(self, folder: Path, config: Any, weights: dict[str, str], output: Output) -> None:
        self.folder, self.config, self.weights, self.output = folder, config, weights, output
        self.hash = config_hash(config)
        self.records: list[dict[str, Any]] = []
        self._latents: dict[str, str] = {}

    def save_latents(self, job: Job, latents: np.ndarray) -> None:
        """Save one video's latents (c f h w), so that decoding can be done again or elsewhere."""
        path = self.folder / "latents" / f"{job.name}.npy"
        write_video(path, latents, 0, "npy")
        self._latents[job.name] = str(path.relative_to(self.folder))

    def write(self, job: Job, frames: np.ndarray, seconds: float) -> None:
        """Write one video (f h w 3) and its record."""
        sample = self.config.sample
        path = write_video(self.folder / f"{job.name}.{sample.format}", frames, sample.fps, sample.format)
        if is_constant(frames):
            self.output.warn(f"{path.name}: the whole video has one colour")
        record = {
            "file": path.name,
            "prompt": job.prompt,
            "seed": job.seed,
            "frames": len(frames),
            "fps": sample.fps,
            "height": frames.shape[1],
            "width": frames.shape[2],
            "steps": sample.num_inference_steps,
            "seconds": round(seconds, 3),
            "config_hash": self.hash,
            "weights": self.weights,
        }
        if job.name in self._latents:
            record["latents"] = self._latents[job.name]
        with disk_errors(self.folder), open(self.folder / "results.jsonl", "a", encoding="utf-8") as listing:
            listing.write(json.dumps(record) + "\n")
        self.records.append(record)
        self.output.result(record)

    def summary_rows(self) -> list[tuple[str, str]]:
        """Say what was written and how long it took."""
        seconds = [r["seconds"] for r in self.records]
        where = ("video", str(self.folder / self.records[0]["file"]))
        if len(self.records) > 1:
            where = ("folder", str(self.folder))
        return [where, ("seconds per video", f"{np.mean(seconds):.2f}")]
