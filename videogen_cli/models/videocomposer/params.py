"""The original's hyper-parameter names to the params of our networks.

Upstream: ali-vilab/videocomposer tools/videocomposer/unet_sd.py (UNetSD_temporal). A key that is absent has the
published value; one that would make another network than ours is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from videogen_cli.errors import DataError, did_you_mean
from videogen_cli.nets.params.unet3d import SPATIAL_CONDITIONS, ConditionedUNet3DParams
from videogen_cli.originals import only_ours

# The original's ``video_compositions`` -> our condition; those of None have no encoder of their own.
COMPOSITIONS = {
    "text": None,
    "image": None,
    "histogram": None,  # accepted and not looked at
    "mask": "masked",
    "depthmap": "depth",
    **{name: name for name in ("sketch", "single_sketch", "motion", "local_image", "canny")},
}
_PUBLISHED = ("text", "mask", "depthmap", "sketch", "motion", "image", "local_image", "single_sketch")
# Switch -> the one value our network has.
_SWITCHES = {
    "use_image_dataset": False,
    "inpainting": True,
}


def unet_params(config: Mapping[str, Any]) -> dict[str, ConditionedUNet3DParams]:
    """Return ``{"unet": params}`` of the UNet that ``config``, or its section ``unet``, describes; none without one.

    ``use_scale_shift_norm``, ``use_sim_mask``, ``temporal_attn_times`` and ``y_dim`` change nothing in the original
    either; dropout acts in training only.

    Raises:
        DataError: a value asks for a network we do not have.
    """
    config = config.get("unet", config)
    if not {"concat_dim", "dim_mult", "video_compositions"} & set(config):
        return {}
    only_ours(config, _SWITCHES, "unet")
    multiples = list(config.get("dim_mult", (1, 2, 4, 4)))
    dim, over_frames = config.get("dim", 320), config.get("temporal_attention", True)
    params = ConditionedUNet3DParams(
        in_channels=config.get("in_dim", 4),
        out_channels=config.get("out_dim", 4),
        model_channels=dim,
        channel_mult=multiples,
        num_res_blocks=config.get("num_res_blocks", 2),
        attention_resolutions=attention_factors(config.get("attn_scales", (1.0, 0.5, 0.25)), len(multiples)),
        num_head_channels=config.get("head_dim", 64),
        context_dim=config.get("context_dim", 1024),
        temporal_attention=over_frames,
        init_attention=over_frames,
        init_attention_heads=config.get("num_heads", 8) or dim // 32,
        fps_condition=config.get("use_fps_condition", False),
        conditions=_conditions(config.get("video_compositions", _PUBLISHED)),
        concat_dim=config.get("concat_dim", 8),
        condition_layers=config.get("adapter_transformer_layers", 1),
        condition_fusion=not config.get("resume", True),
    )
    return {"unet": params}


def attention_factors(scales: Sequence[float], levels: int) -> list[int]:
    """Return the downsampling factors of the levels whose scale (1, 1/2, 1/4, ...) is among ``scales``."""
    return [2**level for level in reversed(range(levels)) if 1 / 2**level in scales]


def _conditions(compositions: Sequence[str]) -> list[str]:
    for name in compositions:
        if name not in COMPOSITIONS:
            hint = did_you_mean(name, COMPOSITIONS)
            raise DataError(f"there is no composition '{name}'", where="unet.video_compositions", hint=hint)
    wanted = {COMPOSITIONS[name] for name in compositions}
    return [name for name in SPATIAL_CONDITIONS if name in wanted]
