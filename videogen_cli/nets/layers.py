"""Layers with torch's parameter names, shapes and default initialisation; ``init`` replaces the last.

Checkpoints then need no renaming, and a network's cell names are its published key names. Where an original holds
layers in a list, :class:`Sequential` and :class:`Identity` keep the published indices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import ONES, REAL, ZEROS, Cell, Init, parameter


def constant(array: np.ndarray) -> Any:
    """Return ``array`` as a tensor a network can hold, which is no parameter; a skeleton holds the array."""
    if not REAL:
        return array
    from mindspore import Tensor

    return Tensor(array)


def constant_function(compute: Callable[..., np.ndarray]) -> Callable[..., Any]:
    """Decorate a numpy function of plain numbers so that networks can call it: a graph holds its result."""
    if not REAL:
        return compute
    from mindspore import Tensor, ops

    def constant(*numbers: Any) -> Any:
        return Tensor(compute(*numbers))

    return ops.constexpr(constant, name=compute.__name__)


def torch_uniform(fan_in: int) -> Init:
    """Return torch's default for linear and convolution layers, weights and biases alike."""
    return Init("uniform", 1 / math.sqrt(fan_in))


class Adaptable(Cell):
    """A layer that low-rank factors may join, see :func:`videogen_cli.nets.lora.adapt`."""

    def __init__(self) -> None:
        super().__init__()
        self.lora: Any = None  # a LowRank
        self.beside = False  # whether the factors run beside the layer, not as a part of its weight

    def kernel(self) -> Any:
        """Return the weight, with the factors' product where they are a part of it."""
        return self.weight if self.lora is None or self.beside else self.lora.added_to(self.weight)

    def with_update(self, out: Any, x: Any) -> Any:
        """Return the layer's output for ``x``, with that of the factors where they run beside it."""
        return out + self.lora(x) if self.beside else out


class Linear(Adaptable):
    """``x @ weight.T + bias`` over the last axis."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, init: Init | None = None) -> None:
        super().__init__()
        init = init or torch_uniform(in_features)
        self.weight = parameter((out_features, in_features), init)
        self.bias = parameter((out_features,), init) if bias else None

    def construct(self, x: Any, residual: Any = None) -> Any:
        """Map (... in_features) to (... out_features); ``residual`` of that shape is added."""
        return self.with_update(F.linear(x, self.kernel(), self.bias, residual), x)

    def from_images(self, x: Any, frames: int = 0) -> Any:
        """Map the pixels of (n in_features h w) to tokens, see ``F.linear_from_channels``."""
        if self.beside:
            return self.construct(F.tokens_of(x, frames))
        return F.linear_from_channels(x, self.kernel(), self.bias, frames)

    def to_images(self, x: Any, residual: Any, frames: int = 0) -> Any:
        """Map tokens to pixels and add them to (n out_features h w), see ``F.linear_to_channels``."""
        if self.beside:
            return F.images_of(self.construct(x), residual.shape, frames) + residual
        return F.linear_to_channels(x, self.kernel(), self.bias, residual, frames)


class Pointwise(Cell):
    """A convolution of kernel size 1 over ``dims`` axes, applied to channels-last tokens, which saves transposes."""

    def __init__(self, in_channels: int, out_channels: int, dims: int, init: Init | None = None) -> None:
        super().__init__()
        init = init or torch_uniform(in_channels)
        self.matrix = (out_channels, in_channels)
        self.weight = parameter((*self.matrix, *(1,) * dims), init)
        self.bias = parameter((out_channels,), init)

    def construct(self, x: Any, residual: Any = None) -> Any:
        """Map (... in_channels) to (... out_channels); ``residual`` of that shape is added."""
        return F.linear(x, self.weight.reshape(self.matrix), self.bias, residual)

    def from_images(self, x: Any, frames: int = 0) -> Any:
        """Map the pixels of (n in_channels ...) to tokens, see ``F.linear_from_channels``."""
        return F.linear_from_channels(x, self.weight.reshape(self.matrix), self.bias, frames)

    def to_images(self, x: Any, residual: Any, frames: int = 0) -> Any:
        """Map tokens to pixels and add them to (n out_channels ...), see ``F.linear_to_channels``."""
        return F.linear_to_channels(x, self.weight.reshape(self.matrix), self.bias, residual, frames)


class Conv2d(Adaptable):
    """A 2D convolution; ``padding`` is (top, bottom, left, right), by default what keeps the size at stride 1."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        padding: tuple[int, int, int, int] | None = None,
        dilation: int = 1,
        bias: bool = True,
        init: Init | None = None,
    ) -> None:
        super().__init__()
        init = init or torch_uniform(in_channels * kernel * kernel)
        self.stride, self.padding, self.dilation = stride, padding or (kernel // 2 * dilation,) * 4, dilation
        self.weight = parameter((out_channels, in_channels, kernel, kernel), init)
        self.bias = parameter((out_channels,), init) if bias else None

    def construct(self, x: Any, residual: Any = None) -> Any:
        """Map (n in_channels h w) to (n out_channels h' w'); ``residual`` of that shape is added."""
        return self.convolve(x, residual)

    def convolve(self, x: Any, residual: Any = None) -> Any:
        """Do what ``construct`` does, for layers that are called in another way."""
        out = F.conv2d(x, self.kernel(), self.bias, self.stride, self.padding, self.dilation, residual)
        return self.with_update(out, x)


class ConvTranspose2d(Cell):
    """A transposed 2D convolution; ``padding`` is cut off every side."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        init = torch_uniform(out_channels * kernel * kernel)
        self.stride, self.padding = stride, padding
        self.weight = parameter((in_channels, out_channels, kernel, kernel), init)
        self.bias = parameter((out_channels,), init)

    def construct(self, x: Any) -> Any:
        """Map (n in_channels h w) to (n out_channels h' w')."""
        return F.conv_transpose2d(x, self.weight, self.bias, self.stride, self.padding)


class Conv3d(Adaptable):
    """A 3D convolution; ``kernel`` and ``stride`` are (frames, height, width).

    ``padding`` is (front, back, top, bottom, left, right), by default what keeps the size at stride 1; with
    ``repeat_frames``, the frames it adds are copies of the end frames, not zeros.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int, int],
        *,
        stride: tuple[int, int, int] = (1, 1, 1),
        padding: tuple[int, ...] | None = None,
        repeat_frames: bool = False,
        bias: bool = True,
        init: Init | None = None,
    ) -> None:
        super().__init__()
        init = init or torch_uniform(in_channels * math.prod(kernel))
        self.stride, self.padding = stride, padding or tuple(k // 2 for k in kernel for _ in range(2))
        self.repeat_frames = repeat_frames
        self.weight = parameter((out_channels, in_channels, *kernel), init)
        self.bias = parameter((out_channels,), init) if bias else None

    def construct(self, x: Any, residual: Any = None) -> Any:
        """Map (b in_channels f h w) to (b out_channels f' h' w'); ``residual`` of that shape is added."""
        out = F.conv3d(x, self.kernel(), self.bias, self.stride, self.padding, residual, self.repeat_frames)
        return self.with_update(out, x)


class GroupNorm(Cell):
    """Normalises groups of channels over all axes behind them, with ``silu`` behind if asked for."""

    def __init__(self, groups: int, channels: int, eps: float = 1e-5, silu: bool = False) -> None:
        super().__init__()
        self.groups, self.eps, self.silu = groups, eps, silu
        self.weight = parameter((channels,), ONES)
        self.bias = parameter((channels,), ZEROS)

    def construct(self, x: Any, frames: int = 1) -> Any:
        """Map (b channels ...) to itself, or ((b f) channels ...) with statistics over all f ``frames`` of a sample."""
        return F.group_norm(x, self.groups, self.weight, self.bias, self.eps, self.silu, frames)


class LayerNorm(Cell):
    """Normalises the last axis; without ``affine`` it has no parameters."""

    def __init__(self, width: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = parameter((width,), ONES) if affine else None
        self.bias = parameter((width,), ZEROS) if affine else None

    def construct(self, x: Any, shift: Any = None, scale: Any = None) -> Any:
        """Normalise (... width), then modulate by shift and scale if given, see ``F.layer_norm``."""
        return F.layer_norm(x, self.weight, self.bias, self.eps, shift, scale)


class RMSNorm(Cell):
    """Divides by the root mean square of the last axis."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = parameter((width,), ONES)

    def construct(self, x: Any, shift: Any = None, scale: Any = None) -> Any:
        """Normalise (... width), then modulate by shift and scale if given, see ``F.rms_norm``."""
        return F.rms_norm(x, self.weight, self.eps, shift, scale)


class Embedding(Cell):
    """A table of ``count`` vectors."""

    def __init__(self, count: int, width: int, scale: float = 1.0) -> None:
        super().__init__()
        self.weight = parameter((count, width), Init("normal", scale))

    def construct(self, ids: Any) -> Any:
        """Map integer ids (...) to (... width)."""
        return F.embedding(ids, self.weight)


class SiLU(Cell):
    """``x * sigmoid(x)``."""

    def construct(self, x: Any) -> Any:
        """Map any shape to itself."""
        return F.silu(x)


class ReLU(Cell):
    """Positive values as they are, negative ones as 0."""

    def construct(self, x: Any) -> Any:
        """Map any shape to itself."""
        return F.relu(x)


class GELU(Cell):
    """The exact GELU."""

    def construct(self, x: Any) -> Any:
        """Map any shape to itself."""
        return F.gelu(x)


class Identity(Cell):
    """Returns its input; holds a place in a list so that published indices stay."""

    def construct(self, x: Any) -> Any:
        """Map any shape to itself."""
        return x


class Sequential(Cell):
    """Cells named "0", "1", ... that run one after the other; a norm does the activation behind it along the way."""

    def __init__(self, *cells: Any) -> None:
        super().__init__()
        for index, cell in enumerate(cells):
            setattr(self, str(index), cell)
        self.steps = _running(cells)

    def replace(self, index: int, cell: Any) -> None:
        """Put ``cell`` into the place of another one."""
        cells = [getattr(self, name) for name, _ in self.name_cells().items()]
        setattr(self, str(index), cell)
        cells[index] = cell
        self.steps = _running(cells)

    def construct(self, x: Any, residual: Any = None) -> Any:
        """Return the last cell's output; ``residual`` of its shape is added, by the cell itself."""
        for step in self.steps[:-1]:
            x = step(x)
        return self.steps[-1](x) if residual is None else self.steps[-1](x, residual)


def _running(cells: Sequence[Any]) -> tuple[Any, ...]:
    """Return what of ``cells`` runs: not those that only hold a place, nor activations that the norm before does."""
    steps: list[Any] = []
    for cell in cells:
        if isinstance(cell, SiLU) and steps and isinstance(steps[-1], GroupNorm):
            steps[-1].silu = True
        elif not isinstance(cell, Identity):
            steps.append(cell)
    return tuple(steps)


def timestep_frequencies(dim: int) -> np.ndarray:
    """Return the ``dim // 2`` frequencies of :func:`timestep_embedding`: 10000^(-k / (dim / 2)).

    Exponents are rounded to float32 like the originals': phases reach 1000 radians, where the last bit shows.
    """
    half = dim // 2
    exponents = np.float32(-math.log(10000)) * np.arange(half, dtype=np.float32) / np.float32(half)
    frequencies = np.exp(exponents.astype(np.float64)).astype(np.float32)
    if half == 128:
        frequencies[12] = np.nextafter(frequencies[12], np.float32(1))  # a near tie that PyTorch rounds up
    return frequencies


def timestep_embedding(timesteps: Any, frequencies: Any) -> Any:
    """Embed (b,) numbers as (b dim): cosines, then sines (DDPM's, in the order of openai/guided-diffusion)."""
    angles = timesteps.reshape(-1, 1).astype(frequencies.dtype) * frequencies
    return F.concat([F.cos(angles), F.sin(angles)], -1)
