"""Ascend's choice of operator: aclnn kernels through ``mindspore.mint``, and FlashAttentionScore.

What the functions mean is said in :mod:`videogen_cli.runtime.functional`. Products, convolutions and attention run in
the dtype of ``device.dtype``; group norms in float32; other norms, softmax and activations in what reaches them.
Signatures follow the MindSpore 2.8 documentation of ``mindspore.mint`` and ``mindspore.ops.flash_attention_score``.
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
import mindspore.mint.nn.functional
from mindspore import mint, ops

from videogen_cli.runtime.compositions import (  # noqa: F401
    added,
    clips_of,
    frames_of,
    gated_add,
    images_of,
    modulated,
    permute,
    rms_norm,
    shift_channels,
    spread_heads,
    swiglu,
    tokens_of,
    with_repeated_frames,
)
from videogen_cli.runtime.context import started

_NAMES = {"fp32": ms.float32, "fp16": ms.float16, "bf16": ms.bfloat16}
COMPUTE = (started() or {"dtype": "fp32"})["dtype"]
DTYPE = _NAMES[COMPUTE]

_fn: Any = mindspore.mint.nn.functional


def linear(x: Any, weight: Any, bias: Any = None, residual: Any = None) -> Any:
    """Multiply in the compute dtype."""
    return added(_fn.linear(x.astype(DTYPE), weight.astype(DTYPE), _cast(bias)), residual)


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
    groups: int = 1,
) -> Any:
    """Convolve; padding that differs between sides is added first."""
    top, bottom, left, right = padding
    x, kernel, around = x.astype(DTYPE), weight.astype(DTYPE), (top, left)
    if top != bottom or left != right:
        x, around = _fn.pad(x, (left, right, top, bottom)), 0
    return added(_fn.conv2d(x, kernel, _cast(bias), stride, around, dilation, groups), residual)


def conv_transpose2d(x: Any, weight: Any, bias: Any = None, stride: int = 1, padding: int = 0) -> Any:
    """Use the aclnn kernel."""
    return _fn.conv_transpose2d(x.astype(DTYPE), weight.astype(DTYPE), _cast(bias), stride, padding)


def depthwise_conv2d(x: Any, weight: Any, padding: Any = (0, 0, 0, 0)) -> Any:
    """Convolve in as many groups as there are channels."""
    return conv2d(x, weight, None, 1, padding, 1, None, weight.shape[0])


def conv3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = (1, 1, 1),
    padding: Any = (0, 0, 0, 0, 0, 0),
    residual: Any = None,
    repeat_frames: bool = False,
) -> Any:
    """Convolve; padding that differs between sides is added first."""
    if repeat_frames:
        x, padding = with_repeated_frames(x, padding[0], padding[1]), (0, 0, *padding[2:])
    front, back, top, bottom, left, right = padding
    x, around = x.astype(DTYPE), (front, top, left)
    if front != back or top != bottom or left != right:
        x, around = _fn.pad(x, (left, right, top, bottom, front, back)), 0
    return added(_fn.conv3d(x, weight.astype(DTYPE), _cast(bias), stride, around), residual)


def group_norm(x: Any, groups: int, weight: Any, bias: Any, eps: float, silu: bool = False, frames: int = 1) -> Any:
    """Use the aclnn kernel, in float32 whatever reaches it: a group may be of a million numbers.

    The MindSpore port of T2V-Turbo keeps these norms in float32 too (``keep_gn_fp32``).
    """
    weight, bias = weight.astype(ms.float32), bias.astype(ms.float32)
    normed = _fn.group_norm(clips_of(x, frames, permute).astype(ms.float32), groups, weight, bias, eps)
    return frames_of(_fn.silu(normed) if silu else normed, frames, x.shape, permute).astype(x.dtype)


def layer_norm(x: Any, weight: Any, bias: Any, eps: float, shift: Any = None, scale: Any = None) -> Any:
    """Use the aclnn kernel, which accumulates in float32."""
    if weight is not None:
        weight, bias = weight.astype(x.dtype), bias.astype(x.dtype)
    return modulated(_fn.layer_norm(x, (x.shape[-1],), weight, bias, eps), shift, scale)


silu, exp, sigmoid, tanh = _fn.silu, mint.exp, mint.sigmoid, mint.tanh


def leaky_relu(x: Any, slope: float) -> Any:
    """Use the aclnn kernel."""
    return _fn.leaky_relu(x, slope)


def max_pool2d(x: Any, size: int = 2) -> Any:
    """Use the aclnn kernel."""
    return _fn.max_pool2d(x, size, size)


def gelu(x: Any) -> Any:
    """Use the aclnn kernel with erf."""
    return _fn.gelu(x)


def geglu(x: Any) -> Any:
    """Compose it."""
    value, gate = mint.chunk(x, 2, -1)
    return value * gelu(gate)


def gelu_tanh(x: Any) -> Any:
    """Use the aclnn kernel with tanh."""
    return _fn.gelu(x, approximate="tanh")


def softmax(x: Any, axis: int = -1) -> Any:
    """Use the aclnn kernel."""
    return _fn.softmax(x, axis)


def attention(q: Any, k: Any, v: Any, heads: int, mask: Any = None, scale: Any = None) -> Any:
    """Use flash attention, which reads (b n heads*d) as it is; it has no float32 kernel, so that composes."""
    b, n, width = q.shape
    if scale is None:
        scale = (width // heads) ** -0.5
    q, k, v = q.astype(DTYPE), k.astype(DTYPE), v.astype(DTYPE)
    k, v = spread_heads(k, heads, width // heads), spread_heads(v, heads, width // heads)
    if COMPUTE == "fp32":
        return _composed_attention(q * scale, k, v, heads, mask)
    if mask is not None:
        mask = mint.broadcast_to(mask.astype(DTYPE), (b, heads, n, k.shape[1]))
    return ops.flash_attention_score(
        q, k, v, heads, real_shift=mask, scalar_value=scale, input_layout="BSH", keep_prob=1.0
    )


def upsample_nearest(x: Any, factor: Any = 2) -> Any:
    """Use the aclnn kernel."""
    rows, columns = (factor, factor) if isinstance(factor, int) else factor
    return _fn.interpolate(x, size=(x.shape[2] * rows, x.shape[3] * columns), mode="nearest")


def _composed_attention(q: Any, k: Any, v: Any, heads: int, mask: Any) -> Any:
    b, n, width = q.shape
    split = (b, -1, heads, width // heads)
    q, k, v = (t.reshape(split).transpose(0, 2, 1, 3) for t in (q, k, v))
    scores = mint.matmul(q, k.transpose(0, 1, 3, 2))
    if mask is not None:
        scores = scores + mask
    return mint.matmul(softmax(scores), v).transpose(0, 2, 1, 3).reshape(b, n, width)


def _cast(bias: Any) -> Any:
    return None if bias is None else bias.astype(DTYPE)
