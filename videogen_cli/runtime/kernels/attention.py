"""Attention as kernels; the function is described in :mod:`videogen_cli.runtime.functional`."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import mindspore.ops

from videogen_cli.runtime import cpu_ops as stock
from videogen_cli.runtime.compositions import spread_heads
from videogen_cli.runtime.kernels.calls import Kernel, numbers, reals

ops: Any = mindspore.ops  # its annotations do not know that operators return tensors


def _forward_shapes(q: Any, k: Any, v: Any, mask: Any, scale: Any, heads: Any) -> Any:
    heads = heads[1]
    if len(q) != 3 or len(k) != 3 or v != k or q[0] != k[0]:
        raise ValueError("queries, keys and values are not (b n d), (b m d) and (b m d)")
    if heads < 1 or q[2] % heads or k[2] % (q[2] // heads) or q[2] % k[2]:
        raise ValueError(f"the widths are not made of {heads} heads")
    scores = (q[0], heads, q[1], k[1])
    if mask != (0,) and not _broadcasts(mask, scores):
        raise ValueError(f"the mask does not fit the scores {'x'.join(map(str, scores))}")
    if scale != (1,):
        raise ValueError("the scale is not one number")
    return list(q), [2, q[0], heads, q[1]]


def _broadcasts(mask: Any, scores: Any) -> bool:
    pairs = zip(reversed(mask), reversed(scores), strict=False)
    return len(mask) <= len(scores) and all(length in (1, whole) for length, whole in pairs)


def _backward_shapes(q: Any, k: Any, v: Any, *_: Any) -> Any:
    return list(q), list(k), list(v)


_backward: Any = Kernel("attention_backward", _backward_shapes)


def _bprop(q: Any, k: Any, v: Any, mask: Any, scale: Any, heads: Any, out: Any, dout: Any) -> Any:
    dq, dk, dv = _backward(q, k, v, mask, scale, heads, out[0], out[1], dout[0])
    dmask = ops.zeros_like(mask) if mask.shape[0] == 0 else _mask_gradient(q, k, v, mask, scale, heads, out, dout)
    return dq, dk, dv, dmask, ops.zeros_like(scale), ops.zeros_like(heads)


def _mask_gradient(q: Any, k: Any, v: Any, mask: Any, scale: Any, heads: Any, out: Any, dout: Any) -> Any:
    """Return the mask's gradient from all scores at once. Graphs that do not use it do not compute it."""
    count = heads.shape[1]
    dim = q.shape[2] // count
    k, v = spread_heads(k, count, dim), spread_heads(v, count, dim)
    agreement = ops.expand_dims(stock.split_heads(dout[0] * out[0], count).sum(-1), -1)
    scores = stock.head_products(q * scale, k, count) + mask
    probabilities = ops.exp(scores - ops.expand_dims(out[1][0], -1)) * ops.expand_dims(out[1][1], -1)
    gradient = probabilities * (stock.head_products(dout[0], v, count) - agreement)
    lead = 4 - mask.ndim
    shape = (1,) * lead + mask.shape
    axes = [axis for axis in range(4) if shape[axis] < gradient.shape[axis]]
    return (gradient.sum(tuple(axes), keepdims=True) if axes else gradient).reshape(mask.shape)


_forward: Any = Kernel("attention_forward", _forward_shapes, _bprop)


def attention(q: Any, k: Any, v: Any, heads: int, mask: Any = None, scale: Any = None) -> Any:
    """Two kernels that never hold all scores; the second computes them again for the gradient."""
    if q.dtype != ms.float32:
        return stock.attention(q, k, v, heads, mask, scale)
    factor = (q.shape[-1] // heads) ** -0.5 if scale is None else scale
    added = numbers() if mask is None else mask.astype(ms.float32)
    return _forward(q, k, v, added, reals(factor), numbers(heads))[0]
