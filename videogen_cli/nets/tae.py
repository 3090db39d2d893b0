"""Movie Gen's temporal autoencoder (TAE): an image autoencoder with a convolution over frames after each over pixels.

Polyak et al., arXiv 2410.13720, section 3.1.1; names and details of mindspore-lab/mindone, examples/moviegen/mg/models/
tae, whose published weights it runs. Videos and activations are (b c f h w).
"""

from __future__ import annotations

from typing import Any

from videogen_cli.nets.layers import Conv2d, Conv3d, GroupNorm, Identity, Linear, Sequential
from videogen_cli.nets.params.tae import TAEParams
from videogen_cli.nets.vae_blocks import (
    EPS,
    LOGVAR_MAX,
    LOGVAR_MIN,
    AttnBlock,
    FrameDownsample,
    FrameUpsample,
    Level,
    LevelDecoder,
    LevelEncoder,
    Middle,
    ResnetBlock,
    as_frames,
    as_video,
)
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import CENTRE, ZEROS, Cell, CellList


class TemporalAutoencoder(Cell):
    """Maps videos to the mean and log-variance of latents, and latents to videos; scales nothing.

    ``frames_per_latent`` frames become one latent frame, the last of them may be fewer; an image is a video of one
    frame. Height and width are halved at every level but the last, rounding down.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: TAEParams) -> None:
        super().__init__()
        params.check()
        z = params.z_channels
        self.encoder = Encoder(params)
        self.decoder = Decoder(params)
        self.quant_conv = FactorisedConv(2 * z, 2 * z, kernel=1) if params.quant_conv else Identity()
        self.post_quant_conv = FactorisedConv(z, z, kernel=1) if params.post_quant_conv else Identity()

    def encode(self, video: Any) -> tuple[Any, Any]:
        """Return mean and unclipped log-variance (b z_channels f/8 h/8 w/8) of videos (b 3 f h w) in [-1, 1]."""
        mean, logvar = F.chunk(self.quant_conv(self.encoder(video)), 2, 1)
        return mean, logvar

    def decode(self, latents: Any) -> Any:
        """Return videos (b 3 8f 8h 8w), about in [-1, 1], of latents (b z_channels f h w).

        They may have more frames than were encoded: the first ones count.
        """
        return self.decoder(self.post_quant_conv(latents))

    def construct(self, video: Any, noise: Any) -> tuple[Any, Any, Any, Any]:
        """Return the reconstruction of videos (b 3 f h w), the latents drawn with ``noise``, their mean and logvar."""
        mean, logvar = self.encode(video)
        latents = draw(mean, logvar, noise)
        return F.leading(self.decode(latents), video.shape[2], 2), latents, mean, logvar


def draw(mean: Any, logvar: Any, noise: Any) -> Any:
    """Return latents of a mean and log-variance, given standard normal ``noise``; all of one shape."""
    return mean + F.exp(0.5 * logvar.clip(LOGVAR_MIN, LOGVAR_MAX)) * noise


class Encoder(LevelEncoder):
    """Videos to the moments of latents, before ``quant_conv``."""

    def __init__(self, params: TAEParams) -> None:
        super().__init__()
        widths = [params.base_channels * multiple for multiple in params.channel_mult]
        self.conv_in = FactorisedConv(params.in_channels, params.base_channels)
        starts = [params.base_channels, *widths[:-1]]
        sizes = enumerate(zip(starts, widths, strict=True))
        self.down = CellList([DownLevel(params, level, start, width) for level, (start, width) in sizes])
        self.mid = _middle(params, widths[-1])
        self.norm_out = GroupNorm(params.norm_groups, widths[-1], EPS, silu=True)
        self.conv_out = FactorisedConv(widths[-1], 2 * params.z_channels)


class Decoder(LevelDecoder):
    """Latents after ``post_quant_conv`` to videos."""

    def __init__(self, params: TAEParams) -> None:
        super().__init__()
        widths = [params.base_channels * multiple for multiple in params.channel_mult]
        self.conv_in = FactorisedConv(params.z_channels, widths[-1])
        self.mid = _middle(params, widths[-1])
        starts = [*widths[1:], widths[-1]]
        sizes = enumerate(zip(starts, widths, strict=True))
        self.up = CellList([UpLevel(params, level, start, width) for level, (start, width) in sizes])
        self.norm_out = GroupNorm(params.norm_groups, widths[0], EPS, silu=True)
        self.conv_out = FactorisedConv(widths[0], params.out_channels)


class FactorisedConv(Cell):
    """A convolution over pixels, then one over frames that repeats the first and last frame ("2.5D")."""

    def __init__(self, in_channels: int, channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv_spat = Conv2d(in_channels, channels, kernel)
        self.conv_temp = conv_over_frames(channels, kernel, repeat_frames=True)

    def construct(self, x: Any, residual: Any = None) -> Any:
        """Map (b in_channels f h w) to (b channels f h w); ``residual`` of that shape is added."""
        return self.conv_temp(as_video(self.conv_spat(as_frames(x)), x.shape[0]), residual)


def conv_over_frames(channels: int, kernel: int, stride: int = 1, *, repeat_frames: bool) -> Conv3d:
    """Return a convolution over frames that starts as the identity, as in an inflated image autoencoder."""
    size = (kernel, 1, 1)
    return Conv3d(channels, channels, size, stride=(stride, 1, 1), repeat_frames=repeat_frames, init=CENTRE)


class FactorisedResnetBlock(ResnetBlock):
    """The residual block with convolutions over pixels and frames in turn."""

    def __init__(self, in_channels: int, channels: int, groups: int) -> None:
        super().__init__(in_channels, channels, groups, FactorisedConv)


class TemporalAttention(Cell):
    """Single-head self-attention over the frames at each pixel, which knows no order.

    It starts by adding nothing, so that an inflated image autoencoder starts as that; the original draws it.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = GroupNorm(groups, channels, EPS)
        self.to_q = Linear(channels, channels, init=CENTRE)
        self.to_k = Linear(channels, channels, init=CENTRE)
        self.to_v = Linear(channels, channels, init=CENTRE)
        self.proj_out = Linear(channels, channels, init=ZEROS)

    def construct(self, x: Any) -> Any:
        """Map (b c f h w) to itself."""
        b, c, f, h, w = x.shape
        tokens = F.permute(self.norm(x), (0, 3, 4, 2, 1)).reshape(b * h * w, f, c)
        out = self.proj_out(F.attention(self.to_q(tokens), self.to_k(tokens), self.to_v(tokens), 1))
        return F.permute(out.reshape(b, h, w, f, c), (0, 4, 3, 1, 2)) + x


class SpatialAttention(Sequential):
    """Attention over the pixels of each frame."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(AttnBlock(channels, groups))


class FactorisedAttention(Sequential):
    """Attention over the pixels of each frame, then over the frames at each pixel."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(AttnBlock(channels, groups), TemporalAttention(channels, groups))


def _attention(params: TAEParams) -> type[Sequential]:
    return FactorisedAttention if params.temporal_attention else SpatialAttention


def _middle(params: TAEParams, channels: int) -> Middle:
    return Middle(channels, params.norm_groups, FactorisedResnetBlock, _attention(params))


class FactorisedLevel(Level):
    """Residual blocks of a level, with the attention behind each that the params give it."""

    def __init__(self, params: TAEParams, level: int, in_channels: int, channels: int, count: int) -> None:
        attention = _attention(params) if level in params.attention_levels else None
        super().__init__(in_channels, channels, count, params.norm_groups, FactorisedResnetBlock, attention)


class DownLevel(FactorisedLevel):
    """One level of the encoder."""

    def __init__(self, params: TAEParams, level: int, in_channels: int, channels: int) -> None:
        super().__init__(params, level, in_channels, channels, params.num_res_blocks)
        last = level == len(params.channel_mult) - 1
        self.downsample_spat = Identity() if last else FrameDownsample(channels)
        halves = level in params.temporal_downsample_levels
        self.downsample_temp = TemporalDownsample(channels) if halves else Identity()

    def construct(self, x: Any) -> Any:
        """Map (b in_channels f h w) to (b channels f' h' w')."""
        return self.downsample_temp(self.downsample_spat(self.refine(x)))


class UpLevel(FactorisedLevel):
    """One level of the decoder."""

    def __init__(self, params: TAEParams, level: int, in_channels: int, channels: int) -> None:
        super().__init__(params, level, in_channels, channels, params.num_res_blocks + 1)
        self.upsample_spat = FrameUpsample(channels) if level > 0 else Identity()
        doubles = level in params.temporal_upsample_levels
        self.upsample_temp = TemporalUpsample(channels) if doubles else Identity()

    def construct(self, x: Any) -> Any:
        """Map (b in_channels f h w) to (b channels f' h' w')."""
        return self.upsample_temp(self.upsample_spat(self.refine(x)))


class TemporalDownsample(Cell):
    """Halves the frames with a strided convolution that repeats the first and last frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv_over_frames(channels, 3, stride=2, repeat_frames=True)

    def construct(self, x: Any) -> Any:
        """Map (b c f h w) to (b c f/2 h w), rounding up."""
        return self.conv(x)


class TemporalUpsample(Cell):
    """Doubles the frames by repetition and a convolution with zeros beyond both ends.

    The paper repeats the end frames here too; the code that made the published weights does not.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv_over_frames(channels, 3, repeat_frames=False)

    def construct(self, x: Any) -> Any:
        """Map (b c f h w) to (b c 2f h w)."""
        b, c, f, h, w = x.shape
        doubled = F.upsample_nearest(x.reshape(b, c, f, h * w), (2, 1))
        return self.conv(doubled.reshape(b, c, 2 * f, h, w))
