"""The trained parameters as one flat vector: which value is whose.

The optimizer, the weight average, gradient reduction and clipping each see one long float32 vector. One kernel per
operation instead of one per tensor is several times faster on CPU, one all-reduce serves data parallelism, and a
shard of the state is a slice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from videogen_cli.train.objective import Trainable


@dataclass(frozen=True)
class Slot:
    """One parameter's place in the flat vector."""

    component: str
    name: str
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True)
class Layout:
    """All slots, in the order of the components and of their parameters."""

    slots: tuple[Slot, ...]
    size: int

    @property
    def components(self) -> list[str]:
        """Return the components' names, in order."""
        return list(dict.fromkeys(slot.component for slot in self.slots))

    def describe(self) -> dict[str, str]:
        """Return ``trained.<component>.<name>`` -> its shape as text."""
        return {f"trained.{s.component}.{s.name}": "x".join(map(str, s.shape)) for s in self.slots}

    def spread(self, factors: Mapping[str, float]) -> np.ndarray:
        """Return a float32 vector (size,) that holds every parameter's component's factor, 1 where none is given."""
        return np.concatenate([np.full(s.size, factors.get(s.component, 1.0), np.float32) for s in self.slots])

    def naming(self, words: Sequence[str]) -> np.ndarray:
        """Return a float32 vector (size,) that is 1 for parameters with one of ``words`` in their lower-cased name."""
        found = [(slot, any(word in slot.name.lower() for word in words)) for slot in self.slots]
        return np.concatenate([np.full(slot.size, named, np.float32) for slot, named in found])

    def split(self, flat: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """Return component -> parameter name -> view into ``flat`` (size,)."""
        parts: dict[str, dict[str, np.ndarray]] = {}
        for slot in self.slots:
            view = flat[slot.offset : slot.offset + slot.size].reshape(slot.shape)
            parts.setdefault(slot.component, {})[slot.name] = view
        return parts

    def join(self, parts: Mapping[str, Mapping[str, np.ndarray]]) -> np.ndarray:
        """Return the float32 vector (size,) that :meth:`split` would take apart into ``parts``."""
        flat = np.empty(self.size, np.float32)
        for slot in self.slots:
            flat[slot.offset : slot.offset + slot.size] = parts[slot.component][slot.name].ravel()
        return flat


def lay_out(trainable: Mapping[str, Any]) -> tuple[Layout, list[Any]]:
    """Return the layout of an objective's trained parameters and the parameters themselves, in its order."""
    slots: list[Slot] = []
    parameters: list[Any] = []
    offset = 0
    for component, item in trainable.items():
        cell, keep = (item.cell, item.keep) if isinstance(item, Trainable) else (item, lambda _: True)
        for name, parameter in cell.parameters_and_names():
            if not keep(name):
                continue
            shape = tuple(parameter.shape)
            slots.append(Slot(component, name, shape, offset, math.prod(shape)))
            parameters.append(parameter)
            offset += math.prod(shape)
    return Layout(tuple(slots), offset), parameters
