"""LatteT2V's hyper-parameters, as in its ``config.json``, to the params of our transformer.

Upstream: PKU-YuanGroup/Open-Sora-Plan v1.0.0, opensora/models/diffusion/latte/modeling_latte.py:LatteT2V. A key that
is absent has the original constructor's default; a value that would make another network than ours is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from videogen_cli.errors import DataError
from videogen_cli.nets.params.latte import ACTIVATIONS, LatteParams
from videogen_cli.originals import only_ours, required

# Switch -> what our transformer has.
_SWITCHES = {
    "norm_type": "ada_norm_single",
    "attention_type": "default",
    "only_cross_attention": False,
    "double_self_attention": False,
    "num_vector_embeds": None,
    "dropout": 0.0,
    "activation_fn": ACTIVATIONS,
}


def component_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return params by component: ``transformer``, from a config of its own or one with sections.

    Raises:
        DataError: a key is missing, or its value asks for a network we do not have.
    """
    config = {"norm_type": "layer_norm", **config.get("transformer", config)}
    only_ours(config, _SWITCHES, "transformer")
    in_channels = required(config, "in_channels", "transformer")
    params = LatteParams(
        in_channels=in_channels,
        out_channels=config.get("out_channels") or in_channels,
        num_attention_heads=config.get("num_attention_heads", 16),
        attention_head_dim=config.get("attention_head_dim", 88),
        num_layers=config.get("num_layers", 1),
        patch_size=required(config, "patch_size", "transformer"),
        sample_size=_square(required(config, "sample_size", "transformer")),
        video_length=config.get("video_length", 16),
        caption_channels=required(config, "caption_channels", "transformer"),
        attention_bias=config.get("attention_bias", False),
        activation=config.get("activation_fn", "geglu"),
        norm_affine=config.get("norm_elementwise_affine", True),
        norm_eps=config.get("norm_eps", 1e-5),
        joint_positions=config.get("gradient_checkpointing", True),
    )
    if required(config, "cross_attention_dim", "transformer") != params.width:
        what = f"must be the width, {params.width}, that captions are projected to"
        raise DataError(what, where="transformer.cross_attention_dim")
    return {"transformer": params}


def _square(size: Any) -> int:
    """Return the edge of ``sample_size``: a number, or (height, width), which the original's table wants equal."""
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise DataError(f"{size} is not square", where="transformer.sample_size")
    return height
