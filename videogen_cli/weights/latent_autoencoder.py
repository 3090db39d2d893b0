"""The originals' hyper-parameters of the frame-wise autoencoder, for ``nets.vae2d.AutoencoderKL``.

Sources: CompVis/latent-diffusion, ldm/modules/diffusionmodules/model.py (Encoder, Decoder: ``ddconfig``);
huggingface/diffusers ``AutoencoderKL``. A key that is absent has the original constructor's default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from videogen_cli.errors import DataError
from videogen_cli.nets.params.vae2d import AutoencoderKLParams

# Switch -> the one value our network has.
_SWITCHES = {
    "double_z": True,
    "resamp_with_conv": True,
    "use_linear_attn": False,
    "attn_type": "vanilla",
    "give_pre_end": False,
    "tanh_out": False,
}
_DIFFUSERS_SWITCHES = {
    "act_fn": "silu",
    "mid_block_add_attention": True,
}
_LEVELS = (1, 2, 4, 8)  # the original's default


def autoencoder_params(ddconfig: Mapping[str, Any], embed_dim: int) -> AutoencoderKLParams:
    """Return the params; ``embed_dim`` is the number of latent channels.

    Raises:
        DataError: a key is missing, or its value asks for a network we do not have.
    """
    for key, ours in _SWITCHES.items():
        if ddconfig.get(key, ours) != ours:
            raise DataError(f"{ddconfig[key]} is not supported, only {ours}", where=f"ddconfig.{key}")
    multiples = list(ddconfig.get("ch_mult", _LEVELS))
    attended = set(ddconfig.get("attn_resolutions", ()))
    resolution = _get(ddconfig, "resolution") if attended else 0
    return AutoencoderKLParams(
        in_channels=_get(ddconfig, "in_channels"),
        out_channels=_get(ddconfig, "out_ch"),
        base_channels=_get(ddconfig, "ch"),
        channel_mult=multiples,
        num_res_blocks=_get(ddconfig, "num_res_blocks"),
        attention_levels=[level for level in range(len(multiples)) if resolution // 2**level in attended],
        z_channels=_get(ddconfig, "z_channels"),
        embed_dim=embed_dim,
    )


def diffusers_params(config: Mapping[str, Any]) -> AutoencoderKLParams:
    """Return the params for diffusers' ``config.json``.

    Raises:
        DataError: a value asks for a network we do not have.
    """
    for key, ours in _DIFFUSERS_SWITCHES.items():
        if config.get(key, ours) != ours:
            raise DataError(f"{config[key]} is not supported, only {ours}", where=f"vae.{key}")
    channels = list(config.get("block_out_channels", (64,)))
    if any(width % channels[0] for width in channels):
        raise DataError(f"{channels} are no multiples of the first", where="vae.block_out_channels")
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
        channel_mult=[width // channels[0] for width in channels],
        num_res_blocks=config.get("layers_per_block", 1),
        z_channels=latents,
        embed_dim=latents,
        norm_groups=config.get("norm_num_groups", 32),
        quant_conv=quant_conv,
    )


def _get(ddconfig: Mapping[str, Any], key: str) -> Any:
    if key not in ddconfig:
        raise DataError("is missing from the original's hyper-parameters", where=f"ddconfig.{key}")
    return ddconfig[key]
