"""The original's hyper-parameter names, as in its YAML files, to the params of our networks.

Upstream: VideoCrafter ``lvdm`` (``UNetModel``, ``AutoencoderKL``, ``FrozenOpenCLIPEmbedder``). A key that is absent has
the original constructor's default; a value that would make another network than ours is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from videogen_cli.errors import DataError
from videogen_cli.models.t2v_turbo import modelscope
from videogen_cli.nets.params.clip import CLIPTextParams
from videogen_cli.nets.params.unet3d import UNet3DParams
from videogen_cli.originals import LAYERS_SKIPPED, looked_up, only_ours, required
from videogen_cli.weights.latent_autoencoder import autoencoder_params

# Switch -> the one value our UNet has.
_UNET_SWITCHES = {
    "dims": 2,
    "conv_resample": True,
    "use_scale_shift_norm": False,
    "resblock_updown": False,
    "use_linear": True,
    "tempspatial_aware": False,
    "temporal_selfatt_only": True,
    "use_relative_position": False,
    "use_causal_attention": False,
    "use_image_attention": False,
    "temporal_transformer_depth": 1,
}
_UNET_DEFAULTS = {"use_linear": False, "use_relative_position": True}  # the original's, which are not ours


def component_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return params by component (``unet``, ``vae``, ``text``) for whatever ``config`` describes.

    ``config`` is that of one network, or has the sections ``unet_config``, ``ddconfig`` with ``embed_dim``, and
    ``text_cfg`` with ``text_embed_dim`` (or ``text``, which holds all of the text tower's). ModelScope's, which are
    diffusers', are told by their own keys.

    Raises:
        DataError: a key is missing, or its value asks for a network we do not have.
    """
    if modelscope.describes(config):
        return modelscope.component_params(config)
    found: dict[str, Any] = {}
    if "unet_config" in config or "model_channels" in config:
        found["unet"] = unet_params(config.get("unet_config", config))
    if "ddconfig" in config:
        found["vae"] = autoencoder_params(config["ddconfig"], required(config, "embed_dim", "vae"))
    if text := config.get("text_cfg", config.get("text")):
        width = config.get("text_embed_dim", text.get("embed_dim", config.get("embed_dim")))
        found["text"] = text_params(text, width, config.get("layer", "penultimate"))
    return found


def unet_params(config: Mapping[str, Any]) -> UNet3DParams:
    """Return the UNet's params.

    Raises:
        DataError: a key is missing, or its value asks for a network we do not have.
    """
    only_ours({**_UNET_DEFAULTS, **config}, _UNET_SWITCHES, "unet")
    heads = config.get("num_head_channels", -1)
    if heads == -1:
        raise DataError("a fixed number of heads is not supported", where="unet.num_head_channels", hint="Give it.")
    return UNet3DParams(
        in_channels=required(config, "in_channels", "unet"),
        out_channels=required(config, "out_channels", "unet"),
        model_channels=required(config, "model_channels", "unet"),
        channel_mult=list(config.get("channel_mult", (1, 2, 4, 8))),
        num_res_blocks=required(config, "num_res_blocks", "unet"),
        attention_resolutions=list(required(config, "attention_resolutions", "unet")),
        num_head_channels=heads,
        context_dim=required(config, "context_dim", "unet"),
        transformer_depth=config.get("transformer_depth", 1),
        temporal_conv=config.get("temporal_conv", False),
        temporal_attention=config.get("temporal_attention", True),
        init_attention=config.get("addition_attention", False),
        fps_condition=config.get("fps_cond", False),
        time_cond_proj_dim=config.get("time_cond_proj_dim") or 0,
        motion_cond_proj_dim=config.get("motion_cond_proj_dim") or 0,
    )


def text_params(text_cfg: Mapping[str, Any], embed_dim: int, layer: str = "penultimate") -> CLIPTextParams:
    """Return the text tower's params; ``embed_dim`` is that of the joint image-text space, ``layer`` where it is read.

    Raises:
        DataError: a key is missing, or ``layer`` is neither ``last`` nor ``penultimate``.
    """
    return CLIPTextParams(
        vocab_size=required(text_cfg, "vocab_size", "text"),
        context_length=text_cfg.get("context_length", 77),
        width=required(text_cfg, "width", "text"),
        heads=required(text_cfg, "heads", "text"),
        layers=required(text_cfg, "layers", "text"),
        embed_dim=embed_dim,
        skip_last=looked_up(layer, LAYERS_SKIPPED, "text.layer"),
    )
