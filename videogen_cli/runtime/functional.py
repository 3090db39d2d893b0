"""The operators networks are made of: same values on every target, one fast formulation per target.

Networks import this module as ``F`` and call its functions with MindSpore tensors, inside a graph or eagerly; all are
differentiable. The formulations are chosen once, when this module is first imported: :mod:`.ascend_ops`,
or on CPU :mod:`.kernel_ops` where there are compiled kernels and :mod:`.cpu_ops` where not. In skeleton mode (see
:mod:`.cells`) the names exist and cannot be called.

``linear(x, weight, bias=None, residual=None)``
    x (... i) times weight (o i) transposed, plus bias (o), plus residual (... o): (... o).
``linear_from_channels(x, weight, bias=None, frames=0)``
    the same for the pixels of images x (n i ...): tokens (n p o); with ``frames`` f, for n = (b f): ((b p) f o).
``linear_to_channels(x, weight, bias, residual, frames=0)``
    the same for tokens x (n p i), or with ``frames`` f ((b p) f i), as images plus residual (n o ...): (n o ...).
``conv2d(x, weight, bias=None, stride=1, padding=(top, bottom, left, right), dilation=1, residual=None)``
    x (b c h w), weight (o c kh kw), zeros around, taps ``dilation`` apart, plus residual: (b o h' w').
``depthwise_conv2d(x, weight, padding=(top, bottom, left, right))``
    x (b c h w), a kernel of its own for each channel, weight (c 1 kh kw): (b c h' w').
``conv_transpose2d(x, weight, bias=None, stride=1, padding=0)``
    the gradient of a convolution: x (b c h w), weight (c o kh kw), ``padding`` cut off every side: (b o h' w').
``conv3d(x, weight, bias=None, stride=(1, 1, 1), padding=(front, back, top, bottom, left, right), residual=None,
repeat_frames=False)``
    x (b c f h w), weight (o c kf kh kw), zeros around, plus residual: (b o f' h' w'). With ``repeat_frames``, the
    frames that padding adds are copies of the first and of the last one.
``group_norm(x, groups, weight, bias, eps, silu=False, frames=1)``
    x (b c ...) to mean 0 and variance 1 per sample and group of channels, then times weight (c) plus bias (c), then
    through ``silu`` if that is asked for. With ``frames`` f, a sample is f images of x ((b f) c ...).
``layer_norm(x, weight, bias, eps, shift=None, scale=None)``
    the same over the last axis; ``weight`` and ``bias`` may both be None. With shift and scale, which are
    (b 1 ... 1 d) for x (b ... d), the result times (1 + scale), plus shift.
``silu(x)``, ``gelu(x)``, ``gelu_tanh(x)``
    x * sigmoid(x); x times the normal distribution function, within 2e-6; its tanh approximation (Hendrycks and
    Gimpel 2016, arXiv:1606.08415, section 2).
``exp(x)``, ``sigmoid(x)``, ``tanh(x)``
    elementwise.
``relu(x)``, ``leaky_relu(x, slope)``
    positive values as they are, negative ones as 0 or times ``slope``.
``max_pool2d(x, size=2)``
    x (b c h w), the largest of every ``size`` x ``size`` pixels, a remainder left out: (b c h//size w//size).
``softmax(x, axis=-1)``
    exponentials that sum to 1 along ``axis``.
``attention(q, k, v, heads, mask=None, scale=None)``
    q (b n heads*d), k and v (b m heads*d), mask added to the scores and broadcastable to (b heads n m), scale d**-0.5
    unless given (Vaswani et al. 2017, arXiv:1706.03762, equation 1): (b n heads*d). k and v may have fewer heads, each
    for as many consecutive heads of q (Ainslie et al. 2023, arXiv:2305.13245).
``upsample_nearest(x, factor=2)``
    x (b c h w), every pixel ``factor`` times in both directions, or by a factor for (rows, columns).
``permute(x, axes)``
    x with its axes in the order of ``axes``.
``shift_channels(x, shift)``
    x ((b f) c ...) plus shift (b c), the same for all pixels and frames.
``rms_norm(x, weight, eps, shift=None, scale=None)``
    x (... d) divided by the root of its mean square over the last axis, times weight (d); shift and scale as for
    ``layer_norm``.
``geglu(x)``
    value * gelu(gate) (... d); x (... 2*d) holds the values in its first half, the gates after.
``swiglu(gate, value)``
    value * silu(gate), both of one shape (Shazeer 2020, arXiv:2002.05202).
``gated_add(x, gate, y)``
    x + gate * y, gate (b 1 ... 1 d) for x and y (b ... d).
``resize(x, size, kernel="bicubic", antialias=False, align_corners=False)``
    x (... h w) to (... *size), see :mod:`.resampling`.
``average_pool(x, size)``
    x (... h w) to the means (... *size) over windows as equal as whole pixels allow (torch's adaptive_avg_pool2d).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from videogen_cli.runtime.cells import REAL

if REAL:
    import mindspore as ms
    from mindspore import ops

    from videogen_cli.runtime import compositions
    from videogen_cli.runtime.kernels.build import library
    from videogen_cli.runtime.resampling import resampling_matrix

    if ms.get_context("device_target") == "Ascend" and not TYPE_CHECKING:
        from videogen_cli.runtime import ascend_ops as _target_ops
    elif library().path is not None and not TYPE_CHECKING:
        from videogen_cli.runtime import kernel_ops as _target_ops
    else:
        from videogen_cli.runtime import cpu_ops as _target_ops

    attention, conv2d, conv3d = _target_ops.attention, _target_ops.conv2d, _target_ops.conv3d
    geglu, gelu, gelu_tanh, silu = _target_ops.geglu, _target_ops.gelu, _target_ops.gelu_tanh, _target_ops.silu
    group_norm, layer_norm, softmax = _target_ops.group_norm, _target_ops.layer_norm, _target_ops.softmax
    rms_norm, gated_add = _target_ops.rms_norm, _target_ops.gated_add
    leaky_relu, max_pool2d = _target_ops.leaky_relu, _target_ops.max_pool2d
    conv_transpose2d, depthwise_conv2d = _target_ops.conv_transpose2d, _target_ops.depthwise_conv2d
    exp, sigmoid, tanh, swiglu = _target_ops.exp, _target_ops.sigmoid, _target_ops.tanh, _target_ops.swiglu
    linear, upsample_nearest = _target_ops.linear, _target_ops.upsample_nearest
    permute, shift_channels = _target_ops.permute, _target_ops.shift_channels
    linear_from_channels, linear_to_channels = _target_ops.linear_from_channels, _target_ops.linear_to_channels

    _matmul_tb = ops.MatMul(transpose_b=True)

    relu, sin, cos, log, sqrt, floor = ops.relu, ops.sin, ops.cos, ops.log, ops.sqrt, ops.floor
    where, maximum, stop_gradient, assign = ops.where, ops.maximum, ops.stop_gradient, ops.assign

    def tokens_of(x: Any, frames: int) -> Any:
        """Return the pixels of images as tokens."""
        return compositions.tokens_of(x, frames, permute)

    def images_of(tokens: Any, shape: Any, frames: int) -> Any:
        """Return what :func:`tokens_of` made tokens of."""
        return compositions.images_of(tokens, shape, frames, permute)

    def chunk(x: Any, n: int, axis: int) -> Any:
        """Cut ``x`` into ``n`` equal parts along ``axis``."""
        return ops.split(x, x.shape[axis] // n, axis)

    def concat(parts: Any, axis: int) -> Any:
        """Join tensors along ``axis``."""
        return ops.concat(parts, axis)

    def leading(x: Any, count: int, axis: int) -> Any:
        """Return the first ``count`` slices along ``axis``.

        On CPU ``x[:, :count]`` takes 26 ms for 1.6 M elements where that is all of ``x``, and so it does over two axes
        at once; else 0.3.
        """
        return x if x.shape[axis] == count else ops.narrow(x, axis, 0, count)

    def matmul(x: Any, y: Any) -> Any:
        """Return the products (... n m) of matrices x (... n k) and y (... k m)."""
        return ops.matmul(x, y)

    def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        """Return the mean over ``axis`` (an int, a tuple, or None for all)."""
        return ops.mean(x, axis, keepdims)

    def broadcast_to(x: Any, shape: Any) -> Any:
        """Repeat ``x`` along axes of length one, and along new axes before them, until it has ``shape``."""
        return ops.broadcast_to(x, shape)

    def arange(count: int) -> Any:
        """Return the int32 numbers 0 to ``count`` - 1."""
        return ops.arange(0, count, 1, dtype=ms.int32)

    def whole(x: Any) -> Any:
        """Return ``x`` as int64, in which products of int32 numbers do not overflow."""
        return x.astype(ms.int64)

    def argmax(x: Any, axis: int) -> Any:
        """Return the int32 position of the largest value along ``axis``; the first of equal ones."""
        return ops.argmax(x.astype(ms.float32), axis).astype(ms.int32)

    def take(x: Any, indices: Any, axis: int) -> Any:
        """Return the slices of ``x`` at integer ``indices`` (n,) of ``axis``."""
        return ops.gather(x, indices, axis)

    def take_row(x: Any, index: Any) -> Any:
        """Return row ``index`` (b,) of each of x (b n d): (b d)."""
        chosen = ops.one_hot(index, x.shape[1], 1, 0).astype(x.dtype)
        return (x * ops.expand_dims(chosen, -1)).sum(1)

    def l2_normalize(x: Any) -> Any:
        """Scale ``x`` (... d) to length 1 along the last axis."""
        return x * ops.rsqrt(ops.maximum((x * x).sum(-1, keepdims=True), 1e-24))

    @ops.constexpr
    def resampling(
        source: int,
        target: int,
        kernel: str = "bicubic",
        antialias: bool = False,
        align_corners: bool = False,
    ) -> Any:
        """Return the constant matrix (target source) that resizes an axis, see :mod:`.resampling`."""
        return ms.Tensor(resampling_matrix(source, target, kernel, antialias=antialias, align_corners=align_corners))

    def resample(x: Any, rows: Any, columns: Any) -> Any:
        """Return rows @ x @ columns.T for x (... h w), rows (h' h) and columns (w' w)."""
        lead, (h, w) = x.shape[:-2], x.shape[-2:]
        across = _matmul_tb(x.reshape(-1, w), columns.astype(x.dtype)).reshape(-1, h, columns.shape[0])
        down = _matmul_tb(across.swapaxes(1, 2).reshape(-1, h), rows.astype(x.dtype))
        return (
            down.reshape(-1, columns.shape[0], rows.shape[0])
            .swapaxes(1, 2)
            .reshape((*lead, rows.shape[0], columns.shape[0]))
        )

    def resize(x: Any, size: Any, kernel: str = "bicubic", antialias: bool = False, align_corners: bool = False) -> Any:
        """Multiply with the matrices of both axes."""
        rows = resampling(x.shape[-2], size[0], kernel, antialias, align_corners)
        return resample(x, rows, resampling(x.shape[-1], size[1], kernel, antialias, align_corners))

    def average_pool(x: Any, size: Any) -> Any:
        """Reduce where windows are equal; else multiply with the matrices of both axes."""
        rows, columns = size
        h, w = x.shape[-2:]
        if h % rows == 0 and w % columns == 0:
            windows = x.reshape(-1, rows, h // rows, columns, w // columns)
            return windows.mean((2, 4)).reshape((*x.shape[:-2], rows, columns))
        return resize(x, size, "area")

    def zeros(shape: Any, dtype: Any) -> Any:
        """Return zeros."""
        return ops.zeros(shape, dtype)

    def embedding(ids: Any, table: Any) -> Any:
        """Return the rows of ``table`` (v d) at integer ``ids`` (...) as (... d)."""
        return ops.gather(table, ids, 0)

else:

    def __getattr__(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def absent(*_: Any, **__: Any) -> Any:
            raise RuntimeError(f"functional.{name} was called before runtime.context.start()")

        return absent
