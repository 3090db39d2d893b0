"""Reversible changes of a tensor's layout between an original's container and our networks, done when it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from videogen_cli.weights.tensor import LazyTensor


class Axes(Protocol):
    """A change of one tensor's layout and the way back."""

    @property
    def inverse(self) -> Axes:
        """The way back."""
        ...

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return our shape for the original's, or None if it does not fit."""
        ...

    def apply(self, tensor: LazyTensor) -> LazyTensor:
        """Return the tensor in our layout."""
        ...


@dataclass(frozen=True)
class UnitAxes:
    """Axes of length one that only one side has: ``dropped`` of the original's axes, ``added`` of ours.

    A 1x1 convolution's weight (o i 1 1) is a linear layer's (o i) with ``dropped=(2, 3)``.
    """

    dropped: tuple[int, ...] = ()
    added: tuple[int, ...] = ()

    @property
    def inverse(self) -> UnitAxes:
        """The way back."""
        return UnitAxes(self.added, self.dropped)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return our shape for the original's, or None if an axis to drop is not there or not of length one."""
        if any(axis >= len(shape) or shape[axis] != 1 for axis in self.dropped):
            return None
        left = [size for axis, size in enumerate(shape) if axis not in self.dropped]
        for axis in sorted(self.added):
            left.insert(axis, 1)
        return tuple(left)

    def apply(self, tensor: LazyTensor) -> LazyTensor:
        """Return the tensor in our layout."""
        shape = self.shape(tensor.shape)
        assert shape is not None
        return replace(tensor, shape=shape, read=lambda: tensor.read().reshape(shape))


SAME = UnitAxes()


def stacked(parts: Sequence[LazyTensor]) -> LazyTensor:
    """Return tensors of one type joined along the first axis."""

    def release() -> None:
        for part in parts:
            part.release()

    shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
    read: Callable[[], np.ndarray] = lambda: np.concatenate([part.read() for part in parts])  # noqa: E731
    return LazyTensor(shape, parts[0].dtype, read, release)


def can_stack(parts: Sequence[LazyTensor]) -> bool:
    """Return whether tensors are of one type and agree in all axes but the first."""
    first = parts[0]
    alike = all(part.dtype == first.dtype and part.shape[1:] == first.shape[1:] for part in parts)
    return alike and all(part.shape for part in parts)


def divided(tensor: LazyTensor, count: int) -> list[LazyTensor]:
    """Return ``count`` equal parts along the first axis, which must divide."""
    rows = tensor.shape[0] // count

    def part(index: int) -> LazyTensor:
        read: Callable[[], np.ndarray] = lambda: tensor.read()[index * rows : (index + 1) * rows]  # noqa: E731
        return replace(tensor, shape=(rows, *tensor.shape[1:]), read=read, storage=None)

    return [part(index) for index in range(count)]
