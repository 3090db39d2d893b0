"""Checkpoints of Movie Gen's three text encoders: UL2, ByT5 and MetaCLIP, in Hugging Face's folders.

Upstream: mindspore-lab/mindone, examples/moviegen (tools/download_convert_st.py). It never runs MetaCLIP: transformers
trained there have only seen ones in its place.
"""

from __future__ import annotations

from videogen_cli.weights.clip_keys import hugging_face_rest, hugging_face_text
from videogen_cli.weights.keymap import KeyMap
from videogen_cli.weights.t5_keys import t5_encoder_rules

UL2_KEYS = KeyMap(t5_encoder_rules("ul2."))
BYT5_KEYS = KeyMap(t5_encoder_rules("byt5."))
METACLIP_KEYS = KeyMap((*hugging_face_text(target="metaclip."), *hugging_face_rest()))
