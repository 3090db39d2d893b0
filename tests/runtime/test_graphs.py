"""Graphs come back from disk for the network and shapes they were compiled for, and for nothing else."""

import fcntl
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from zipfile import ZipFile

import pytest

from videogen_cli.runtime import graphs

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


def run(folder, *calls, **environ):
    program = folder / "program.py"  # MindSpore reads the script it was started by
    if not program.exists():
        program.write_text(PROGRAM)
    env = {**os.environ, "XDG_CACHE_HOME": str(folder), **environ}
    subprocess.run([sys.executable, program, *calls], env=env, check=True, timeout=120)
    return {path: path.stat().st_ino for path in folder.rglob("*.zip")}


def graphs_in(archive):
    with ZipFile(archive) as file:
        return sum(name.endswith(".mindir") for name in file.namelist())


def test_graphs_are_taken_from_disk_only_in_the_order_they_were_compiled(tmp_path):
    written = run(tmp_path, "2x2", "3x2", "2x2")
    (archive,) = written
    assert graphs_in(archive) == 2
    assert run(tmp_path, "2x2", "3x2") == written, "the same course compiles nothing"
    assert run(tmp_path, "2x2", "2x5", "3x2") == written, "another course neither reads nor writes"
    run(tmp_path, "2x2", "3x2", "3x7")
    assert graphs_in(archive) == 3, "a longer course is learnt"
    assert len(run(tmp_path, "3x2", "2x2")) == 2, "what begins with another graph has an archive of its own"


NET = """
from mindspore import Tensor, nn
class Net(nn.Cell):
    def __init__(self, constant):
        super().__init__()
        self.constant, self.parts = Tensor([float(constant[0])]), (float(constant[1:] or 1), "words")
    def construct(self, x):
        return x * self.constant * self.parts[0] + 1.0
"""
USES_NET = """
import sys
import numpy as np
from videogen_cli.config import DeviceConfig
from videogen_cli.runtime import context, graphs
context.start(DeviceConfig(threads=1))
graphs.keep("test")
from net import Net
print(graphs.run(Net(sys.argv[1]), (np.ones(1, np.float32),)).item())
"""


def test_another_constant_and_other_code_are_other_graphs(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "program.py").write_text(USES_NET)

    def compute(constant):
        env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, tmp_path / "program.py", constant]
        done = subprocess.run(command, env=env, check=True, timeout=120, capture_output=True, text=True)
        return float(done.stdout), len(list(tmp_path.rglob("*.zip")))

    assert [compute("2"), compute("2"), compute("3")] == [(3, 1), (3, 1), (4, 2)]
    assert [compute("24"), compute("24"), compute("2")] == [(9, 3), (9, 3), (3, 3)]
    (tmp_path / "net.py").write_text(NET.replace("1.0", "5.0"))
    assert [compute("2"), compute("2")] == [(7, 4), (7, 4)]


@pytest.mark.parametrize("damage", ["empty", "noise", "half", "flipped"])
def test_a_damaged_archive_is_replaced(tmp_path, damage):
    (archive,) = run(tmp_path, "2x2")
    whole = bytearray(archive.read_bytes())
    flipped = bytes(whole[:1000]) + bytes([whole[1000] ^ 1]) + bytes(whole[1001:])
    archive.write_bytes({"empty": b"", "noise": b"\0" * 4096, "half": bytes(whole[:2000]), "flipped": flipped}[damage])
    run(tmp_path, "2x2")
    assert graphs_in(archive) == 1


def test_without_a_place_for_it_nothing_is_kept(tmp_path):
    (archive,) = run(tmp_path, "2x2")
    archive.unlink()
    archive.mkdir()
    run(tmp_path, "2x2", "3x2")
    assert list(archive.parent.rglob("*")) == [archive]


def test_what_was_not_used_for_longest_goes(tmp_path):
    (archive,) = run(tmp_path, "2x2")
    for index in range(graphs.KEPT):
        old = archive.with_name(f"{index}.zip")
        old.touch()
        os.utime(old, (index, index))
    os.utime(archive, (1, 1))
    run(tmp_path, "2x2", "3x2")
    left = {path.name for path in archive.parent.iterdir()}
    assert len(left) == graphs.KEPT and archive.name in left and "0.zip" not in left


def test_what_a_killed_process_left_goes_and_what_a_living_one_has_stays(tmp_path):
    places = {}
    for name in ("left", "held", "new"):
        places[name] = tmp_path / f"vgen-graphs-{name}"
        (places[name] / "inside").mkdir(parents=True)
        if name != "new":
            os.utime(places[name], (0, 0))
    held = os.open(places["held"], os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    run(tmp_path, "2x2", TMPDIR=str(tmp_path))
    assert {path.name for path in tmp_path.glob("vgen-graphs-*")} == {"vgen-graphs-held", "vgen-graphs-new"}
    os.close(held)


def test_two_processes_at_once_both_leave_a_whole_archive(tmp_path):
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda calls: run(tmp_path, *calls), [["2x2", "3x2"], ["2x2"], ["2x2", "3x2", "3x7"]]))
    (archive,) = run(tmp_path, "2x2")
    assert graphs_in(archive) in (1, 2, 3)
    assert list(archive.parent.iterdir()) == [archive], "nothing half-written stays"


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
