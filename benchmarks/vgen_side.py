"""vgen's side of a benchmark: networks in graph mode as ``vgen infer`` runs them, the trainer's own engine.

Graphs are kept on disk, as ``vgen infer`` and ``vgen train`` keep them: the first process compiles, the next ones read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from cases import FORWARD, Model, Operation, draw_parameter

from videogen_cli.config import DeviceConfig, TrainConfig
from videogen_cli.runtime import context, graphs

TRAINING = TrainConfig(learning_rate=1e-5, weight_decay=0.01)


@dataclass(frozen=True)
class Drawn:
    """A parameter's values, drawn when they are asked for."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    def numpy(self) -> np.ndarray:
        """Return the values."""
        return draw_parameter(self.name, self.shape)


def start(threads: int) -> None:
    """Start MindSpore."""
    context.start(DeviceConfig(threads=threads))


def count_flops(call: Callable[[], Any]) -> int:
    """Run ``call``; PyTorch's side counts."""
    call()
    return 0


def prepare(case: Any) -> tuple[Callable[[], list[np.ndarray]], Callable[[], Any]]:
    """Return what shows a case's outputs, and what runs it once."""
    if isinstance(case, Operation):
        call = _update(case) if case.function == "adamw" else _operation(case)
    else:
        call = _forward(case) if case.phase == FORWARD else _step(case)
    return call, call


def _tensors(case: Any) -> list[Any]:
    from mindspore import Tensor

    return [Tensor(array) for array in case.arrays()]


def _network(case: Model) -> Any:
    from measured_cells import PARTS

    from videogen_cli.runtime import module

    network = case.build(module.build)
    parameters = {name: Drawn(name, tuple(p.shape)) for name, p in network.parameters_and_names()}
    module.load(network, parameters, where=case.name, writable=case.phase != FORWARD)
    return PARTS[case.part](network)


def _forward(case: Model) -> Callable[[], list[np.ndarray]]:
    identity = ("benchmark", case.name, asdict(case.params), case.part)
    graphs.keep(*identity)
    cell, tensors = _network(case), _tensors(case)
    cell.set_train(False)
    graphs.run(cell, tuple(case.arrays()), *identity)
    return lambda: [cell(*tensors).asnumpy()]


def _step(case: Model) -> Callable[[], list[np.ndarray]]:
    """Return a step of the engine; what it shows is the gradient's norm and the loss."""
    from measured_cells import SquareLoss

    from videogen_cli.train.engine import Engine
    from videogen_cli.train.parallel import Ranks

    graphs.keep("benchmark", case.name, asdict(case.params), case.part, case.phase)
    part = _network(case)
    objective: Any = SimpleNamespace(trainable={"network": part}, loss=SquareLoss(part))
    engine, arrays, done = Engine(objective, TRAINING, Ranks()), tuple(case.arrays()), [0]

    def step() -> list[np.ndarray]:
        norm, _, loss = engine.step([arrays], TRAINING.learning_rate, done[0], 1.0)
        done[0] += 1
        return [np.array([loss]), np.array([norm])]

    return step


def _operation(case: Operation) -> Callable[[], list[np.ndarray]]:
    import measured_cells
    from mindspore import Tensor

    cell, tensors = measured_cells.Operator(getattr(measured_cells, case.function)), _tensors(case)
    if case.phase == FORWARD:
        return lambda: [cell(*tensors).asnumpy()]
    from vgen_gradient import Gradient

    weights = Tensor(np.ones(cell(*tensors).shape, np.float32))
    gradient = Gradient(cell)
    return lambda: [part.asnumpy() for part in gradient(weights, *tensors)]


def _update(case: Operation) -> Callable[[], list[np.ndarray]]:
    """Return one update of the optimizer; what it shows is the weights."""
    from mindspore import Tensor
    from vgen_gradient import Parameters

    from videogen_cli.train.layout import lay_out
    from videogen_cli.train.optimizer import hyperparameters, make_optimizer

    layout, parameters = lay_out({"network": Parameters([draw_parameter("w", shape) for shape in case.shapes])})
    optimizer = make_optimizer(TRAINING, layout, parameters)
    arrays = case.arrays()
    gradient: Any = Tensor(layout.gather(arrays)) if optimizer.flat else tuple(Tensor(array) for array in arrays)
    stats, done = Tensor(np.zeros(1, np.float32)), [0]

    def step() -> list[np.ndarray]:
        hyper = hyperparameters(TRAINING, TRAINING.learning_rate, done[0], 1.0)
        optimizer.step(gradient, stats, hyper)
        done[0] += 1
        return [parameters[0].asnumpy()]

    return step
