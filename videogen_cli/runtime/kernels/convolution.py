"""Convolutions as kernels; the functions are described in :mod:`videogen_cli.runtime.functional`.

The three kernels (of a convolution, of its gradient for the input, of that for the weight) are each other's gradients,
so that they can be differentiated any number of times. A bias or residual that is absent is an empty tensor.
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import ops

from videogen_cli.runtime import cpu_ops as stock
from videogen_cli.runtime.kernels.calls import Kernel, Shape, numbers

_MAX_ELEMENTS = 2**31 - 1  # places in a tensor are 32 bit integers


def _absent() -> Any:
    return numbers()


def _extent(shape: Shape) -> tuple[int, ...]:
    """Return (frames, height, width) of (b c h w), (b c f h w), or the same of a weight."""
    if len(shape) not in (4, 5):
        raise ValueError("images have 4 axes, clips 5")
    return (1, *shape[2:]) if len(shape) == 4 else tuple(shape[2:])


def _check_channels(what: str, found: int, expected: int) -> None:
    if found != expected:
        raise ValueError(f"{what} has {found} channels, not {expected}")


def _convolved(source: Shape, kernel: Shape, geometry: Shape) -> list[int]:
    """Return the extent along frames, height and width of what a convolution makes of an extent."""
    stride, padding, dilation = geometry[1:4], geometry[4:10], geometry[10:13]
    if min(*stride, *dilation) < 1:
        raise ValueError("strides and dilations are at least 1")
    extent = []
    for axis in range(3):
        room = source[axis] + padding[2 * axis] + padding[2 * axis + 1] - (kernel[axis] - 1) * dilation[axis] - 1
        if room < 0:
            raise ValueError("the kernel is larger than what it moves over")
        extent.append(room // stride[axis] + 1)
    return extent


def _check_size(*shapes: Shape) -> None:
    for shape in shapes:
        size = 1
        for extent in shape:
            size *= extent
        if size > _MAX_ELEMENTS:
            raise ValueError(f"more than {_MAX_ELEMENTS} elements")


def _forward_shape(x: Shape, weight: Shape, bias: Shape, residual: Shape, geometry: Shape) -> list[int]:
    source, kernel = _extent(x), _extent(weight)
    _check_channels("x", x[1], weight[1])
    if len(x) != len(weight):
        raise ValueError("the kernel has another number of axes than x")
    out = [x[0], weight[0], *_convolved(source, kernel, geometry)[5 - len(x) :]]
    if bias != (0,) and list(bias) != [weight[0]]:
        raise ValueError("one bias per output channel is wanted")
    if residual != (0,) and list(residual) != out:
        raise ValueError("the residual has another shape than the output")
    _check_size(x, weight, out)
    return out


def _input_shape(dout: Shape, weight: Shape, bias: Shape, geometry: Shape, extent: Shape) -> list[int]:
    found, kernel = _extent(dout), _extent(weight)
    _check_channels("the output", dout[1], weight[0])
    if len(dout) != len(weight) or _convolved(extent[1:], kernel, geometry) != list(found):
        raise ValueError("a convolution makes another size")
    if bias != (0,) and list(bias) != [weight[1]]:
        raise ValueError("one bias per input channel is wanted")
    shape = [dout[0], weight[1], *extent[len(extent) - len(dout) + 2 :]]
    _check_size(dout, weight, shape)
    return shape


def _weight_shape(x: Shape, dout: Shape, geometry: Shape, kernel: Shape) -> list[int]:
    if len(x) != len(dout) or x[0] != dout[0] or _convolved(_extent(x), kernel[1:], geometry) != list(_extent(dout)):
        raise ValueError("a convolution makes another size")
    _check_size(x, dout)
    return [dout[1], x[1], *kernel[len(kernel) - len(x) + 2 :]]


def _channels(x: Shape) -> list[int]:
    return [x[1]]


def _spatial(x: Any) -> Any:
    """Return the extent of x (b c h w) or (b c f h w), or the kernel of a weight, as numbers."""
    return numbers(1, x.shape[2], x.shape[3]) if x.ndim == 4 else numbers(x.shape[2], x.shape[3], x.shape[4])


def _bias_gradient(bias: Any, dout: Any) -> Any:
    return ops.zeros_like(bias) if bias.shape[0] == 0 else _channel_sums(dout)


def _forward_bprop(x: Any, weight: Any, bias: Any, residual: Any, geometry: Any, out: Any, dout: Any) -> Any:
    return (
        _input(dout, weight, _absent(), geometry, _spatial(x)),
        _weight(x, dout, geometry, _spatial(weight)),
        _bias_gradient(bias, dout),
        ops.zeros_like(residual) if residual.shape[0] == 0 else dout,
        ops.zeros_like(geometry),
    )


def _input_bprop(dy: Any, weight: Any, bias: Any, geometry: Any, extent: Any, out: Any, dout: Any) -> Any:
    return (
        _forward(dout, weight, _absent(), _absent(), geometry),
        _weight(dout, dy, geometry, _spatial(weight)),
        _bias_gradient(bias, dout),
        ops.zeros_like(geometry),
        ops.zeros_like(extent),
    )


def _weight_bprop(x: Any, dy: Any, geometry: Any, kernel: Any, out: Any, dout: Any) -> Any:
    return (
        _input(dy, dout, _absent(), geometry, _spatial(x)),
        _forward(x, dout, _absent(), _absent(), geometry),
        ops.zeros_like(geometry),
        ops.zeros_like(kernel),
    )


_forward: Any = Kernel("convolution_forward", _forward_shape, _forward_bprop)
_input: Any = Kernel("convolution_input", _input_shape, _input_bprop)
_weight: Any = Kernel("convolution_weight", _weight_shape, _weight_bprop)
_channel_sums: Any = Kernel("channel_sums", _channels)


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = (0, 0, 0, 0),
    dilation: int = 1,
    residual: Any = None,
) -> Any:
    """Convolve images as clips of one frame."""
    if x.dtype != ms.float32:
        return stock.conv2d(x, weight, bias, stride, padding, dilation, residual)
    rows, columns = (stride, stride) if isinstance(stride, int) else stride
    top, bottom, left, right = padding
    geometry = numbers(1, rows, columns, 0, 0, top, bottom, left, right, 1, dilation, dilation, 0)
    return _forward(
        x, weight, _absent() if bias is None else bias, _absent() if residual is None else residual, geometry
    )


def conv3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = (1, 1, 1),
    padding: Any = (0, 0, 0, 0, 0, 0),
    residual: Any = None,
    repeat_frames: bool = False,
) -> Any:
    """Convolve clips."""
    if x.dtype != ms.float32:
        return stock.conv3d(x, weight, bias, stride, padding, residual, repeat_frames)
    geometry = numbers(*stride, *padding, 1, 1, 1, int(repeat_frames))
    return _forward(
        x, weight, _absent() if bias is None else bias, _absent() if residual is None else residual, geometry
    )


def conv_transpose2d(x: Any, weight: Any, bias: Any = None, stride: int = 1, padding: int = 0) -> Any:
    """Use the kernel of a convolution's gradient."""
    if x.dtype != ms.float32:
        return stock.conv_transpose2d(x, weight, bias, stride, padding)
    height = (x.shape[2] - 1) * stride + weight.shape[2] - 2 * padding
    width = (x.shape[3] - 1) * stride + weight.shape[3] - 2 * padding
    geometry = numbers(1, stride, stride, 0, 0, padding, padding, padding, padding, 1, 1, 1, 0)
    return _input(x, weight, _absent() if bias is None else bias, geometry, numbers(1, height, width))
