"""Loss scaling: fp16 gradients are lifted above underflow before backward and lowered after it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from videogen_cli.errors import UsageError

GROWTH = 2.0  # factor after GROWTH_INTERVAL good steps in a row; its inverse after a bad one
GROWTH_INTERVAL = 1000
START, SMALLEST, LARGEST = 2.0**16, 1.0, 2.0**24


@dataclass
class LossScale:
    """A factor of two to the loss. A dynamic one falls at an overflow and rises again after many good steps."""

    value: float = 1.0
    dynamic: bool = False
    good_steps: int = 0

    @classmethod
    def parse(cls, text: str, dtype: str) -> LossScale:
        """Read ``train.loss_scale``: ``auto`` (dynamic for fp16, else none), ``none``, or a positive number.

        Raises:
            UsageError: the text is none of these.
        """
        if text == "none" or (text == "auto" and dtype != "fp16"):
            return cls()
        if text == "auto":
            return cls(START, dynamic=True)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise UsageError(
                f"'{text}' is not a loss scale", where="train.loss_scale", hint="Use auto, none, or a positive number."
            )
        return cls(value)

    def update(self, finite: bool) -> None:
        """Take note of how a step went."""
        if not self.dynamic:
            return
        self.good_steps = self.good_steps + 1 if finite else 0
        if not finite:
            self.value = max(SMALLEST, self.value / GROWTH)
        elif self.good_steps == GROWTH_INTERVAL:
            self.value, self.good_steps = min(LARGEST, self.value * GROWTH), 0
