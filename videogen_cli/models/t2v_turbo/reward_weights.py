"""The reward models of T2V-Turbo's training as published: hyper-parameters and key names.

HPSv2.1 (tgxs002/HPSv2) is OpenCLIP ViT-H-14 fine-tuned on human preferences; OpenCLIP's own file fits the same network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videogen_cli.errors import WeightsError
from videogen_cli.weights.checkpoint import Checkpoint
from videogen_cli.weights.keymap import KeyMap
from videogen_cli.weights.openclip import openclip_mindspore_rules, openclip_params, openclip_rules
from videogen_cli.weights.variants import Variants

_TOWERS = ("image_reward.visual.", "image_reward.text.")
_WRAPPER = ("module.",)  # DataParallel's

OPENCLIP_KEYS = Variants(
    {
        "open_clip": KeyMap(openclip_rules(*_TOWERS), strip=_WRAPPER),
        "mindspore": KeyMap(openclip_mindspore_rules(*_TOWERS)),
    }
)


class PreferenceKeys(Variants):
    """HPSv2.1's files; OpenCLIP's have the same keys and shapes, and would score without a word of complaint."""

    def open(self, path: Path | str, root: str | None = None) -> Checkpoint:
        """Open a file that may be HPSv2.1's.

        Raises:
            WeightsError: it cannot be read, or is laid out as OpenCLIP's own.
        """
        checkpoint = super().open(path, root)
        if checkpoint.container.startswith("torch") and not checkpoint.weights_root and root is None:
            what = "keeps its weights at the top level, as OpenCLIP's own file does; HPSv2.1 keeps them in 'state_dict'"
            hint = "Use --type openclip for OpenCLIP's weights, or --root '' if this is a re-saved HPSv2.1."
            raise WeightsError(what, where=str(path), hint=hint)
        return checkpoint


HPS_KEYS = PreferenceKeys(OPENCLIP_KEYS.maps)


def image_reward_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of ``image_reward`` for a config of OpenCLIP, or one with a section ``hps`` that holds it.

    Raises:
        DataError: a key is missing, or its value asks for a network we do not have.
    """
    return {"image_reward": openclip_params(config.get("hps", config))}
