"""Repetition and transposition on CPU without tables of indices.

MindSpore's elementwise kernels hold, for operands that they repeat, tables of 16 bytes per element of the result, each
operation its own and until the process ends. A product with ones holds none, and what follows it takes equal shapes,
for which the kernels are three times as fast. Transpositions hold 8 bytes per element.
"""

from __future__ import annotations

from math import prod
from typing import Any

import mindspore.mint
import mindspore.ops

mint: Any = mindspore.mint
ops: Any = mindspore.ops  # its annotations do not know that operators return tensors

_LARGE = 1 << 20  # elements

_matmul, _bmm = ops.MatMul(), ops.BatchMatMul()


def permute(x: Any, axes: Any) -> Any:
    """Return ``x`` with its axes in that order; large ones by what holds no table and takes 2 to 4 times as long."""
    return mint.permute(x, axes) if x.size > _LARGE else x.permute(axes)


def exchanged(x: Any, axis: int) -> Any:
    """Return ``x`` with a short ``axis`` and the one before it exchanged: faster than to transpose, and no table."""
    shape = x.shape
    form = (*shape[: axis - 1], 1, shape[axis - 1], *shape[axis + 1 :])
    if shape[axis] == 1:
        return x.reshape(form)
    return ops.concat([part.reshape(form) for part in ops.split(x, 1, axis)], axis - 1)


def columns(x: Any, count: int) -> Any:
    """Repeat a column (m 1): (m count)."""
    return _matmul(x, ops.ones((1, count), x.dtype))


def rows(x: Any, count: int) -> Any:
    """Repeat a row (n,) or (1 n): (count n)."""
    return _matmul(ops.ones((count, 1), x.dtype), x.reshape(1, -1))


def between(x: Any, count: int) -> Any:
    """Repeat rows (b 1 c) within their samples: (b count c)."""
    return _bmm(ops.ones((x.shape[0], count, 1), x.dtype), x)


def like(x: Any, other: Any) -> Any:
    """Repeat x, whose axes are those of ``other`` or 1, to its shape."""
    if x.shape == other.shape:
        return x
    lead, count, tail = _repeated(x.shape, other.shape)
    if count == 0:
        return ops.broadcast_to(x, other.shape)
    if tail == 1:
        return columns(x.reshape(lead, 1), count).reshape(other.shape)
    if lead == 1:
        return rows(x, count).reshape(other.shape)
    return between(x.reshape(lead, 1, tail), count).reshape(other.shape)


@ops.constexpr
def _repeated(own: Any, shape: Any) -> tuple[int, int, int]:
    """Return the sizes before, of and after the axes that are repeated; 0 repetitions: they are not beside another."""
    differing = [axis for axis in range(len(shape)) if own[axis] != shape[axis]]
    first, last = differing[0], differing[-1] + 1
    count = prod(shape[first:last]) if prod(own[first:last]) == 1 else 0
    return prod(shape[:first]), count, prod(shape[last:])
