"""vgen's side of ``turbo``: the pipeline as ``vgen infer`` runs it, the objective and the engine of ``vgen train``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from cases import FORWARD
from clock import Clock
from mindspore import Tensor
from turbo import INFER_PARTS, PROMPT, SEED, Batch, Turbo, batch, draw_factor, weights_of

from videogen_cli.models.t2v_turbo import distill_networks
from videogen_cli.models.t2v_turbo.distill_objective import DistillObjective
from videogen_cli.models.t2v_turbo.pipeline import T2VTurboPipeline
from videogen_cli.models.t2v_turbo.weights import student_weights
from videogen_cli.nets.lora import adapted_modules
from videogen_cli.registry import load_attr, spec
from videogen_cli.runtime import graphs, module
from videogen_cli.train.engine import Engine
from videogen_cli.train.objective import StageContext
from videogen_cli.train.parallel import Ranks
from videogen_cli.weights.lora import Layer, Lora
from videogen_cli.weights.tensor import LazyTensor

COMPONENTS = ("text", "unet", "vae")
PROFILED = 3  # calls of each part of a training step
Prepared = tuple[Callable[[], list[np.ndarray]], Callable[[], Any], Callable[[], dict[str, float]]]


def prepare(case: Turbo) -> Prepared:
    """Return what shows a case's outputs, what runs it once, and what tells the seconds of its parts."""
    return _infer(case) if case.phase == FORWARD else _distil(case)


def _networks(config: Any, *, train: bool) -> dict[str, Any]:
    """Return the networks with weights; for inference, the student's, with the factors merged as when it is loaded."""
    cells = {}
    for name in COMPONENTS:
        cell = module.build(load_attr(spec("t2v-turbo").component(name).build), getattr(config, name))
        weights = weights_of({key: value.shape for key, value in cell.parameters_and_names()})
        if name == "unet" and not train:
            weights = student_weights(weights, _factors(cell, config.lora.rank))
        module.load(cell, weights, where=name, writable=train)
        cells[name] = cell
    return cells


def _factors(unet: Any, rank: int) -> Lora:
    found = {}
    for layer in adapted_modules(unet):
        up, down = Layer(layer.name, layer.weight_shape).factor_shapes(rank)
        found[layer.name] = _factor(f"{layer.name}.lora.up", up), _factor(f"{layer.name}.lora.down", down)
    return Lora(found, rank)


def _factor(name: str, shape: tuple[int, ...]) -> LazyTensor:
    return LazyTensor(shape, "float32", lambda: draw_factor(name, shape))


class _TimedPipeline(T2VTurboPipeline):
    """The pipeline, and how long its networks take."""

    clock = Clock()

    def _run(self, component: str, *arrays: np.ndarray) -> np.ndarray:
        with self.clock(INFER_PARTS[component]):
            return super()._run(component, *arrays)


def _infer(case: Turbo) -> Prepared:
    config = case.config
    graphs.keep("benchmark", case.name, [asdict(getattr(config, name)) for name in COMPONENTS])
    pipeline = _TimedPipeline(config, _networks(config, train=False))

    def sample() -> np.ndarray:
        pipeline.clock.begin()
        return pipeline.sample([PROMPT], [SEED])

    def show() -> list[np.ndarray]:
        return [pipeline.decode_float(sample())]

    return show, lambda: pipeline.decode(sample()), pipeline.clock.medians


class _NoClips:
    """The dataset of a run whose batches are given."""

    def __len__(self) -> int:
        return 0


class _Context(StageContext):
    def dataset(self) -> Any:
        """Return no clips."""
        return _NoClips()


def _distil(case: Turbo) -> Prepared:
    """Return a step of the engine; what it shows is the gradient's norm and the loss."""
    config = case.config
    graphs.keep("benchmark", case.name, [asdict(getattr(config, name)) for name in COMPONENTS])
    objective = DistillObjective(_Context(config, _networks(config, train=True), {}, None))
    student = objective.networks.student
    drawn = {
        name: _factor(name, tuple(value.shape))
        for name, value in student.parameters_and_names()
        if distill_networks.is_factor(name)
    }
    module.load(student, drawn, where="factors", strict=False)
    engine, sample, done = Engine(objective, config.train, Ranks()), batch(config), [0]

    def step() -> list[np.ndarray]:
        norm, _, loss, *_ = engine.step([sample], config.train.learning_rate, done[0], 1.0)
        done[0] += 1
        return [np.array([loss]), np.array([norm])]

    return step, step, lambda: _parts(engine, objective.loss, sample, step)


def _parts(engine: Any, loss: Any, sample: Batch, step: Callable[[], Any]) -> dict[str, float]:
    """Return the seconds of a step's parts: the forward parts as graphs of their own, backward is what they leave."""
    clock, backward = Clock(), engine.backward

    def timed(*inputs: Any) -> Any:
        with clock("whole"):
            gradient, stats = backward(*inputs)
            stats.asnumpy()  # waits for it
        return gradient, stats

    calls = _calls(loss, sample)
    engine.backward = timed
    try:
        for _ in range(1 + PROFILED):
            clock.begin()
            with clock("step"):
                step()
            for part, call in calls.items():
                with clock(part):
                    call()
    finally:
        engine.backward = backward
    seconds = clock.medians(PROFILED)
    whole, step_seconds = seconds.pop("whole"), seconds.pop("step")
    forward = sum(seconds.values()) + seconds["student, forward"]
    seconds["student, forward"] *= 2  # towards the target, and where it is differentiated
    return {**seconds, "student, backward": whole - forward, "clipping and AdamW": step_seconds - whole}


def _calls(loss: Any, sample: Batch) -> dict[str, Callable[[], Any]]:
    """Return the forward parts of a :class:`StageLoss`, each called by itself on inputs of a step's shapes."""
    given = Batch(*(Tensor(array) for array in sample))
    row = tuple(Tensor(sample.coefficients[:, index].reshape(-1, 1, 1, 1, 1)) for index in range(10))
    scales = Tensor(sample.w.reshape(-1, 1, 1, 1, 1))
    both = Tensor(np.concatenate([sample.ids, loss.null_ids.asnumpy()]))
    states = loss.text(both).asnumpy()
    context, null = Tensor(states[:-1]), Tensor(states[-1:])
    teacher, student = loss.agreement.teacher, loss.agreement.student
    return {
        "VAE encoder": lambda: loss.source(given.clips, given.posterior).asnumpy(),
        "text tower": lambda: loss.text(both).asnumpy(),
        "teacher, 2 calls": lambda: teacher(
            given.noise, given.start, (*row[2:4], *row[8:]), scales, context, null, given.fps
        ).asnumpy(),
        "student, forward": lambda: student(
            given.noise, given.start, row[:4], context, given.fps, given.guidance
        ).asnumpy(),
    }
