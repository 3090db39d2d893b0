"""Blocks of the causal video autoencoder, by the words of its config (see :mod:`videogen_cli.nets.vae3d`).

All map (b c f h w) to (b c' f' h' w').
"""

from __future__ import annotations

from typing import Any

from videogen_cli.nets.layers import Conv2d, Conv3d, Pointwise
from videogen_cli.nets.vae_blocks import AttnBlock, FrameDownsample, FrameUpsample, ResnetBlock, as_frames, as_video
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell, Init, parameter

Size = tuple[int, int, int]


class CausalConv3d(Cell):
    """A convolution that repeats the first frame before it, so that no frame sees a later one.

    ``padding`` is (top, bottom, left, right), by default what keeps the size at stride 1.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int | Size = 3,
        stride: Size = (1, 1, 1),
        padding: tuple[int, int, int, int] | None = None,
    ) -> None:
        super().__init__()
        size: Size = (kernel, kernel, kernel) if isinstance(kernel, int) else kernel
        around = padding or (size[1] // 2, size[1] // 2, size[2] // 2, size[2] // 2)
        self.conv = Conv3d(
            in_channels, channels, size, stride=stride, padding=(size[0] - 1, 0, *around), repeat_frames=True
        )

    def construct(self, x: Any, residual: Any = None) -> Any:
        """Map (b in_channels f h w) to (b channels f' h' w'); ``residual`` of that shape is added."""
        return self.conv(x, residual)


class FrameConv2d(Conv2d):
    """A 2D convolution of every frame."""

    def construct(self, x: Any) -> Any:
        """Map (b in_channels f h w) to (b channels f h w)."""
        return as_video(self.convolve(as_frames(x)), x.shape[0])


class ResnetBlock3D(ResnetBlock):
    """The residual block with causal convolutions."""

    def __init__(self, in_channels: int, channels: int, groups: int) -> None:
        super().__init__(in_channels, channels, groups, CausalConv3d)


class ResnetBlock2D(ResnetBlock):
    """The frame-wise autoencoder's residual block on every frame."""

    def construct(self, x: Any) -> Any:
        """Map (b in_channels f h w) to (b channels f h w)."""
        return as_video(super().construct(as_frames(x)), x.shape[0])


class FrameAttnBlock(AttnBlock):
    """The frame-wise autoencoder's attention on every frame."""

    def construct(self, x: Any) -> Any:
        """Map (b c f h w) to itself."""
        return as_video(super().construct(as_frames(x)), x.shape[0])


class Projection(Cell):
    """A 1x1x1 convolution over channels-last tokens, named as the causal one that it is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Pointwise(channels, channels, dims=3)

    def construct(self, x: Any) -> Any:
        """Map (... channels) to itself."""
        return self.conv(x)


class AttnBlock3DFix(AttnBlock):
    """Attention over the pixels of each frame, after a norm over all of them."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(channels, groups, Projection)


class AttnBlock3D(AttnBlock3DFix):
    """Attention as the published weights were trained with: what it takes for a frame's channels are slices of memory.

    Queries, keys and values (b c f h w) are read as (b*f c h*w) without moving the frames to the front, and the output
    is read back the same way. For one frame it is :class:`AttnBlock3DFix`.
    """

    def construct(self, x: Any) -> Any:
        """Map (b c f h w) to itself."""
        b, c, f, height, width = x.shape
        tokens = F.permute(self.norm(x), (0, 2, 3, 4, 1))
        q, k, v = (self._mixed(part(tokens)) for part in (self.q, self.k, self.v))
        out = F.permute(F.attention(q, k, v, 1), (0, 2, 1)).reshape(b, c, f, height, width)
        return F.permute(self.proj_out(F.permute(out, (0, 2, 3, 4, 1))), (0, 4, 1, 2, 3)) + x

    def _mixed(self, x: Any) -> Any:
        """Turn (b f h w c) into (b*f h*w c), taking memory in the order of (b c f h w)."""
        b, f, height, width, c = x.shape
        return F.permute(F.permute(x, (0, 4, 1, 2, 3)).reshape(b * f, c, height * width), (0, 2, 1))


class SpatialDownsample2x(Cell):
    """Halves height and width; zeros stand right of and below the picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 0, 1))

    def construct(self, x: Any) -> Any:
        """Map (b c f h w) to (b c f h/2 w/2)."""
        return self.conv(x)


class SpatialUpsample2x(Cell):
    """Doubles height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels, (1, 3, 3))

    def construct(self, x: Any) -> Any:
        """Map (b c f h w) to (b c f 2h 2w)."""
        b, c, f, height, width = x.shape
        x = F.upsample_nearest(x.reshape(b, c * f, height, width))
        return self.conv(x.reshape(b, c, f, 2 * height, 2 * width))


class TimeDownsample2x(Cell):
    """Halves the frames after the first: each is the mean of itself and the two before it."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def construct(self, x: Any) -> Any:
        """Map (b c f h w) to (b c (f+1)/2 h w)."""
        b, c, f, height, width = x.shape
        count = (f - 1) // 2 + 1
        pairs = (b, c, count, 2, height, width)
        x = F.concat([x[:, :, :1], x[:, :, :1], x], 2)
        # slices that skip frames have no gradient on CPU, hence pairs
        earlier = x[:, :, : 2 * count].reshape(pairs).sum(3)
        own = x[:, :, 1 : 2 * count + 1].reshape(pairs)[:, :, :, 1]
        return (earlier + own) / 3.0


class TimeUpsample2x(Cell):
    """Doubles the frames after the first by linear interpolation."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def construct(self, x: Any) -> Any:
        """Map (b c f h w) to (b c 2*f-1 h w)."""
        b, c, f, height, width = x.shape
        if f == 1:
            return x
        first, x = x[:, :, :1], x[:, :, 1:]
        before = F.concat([x[:, :, :1], x[:, :, :-1]], 2)
        after = F.concat([x[:, :, 1:], x[:, :, -1:]], 2)
        early, late = 0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after
        pair = (b, c, f - 1, 1, height, width)
        doubled = F.concat([early.reshape(pair), late.reshape(pair)], 3)
        return F.concat([first, doubled.reshape(b, c, 2 * f - 2, height, width)], 2)


class TimeDownsampleRes2x(TimeDownsample2x):
    """The mean of three frames blended with a strided convolution over them."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        around = (2, 0, 1, 1, 1, 1)
        self.conv = Conv3d(channels, channels, (3, 3, 3), stride=(2, 1, 1), padding=around, repeat_frames=True)
        self.mix_factor = parameter((1,), _MIX)

    def construct(self, x: Any) -> Any:
        """Map (b c f h w) to (b c (f+1)/2 h w)."""
        share = F.sigmoid(self.mix_factor)
        return share * super().construct(x) + (1.0 - share) * self.conv(x)


class TimeUpsampleRes2x(TimeUpsample2x):
    """The interpolated frames blended with a convolution over them."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.conv = CausalConv3d(channels, channels)
        self.mix_factor = parameter((1,), _MIX)

    def construct(self, x: Any) -> Any:
        """Map (b c f h w) to (b c 2*f-1 h w)."""
        share, x = F.sigmoid(self.mix_factor), super().construct(x)
        return share * x + (1.0 - share) * self.conv(x)


_MIX = Init("normal", 0.0, mean=2.0)

CONVOLUTIONS = {"CausalConv3d": CausalConv3d, "Conv2d": FrameConv2d}
RESNETS = {"ResnetBlock3D": ResnetBlock3D, "ResnetBlock2D": ResnetBlock2D}
ATTENTIONS = {"AttnBlock3D": AttnBlock3D, "AttnBlock3DFix": AttnBlock3DFix, "AttnBlock": FrameAttnBlock}
RESAMPLERS = {
    "SpatialDownsample2x": SpatialDownsample2x,
    "SpatialUpsample2x": SpatialUpsample2x,
    "Downsample": FrameDownsample,
    "Upsample": FrameUpsample,
    "TimeDownsample2x": TimeDownsample2x,
    "TimeUpsample2x": TimeUpsample2x,
    "TimeDownsampleRes2x": TimeDownsampleRes2x,
    "TimeUpsampleRes2x": TimeUpsampleRes2x,
}
