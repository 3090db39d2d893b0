"""Sequence parallelism: every rank holds a slice of the tokens, and exchanges it for a slice of the heads to attend.

Jacobs et al., "DeepSpeed Ulysses" (arXiv 2309.14509). What goes where is said once, in :func:`received`; the gradient
of an exchange is the exchange with its two axes swapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from videogen_cli.errors import UsageError
from videogen_cli.runtime.cells import Cell


def received(everyone: Any, rank: int, split: int, join: int) -> Any:
    """Return what a rank holds after an exchange: its piece along ``split`` of every rank's tensor, joined in order.

    Args:
        everyone: (p ...), the tensors of all ranks; a numpy array or a device tensor.
        rank: 0 to p - 1.
        split: axis of one tensor that is cut into p pieces, see :func:`require_divisible`.
        join: axis of one tensor along which the pieces are laid.
    """
    shape = everyone.shape
    ranks, axes = shape[0], range(len(shape) - 1)
    pieces = everyone.reshape((*shape[: split + 1], ranks, shape[split + 1] // ranks, *shape[split + 2 :]))
    moved = [axis + 2 if axis >= split else axis + 1 for axis in axes]  # where the tensor's axes are in pieces
    own = pieces.transpose((split + 1, *moved[:join], 0, *moved[join:]))[rank]
    sizes = [shape[axis + 1] // ranks if axis == split else shape[axis + 1] for axis in axes]
    return own.reshape(tuple([sizes[axis] * ranks if axis == join else sizes[axis] for axis in axes]))


def all_to_all(parts: Sequence[np.ndarray], split: int, join: int) -> list[np.ndarray]:
    """Return what all ranks hold after an exchange of ``parts``, in one process; see :func:`received`.

    Raises:
        UsageError: the axis to split does not divide over the ranks.
    """
    require_divisible(parts[0].shape[split], len(parts), "pieces")
    everyone = np.stack(parts)
    return [received(everyone, rank, split, join) for rank in range(len(parts))]


def require_divisible(count: int, ranks: int, what: str) -> None:
    """Check that every rank gets as many.

    Raises:
        UsageError: they do not divide.
    """
    if count % ranks:
        hint = "It must divide the heads, the heads of keys, and the tokens."
        raise UsageError(
            f"{count} {what} do not divide over {ranks} ranks", where="device.sequence_parallel", hint=hint
        )


class AllToAll(Cell):
    """An exchange between the ranks of the world; see :func:`received`. A rank alone keeps what it has.

    MindSpore's CPU backend has no such collective, so every rank gathers all and takes its pieces; what Ascend's
    would save is memory and traffic, not results.
    """

    def __init__(self, rank: int, ranks: int, split: int, join: int) -> None:
        super().__init__()
        self.rank, self.ranks, self.split, self.join = rank, ranks, split, join
        if ranks > 1:
            from mindspore import ops

            self.gather: Any = ops.AllGather()

    def construct(self, x: Any) -> Any:
        """Exchange x for a tensor whose ``split`` axis is p times shorter and whose ``join`` axis p times longer."""
        return self._exchange(x, self.split, self.join)

    def bprop(self, x: Any, out: Any, dout: Any) -> Any:
        """Exchange back."""
        return (self._exchange(dout, self.join, self.split),)

    def _exchange(self, x: Any, split: int, join: int) -> Any:
        if self.ranks == 1:
            return x
        everyone = self.gather(x).reshape((self.ranks, *x.shape))
        return received(everyone, self.rank, split, join)
