"""What a stage must offer to be trained, and what it is given to offer it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from videogen_cli.data.datasets import ClipDataset


@dataclass(frozen=True)
class Trainable:
    """A component of which only the parameters whose names ``keep`` accepts are trained and saved."""

    cell: Any
    keep: Callable[[str], bool] = lambda _: True
    rename: Callable[[str], str] = str  # parameter name -> name in checkpoints
    beside: Mapping[str, np.ndarray] = field(default_factory=dict)  # constants that checkpoints hold too, by name
    metadata: Mapping[str, str] = field(default_factory=dict)  # of the component's files


class Objective(Protocol):
    """Batches, a loss, and ways to look at progress. The trainer knows nothing else of a system."""

    @property
    def trainable(self) -> Mapping[str, Any]:
        """Component name -> cell (or :class:`Trainable`) whose parameters train."""
        ...

    @property
    def loss(self) -> Any:
        """The cell ``construct(*batch) -> loss`` or ``-> (loss, *scalars)``; it contains the trainable cells."""
        ...

    @property
    def scalar_names(self) -> tuple[str, ...]:
        """Names of the scalars beside the loss, in order."""
        ...

    def batch(self, step: int, micro: int, rank: int) -> tuple[np.ndarray, ...]:
        """Return one micro-batch: a pure function of its arguments and the seed.

        It is called ahead of time in a background thread, so it must leave MindSpore alone. Shapes and dtypes are
        the same for every step, or the step is compiled again.
        """
        ...

    def sample_ids(self, step: int, micro: int, rank: int) -> list[Any]:
        """Return what identifies the samples of a micro-batch, for error reports."""
        ...

    def validate(self, step: int) -> dict[str, float]:
        """Measure the weights now in the cells (the averaged ones if there is an EMA); a pure function of them."""
        ...

    def preview(self, folder: Path, step: int) -> list[Path]:
        """Write something to look at into ``folder`` and return the files."""
        ...


@dataclass(frozen=True)
class StageContext:
    """What a stage is given: config, networks with weights, where its weights came from, its place among ranks."""

    config: Any
    cells: Mapping[str, Any]
    weights: Mapping[str, str]
    output: Any
    rank: int = 0
    world: int = 1
    folder: Path | None = None  # of the run
    adapters: Mapping[str, Path] = field(default_factory=dict)  # files given for adapters and beside them, by name

    def dataset(self) -> ClipDataset:
        """Return the clips that the config names, all checked; refused rows are listed in the run's folder.

        Raises:
            DataError: no row is usable, or too many are not.
        """
        config, quarantine = self.config, self.folder and self.rank == 0 and self.folder / "refused.jsonl"
        with self.output.progress("checking clips") as bar:
            dataset = ClipDataset(config.data, config.seed, quarantine=quarantine or None, progress=bar.at)
        if dataset.bad:
            where = f": {quarantine}" if quarantine else ""
            self.output.warn(f"{len(dataset.bad)} of {len(dataset.bad) + len(dataset)} rows cannot be used{where}")
        return dataset
