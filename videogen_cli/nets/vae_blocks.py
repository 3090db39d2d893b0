"""Blocks that the autoencoders share, for images (n c h w) and for clips (b c f h w).

Source: CompVis/latent-diffusion, ldm/modules/diffusionmodules/model.py, whose names the autoencoders of video kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from videogen_cli.nets.layers import Conv2d, GroupNorm, Identity, Pointwise
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell, CellList

EPS = 1e-6
LOGVAR_MIN, LOGVAR_MAX = -30.0, 20.0


class ResnetBlock(Cell):
    """Two convolutions with a residual; the norms of a clip run over frames and pixels together.

    ``convolution`` is called with channels of input and output, and the size of a kernel if it is not 3.
    """

    def __init__(self, in_channels: int, channels: int, groups: int, convolution: Callable[..., Any] = Conv2d) -> None:
        super().__init__()
        self.norm1 = GroupNorm(groups, in_channels, EPS, silu=True)
        self.conv1 = convolution(in_channels, channels)
        self.norm2 = GroupNorm(groups, channels, EPS, silu=True)
        self.conv2 = convolution(channels, channels)
        self.nin_shortcut = Identity() if in_channels == channels else convolution(in_channels, channels, kernel=1)

    def construct(self, x: Any) -> Any:
        """Map (n in_channels ... h w) to (n channels ... h w)."""
        h = self.conv1(self.norm1(x))
        return self.conv2(self.norm2(h), self.nin_shortcut(x))


def _pointwise(channels: int) -> Pointwise:
    return Pointwise(channels, channels, dims=2)


class AttnBlock(Cell):
    """Single-head self-attention over the pixels of each image or frame.

    ``projection`` makes a map of channels-last tokens to as many channels.
    """

    def __init__(self, channels: int, groups: int, projection: Callable[[int], Any] = _pointwise) -> None:
        super().__init__()
        self.norm = GroupNorm(groups, channels, EPS)
        self.q, self.k, self.v = projection(channels), projection(channels), projection(channels)
        self.proj_out = projection(channels)

    def construct(self, x: Any) -> Any:
        """Map (n c h w) or (b c f h w) to itself."""
        c, height, width = x.shape[1], x.shape[-2], x.shape[-1]
        clips = self.norm(x).reshape(x.shape[0], c, -1, height, width)
        b, f = clips.shape[0], clips.shape[2]
        tokens = F.permute(clips, (0, 2, 3, 4, 1)).reshape(b * f, height * width, c)
        out = self.proj_out(F.attention(self.q(tokens), self.k(tokens), self.v(tokens), 1))
        return F.permute(out.reshape(b, f, height, width, c), (0, 4, 1, 2, 3)).reshape(x.shape) + x


class Middle(Cell):
    """The coarsest level of encoder and decoder; ``resnet`` and ``attention`` as for :class:`Level`."""

    def __init__(
        self,
        channels: int,
        groups: int,
        resnet: Callable[[int, int, int], Any] = ResnetBlock,
        attention: Callable[[int, int], Any] = AttnBlock,
    ) -> None:
        super().__init__()
        self.block_1 = resnet(channels, channels, groups)
        self.attn_1 = attention(channels, groups)
        self.block_2 = resnet(channels, channels, groups)

    def construct(self, x: Any) -> Any:
        """Map (n c ... h w) to itself."""
        return self.block_2(self.attn_1(self.block_1(x)))


class Level(Cell):
    """Residual blocks of one resolution, each with attention behind it where there is one.

    Args:
        in_channels: of the input.
        channels: of the output.
        count: number of residual blocks.
        groups: of normalisation.
        resnet: makes a residual block of channels of input and output, and groups.
        attention: makes one of channels and groups; None for none.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        count: int,
        groups: int,
        resnet: Callable[[int, int, int], Any] = ResnetBlock,
        attention: Callable[[int, int], Any] | None = None,
    ) -> None:
        super().__init__()
        starts = [in_channels, *[channels] * (count - 1)]
        self.block = CellList([resnet(start, channels, groups) for start in starts])
        self.attn = CellList([attention(channels, groups) for _ in starts]) if attention else None

    def refine(self, x: Any) -> Any:
        """Map (n in_channels ... h w) to (n channels ... h w)."""
        for index in range(len(self.block)):
            x = self.block[index](x)
            if self.attn is not None:
                x = self.attn[index](x)
        return x


class LevelEncoder(Cell):
    """From full resolution to the coarsest level; subclasses make its cells."""

    conv_in: Any
    down: Any
    mid: Any
    norm_out: Any
    conv_out: Any

    def construct(self, x: Any) -> Any:
        """Map images or clips (n c ... h w) to the moments of latents, before ``quant_conv``."""
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.conv_out(self.norm_out(self.mid(x)))


class LevelDecoder(Cell):
    """From the coarsest level to full resolution; subclasses make its cells."""

    conv_in: Any
    mid: Any
    up: Any
    norm_out: Any
    conv_out: Any

    def construct(self, x: Any) -> Any:
        """Map latents (n c ... h w), after ``post_quant_conv``, to images or clips."""
        x = self.mid(self.conv_in(x))
        for index in range(len(self.up) - 1, -1, -1):  # levels are numbered from full resolution
            x = self.up[index](x)
        return self.conv_out(self.norm_out(x))


class Resample(Cell):
    """Halves an image with a strided convolution, or doubles it by repetition and a convolution."""

    def __init__(self, channels: int, grow: bool) -> None:
        super().__init__()
        self.grow = grow
        # halving pads right and bottom only
        self.conv = Conv2d(channels, channels) if grow else Conv2d(channels, channels, stride=2, padding=(0, 1, 0, 1))

    def construct(self, x: Any) -> Any:
        """Map (n c h w) to (n c h/2 w/2) or (n c 2h 2w)."""
        return self.conv(F.upsample_nearest(x) if self.grow else x)


class FrameDownsample(Resample):
    """Halves height and width of every frame."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, grow=False)

    def construct(self, x: Any) -> Any:
        """Map (b c f h w) to (b c f h/2 w/2)."""
        return as_video(super().construct(as_frames(x)), x.shape[0])


class FrameUpsample(Resample):
    """Doubles height and width of every frame."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, grow=True)

    def construct(self, x: Any) -> Any:
        """Map (b c f h w) to (b c f 2h 2w)."""
        return as_video(super().construct(as_frames(x)), x.shape[0])


def as_frames(x: Any) -> Any:
    """Turn (b c f h w) into ((b f) c h w)."""
    b, c, f, height, width = x.shape
    return F.permute(x, (0, 2, 1, 3, 4)).reshape(b * f, c, height, width)


def as_video(x: Any, b: int) -> Any:
    """Turn ((b f) c h w) into (b c f h w)."""
    n, c, height, width = x.shape
    return F.permute(x.reshape(b, n // b, c, height, width), (0, 2, 1, 3, 4))
