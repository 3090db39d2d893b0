"""Patch discriminators (Isola et al. 2016, arXiv:1611.07004, section 3.2.2) of images and of clips.

Names: CompVis/taming-transformers ``NLayerDiscriminator`` and PKU-YuanGroup/Open-Sora-Plan ``NLayerDiscriminator3D``.
"""

from __future__ import annotations

from typing import Any

from videogen_cli.nets.layers import Conv2d, Conv3d, Sequential
from videogen_cli.nets.params.discriminators import PatchDiscriminatorParams
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import ONES, ZEROS, Cell, Init, buffer, parameter

_WIDEST = 8  # the most channels, in multiples of the first layer's
_CONV = Init("normal", 0.02)
_EPS, _MOMENTUM = 1e-5, 0.1  # torch's, of batch norms


class PatchDiscriminator(Cell):
    """Says of every patch how real it looks: logits, for images 2D and for clips 3D.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: PatchDiscriminatorParams) -> None:
        super().__init__()
        params.check()
        base, video = params.base_channels, params.video
        cells: list[Any] = [_conv(params.in_channels, base, (2, 2, 2), video), LeakyReLU()]
        width = base
        for layer in range(1, params.num_layers + 1):
            wider = base * min(2**layer, _WIDEST)
            # clips are halved in time by the first layer only
            stride = (1, 2, 2) if layer < params.num_layers else (1, 1, 1)
            cells += [_conv(width, wider, stride, video, bias=False), BatchNorm(wider, video), LeakyReLU()]
            width = wider
        self.main = Sequential(*cells, _conv(width, 1, (1, 1, 1), video))

    def construct(self, x: Any) -> Any:
        """Return logits (b 1 h' w') of images (b c h w), or (b 1 f' h' w') of clips (b c f h w)."""
        return self.main(x)


class BatchNorm(Cell):
    """Normalises channels over the batch and all axes behind them.

    In training by the batch's own statistics, which the running ones follow; otherwise by the running ones.
    """

    def __init__(self, channels: int, video: bool) -> None:
        super().__init__()
        self.axes = (0, 2, 3, 4) if video else (0, 2, 3)
        self.per_channel = (1, channels, 1, 1, 1) if video else (1, channels, 1, 1)
        self.weight = parameter((channels,), Init("normal", 0.02, mean=1.0))
        self.bias = parameter((channels,), ZEROS)
        self.running_mean = buffer((channels,), ZEROS)
        self.running_var = buffer((channels,), ONES)

    def construct(self, x: Any) -> Any:
        """Normalise (b channels ...)."""
        if self.training:
            mean = F.mean(x, self.axes, True)
            variance = F.mean((x - mean) * (x - mean), self.axes, True)
            count = x.size // self.per_channel[1]
            self._follow(self.running_mean, mean)
            self._follow(self.running_var, variance * (count / (count - 1)))
        else:
            mean = self.running_mean.reshape(self.per_channel)
            variance = self.running_var.reshape(self.per_channel)
        scale = self.weight.reshape(self.per_channel) / F.sqrt(variance + _EPS)
        return (x - mean) * scale + self.bias.reshape(self.per_channel)

    def _follow(self, running: Any, value: Any) -> None:
        value = F.stop_gradient(value.reshape(running.shape))
        F.assign(running, running + _MOMENTUM * (value - running))


class LeakyReLU(Cell):
    """A fifth of negative values is kept."""

    def construct(self, x: Any) -> Any:
        """Map any shape to itself."""
        return F.leaky_relu(x, 0.2)


def _conv(in_channels: int, channels: int, stride: tuple[int, int, int], video: bool, bias: bool = True) -> Any:
    """Return a convolution of kernel 4 with one zero around, by which sizes at stride 1 shrink by one."""
    if video:
        kernel, padding = (4, 4, 4), (1, 1, 1, 1, 1, 1)
        return Conv3d(in_channels, channels, kernel, stride=stride, padding=padding, bias=bias, init=_CONV)
    return Conv2d(in_channels, channels, 4, stride=stride[1], padding=(1, 1, 1, 1), bias=bias, init=_CONV)
