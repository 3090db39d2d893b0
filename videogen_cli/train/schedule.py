"""Numbers that depend on the step alone: the learning rate, Adam's betas and the decay of the weight average."""

from __future__ import annotations

import math

from videogen_cli.config import CycleConfig, TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the learning rate of a step (the first is 0).

    It rises linearly over ``warmup_steps``, reaching its peak at the last of them (``warmup_from_zero``: at the first
    after them); then it stays (``constant``), or falls to ``end_learning_rate`` at the last step along a line
    (``linear``) or half a cosine (``cosine``). A ``one_cycle`` has rates of its own, see
    :class:`videogen_cli.config.CycleConfig`.
    """
    if config.schedule == "one_cycle":
        return _cycle_rate(step, config.cycle)
    peak, end, warmup = config.learning_rate, config.end_learning_rate, config.warmup_steps
    if step < warmup:
        return peak * (step if config.warmup_from_zero else step + 1) / warmup
    if config.schedule == "constant":
        return peak
    share = min(1.0, (step - warmup) / max(1, config.max_steps - 1 - warmup))
    if config.schedule == "cosine":
        share = 0.5 * (1.0 - math.cos(math.pi * share))
    return peak + (end - peak) * share


def betas(step: int, config: TrainConfig) -> tuple[float, float]:
    """Return Adam's betas at a step (the first is 0): the config's, unless a ``one_cycle`` moves them.

    The very first update has the least beta1 although its rate is the least too, as DeepSpeed starts its optimizers.
    """
    cycle = config.cycle
    if config.schedule != "one_cycle" or not cycle.cycle_betas:
        return config.beta1, config.beta2
    if step == 0:
        return cycle.min_beta1, cycle.beta2
    beta1 = cycle.max_beta1 - (cycle.max_beta1 - cycle.min_beta1) * _cycle_height(step, cycle)
    return beta1 * (1.0 + cycle.beta1_decay * _decayed(step, cycle)), cycle.beta2


def _cycle_rate(step: int, cycle: CycleConfig) -> float:
    rate = cycle.min_rate + (cycle.max_rate - cycle.min_rate) * _cycle_height(step, cycle)
    return rate / (1.0 + cycle.rate_decay * _decayed(step, cycle))


def _cycle_height(step: int, cycle: CycleConfig) -> float:
    """Return where a step is between the least rate (0) and the greatest (1)."""
    if step <= cycle.rise_steps:
        return step / max(1, cycle.rise_steps)
    return max(0.0, (cycle.rise_steps + cycle.fall_steps - step) / max(1, cycle.fall_steps))


def _decayed(step: int, cycle: CycleConfig) -> float:
    """Return how many times ``decay_steps`` have passed since the cycle's end."""
    after = step - cycle.rise_steps - cycle.fall_steps
    return after / cycle.decay_steps if cycle.decay_steps and after > 0 else 0.0


def average_decay(updates: int, decay: float, rise: str = "hyperbolic") -> float:
    """Return the EMA's decay at the update after ``updates`` others.

    Unless ``rise`` is ``none``, it starts low, so that the average forgets the initial weights, and never exceeds
    ``decay``: ``hyperbolic`` is (1 + n) / (10 + n), as TensorFlow's ExponentialMovingAverage does with
    ``num_updates``; ``exponential`` is ``decay`` (1 - exp(-(n + 1) / 2000)), as mindone's ``EMA`` does.
    """
    if rise == "hyperbolic":
        return min(decay, (1 + updates) / (10 + updates))
    return decay * (1.0 - math.exp(-(updates + 1) / 2000)) if rise == "exponential" else decay
