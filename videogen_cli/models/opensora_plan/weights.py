"""The transformer's checkpoints: Open-Sora-Plan's folders, and Latte's ``t2v.pt`` that training starts from.

Both hold the names of LatteT2V's state dict, and so do files that mindone's convert_latte.py wrote.
"""

from __future__ import annotations

from pathlib import Path

from videogen_cli.weights.checkpoint import Checkpoint
from videogen_cli.weights.keymap import KeyMap, ignore, rename
from videogen_cli.weights.readers import open_checkpoint

_POSITIONS = "table of positions, computed from the config"
_AVERAGE = "ema"

_RULES = (
    ignore("pos_embed.pos_embed", _POSITIONS),
    ignore("temp_pos_embed", _POSITIONS),
    rename("{*}", "transformer.{*}"),
)
_WRAPPERS = ("module.", "_orig_mod.", "network.")


class PretrainedKeys(KeyMap):
    """Latte's file, of whose weights the moving average is taken where it is there, as Latte and mindone do."""

    def open(self, path: Path | str, root: str | None = None) -> Checkpoint:
        """Open a file; ``root`` names the weights to take instead."""
        found = open_checkpoint(path, root=root)
        if root is None and _AVERAGE in found.others and found.weights_root != ["state_dict"]:
            return open_checkpoint(path, root=_AVERAGE)
        return found


LATTE_KEYS = KeyMap(rules=_RULES, strip=_WRAPPERS)
PRETRAINED_KEYS = PretrainedKeys(rules=_RULES, strip=_WRAPPERS)
