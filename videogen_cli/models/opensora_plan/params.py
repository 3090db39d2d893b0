"""LatteT2V's hyper-parameters, as in its ``config.json``, to the params of our transformer.

Upstream: PKU-YuanGroup/Open-Sora-Plan v1.0.0, opensora/models/diffusion/latte/modeling_latte.py:LatteT2V. A key that
is absent has the original constructor's default; a value that would make another network than ours is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from videogen_cli.errors import DataError
from videogen_cli.nets.params.latte import ACTIVATIONS, LatteParams

# Switch -> (the original's default, the one value our transformer has).
_SWITCHES = {
    "norm_type": ("layer_norm", "ada_norm_single"),
    "attention_type": ("default", "default"),
    "only_cross_attention": (False, False),
    "double_self_attention": (False, False),
    "num_vector_embeds": (None, None),
    "dropout": (0.0, 0.0),
}


def component_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return params by component: ``transformer``, from a config of its own or one with sections.

    Raises:
        DataError: a key is missing, or its value asks for a network we do not have.
    """
    config = config.get("transformer", config)
    for key, (default, ours) in _SWITCHES.items():
        value = config.get(key, default)
        if value != ours:
            raise DataError(f"{value} is not supported, only {ours}", where=f"transformer.{key}")
    activation = config.get("activation_fn", "geglu")
    if activation not in ACTIVATIONS:
        hint = f"Supported are {', '.join(ACTIVATIONS)}."
        raise DataError(f"'{activation}' is not supported", where="transformer.activation_fn", hint=hint)
    in_channels = _get(config, "in_channels")
    params = LatteParams(
        in_channels=in_channels,
        out_channels=config.get("out_channels") or in_channels,
        num_attention_heads=config.get("num_attention_heads", 16),
        attention_head_dim=config.get("attention_head_dim", 88),
        num_layers=config.get("num_layers", 1),
        patch_size=_get(config, "patch_size"),
        sample_size=_square(_get(config, "sample_size")),
        video_length=config.get("video_length", 16),
        caption_channels=_get(config, "caption_channels"),
        attention_bias=config.get("attention_bias", False),
        activation=activation,
        norm_affine=config.get("norm_elementwise_affine", True),
        norm_eps=config.get("norm_eps", 1e-5),
        joint_positions=config.get("gradient_checkpointing", True),
    )
    if _get(config, "cross_attention_dim") != params.width:
        what = f"must be the width, {params.width}, that captions are projected to"
        raise DataError(what, where="transformer.cross_attention_dim")
    return {"transformer": params}


def _get(config: Mapping[str, Any], key: str) -> Any:
    if config.get(key) is None:
        raise DataError("is missing from the original's hyper-parameters", where=f"transformer.{key}")
    return config[key]


def _square(size: Any) -> int:
    """Return the edge of ``sample_size``: a number, or (height, width), which the original's table wants equal."""
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise DataError(f"{size} is not square", where="transformer.sample_size")
    return height
