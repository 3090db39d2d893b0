"""Hugging Face's own modules of the networks that vgen has, with vgen's weights in them.

Key maps that read the libraries' files say which weight is which. For processes on PyTorch's side.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from videogen_cli.models.t2v_turbo.modelscope import MODELSCOPE_KEYS
from videogen_cli.weights.tensor import LazyTensor


def _diffusers() -> Any:
    return importlib.import_module("diffusers")  # whose names appear when they are asked for


def unet(params: Any) -> torch.nn.Module:
    """Return ModelScope's UNet of the sizes in ``UNet3DParams``."""
    return _diffusers().UNet3DConditionModel(
        block_out_channels=tuple(params.widths),
        layers_per_block=params.num_res_blocks,
        cross_attention_dim=params.context_dim,
        attention_head_dim=params.num_head_channels,
        time_cond_proj_dim=params.time_cond_proj_dim or None,
    )


def vae(params: Any) -> torch.nn.Module:
    """Return the frame-wise autoencoder of the sizes in ``AutoencoderKLParams``."""
    levels = len(params.channel_mult)
    return _diffusers().AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(params.base_channels * multiple for multiple in params.channel_mult),
        layers_per_block=params.num_res_blocks,
        latent_channels=params.z_channels,
    )


def clip(params: Any) -> torch.nn.Module:
    """Return the text tower of the sizes in ``CLIPTextParams``."""
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=params.vocab_size,
        hidden_size=params.width,
        intermediate_size=4 * params.width,
        num_hidden_layers=params.layers,
        num_attention_heads=params.heads,
        hidden_act=params.activation,
    )
    return CLIPTextModel(config)


def t5(params: Any) -> torch.nn.Module:
    """Return the encoder of the sizes in ``T5Params``."""
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=params.vocab_size,
        d_model=params.width,
        d_kv=params.head_dim,
        d_ff=params.mlp_width,
        num_layers=params.layers,
        num_heads=params.heads,
        feed_forward_proj="gated-gelu",
    )
    return T5EncoderModel(config)


def fill(module: torch.nn.Module, component: str, weights: Mapping[str, LazyTensor]) -> dict[str, str]:
    """Put vgen's weights into a library's module, one at a time; return vgen's name of each of its parameters.

    Args:
        module: of one of the functions above.
        component: the network's name in the key map; none where names are the same.
        weights: by vgen's names.

    Raises:
        RuntimeError: a weight is on one side only, or has another shape there.
    """
    names = {name: name for name in weights}
    if component:
        account = MODELSCOPE_KEYS.export({f"{component}.{name}": tensor for name, tensor in weights.items()})
        weights = account.tensors
        names = {theirs: ours[0].removeprefix(f"{component}.") for theirs, ours in account.used.items()}
    nested = hasattr(module, "text_model")  # transformers' CLIP has no such level from version 5 on
    called = {name: name if nested else name.removeprefix("text_model.") for name in weights}
    places = {name: p for name, p in module.named_parameters(remove_duplicate=False) if "embed_tokens" not in name}
    shapes = {name: tuple(place.shape) for name, place in places.items()}
    given = {called[name]: tensor.shape for name, tensor in weights.items() if "embed_tokens" not in name}
    if wrong := shapes.items() ^ given.items():
        raise RuntimeError(f"weights that only one side has: {sorted(wrong)[:5]}")
    with torch.no_grad():
        for name, tensor in weights.items():
            if called[name] in places:
                places[called[name]].copy_(torch.from_numpy(np.ascontiguousarray(tensor.numpy())))
    return {called[theirs]: ours for theirs, ours in names.items()}
