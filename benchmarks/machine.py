"""What a benchmark ran on."""

from __future__ import annotations

import datetime
import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from videogen_cli.runtime.host import instruction_set


def describe(threads: int, cores: Sequence[int]) -> dict[str, Any]:
    """Return hardware, versions and date, for people."""
    names = ("mindspore", "torch", "numpy")
    pinned = f"pinned to cores {', '.join(map(str, cores))}" if cores else "not pinned"
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores, {instruction_set()}",
        "threads": f"{threads}, {pinned}",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {version(name)}" for name in names),
        "date": datetime.date.today().isoformat(),
    }


def _processor() -> str:
    """Return the model as the kernel names it, with family and model numbers where it has them."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    found = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", text, re.MULTILINE))
    numbers = f" (family {found['cpu family']}, model {found['model']})" if "cpu family" in found else ""
    return found.get("model name", platform.machine()) + numbers
