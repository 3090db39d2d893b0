"""Sizes of the frame-wise autoencoder."""

from __future__ import annotations

from dataclasses import dataclass, field

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.checks import levels, positive


@dataclass
class AutoencoderKLParams:
    """The frame-wise KL autoencoder of latent diffusion; defaults are Stable Diffusion's f8."""

    in_channels: int = 3
    out_channels: int = 3
    base_channels: int = 128
    channel_mult: list[int] = field(default_factory=lambda: [1, 2, 4, 4])
    num_res_blocks: int = 2  # per level of the encoder; the decoder has one more
    attention_levels: list[int] = field(default_factory=list)  # from 0, full resolution; the middle always attends
    z_channels: int = 4
    embed_dim: int = 4  # latent channels
    norm_groups: int = 32
    quant_conv: bool = True  # a convolution after the encoder and one before the decoder; SD3.5's has neither

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: a size is not positive, channels do not divide into norm groups, there is no such level, or
                nothing brings ``z_channels`` to ``embed_dim``.
        """
        positive("vae", self, "in_channels", "out_channels", "base_channels", "num_res_blocks")
        positive("vae", self, "z_channels", "embed_dim", "norm_groups")
        levels("vae", self.base_channels, self.channel_mult, self.norm_groups)
        for level in self.attention_levels:
            if not 0 <= level < len(self.channel_mult):
                raise UsageError(f"there is no level {level}", where="vae.attention_levels")
        if not self.quant_conv and self.z_channels != self.embed_dim:
            raise UsageError(f"must be z_channels, {self.z_channels}, without quant_conv", where="vae.embed_dim")


def downsample_factor(params: AutoencoderKLParams) -> int:
    """Return how many pixels one latent spans in each direction."""
    return 2 ** (len(params.channel_mult) - 1)


def decoder_numbers(params: AutoencoderKLParams, height: int, width: int) -> int:
    """Estimate how many numbers the decoder's activations for one image are at their peak, generously.

    A level holds up to about three times what it is given, at its own resolution (measured: 2.75 to 3.3 times at the
    published sizes); the attention in the middle may hold a score for every pair of latents.
    """
    widths = [params.base_channels * multiple for multiple in params.channel_mult]
    given = [*widths[1:], widths[-1]]
    levels = [4 * channels * height * width // 4**level for level, channels in enumerate(given)]
    return max(*levels, (height * width // 4 ** (len(widths) - 1)) ** 2)
