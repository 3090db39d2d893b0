"""The originals' hyper-parameters of the frame-wise autoencoder, for ``nets.vae2d.AutoencoderKL``.

Sources: CompVis/latent-diffusion, ldm/modules/diffusionmodules/model.py (Encoder, Decoder: ``ddconfig``);
huggingface/diffusers ``AutoencoderKL``. A key that is absent has the original constructor's default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from videogen_cli.errors import DataError
from videogen_cli.nets.params.vae2d import AutoencoderKLParams
from videogen_cli.originals import multiples, only_ours, required

# Switch -> the one value our network has.
_SWITCHES = {
    "double_z": True,
    "resamp_with_conv": True,
    "use_linear_attn": False,
    "attn_type": "vanilla",
    "give_pre_end": False,
    "tanh_out": False,
}
_DIFFUSERS_SWITCHES = {"act_fn": "silu", "mid_block_add_attention": True}
_LEVELS = (1, 2, 4, 8)  # the original's default


def autoencoder_params(ddconfig: Mapping[str, Any], embed_dim: int) -> AutoencoderKLParams:
    """Return the params; ``embed_dim`` is the number of latent channels.

    Raises:
        DataError: a key is missing, or its value asks for a network we do not have.
    """
    only_ours(ddconfig, _SWITCHES, "ddconfig")
    factors = list(ddconfig.get("ch_mult", _LEVELS))
    attended = set(ddconfig.get("attn_resolutions", ()))
    resolution = required(ddconfig, "resolution", "ddconfig") if attended else 0
    return AutoencoderKLParams(
        in_channels=required(ddconfig, "in_channels", "ddconfig"),
        out_channels=required(ddconfig, "out_ch", "ddconfig"),
        base_channels=required(ddconfig, "ch", "ddconfig"),
        channel_mult=factors,
        num_res_blocks=required(ddconfig, "num_res_blocks", "ddconfig"),
        attention_levels=[level for level in range(len(factors)) if resolution // 2**level in attended],
        z_channels=required(ddconfig, "z_channels", "ddconfig"),
        embed_dim=embed_dim,
    )


def diffusers_params(config: Mapping[str, Any]) -> AutoencoderKLParams:
    """Return the params for diffusers' ``config.json``.

    Raises:
        DataError: a value asks for a network we do not have.
    """
    only_ours(config, _DIFFUSERS_SWITCHES, "vae")
    channels = list(config.get("block_out_channels", (64,)))
    for key, only in (("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")):
        kinds = config.get(key, [only] * len(channels))
        if list(kinds) != [only] * len(channels):
            raise DataError(f"{list(kinds)} is not supported, only {only} for each level", where=f"vae.{key}")
    quant_conv = config.get("use_quant_conv", True)
    if config.get("use_post_quant_conv", True) != quant_conv:
        raise DataError("one of the two convolutions alone is not supported", where="vae.use_post_quant_conv")
    latents = config.get("latent_channels", 4)
    return AutoencoderKLParams(
        in_channels=config.get("in_channels", 3),
        out_channels=config.get("out_channels", 3),
        base_channels=channels[0],
        channel_mult=multiples(channels, "vae.block_out_channels"),
        num_res_blocks=config.get("layers_per_block", 1),
        z_channels=latents,
        embed_dim=latents,
        norm_groups=config.get("norm_num_groups", 32),
        quant_conv=quant_conv,
    )
