"""Linear layers as kernels; the functions are described in :mod:`videogen_cli.runtime.functional`."""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import ops

from videogen_cli.runtime import cpu_ops as stock
from videogen_cli.runtime.kernels.calls import Kernel, numbers


def _forward_shape(x: Any, weight: Any, bias: Any, residual: Any) -> Any:
    if len(weight) != 2 or not x or x[-1] != weight[1]:
        raise ValueError("the input's last axis is not the weight's second of two")
    out = [*x[:-1], weight[0]]
    if bias != (0,) and bias != (weight[0],):
        raise ValueError("the bias does not have an element for each output feature")
    if residual != (0,) and list(residual) != out:
        raise ValueError("the residual does not have the output's shape")
    return out


def _input_gradient_shape(dout: Any, weight: Any) -> Any:
    return [*dout[:-1], weight[1]]


def _weight_gradient_shapes(dout: Any, x: Any) -> Any:
    return [dout[-1], x[-1]], [dout[-1]]


_input_gradient: Any = Kernel("linear_input_gradient", _input_gradient_shape)
_weight_gradient: Any = Kernel("linear_weight_gradient", _weight_gradient_shapes)


def _bprop(x: Any, weight: Any, bias: Any, residual: Any, out: Any, dout: Any) -> Any:
    dweight, dbias = _weight_gradient(dout, x)
    return (
        _input_gradient(dout, weight),
        dweight,
        ops.zeros_like(bias) if bias.shape[0] == 0 else dbias,
        ops.zeros_like(residual) if residual.shape[0] == 0 else dout,
    )


_forward: Any = Kernel("linear_forward", _forward_shape, _bprop)


def linear(x: Any, weight: Any, bias: Any = None, residual: Any = None) -> Any:
    """One kernel, bias and residual included."""
    if x.dtype != ms.float32:
        return stock.linear(x, weight, bias, residual)
    return _forward(x, weight, numbers() if bias is None else bias, numbers() if residual is None else residual)
