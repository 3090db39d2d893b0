"""The optimizer as compiled kernels on the parameters' own memory: a weight is kept once, and its gradient too.

On CPU MindSpore's tensors are memory of the host that ``asnumpy`` shows without a copy. This module imports MindSpore;
the device must have been started.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import mindspore as ms
import numpy as np

from videogen_cli.config import TrainConfig
from videogen_cli.runtime.kernels.optimizer import adamw, squared_norm
from videogen_cli.train.layout import Layout, Parts


class InPlaceOptimizer:
    """Trains float32 parameters in the host's memory; moments and average are numpy arrays."""

    flat = False

    def __init__(self, config: TrainConfig, layout: Layout, parameters: list[Any]) -> None:
        self.layout, self.parameters = layout, parameters
        self.moments = {name: np.zeros(layout.size, np.float32) for name in ("first_moment", "second_moment")}
        self.average = layout.gather(self._weights()) if config.ema_decay > 0 else None
        self.shares = layout.factors(config.rate_factors)
        self.decayed = self.shares * ~layout.named(config.undecayed)
        self._swapped = False  # whether weights and average are in each other's place

    def add(self, total: Any, gradient: Any) -> Any:
        """Add in the place of the total."""
        total = ms.Tensor.from_numpy(np.zeros(self.layout.size, np.float32)) if total is None else total
        for view, part in zip(self.layout.views(total.asnumpy()), gradient, strict=True):
            np.add(view, part.asnumpy(), out=view)
        return total

    def step(self, gradient: Any, stats: Any, hyper: np.ndarray) -> np.ndarray:
        """Measure the gradient, then update everything in one pass."""
        if isinstance(gradient, tuple):
            gradients = [part.asnumpy() for part in gradient]
        else:
            gradients = self.layout.views(gradient.asnumpy())
        seen = stats.asnumpy().astype(np.float64)
        norm = math.sqrt(squared_norm(gradients)) * hyper[0]
        finite = math.isfinite(norm) and math.isfinite(seen[0])
        if finite:
            self._advance(gradients, min(hyper[1] / (norm + 1e-6), 1.0), hyper)
        return np.array([norm, finite, *seen])

    def _advance(self, gradients: list[np.ndarray], clip: float, hyper: np.ndarray) -> None:
        unscale, _, beta1, beta2, rate, epsilon, factor, average_share = hyper.tolist()
        step = (unscale * clip, 1.0 - beta1, 1.0 - beta2, epsilon, average_share)
        state = [*self.moments.values()] + ([] if self.average is None else [self.average])
        # a component with a share of the rate goes that share of the way, decay included
        adamw(gradients, self._weights(), state, step, 1.0 - self.decayed * (1.0 - factor), self.shares * rate)

    def _weights(self) -> list[np.ndarray]:
        """Return the memory of the parameters, which may have been given other since the last step."""
        return [parameter.asnumpy() for parameter in self.parameters]

    def state(self) -> dict[str, Parts]:
        """Show the arrays."""
        state: dict[str, Parts] = {"weights": self.layout.group(self._weights())}
        state |= {name: self.layout.split(moment) for name, moment in self.moments.items()}
        if self.average is not None:
            state["average"] = self.layout.split(self.average)
        if self._swapped:
            state["weights"], state["average"] = state["average"], state["weights"]
        return state

    def load(self, state: Mapping[str, Parts]) -> None:
        """Overwrite the arrays."""
        for name, parts in self.state().items():
            for component, tensors in parts.items():
                for key, tensor in tensors.items():
                    tensor[...] = state[name][component][key]
        self.use_trained()

    def use_average(self) -> None:
        """Let weights and average change places, which takes no memory."""
        self._swap(True)

    def use_trained(self) -> None:
        """Let them change places again."""
        self._swap(False)

    def _swap(self, swapped: bool) -> None:
        if self.average is None or swapped == self._swapped:
            return
        for weight, average in zip(self._weights(), self.layout.views(self.average), strict=True):
            held = weight.copy()
            weight[...] = average
            average[...] = held
        self._swapped = swapped
