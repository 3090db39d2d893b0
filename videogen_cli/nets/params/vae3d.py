"""Sizes of the causal video autoencoder, by its original's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.checks import levels, one_of, positive
from videogen_cli.originals import checked, only_ours

CONVOLUTIONS = ("CausalConv3d", "Conv2d")
ATTENTIONS = ("AttnBlock3D", "AttnBlock3DFix", "AttnBlock")
RESNETS = ("ResnetBlock3D", "ResnetBlock2D")
NONE = ""
SPATIAL_DOWN = (NONE, "SpatialDownsample2x", "Downsample")
SPATIAL_UP = (NONE, "SpatialUpsample2x", "Upsample")
TEMPORAL_DOWN = (NONE, "TimeDownsample2x", "TimeDownsampleRes2x")
TEMPORAL_UP = (NONE, "TimeUpsample2x", "TimeUpsampleRes2x")


@dataclass
class CausalVAEParams:
    """The causal video autoencoder; defaults are Open-Sora-Plan v1.0's 4 x 8 x 8.

    Lists hold one entry per level, from full resolution. ``AttnBlock3D`` mixes channels with frames, as in the
    published weights' training; ``AttnBlock3DFix`` attends within each frame.
    """

    hidden_size: int = 128
    hidden_size_mult: list[int] = field(default_factory=lambda: [1, 2, 4, 4])
    num_res_blocks: int = 2  # per level of the encoder; the decoder has one more
    z_channels: int = 4
    embed_dim: int = 4  # latent channels
    resolution: int = 256  # pictures of this size have attention where ``attn_resolutions`` says
    attn_resolutions: list[int] = field(default_factory=list)
    norm_groups: int = 32
    q_conv: str = "CausalConv3d"
    encoder_conv_in: str = "CausalConv3d"
    encoder_conv_out: str = "CausalConv3d"
    encoder_attention: str = "AttnBlock3D"
    encoder_mid_resnet: str = "ResnetBlock3D"
    encoder_resnet_blocks: list[str] = field(default_factory=lambda: ["ResnetBlock3D"] * 4)
    encoder_spatial_downsample: list[str] = field(default_factory=lambda: [*["SpatialDownsample2x"] * 3, NONE])
    encoder_temporal_downsample: list[str] = field(
        default_factory=lambda: ["TimeDownsample2x", "TimeDownsample2x", NONE, NONE]
    )
    decoder_conv_in: str = "CausalConv3d"
    decoder_conv_out: str = "CausalConv3d"
    decoder_attention: str = "AttnBlock3D"
    decoder_mid_resnet: str = "ResnetBlock3D"
    decoder_resnet_blocks: list[str] = field(default_factory=lambda: ["ResnetBlock3D"] * 4)
    decoder_spatial_upsample: list[str] = field(default_factory=lambda: [NONE, *["SpatialUpsample2x"] * 3])
    decoder_temporal_upsample: list[str] = field(
        default_factory=lambda: [NONE, NONE, "TimeUpsample2x", "TimeUpsample2x"]
    )

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: a size is not positive, channels do not divide into norm groups, a block is unknown, or a list
                has not one entry per level.
        """
        positive("vae", self, "hidden_size", "num_res_blocks", "z_channels", "embed_dim", "resolution", "norm_groups")
        levels("vae", self.hidden_size, self.hidden_size_mult, self.norm_groups)
        one_of("vae", self, CONVOLUTIONS, "q_conv", "encoder_conv_in", "encoder_conv_out")
        one_of("vae", self, CONVOLUTIONS, "decoder_conv_in", "decoder_conv_out")
        one_of("vae", self, ATTENTIONS, "encoder_attention", "decoder_attention")
        one_of("vae", self, RESNETS, "encoder_mid_resnet", "decoder_mid_resnet")
        self._check_levels(RESNETS, "encoder_resnet_blocks", "decoder_resnet_blocks")
        self._check_levels(SPATIAL_DOWN, "encoder_spatial_downsample")
        self._check_levels(TEMPORAL_DOWN, "encoder_temporal_downsample")
        self._check_levels(SPATIAL_UP, "decoder_spatial_upsample")
        self._check_levels(TEMPORAL_UP, "decoder_temporal_upsample")

    def _check_levels(self, choices: Sequence[str], *names: str) -> None:
        for name in names:
            words, count = getattr(self, name), len(self.hidden_size_mult)
            if len(words) != count:
                raise UsageError(f"has {len(words)} entries for {count} levels", where=f"vae.{name}")
            if unknown := [word for word in words if word not in choices]:
                known = ", ".join(word or "'' for none" for word in choices)
                raise UsageError(f"'{unknown[0]}' is not one of {known}", where=f"vae.{name}")


# What the original's constructor takes where its config says nothing, unlike the published config.
_CONSTRUCTOR = {"encoder_temporal_downsample": [NONE, "TimeDownsample2x", "TimeDownsample2x", NONE]}
_FIXED = {"double_z": True, "dropout": 0.0}


def causal_vae_params(config: Mapping[str, Any]) -> CausalVAEParams:
    """Return the params for the original's hyper-parameters (``CausalVAEModel``'s, or its ``config.json``).

    Raises:
        DataError: a value asks for a network we do not have.
    """
    only_ours(config, _FIXED, "vae")
    values = {
        **_CONSTRUCTOR,
        **{item.name: config[item.name] for item in fields(CausalVAEParams) if item.name in config},
    }
    lists: dict[str, Any] = {k: list(v) if isinstance(v, (list, tuple)) else v for k, v in values.items()}
    return checked(CausalVAEParams(**lists))
