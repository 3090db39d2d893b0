"""The optimizer in MindSpore's operators, as one graph over flat float32 state: for every device and type of parameter.

This module imports MindSpore; the device must have been started.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import ops

from videogen_cli.config import TrainConfig
from videogen_cli.runtime.cells import Cell
from videogen_cli.train.layout import Layout, Parts
from videogen_cli.train.norm import squared_norm

_adam, _assign, _cast, _concat = ops.Adam(), ops.Assign(), ops.Cast(), ops.Concat()
_descend, _each, _reshape, _slice = ops.ApplyGradientDescent(), ops.HyperMap(), ops.Reshape(), ops.Slice()


class FlatOptimizer:
    """Keeps float32 weights of its own beside the parameters, which may be of another type."""

    flat = True

    def __init__(self, config: TrainConfig, layout: Layout, parameters: list[Any]) -> None:
        self.layout = layout
        weights = layout.gather(parameter.asnumpy() for parameter in parameters)
        self.update: Any = Update(config, layout, parameters, weights)
        self.scatter: Any = Scatter(layout, parameters)

    def add(self, total: Any, gradient: Any) -> Any:
        """Add on the device."""
        return gradient if total is None else total + gradient

    def step(self, gradient: Any, stats: Any, hyper: np.ndarray) -> np.ndarray:
        """Run the graph of the update."""
        return self.update(gradient, stats, ms.Tensor(hyper, ms.float32)).asnumpy().astype(np.float64)

    def state(self) -> dict[str, Parts]:
        """Split the vectors."""
        return {name: self.layout.split(vector.asnumpy()) for name, vector in self._vectors().items()}

    def load(self, state: Mapping[str, Parts]) -> None:
        """Join the vectors."""
        for name, vector in self._vectors().items():
            vector.set_data(ms.Tensor(self.layout.join(state[name])))
        self.use_trained()

    def use_average(self) -> None:
        """Overwrite the parameters."""
        if self.update.averages:
            self.scatter(self.update.average)

    def use_trained(self) -> None:
        """Overwrite the parameters."""
        self.scatter(self.update.weights)

    def _vectors(self) -> dict[str, Any]:
        names = ["weights", "first_moment", "second_moment"] + ["average"] * self.update.averages
        return {name: getattr(self.update, name) for name in names}


class Update(Cell):
    """``construct(gradient (size,), stats, hyper (8,)) -> report (2 + stats,)``: gradient norm, finite (1 or 0), stats.

    The norm is of the mean gradient before clipping. When it or the loss is not finite, nothing changes.
    """

    def __init__(self, config: TrainConfig, layout: Layout, parameters: list[Any], weights: np.ndarray) -> None:
        super().__init__()
        self.decays, self.averages = config.weight_decay > 0, config.ema_decay > 0
        self.weights = _state("weights", weights)
        self.first_moment = _state("first_moment", np.zeros_like(weights))
        self.second_moment = _state("second_moment", np.zeros_like(weights))
        if self.averages:
            self.average = _state("average", weights)
        self.size = layout.size
        kept = layout.named(config.undecayed)
        self.decayed = ms.Tensor(layout.spread(1.0 - kept)) if kept.any() else None
        shares = layout.factors(config.rate_factors)
        self.shares = None if (shares == 1.0).all() else ms.Tensor(layout.spread(shares))
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


class Scatter(Cell):
    """``construct(flat (size,))`` writes a flat vector into the networks' parameters, cast to their dtypes."""

    def __init__(self, layout: Layout, parameters: list[Any]) -> None:
        super().__init__()
        self.parameters = ms.ParameterTuple(parameters)
        self.offsets = tuple(slot.offset for slot in layout.slots)

    def construct(self, flat: Any) -> Any:
        """Overwrite every parameter."""
        _each(ops.partial(_put, flat), self.parameters, self.offsets)
        return flat[0]


def _put(flat: Any, parameter: Any, offset: int) -> Any:
    part = _slice(flat, (offset,), (parameter.size,))
    return _assign(parameter, _cast(_reshape(part, parameter.shape), parameter.dtype))


def _state(name: str, value: np.ndarray) -> Any:
    """Return a parameter of the trainer itself that no gradient reaches."""
    return ms.Parameter(ms.Tensor(value), name=f"trainer.{name}", requires_grad=False)
