"""Operators made of MindSpore's elementwise ones, right for any target (see :mod:`videogen_cli.runtime.functional`)."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import mindspore.ops

ops: Any = mindspore.ops  # its annotations do not know that operators return tensors


def permute(x: Any, axes: Any) -> Any:
    """Return ``x`` with its axes in that order."""
    return x.permute(axes)


def added(x: Any, residual: Any) -> Any:
    """Return ``x + residual``, or ``x`` where there is none."""
    return x if residual is None else x + residual


def with_repeated_frames(x: Any, front: int, back: int) -> Any:
    """Put copies of the first frame before x (b c f h w), of the last one behind."""
    copies = [x[:, :, :1]] * front + [x] + [x[:, :, -1:]] * back
    return ops.concat(copies, 2) if front + back else x


def tokens_of(images: Any, frames: int, permute: Any) -> Any:
    """Return the pixels of (n c ...) as (n p c), or with ``frames`` f, for n = (b f), as ((b p) f c).

    ``permute`` is the target's.
    """
    n, c = images.shape[:2]
    if frames == 0:
        return permute(images.reshape(n, c, -1), (0, 2, 1))
    return permute(images.reshape(n // frames, frames, c, -1), (0, 3, 1, 2)).reshape(-1, frames, c)


def images_of(tokens: Any, shape: Any, frames: int, permute: Any) -> Any:
    """Return what :func:`tokens_of` made tokens of; ``shape`` (n c ...) is that of the images."""
    n, c = shape[:2]
    if frames == 0:
        return permute(tokens, (0, 2, 1)).reshape(shape)
    return permute(tokens.reshape(n // frames, -1, frames, c), (0, 2, 3, 1)).reshape(shape)


def clips_of(x: Any, frames: int, permute: Any) -> Any:
    """Return images ((b f) c ...) as clips (b c f p), or as they are for one frame."""
    n, c = x.shape[:2]
    return x if frames == 1 else permute(x.reshape(n // frames, frames, c, -1), (0, 2, 1, 3))


def frames_of(clips: Any, frames: int, shape: Any, permute: Any) -> Any:
    """Return what :func:`clips_of` made clips of; ``shape`` is that of the images."""
    return clips if frames == 1 else permute(clips, (0, 2, 1, 3)).reshape(shape)


def modulated(x: Any, shift: Any, scale: Any) -> Any:
    """Return ``x (1 + scale) + shift``, or ``x`` where there are none."""
    return x if shift is None else x * (1.0 + scale) + shift


def shift_channels(x: Any, shift: Any) -> Any:
    """Add ``shift`` to images and frames alike."""
    (n, c), b = x.shape[:2], shift.shape[0]
    return (x.reshape(b, n // b, c, -1) + shift.reshape(b, 1, c, 1)).reshape(x.shape)


def gated_add(x: Any, gate: Any, y: Any) -> Any:
    """Return ``x + gate * y``."""
    return x + gate * y


def swiglu(gate: Any, value: Any) -> Any:
    """Return ``value * silu(gate)``."""
    return value * (gate * ops.sigmoid(gate))


def rms_norm(x: Any, weight: Any, eps: float, shift: Any = None, scale: Any = None) -> Any:
    """Compose it, in float32 (Zhang and Sennrich 2019, arXiv:1910.07467)."""
    wide = x.astype(ms.float32)
    normed = (wide * ops.rsqrt(ops.mean(wide * wide, -1, True) + eps)).astype(x.dtype) * weight.astype(x.dtype)
    return modulated(normed, shift, scale)


def spread_heads(x: Any, heads: int, dim: int) -> Any:
    """Repeat keys or values (b m kv_heads*dim) for the queries of their groups: (b m heads*dim)."""
    b, m, width = x.shape
    if width == heads * dim:
        return x
    kv_heads = width // dim
    spread = ops.broadcast_to(x.reshape(b, m, kv_heads, 1, dim), (b, m, kv_heads, heads // kv_heads, dim))
    return spread.reshape(b, m, heads * dim)
