"""Checkpoints of Movie Gen's three text encoders: UL2, ByT5 and MetaCLIP, in Hugging Face's folders.

Upstream: mindspore-lab/mindone, examples/moviegen (tools/download_convert_st.py). It never runs MetaCLIP: transformers
trained there have only seen ones in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from videogen_cli.weights.keymap import KeyMap
from videogen_cli.weights.keys.clip import hugging_face_rest, hugging_face_text
from videogen_cli.weights.keys.t5 import t5_encoder_keys
from videogen_cli.weights.tensor import LazyTensor


class MetaCLIPKeys(KeyMap):
    """The text tower's keys, of a whole model or of the tower alone."""

    def prepare(self, params: dict[str, Any], tensors: Mapping[str, LazyTensor]) -> dict[str, Any]:
        """Return the params with a projection to the joint space only where the file has one."""
        there = "text_projection.weight" in tensors
        return {**params, "metaclip": replace(params["metaclip"], projection="linear" if there else "none")}


UL2_KEYS = t5_encoder_keys("ul2.")
BYT5_KEYS = t5_encoder_keys("byt5.")
METACLIP_KEYS = MetaCLIPKeys((*hugging_face_text(target="metaclip."), *hugging_face_rest()))
