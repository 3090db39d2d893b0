"""The frame-wise KL autoencoder of latent diffusion, under its published names.

Source: CompVis/latent-diffusion, ldm/modules/diffusionmodules/model.py (Encoder, Decoder) and
ldm/models/autoencoder.py (AutoencoderKL); every system here uses Stable Diffusion's f8 weights of it.
"""

from __future__ import annotations

from typing import Any

from videogen_cli.nets.layers import Conv2d, GroupNorm, Identity
from videogen_cli.nets.params.vae2d import AutoencoderKLParams
from videogen_cli.nets.vae_blocks import (
    EPS,
    LOGVAR_MAX,
    LOGVAR_MIN,
    AttnBlock,
    Level,
    LevelDecoder,
    LevelEncoder,
    Middle,
    Resample,
)
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell, CellList


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


class Encoder(LevelEncoder):
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
        self.norm_out = GroupNorm(groups, widths[-1], EPS, silu=True)
        self.conv_out = Conv2d(widths[-1], 2 * params.z_channels)


class Decoder(LevelDecoder):
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
        self.norm_out = GroupNorm(groups, widths[0], EPS, silu=True)
        self.conv_out = Conv2d(widths[0], params.out_channels)


class DownLevel(Level):
    """One level of the encoder."""

    def __init__(self, in_channels: int, channels: int, count: int, groups: int, *, shrink: bool, attend: bool) -> None:
        super().__init__(in_channels, channels, count, groups, attention=AttnBlock if attend else None)
        self.downsample = Resample(channels, grow=False) if shrink else Identity()

    def construct(self, x: Any) -> Any:
        """Map (n in_channels h w) to (n channels h w) or half its size."""
        return self.downsample(self.refine(x))


class UpLevel(Level):
    """One level of the decoder."""

    def __init__(self, in_channels: int, channels: int, count: int, groups: int, *, grow: bool, attend: bool) -> None:
        super().__init__(in_channels, channels, count, groups, attention=AttnBlock if attend else None)
        self.upsample = Resample(channels, grow=True) if grow else Identity()

    def construct(self, x: Any) -> Any:
        """Map (n in_channels h w) to (n channels h w) or twice its size."""
        return self.upsample(self.refine(x))
