"""Cells that only vgen's side needs; import after ``runtime.context.start``."""

from __future__ import annotations

from typing import Any

import numpy as np
from mindspore import ops

from videogen_cli.runtime.cells import Cell, CellList, parameter
from videogen_cli.runtime.module import load


class Gradient(Cell):
    """The gradients of all inputs of a cell, whose output is weighted."""

    def __init__(self, cell: Any) -> None:
        super().__init__()
        self.gradient = ops.GradOperation(get_all=True, sens_param=True)(cell)

    def construct(self, weights: Any, *inputs: Any) -> Any:
        """Return one gradient per input."""
        return self.gradient(*inputs, weights)


class Parameter(Cell):
    """One parameter."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.value = parameter(shape)


class Parameters(Cell):
    """Parameters of given values that no network uses."""

    def __init__(self, values: list[np.ndarray]) -> None:
        super().__init__()
        self.members = CellList([Parameter(array.shape) for array in values])
        load(self.members, {f"{i}.value": array for i, array in enumerate(values)}, where="benchmark")
