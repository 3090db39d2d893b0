"""The state of a training run on the device, and the one operation on it: a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mindspore as ms
import numpy as np

from videogen_cli.config import TrainConfig
from videogen_cli.runtime import graphs
from videogen_cli.runtime.context import started
from videogen_cli.train.layout import Parts, lay_out
from videogen_cli.train.objective import Objective
from videogen_cli.train.optimizer import hyperparameters, make_optimizer
from videogen_cli.train.parallel import Ranks
from videogen_cli.train.step import Backward, recompute_blocks


class Engine:
    """The compiled loss with its gradient, and the optimizer that holds the state.

    This module imports MindSpore; the device must have been started.
    """

    def __init__(self, objective: Objective, config: TrainConfig, ranks: Ranks) -> None:
        self.config, self.ranks = config, ranks
        self.layout, parameters = lay_out(objective.trainable)
        if (started() or {}).get("recompute"):
            recompute_blocks(objective.loss)
        self.optimizer = make_optimizer(config, self.layout, parameters)
        self.backward: Any = Backward(objective.loss, parameters, flat=self.optimizer.flat)
        objective.loss.set_train()

    @property
    def mindspore_version(self) -> str:
        """Return the version of MindSpore that runs this."""
        return ms.__version__

    def step(
        self, batches: Sequence[tuple[np.ndarray, ...]], rate: float, updates: int, loss_scale: float
    ) -> np.ndarray:
        """Make one update from micro-batches; return gradient norm, finite (1 or 0), loss and scalars (means)."""
        scale, count = ms.Tensor(loss_scale, ms.float32), len(batches) * self.ranks.world
        gradient = stats = None
        for batch in batches:
            tensors = (scale, *(ms.Tensor(array) for array in batch))
            part, seen = graphs.call(self.backward, tensors, "training step")
            gradient = part if count == 1 else self.optimizer.add(gradient, part)
            stats = seen if stats is None else stats + seen
            del part  # its memory serves the next backward
        gradient = self.ranks.reduce_gradients(gradient)
        stats = self.ranks.reduce_gradients(stats)
        hyper = hyperparameters(self.config, rate, updates, 1.0 / (loss_scale * count))
        report = self.optimizer.step(gradient, stats, hyper)
        report[2:] /= count
        return report

    def state(self) -> dict[str, Parts]:
        """Return the state: vector name -> component -> parameter name -> float32 array, valid until the next step."""
        return self.optimizer.state()

    def load(self, state: Mapping[str, Parts]) -> None:
        """Put a state of :meth:`state` in place, and its weights into the networks."""
        self.optimizer.load(state)

    def use_average(self) -> None:
        """Put the averaged weights into the networks, for looking at them; nothing if there is no average."""
        self.optimizer.use_average()

    def use_trained(self) -> None:
        """Put the trained weights into the networks."""
        self.optimizer.use_trained()
