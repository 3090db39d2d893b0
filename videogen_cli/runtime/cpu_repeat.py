"""Repetition along an axis on CPU, as a product with ones.

MindSpore's elementwise kernels hold, for operands that they repeat, tables of 16 bytes per element of the result, each
operation its own and until the process ends. Products hold none, and what follows them takes equal shapes, for which
the kernels are three times as fast.
"""

from __future__ import annotations

from math import prod
from typing import Any

import mindspore.ops

ops: Any = mindspore.ops  # its annotations do not know that operators return tensors

_matmul, _bmm = ops.MatMul(), ops.BatchMatMul()


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
