"""What a run remembers beside its vectors, and what it leaves behind."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

SMOOTHING = 0.98  # of the loss shown to people


@dataclass
class Progress:
    """Counters and losses of a run; saved in every checkpoint's ``state.json``."""

    step: int = 0  # steps done
    updates: int = 0  # steps that changed the weights
    skipped: int = 0  # steps that did not, being non-finite
    skipped_in_a_row: int = 0
    loss: float = math.nan  # of the last finite step
    average_loss: float = math.nan

    def note(self, loss: float, finite: bool) -> None:
        """Count a step."""
        self.step += 1
        if not finite:
            self.skipped += 1
            self.skipped_in_a_row += 1
            return
        self.updates += 1
        self.skipped_in_a_row = 0
        self.loss = loss
        first = math.isnan(self.average_loss)
        self.average_loss = loss if first else SMOOTHING * self.average_loss + (1 - SMOOTHING) * loss


@dataclass(frozen=True)
class TrainSummary:
    """How a run ended."""

    steps: int
    seconds: float  # of this process
    final_loss: float  # of the last finite step
    average_loss: float  # smoothed over about the last 50 steps
    skipped: int  # non-finite steps, over the whole run
    checkpoint: Path
