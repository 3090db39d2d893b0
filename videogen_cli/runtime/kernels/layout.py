"""Reordering and repeating as kernels; the functions are described in :mod:`videogen_cli.runtime.functional`."""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import ops

from videogen_cli.runtime import cpu_ops as stock
from videogen_cli.runtime.kernels.calls import Kernel, numbers


def _permuted(x: Any, axes: Any) -> Any:
    if sorted(axes[1:]) != list(range(len(x))):
        raise ValueError(f"{tuple(axes[1:])} is no order of the axes")
    return [x[axis] for axis in axes[1:]]


_permute_back: Any = Kernel("permute", _permuted)


def _inverse(axes: Any) -> Any:
    return tuple(axes.index(position) for position in range(len(axes)))


def _permute_bprop(x: Any, axes: Any, out: Any, dout: Any) -> Any:
    return _permute_back(dout, numbers(*_inverse(axes.shape[1:]))), ops.zeros_like(axes)


_permute: Any = Kernel("permute", _permuted, _permute_bprop)


def permute(x: Any, axes: Any) -> Any:
    """Copy runs, or transpose tiles in registers; only give a new shape where no axis longer than 1 moves."""
    if x.dtype != ms.float32:
        return stock.permute(x, axes)
    if sorted(axes) == list(range(x.ndim)):
        moving = [axis for axis in axes if x.shape[axis] > 1]
        if moving == sorted(moving):
            return x.reshape([x.shape[axis] for axis in axes])
    return _permute(x, numbers(*axes))


def _upsampled(x: Any, factors: Any) -> Any:
    rows, columns = factors[1:]
    if len(x) < 2 or rows < 1 or columns < 1:
        raise ValueError(f"{rows} x {columns} is not how often pixels can be repeated")
    return [*x[:-2], x[-2] * rows, x[-1] * columns]


def _collected(dout: Any, factors: Any) -> Any:
    rows, columns = factors[1:]
    return [*dout[:-2], dout[-2] // rows, dout[-1] // columns]


_upsample_backward: Any = Kernel("upsample_backward", _collected)


def _upsample_bprop(x: Any, factors: Any, out: Any, dout: Any) -> Any:
    return _upsample_backward(dout, factors), ops.zeros_like(factors)


_upsample: Any = Kernel("upsample_forward", _upsampled, _upsample_bprop)


def upsample_nearest(x: Any, factor: Any = 2) -> Any:
    """Read x once."""
    if x.dtype != ms.float32:
        return stock.upsample_nearest(x, factor)
    rows, columns = (factor, factor) if isinstance(factor, int) else factor
    return _upsample(x, numbers(rows, columns))
