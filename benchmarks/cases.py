"""What a benchmark case is, and the numbers both sides compute with: drawn by name, the same in every process."""

from __future__ import annotations

import importlib
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

FORWARD, TRAIN = "forward", "train"
PEAK = "peak"  # how the names of operations begin whose best rate stands for the machine's


@dataclass(frozen=True)
class Input:
    """An array of ``shape``; ``kind``: normal | steps (0 to 999) | ids (below ``count``) | mask (the last are 0)."""

    shape: tuple[int, ...]
    kind: str = "normal"
    count: int = 0

    def draw(self, name: str) -> np.ndarray:
        """Return the array that belongs to ``name``."""
        rng = _generator(name)
        if self.kind == "steps":
            return rng.uniform(0, 999, self.shape).astype(np.float32)
        if self.kind == "ids":
            return rng.integers(self.count, size=self.shape).astype(np.int32)
        if self.kind == "mask":
            kept = np.arange(self.shape[-1]) < self.shape[-1] - self.shape[-1] // 8
            return np.broadcast_to(kept, self.shape).astype(np.float32)
        return rng.standard_normal(self.shape, np.float32)


@dataclass(frozen=True)
class Model:
    """A network, or a part of it, on inputs of fixed size.

    ``network`` is ``module:class``, ``part`` one of ``measured_cells.PARTS``; ``target`` is the shape of the output
    that training compares with; ``gigabytes`` is about what one side needs.
    """

    name: str
    phase: str
    what: str
    network: str
    params: Any
    inputs: tuple[Input, ...]
    part: str = "whole"
    target: tuple[int, ...] = ()
    gigabytes: float = 4.0

    def build(self, make: Callable[[Any, Any], Any]) -> Any:
        """Return ``make(class, params)``: the network, whose module is imported only now."""
        module, _, name = self.network.partition(":")
        return make(getattr(importlib.import_module(module), name), self.params)

    def arrays(self) -> list[np.ndarray]:
        """Return the network's inputs; for training, the target before them."""
        wanted = ([Input(self.target)] if self.phase == TRAIN else []) + list(self.inputs)
        return [item.draw(f"input {index}") for index, item in enumerate(wanted)]


@dataclass(frozen=True)
class Operation:
    """A function of ``measured_cells`` on inputs of fixed shapes, or ``adamw`` on parameters of such shapes.

    ``phase`` train is the forward pass and the gradients of all inputs.
    """

    name: str
    phase: str
    function: str
    shapes: tuple[tuple[int, ...], ...]

    def arrays(self) -> list[np.ndarray]:
        """Return the inputs; weights of more than one axis are as small as a network's."""
        first, *others = self.shapes
        weighted = self.function.startswith(("conv", "linear"))
        draw = draw_parameter if weighted else (lambda name, shape: Input(shape).draw(name))
        return [Input(first).draw("x"), *(draw(f"input {i}", shape) for i, shape in enumerate(others))]


Case = Model | Operation


def draw_parameter(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return values that keep activations of the size of inputs: no layer starts at zero, unlike in a new network."""
    values = _generator(name).random(shape, np.float32)
    values -= np.float32(0.5)
    if len(shape) > 1:
        values *= np.float32(math.sqrt(12 / math.prod(shape[1:])))
    else:
        values *= np.float32(0.2)
        if not name.endswith("bias"):
            values += np.float32(1)
    return values


def _generator(name: str) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(zlib.crc32(name.encode())))
