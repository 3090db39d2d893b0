"""What attackers and broken downloads send: refused in bounded time and memory, never a crash, never a call."""

from __future__ import annotations

import gzip
import json
import pickle
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from made_files import (
    MAGIC,
    Code,
    Tensor,
    global_,
    opcodes,
    safetensors_bytes,
    write_safetensors,
    write_torch_legacy,
    write_torch_zip,
)

from videogen_cli.errors import WeightsError
from videogen_cli.weights import open_checkpoint
from videogen_cli.weights.lora import open_lora_file

ONES = np.ones((2, 3), np.float32)
WEIGHT = Tensor("0", ONES)


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        for tensor in open_checkpoint(path).tensors.values():
            tensor.numpy()
    assert path.name in str(caught.value)
    return str(caught.value)


def zip_with_pickle(path: Path, body: bytes, *, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + body)
    return path


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "getattr"),
        ("__builtin__", "eval"),
        ("functools", "partial"),
        ("torch.serialization", "os.system"),
        ("collections", "OrderedDict.fromkeys"),
        ("torch.hub", "load"),
        ("importlib", "import_module"),
        ("numpy", "load"),
    ],
)
@pytest.mark.parametrize("way", ["reduce", "inst", "obj", "stack"])
def test_calls_are_refused_by_name(tmp_path: Path, module: str, name: str, way: str) -> None:
    text = opcodes("touch vgen-was-here")
    call = {
        "reduce": global_(module, name) + text + b"\x85R",
        "inst": b"(" + text + f"i{module}\n{name}\n".encode(),
        "obj": b"(" + global_(module, name) + text + b"o",
        "stack": opcodes(module) + opcodes(name) + b"\x93" + text + b"\x85R",
    }[way]
    message = refused(write_torch_zip(tmp_path / "w.pt", {"state_dict": {"w": WEIGHT}, "extra": Code(call)}))
    assert f"{module}.{name}" in message


def test_extension_registry_and_external_data_are_refused(tmp_path: Path) -> None:
    for code in (b"\x82\x01", b"\x83\x01\x00", b"\x97", b"P0\n", b"\x05"):
        assert "damaged" in refused(zip_with_pickle(tmp_path / "w.pt", code + b"."))


def test_unknown_classes_become_placeholders(tmp_path: Path) -> None:
    body = global_("my.config", "Config") + b")\x81" + opcodes({"a": 1}) + b"b"
    path = write_torch_zip(tmp_path / "w.pt", {"state_dict": {"w": WEIGHT}, "config": Code(body)})
    checkpoint = open_checkpoint(path)
    assert checkpoint.unknown_globals == ["my.config.Config"]
    assert checkpoint.tensors["w"].numpy().tolist() == ONES.tolist()


def test_placeholder_among_the_weights_is_named(tmp_path: Path) -> None:
    body = Code(global_("my.layers", "Packed") + b")R")
    assert "'state_dict/q'" in refused(write_torch_zip(tmp_path / "a.pt", {"state_dict": {"w": WEIGHT, "q": body}}))
    assert "'q'" in refused(write_torch_zip(tmp_path / "b.pt", {"w": WEIGHT, "q": body}))


def test_whole_module_is_refused(tmp_path: Path) -> None:
    body = global_("my.net", "Net") + b")\x81" + opcodes({"training": True}) + b"b."
    assert "my.net.Net" in refused(zip_with_pickle(tmp_path / "m.pt", body))


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor("0", ONES, shape=(2, 4)),
        Tensor("0", ONES, shape=(2, 3), strides=(3, 1), offset=1),
        Tensor("0", ONES, shape=(2, 3), strides=(3, -1)),
        Tensor("0", ONES, shape=(2,), strides=(3, 1)),
        Tensor("0", ONES, shape=(-2, 3)),
        Tensor("0", ONES, shape=(1 << 62, 1 << 62), strides=(0, 0)),
        Tensor("0", ONES, shape=(1 << 33,), strides=(0,)),
        Tensor("0", ONES, shape=(0, 1 << 70), strides=(1, 1)),
        Tensor("0", ONES, count=7),
        Tensor("0", ONES, count=5),
        Tensor("../0", ONES),
    ],
)
@pytest.mark.parametrize("write", [write_torch_zip, write_torch_legacy])
def test_impossible_geometry(tmp_path: Path, write, tensor: Tensor) -> None:
    refused(write(tmp_path / "w.pt", {"w": tensor}))


def test_one_storage_described_twice(tmp_path: Path) -> None:
    other = Tensor("0", ONES.view(np.float32).astype(np.float16))
    assert "two different ways" in refused(write_torch_zip(tmp_path / "w.pt", {"a": WEIGHT, "b": other}))


def test_lazily_negated_tensor(tmp_path: Path) -> None:
    body = opcodes(WEIGHT)[: -len(b"tR")] + opcodes({"neg": True}) + b"tR"
    path = write_torch_zip(tmp_path / "w.pt", {"w": Code(body), "v": WEIGHT})
    assert "negated" in refused(path)


BOMBS = {
    "deep tuple as key": b"}" + b")" + b"\x85" * 300_000 + b"Ns.",
    "deep lists": b"]" * 200_000 + b"a" * 199_999 + b".",
    "endless string": b"\x8d" + struct.pack("<Q", 1 << 60) + b".",
    "endless bytes": b"\x8e" + struct.pack("<Q", 1 << 60) + b".",
    "endless integer": b"\x8b\xff\xff\xff\x7f.",
    "copies of a long text": global_("_codecs", "encode")
    + b"q\x00"
    + opcodes("a" * 1_000_000)
    + opcodes("latin1")
    + b"\x86q\x01]("
    + b"h\x00h\x01R" * 5000
    + b"e.",
    "far memo index": b"Nr\xff\xff\xff\xffj\xff\xff\xff\xfe.",
    "million containers": b"}" * 2_000_000 + b".",
    "no stop": b"N" * 100,
    "stop in the middle": b"(N.",
}


@pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS.keys())
def test_pickle_bombs(tmp_path: Path, body: bytes) -> None:
    refused(zip_with_pickle(tmp_path / "w.pt", body, method=zipfile.ZIP_DEFLATED))


def test_doubling_graph_is_walked_once(tmp_path: Path) -> None:
    doubled = b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(40))
    laughs = Code(b"](" + b"]q\x00" + doubled + b"e")
    path = write_torch_zip(tmp_path / "w.pt", {"state_dict": {"w": WEIGHT}, "laughs": laughs})
    assert list(open_checkpoint(path).tensors) == ["w"]


def test_inflating_storage(tmp_path: Path) -> None:
    zeros = np.zeros(80 << 20, np.uint8)
    path = write_torch_zip(tmp_path / "w.pt", {"w": Tensor("0", zeros)}, method=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    assert "inflate" in refused(path)


def test_deflated_archive_reads(tmp_path: Path) -> None:
    path = write_torch_zip(tmp_path / "w.pt", {"w": WEIGHT}, method=zipfile.ZIP_DEFLATED)
    assert open_checkpoint(path).tensors["w"].numpy().tolist() == ONES.tolist()


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, "belong to no tensor"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, "header speaks of"),
        ({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, "malformed shape"),
        ({"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}}, "malformed shape"),
        ({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, "unknown type"),
        ({"a": {"dtype": "F32", "shape": [1 << 70, 0], "data_offsets": [0, 0]}}, "does not fit"),
        (b'{"a":1,"a":2}', "twice"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":' + b"[" * 100_000, "deeply"),
        (b'{"a":' + b"9" * 10_000 + b"}", "digits"),
        (b'["a"]', "not a checkpoint"),
    ],
)
def test_safetensors_rules(tmp_path: Path, header, reason: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors_bytes(header, bytes(12)))
    assert reason in refused(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"GGUF" + bytes(20), "GGUF"),
        (b'{"error": "Access denied"}', "Access denied"),
        (b"   \n<!doctype html>", "HTML"),
        (bytes.fromhex("d85e3a7f") + bytes(40), "encrypted"),
        (bytes(257) + b"ustar" + bytes(300), "tar archive"),
        (pickle.dumps({"w": ONES}), "plain Python pickle"),
        (gzip.compress(b" " * 100_000_000), "unpacks"),
        (b"hello world, this is text", "known kind"),
    ],
)
def test_mistaken_files_are_called_by_name(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    assert reason in refused(path)


def test_torchscript_is_called_by_name(tmp_path: Path) -> None:
    path = write_torch_zip(tmp_path / "w.pt", {"w": WEIGHT})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/code/__torch__.py", "")
    assert "TorchScript" in refused(path)


def _samples(folder: Path) -> list[bytes]:
    value = {"state_dict": {"w": WEIGHT, "t": Tensor("0", ONES, (3, 2), (1, 3))}, "epoch": 3, "x": [1.5, "a", None]}
    from videogen_cli.weights.writer import save_mindspore_ckpt

    save_mindspore_ckpt(folder / "ms", {"w": ONES, "b": np.ones(4, np.float16)})
    np.savez(folder / "npz.npz", ONES, ONES)
    files = [
        write_torch_zip(folder / "zip", value),
        write_torch_legacy(folder / "legacy", value),
        write_safetensors(folder / "st", {"w": ONES, "v": np.ones(3, np.int64)}),
        folder / "ms",
        folder / "npz.npz",
    ]
    arrays = pickle.dumps([ONES, np.ones(3)])
    manifest = json.dumps({"tensors": {"w": {"shape": [2], "dtype": "float32"}}}).encode()
    return [*(file.read_bytes() for file in files), arrays, manifest]


def _mutate(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(changed)) if changed else 0
        kind = rng.randrange(5)
        if kind == 0:
            changed[at : at + 1] = rng.randbytes(1)
        elif kind == 1:
            del changed[at : at + rng.choice((1, 4, 30))]
        elif kind == 2:
            changed[at:at] = rng.randbytes(rng.choice((1, 4)))
        elif kind == 3:
            changed[at : at + 8] = rng.choice((0, 1, 1 << 31, 1 << 63, (1 << 64) - 1)).to_bytes(8, "little")
        else:
            del changed[at:]
    return bytes(changed)


def _mutate_inside(data: bytes, folder: Path, rng: random.Random) -> bytes:
    """Mutate the pickle of an archive and pack it again with a good CRC, so that it reaches the unpickler."""
    (folder / "whole").write_bytes(data)
    with zipfile.ZipFile(folder / "whole") as old, zipfile.ZipFile(folder / "again", "w") as new:
        for info in old.infolist():
            content = old.read(info)
            new.writestr(info.filename, _mutate(content, rng) if info.filename.endswith("data.pkl") else content)
    return (folder / "again").read_bytes()


def test_mutated_files_only_raise_weights_errors(tmp_path: Path) -> None:
    rng = random.Random(20240611)
    samples = _samples(tmp_path)
    path = tmp_path / "mutated"
    outcomes = {"read": 0, "refused": 0}
    for _ in range(1500):
        sample = rng.choice(samples)
        inside = sample is samples[0] and rng.random() < 0.8
        path.write_bytes(_mutate_inside(sample, tmp_path, rng) if inside else _mutate(sample, rng))
        try:
            for tensor in open_lora_file(path).everything().values():
                for chunk in tensor.chunks():
                    chunk.tobytes()
            outcomes["read"] += 1
        except WeightsError:
            outcomes["refused"] += 1
    assert outcomes["refused"] > 500
    assert outcomes["read"] > 10


def test_first_legacy_pickle_is_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"\x80\x02" + global_("os", "system") + opcodes("x") + b"\x85R0" + pickle.dumps(MAGIC, 2)[2:])
    assert "os.system" in refused(path)
