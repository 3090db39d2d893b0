"""The hyper-parameters of the TAE, and of the image autoencoder it is inflated from, to the params of our network.

Upstream: mindspore-lab/mindone, examples/moviegen/mg/models/tae (``TAE_CONFIG``); diffusers' ``AutoencoderKL``. A key
that is absent has the value of the published model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from videogen_cli.errors import DataError
from videogen_cli.nets.params.lpips import lpips_params
from videogen_cli.nets.params.tae import TAEParams
from videogen_cli.originals import looked_up, multiples, only_ours

# Switch -> the one value our network has. Dropout acts in training only, and no published model has any.
_SWITCHES = {"double_z": True, "resamp_with_conv": True, "tanh_out": False, "give_pre_end": False}
_ATTENTIONS = {"vanilla": True, "spat_only": False}  # attn_type -> is there one over frames?
_DOWN_BLOCKS = {"DownEncoderBlock2D": False, "AttnDownEncoderBlock2D": True}  # -> has it attention?
_UP_BLOCKS = {"UpDecoderBlock2D": False, "AttnUpDecoderBlock2D": True}


@dataclass
class TAELossParams:
    """Weights of the TAE's training loss; defaults are upstream's."""

    kl_weight: float = 1e-6
    perceptual_weight: float = 1.0
    outlier_weight: float = 1e5
    outlier_limit: float = 3.0  # standard deviations from a channel's mean beyond which a latent is an outlier
    logvar: float = 0.0  # of the reconstruction; upstream's parameter for it is not trained


def component_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of ``tae``, and of ``lpips`` for files of a whole training; ``tae`` may be a section.

    Raises:
        DataError: a value asks for a network we do not have.
    """
    given = {"conv_bias": False, **config}  # the trunk is MindCV's
    section = config.get("tae", config)
    params = _diffusers_params(section) if "block_out_channels" in section else tae_params(section)
    return {"tae": params, "lpips": lpips_params(given)}


def tae_params(config: Mapping[str, Any]) -> TAEParams:
    """Return the TAE's params.

    Raises:
        DataError: a value asks for a network we do not have.
    """
    only_ours(config, _SWITCHES, "tae")
    published = TAEParams()
    factors = list(config.get("ch_mult", published.channel_mult))
    return TAEParams(
        in_channels=config.get("in_channels", published.in_channels),
        out_channels=config.get("out_ch", published.out_channels),
        base_channels=config.get("ch", published.base_channels),
        channel_mult=factors,
        num_res_blocks=config.get("num_res_blocks", published.num_res_blocks),
        attention_levels=_attention_levels(config, len(factors)),
        temporal_attention=looked_up(config.get("attn_type", "vanilla"), _ATTENTIONS, "tae.attn_type"),
        temporal_downsample_levels=list(config.get("temporal_downsample_level", published.temporal_downsample_levels)),
        temporal_upsample_levels=list(config.get("temporal_upsample_level", published.temporal_upsample_levels)),
        z_channels=config.get("z_channels", published.z_channels),
        quant_conv=config.get("use_quant_conv", False),
        post_quant_conv=config.get("use_post_quant_conv", False),
        latent_scale=config.get("scaling_factor", published.latent_scale),
        latent_shift=config.get("shift_factor", published.latent_shift),
    )


def loss_params(config: Mapping[str, Any]) -> TAELossParams:
    """Return the weights of the training loss (``GeneratorWithLoss``)."""
    names = {
        "kl_weight": "kl_weight",
        "perceptual_weight": "perceptual_weight",
        "opl_weight": "outlier_weight",
        "opl_r": "outlier_limit",
        "logvar_init": "logvar",
    }
    return TAELossParams(**{ours: float(config[key]) for key, ours in names.items() if key in config})


def _attention_levels(config: Mapping[str, Any], levels: int) -> list[int]:
    """Return the levels whose edge, in an image of the edge ``resolution``, is among ``attn_resolutions``."""
    edges = [config.get("resolution", 256) // 2**level for level in range(levels)]
    return [level for level, edge in enumerate(edges) if edge in config.get("attn_resolutions", ())]


def _diffusers_params(config: Mapping[str, Any]) -> TAEParams:
    """Return the TAE that an image autoencoder is inflated to: time is compressed as often as space."""
    channels = list(config["block_out_channels"])
    count = len(channels)
    attends = _attends(config, "down_block_types", _DOWN_BLOCKS, count)
    if attends != _attends(config, "up_block_types", _UP_BLOCKS, count)[::-1]:
        raise DataError("encoder and decoder attend on different levels", where="up_block_types")
    published = TAEParams()
    return TAEParams(
        in_channels=config.get("in_channels", 3),
        out_channels=config.get("out_channels", 3),
        base_channels=channels[0],
        channel_mult=multiples(channels, "block_out_channels"),
        num_res_blocks=config.get("layers_per_block", 1),
        attention_levels=[level for level, there in enumerate(attends) if there],
        temporal_downsample_levels=list(range(count - 1)),
        temporal_upsample_levels=list(range(count - 1, 0, -1)),
        z_channels=config.get("latent_channels", 4),
        quant_conv=config.get("use_quant_conv", True),
        post_quant_conv=config.get("use_post_quant_conv", True),
        norm_groups=config.get("norm_num_groups", 32),
        latent_scale=config.get("scaling_factor", published.latent_scale),
        latent_shift=config.get("shift_factor") or 0.0,
    )


def _attends(config: Mapping[str, Any], key: str, known: Mapping[str, bool], count: int) -> list[bool]:
    kinds = config.get(key, [next(iter(known))] * count)
    return [looked_up(kind, known, key) for kind in kinds]
