"""Which device is here, found out without importing MindSpore."""

from __future__ import annotations

from glob import glob


def detect_target() -> str:
    """Return ``"ascend"`` when an Ascend NPU's device nodes exist, else ``"cpu"``."""
    return "ascend" if glob("/dev/davinci[0-9]*") else "cpu"
