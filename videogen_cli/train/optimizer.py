"""AdamW with clipping, weight average and a finite gate, as one graph over flat float32 state.

Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (arXiv 1711.05101), algorithm 2, in the form of
``torch.optim.AdamW``: epsilon is added after the bias correction, and the decay is multiplied by the learning rate.
This module imports MindSpore; the device must have been started.
"""

from __future__ import annotations

import math
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import ops

from videogen_cli.config import TrainConfig
from videogen_cli.runtime.cells import Cell
from videogen_cli.train.layout import Layout
from videogen_cli.train.norm import squared_norm
from videogen_cli.train.schedule import average_decay, betas
from videogen_cli.train.step import Scatter, state_parameter

_adam, _assign, _concat = ops.Adam(), ops.Assign(), ops.Concat()
_descend = ops.ApplyGradientDescent()


def hyperparameters(config: TrainConfig, rate: float, updates: int, unscale: float) -> np.ndarray:
    """Return a step's numbers, float32 (8,), computed in double precision.

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
    return np.array(values, np.float32)


class Update(Cell):
    """``construct(gradient (size,), stats, hyper (8,)) -> report (2 + stats,)``: gradient norm, finite (1 or 0), stats.

    The norm is of the mean gradient before clipping. When it or the loss is not finite, nothing changes.
    """

    def __init__(self, config: TrainConfig, layout: Layout, parameters: list[Any], weights: np.ndarray) -> None:
        super().__init__()
        self.decays, self.averages = config.weight_decay > 0, config.ema_decay > 0
        self.weights = state_parameter("weights", weights)
        self.first_moment = state_parameter("first_moment", np.zeros_like(weights))
        self.second_moment = state_parameter("second_moment", np.zeros_like(weights))
        if self.averages:
            self.average = state_parameter("average", weights)
        self.size = layout.size
        kept = layout.naming(config.undecayed)
        self.decayed = ms.Tensor(1.0 - kept) if kept.any() else None
        shares = layout.spread(config.rate_factors)
        self.shares = None if (shares == 1.0).all() else ms.Tensor(shares)
        self.scatter: Any = Scatter(layout, parameters)

    def construct(self, gradient: Any, stats: Any, hyper: Any) -> Any:
        """Make one update, or none."""
        norm = ops.sqrt(squared_norm(gradient, self.size)[0]) * hyper[0]
        finite = ops.logical_and(ops.isfinite(norm), ops.isfinite(stats[0]))
        if finite:
            clip = ops.minimum(hyper[1] / (norm + 1e-6), 1.0)
            self._advance(gradient * (hyper[0] * clip), hyper)
        return _concat((norm.reshape(1), finite.astype(ms.float32).reshape(1), stats))

    def _advance(self, gradient: Any, hyper: Any) -> None:
        if self.shares is not None:
            held = self.weights * (1.0 - self.shares)
        else:
            held = None
        if self.decays:
            factor = hyper[6] if self.decayed is None else 1.0 - self.decayed * (1.0 - hyper[6])
            _assign(self.weights, self.weights * factor)
        # The bias corrections are in hyper[4] and hyper[5], so the kernel is told that there are none.
        _adam(
            self.weights, self.first_moment, self.second_moment,
            0.0, 0.0, hyper[4], hyper[2], hyper[3], hyper[5], gradient,
        )  # fmt: skip
        if held is not None:  # a component with a share of the rate goes that share of the way, decay included
            _assign(self.weights, self.weights * self.shares + held)
        if self.averages:
            _descend(self.average, hyper[7], self.average - self.weights)
        self.scatter(self.weights)
