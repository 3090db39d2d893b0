"""Running vgen as people do: in a process of its own, with the sixth model's plugin on the path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PLUGINS = Path(__file__).parent / "plugins" / "site"
Finished = subprocess.CompletedProcess[str]


def run_vgen(*arguments: str, stdin: str = "", cwd: Path | None = None, **environment: str) -> Finished:
    """Run ``vgen`` and return what it printed and its exit code."""
    variables = {"PYTHONPATH": str(PLUGINS), "COLUMNS": "120", "OMP_NUM_THREADS": "2", **environment}
    return subprocess.run(
        [sys.executable, "-m", "videogen_cli.cli.main", *arguments],
        input=stdin,
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
