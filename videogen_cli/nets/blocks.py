"""The UNet's blocks besides its transformers (AILab-CVC/VideoCrafter, lvdm/modules/networks/openaimodel3d.py).

Every block is called as ``block(h, emb, context, motion_context)`` and takes what it needs: ``h`` ((b f) c h w) with
the frames of a sample one after the other, ``emb`` (b d) the time embedding, ``context`` and ``motion_context``
(b l d) text states. :class:`Upsample` alone is told the size to reach.
"""

from __future__ import annotations

from typing import Any

from videogen_cli.nets.layers import Conv2d, Conv3d, GroupNorm, Identity, Linear, Sequential, SiLU
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import ZEROS, Cell


class TemporalConv(Cell):
    """Four convolutions over frames with a residual, zero at the start (``TemporalConvBlock``)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        kernel = (3, 1, 1)
        self.conv1 = Sequential(GroupNorm(groups, channels), SiLU(), Conv3d(channels, channels, kernel))
        self.conv2 = Sequential(GroupNorm(groups, channels), SiLU(), Identity(), Conv3d(channels, channels, kernel))
        self.conv3 = Sequential(GroupNorm(groups, channels), SiLU(), Identity(), Conv3d(channels, channels, kernel))
        last = Conv3d(channels, channels, kernel, init=ZEROS)
        self.conv4 = Sequential(GroupNorm(groups, channels), SiLU(), Identity(), last)

    def drop(self, masks: Any, rate: float) -> None:
        """Drop elements before all convolutions but the first; ``masks`` is a ``nets.dropout.Masks``."""
        for convolution in (self.conv2, self.conv3, self.conv4):
            convolution.replace(2, masks.dropout(rate))

    def construct(self, x: Any) -> Any:
        """Map (b c f h w) to itself; its norms run over frames and pixels together."""
        return self.conv4(self.conv3(self.conv2(self.conv1(x))), x)


class ResBlock(Cell):
    """Two convolutions per frame with the time embedding added in between, then the temporal convolutions.

    Without ``single_frames`` a lone frame passes by the temporal convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        emb_dim: int,
        groups: int,
        temporal_conv: bool,
        *,
        eps: float = 1e-5,
        single_frames: bool = True,
    ) -> None:
        super().__init__()
        self.fewest_frames = 1 if single_frames else 2
        self.in_layers = Sequential(GroupNorm(groups, in_channels, eps), SiLU(), Conv2d(in_channels, channels))
        self.emb_layers = Sequential(SiLU(), Linear(emb_dim, channels))
        self.out_layers = Sequential(
            GroupNorm(groups, channels, eps), SiLU(), Identity(), Conv2d(channels, channels, init=ZEROS)
        )
        self.skip_connection = Identity() if in_channels == channels else Conv2d(in_channels, channels, kernel=1)
        self.temporal_conv = TemporalConv(channels, groups) if temporal_conv else None

    def construct(self, h: Any, emb: Any, context: Any, motion_context: Any) -> Any:
        """Map h ((b f) in_channels h w) to ((b f) channels h w)."""
        x = self.in_layers(h)
        n, c, height, width = x.shape
        b, f = emb.shape[0], n // emb.shape[0]
        x = self.out_layers(F.shift_channels(x, self.emb_layers(emb)), self.skip_connection(h))
        if self.temporal_conv is not None and f >= self.fewest_frames:
            x = self.temporal_conv(F.permute(x.reshape(b, f, c, height, width), (0, 2, 1, 3, 4)))
            x = F.permute(x, (0, 2, 1, 3, 4)).reshape(n, c, height, width)
        return x


class InputConv(Conv2d):
    """The first convolution, called like a block."""

    def construct(self, h: Any, emb: Any, context: Any, motion_context: Any) -> Any:
        """Map h ((b f) in_channels h w) to ((b f) out_channels h w)."""
        return self.convolve(h)


class Downsample(Cell):
    """Halves height and width with a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = Conv2d(channels, channels, stride=2, padding=(1, 1, 1, 1))

    def construct(self, h: Any, emb: Any, context: Any, motion_context: Any) -> Any:
        """Map h (n c h w) to (n c h/2 w/2)."""
        return self.op(h)


class Upsample(Cell):
    """Doubles height and width by repetition, then convolves; odd sizes were halved with a pixel over, cut off here."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv2d(channels, channels)

    def construct(self, h: Any, shape: Any) -> Any:
        """Map h (n c h w) to the height and width of ``shape``: 2h or 2h - 1, 2w or 2w - 1."""
        x = F.leading(F.upsample_nearest(h), shape[2], 2)
        return self.conv(F.leading(x, shape[3], 3))


class Stage(Sequential):
    """Blocks that run one after the other, what lies between two skip connections; ``upsample`` comes after them."""

    def __init__(self, *cells: Any, upsample: Upsample | None = None) -> None:
        super().__init__(*cells)
        if upsample is not None:
            setattr(self, str(len(cells)), upsample)
        self.upsamplers = () if upsample is None else (upsample,)
        self.recorders = tuple(getattr(cell, "records", False) for cell in cells)

    def construct(
        self, h: Any, emb: Any, context: Any, motion_context: Any, shape: Any = None, token: Any = None
    ) -> Any:
        """Return the last block's output; an upsampled one has the height and width of ``shape`` (n c h w).

        Given a ``token`` (b,) of the motion text, also return a tuple of how much pixels attend to it (b h w f), one
        for every block that reads that text.
        """
        maps = ()
        for index, step in enumerate(self.steps):
            if token is not None and self.recorders[index]:
                h, seen = step(h, emb, context, motion_context, token)
                maps = (*maps, seen)
            else:
                h = step(h, emb, context, motion_context)
        for step in self.upsamplers:
            h = step(h, shape)
        return h if token is None else (h, maps)
