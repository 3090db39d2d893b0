"""The length of a long vector, the same to the last bit every time.

MindSpore's full reduction on CPU splits the vector by a number of threads that it finds by trial, so that two equal
runs may round differently. Here every sum has an order that only the length decides.
"""

from __future__ import annotations

from typing import Any

from mindspore import ops

ROW = 1024  # numbers per dot product; one is never split over threads

_dot, _reshape, _slice = ops.BatchMatMul(), ops.Reshape(), ops.Slice()


def squared_norm(vector: Any, size: int) -> Any:
    """Return the sum of squares, (1,), of ``vector`` (size,); float32."""
    rows = size // ROW
    rest = _slice(vector, (rows * ROW,), (size - rows * ROW,)) if size % ROW else None
    total = None if rest is None else _fold(rest * rest, size % ROW)
    if rows:
        body = _slice(vector, (0,), (rows * ROW,))
        dots = _dot(_reshape(body, (rows, 1, ROW)), _reshape(body, (rows, ROW, 1)))
        sums = _fold(_reshape(dots, (rows,)), rows)
        total = sums if total is None else total + sums
    return total


def _fold(values: Any, size: int) -> Any:
    """Return the sum, (1,), of ``values`` (size,), by adding the second half to the first until one is left."""
    odd = None
    while size > 1:
        half = size // 2
        if size % 2:
            last = _slice(values, (size - 1,), (1,))
            odd = last if odd is None else odd + last
        values = _slice(values, (0,), (half,)) + _slice(values, (half,), (half,))
        size = half
    return values if odd is None else values + odd
