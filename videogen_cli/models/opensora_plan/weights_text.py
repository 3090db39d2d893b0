"""The text encoder's checkpoint: the T5 v1.1 folder that Open-Sora-Plan reads, or MindONE's conversion of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from videogen_cli.nets.params.hugging_face import t5_params
from videogen_cli.weights.keys.t5 import t5_encoder_keys

T5_KEYS = t5_encoder_keys("text.")


def text_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of the component ``text`` for T5's ``config.json``, or one with the section ``text_encoder``.

    Raises:
        DataError: the config asks for a network we do not have.
    """
    return {"text": t5_params(config.get("text_encoder", config))}
