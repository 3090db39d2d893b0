"""The CPU's formulation of each operator: stock MindSpore kernels, composed the way that measured fastest."""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import ops
from mindspore.ops._primitive_cache import _get_cache_prim

Tensor = ms.Tensor

_RSQRT2 = 0.7071067811865476
_SQRT_2_OVER_PI = 0.7978845608028654


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """See :func:`videogen_cli.runtime.functional.linear`."""
    rows = x.reshape(-1, weight.shape[1])
    out = ops.MatMul(transpose_b=True)(rows, weight)
    if bias is not None:
        out = out + bias
    return out.reshape(x.shape[:-1] + (weight.shape[0],))


def conv2d(x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = (0, 0, 0, 0)) -> Any:
    """See :func:`videogen_cli.runtime.functional.conv2d`."""
    conv = _get_cache_prim(ops.Conv2D)(weight.shape[0], weight.shape[2:], pad_mode="pad", pad=padding, stride=stride)
    out = conv(x, weight)
    if bias is not None:
        out = ops.bias_add(out, bias)
    return out


def conv3d(x: Any, weight: Any, bias: Any = None, stride: Any = (1, 1, 1), padding: Any = (0, 0, 0, 0, 0, 0)) -> Any:
    """See :func:`videogen_cli.runtime.functional.conv3d`."""
    if weight.shape[3] == 1 and weight.shape[4] == 1 and padding[2:] == (0, 0, 0, 0) and stride[1:] == (1, 1):
        b, c, f, h, w = x.shape
        flat = weight.reshape(weight.shape[:3] + (1,))
        out = conv2d(x.reshape(b, c, f, h * w), flat, bias, (stride[0], 1), (padding[0], padding[1], 0, 0))
        return out.reshape(b, out.shape[1], out.shape[2], h, w)
    conv = _get_cache_prim(ops.Conv3D)(weight.shape[0], weight.shape[2:], pad_mode="pad", pad=padding, stride=stride)
    out = conv(x, weight)
    if bias is not None:
        out = out + bias.reshape(1, -1, 1, 1, 1)
    return out


def group_norm(x: Any, groups: int, weight: Any, bias: Any, eps: float) -> Any:
    """See :func:`videogen_cli.runtime.functional.group_norm`."""
    b, c = x.shape[:2]
    grouped = x.reshape(b, groups, -1)
    centred = grouped - ops.mean(grouped, -1, True)
    scale = ops.rsqrt(ops.mean(centred * centred, -1, True) + eps)
    out = (centred * scale).reshape(b, c, -1)
    return (out * weight.reshape(1, c, 1) + bias.reshape(1, c, 1)).reshape(x.shape)


def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    """See :func:`videogen_cli.runtime.functional.layer_norm`."""
    centred = x - ops.mean(x, -1, True)
    scale = ops.rsqrt(ops.mean(centred * centred, -1, True) + eps)
    return centred * scale * weight + bias


def silu(x: Any) -> Any:
    """See :func:`videogen_cli.runtime.functional.silu`."""
    return x * ops.sigmoid(x)


def gelu(x: Any) -> Any:
    """See :func:`videogen_cli.runtime.functional.gelu`."""
    return 0.5 * x * (1.0 + ops.erf(x * _RSQRT2))


def gelu_tanh(x: Any) -> Any:
    """See :func:`videogen_cli.runtime.functional.gelu_tanh`."""
    return 0.5 * x * (1.0 + ops.tanh(_SQRT_2_OVER_PI * x * (1.0 + 0.044715 * (x * x))))


def softmax(x: Any, axis: int = -1) -> Any:
    """See :func:`videogen_cli.runtime.functional.softmax`."""
    return ops.softmax(x, axis)


def attention(q: Any, k: Any, v: Any, heads: int, mask: Any = None, scale: Any = None) -> Any:
    """See :func:`videogen_cli.runtime.functional.attention`."""
    b, n, width = q.shape
    m, d = k.shape[1], width // heads
    if scale is None:
        scale = d**-0.5
    q = (q * scale).reshape(b, n, heads, d).transpose(0, 2, 1, 3)
    k = k.reshape(b, m, heads, d).transpose(0, 2, 1, 3)
    v = v.reshape(b, m, heads, d).transpose(0, 2, 1, 3)
    scores = ops.BatchMatMul(transpose_b=True)(q, k)
    if mask is not None:
        scores = scores + mask
    out = ops.BatchMatMul()(softmax(scores, -1), v)
    return out.transpose(0, 2, 1, 3).reshape(b, n, width)


def upsample_nearest(x: Any, factor: int = 2) -> Any:
    """See :func:`videogen_cli.runtime.functional.upsample_nearest`."""
    b, c, h, w = x.shape
    spread = ops.broadcast_to(x.reshape(b, c, h, 1, w, 1), (b, c, h, factor, w, factor))
    return spread.reshape(b, c, h * factor, w * factor)
