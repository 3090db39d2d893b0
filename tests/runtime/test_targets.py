"""Which formulations networks get on which target; Ascend's are imported, never run, without an NPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from videogen_cli.runtime.kernels.build import library

CODE = """
import mindspore as ms
real = ms.get_context
ms.get_context = lambda name: "{target}" if name == "device_target" else real(name)
from videogen_cli.runtime import functional as F
for name in ("linear", "conv2d", "conv3d", "attention"):
    assert getattr(F, name).__module__.startswith("videogen_cli.runtime.{module}"), getattr(F, name).__module__
assert all(callable(getattr(F, name)) for name in F.__doc__.split("``") if name.isidentifier() and hasattr(F, name))
"""


@pytest.mark.parametrize(
    ("target", "kernels", "module"),
    [("CPU", "auto", "kernels."), ("CPU", "off", "cpu_ops"), ("Ascend", "auto", "ascend_ops")],
)
def test_target_and_switch_decide(target: str, kernels: str, module: str) -> None:
    if module == "kernels." and library().path is None:
        pytest.skip(library().reason)
    code = CODE.format(target=target, module=module)
    environ = {**os.environ, "VGEN_KERNELS": kernels}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr[-2000:]


def test_all_targets_offer_the_same_operators() -> None:
    import ast
    from pathlib import Path

    import videogen_cli.runtime

    folder = Path(videogen_cli.runtime.__file__).parent
    tree = ast.parse((folder / "functional.py").read_text())
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "_target_ops"
    }
    assert used
    code = "from videogen_cli.runtime import {0} as ops; print(*[n for n in {1!r} if not hasattr(ops, n)])"
    for module in ("cpu_ops", "ascend_ops", *(["kernel_ops"] if library().path else [])):
        command = [sys.executable, "-c", code.format(module, sorted(used))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == ""


NORM = """
import mindspore as ms
import numpy as np
from videogen_cli.runtime import ascend_ops

class Kernels:
    silu = staticmethod(ascend_ops._fn.silu)

    @staticmethod
    def group_norm(x, groups, *rest):
        assert x.dtype == ms.float32 and all(value.dtype == ms.float32 for value in rest[:2])
        return kernel(x, groups, *rest)

kernel, ascend_ops._fn = ascend_ops._fn.group_norm, Kernels
x = (np.random.default_rng(0).standard_normal((4, 6, 8, 8)) * 20 + 400).astype(np.float16)
ones, zeros = ms.Tensor(np.ones(6, np.float16)), ms.Tensor(np.zeros(6, np.float16))
out = ascend_ops.group_norm(ms.Tensor(x), 2, ones, zeros, 1e-5, True, 2)
assert out.dtype == ms.float16 and out.shape == x.shape
wide = x.astype(np.float64).reshape(2, 2, 2, 3, 64)
wide = wide - wide.mean((1, 3, 4), keepdims=True)
wide = wide / np.sqrt((wide**2).mean((1, 3, 4), keepdims=True) + 1e-5)
print(np.abs(out.asnumpy() - (wide / (1 + np.exp(-wide))).reshape(x.shape)).max())
"""


def test_ascends_group_norms_are_computed_in_float32() -> None:
    done = subprocess.run([sys.executable, "-c", NORM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < 4e-3, "half precision's rounding of the result"
