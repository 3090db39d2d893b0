"""The compiled part of a training step: the loss, forward and backward, as one graph.

This module imports MindSpore; the device must have been started.
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import ops

from videogen_cli.runtime.cells import Cell, CellList

_cast, _concat, _each, _reshape = ops.Cast(), ops.Concat(), ops.HyperMap(), ops.Reshape()


def _flatten(value: Any) -> Any:
    return _cast(_reshape(value, (-1,)), ms.float32)


class _ScaledLoss(Cell):
    """``construct(scale, *batch) -> scale * loss, stats (1 + scalars,)``."""

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.loss = loss

    def construct(self, scale: Any, *batch: Any) -> Any:
        """Return what backward differentiates, and the unscaled loss and scalars as one vector."""
        result = self.loss(*batch)
        if not isinstance(result, tuple):
            result = (result,)
        stats = ()
        for value in result:
            stats = (*stats, _flatten(value))
        return _cast(result[0], ms.float32) * scale, _concat(stats)


class Backward(Cell):
    """``construct(scale, *batch) -> gradient of scale * loss, stats (1 + scalars,)``.

    The gradient is a tuple in the parameters' order, or with ``flat`` one float32 vector (size,).
    """

    def __init__(self, loss: Any, parameters: list[Any], *, flat: bool) -> None:
        super().__init__()
        self.flat = flat
        self.forward = _ScaledLoss(loss)
        self.parameters = ms.ParameterTuple(parameters)
        differentiate: Any = ms.value_and_grad
        self.gradient: Any = differentiate(self.forward, None, self.parameters, has_aux=True)

    def construct(self, scale: Any, *batch: Any) -> Any:
        """Run the loss forward and backward."""
        (_, stats), gradients = self.gradient(scale, *batch)
        if self.flat:
            return _concat(_each(_flatten, gradients)), stats
        return gradients, stats


def recompute_blocks(cell: Any) -> None:
    """Let backward compute the insides of a network's blocks again, so that only what passes between them is kept.

    Chen et al., "Training Deep Nets with Sublinear Memory Cost" (arXiv 1604.06174). Blocks are the cells of the
    outermost lists in ``cell``; values stay the same to the last bit.
    """
    for child in cell.cells():
        if isinstance(child, CellList):
            for block in child:
                block.recompute()
        else:
            recompute_blocks(child)
