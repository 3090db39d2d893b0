"""The CPU's formulation of each operator: stock MindSpore kernels, composed the way that measured fastest.

What the functions mean is said in :mod:`videogen_cli.runtime.functional`. Times in comments are forward + backward in
ms for 2.1 M elements, 2 threads, MindSpore 2.10.
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
import mindspore.ops
from mindspore import nn

from videogen_cli.runtime import cpu_layout as layout
from videogen_cli.runtime.compositions import (  # noqa: F401
    added,
    clips_of,
    frames_of,
    images_of,
    spread_heads,
    swiglu,
    tokens_of,
    with_repeated_frames,
)
from videogen_cli.runtime.cpu_conv import convolution, transposed_convolution
from videogen_cli.runtime.cpu_layout import permute
from videogen_cli.runtime.cpu_norm import group_norm_cell

ops: Any = mindspore.ops  # its annotations do not know that operators return tensors

_RSQRT_2PI = 0.3989422804014327
_SQRT_2_OVER_PI = 0.7978845608028654

_matmul_tb = ops.MatMul(transpose_b=True)
exp, sigmoid = ops.exp, ops.sigmoid
_bmm, _bmm_tb = ops.BatchMatMul(), ops.BatchMatMul(transpose_b=True)
_sum = ops.ReduceSum(keep_dims=True)


def linear(x: Any, weight: Any, bias: Any = None, residual: Any = None) -> Any:
    """Multiply flattened rows, so that one matrix product does all."""
    out = _matmul_tb(x.reshape(-1, weight.shape[1]), weight)
    if bias is not None:
        out = out + layout.rows(bias, out.shape[0])
    return added(out.reshape((*x.shape[:-1], weight.shape[0])), residual)


def linear_from_channels(x: Any, weight: Any, bias: Any = None, frames: int = 0) -> Any:
    """Transpose first."""
    return linear(tokens_of(x, frames, permute), weight, bias)


def linear_to_channels(x: Any, weight: Any, bias: Any, residual: Any, frames: int = 0) -> Any:
    """Transpose after."""
    return images_of(linear(x, weight, bias), residual.shape, frames, permute) + residual


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = (0, 0, 0, 0),
    dilation: int = 1,
    residual: Any = None,
) -> Any:
    """See :mod:`videogen_cli.runtime.cpu_conv`."""
    steps = (stride, stride) if isinstance(stride, int) else stride
    return added(convolution(x, weight, bias, steps, padding, (dilation, dilation)), residual)


def conv_transpose2d(x: Any, weight: Any, bias: Any = None, stride: int = 1, padding: int = 0) -> Any:
    """See :mod:`videogen_cli.runtime.cpu_conv`."""
    return transposed_convolution(x, weight, bias, (stride, stride), (padding, padding, padding, padding))


def depthwise_conv2d(x: Any, weight: Any, padding: Any = (0, 0, 0, 0)) -> Any:
    """Add up the taps' products: gathered rows would be as many times the input as there are taps."""
    top, bottom, left, right = padding
    x = ops.pad(x, (left, right, top, bottom))
    rows, columns = x.shape[2] - weight.shape[2] + 1, x.shape[3] - weight.shape[3] + 1
    total: Any = 0.0
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            tap = weight[:, 0, i, j].reshape(1, -1, 1, 1)
            total = total + x[:, :, i : i + rows, j : j + columns] * tap
    return total


def conv3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = (1, 1, 1),
    padding: Any = (0, 0, 0, 0, 0, 0),
    residual: Any = None,
    repeat_frames: bool = False,
) -> Any:
    """See :mod:`videogen_cli.runtime.cpu_conv`."""
    if repeat_frames:
        x, padding = with_repeated_frames(x, padding[0], padding[1]), (0, 0, *padding[2:])
    return added(convolution(x, weight, bias, stride, padding), residual)


def group_norm(x: Any, groups: int, weight: Any, bias: Any, eps: float, silu: bool = False, frames: int = 1) -> Any:
    """See :mod:`videogen_cli.runtime.cpu_norm`."""
    clips = clips_of(x, frames, permute)
    b, c = clips.shape[0], clips.shape[1]
    parts = (groups, c // groups)
    grouped = clips.reshape((b, *parts, -1))
    normed = group_norm_cell(grouped, weight.reshape(parts), bias.reshape(parts), eps)[0].reshape(clips.shape)
    return frames_of(normed * ops.sigmoid(normed) if silu else normed, frames, x.shape, permute)


def layer_norm(x: Any, weight: Any, bias: Any, eps: float, shift: Any = None, scale: Any = None) -> Any:
    """Compose it from means: 3.5 ms for (8192, 64), the stock kernel 6.9 ms."""
    width = x.shape[-1]
    rows = x.reshape(-1, width)
    centred = rows - layout.columns(ops.mean(rows, -1, True), width)
    normed = centred * layout.columns(ops.rsqrt(ops.mean(centred * centred, -1, True) + eps), width)
    if weight is not None:
        normed = normed * layout.rows(weight, rows.shape[0]) + layout.rows(bias, rows.shape[0])
    return modulated(normed.reshape(x.shape), shift, scale)


def rms_norm(x: Any, weight: Any, eps: float, shift: Any = None, scale: Any = None) -> Any:
    """Compose it, in float32 (Zhang and Sennrich 2019, arXiv:1910.07467)."""
    width = x.shape[-1]
    rows = x.reshape(-1, width).astype(ms.float32)
    normed = rows * layout.columns(ops.rsqrt(ops.mean(rows * rows, -1, True) + eps), width)
    weighted = normed.astype(x.dtype) * layout.rows(weight.astype(x.dtype), rows.shape[0])
    return modulated(weighted.reshape(x.shape), shift, scale)


def modulated(x: Any, shift: Any, scale: Any) -> Any:
    """Return x (b n c) times 1 + scale, plus shift, or x where there are none."""
    return x if shift is None else x * layout.like(1.0 + scale, x) + layout.like(shift, x)


def gated_add(x: Any, gate: Any, y: Any) -> Any:
    """Return ``x + gate * y``, all (b n c)."""
    return x + layout.like(gate, y) * y


def shift_channels(x: Any, shift: Any) -> Any:
    """Add ``shift`` to images and frames alike."""
    (n, c), b = x.shape[:2], shift.shape[0]
    frames = layout.between(shift.reshape(b, 1, c), n // b).reshape(n * c, 1)
    return (x.reshape(n * c, -1) + layout.columns(frames, x.size // (n * c))).reshape(x.shape)


def silu(x: Any) -> Any:
    """Use the stock sigmoid: 2.0; ops.silu 4.5."""
    return x * ops.sigmoid(x)


class Gelu(nn.Cell):
    """GELU with the normal distribution function written as sigmoid(x * P(x*x)).

    P was fitted for the smallest greatest error of the result, 7e-7; the sigmoid kernel adds 1e-6. The erf kernel
    computes one element at a time (22 ms; this takes 7).
    """

    def construct(self, x: Any) -> Any:
        """Return (gelu(x), the normal distribution function at x)."""
        square = x * x
        poly = square * 3.627865452e-09 - 2.675668852e-07
        poly = poly * square + 7.948149411e-06
        poly = poly * square - 1.105468312e-04
        poly = poly * square - 6.605321013e-05
        poly = poly * square + 7.266829798e-02
        poly = poly * square + 1.595768537e00
        below = ops.sigmoid(poly * x)
        return x * below, below

    def bprop(self, x: Any, out: Any, dout: Any) -> Any:
        """Return dout * (distribution + x * density)."""
        density = ops.exp(x * x * -0.5) * _RSQRT_2PI
        return (dout[0] * (out[1] + x * density),)


_gelu: Any = Gelu()


def gelu(x: Any) -> Any:
    """See :class:`Gelu`."""
    return _gelu(x)[0]


def geglu(x: Any) -> Any:
    """Compose it."""
    value, gate = ops.split(x, x.shape[-1] // 2, -1)
    return value * gelu(gate)


def gelu_tanh(x: Any) -> Any:
    """Compose it: ops.gelu(approximate="tanh") takes 53 ms. Uses 1 + tanh(y) = 2 * sigmoid(2y)."""
    return x * ops.sigmoid(2 * _SQRT_2_OVER_PI * x * (1.0 + 0.044715 * (x * x)))


class Tanh(nn.Cell):
    """Made of hyperbolic sines and cosines, whose kernels are exact to the last bit: the tanh kernel is 1e-4 off.

    Far from 0 it is rounded correctly too, which shows where 1 - tanh goes into a logarithm.
    """

    def construct(self, x: Any) -> Any:
        """Return tanh(x)."""
        near = ops.clip(x, -0.5, 0.5)
        twice = 2.0 * ops.clip(ops.abs(x), 0.0, 20.0)
        far = ops.sign(x) * (1.0 - 2.0 / (ops.sinh(twice) + ops.cosh(twice) + 1.0))
        return ops.where(ops.abs(x) < 0.5, ops.sinh(near) / ops.cosh(near), far)

    def bprop(self, x: Any, out: Any, dout: Any) -> Any:
        """Return dout * (1 - tanh^2)."""
        return (dout * (1.0 - out * out),)


_tanh: Any = Tanh()


def tanh(x: Any) -> Any:
    """See :class:`Tanh`."""
    return _tanh(x)


def leaky_relu(x: Any, slope: float) -> Any:
    """Compose it: the kernel exists for Ascend only."""
    return ops.relu(x) - slope * ops.relu(-x)


def max_pool2d(x: Any, size: int = 2) -> Any:
    """Use the stock kernel: (4, 64, 128, 128) forward + backward 86 ms, ops.amax over a reshaped view 215."""
    return ops.MaxPool(size, size, "valid")(x)


class Softmax(nn.Cell):
    """Softmax over the last axis; the stock gradient is 3 to 6 times slower than its own formula composed."""

    def construct(self, x: Any) -> Any:
        """Return probabilities."""
        return ops.softmax(x, -1)

    def bprop(self, x: Any, out: Any, dout: Any) -> Any:
        """Return p * (dout - sum(p * dout))."""
        return (out * (dout - _sum(out * dout, -1)),)


_softmax: Any = Softmax()


def softmax(x: Any, axis: int = -1) -> Any:
    """See :class:`Softmax`; other axes use the stock kernel."""
    if axis in (-1, x.ndim - 1):
        return _softmax(x)
    return ops.softmax(x, axis)


def attention(q: Any, k: Any, v: Any, heads: int, mask: Any = None, scale: Any = None) -> Any:
    """Two batched products with the probabilities between them kept for the gradient."""
    b, n, width = q.shape
    if scale is None:
        scale = (width // heads) ** -0.5
    k, v = spread_heads(k, heads, width // heads), spread_heads(v, heads, width // heads)
    scores = head_products(q * scale, k, heads)
    if mask is not None:
        scores = scores + mask
    out = _bmm(_softmax(scores), split_heads(v, heads))
    return permute(out, (0, 2, 1, 3)).reshape(b, n, width)


def head_products(x: Any, y: Any, heads: int) -> Any:
    """Return the products (b heads n m) of the rows of x (b n heads*d) and of y (b m heads*d)."""
    return _bmm_tb(split_heads(x, heads), split_heads(y, heads))


def split_heads(x: Any, heads: int) -> Any:
    """Turn (b n heads*d) into (b heads n d)."""
    b, n, width = x.shape
    return permute(x.reshape(b, n, heads, width // heads), (0, 2, 1, 3))


def upsample_nearest(x: Any, factor: Any = 2) -> Any:
    """Repeat by broadcasting, whose gradient is a sum."""
    b, c, h, w = x.shape
    rows, columns = (factor, factor) if isinstance(factor, int) else factor
    spread = ops.broadcast_to(x.reshape(b, c, h, 1, w, 1), (b, c, h, rows, w, columns))
    return spread.reshape(b, c, h * rows, w * columns)
