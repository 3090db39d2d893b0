"""The original's hyper-parameter names, as in its YAML files, to the params of our networks.

Upstream: PR-Ryan/DEMO (``UNetSD_T2V_DEMO``, ``AutoencoderKL``, ``FrozenOpenCLIPEmbedder``, ``MotionEncoder``), with
open_clip 2.24.0 and torchvision 0.16.2 (``raft_small``). A value that would make another network than ours is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from videogen_cli.errors import DataError
from videogen_cli.nets.params.clip import CLIPTextParams, CLIPVisionParams
from videogen_cli.nets.params.raft import RAFTParams
from videogen_cli.nets.params.unet3d import UNet3DParams
from videogen_cli.originals import LAYERS_SKIPPED, looked_up, only_ours, required
from videogen_cli.weights.keys.openclip import openclip_params
from videogen_cli.weights.latent_autoencoder import autoencoder_params

_RAFT_FIELDS = {
    "feature_encoder_layers": "feature_widths",
    "context_encoder_layers": "context_widths",
    "corr_block_num_levels": "correlation_levels",
    "corr_block_radius": "correlation_radius",
    "motion_encoder_corr_layers": "correlation_convs",
    "motion_encoder_flow_layers": "flow_convs",
    "motion_encoder_out_channels": "motion_channels",
    "recurrent_block_hidden_state_size": "hidden_channels",
    "recurrent_block_kernel_size": "recurrent_kernels",
    "flow_head_hidden_size": "flow_head_channels",
    "num_flow_updates": "updates",
}
_RAFT_SWITCHES = {"use_mask_predictor": False, "feature_encoder_strides": ([2, 1, 2, 2], (2, 1, 2, 2))}


def component_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return params by component (``text``, ``motion``, ``visual``, ``unet``, ``vae``, ``raft``) for a config.

    ``config`` is that of one network, or has the sections ``unet``, ``clip``, ``vae`` and ``raft``.

    Raises:
        DataError: a key is missing, or its value asks for a network we do not have.
    """
    found: dict[str, Any] = {}
    if "unet" in config or "dim_mult" in config:
        found["unet"] = unet_params(config.get("unet", config))
    if clip := config.get("clip", config if "text_cfg" in config else None):
        found |= clip_params({**clip, "layer": clip.get("layer", config.get("layer", "penultimate"))})
    if "vae" in config or "ddconfig" in config:
        vae = config.get("vae", config)
        found["vae"] = autoencoder_params(required(vae, "ddconfig", "vae"), required(vae, "embed_dim", "vae"))
    if "raft" in config or "feature_encoder_layers" in config:
        found["raft"] = raft_params(config.get("raft", config))
    return found


def unet_params(config: Mapping[str, Any]) -> UNet3DParams:
    """Return the UNet's params; ``type`` tells DEMO's from the base model's, which has no motion blocks.

    ``temporal_attn_times``, ``use_sim_mask``, ``y_dim``, ``use_scale_shift_norm`` and ``use_checkpoint`` change nothing
    in the original either; dropout acts in training only.

    Raises:
        DataError: a key is missing, or its value asks for a network we do not have.
    """
    only_ours(config, {"use_image_dataset": False}, "unet")
    temporal = config.get("temporal_attention", True)
    dim, multiples = required(config, "dim", "unet"), list(required(config, "dim_mult", "unet"))
    scales = config.get("attn_scales", (1, 0.5, 0.25))
    return UNet3DParams(
        in_channels=required(config, "in_dim", "unet"),
        out_channels=required(config, "out_dim", "unet"),
        model_channels=dim,
        channel_mult=multiples,
        num_res_blocks=required(config, "num_res_blocks", "unet"),
        attention_resolutions=[2**level for level in range(len(multiples)) if 0.5**level in scales],
        num_head_channels=required(config, "head_dim", "unet"),
        context_dim=required(config, "context_dim", "unet"),
        temporal_attention=temporal,
        temporal_projection="conv1d",
        init_attention=temporal,
        init_attention_heads=config.get("num_heads") or dim // 32,
        motion_attention="DEMO" in config.get("type", "DEMO"),
        fps_condition=config.get("use_fps_condition", False),
    )


def clip_params(config: Mapping[str, Any]) -> dict[str, CLIPTextParams | CLIPVisionParams]:
    """Return the params of both text towers, which are alike, and of the image tower if the config has one.

    Raises:
        DataError: a key is missing, or its value asks for a network we do not have.
    """
    skipped = looked_up(config["layer"], LAYERS_SKIPPED, "text.layer")
    whole = openclip_params({"vision_cfg": {}, **config}, skipped)
    towers: dict[str, CLIPTextParams | CLIPVisionParams] = {"text": whole.text, "motion": whole.text}
    return {**towers, "visual": whole.vision} if "vision_cfg" in config else towers


def raft_params(config: Mapping[str, Any]) -> RAFTParams:
    """Return the optical-flow network's params, from the arguments of torchvision's ``_raft``.

    Raises:
        DataError: a value asks for a network we do not have.
    """
    kernels = config.get("recurrent_block_kernel_size", [3])
    if not all(isinstance(kernel, int) for kernel in kernels):
        raise DataError(f"{kernels} is not supported, only square kernels", where="raft.recurrent_block_kernel_size")
    if list(config.get("recurrent_block_padding", [k // 2 for k in kernels])) != [k // 2 for k in kernels]:
        where = "raft.recurrent_block_padding"
        raise DataError(f"{config['recurrent_block_padding']} would change the size", where=where)
    only_ours(config, _RAFT_SWITCHES, "raft")
    given = {ours: config[theirs] for theirs, ours in _RAFT_FIELDS.items() if theirs in config}
    return RAFTParams(**given)
