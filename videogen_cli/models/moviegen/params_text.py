"""Sizes of Movie Gen's three text encoders: as published, and from their ``config.json``.

No published MetaCLIP is the paper's, which reads 256 tokens; the default is the one whose width the transformer's
projection takes, ViT-bigG/14.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from videogen_cli.nets.params.clip import CLIPTextParams
from videogen_cli.nets.params.hugging_face import clip_text_params, t5_params
from videogen_cli.nets.params.t5 import T5Params


def published_ul2() -> T5Params:
    """Return the sizes of google/ul2's encoder."""
    return T5Params(head_dim=256, heads=16, mlp_width=16384, layers=32, activation="silu")


def published_byt5() -> T5Params:
    """Return the sizes of google/byt5-small's encoder."""
    return T5Params(vocab_size=384, width=1472, heads=6, mlp_width=3584, layers=12)


def published_metaclip() -> CLIPTextParams:
    """Return the sizes of MetaCLIP ViT-bigG/14's text tower."""
    return CLIPTextParams(
        width=1280,
        heads=20,
        layers=32,
        embed_dim=1280,
        skip_last=0,
        activation="quick_gelu",
        projection="linear",
    )


def ul2_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of the component ``ul2`` for its ``config.json``.

    Raises:
        DataError: the config asks for a network we do not have.
    """
    return {"ul2": t5_params(config)}


def byt5_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of the component ``byt5`` for its ``config.json``.

    Raises:
        DataError: the config asks for a network we do not have.
    """
    return {"byt5": t5_params(config)}


def metaclip_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of the component ``metaclip`` for its ``config.json``.

    Raises:
        DataError: the config asks for a network we do not have.
    """
    return {"metaclip": clip_text_params(config)}
