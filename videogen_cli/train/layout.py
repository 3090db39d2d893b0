"""The trained parameters end to end in one flat vector: which value is whose.

Moments, the weight average and gradients that ranks add up are each one long float32 vector: one all-reduce serves
data parallelism, one operation serves all tensors where an operator has a price of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from videogen_cli.train.objective import Trainable

Parts = Mapping[str, Mapping[str, np.ndarray]]  # component -> parameter name -> array


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

    def factors(self, factors: Mapping[str, float]) -> np.ndarray:
        """Return every parameter's component's factor, 1 where none is given: (slots,)."""
        return np.array([factors.get(slot.component, 1.0) for slot in self.slots])

    def named(self, words: Sequence[str]) -> np.ndarray:
        """Return for every parameter whether one of ``words`` is in its lower-cased name: (slots,)."""
        return np.array([any(word in slot.name.lower() for word in words) for slot in self.slots])

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return a float32 vector (size,) that holds every parameter's one of ``values`` (slots,)."""
        return np.repeat(values.astype(np.float32), [slot.size for slot in self.slots])

    def group(self, tensors: Iterable[np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
        """Return component -> parameter name -> its one of ``tensors``, which come in the slots' order."""
        parts: dict[str, dict[str, np.ndarray]] = {}
        for slot, tensor in zip(self.slots, tensors, strict=True):
            parts.setdefault(slot.component, {})[slot.name] = tensor
        return parts

    def views(self, flat: np.ndarray) -> list[np.ndarray]:
        """Return every parameter's view into ``flat`` (size,)."""
        return [flat[slot.offset : slot.offset + slot.size].reshape(slot.shape) for slot in self.slots]

    def split(self, flat: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """Return component -> parameter name -> view into ``flat`` (size,)."""
        return self.group(self.views(flat))

    def join(self, parts: Mapping[str, Mapping[str, np.ndarray]]) -> np.ndarray:
        """Return the float32 vector (size,) that :meth:`split` would take apart into ``parts``."""
        return self.gather(parts[slot.component][slot.name] for slot in self.slots)

    def gather(self, tensors: Iterable[np.ndarray]) -> np.ndarray:
        """Return the float32 vector (size,) of ``tensors``, which come in the slots' order."""
        flat = np.empty(self.size, np.float32)
        for view, tensor in zip(self.views(flat), tensors, strict=True):
            view[...] = tensor
        return flat


def lay_out(trainable: Mapping[str, Any]) -> tuple[Layout, list[Any]]:
    """Return the layout of an objective's trained parameters and the parameters themselves, in its order."""
    slots: list[Slot] = []
    parameters: list[Any] = []
    offset = 0
    for component, item in trainable.items():
        chosen = item if isinstance(item, Trainable) else Trainable(item)
        for name, parameter in chosen.cell.parameters_and_names():
            if not chosen.keep(name):
                continue
            shape = tuple(parameter.shape)
            slots.append(Slot(component, chosen.rename(name), shape, offset, math.prod(shape)))
            parameters.append(parameter)
            offset += math.prod(shape)
    return Layout(tuple(slots), offset), parameters
