"""Convolution on CPU as gathered rows times a matrix.

oneDNN 3, in MindSpore since 2.9, finds only a reference convolution for the layouts it is given on AVX-512. Capping it
to AVX2 (ONEDNN_MAX_CPU_ISA) cures that and slows every matrix product down. Gathering needs no cap. Forward + backward
in ms, 2 threads, MindSpore 2.10, kernel 3x3 or 3x1x1:

===================  ==============  ===========  ======
input                stock, no cap   stock, AVX2  gather
===================  ==============  ===========  ======
128 x 64 x 8x8            895           17.9        8.9
128 x 128 x 4x4           612           16.1       11.3
128 x 192 x 2x2           204           19.8        7.9
16 x 96 x 8x8x8           584           13.8       10.9
linear 8192x64->512       5.6           10.5        5.6
===================  ==============  ===========  ======
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import mindspore as ms
import mindspore.ops
import numpy as np
from mindspore import nn

from videogen_cli.runtime.cpu_layout import exchanged, permute
from videogen_cli.runtime.cpu_layout import rows as rows_of

ops: Any = mindspore.ops  # its annotations do not know that operators return tensors

# A gathered matrix above this size is made one slice of the kernel at a time, which bounds memory.
_MAX_GATHERED_BYTES = 256 << 20

_gather = ops.Gather()
_matmul, _matmul_ta, _matmul_tb = ops.MatMul(), ops.MatMul(transpose_a=True), ops.MatMul(transpose_b=True)


@lru_cache(maxsize=256)
def row_tables(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Say which input point each tap of each output point reads, and the reverse.

    Args:
        size: the input's extent along each spatial axis.
        kernel: taps along each axis.
        stride: along each axis.
        padding: (before, after) for each axis in turn.
        dilation: distance between taps along each axis; empty = 1.

    Returns:
        Two int32 arrays: (outputs, taps) of input points, where the number of inputs means zero, and (inputs, taps)
        of output points, where the number of outputs means zero.
    """
    before, after = padding[::2], padding[1::2]
    dilation = dilation or (1,) * len(size)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    extent = [(s + p + q - k) // d + 1 for s, p, q, k, d in zip(size, before, after, reach, stride, strict=True)]
    outputs = np.indices(extent).reshape(len(size), -1, 1)
    taps = np.indices(kernel).reshape(len(size), 1, -1)
    axis = (len(size), 1, 1)
    points = outputs * np.reshape(stride, axis) + taps * np.reshape(dilation, axis) - np.reshape(before, axis)
    inside = ((points >= 0) & (points < np.reshape(size, axis))).all(0)
    flat = np.asarray(np.ravel_multi_index(tuple(np.where(inside, points, 0)), size))
    forward = np.where(inside, flat, int(np.prod(size))).astype(np.int32)
    backward = np.full((int(np.prod(size)), taps.shape[2]), outputs.shape[1], np.int32)
    output, tap = np.nonzero(inside)
    backward[flat[output, tap], tap] = output
    return forward, backward


@ops.constexpr
def _rows(
    size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, first: int, last: int, reverse: bool
) -> Any:
    """Return the flat table for taps ``first`` to ``last`` as a constant of the graph."""
    table = row_tables(tuple(size), tuple(kernel), tuple(stride), tuple(padding), tuple(dilation))[reverse]
    return ms.Tensor(np.ascontiguousarray(table[:, first:last]).reshape(-1))


class GatheredProduct(nn.Cell):
    """Gather the rows of x (b p c) that each output needs and multiply them by weight (o taps c): (b q o).

    ``forward`` (q*taps) and ``backward`` (p*taps) are flat tables of :func:`row_tables`.
    """

    def construct(self, x: Any, weight: Any, forward: Any, backward: Any) -> Any:
        """Return (b q o)."""
        o, taps, c = weight.shape
        return _matmul_tb(_gathered(x, forward, taps), weight.reshape(o, taps * c)).reshape(x.shape[0], -1, o)

    def bprop(self, x: Any, weight: Any, forward: Any, backward: Any, out: Any, dout: Any) -> Any:
        """Gather again instead of keeping the gathered rows: they are ``taps`` times the input."""
        o, taps, c = weight.shape
        flipped = exchanged(weight, 1).reshape(taps * o, c)
        dx = _matmul(_gathered(dout, backward, taps), flipped).reshape(x.shape)
        dweight = _matmul_ta(dout.reshape(-1, o), _gathered(x, forward, taps)).reshape(weight.shape)
        return dx, dweight, ops.zeros_like(forward), ops.zeros_like(backward)


def _gathered(rows: Any, table: Any, taps: int) -> Any:
    b, _, c = rows.shape
    padded = ops.concat((rows, ops.zeros((b, 1, c), rows.dtype)), 1)
    return _gather(padded, table, 1).reshape(-1, taps * c)


_gathered_product: Any = GatheredProduct()


def convolution(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any = ()) -> Any:
    """Convolve over any number of spatial axes.

    Args:
        x: (b c ...).
        weight: (o c ...).
        bias: (o) or None.
        stride: one number per spatial axis.
        padding: (before, after) for each spatial axis in turn.
        dilation: distance between taps, one number per spatial axis; empty = 1.

    Returns:
        (b o ...).
    """
    size, kernel = x.shape[2:], weight.shape[2:]
    extent = ()
    for axis in range(len(size)):
        reach = (kernel[axis] - 1) * (dilation[axis] if dilation else 1) + 1
        out = (size[axis] + padding[2 * axis] + padding[2 * axis + 1] - reach) // stride[axis] + 1
        extent += (out,)
    matrix = exchanged(weight.reshape(weight.shape[0], weight.shape[1], -1), 2)
    return _multiplied(x, matrix, bias, extent, (size, kernel, stride, padding, dilation), False)


def transposed_convolution(x: Any, weight: Any, bias: Any, stride: Any, padding: Any) -> Any:
    """Spread every input over what a convolution from the output's size to the input's would have read for it.

    Args:
        x: (b c ...).
        weight: (c o ...).
        bias: (o) or None.
        stride: one number per spatial axis.
        padding: (before, after) for each spatial axis in turn, cut off the output.

    Returns:
        (b o ...).
    """
    kernel = weight.shape[2:]
    extent = ()
    for axis in range(len(kernel)):
        spread = (x.shape[2 + axis] - 1) * stride[axis] + kernel[axis]
        extent += (spread - padding[2 * axis] - padding[2 * axis + 1],)
    matrix = permute(weight.reshape(weight.shape[0], weight.shape[1], -1), (1, 2, 0))
    return _multiplied(x, matrix, bias, extent, (extent, kernel, stride, padding, ()), True)


def _multiplied(x: Any, matrix: Any, bias: Any, extent: Any, geometry: Any, reverse: bool) -> Any:
    """Gather and multiply by matrix (o taps c), with the tables of a convolution, or with both in reverse."""
    size, kernel, stride, padding, dilation = geometry
    b, c, (o, taps, _) = x.shape[0], x.shape[1], matrix.shape
    points = 1
    for out in extent:
        points = points * out
    step = taps if 4 * b * points * taps * c <= _MAX_GATHERED_BYTES else taps // kernel[0]
    rows = permute(x.reshape(b, c, -1), (0, 2, 1))
    total: Any = None
    for first in range(0, taps, step):
        last = first + step
        forward = _rows(size, kernel, stride, padding, dilation, first, last, reverse)
        backward = _rows(size, kernel, stride, padding, dilation, first, last, not reverse)
        part = _gathered_product(rows, matrix[:, first:last] if step < taps else matrix, forward, backward)
        total = part if total is None else total + part
    if bias is not None:
        total = total + rows_of(bias, b * points).reshape(total.shape)
    return permute(total, (0, 2, 1)).reshape((b, o, *extent))
