"""The one training loop: every system, every stage."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli import __version__
from videogen_cli.config import TrainConfig
from videogen_cli.errors import NonFiniteError, UsageError
from videogen_cli.train import checkpoints, identity
from videogen_cli.train.loss_scale import LossScale
from videogen_cli.train.metrics import Metrics
from videogen_cli.train.objective import Objective
from videogen_cli.train.parallel import Ranks
from videogen_cli.train.prefetch import prefetch
from videogen_cli.train.progress import Progress, TrainSummary
from videogen_cli.train.schedule import learning_rate
from videogen_cli.train.stopping import Stopper


class Trainer:
    """Trains an objective's components until ``config.max_steps``, saving on the way.

    Args:
        objective: batches, loss, validation, previews.
        config: the loop's settings.
        seed: of the run; the objective's randomness must follow from it.
        dtype: compute dtype (``fp32``, ``fp16``, ``bf16``); decides whether the loss is scaled.
        output_dir: gets ``metrics.jsonl``, ``checkpoints/``, ``previews/`` and ``tensorboard/``.
        output: where people are told how it goes.
        rank: this process among the data-parallel ones; rank 0 writes the files.
        world: how many data-parallel processes there are.
        run_config: nested config values that must be the same on resume, such as the model's, the stage's and the
            data's (``train`` and ``seed`` are added); keys that change no number of the run are ignored.
        ranks: how the ranks meet; by all-reduce if not given.

    Raises:
        UsageError: a setting of the loop that no run can use.
    """

    def __init__(
        self,
        objective: Objective,
        config: TrainConfig,
        *,
        seed: int,
        dtype: str,
        output_dir: Path,
        output: Any,
        rank: int = 0,
        world: int = 1,
        run_config: Mapping[str, Any] | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        if config.epsilon <= 0:
            raise UsageError("must be above zero", where="train.epsilon")
        self.objective, self.config, self.output = objective, config, output
        self.folder = Path(output_dir)
        self.ranks = ranks or Ranks.connect(rank, world)
        self.loss_scale = LossScale.parse(config.loss_scale, dtype)
        self.metrics = Metrics(self.folder, tensorboard=config.tensorboard, quiet=rank > 0)
        self.stopper, self.progress = Stopper(), Progress()
        self._saved: Path | None = None
        own = {"seed": seed, "dtype": dtype, "world": world, "train": dataclasses.asdict(config)}
        self._essence = identity.essence({**(run_config or {}), **own})

    def run(self, resume: str | Path | None = None) -> TrainSummary:
        """Train, from the start or from a checkpoint (``auto``: the newest of this run, if there is one).

        The device must have been started.

        Raises:
            UsageError: the checkpoint belongs to a run with another config, or there is none where named.
            WeightsError: the checkpoint is damaged.
            NonFiniteError: too many steps in a row were not finite.
            DiskError: a file could not be written.
            Terminated: SIGTERM arrived; the run was saved (KeyboardInterrupt for SIGINT).
        """
        from videogen_cli.train.engine import Engine

        began = time.monotonic()
        self.engine = Engine(self.objective, self.config, self.ranks)
        self._essence |= self.engine.layout.describe()
        with self.stopper.listening(), contextlib.closing(self.metrics):
            self._resume(resume)
            seen = {line["kind"] for line in self.metrics.begin(self.progress.step) if self._is_now(line)}
            if self.progress.step and self._look(skip=seen) and self._stopping():
                self._leave()
            self._loop()
        done = self.progress
        if self._saved is None:
            raise UsageError(f"there is nothing to do in {self.config.max_steps} steps", where="train.max_steps")
        seconds = time.monotonic() - began
        return TrainSummary(done.step, seconds, done.loss, done.average_loss, done.skipped, self._saved)

    # -- the loop

    def _loop(self) -> None:
        config, first = self.config, self.progress.step
        keys = ((step,) for step in range(first, config.max_steps))
        with (
            contextlib.closing(prefetch(self._batches, keys)) as batches,
            self.output.progress("training", config.max_steps - first) as bar,
        ):
            began = time.monotonic()
            for batch in batches:
                waited = time.monotonic() - began
                self._step(batch, waited, first=self.progress.step == first)
                bar.update(f"loss {self.progress.average_loss:.4f}")
                bar.advance(1)
                self._after_step()
                began = time.monotonic()

    def _batches(self, step: int) -> list[tuple[np.ndarray, ...]]:
        micros = range(self.config.accumulation)
        return [self.objective.batch(step, micro, self.ranks.rank) for micro in micros]

    def _step(self, batches: list[tuple[np.ndarray, ...]], waited: float, *, first: bool) -> None:
        done, began = self.progress, time.monotonic()
        rate, scale = learning_rate(done.step, self.config), self.loss_scale.value
        with self._compiling() if first else contextlib.nullcontext():
            norm, finite, loss, *scalars = self.engine.step(batches, rate, done.updates, scale).tolist()
        self.stopper.graph_called()
        done.note(loss, bool(finite))
        self.loss_scale.update(bool(finite))
        values = {"loss": loss, **dict(zip(self.objective.scalar_names, scalars, strict=True))}
        values |= {"average_loss": done.average_loss, "learning_rate": rate, "grad_norm": norm}
        values |= {"loss_scale": scale, "skipped": done.skipped}
        if not finite:
            self._report_skipped(values)
        elif done.step % self.config.log_every == 0 or done.step == self.config.max_steps:
            spent = {"step_seconds": time.monotonic() - began, "data_seconds": waited}
            self.metrics.write(done.step, "train", values, spent)

    def _compiling(self) -> Any:
        from videogen_cli.runtime.context import compiling

        return compiling("the training step", self.output)

    def _report_skipped(self, values: dict[str, Any]) -> None:
        """Name a non-finite step and its samples; stop when there were too many in a row."""
        done = self.progress
        micros = range(self.config.accumulation)
        samples = [s for m in micros for s in self.objective.sample_ids(done.step - 1, m, self.ranks.rank)]
        self.metrics.write(done.step, "skipped", {**values, "samples": samples})
        named = f"step {done.step}: loss {values['loss']}, gradient norm {values['grad_norm']}, samples {samples}"
        if done.skipped_in_a_row >= self.config.max_non_finite:
            hint = "The weights are those of the last finite step. Look at the samples, or lower train.learning_rate."
            raise NonFiniteError(f"{done.skipped_in_a_row} steps in a row were not finite", where=named, hint=hint)
        self.output.warn(f"{named}: not finite, step skipped")

    def _after_step(self) -> None:
        """Save, look and stop, whichever is due."""
        step, config = self.progress.step, self.config
        stopping = self._stopping()
        if stopping or step % config.checkpoint_every == 0 or step == config.max_steps:
            self._save()
        if stopping or (self._look() and self._stopping()):
            self._leave()

    # -- stopping

    def _stopping(self) -> bool:
        return self.ranks.any_rank(self.stopper.requested)

    def _leave(self) -> None:
        self._save()
        self.stopper.leave(str(self._saved))

    # -- looking: validation and previews, with averaged weights

    def _look(self, skip: set[str] = frozenset()) -> bool:  # type: ignore[assignment]
        """Validate and preview if it is the time for it; return whether it was. A signal cuts it short."""
        step, config = self.progress.step, self.config
        every = {"validation": config.validate_every, "preview": config.preview_every}
        due = [kind for kind, cadence in every.items() if cadence and step % cadence == 0 and kind not in skip]
        if due and self.ranks.rank == 0:
            self.engine.use_average()
            try:
                with self.stopper.interruptible():
                    for kind in due:
                        self.metrics.write(step, kind, getattr(self, f"_{kind}")(step))
            finally:
                self.engine.use_trained()
        return bool(due)

    def _validation(self, step: int) -> dict[str, Any]:
        return self.objective.validate(step)

    def _preview(self, step: int) -> dict[str, Any]:
        folder = self.folder / "previews"
        folder.mkdir(parents=True, exist_ok=True)
        files = [path.relative_to(self.folder) for path in self.objective.preview(folder, step)]
        return {"files": [str(path) for path in files]}

    # -- saving and resuming

    def _is_now(self, line: dict[str, Any]) -> bool:
        return line["step"] == self.progress.step

    @property
    def _checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def _save(self) -> None:
        """Write a checkpoint of the state now, unless it is on disk already."""
        target = self._checkpoints / f"step-{self.progress.step}"
        if self._saved == target:
            return
        if self.ranks.rank == 0:
            self.metrics.sync()
            keep, trainable = self.config.keep_checkpoints, self.objective.trainable
            checkpoints.save(self._checkpoints, self.engine.state(), self._state(), keep=keep, trainable=trainable)
        self._saved = target

    def _state(self) -> dict[str, Any]:
        return {
            **dataclasses.asdict(self.progress),
            "loss_scale": dataclasses.asdict(self.loss_scale),
            "components": self.engine.layout.components,
            "config": self._essence,
            "config_hash": identity.digest(self._essence),
            "versions": {"vgen": __version__, "numpy": np.__version__, "mindspore": self.engine.mindspore_version},
        }

    def _resume(self, resume: str | Path | None) -> None:
        if self.ranks.rank == 0:
            checkpoints.clean(self._checkpoints)
        path = checkpoints.find(resume, self._checkpoints, self.output.warn)
        if path is None:
            return
        saved = checkpoints.read(path)
        identity.require_same(saved.state["config"], self._essence, str(path))
        self.engine.load(saved.vectors)
        names = [field.name for field in dataclasses.fields(Progress)]
        self.progress = Progress(**{name: saved.state[name] for name in names})
        self.loss_scale = LossScale(**saved.state["loss_scale"])
        self._saved = path
        self.output.info(f"resumed from {path}")
