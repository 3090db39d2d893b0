"""The state of a training run on the device, and the one operation on it: a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mindspore as ms
import numpy as np

from videogen_cli.config import TrainConfig
from videogen_cli.train.layout import lay_out
from videogen_cli.train.objective import Objective
from videogen_cli.train.optimizer import Update, hyperparameters
from videogen_cli.train.parallel import Ranks
from videogen_cli.train.step import Backward, Scatter

Parts = Mapping[str, Mapping[str, np.ndarray]]  # component -> parameter name -> array


class Engine:
    """Weights, moments and average as flat float32 vectors, and the compiled graphs that change them.

    This module imports MindSpore; the device must have been started.
    """

    def __init__(self, objective: Objective, config: TrainConfig, ranks: Ranks) -> None:
        self.config, self.ranks = config, ranks
        self.layout, parameters = lay_out(objective.trainable)
        weights = np.concatenate([parameter.asnumpy().astype(np.float32).ravel() for parameter in parameters])
        self.backward: Any = Backward(objective.loss, parameters)
        self.update: Any = Update(config, self.layout, parameters, weights)
        self.scatter: Any = Scatter(self.layout, parameters)
        objective.loss.set_train()

    @property
    def mindspore_version(self) -> str:
        """Return the version of MindSpore that runs this."""
        return ms.__version__

    def step(
        self, batches: Sequence[tuple[np.ndarray, ...]], rate: float, updates: int, loss_scale: float
    ) -> np.ndarray:
        """Make one update from micro-batches; return gradient norm, finite (1 or 0), loss and scalars (means)."""
        scale = ms.Tensor(loss_scale, ms.float32)
        gradient = stats = None
        for batch in batches:
            part, seen = self.backward(scale, *(ms.Tensor(array) for array in batch))
            gradient = part if gradient is None else gradient + part
            stats = seen if stats is None else stats + seen
        count = len(batches) * self.ranks.world
        gradient = self.ranks.reduce_gradients(gradient)
        stats = self.ranks.reduce_gradients(stats)
        hyper = hyperparameters(self.config, rate, updates, 1.0 / (loss_scale * count))
        report = self.update(gradient, stats, ms.Tensor(hyper)).asnumpy().astype(np.float64)
        report[2:] /= count
        return report

    def vectors(self) -> dict[str, Any]:
        """Return the flat state parameters by name."""
        names = ["weights", "first_moment", "second_moment"] + ["average"] * self.update.averages
        return {name: getattr(self.update, name) for name in names}

    def state(self) -> dict[str, Parts]:
        """Return copies of the state: vector name -> component -> parameter name -> float32 array."""
        return {name: self.layout.split(vector.asnumpy().copy()) for name, vector in self.vectors().items()}

    def load(self, state: Mapping[str, Parts]) -> None:
        """Put a state of :meth:`state` in place, and its weights into the networks."""
        for name, vector in self.vectors().items():
            vector.set_data(ms.Tensor(self.layout.join(state[name])))
        self.use_trained()

    def use_average(self) -> None:
        """Put the averaged weights into the networks, for looking at them; nothing if there is no average."""
        if self.update.averages:
            self.scatter(self.update.average)

    def use_trained(self) -> None:
        """Put the trained weights into the networks."""
        self.scatter(self.update.weights)
