"""The original's hyper-parameter names to the params of our networks.

Upstream: mindspore-lab/mindone, examples/moviegen (``LlamaModel``, ``TextProjector``). A key that is absent has the
value of the published models; a value that would make another network than ours is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from videogen_cli.nets.params.moviegen import MovieGenParams, TextProjectorParams
from videogen_cli.originals import looked_up, only_ours

# The original's name -> ours.
_TRANSFORMER = {
    "in_channels": "in_channels",
    "out_channels": "out_channels",
    "hidden_size": "width",
    "intermediate_size": "ffn_width",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "num_hidden_layers": "layers",
    "rms_norm_eps": "norm_eps",
    "attention_bias": "attention_bias",
    "initializer_range": "init_std",
    "patch_size": "patch_size",
    "max_length": "max_length",
    "use_linear_patch_embedder": "linear_patches",
}
_PROJECTOR = {
    "ul2_in_features": "ul2_dim",
    "metaclip_in_features": "metaclip_dim",
    "byt5_in_features": "byt5_dim",
    "out_features": "width",
    "norm_eps": "norm_eps",
}
_NORMS = {"RMSNorm": "rms", "LlamaRMSNorm": "rms", "LayerNorm": "layer"}
# Switch -> the one value our transformer has.
_SWITCHES = {"attention_dropout": 0.0, "hidden_act": "silu", "model_parallelism": False}


def component_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return params by component (``transformer``, ``text_projector``) for whatever ``config`` describes.

    ``config`` is that of one network, or has the section ``transformer``.

    Raises:
        DataError: a value asks for a network we do not have.
    """
    found: dict[str, Any] = {}
    if "transformer" in config or "hidden_size" in config:
        found["transformer"] = transformer_params(config.get("transformer", config))
    if "ul2_in_features" in config:
        found["text_projector"] = text_projector_params(config)
    return found


def transformer_params(config: Mapping[str, Any]) -> MovieGenParams:
    """Return the transformer's params.

    Raises:
        DataError: a value asks for a network we do not have.
    """
    only_ours(config, _SWITCHES, "transformer")
    values = {ours: config[key] for key, ours in _TRANSFORMER.items() if key in config}
    if values.get("out_channels", 0) is None:
        values["out_channels"] = 0
    for key in ("patch_size", "max_length"):
        if key in values:
            values[key] = list(values[key])
    return MovieGenParams(**values)


def text_projector_params(config: Mapping[str, Any]) -> TextProjectorParams:
    """Return the params of a text projection on its own.

    Raises:
        DataError: its norm is not one of upstream's.
    """
    # upstream's default; its transformer asks for RMSNorm
    norm = looked_up(config.get("norm", "LayerNorm"), _NORMS, "text_projector.norm")
    values = {ours: config[key] for key, ours in _PROJECTOR.items() if key in config}
    return TextProjectorParams(**values, norm=norm)
