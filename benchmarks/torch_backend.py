"""Runs vgen's networks on PyTorch, so that every network has a peer of the same structure, weights and inputs.

Networks are written against ``videogen_cli.runtime.cells`` and ``videogen_cli.runtime.functional`` only. ``install``
puts into the first the classes below and this very module in place of the second, whose functions it has: each the
call that a good PyTorch implementation would make. It must run before any network is imported, in a process that has
no MindSpore.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as tf
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

concat, relu, sigmoid, tanh, silu = torch.cat, tf.relu, torch.sigmoid, torch.tanh, tf.silu
sin, cos, exp, log, sqrt = torch.sin, torch.cos, torch.exp, torch.log, torch.sqrt
where, matmul, chunk, broadcast_to = torch.where, torch.matmul, torch.chunk, torch.broadcast_to


class Cell(nn.Module):
    """A cell of vgen as a module: ``construct`` is its forward, ``parameter`` its parameters."""

    construct: Any

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Call ``construct``."""
        return self.construct(*inputs, **named)


class CellList(nn.ModuleList):
    """Cells in order."""


def parameter(shape: tuple[int, ...], init: Any = None) -> nn.Parameter:
    """Return a parameter without values."""
    return nn.Parameter(torch.empty(shape))


def buffer(shape: tuple[int, ...], init: Any = None) -> nn.Parameter:
    """Return a parameter without values that no gradient reaches."""
    return nn.Parameter(torch.empty(shape), requires_grad=False)


def install() -> None:
    """Make networks that are imported from now on PyTorch's."""
    from videogen_cli.runtime import cells

    cells.Cell, cells.CellList, cells.parameter, cells.buffer = Cell, CellList, parameter, buffer
    sys.modules["videogen_cli.runtime.functional"] = sys.modules[__name__]
    tensor: Any = torch.Tensor
    tensor.astype, tensor.expand_dims = tensor.to, tensor.unsqueeze
    from videogen_cli.nets import layers

    layers.constant = torch.from_numpy
    layers.constant_function = lambda compute: lru_cache(lambda *numbers: torch.from_numpy(compute(*numbers)))


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    raise NotImplementedError(f"functional.{name} has no PyTorch peer yet: add it to {__file__}")


def linear(x: Any, weight: Any, bias: Any = None, residual: Any = None) -> Any:
    return _added(tf.linear(x, weight, bias), residual)


def linear_from_channels(x: Any, weight: Any, bias: Any = None, frames: int = 0) -> Any:
    return tf.linear(tokens_of(x, frames), weight, bias)


def linear_to_channels(x: Any, weight: Any, bias: Any, residual: Any, frames: int = 0) -> Any:
    return images_of(tf.linear(x, weight, bias), residual.shape, frames) + residual


def tokens_of(images: Any, frames: int) -> Any:
    pixels = images.flatten(2)
    if frames == 0:
        return pixels.transpose(1, 2)
    return pixels.unflatten(0, (-1, frames)).permute(0, 3, 1, 2).flatten(0, 1)


def images_of(tokens: Any, shape: Any, frames: int) -> Any:
    if frames == 0:
        return tokens.transpose(1, 2).reshape(shape)
    return tokens.unflatten(0, (shape[0] // frames, -1)).permute(0, 2, 3, 1).reshape(shape)


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = (0,) * 4,
    dilation: int = 1,
    residual: Any = None,
) -> Any:
    x, around = _padded(x, padding)
    return _added(tf.conv2d(x, weight, bias, stride, around, dilation), residual)


def conv3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = (1, 1, 1),
    padding: Any = (0,) * 6,
    residual: Any = None,
    repeat_frames: bool = False,
) -> Any:
    if repeat_frames:
        x = torch.cat([x[:, :, :1]] * padding[0] + [x] + [x[:, :, -1:]] * padding[1], 2)
        padding = (0, 0, *padding[2:])
    x, around = _padded(x, padding)
    return _added(tf.conv3d(x, weight, bias, stride, around), residual)


def _added(x: Any, residual: Any) -> Any:
    return x if residual is None else x + residual


def _padded(x: Any, padding: Any) -> Any:
    """Leave padding that is the same on both sides to the convolution."""
    before, after = tuple(padding[::2]), tuple(padding[1::2])
    if before == after:
        return x, before
    around = [size for pair in reversed(list(zip(before, after, strict=True))) for size in pair]
    return tf.pad(x, around), (0,) * len(before)


def depthwise_conv2d(x: Any, weight: Any, padding: Any = (0,) * 4) -> Any:
    x, around = _padded(x, padding)
    return tf.conv2d(x, weight, None, 1, around, groups=x.shape[1])


def conv_transpose2d(x: Any, weight: Any, bias: Any = None, stride: int = 1, padding: int = 0) -> Any:
    return tf.conv_transpose2d(x, weight, bias, stride, padding)


def group_norm(x: Any, groups: int, weight: Any, bias: Any, eps: float, silu: bool = False, frames: int = 1) -> Any:
    if frames > 1:
        clips = x.unflatten(0, (-1, frames)).transpose(1, 2)
        return group_norm(clips, groups, weight, bias, eps, silu).transpose(1, 2).flatten(0, 1)
    x = tf.group_norm(x, groups, weight, bias, eps)
    return tf.silu(x) if silu else x


def layer_norm(x: Any, weight: Any, bias: Any, eps: float, shift: Any = None, scale: Any = None) -> Any:
    return _modulated(tf.layer_norm(x, x.shape[-1:], weight, bias, eps), shift, scale)


def rms_norm(x: Any, weight: Any, eps: float, shift: Any = None, scale: Any = None) -> Any:
    return _modulated(tf.rms_norm(x, x.shape[-1:], weight, eps), shift, scale)


def _modulated(x: Any, shift: Any, scale: Any) -> Any:
    return x if scale is None else x * (1.0 + scale) + shift


def gated_add(x: Any, gate: Any, y: Any) -> Any:
    return x + gate * y


def gelu(x: Any) -> Any:
    return tf.gelu(x)


def gelu_tanh(x: Any) -> Any:
    return tf.gelu(x, approximate="tanh")


def geglu(x: Any) -> Any:
    value, gate = x.chunk(2, -1)
    return value * tf.gelu(gate)


def swiglu(gate: Any, value: Any) -> Any:
    return tf.silu(gate) * value


def leaky_relu(x: Any, slope: float) -> Any:
    return tf.leaky_relu(x, slope)


def softmax(x: Any, axis: int = -1) -> Any:
    return tf.softmax(x, axis)


def max_pool2d(x: Any, size: int = 2) -> Any:
    return tf.max_pool2d(x, size)


def average_pool(x: Any, size: Any) -> Any:
    return tf.adaptive_avg_pool2d(x, size)


def upsample_nearest(x: Any, factor: int = 2) -> Any:
    return tf.interpolate(x, scale_factor=factor, mode="nearest")


def attention(q: Any, k: Any, v: Any, heads: int, mask: Any = None, scale: Any = None) -> Any:
    width = q.shape[-1] // heads
    q, k, v = (part.unflatten(-1, (-1, width)).transpose(1, 2) for part in (q, k, v))
    shared = k.shape[1] < heads
    return tf.scaled_dot_product_attention(q, k, v, mask, scale=scale, enable_gqa=shared).transpose(1, 2).flatten(2)


def permute(x: Any, axes: Any) -> Any:
    return x.permute(axes)


def shift_channels(x: Any, shift: Any) -> Any:
    spread = shift.reshape(*shift.shape, *(1,) * (x.ndim - 2))
    return (x.unflatten(0, (len(shift), -1)) + spread.unsqueeze(1)).flatten(0, 1)


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return x.mean(axis, keepdims)


def maximum(x: Any, y: Any) -> Any:
    return torch.maximum(x, y) if isinstance(y, torch.Tensor) else x.clamp_min(y)


def stop_gradient(x: Any) -> Any:
    return x.detach()


def arange(count: int) -> Any:
    return torch.arange(count, dtype=torch.int32)


def argmax(x: Any, axis: int) -> Any:
    return x.argmax(axis).int()


def take(x: Any, indices: Any, axis: int) -> Any:
    return x.index_select(axis, indices)


def leading(x: Any, count: int, axis: int) -> Any:
    return x.narrow(axis, 0, count)


def take_row(x: Any, index: Any) -> Any:
    return x[torch.arange(len(x)), index]


def l2_normalize(x: Any) -> Any:
    return tf.normalize(x, dim=-1, eps=1e-12)


def zeros(shape: Any, dtype: Any) -> Any:
    return torch.zeros(shape, dtype=dtype)


def embedding(ids: Any, table: Any) -> Any:
    return tf.embedding(ids, table) if table.ndim == 2 else table[ids]


def count_flops(call: Any) -> int:
    """Return the floating-point operations of matrix products, convolutions and attentions in ``call()``."""
    aten = torch.ops.aten
    attentions = {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
    }
    with FlopCounterMode(display=False, custom_mapping=attentions) as counter:
        call()
    return counter.get_total_flops()


def _attention_flops(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    """Count two products of (b heads n d) and (b heads m d)."""
    b, heads, n, d = q
    return 4 * b * heads * n * k[2] * d


def _attention_backward_flops(grad: Any, q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    """Count five products, of which one is the scores computed again."""
    return _attention_flops(q, k, v) * 5 // 2
