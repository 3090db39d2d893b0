"""The frame-wise KL autoencoder of latent diffusion, under its published names.

Source: CompVis/latent-diffusion, ldm/modules/diffusionmodules/model.py (Encoder, Decoder) and
ldm/models/autoencoder.py (AutoencoderKL); every system here uses Stable Diffusion's f8 weights of it.
"""

from __future__ import annotations

from typing import Any

from videogen_cli.nets.layers import Conv2d, GroupNorm, Identity, Pointwise
from videogen_cli.nets.params.vae2d import AutoencoderKLParams
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell, CellList

EPS = 1e-6
LOGVAR_MIN, LOGVAR_MAX = -30.0, 20.0


class AutoencoderKL(Cell):
    """Maps images to the mean and log-variance of latents, and latents to images; scales nothing.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: AutoencoderKLParams) -> None:
        super().__init__()
        params.check()
        self.encoder = Encoder(params)
        self.decoder = Decoder(params)
        z, latent = params.z_channels, params.embed_dim
        self.quant_conv = Conv2d(2 * z, 2 * latent, kernel=1) if params.quant_conv else Identity()
        self.post_quant_conv = Conv2d(latent, z, kernel=1) if params.quant_conv else Identity()

    def encode(self, images: Any) -> tuple[Any, Any]:
        """Return mean and log-variance (n embed_dim h/8 w/8) of images (n 3 h w) in [-1, 1]."""
        mean, logvar = F.chunk(self.quant_conv(self.encoder(images)), 2, 1)
        return mean, logvar.clip(LOGVAR_MIN, LOGVAR_MAX)

    def decode(self, latents: Any) -> Any:
        """Return images (n 3 h w), about in [-1, 1], of latents (n embed_dim h/8 w/8)."""
        return self.decoder(self.post_quant_conv(latents))

    def construct(self, images: Any) -> Any:
        """Return the reconstruction of images (n 3 h w) from their latents' mean."""
        return self.decode(self.encode(images)[0])


class Encode(Cell):
    """The autoencoder's first half as a graph of its own."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def construct(self, images: Any) -> Any:
        """Return mean, then standard deviation, on the channel axis (n 2*embed_dim h/8 w/8) of images (n 3 h w)."""
        mean, logvar = self.vae.encode(images)
        return F.concat([mean, F.exp(0.5 * logvar)], 1)


class Decode(Cell):
    """The autoencoder's second half as a graph of its own."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def construct(self, latents: Any) -> Any:
        """Return images (n 3 h w) of latents (n embed_dim h/8 w/8)."""
        return self.vae.decode(latents)


class Encoder(Cell):
    """Images to the moments of latents, before ``quant_conv``."""

    def __init__(self, params: AutoencoderKLParams) -> None:
        super().__init__()
        base, groups = params.base_channels, params.norm_groups
        widths = [base * multiple for multiple in params.channel_mult]
        self.conv_in = Conv2d(params.in_channels, base)
        starts = [base, *widths[:-1]]
        self.down = CellList(
            [
                DownLevel(
                    start,
                    width,
                    params.num_res_blocks,
                    groups,
                    shrink=level < len(widths) - 1,
                    attend=level in params.attention_levels,
                )
                for level, (start, width) in enumerate(zip(starts, widths, strict=True))
            ]
        )
        self.mid = Middle(widths[-1], groups)
        self.norm_out = GroupNorm(groups, widths[-1], EPS)
        self.conv_out = Conv2d(widths[-1], 2 * params.z_channels)

    def construct(self, x: Any) -> Any:
        """Map (n 3 h w) to (n 2*z_channels h/8 w/8)."""
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(Cell):
    """Latents after ``post_quant_conv`` to images."""

    def __init__(self, params: AutoencoderKLParams) -> None:
        super().__init__()
        groups = params.norm_groups
        widths = [params.base_channels * multiple for multiple in params.channel_mult]
        self.conv_in = Conv2d(params.z_channels, widths[-1])
        self.mid = Middle(widths[-1], groups)
        starts = [*widths[1:], widths[-1]]
        self.up = CellList(
            [
                UpLevel(
                    start,
                    width,
                    params.num_res_blocks + 1,
                    groups,
                    grow=level > 0,
                    attend=level in params.attention_levels,
                )
                for level, (start, width) in enumerate(zip(starts, widths, strict=True))
            ]
        )
        self.norm_out = GroupNorm(groups, widths[0], EPS)
        self.conv_out = Conv2d(widths[0], params.out_channels)

    def construct(self, x: Any) -> Any:
        """Map (n z_channels h/8 w/8) to (n 3 h w)."""
        x = self.mid(self.conv_in(x))
        for level in self.up[::-1]:  # levels are numbered from full resolution
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class ResnetBlock(Cell):
    """Two convolutions with a residual."""

    def __init__(self, in_channels: int, channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(groups, in_channels, EPS)
        self.conv1 = Conv2d(in_channels, channels)
        self.norm2 = GroupNorm(groups, channels, EPS)
        self.conv2 = Conv2d(channels, channels)
        self.nin_shortcut = Identity() if in_channels == channels else Conv2d(in_channels, channels, kernel=1)

    def construct(self, x: Any) -> Any:
        """Map (n in_channels h w) to (n channels h w)."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return self.nin_shortcut(x) + h


class AttnBlock(Cell):
    """Single-head self-attention over the pixels of an image."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = GroupNorm(groups, channels, EPS)
        self.q = Pointwise(channels, channels, dims=2)
        self.k = Pointwise(channels, channels, dims=2)
        self.v = Pointwise(channels, channels, dims=2)
        self.proj_out = Pointwise(channels, channels, dims=2)

    def construct(self, x: Any) -> Any:
        """Map (n c h w) to itself."""
        n, c, height, width = x.shape
        tokens = self.norm(x).reshape(n, c, -1).permute(0, 2, 1)
        out = self.proj_out(F.attention(self.q(tokens), self.k(tokens), self.v(tokens), 1))
        return out.permute(0, 2, 1).reshape(n, c, height, width) + x


class Middle(Cell):
    """The coarsest level of encoder and decoder."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, groups)
        self.attn_1 = AttnBlock(channels, groups)
        self.block_2 = ResnetBlock(channels, channels, groups)

    def construct(self, x: Any) -> Any:
        """Map (n c h w) to itself."""
        return self.block_2(self.attn_1(self.block_1(x)))


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


class Level(Cell):
    """Residual blocks of one resolution, each with attention over its pixels after it where ``attend`` says so."""

    def __init__(self, in_channels: int, channels: int, count: int, groups: int, attend: bool) -> None:
        super().__init__()
        starts = [in_channels, *[channels] * (count - 1)]
        self.block = CellList([ResnetBlock(start, channels, groups) for start in starts])
        self.attn = CellList([AttnBlock(channels, groups) for _ in starts]) if attend else None

    def refine(self, x: Any) -> Any:
        """Map (n in_channels h w) to (n channels h w)."""
        for index in range(len(self.block)):
            x = self.block[index](x)
            if self.attn is not None:
                x = self.attn[index](x)
        return x


class DownLevel(Level):
    """One level of the encoder."""

    def __init__(self, in_channels: int, channels: int, count: int, groups: int, *, shrink: bool, attend: bool) -> None:
        super().__init__(in_channels, channels, count, groups, attend)
        self.downsample = Resample(channels, grow=False) if shrink else Identity()

    def construct(self, x: Any) -> Any:
        """Map (n in_channels h w) to (n channels h w) or half its size."""
        return self.downsample(self.refine(x))


class UpLevel(Level):
    """One level of the decoder."""

    def __init__(self, in_channels: int, channels: int, count: int, groups: int, *, grow: bool, attend: bool) -> None:
        super().__init__(in_channels, channels, count, groups, attend)
        self.upsample = Resample(channels, grow=True) if grow else Identity()

    def construct(self, x: Any) -> Any:
        """Map (n in_channels h w) to (n channels h w) or twice its size."""
        return self.upsample(self.refine(x))
