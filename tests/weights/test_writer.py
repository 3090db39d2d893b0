"""What is written reads back exactly, whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from videogen_cli.errors import DiskError, WeightsError
from videogen_cli.weights import open_checkpoint
from videogen_cli.weights.dtypes import BY_NUMPY, bfloat16_to_float32, cast, float32_to_bfloat16
from videogen_cli.weights.tensor import LazyTensor, from_array
from videogen_cli.weights.writer import save_mindspore_ckpt, save_safetensors

RNG = np.random.default_rng(0)
EVERY_TYPE = {
    kind.name: np.frombuffer(RNG.bytes(6 * kind.itemsize), kind.numpy).reshape(2, 3)
    for kind in BY_NUMPY.values()
    if kind.name not in ("bool", "complex128")
} | {"bool": np.array([[True, False]]), "scalar": np.array(3.5), "empty": np.zeros((3, 0), np.float32)}


def test_every_type_round_trips(tmp_path: Path) -> None:
    tensors = {name: from_array(value) for name, value in EVERY_TYPE.items()}
    tensors["bf16"] = from_array(EVERY_TYPE["uint16"], "bfloat16")
    path = tmp_path / "m.safetensors"
    assert save_safetensors(path, tensors, {"model": "x"}) == [path]
    back = open_checkpoint(path)
    assert list(back.tensors) == list(tensors)
    assert back.metadata == {"model": "x"}
    for name, tensor in tensors.items():
        assert (back.tensors[name].dtype, back.tensors[name].shape) == (tensor.dtype, tensor.shape)
        assert back.tensors[name].numpy().tobytes() == tensor.numpy().tobytes()
    with safe_open(path, "np") as reader:
        assert np.array_equal(reader.get_tensor("float32"), EVERY_TYPE["float32"], equal_nan=True)


def test_strided_tensors_are_written_row_major(tmp_path: Path) -> None:
    value = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)
    save_safetensors(tmp_path / "m.safetensors", {"t": value}, {})
    assert np.array_equal(open_checkpoint(tmp_path / "m.safetensors").tensors["t"].numpy(), value)


def test_shards_with_index(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_text("an older file")
    tensors = {f"w{i}": np.full(100, i, np.float32) for i in range(5)}
    digest = iter(["done"])
    files = save_safetensors(
        path, tensors, {"sha": "????"}, shard_bytes=900, final_metadata=lambda: {"sha": next(digest)}
    )
    names = ["m-00001-of-00003.safetensors", "m-00002-of-00003.safetensors", "m-00003-of-00003.safetensors"]
    assert [file.name for file in files] == [*names, "m.safetensors.index.json"]
    assert not path.exists()
    back = open_checkpoint(path)
    assert back.container == "safetensors-sharded"
    assert back.metadata == {"sha": "done"}
    assert all(np.array_equal(back.tensors[name].numpy(), value) for name, value in tensors.items())
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted(file.name for file in files)


def _broken() -> np.ndarray:
    raise WeightsError("is damaged")


@pytest.mark.parametrize("shard_bytes", [50, 10_000])
def test_failure_leaves_the_old_file(tmp_path: Path, shard_bytes: int) -> None:
    path = tmp_path / "m.safetensors"
    path.write_text("old")
    tensors = {"a": from_array(np.ones(10, np.float32)), "b": LazyTensor((10,), "float32", _broken)}
    with pytest.raises(WeightsError, match="'b' is damaged"):
        save_safetensors(path, tensors, {}, shard_bytes=shard_bytes)
    assert [item.name for item in tmp_path.iterdir()] == ["m.safetensors"]
    assert path.read_text() == "old"


def test_a_disk_too_small_is_noticed_first(tmp_path: Path) -> None:
    huge = LazyTensor((1 << 50,), "float32", _broken)
    with pytest.raises(DiskError, match="are free"):
        save_safetensors(tmp_path / "m.safetensors", {"w": huge}, {})


@pytest.mark.parametrize("name", ["__metadata__", "\ud800"])
def test_names_that_cannot_be_stored(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match="cannot be the name"):
        save_safetensors(tmp_path / "m.safetensors", {name: np.ones(1, np.float32)}, {})


def test_casts_only_real_floats(tmp_path: Path) -> None:
    tensors = {"w": np.array([1.5, -2.25], np.float64), "ids": np.array([1, 2]), "flag": np.array([True])}
    save_safetensors(tmp_path / "m.safetensors", tensors, {}, "fp16")
    back = open_checkpoint(tmp_path / "m.safetensors").tensors
    assert {name: tensor.dtype for name, tensor in back.items()} == {"w": "float16", "ids": "int64", "flag": "bool"}
    assert back["w"].float32().tolist() == [1.5, -2.25]


@pytest.mark.parametrize(("target", "largest"), [("float16", 65504.0), ("bfloat16", 3.3895314e38)])
def test_cast_refuses_overflow_and_keeps_infinities(target: str, largest: float) -> None:
    values = np.array([largest, np.inf, -np.inf, np.nan], np.float32)
    result = cast(values, "float32", target)
    wide = bfloat16_to_float32(result) if target == "bfloat16" else result.astype(np.float32)
    assert np.array_equal(wide, values, equal_nan=True)
    with pytest.raises(WeightsError, match="too large"):
        cast(np.array([largest * 1.003], np.float32), "float32", target)


def test_bfloat16_rounds_to_nearest_even() -> None:
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7F800001, 0xFFFFFFFF], np.uint32)
    assert [hex(b) for b in float32_to_bfloat16(bits.view(np.float32))] == [
        "0x3f80",
        "0x3f82",
        "0x3f81",
        "0x7fc0",
        "0xffff",
    ]


def test_mindspore_container_round_trips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("videogen_cli.weights.writer._SLICE_BYTES", 40)
    tensors = {name: from_array(v) for name, v in EVERY_TYPE.items() if v.size and not np.iscomplexobj(v)}
    tensors["bf16"] = from_array(EVERY_TYPE["uint16"], "bfloat16")
    path = tmp_path / "m.ckpt"
    save_mindspore_ckpt(path, tensors)
    back = open_checkpoint(path)
    assert back.container == "mindspore-ckpt"
    for name, tensor in tensors.items():
        assert (back.tensors[name].dtype, back.tensors[name].shape) == (tensor.dtype, tensor.shape)
        assert back.tensors[name].numpy().tobytes() == tensor.numpy().tobytes()
    with pytest.raises(WeightsError, match="is empty"):
        save_mindspore_ckpt(path, {"e": np.zeros((0, 2), np.float32)})


def test_mindspore_itself_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "m.ckpt"
    save_mindspore_ckpt(path, {"net.w": np.arange(6, dtype=np.float32).reshape(2, 3), "s": np.array(2, np.int32)})
    code = (
        "import json, sys, mindspore as ms; p = ms.load_checkpoint(sys.argv[1]); "
        "print(json.dumps({k: v.asnumpy().tolist() for k, v in p.items()}))"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1]) == {"net.w": [[0, 1, 2], [3, 4, 5]], "s": 2}


def test_memory_stays_at_one_tensor(tmp_path: Path) -> None:
    code = """
import sys, numpy as np
from videogen_cli.weights import open_checkpoint
from videogen_cli.weights.writer import save_safetensors
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
source = open_checkpoint(sys.argv[1])
before = peak()
save_safetensors(sys.argv[2], source.tensors, {}, "fp16")
print(peak() - before)
"""
    tensors = {f"w{i}": np.ones((1024, 4096), np.float32) for i in range(16)}
    save_safetensors(tmp_path / "in.safetensors", tensors, {})
    command = [sys.executable, "-c", code, str(tmp_path / "in.safetensors"), str(tmp_path / "out.safetensors")]
    assert float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) < 100  # of 256 MB
