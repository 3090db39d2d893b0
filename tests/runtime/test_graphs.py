"""Graphs come back from disk for the network and shapes they were compiled for, and for nothing else."""

import os
import subprocess
import sys

PROGRAM = """
import sys
import numpy as np
from videogen_cli.config import DeviceConfig
from videogen_cli.runtime import context, graphs
context.start(DeviceConfig(threads=1))
graphs.keep("test")
from mindspore import Tensor
from videogen_cli.nets.layers import Linear

cells = {}
for factor, rows in (map(int, word.split("x")) for word in sys.argv[1:]):
    if factor not in cells:
        cells[factor] = Linear(4, 4)
        cells[factor].weight.set_data(Tensor(factor * np.eye(4, dtype=np.float32)))
        cells[factor].bias.set_data(Tensor(np.zeros(4, np.float32)))
    out = graphs.run(cells[factor], (np.ones((rows, 4), np.float32),), factor)
    assert out.shape == (rows, 4) and (out == factor).all(), (factor, rows, out)
"""


def run(folder, *calls):
    program = folder / "program.py"  # MindSpore reads the script it was started by
    program.write_text(PROGRAM)
    env = {**os.environ, "XDG_CACHE_HOME": str(folder)}
    subprocess.run([sys.executable, program, *calls], env=env, check=True, timeout=120)
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.mindir")}


def test_graphs_are_taken_from_disk_only_in_the_order_they_were_compiled(tmp_path):
    written = run(tmp_path, "2x2", "3x2", "2x2")
    assert sorted(written) == ["compile_cache_0.mindir", "compile_cache_1.mindir"]
    assert run(tmp_path, "2x2", "3x2") == written, "the same course compiles nothing"
    assert run(tmp_path, "3x2", "2x2") == written, "another order neither reads nor writes"
    assert run(tmp_path, "2x5", "2x2") == written, "other shapes neither"
    assert len(run(tmp_path, "2x2", "3x2", "3x7")) == 3, "a longer course is learnt"


HALF = """
import numpy as np
from videogen_cli.config import DeviceConfig
from videogen_cli.runtime import context, graphs
context.start(DeviceConfig(threads=1, mode="pynative", compile_cache=False))
import mindspore as ms
for kind in (ms.float16, ms.bfloat16, ms.float32):
    out = graphs.run(lambda x: x.astype(kind), (np.ones((2, 3), np.float32),))
    assert out.dtype == np.float32 and (out == 1).all(), (kind, out)
assert graphs.run(lambda x: x.astype(ms.int32), (np.ones(2, np.float32),)).dtype == np.int32
"""


def test_half_precision_reaches_the_host_as_float32():
    subprocess.run([sys.executable, "-c", HALF], check=True, timeout=120)
