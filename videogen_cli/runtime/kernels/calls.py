"""Kernels as MindSpore operators: names, output shapes, gradients.

A kernel's plain numbers (strides, heads) travel as the shape of an empty tensor, see :func:`numbers`: that is the one
thing known when shapes are inferred, when code is compiled and when it runs, in graph mode and pynative alike. So all
calls share one operator per kernel, whose gradient is a function of this package without any state.

A kernel that returns another code than 0 ends the call with MindSpore's RuntimeError, which names both;
:mod:`videogen_cli.cli.failures` knows what the codes mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import ops

from videogen_cli.errors import UsageError
from videogen_cli.runtime.kernels.build import library

Shape = Sequence[int]


class Kernel(ops.Custom):
    """A kernel of the library, for float32 tensors (and the empty ones of :func:`numbers`).

    Args:
        name: of the C function.
        shapes: the outputs' shapes from the inputs' shapes; one shape, or a tuple of them. It raises ValueError for
            inputs that the kernel cannot take. Outputs hold at least one number.
        bprop: ``(*inputs, out, dout) -> gradients of all inputs``, a function of a module.
    """

    def __init__(self, name: str, shapes: Callable[..., Any], bprop: Callable[..., Any] | None = None) -> None:
        super().__init__(f"{library().path}:{name}", shapes, _first, "aot", bprop)
        self.kernel, self.shapes = name, shapes

    def __infer__(self, *inputs: Any) -> dict[str, Any]:
        """Return shape and dtype of the outputs.

        Raises:
            UsageError: the kernel cannot take tensors of these shapes or types.
        """
        shapes = [tuple(tensor["shape"]) for tensor in inputs]
        try:
            for tensor, shape in zip(inputs, shapes, strict=True):
                _check(str(tensor["dtype"]), shape)
            out = self.shapes(*shapes)
            for shape in out if isinstance(out, tuple) else (out,):
                _check_output(shape)
        except (ValueError, IndexError) as error:
            raise UsageError(f"{self.kernel} cannot take {_listed(inputs)}: {error}") from error
        dtype = inputs[0]["dtype"]
        return {"shape": out, "dtype": (dtype,) * len(out) if isinstance(out, tuple) else dtype, "value": None}


def _first(dtype: Any, *_: Any) -> Any:
    return dtype


def _check(dtype: str, shape: tuple[int, ...]) -> None:
    if _carries_numbers(dtype, shape):
        return
    if "float32" not in dtype.lower():
        raise ValueError(f"{dtype.removeprefix('Tensor[').removesuffix(']')} is not float32")
    if any(size < 1 for size in shape):
        raise ValueError("an axis is empty or not known yet")


def _check_output(shape: Shape) -> None:
    if any(size < 1 for size in shape):
        raise ValueError(f"nothing would be left: {'x'.join(map(str, shape))}")


def _carries_numbers(dtype: str, shape: tuple[int, ...]) -> bool:
    return shape[:1] == (0,) and "int8" in dtype.lower()


def _listed(inputs: Sequence[Any]) -> str:
    """Return the shapes of the tensors, without those that only carry numbers."""
    tensors = [(str(tensor["dtype"]), tuple(tensor["shape"])) for tensor in inputs]
    shapes = [shape for dtype, shape in tensors if not _carries_numbers(dtype, shape)]
    return ", ".join("x".join(map(str, shape)) or "a scalar" for shape in shapes)


@ops.constexpr
def numbers(*values: int) -> Any:
    """Return integers from 0 on as the shape of an empty tensor, a constant of the graph."""
    return ms.Tensor(np.zeros((0, *values), np.int8))


@ops.constexpr
def reals(*values: float) -> Any:
    """Return numbers that no shape depends on, such as an epsilon, as a constant tensor."""
    return ms.Tensor(np.array(values, np.float32))
