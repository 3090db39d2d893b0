"""The ``config.json`` of Hugging Face's text encoders to the params of our networks.

A key that is absent has the default of transformers' configuration class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from videogen_cli.nets.params.clip import CLIPTextParams
from videogen_cli.nets.params.t5 import T5Params
from videogen_cli.originals import looked_up, only_ours

_T5_TYPES = ("t5", "mt5")  # umt5 has a table of distances in every block
# feed_forward_proj -> activation; gated-gelu is the one whose name does not say which GELU it means
_T5_ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gated-gelu": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
    "gated-relu": "relu",
    "gated-silu": "silu",
    "gated-gelu_new": "gelu_tanh",
}
_CLIP_ACTIVATIONS = {"gelu": "gelu", "quick_gelu": "quick_gelu"}


def t5_params(config: Mapping[str, Any]) -> T5Params:
    """Return the params of a T5 encoder (``T5Config``).

    Raises:
        DataError: the config is that of another network, or asks for an activation we do not have.
    """
    only_ours(config, {"model_type": _T5_TYPES})
    feed_forward = config.get("feed_forward_proj", "relu")
    return T5Params(
        vocab_size=config.get("vocab_size", 32128),
        width=config.get("d_model", 512),
        head_dim=config.get("d_kv", 64),
        heads=config.get("num_heads", 8),
        mlp_width=config.get("d_ff", 2048),
        layers=config.get("num_layers", 6),
        buckets=config.get("relative_attention_num_buckets", 32),
        max_distance=config.get("relative_attention_max_distance", 128),
        activation=looked_up(feed_forward, _T5_ACTIVATIONS, "feed_forward_proj"),
        gated=feed_forward.startswith("gated-"),
        norm_eps=config.get("layer_norm_epsilon", 1e-6),
    )


def clip_text_params(config: Mapping[str, Any]) -> CLIPTextParams:
    """Return the params of a CLIP text tower that runs in full (``CLIPTextConfig``, or a ``CLIPConfig`` with one).

    A config that names ``CLIPTextModel`` as its architecture stands for a file without a projection.

    Raises:
        DataError: the config asks for an activation we do not have.
    """
    text = config.get("text_config", config)
    alone = "CLIPTextModel" in (config.get("architectures") or ())
    return CLIPTextParams(
        vocab_size=text.get("vocab_size", 49408),
        context_length=text.get("max_position_embeddings", 77),
        width=text.get("hidden_size", 512),
        heads=text.get("num_attention_heads", 8),
        layers=text.get("num_hidden_layers", 12),
        embed_dim=config.get("projection_dim", text.get("projection_dim", 512)),
        skip_last=0,
        mlp_width=text.get("intermediate_size", 2048),
        activation=looked_up(text.get("hidden_act", "quick_gelu"), _CLIP_ACTIVATIONS, "hidden_act"),
        norm_eps=text.get("layer_norm_eps", 1e-5),
        projection="none" if alone else "linear",
    )
