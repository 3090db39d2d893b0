"""Numbers that depend on the step alone: the learning rate and the decay of the weight average."""

from __future__ import annotations

import math

from videogen_cli.config import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the learning rate of a step (the first is 0).

    It rises linearly over ``warmup_steps``, reaching its peak at the last of them; then it stays (``constant``), or
    falls to ``end_learning_rate`` at the last step along a line (``linear``) or half a cosine (``cosine``).
    """
    peak, end, warmup = config.learning_rate, config.end_learning_rate, config.warmup_steps
    if step < warmup:
        return peak * (step + 1) / warmup
    if config.schedule == "constant":
        return peak
    share = min(1.0, (step - warmup) / max(1, config.max_steps - 1 - warmup))
    if config.schedule == "cosine":
        share = 0.5 * (1.0 - math.cos(math.pi * share))
    return peak + (end - peak) * share


def average_decay(updates: int, decay: float) -> float:
    """Return the EMA's decay at the update after ``updates`` others.

    It starts low, so that the average forgets the initial weights, and never exceeds ``decay``: (1 + n) / (10 + n),
    as TensorFlow's ExponentialMovingAverage does with ``num_updates``.
    """
    return min(decay, (1 + updates) / (10 + updates))
