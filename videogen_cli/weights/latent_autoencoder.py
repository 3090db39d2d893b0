"""Latent diffusion's hyper-parameters of the frame-wise autoencoder (``ddconfig``), for ``nets.vae2d.AutoencoderKL``.

Source: CompVis/latent-diffusion, ldm/modules/diffusionmodules/model.py (Encoder, Decoder). A key that is absent has the
original constructor's default.
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


def _get(ddconfig: Mapping[str, Any], key: str) -> Any:
    if key not in ddconfig:
        raise DataError("is missing from the original's hyper-parameters", where=f"ddconfig.{key}")
    return ddconfig[key]
