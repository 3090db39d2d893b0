"""The benchmark of conversion times what ``vgen convert`` does today."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "convert.py"


def test_both_containers_and_both_widths_are_timed(tmp_path):
    command = [sys.executable, str(PROGRAM), "--gigabytes", "0.07", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    timed = re.findall(r"(torch zip|safetensors): convert (as is|fp16) (\d+\.\d+) s", done.stdout)
    kinds = [("torch zip", "as is"), ("torch zip", "fp16"), ("safetensors", "as is"), ("safetensors", "fp16")]
    assert [(kind, width) for kind, width, _ in timed] == kinds
    assert not list(tmp_path.iterdir())
