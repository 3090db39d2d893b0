"""What the trainer asks of an optimizer, and which one serves it.

All are AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", arXiv 1711.05101, algorithm 2) in the form
of ``torch.optim.AdamW``: epsilon is added after the bias correction, and the decay is multiplied by the learning rate.
This module imports MindSpore; the device must have been started.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import mindspore as ms
import numpy as np

from videogen_cli.config import TrainConfig
from videogen_cli.runtime.kernels.build import library
from videogen_cli.train.layout import Layout, Parts
from videogen_cli.train.schedule import average_decay, betas


class Optimizer(Protocol):
    """The trained weights, their moments and average, and what changes them."""

    flat: bool  # whether gradients should come as one vector

    def add(self, total: Any, gradient: Any) -> Any:
        """Return the sum of a flat gradient (None: nothing yet) and a micro-batch's, as a flat tensor (size,)."""
        ...

    def step(self, gradient: Any, stats: Any, hyper: np.ndarray) -> np.ndarray:
        """Make one update and return gradient norm, finite (1 or 0) and stats: float64 (2 + stats,).

        The norm is of the mean gradient before clipping. When it or the loss is not finite, nothing changes.

        Args:
            gradient: a tensor (size,); or a tuple of the parameters' own, unless ``flat``.
            stats: a tensor of numbers, the loss first.
            hyper: the step's numbers, see :func:`hyperparameters`.
        """
        ...

    def state(self) -> dict[str, Parts]:
        """Return ``weights``, ``first_moment``, ``second_moment``, ``average`` (if any): valid until the next step."""
        ...

    def load(self, state: Mapping[str, Parts]) -> None:
        """Put a state in place, and its weights into the networks."""
        ...

    def use_average(self) -> None:
        """Put the averaged weights into the networks, for looking at them; nothing if there is no average."""
        ...

    def use_trained(self) -> None:
        """Put the trained weights back into the networks."""
        ...


def make_optimizer(config: TrainConfig, layout: Layout, parameters: list[Any]) -> Optimizer:
    """Return what trains ``parameters``, in the order of ``layout``, from their values now.

    Where parameters are float32 in the host's memory and kernels are compiled, they are changed where they are.
    """
    on_host = ms.get_context("device_target") == "CPU" and library().path is not None
    if on_host and all(parameter.dtype == ms.float32 for parameter in parameters):
        from videogen_cli.train.in_place import InPlaceOptimizer

        return InPlaceOptimizer(config, layout, parameters)
    from videogen_cli.train.flat import FlatOptimizer

    return FlatOptimizer(config, layout, parameters)


def hyperparameters(config: TrainConfig, rate: float, updates: int, unscale: float) -> np.ndarray:
    """Return a step's numbers, float64 (8,).

    ``updates`` is how many updates were made before; ``unscale`` is what the summed gradient is multiplied by to get
    the mean one. Order: ``unscale``, clipping norm, beta1, beta2, Adam's rate with the bias corrections folded in,
    the epsilon that goes with it, the weights' factor (decay), the share of the new weights in the average.
    """
    beta1, beta2 = betas(updates, config)
    first = 1.0 - beta1 ** (updates + 1)
    second = math.sqrt(1.0 - beta2 ** (updates + 1))
    values = (
        unscale,
        config.clip_norm or math.inf,
        beta1,
        beta2,
        rate * second / first,
        config.epsilon * second,
        1.0 - rate * config.weight_decay,
        1.0 - average_decay(updates, config.ema_decay, config.ema_rise),
    )
    return np.array(values)
