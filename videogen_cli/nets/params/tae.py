"""Sizes of Movie Gen's temporal autoencoder."""

from __future__ import annotations

from dataclasses import dataclass, field

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.checks import levels, positive


@dataclass
class TAEParams:
    """The temporal autoencoder (TAE); defaults are the published one's, 8 x 8 x 8 with 16 latent channels.

    Levels are numbered from full resolution. All but the last halve height and width on the way down.
    """

    in_channels: int = 3
    out_channels: int = 3
    base_channels: int = 128
    channel_mult: list[int] = field(default_factory=lambda: [1, 2, 4, 4])
    num_res_blocks: int = 2  # per level of the encoder; the decoder has one more
    attention_levels: list[int] = field(default_factory=list)  # the middle always attends
    temporal_attention: bool = True  # attention over frames after the one over pixels
    temporal_downsample_levels: list[int] = field(default_factory=lambda: [0, 1, 2])  # these halve the frames
    temporal_upsample_levels: list[int] = field(default_factory=lambda: [3, 2, 1])  # these double the frames
    z_channels: int = 16  # latent channels
    quant_conv: bool = False  # a convolution after the encoder
    post_quant_conv: bool = False  # a convolution before the decoder
    norm_groups: int = 32
    latent_scale: float = 1.5305  # the transformer sees (latents - latent_shift) * latent_scale
    latent_shift: float = 0.0609

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: a size is not positive, channels do not divide into norm groups, or there is no such level.
        """
        positive("tae", self, "in_channels", "out_channels", "base_channels", "num_res_blocks", "z_channels")
        positive("tae", self, "norm_groups")
        levels("tae", self.base_channels, self.channel_mult, self.norm_groups)
        for name in ("attention_levels", "temporal_downsample_levels", "temporal_upsample_levels"):
            for level in getattr(self, name):
                if not 0 <= level < len(self.channel_mult):
                    raise UsageError(f"there is no level {level}", where=f"tae.{name}")

    @property
    def frames_per_latent(self) -> int:
        """Number of frames that a latent frame is encoded from."""
        return 2 ** len(set(self.temporal_downsample_levels))

    @property
    def frames_decoded(self) -> int:
        """Number of frames that a latent frame is decoded to."""
        return 2 ** len(set(self.temporal_upsample_levels))
