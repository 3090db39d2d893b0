"""Linear layers between images and tokens; the functions are described in :mod:`videogen_cli.runtime.functional`."""

from __future__ import annotations

import math
from typing import Any

import mindspore as ms
from mindspore import ops

from videogen_cli.runtime import cpu_ops as stock
from videogen_cli.runtime.kernels.calls import Kernel, numbers


def _tokens(images: Any, features: int, frames: Any) -> Any:
    """Return the shape of the tokens (... features) that ``images`` (n c ...) are."""
    samples, pixels, together = images[0], math.prod(images[2:]), frames[1]
    if together == 0:
        return [samples, pixels, features]
    if samples % together:
        raise ValueError(f"{samples} images are not clips of {together} frames")
    return [samples // together * pixels, together, features]


def _check_layer(weight: Any, inputs: int, bias: Any) -> None:
    if len(weight) != 2 or weight[1] != inputs:
        raise ValueError("the input's features are not the weight's second axis of two")
    if bias not in ((0,), weight[:1]):
        raise ValueError("the bias does not have an element for each output feature")


def _from_shape(x: Any, weight: Any, bias: Any, frames: Any) -> Any:
    if len(x) < 3:
        raise ValueError("images have a channel axis and pixels after it")
    _check_layer(weight, x[1], bias)
    return _tokens(x, weight[0], frames)


def _to_shape(x: Any, weight: Any, bias: Any, residual: Any, frames: Any) -> Any:
    if len(residual) < 3 or list(x[:-1]) != _tokens(residual, 0, frames)[:-1]:
        raise ValueError("the residual's pixels are not the input's tokens")
    _check_layer(weight, x[-1], bias)
    if residual[1] != weight[0]:
        raise ValueError("the residual does not have a channel for each output feature")
    return list(residual)


def _like_third(dout: Any, weight: Any, x: Any, frames: Any) -> Any:
    return list(x)


def _from_weight_shapes(dout: Any, x: Any, frames: Any) -> Any:
    return [dout[-1], x[1]], [dout[-1]]


def _to_weight_shapes(dout: Any, x: Any, frames: Any) -> Any:
    return [dout[1], x[-1]], [dout[1]]


_from_input_gradient: Any = Kernel("linear_from_channels_input_gradient", _like_third)
_from_weight_gradient: Any = Kernel("linear_from_channels_weight_gradient", _from_weight_shapes)
_to_input_gradient: Any = Kernel("linear_to_channels_input_gradient", _like_third)
_to_weight_gradient: Any = Kernel("linear_to_channels_weight_gradient", _to_weight_shapes)


def _from_bprop(x: Any, weight: Any, bias: Any, frames: Any, out: Any, dout: Any) -> Any:
    dx = _from_input_gradient(dout, weight, x, frames)
    dweight, dbias = _from_weight_gradient(dout, x, frames)
    return dx, dweight, ops.zeros_like(bias) if bias.shape[0] == 0 else dbias, ops.zeros_like(frames)


def _to_bprop(x: Any, weight: Any, bias: Any, residual: Any, frames: Any, out: Any, dout: Any) -> Any:
    dx = _to_input_gradient(dout, weight, x, frames)
    dweight, dbias = _to_weight_gradient(dout, x, frames)
    return dx, dweight, ops.zeros_like(bias) if bias.shape[0] == 0 else dbias, dout, ops.zeros_like(frames)


_from_channels: Any = Kernel("linear_from_channels", _from_shape, _from_bprop)
_to_channels: Any = Kernel("linear_to_channels", _to_shape, _to_bprop)


def linear_from_channels(x: Any, weight: Any, bias: Any = None, frames: int = 0) -> Any:
    """One kernel, which reads channels as they lie."""
    if x.dtype != ms.float32:
        return stock.linear_from_channels(x, weight, bias, frames)
    return _from_channels(x, weight, numbers() if bias is None else bias, numbers(frames))


def linear_to_channels(x: Any, weight: Any, bias: Any, residual: Any, frames: int = 0) -> Any:
    """One kernel, which writes channels as they lie, the residual included."""
    if x.dtype != ms.float32:
        return stock.linear_to_channels(x, weight, bias, residual, frames)
    return _to_channels(x, weight, numbers() if bias is None else bias, residual, numbers(frames))
