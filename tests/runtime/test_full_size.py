"""Networks of published size take no more memory than their weights, and none before they are loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
import numpy as np
from videogen_cli.config import DeviceConfig
from videogen_cli.registry import load_attr, spec
from videogen_cli.runtime import context
from videogen_cli.weights.tensor import LazyTensor

def status(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) / 1024

model, component, dtype, stored = sys.argv[1:]
context.start(DeviceConfig(threads=1, compile_cache=False))
from videogen_cli.runtime import module
from videogen_cli.runtime.cells import shapes
part = spec(model).component(component)
before = status("VmRSS")
cell = module.build(load_attr(part.build), getattr(spec(model).config(), component))
built = status("VmRSS")
def lazy(shape):
    return LazyTensor(shape, stored, lambda: np.full(shape, 0.5, stored))
module.load(cell, {name: lazy(shape) for name, shape in shapes(cell).items()}, where="made up", dtype=dtype)
weights = module.count(cell) * {"fp32": 4, "fp16": 2}[dtype] / 2**20
print(weights, built - before, status("VmHWM") - before, status("VmRSS") - before)
"""


@pytest.mark.parametrize(("dtype", "stored"), [("fp16", "float16"), ("fp32", "float16")])
def test_peak_memory_is_the_weights(dtype: str, stored: str) -> None:
    command = [sys.executable, "-c", CODE, "moviegen", "byt5", dtype, stored]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    weights, built, peak, kept = map(float, done.stdout.split())
    assert weights > 400, "megabytes"
    assert built < 30
    assert weights * 0.95 < kept <= peak < weights * 1.15
