"""The compiled parts of a training step: backward, update, and putting weights into the networks.

Each is one graph. Between them passes one flat gradient, so a reduction over ranks is one call on one tensor. This
module imports MindSpore; the device must have been started.
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import ops

from videogen_cli.runtime.cells import Cell
from videogen_cli.train.layout import Layout

_cast, _concat, _reshape = ops.Cast(), ops.Concat(), ops.Reshape()
_assign, _slice, _each = ops.Assign(), ops.Slice(), ops.HyperMap()


def _flatten(value: Any) -> Any:
    return _cast(_reshape(value, (-1,)), ms.float32)


def _put(flat: Any, parameter: Any, offset: int) -> Any:
    part = _slice(flat, (offset,), (parameter.size,))
    return _assign(parameter, _cast(_reshape(part, parameter.shape), parameter.dtype))


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
    """``construct(scale, *batch) -> flat gradient of scale * loss (size,), stats (1 + scalars,)``."""

    def __init__(self, loss: Any, parameters: list[Any]) -> None:
        super().__init__()
        self.forward = _ScaledLoss(loss)
        self.parameters = ms.ParameterTuple(parameters)
        differentiate: Any = ms.value_and_grad
        self.gradient: Any = differentiate(self.forward, None, self.parameters, has_aux=True)

    def construct(self, scale: Any, *batch: Any) -> Any:
        """Run the loss forward and backward."""
        (_, stats), gradients = self.gradient(scale, *batch)
        return _concat(_each(_flatten, gradients)), stats


class Scatter(Cell):
    """``construct(flat (size,))`` writes a flat vector into the networks' parameters, cast to their dtypes."""

    def __init__(self, layout: Layout, parameters: list[Any]) -> None:
        super().__init__()
        self.parameters = ms.ParameterTuple(parameters)
        self.offsets = tuple(slot.offset for slot in layout.slots)

    def construct(self, flat: Any) -> Any:
        """Overwrite every parameter."""
        _each(ops.partial(_put, flat), self.parameters, self.offsets)
        return flat[0]


def state_parameter(name: str, value: np.ndarray) -> Any:
    """Return a parameter of the trainer itself that no gradient reaches."""
    return ms.Parameter(ms.Tensor(value), name=f"trainer.{name}", requires_grad=False)
